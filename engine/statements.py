"""One statement of a Python source: its text as it counts, and what it names.

Nothing is run. The text counts without comments, docstrings, layout and the names of local variables; which names are
local ones and which the module's is the compiler's answer, so that no rule about scopes is repeated here.
"""

import __future__

import ast
import dis
import hashlib
import sys
from collections.abc import Iterator
from inspect import CO_OPTIMIZED, CO_VARARGS, CO_VARKEYWORDS
from types import CodeType

_ANNOTATIONS_AS_TEXT = __future__.annotations.compiler_flag
_LOADS = {"LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"}
_IMPORTERS = {"import_module", "__import__"}
_LOADERS = {"spec_from_file_location", "run_path", "run_module"}
_BY_NAME = {"exec", "eval", "globals"}  # may use anything that the module has
_NAMING_LOCALS = {"exec", "eval", "locals", "vars", "dir"}  # with them the names of local variables count
_DOCUMENTATION = {"description", "title", "examples"}  # of a Field: only said to people
_NAMES = {"id", "name", "rest", "names"}  # the fields of syntax trees where names of local variables are

WRITERS = frozenset({"written", "described", "codec"})
"""What a port type has for the run that writes and stores its values, and nodes have no part in."""


def strip(tree: ast.Module) -> None:
    """Take out what computes nothing: docstrings, what fields say to people, and code that is for type checkers only.

    A module's own imports for type checkers stay: they tell what its annotations mean.
    """
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            body = getattr(node, name, None)
            if isinstance(body, list) and body:
                kept = [inner for inner in body if not _says_nothing(inner)]
                if node is not tree:
                    kept = [part for inner in kept for part in (inner.orelse if for_types_only(inner) else [inner])]
                setattr(node, name, kept or [ast.copy_location(ast.Pass(), body[0])])
        if isinstance(node, ast.Call) and (dotted(node.func) or "").rpartition(".")[2] == "Field":
            node.keywords = [keyword for keyword in node.keywords if keyword.arg not in _DOCUMENTATION]


