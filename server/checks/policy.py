"""Which node types graphs may use, and which folders they may read: the same in the server and its workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from latentgraph.engine.library import shipped_folders
from latentgraph.engine.registry import Registry, load_registry
from latentgraph.engine.roots import confine, uploads_in

from ..queue.uploads import folders_of
from .limits import Limits
from .paths import hide


@dataclass(frozen=True)
class Policy:
    """A node type may run where it has no effects, or `allow` names it, and `deny` does not name it.

    Where both name it, the one that says more of its name counts, and `deny` where they say as much: `--allow '*'
    --deny Phones` allows all but one, `--deny '*' --allow KSampler` one alone.
    """

    nodes: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    """Folders that graphs may read."""
    graphs: str = ""
    """The folder of the user's own graphs."""
    uploads: str = ""
    """The folder of what was uploaded."""
    closed: tuple[str, ...] = ()
    """What no graph reads, where it is in one of the folders: the server's own files."""
    limits: Limits = field(default_factory=Limits)

    def enforce(self) -> Registry:
        """Confine this process, and give the node types that may run in it. Raises PluginError."""
        registry = load_registry(map(Path, self.nodes))
        for node_type in list(registry):
            name = node_type.__name__
            allowed, denied = _named(name, self.allow), _named(name, self.deny)
            if denied >= allowed and denied >= 0:
                registry.refuse(name, "this server excludes it")
            elif node_type.effects and allowed < 0:
                registry.refuse(name, f"it {' and '.join(node_type.effects)}, and this server does not allow it")
        hide(*self.files, self.graphs, self.uploads, *self.closed)
        confine([*map(Path, self.files), Path(self.graphs), *shipped_folders()], map(Path, self.closed))
        return registry

    def reading(self, reader: str | None) -> AbstractContextManager[None]:
        """In it, graphs read the uploads of an owner; those of everybody for None."""
        return uploads_in(folders_of(Path(self.uploads), reader))

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Policy:
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
            for name, value in found.items()
        }
        return cls(**{**values, "limits": Limits(**values["limits"])})


def _named(name: str, patterns: Sequence[str]) -> int:
    """How many letters of a name the pattern says that says most of it; -1 where none fits."""
    return max((len(pattern.replace("*", "")) for pattern in patterns if fnmatchcase(name, pattern)), default=-1)
