"""What a Python source defines, name by name: a digest of each definition's text, and what it names in turn."""

import ast
import builtins
import hashlib
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.machinery import SourceFileLoader
from inspect import CO_OPTIMIZED
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from . import statements
from .digest import digest
from .statements import WRITERS, Statement, below, dotted, is_pythons

_CachedFunction = type(cache(len))
_Definition = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)

_SETTING = {"atexit", "decimal", "gc", "importlib", "locale", "os", "random", "signal", "sys", "warnings"}
"""Modules of the standard library whose functions may change more than they give."""
_GIVING = ("pydantic:", "latentgraph.engine", "torch:no_grad", "torch:inference_mode", "torch:device", "torch:tensor")
"""What else gives something when it is called and changes nothing."""
_CHANGING = {"setattr", "delattr", "exec", "eval", "__import__", "next"}
"""Built-in functions that change something."""


@dataclass
class Part:
    """A name of a module and the statements that bind it; the part "" is what loading the module does besides.

    What it uses is written `module:name.attribute`: `torch:nn.functional`, `.noise:saved`, and `:saved` in the module
    itself. Without a name the module as a whole is meant.
    """

    texts: list[str] = field(default_factory=list)
    """Digests of the statements, and where the imported names in them come from."""
    uses: list[str] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)
    """What the annotations of fields name: values of these classes, and of classes derived from them, come here."""
    origins: list[str] = field(default_factory=list)
    """Where an imported name comes from."""
    imports: list[str] = field(default_factory=list)
    """What is loaded when this runs, used or not."""
    bases: list[str] | None = None
    """Of a class."""
    registers: bool = False
    """It is a class that is told of the classes derived from it."""
    writes: bool = False
    """It may call what a port type has for the run that writes its values."""
    computed: bool = False
    """It imports something that only running it tells."""


def definitions(path: Path) -> dict[str, Any]:
    """What a source defines, as JSON.

    `text` is the digest of the file; `parts` has the fields of each Part, without empty ones, and is None for a source
    that is no Python; `functions` and `constants` are what `differs` compares with the loaded module.
    """
    content = path.read_bytes()
    found: dict[str, Any] = {"text": digest(content), "parts": None, "functions": {}, "constants": {}}
    try:
        reader = _Reader(ast.parse(content))
        functions = _functions(compile(content, str(path), "exec", dont_inherit=True))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return found
    parts = {
        name: {key: value for key, value in vars(part).items() if value or (key == "bases" and value is not None)}
        for name, part in reader.parts.items()
    }
    return found | {"parts": parts, "functions": functions, "constants": reader.constants}


def differs(module: ModuleType, found: Mapping[str, Any]) -> bool:
    """Whether a loaded module has other functions or constants than the source of which `found` tells.

    What decorators made of functions is not compared, nor are values that can be changed. A module that was loaded in
    a way of its own (by pytest, which rewrites `assert`) is not compared at all.
    """
    if type(getattr(module, "__loader__", None)) is not SourceFileLoader:
        return False
    for name, value in found["constants"].items():
        if name in vars(module) and _constant(vars(module)[name]) != value:
            return True
    for name, expected in found["functions"].items():
        code = getattr(_function(module, name), "__code__", None)
        if code is None or (code.co_filename, code.co_qualname) != (module.__file__, name):
            continue
        if _instructions(code) != expected:
            return True
    return False


def _function(module: ModuleType, name: str) -> FunctionType | None:
    """A function or method by its qualified name; what is under a decorator that says what it wraps."""
    found: Any = module
    for step in name.split("."):
        found = vars(found).get(step) if isinstance(found, (ModuleType, type)) else None
    if isinstance(found, (classmethod, staticmethod, property)):
        found = found.fget if isinstance(found, property) else found.__func__
    if isinstance(found, (FunctionType, _CachedFunction)):
        found = vars(found).get("__wrapped__", found)
    return found if isinstance(found, FunctionType) else None


