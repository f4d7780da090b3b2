"""The code of a node type as keys have it: a digest of everything that its `run` can come to.

That is the closure, over names, of functions, classes, base classes, decorators and constants in the code of the same
package or `--nodes` folder, imports inside functions included, and what loading those modules does besides. Where a
name cannot be told from the source, its whole module counts. The code of other distributions counts by their version.
Nothing is imported for it: sources are read, each once in a process, and what is found in them is remembered.
"""

import hashlib
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .definitions import Part, definitions, differs
from .digest import digest
from .distributions import counts_by_version, distributions_of, version_of
from .ports import PortType
from .remembered import remembered
from .statements import WRITERS

_KIND = f"code 2 {sys.implementation.cache_tag} {sys.flags.optimize}"  # raise the number with what `definitions` gives
_ENGINE = "latentgraph.engine"  # counts by its version everywhere
_NODES = "latentgraph.nodes"  # counts by its code in plugins, too: it changes between releases, where it is worked on

_Name = tuple[str, str]
"""A module, and the name of a part of it."""


@dataclass(frozen=True)
class Code:
    """The code of a node type or port type."""

    digest: str
    """Of the text of all that it can come to; says nothing to another process where it is not `complete`."""
    distributions: Mapping[str, str]
    """The versions of what it imports of others, by distribution, and Python's as `python`."""
    stale: tuple[str, ...] = ()
    """Files that are not what they were when they were loaded or read: what they compute now cannot be told."""
    complete: bool = True
    """Whether all of its source could be had; not so for a class that was made at run time, say."""


def code_of(thing: type, entry: Iterable[str] | None = None) -> Code:
    """The code of a node type; of a port type as the run has it, which writes (`written`) and stores (`codec`) values.

    `entry` names which of a port type's `written`, `described` and `codec` count. Ask once for each run, not for each
    node: `stale` is looked up anew each time, which takes a `stat` of every file.
    """
    writers = frozenset(WRITERS if entry is None else entry) if issubclass(thing, PortType) else frozenset[str]()
    with _lock:
        known = _known.get((thing, writers))
        if known is None:
            known = _known[thing, writers] = _code(thing, writers)
        code, modules = known
        stale = tuple(str(module.file) for module in modules if module.is_stale())
    return replace(code, stale=stale) if stale else code


_lock = threading.RLock()
_known: dict[tuple[type, frozenset[str]], tuple[Code, list["_Module"]]] = {}


def _code(thing: type, writers: frozenset[str]) -> tuple[Code, list["_Module"]]:
    top = _top(thing.__module__)
    entries = {(thing.__module__, thing.__qualname__.partition(".")[0])}
    for base in thing.__mro__:
        entries |= {(base.__module__, f"{base.__qualname__}.{writer}") for writer in writers if writer in vars(base)}
    closure = _Closure(name for name in entries if _is_own(top, _top(name[0])))
    if top == _ENGINE:
        closure.outside.add("latentgraph")
    complete = closure.complete and _has_source(thing)
    numbers = {name: version_of(name) for package in closure.outside for name in distributions_of(package)}
    numbers["python"] = f"{sys.version_info.major}.{sys.version_info.minor}"
    texts = [
        f"{module.removeprefix(top)} {name} {' '.join(texts)}"
        for module, name in closure.reached
        if (texts := _part(module, name).texts)
    ]
    text = "\n".join([thing.__qualname__, *sorted(texts)]).encode() if complete else os.urandom(32)
    modules = {module for name, _ in closure.reached if (module := _module(name)) and module.file}
    code = Code(hashlib.sha256(text).hexdigest(), dict(sorted(numbers.items())), (), complete)
    return code, sorted(modules, key=lambda module: module.name)


def _has_source(thing: type) -> bool:
    """Whether a class is what its module's source says: not one that was made in a function, or by calling `type`."""
    found: Any = sys.modules.get(thing.__module__)
    for name in thing.__qualname__.split("."):
        found = getattr(found, "__dict__", {}).get(name)
    part = _part(thing.__module__, thing.__qualname__.partition(".")[0])
    return found is thing and part.bases is not None


