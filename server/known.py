"""The graphs that the server knows by name: those that ship, and the user's own, kept as files in a folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from latentgraph.engine.library import shipped_graphs
from latentgraph.engine.outputs import write_whole

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


class KnownGraphs:
    """Graphs by name; one of the user's own hides none that ships."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._shipped = {name: Known(name, file, False) for name, file in shipped_graphs()}

    def __iter__(self) -> Iterator[Known]:
        yield from self._shipped.values()
        for file in sorted(self.folder.rglob("*.yaml")):
            name = file.relative_to(self.folder).with_suffix("").as_posix()
            if NAME.fullmatch(name) and name not in self._shipped and file.is_file():
                yield Known(name, file, True)

    def get(self, name: str) -> Known | None:
        if name in self._shipped:
            return self._shipped[name]
        file = self.folder / f"{name}.yaml"
        if not NAME.fullmatch(name) or not file.is_file() or not file.resolve().is_relative_to(self.folder.resolve()):
            return None
        return Known(name, file, True)

    def ships(self, name: str) -> bool:
        return name in self._shipped

    def keep(self, name: str, text: str) -> bool:
        """Write one of the user's own; whether it is new. Raises ValueError for a name that none can have."""
        if not NAME.fullmatch(name):
            raise ValueError("a graph's name has letters, digits, `_` and `-`, in at most four parts with `/` between")
        file = self.folder / f"{name}.yaml"
        new = not file.exists()
        write_whole(file, text.encode())
        return new

    def drop(self, known: Known) -> None:
        known.file.unlink()
