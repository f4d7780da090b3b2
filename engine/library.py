"""Finding graphs: files by path, and the graphs that installed packages ship by name."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from .diagnostics import nearest
from .entries import entries
from .problems import UserError

GROUP = "latentgraph.graphs"


class NoSuchGraph(UserError):
    """No file and no graph that ships has this name."""


def shipped_folders() -> Iterator[Path]:
    """The folders in which installed packages ship graphs, and what these graphs read."""
    for entry in entries(GROUP):
        spec = find_spec(entry.value)
        yield from map(Path, (spec.submodule_search_locations or ()) if spec else ())


def shipped_graphs() -> Iterator[tuple[str, Path]]:
    """Names and files of the graphs that ship, in order; a graph in a folder is called `folder/name`."""
    found: dict[str, Path] = {}
    for folder in shipped_folders():
        for file in folder.rglob("*.yaml"):
            found.setdefault(file.relative_to(folder).with_suffix("").as_posix(), file)
    yield from sorted(found.items(), key=lambda item: ("/" in item[0], item[0]))


def find_graph(name: str | Path) -> tuple[str, Path]:
    """The short name and the file of a graph given by path or by the name under which it ships. Raises NoSuchGraph."""
    path = Path(name)
    if path.is_file():
        return path.stem, path
    shipped = dict(shipped_graphs())
    if str(name) in shipped:
        return Path(name).name, shipped[str(name)]
    if path.is_dir():
        raise NoSuchGraph(f"`{name}` is a folder, a graph file is wanted")
    near = nearest(str(name), list(shipped))
    help = f"did you mean `{near}`?" if near else "`latentgraph graphs` lists those that ship"
    raise NoSuchGraph(f"there is no file `{name}`, and no graph that ships is called so ({help})")
