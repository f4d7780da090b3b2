"""What was found out about a file, remembered until the file changes.

A file counts as unchanged while its path, size, inode, mtime and ctime (in nanoseconds) are the same. Nothing is
remembered of a file that was changed less than two seconds ago: it could change again within the clock's resolution.
"""

import contextlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .places import cache_folder

SETTLED = 2.0  # seconds

_lock = threading.Lock()
_known: dict[tuple[Any, ...], Any] = {}
_tables: dict[Path, sqlite3.Connection | None] = {}


def remembered(kind: str, path: Path, find_out: Callable[[Path], Any]) -> Any:
    """What `find_out(path)` gives, a JSON value, unless it is known already. Raises OSError and what it raises.

    `kind` says what is found out, and in which version of how: two ways never share an answer.
    """
    path = Path(os.path.abspath(path))
    before = _stamp(path)
    key = (kind, str(path), *before)
    if key in _known:
        return _known[key]
    table = _table()
    found = _look_up(table, key) if table is not None else None
    if found is None:
        found = find_out(path)
        if _stamp(path) != before or time.time() - max(before[2], before[3]) / 1e9 < SETTLED:
            return found
        if table is not None:
            _write(table, key, found)
    _known[key] = found
    return found


def _stamp(path: Path) -> tuple[int, int, int, int]:
    status = path.stat()
    return status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns


def _look_up(table: sqlite3.Connection, key: tuple[Any, ...]) -> Any:
    query = "SELECT found FROM files WHERE kind=? AND path=? AND size=? AND inode=? AND mtime=? AND ctime=?"
    with _lock:
        try:
            row = table.execute(query, key).fetchone()
        except (sqlite3.Error, UnicodeEncodeError):  # a name need not be text
            return None
    return json.loads(row[0]) if row else None


def _write(table: sqlite3.Connection, key: tuple[Any, ...], found: Any) -> None:
    with _lock:
        # On a disk that is full or cannot be written it is found out anew each time.
        with contextlib.suppress(sqlite3.Error, UnicodeEncodeError):
            table.execute("REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?)", (*key, json.dumps(found)))


def _table() -> sqlite3.Connection | None:
    """The table in the cache folder; None where there can be none."""
    file = cache_folder() / "files.sqlite"
    with _lock:
        if file not in _tables:
            _tables[file] = _opened(file)
        return _tables[file]


def _opened(file: Path) -> sqlite3.Connection | None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        table = sqlite3.connect(file, timeout=5, isolation_level=None, check_same_thread=False)
        table.execute("PRAGMA journal_mode=WAL")
        table.execute("PRAGMA synchronous=NORMAL")
        table.execute(
            "CREATE TABLE IF NOT EXISTS files (kind TEXT, path TEXT, size INTEGER, inode INTEGER, mtime INTEGER,"
            " ctime INTEGER, found TEXT, PRIMARY KEY (kind, path)) WITHOUT ROWID"
        )
    except (OSError, sqlite3.Error):
        return None
    return table
