"""The store: keeps results, key → digests and digest → value, in memory and on disk.

What it promises: a result that `keep` has taken survives the death of any process; what it gives was checked; what is
damaged counts as missing; several processes share one store; it stays within its bounds, but for what runs under way
are using.
"""

import os
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from ..places import cache_folder
from ..problems import UserError
from .index import StoreError
from .locks import Claim
from .store import Store, StoreInfo
from .tend import Listed, Pruned

__all__ = [
    "Claim",
    "Listed",
    "Pruned",
    "Store",
    "StoreError",
    "StoreInfo",
    "bytes_meant",
    "default_folder",
    "open_store",
]

MEMORY_BYTES = 512 * 1024**2
DISK_BYTES = 10 * 1024**3

_lock = threading.Lock()
_opened: dict[Path, Store] = {}


def default_folder() -> Path:
    """`LATENTGRAPH_STORE`, or `store` in the cache folder."""
    named = os.environ.get("LATENTGRAPH_STORE")
    return Path(named) if named else cache_folder() / "store"


def open_store(
    folder: Path | None,
    *,
    memory_bytes: int = MEMORY_BYTES,
    disk_bytes: int | None = None,
    durability: Literal["process", "power"] = "process",
    notice: Callable[[str], None] = lambda message: print(f"warning: {message}", file=sys.stderr),
) -> Store:
    """The store in a folder; without one, a store of its own in memory.

    A process has one store for each folder: who opens it again gets the same, as it was opened first, and from then on
    `notice` takes what it has to say. `disk_bytes` is by default what LATENTGRAPH_STORE_BYTES says, or 10 GiB. With the
    durability `power`, what was kept survives a loss of power, too.

    Raises StoreError for a store that was made by a newer release, and UserError where LATENTGRAPH_STORE_BYTES is none.
    """
    if folder is None:
        return Store(None, memory_bytes, 0, False, notice)
    if disk_bytes is None:
        said = os.environ.get("LATENTGRAPH_STORE_BYTES")
        disk_bytes = bytes_meant(said) if said else DISK_BYTES
    folder = Path(os.path.realpath(folder))
    with _lock:
        if folder not in _opened:
            _opened[folder] = Store(folder, memory_bytes, disk_bytes, durability == "power", notice)
        _opened[folder].notice = notice
        return _opened[folder]


def bytes_meant(text: str) -> int:
    """The number of bytes in a text such as `2GB`, `500 MiB` or `1000000`. Raises UserError."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:([kmgt])(i)?)?b?\s*", text, re.IGNORECASE)
    if found is None:
        raise UserError(f"`{text}` is no size; write a number of bytes, or one like 500MB or 2GiB")
    number, prefix, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** (" kmgt".index(prefix.lower()) if prefix else 0))