class _Reader:
    """Sorts the statements of a module into parts."""

    def __init__(self, tree: ast.Module) -> None:
        self.parts: dict[str, Part] = {"": Part()}
        self.constants: dict[str, str] = {}
        self._classes: dict[str, ast.ClassDef] = {}
        self._for_types: dict[str, list[str]] = {}  # what only type checkers import
        statements.strip(tree)
        executed = list(self._executed(tree.body))
        for node in executed:
            if not isinstance(node, _Definition):
                self._import(node)
        read = [(piece, name, Statement(piece)) for node in executed for piece, name in _pieces(node)]
        self._bound = Counter(name for _, _, statement in read for name in statement.binds)
        self._defined = {name for node, _, statement in read if _defines(node) for name in statement.binds}
        self._classes = {node.name: node for node, _, _ in read if isinstance(node, ast.ClassDef)}
        for bound in self._bound:
            self._part(bound)
        for node, name, statement in read:
            self._read(node, name, statement)
        self._find_constants((node, statement) for node, _, statement in read)

    def _part(self, name: str) -> Part:
        return self.parts.setdefault(name, Part())

    def _executed(self, body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
        """The statements that are executed, not for type checkers only."""
        for node in body:
            if statements.for_types_only(node):
                assert isinstance(node, ast.If)
                for name, origin in statements.origins(*node.body):
                    self._for_types.setdefault(name, []).append(origin)
                yield from self._executed(node.orelse)
            else:
                yield node

    def _import(self, node: ast.stmt) -> None:
        self.parts[""].imports += statements.loaded(node)
        for name, origin in statements.origins(node):
            self._part(name).origins.append(origin)
            self._part(name).texts.append(f"from {origin}")

    def _read(self, node: ast.stmt, name: str | None, statement: Statement) -> None:
        if name is not None:
            self._add(self._part(name), statement)
            return
        if not _defines(node):
            self._add(self.parts[""], statement)
            for inner in ast.walk(node):
                if isinstance(inner, ast.ClassDef) and inner.name in statement.binds:
                    self._read_class(inner, statement)
            return
        named = {node.name} if isinstance(node, _Definition) else statement.binds
        for bound in sorted(named):
            self._add(self._part(bound), statement)
            if self._acts(node):
                self.parts[""].uses.append(f":{bound}")
        for other in sorted(statement.binds - named):  # a function that sets what is global
            self._part(other).uses += [f":{bound}" for bound in named]
        if isinstance(node, ast.ClassDef):
            self._read_class(node, statement)

    def _read_class(self, node: ast.ClassDef, statement: Statement) -> None:
        part = self._part(node.name)
        names = [dotted(base.value if isinstance(base, ast.Subscript) else base) for base in node.bases]
        part.bases = [use for name in names if name for use in self._meaning(name, statement)]
        part.registers |= any(getattr(inner, "name", "") == "__init_subclass__" for inner in node.body)
        part.registers |= any(word.arg == "metaclass" and not self._only_gives(word.value) for word in node.keywords)

    def _add(self, part: Part, statement: Statement) -> None:
        named = [*statement.names, *(name for name in statement.annotations if name.partition(".")[0] in self.parts)]
        uses = [use for name in named for use in self._meaning(name, statement)]
        fields = [use for name in statement.fields for use in self._meaning_for_types(name)]
        heads = sorted({name.partition(".")[0] for name in [*named, *statement.fields]})
        part.texts += [
            statement.text,
            *(f"{head} from {' '.join(self._origins(head))}" for head in heads if self._origins(head)),
        ]
        part.uses = list(dict.fromkeys([*part.uses, *statement.uses, *uses, *([":"] if statement.whole else [])]))
        part.fields = list(dict.fromkeys([*part.fields, *fields]))
        part.imports += statement.imports
        part.computed |= statement.computed
        part.writes |= statement.writes

    def _origins(self, name: str) -> list[str]:
        """Where a name comes from that nothing but imports binds."""
        return self.parts[name].origins if name in self.parts and name not in self._defined else []

    def _meaning(self, chain: str, statement: Statement) -> list[str]:
        """What a name is in this module: imported, defined, or anything in it, where that cannot be told."""
        head, _, rest = chain.partition(".")
        if self._origins(head):
            return _below(self._origins(head), rest)
        if head in self.parts:
            return [f":{chain}"]
        if head in self._for_types or head in statement.inner or head.startswith("__"):
            return []
        return [] if hasattr(builtins, head) and "*" not in self.parts else [":"]

    def _meaning_for_types(self, chain: str) -> list[str]:
        head, _, rest = chain.partition(".")
        if head in self.parts and not self._origins(head):
            return [f":{chain}"]
        return _below(self._origins(head) or self._for_types.get(head, []), rest)

    def _acts(self, node: ast.stmt) -> bool:
        """Whether a definition may do more than to define: enter something in a registry, say."""
        return not all(map(self._only_gives, _called(node)))

    def _only_gives(self, function: ast.expr) -> bool:
        """Whether calling it gives something and changes nothing, as far as is known."""
        base: ast.AST = function
        while isinstance(base, (ast.Attribute, ast.Call, ast.Subscript)):
            base = base.func if isinstance(base, ast.Call) else base.value
        if not isinstance(base, ast.Name):
            return isinstance(base, ast.Constant)
        if self._origins(base.id):
            rest = (dotted(function) or "").partition(".")[2]
            return all(_gives(below(origin, rest)) for origin in self._origins(base.id))
        if base.id in self._classes:
            return self._is_plain(self._classes[base.id])
        return base.id not in self.parts and hasattr(builtins, base.id) and base.id not in _CHANGING

    def _is_plain(self, node: ast.ClassDef) -> bool:
        """Whether making an object of a class does nothing else."""
        makers = {"__init__", "__new__", "__post_init__"}.intersection(
            getattr(inner, "name", "") for inner in node.body
        )
        return not makers and not node.keywords and all(map(self._only_gives, node.bases))

    def _find_constants(self, read: Iterable[tuple[ast.stmt, Statement]]) -> None:
        for node, statement in read:
            value = _value(node)
            for name in statement.binds:
                if value is not None and self._bound[name] == 1 and not self.parts[name].origins:
                    self.constants[name] = value


def _value(node: ast.stmt) -> str | None:
    """Stands for the value of an assignment to names, where it is written down and cannot be changed."""
    if not isinstance(node, (ast.Assign, ast.AnnAssign)) or node.value is None:
        return None
    if not all(isinstance(target, ast.Name) for target in _targets(node)):
        return None
    try:
        return _constant(ast.literal_eval(node.value))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None


def _targets(node: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def _defines(node: ast.stmt) -> bool:
    """Whether a statement does nothing but bind names, always."""
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        inside = [part for target in _targets(node) for part in ast.walk(target)]
        return not any(isinstance(part, (ast.Attribute, ast.Subscript)) for part in inside)
    return isinstance(node, _Definition) or type(node).__name__ == "TypeAlias"


def _pieces(node: ast.stmt) -> Iterator[tuple[ast.stmt, str | None]]:
    """A statement; what a class has for writers apart from it, with a name of its own; of an import nothing."""
    if isinstance(node, ast.ClassDef):
        for inner in node.body:
            if isinstance(inner, ast.FunctionDef) and inner.name in WRITERS:
                yield inner, f"{node.name}.{inner.name}"
        for word in node.keywords:
            if word.arg in WRITERS:
                yield ast.copy_location(ast.Expr(word.value), word.value), f"{node.name}.{word.arg}"
        kept = [inner for inner in node.body if not (isinstance(inner, ast.FunctionDef) and inner.name in WRITERS)]
        node.body = kept or [ast.copy_location(ast.Pass(), node)]
        node.keywords = [word for word in node.keywords if word.arg not in WRITERS]
    if not isinstance(node, (ast.Import, ast.ImportFrom, ast.Pass)):
        yield node, None


def _called(node: ast.stmt) -> Iterator[ast.expr]:
    """What is called where a definition is made."""
    for decorator in getattr(node, "decorator_list", ()):
        yield decorator.func if isinstance(decorator, ast.Call) else decorator
    made: list[ast.AST] = []
    if isinstance(node, ast.ClassDef):
        made = [*node.bases, *node.keywords, *(inner for inner in node.body if isinstance(inner, ast.Expr))]
    elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
        made = [node.value]
    for part in made:
        yield from (call.func for call in ast.walk(part) if isinstance(call, ast.Call))


def _below(origins: Iterable[str], rest: str) -> list[str]:
    """What a name means after one that comes from there; nothing where that counts by Python's version."""
    return [below(origin, rest) for origin in origins if not is_pythons(origin)]


def _gives(origin: str) -> bool:
    """Whether calling what comes from there gives something and changes nothing, as far as is known."""
    top = origin.partition(":")[0].partition(".")[0]
    return (top in sys.stdlib_module_names and top not in _SETTING) or origin.startswith(_GIVING)


def _constant(value: object) -> str | None:
    """Stands for a value that cannot be changed; None for any other."""
    if isinstance(value, tuple):
        parts = [_constant(item) for item in value]
        return None if None in parts else digest(parts)
    return digest(value) if type(value) in (bool, int, float, str, bytes, type(None)) else None


def _functions(code: CodeType) -> dict[str, str]:
    """What the compiler made of each function and method, by qualified name; not of those that are defined twice."""
    found: dict[str, set[str]] = {}
    for inner in statements.codes(code):
        if inner.co_flags & CO_OPTIMIZED and "<" not in inner.co_qualname:
            found.setdefault(inner.co_qualname, set()).add(_instructions(inner))
    return {name: each.pop() for name, each in found.items() if len(each) == 1}


def _instructions(code: CodeType) -> str:
    constants = [
        _instructions(value) if isinstance(value, CodeType)
        else sorted(map(repr, value)) if isinstance(value, frozenset)
        else value
        for value in code.co_consts
    ]  # fmt: skip
    return hashlib.sha256(repr((code.co_code, code.co_names, constants)).encode()).hexdigest()[:32]
