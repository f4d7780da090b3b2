"""The graphs that the server knows by name: those that ship, and the user's own, kept as files in a folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latentgraph.engine import describe
from latentgraph.engine.graph import read_graph
from latentgraph.engine.library import shipped_graphs
from latentgraph.engine.outputs import write_whole
from latentgraph.engine.problems import Problems

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}(/[A-Za-z0-9_][A-Za-z0-9_-]{0,63}){0,3}")


@dataclass(frozen=True)
class Known:
    """A graph that has a name."""

    name: str
    file: Path
    own: bool

    @property
    def short(self) -> str:
        """What its files are called after."""
        return self.file.stem

    @property
    def text(self) -> str:
        """Raises OSError."""
        return self.file.read_bytes().decode("utf-8-sig", "replace")


class TooManyGraphs(Exception):
    """There are as many graphs of the user's own as there may be."""


class KnownGraphs:
    """Graphs by name; one of the user's own hides none that ships. Links that lead out of the folder are not followed.

    What is said about a graph is kept until its file changes: to read a large one takes seconds.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self.folder, self.most = folder, most
        self._shipped = {name: Known(name, file, False) for name, file in shipped_graphs()}
        self._described: dict[str, tuple[Any, dict[str, Any]]] = {}

    def __iter__(self) -> Iterator[Known]:
        yield from self._shipped.values()
        for file in sorted(self.folder.rglob("*.yaml")):
            name = file.relative_to(self.folder).with_suffix("").as_posix()
            if name not in self._shipped and (known := self.get(name)) is not None:
                yield known

    def get(self, name: str) -> Known | None:
        if name in self._shipped:
            return self._shipped[name]
        if not NAME.fullmatch(name):
            return None
        file = self.folder / f"{name}.yaml"
        return Known(name, file, True) if self._is_inside(file) and file.is_file() else None

    def ships(self, name: str) -> bool:
        return name in self._shipped

    def keep(self, name: str, text: str) -> bool:
        """Write one of the user's own; whether it is new. Raises ValueError for a name that none can have."""
        if not NAME.fullmatch(name):
            raise ValueError("a graph's name has letters, digits, `_` and `-`, in at most four parts with `/` between")
        file = self.folder / f"{name}.yaml"
        if not self._is_inside(file.parent):
            raise ValueError("a graph's name cannot begin like that here")
        new = not file.exists()
        if new and sum(1 for _ in self.folder.rglob("*.yaml")) >= self.most:
            raise TooManyGraphs
        write_whole(file, text.encode())
        return new

    def drop(self, known: Known) -> None:
        known.file.unlink()

    def described(self, known: Known) -> dict[str, Any]:
        """What can be read of a graph; one that is no YAML, or cannot be read, has a name only."""
        try:
            status = known.file.stat()
            stamp = (known.file, status.st_mtime_ns, status.st_size, status.st_ino)
            if (kept := self._described.get(known.name)) is None or kept[0] != stamp:
                kept = self._described[known.name] = (stamp, _described(known))
            return kept[1]
        except OSError:
            return _unread(known)

    def _is_inside(self, path: Path) -> bool:
        try:
            return path.resolve().is_relative_to(self.folder.resolve())
        except (OSError, RuntimeError):  # a loop of links
            return False


def _described(known: Known) -> dict[str, Any]:
    try:
        read = read_graph(known.text, known.name, known.short, known.file.parent, Problems())
    except OSError:
        raise
    except Exception:  # GraphWrong; whatever somebody wrote must not hide the other graphs
        return _unread(known)
    found = describe.graph(known.name, known.file, read)
    return {name: found[name] for name in ("name", "description", "params", "outputs")} | {"own": known.own}


def _unread(known: Known) -> dict[str, Any]:
    return {"name": known.name, "description": "", "own": known.own, "params": [], "outputs": []}