def _says_nothing(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and (dotted(node.test) or "").rpartition(".")[2] == "TYPE_CHECKING"


def dotted(node: ast.AST) -> str | None:
    """`a.b.c`, where that is what is written."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return before and f"{before}.{node.attr}"
    return None


def origins(*nodes: ast.AST) -> Iterator[tuple[str, str]]:
    """The names that imports in statements bind, and where each comes from: `module:name`."""
    for found in (found for node in nodes for found in ast.walk(node)):
        if isinstance(found, ast.Import):
            for alias in found.names:
                whole = alias.name if alias.asname else alias.name.partition(".")[0]
                yield alias.asname or whole, f"{whole}:"
        elif isinstance(found, ast.ImportFrom) and found.module != "__future__":
            for alias in found.names:
                yield alias.asname or alias.name, _origin(found, alias)


def loaded(node: ast.AST) -> list[str]:
    """The modules that imports in a statement load, each as `module:name`, where the name may be a module's, too."""
    modules = [
        f"{alias.name}:" if isinstance(found, ast.Import) else _origin(found, alias)
        for found in ast.walk(node)
        if isinstance(found, (ast.Import, ast.ImportFrom))
        for alias in found.names
    ]
    return [module for module in modules if not is_pythons(module)]


def _origin(found: ast.ImportFrom, alias: ast.alias) -> str:
    return f"{'.' * found.level}{found.module or ''}:{'' if alias.name == '*' else alias.name}"


def is_pythons(origin: str) -> bool:
    """Whether it belongs to the standard library, which counts by Python's version."""
    return origin.partition(":")[0].partition(".")[0] in sys.stdlib_module_names


def below(origin: str, chain: str) -> str:
    """What `chain` means after a name that comes from `origin`: `torch:` and `nn.Module` give `torch:nn.Module`."""
    return origin if not chain else f"{origin}{chain}" if origin.endswith(":") else f"{origin}.{chain}"


class Statement(ast.NodeVisitor):
    """What a statement binds, names and says."""

    def __init__(self, node: ast.stmt) -> None:
        self.binds: set[str] = set()
        """Names of the module."""
        self.names: list[str] = []
        """What it uses of the module's names, with attributes: `noise.saved`."""
        self.inner: set[str] = set()
        """Names that classes in it bind for themselves."""
        self.uses: list[str] = []
        """What it uses of modules that it imports itself, as `module:name`."""
        self.imports: list[str] = []
        self.fields: list[str] = []
        """What annotations name: of the fields of classes, and of what methods return."""
        self.annotations: list[str] = []
        """What other annotations name, where a decorator may look at them."""
        self.whole = False
        """It may use anything in its module."""
        self.computed = False
        """It imports something that only running it tells."""
        self.writes = False
        """It may call what a port type has for writers."""
        self._origins: dict[str, list[str]] = {}
        self._global: set[str] = set()
        if any(isinstance(found, (ast.Import, ast.ImportFrom)) for found in ast.walk(node)):
            self.imports = loaded(node)
            for name, origin in origins(node):
                self._origins.setdefault(name, []).append(origin)
        local = self._ask_the_compiler(node)
        self.whole |= not self._global.isdisjoint(_BY_NAME)
        self.visit(node)
        self.text = _text(node, local)

    def _ask_the_compiler(self, node: ast.stmt) -> set[str]:
        """Sorts the names in the statement; gives those of local variables, which do not count."""
        code = compile(ast.Module([node], []), "", "exec", _ANNOTATIONS_AS_TEXT, dont_inherit=True)
        local: set[str] = set()
        seen: set[str] = set()  # the names of parameters, functions and classes can be seen from outside
        for inner in codes(code):
            for step in dis.get_instructions(inner):
                if step.opname in _LOADS:
                    self._global.add(step.argval)
                elif step.opname in ("STORE_GLOBAL", "DELETE_GLOBAL"):
                    self.binds.add(step.argval)
                elif step.opname in ("STORE_NAME", "DELETE_NAME"):
                    (self.binds if inner is code else self.inner).add(step.argval)
            parameters = inner.co_argcount + inner.co_kwonlyargcount
            parameters += bool(inner.co_flags & CO_VARARGS) + bool(inner.co_flags & CO_VARKEYWORDS)
            seen.update(inner.co_varnames[:parameters], [inner.co_name])
            if inner.co_flags & CO_OPTIMIZED:
                local.update(inner.co_varnames, inner.co_cellvars)
        if not self._global.isdisjoint(_NAMING_LOCALS):
            return set()
        return local - seen - self._global - self.binds - self.inner - self._origins.keys()

    def _use(self, chain: str) -> None:
        head, _, rest = chain.partition(".")
        meant = [below(origin, rest) for origin in self._origins.get(head, ())]
        self.uses += [use for use in meant if not is_pythons(use)]
        if head in self._global:
            self.names.append(chain)

    def visit_Name(self, node: ast.Name) -> None:
        self._use(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.writes |= node.attr in WRITERS
        chain = dotted(node)
        self.whole |= chain == "sys.modules"
        if chain is not None:
            self._use(chain)
        else:
            self.visit(node.value)

    def visit_Call(self, node: ast.Call) -> None:
        function = (dotted(node.func) or "").rpartition(".")[2]
        if function in _IMPORTERS | _LOADERS:
            match node.args:
                case [ast.Constant(value=str(name))] if function in _IMPORTERS and not name.startswith("."):
                    self.uses.append(f"{name}:")
                case [ast.Constant(value=str(name)), ast.Name(id="__package__")] if function == "import_module":
                    self.uses.append(f"{name}:")
                case _:
                    self.computed = True
        self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for inner in node.body:
            if isinstance(inner, ast.AnnAssign):
                self.fields += annotation(inner.annotation)
            elif isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef)):
                self.fields += annotation(inner.returns)
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        if node.decorator_list:
            self.annotations += annotation(node.returns)
            for argument in ast.walk(node.args):
                self.annotations += annotation(getattr(argument, "annotation", None))
        for part in (*node.decorator_list, *node.args.defaults, *node.args.kw_defaults, *node.body):
            if part is not None:
                self.visit(part)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit(node.target)
        if node.value is not None:
            self.visit(node.value)


def annotation(node: ast.AST | None) -> Iterator[str]:
    """The names in an annotation, with attributes; those in quotes, too."""
    if node is None:
        return
    chain = dotted(node)
    if chain is not None:
        yield chain
    elif isinstance(node, ast.Constant):
        try:
            parsed = ast.parse(node.value, mode="eval").body if isinstance(node.value, str) else None
        except (SyntaxError, ValueError):  # a text that is no code
            return
        yield from annotation(parsed)
    elif not (isinstance(node, ast.Subscript) and (dotted(node.value) or "").endswith("Literal")):
        for child in ast.iter_child_nodes(node):
            yield from annotation(child)


def codes(code: CodeType) -> Iterator[CodeType]:
    """A code object, and all within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant)


def _text(node: ast.stmt, local: set[str]) -> str:
    """A digest of the statement's text; its local variables are numbered in the order in which they come."""
    numbers: dict[str, str] = {}
    words: list[str] = []

    def write(part: object, names: bool) -> None:
        if isinstance(part, ast.AST):
            words.append(type(part).__name__)
            for field in part._fields:
                write(getattr(part, field, None), field in _NAMES and not isinstance(part, ast.alias))
        elif isinstance(part, list):
            words.append(f"[{len(part)}")
            for item in part:
                write(item, names)
        elif names and part in local:
            words.append(numbers.setdefault(str(part), f"${len(numbers)}"))
        else:
            words.append(repr(part))

    write(node, False)
    return hashlib.sha256("\n".join(words).encode("utf-8", "surrogatepass")).hexdigest()