class _Closure:
    """All parts that some parts can come to."""

    def __init__(self, names: Iterable[_Name]) -> None:
        self.reached: set[_Name] = set()
        self.outside: set[str] = set()
        self.complete = True
        self._open: set[_Name] = set()
        more = list(names)
        while more:
            self._follow(more)
            more = [*self._derived(), *self._writers()]

    def _follow(self, names: list[_Name]) -> None:
        while names:
            name = names.pop()
            if name not in self.reached:
                self.reached.add(name)
                links = _links(*name)
                names += links.parts
                self.outside |= links.outside
                self._open |= links.open
                self.complete &= links.complete

    def _derived(self) -> Iterator[_Name]:
        """Classes that come with their base: values of them come where values of the base do."""
        for module in {module for module, _ in self.reached}:
            for name, bases in _classes(module):
                if (module, name) not in self._open and not self._open.isdisjoint(bases):
                    self._open.add((module, name))
                    yield module, name

    def _writers(self) -> list[_Name]:
        if not any(_part(*name).writes for name in self.reached):
            return []
        written = ((module, f"{name}.{writer}") for module, name in self.reached for writer in WRITERS)
        return [name for name in written if name not in self.reached and _part(*name).texts]


class _Links:
    """What a part leads to at once."""

    def __init__(self, module: "_Module", name: str) -> None:
        part = module.parts.get(name, _NOTHING)
        self.parts: set[_Name] = {(module.name, "")}
        self.open: set[_Name] = {(module.name, name)} if part.registers else set()
        self.outside: set[str] = set()
        self.complete = module.complete and not part.computed
        self._module = module
        self._seen: set[tuple[str, ...]] = set()
        if name == "" and module.name != _top(module.name):
            self.parts.add((module.name.rpartition(".")[0], ""))
        for use in part.imports:
            self._load(use)
        for use in part.uses:
            self.follow(use)
        for use in part.fields:
            self.open |= self.follow(use)

    def follow(self, use: str) -> set[_Name]:
        """Add what `module:name.attribute` means, seen from the module; the parts that it ends at."""
        self._seen.clear()
        return set(self._find(self._module, use, ()))

    def _load(self, use: str) -> None:
        target, _, name = use.partition(":")
        module = self._enter(self._module, target)
        if module is not None and name and name not in module.parts:
            self._enter(module, f"{module.name}.{name}")

    def _find(self, here: "_Module", use: str, below: tuple[str, ...]) -> Iterator[_Name]:
        target, _, chain = use.partition(":")
        names = (*chain.split("."), *below) if chain else below
        if target == "latentgraph" and names:
            target, names = f"latentgraph.{names[0]}", names[1:]
        module = self._enter(here, target)
        return self._walk(module, names) if module is not None else iter(())

    def _walk(self, module: "_Module", names: tuple[str, ...]) -> Iterator[_Name]:
        again = (module.name, *names) in self._seen  # a package that imports its own module `a` calls that `a`, too
        self._seen.add((module.name, *names))
        part = module.parts.get(names[0]) if names and not again else None
        if part is not None:
            self.parts.add((module.name, names[0]))
            if not part.origins:
                yield module.name, names[0]
            for origin in part.origins:
                yield from self._find(module, origin, names[1:])
        elif names and (inner := self._enter(module, f"{module.name}.{names[0]}")):
            yield from self._walk(inner, names[1:])
        elif not again:  # nobody knows what is meant, so it is everything
            for name, part in module.parts.items():
                self.parts.add((module.name, name))
                for origin in part.origins:
                    for _ in self._find(module, origin, ()):
                        pass

    def _enter(self, here: "_Module", target: str) -> "_Module | None":
        """A module whose code counts, if it can be found; otherwise what it belongs to is noted."""
        module, outside = here.seen(target)
        if outside:
            self.outside.add(outside)
        if module is not None:
            self.parts.add((module.name, ""))
        return module


