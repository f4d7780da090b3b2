"""The node types there are: those that installed packages contribute, and those that `--nodes` adds."""

import gc
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from zlib import crc32

from .diagnostics import nearest
from .entries import entries
from .node import Node
from .problems import UserError
from .switch import Switch

GROUP = "latentgraph.nodes"


class PluginError(UserError):
    """A package, file or folder that should hold node types could not be loaded, or clashes with another."""


class Registry:
    """Node types by name, `Switch` among them. Raises PluginError where two have one name."""

    def __init__(self, types: Iterable[type[Node]] = ()) -> None:
        self._types: dict[str, type[Node]] = {}
        self._aliases: dict[str, type[Node]] = {}
        self._refused: dict[str, str] = {}
        self.add(Switch)
        for node_type in types:
            self.add(node_type)

    def add(self, node_type: type[Node]) -> None:
        name = node_type.__name__
        known = self._types.get(name)
        if known is not None and known is not node_type:
            raise PluginError(f"two node types are called {name}: in {_home(known)} and in {_home(node_type)}")
        self._types[name] = node_type
        for alias in node_type.aliases:
            self._aliases[alias] = node_type

    def get(self, name: str) -> type[Node] | None:
        """The node type with a name. Raises PluginError where its outputs are not declared as they have to be."""
        found = self._types.get(name) or self._aliases.get(name)
        return found and _sound(found)

    def refuse(self, name: str, reason: str) -> None:
        """Take a node type out: graphs that use it are told why."""
        refused = self._types.pop(name)
        self._aliases = {alias: node_type for alias, node_type in self._aliases.items() if node_type is not refused}
        self._refused |= dict.fromkeys((name, *refused.aliases), reason)

    def refused(self, name: str) -> str | None:
        """Why a node type may not be used here, if it was taken out."""
        return self._refused.get(name)

    def nearest(self, name: str) -> str | None:
        return nearest(name, list(self._types))

    def __iter__(self) -> Iterator[type[Node]]:
        return iter(sorted(map(_sound, self._types.values()), key=lambda t: (t.category, t.__name__)))

    def __len__(self) -> int:
        return len(self._types)


def _sound(node_type: type[Node]) -> type[Node]:
    """The node type; looked at when it is asked for, because that takes longer than to declare it."""
    try:
        node_type.outputs()
    except (TypeError, NameError) as error:
        raise PluginError(f"the node type {node_type.__name__} in {_home(node_type)}: {error}") from error
    return node_type


def installed_types() -> Iterator[type[Node]]:
    """The node types of installed packages: each entry point is a module with node types, or gives an iterable of them.

    Raises PluginError where one cannot be loaded.
    """
    for entry in entries(GROUP):
        try:
            loaded = entry.load()
            yield from types_in(loaded) if isinstance(loaded, ModuleType) else loaded()
        except PluginError:
            raise
        except (Exception, SystemExit) as error:
            package = entry.dist.name if entry.dist else entry.value
            raise PluginError(
                f"the node types of the package {package} cannot be loaded: {type(error).__name__}: {error}"
            ) from error


def types_in(module: ModuleType) -> Iterator[type[Node]]:
    """The node types that a module defines itself."""
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Node) and value.__module__ == module.__name__:
            yield value


def types_at(path: Path) -> Iterator[type[Node]]:
    """The node types of a Python file, or of all modules of a folder, which is a package.

    Raises PluginError where the path is neither or cannot be loaded.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob("*.py") if "__pycache__" not in file.parts)
    elif path.is_file() and path.suffix == ".py":
        files = [path]
    else:
        raise PluginError(f"{path} is neither a Python file nor a folder with node types")
    # The name tells apart files that are called alike, in different folders.
    package = f"latentgraph_nodes_{path.stem.replace('.', '_')}_{crc32(os.fsencode(path.resolve())):08x}"
    if path.is_dir():
        _module(package, path / "__init__.py" if (path / "__init__.py").exists() else None, path)
    for file in files:
        if not path.is_dir():
            yield from types_in(_module(package, file, None))
            continue
        parts = file.relative_to(path).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        for depth in range(1, len(parts)):
            folder = path.joinpath(*parts[:depth])
            inner = folder / "__init__.py"
            _module(".".join([package, *parts[:depth]]), inner if inner.exists() else None, folder)
        folder_of = file.parent if file.name == "__init__.py" else None
        yield from types_in(_module(".".join([package, *parts]), file, folder_of))


def _module(name: str, file: Path | None, folder: Path | None) -> ModuleType:
    """The module `name` loaded from a file; a folder without `__init__.py` is a package all the same."""
    known = sys.modules.get(name)
    if known is not None:
        return known
    if file is None:
        module = ModuleType(name)
        module.__path__ = [str(folder)]
        sys.modules[name] = module
        return module
    search = [str(folder)] if folder is not None else None
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=search)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
        where = f"{file}:{lines[-1]}" if lines else str(file)
        raise PluginError(f"{where}: cannot be loaded: {type(error).__name__}: {error}") from error
    return module


def _home(node_type: type[Node]) -> str:
    """Where a node type is defined, as people know it: the module, or the file where `--nodes` named one."""
    module = sys.modules.get(node_type.__module__)
    file = getattr(module, "__file__", None)
    return str(file) if file and node_type.__module__.startswith("latentgraph_nodes_") else node_type.__module__


def load_registry(extra: Iterable[Path] = ()) -> Registry:
    """All node types: installed ones and those of the files and folders `extra`. Raises PluginError."""
    with _nothing_collected():
        registry = Registry(installed_types())
        for path in extra:
            for node_type in types_at(path):
                registry.add(node_type)
    return registry


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Classes are many objects and all stay: looking for garbage among them only takes time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
