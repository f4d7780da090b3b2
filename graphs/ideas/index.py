"""The ideas in their order: which graph shows each, and what is said about it (`ideas.toml`)."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Idea:
    """One idea: what it claims, and what shows that."""

    graph: str
    title: str
    passage: str
    claim: str
    measured: str
    """A sentence with outputs of the graph in braces, as `str.format` takes them."""
    holds: str = ""
    """The property that tests hold."""
    remarks: tuple[str, ...] = ()

    @property
    def file(self) -> Path:
        return FOLDER / f"{self.graph}.yaml"

    def says(self, values: Mapping[str, Any]) -> str:
        """What was measured, in a sentence."""
        return self.measured.format(**values)


def ideas() -> list[Idea]:
    found = tomllib.loads((FOLDER / "ideas.toml").read_text(encoding="utf-8"))["idea"]
    return [Idea(**{**entry, "remarks": tuple(entry["remarks"])}) for entry in found]