class _Module:
    """A module by its source, as it was when it was first read in this process; it need not be loaded."""

    def __init__(self, name: str, file: str | None, folders: list[str] | None) -> None:
        self.name, self.folders = name, folders
        self.file = file if file and file.endswith(".py") else None
        self.parts: dict[str, Part] = {}
        self.complete = self.file is not None or (file is None and folders is not None)
        self._found: dict[str, Any] = {}
        self._stamp: tuple[int, ...] = ()
        self._seen: dict[str, tuple[_Module | None, str]] = {}
        self._compared = self._differs = False
        if self.file:
            try:
                self._stamp = _stamp(self.file)
                self._found = remembered(_KIND, Path(self.file), definitions)
            except OSError:
                self.complete = False
        if self._found.get("parts"):
            self.parts = {name: Part(**part) for name, part in self._found["parts"].items()}
        elif self.file:
            self.complete = False

    def seen(self, target: str) -> "tuple[_Module | None, str]":
        """The module that is called `target` here; where its code does not count, what counts by its version."""
        found = self._seen.get(target)
        if found is None:
            name = self._absolute(target)
            own = _is_own(_top(self.name), _top(name))
            found = self._seen[target] = (_module(name), "") if own else (None, _top(name).partition(".")[0])
        return found

    def _absolute(self, target: str) -> str:
        dots = len(target) - len(target.lstrip("."))
        if not dots:
            return target or self.name
        package = self.name.split(".") if self.folders is not None else self.name.split(".")[:-1]
        return ".".join([*package[: len(package) - dots + 1], *filter(None, [target[dots:]])])

    def is_stale(self) -> bool:
        """Whether its file changed since it was read, or what is loaded was made of another text."""
        if self.file is None or not self._found:
            return False
        try:
            stamp = _stamp(self.file)
            if stamp != self._stamp and digest(Path(self.file).read_bytes()) != self._found["text"]:
                return True
        except OSError:
            return True
        self._stamp = stamp
        if not self._compared and self.name in sys.modules:
            self._compared = True
            self._differs = differs(sys.modules[self.name], self._found)
        return self._differs


def _stamp(file: str) -> tuple[int, ...]:
    status = os.stat(file)
    return status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns


@cache
def _module(name: str) -> _Module | None:
    """A module whose code counts; None where there is none of this name."""
    loaded = sys.modules.get(name)
    if loaded is not None:
        folders = getattr(loaded, "__path__", None)
        return _Module(name, getattr(loaded, "__file__", None), None if folders is None else list(folders))
    if name == _top(name):
        spec = find_spec(name)
        return _Module(name, spec.origin, spec.submodule_search_locations) if spec is not None else None
    parent = _module(name.rpartition(".")[0])
    for folder in (parent.folders or ()) if parent else ():
        place = os.path.join(folder, name.rpartition(".")[2])
        if os.path.isfile(os.path.join(place, "__init__.py")):
            return _Module(name, os.path.join(place, "__init__.py"), [place])
        if os.path.isfile(f"{place}.py"):
            return _Module(name, f"{place}.py", None)
        if os.path.isdir(place):
            return _Module(name, None, [place])
    return None


def _part(module: str, name: str) -> Part:
    found = _module(module)
    return found.parts.get(name, _NOTHING) if found else _NOTHING


_NOTHING = Part()


@cache
def _links(module: str, name: str) -> _Links:
    return _Links(_module(module) or _Module(module, None, None), name)


@cache
def _classes(module: str) -> list[tuple[str, set[_Name]]]:
    """The classes in a module, with their base classes."""
    found = _module(module)
    if found is None:
        return []
    links = _Links(found, "")
    return [
        (name, {base for use in part.bases for base in links.follow(use)})
        for name, part in found.parts.items()
        if part.bases
    ]


def _top(module: str) -> str:
    """The package that a module belongs to: `latentgraph.nodes`, say, or else the first part of its name."""
    return ".".join(module.split(".")[: 2 if module.startswith("latentgraph.") else 1])


@cache
def _is_own(here: str, package: str) -> bool:
    """Whether the code of a package counts where that of another does, rather than the version of its distribution."""
    if package in (here, _NODES):
        return package != _ENGINE
    return package.partition(".")[0] != "latentgraph" and not counts_by_version(package)
