"""What installed packages contribute: their entry points, read once, because reading them takes a while."""

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any


def entries(group: str) -> list[EntryPoint]:
    """The entry points of a group, by name."""
    return sorted(_all().select(group=group), key=lambda entry: entry.name)


@cache
def _all() -> Any:
    return entry_points()
