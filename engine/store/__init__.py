"""The store: keeps results, key → digests and digest → value, in memory and on disk.

What it promises: a result that `keep` has taken survives the death of any process; what it gives was checked; a damaged
entry counts as missing; several processes share one store; it never grows beyond its bounds for long.
"""

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from ..places import cache_folder
from .claims import Claim
from .store import Listed, Pruned, Store, StoreError, StoreInfo

__all__ = ["Claim", "Listed", "Pruned", "Store", "StoreError", "StoreInfo", "default_folder", "open_store"]

MEMORY_BYTES = 512 * 1024**2

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
    if folder is None:
        return Store(None, memory_bytes, notice)
    folder = Path(os.path.abspath(folder))
    with _lock:
        if folder not in _opened:
            _opened[folder] = Store(folder, memory_bytes, notice)
        return _opened[folder]
