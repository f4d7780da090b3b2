"""The store that a command line asks for."""

from argparse import Namespace
from collections.abc import Callable
from typing import Literal

from ..store import Store, default_folder, open_store


def opened(args: Namespace, notice: Callable[[str], None]) -> Store:
    """`--store`, `--no-store` or the user's own. Raises StoreError where a newer release made it."""
    if getattr(args, "no_store", False):
        return open_store(None, memory_bytes=0, notice=notice)
    durability: Literal["process", "power"] = getattr(args, "durability", "process")
    return open_store(args.store or default_folder(), durability=durability, notice=notice)


def size(count: float) -> str:
    """A number of bytes as people read it: `812 B`, `3.4 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError
