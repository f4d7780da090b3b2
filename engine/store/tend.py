"""Keeping the disk tier within its bound and in order: eviction, leftovers of killed processes, verifying."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..records import Record, Ref
from .contents import ROOM, Damaged
from .disk import OUTPUT_ROOM, Disk
from .memory import GRAIN
from .worth import share_of_results

DAY = 24 * 3600.0

STATE_AGE = 14 * DAY
"""After which nobody goes on from a saved state any more."""

LATEST_AGE = 90 * DAY
"""After which it is forgotten what the last run of a graph was."""


_BYTES = "COALESCE(CAST(bytes AS INTEGER), 0)"  # a flipped bit can make a text of a number


_TOTAL = f"""
SELECT (SELECT TOTAL(bytes) FROM results) + (SELECT TOTAL(bytes + {ROOM}) FROM contents)
     + (SELECT TOTAL(length(keys)) FROM latest) + (SELECT COUNT(*) FROM outputs) * {OUTPUT_ROOM}
"""


@dataclass(frozen=True)
class Pruned:
    """What was let go."""

    results: int = 0
    values: int = 0
    states: int = 0
    leftovers: int = 0
    """Files that belonged to nothing."""
    bytes: int = 0


@dataclass(frozen=True)
class Listed:
    """A result as `store list` shows it."""

    record: Record
    bytes: int
    """What it takes, with those of its values that are there."""
    used: float
    """When it was last used, in seconds since 1970; it may have been a minute later."""


def settle(disk: Disk) -> None:
    """Add what this process has written to the total of all processes, and evict where that is too much."""

    def do(connection: sqlite3.Connection) -> int:
        connection.execute("UPDATE total SET bytes=bytes+?", (disk.written,))
        disk.written = 0
        return int(connection.execute("SELECT TOTAL(bytes) FROM total").fetchone()[0])

    total = disk.index.write(do)
    if total > disk.limit:
        evict(disk, disk.bound * 9 // 10)
        total = int(disk.index.row("SELECT TOTAL(bytes) FROM total")[0])
        # Where runs under way need more than the bound, it is not tried again at every turn.
        disk.limit = disk.bound if total <= disk.bound else total + disk.bound // 16


def evict(disk: Disk, bytes: int) -> Pruned:
    """Let go of what is worth least, until `bytes` are left; what a run under way may have used stays."""
    now, spared = time.time(), disk.locks.oldest_run() - GRAIN

    def do(connection: sqlite3.Connection) -> Pruned:
        before = _total(connection)
        connection.execute("DELETE FROM latest WHERE used < ?", (now - LATEST_AGE,))
        results = _evict_results(connection, bytes, now, spared) if before > bytes else 0
        contents = _evict_contents(disk, connection, bytes, now, spared)
        after = _total(connection)
        connection.execute("UPDATE total SET bytes=?", (after,))
        disk.written = 0
        return Pruned(results, contents.count(False), contents.count(True), 0, before - after)

    return disk.index.write(do)


def prune(disk: Disk, bytes: int) -> Pruned:
    """Evict, and remove what belongs to nothing."""
    pruned = evict(disk, bytes)

    def do(connection: sqlite3.Connection) -> tuple[int, int]:
        known = {file for (file,) in connection.execute("SELECT file FROM contents WHERE file IS NOT NULL")}
        left = [file for file in _files(disk.folder) if file.relative_to(disk.folder).as_posix() not in known]
        left += _abandoned(disk)
        return len(left), _unlinked(left)

    count, freed = disk.index.write(do)
    disk.index.shrink()
    return replace(pruned, leftovers=count, bytes=pruned.bytes + freed)


def clear(disk: Disk) -> None:
    def do(connection: sqlite3.Connection) -> None:
        for table in ("results", "partials", "contents", "latest", "variables", "outputs", "times"):
            connection.execute(f"DELETE FROM {table}")
        connection.execute("UPDATE total SET bytes=0")
        _unlinked([*_files(disk.folder), *_abandoned(disk)])
        disk.written = 0
        disk.times.clear()

    disk.index.write(do)
    disk.index.shrink()


def verify(disk: Disk) -> list[str]:
    """What is damaged, in words; it is removed, where that is possible."""
    problems = []
    if disk.index.rows("PRAGMA quick_check(1)") != [("ok",)]:
        problems.append("the index is damaged")
        if disk.writable:
            disk.index.renew()
    for key in _keys(disk):
        try:
            disk.result(key)
        except Damaged as damaged:
            problems.append(f"the stored {damaged} is damaged")
            if disk.writable:
                disk.remove(key)
    for digest, kind, state in disk.index.rows("SELECT digest, type, state FROM contents"):
        problem = _problem(disk, digest, kind, state)
        if problem is not None:
            problems.append(problem)
            if disk.writable:
                disk.contents.drop(digest, kind)
    return problems


def counted(disk: Disk) -> tuple[int, int, int, int, dict[str, int]]:
    """Bytes, results, values, states, and results by node type."""
    rows = disk.index.rows("SELECT type, COUNT(*) FROM results GROUP BY type ORDER BY type")
    types = {str(kind): count for kind, count in rows}
    contents = dict(disk.index.rows("SELECT state, COUNT(*) FROM contents GROUP BY state"))
    total = int(disk.index.row(_TOTAL)[0])
    return total, sum(types.values()), contents.get(0, 0), contents.get(1, 0), types


def listed(disk: Disk) -> Iterator[Listed]:
    """All results, the newest first."""
    rows = disk.index.rows("SELECT digest, type, TOTAL(bytes) FROM contents GROUP BY digest, type")
    sizes = {Ref(kind, digest): size for digest, kind, size in rows}
    for key in _keys(disk):
        size, used = disk.index.row("SELECT TOTAL(bytes), TOTAL(used) FROM results WHERE key=?", key)
        record = disk.record(key)
        if record is not None:
            yield Listed(record, int(size + sum(sizes.get(ref, 0) for ref in set(record.refs()))), used)


def _problem(disk: Disk, digest: str, kind: str, state: bool) -> str | None:
    """What is wrong with a value or state."""
    from ..digest import digest as digest_of

    try:
        found = disk.contents.decoded(digest, kind)
        if found is None:  # its port type is not known here
            disk.contents.read(digest, kind)
        elif not state and digest_of(found[0]) != digest:
            return f"the stored {kind} {digest[:12]} is another value than it is kept as"
    except Damaged as damaged:
        return f"the stored {damaged} is damaged"
    return None


def _keys(disk: Disk) -> list[str]:
    return [str(key) for (key,) in disk.index.rows("SELECT key FROM results ORDER BY rowid DESC")]


def _total(connection: sqlite3.Connection) -> int:
    return int(connection.execute(_TOTAL).fetchone()[0])


def _evict_results(connection: sqlite3.Connection, bytes: int, now: float, spared: float) -> int:
    taken = connection.execute("SELECT TOTAL(bytes) FROM results").fetchone()[0]
    excess = taken - share_of_results(bytes, _total(connection) - taken)
    if excess <= 0:
        return 0
    gone = []
    query = f"SELECT key, {_BYTES} FROM results WHERE used < ? ORDER BY worth(seconds, bytes, ? - used)"
    for key, size in connection.execute(query, (spared, now)):
        if excess <= 0:
            break
        gone.append((key,))
        excess -= size
    connection.executemany("DELETE FROM results WHERE key=?", gone)
    connection.execute("DELETE FROM outputs WHERE key NOT IN (SELECT key FROM results)")
    connection.execute("DELETE FROM partials WHERE partial NOT IN (SELECT partial FROM results)")
    return len(gone)


def _evict_contents(disk: Disk, connection: sqlite3.Connection, bytes: int, now: float, spared: float) -> list[bool]:
    """For each that is gone, whether it was a state."""
    excess = _total(connection) - bytes
    gone = []
    query = f"""
    SELECT digest, type, file, {_BYTES}, state, state AND used < ? AS old FROM contents WHERE used < ?
    ORDER BY old DESC, worth(seconds, bytes, ? - used)
    """
    for digest, kind, file, size, state, old in connection.execute(query, (now - STATE_AGE, spared, now)):
        if excess <= 0 and not old:
            break
        gone.append((digest, kind, file, bool(state)))
        excess -= size + ROOM
    disk.contents.unlink(file for _, _, file, _ in gone)
    connection.executemany("DELETE FROM contents WHERE digest=? AND type=?", [row[:2] for row in gone])
    return [state for *_, state in gone]


def _files(folder: Path) -> Iterator[Path]:
    """The files of values and states."""
    for name in ("values", "states"):
        yield from (file for file in (folder / name).rglob("*") if file.is_file())


def _abandoned(disk: Disk) -> list[Path]:
    """Files that processes which are no longer there were writing."""
    found = []
    for file in (disk.folder / "writing").iterdir():
        alive = disk.locks.is_alive(file.name.partition("-")[0])
        if alive is None:
            alive = file.stat().st_mtime > time.time() - DAY
        if not alive:
            found.append(file)
    return found


def _unlinked(unwanted: Iterable[Path]) -> int:
    """How many bytes the files had."""
    freed = 0
    for file in unwanted:
        freed += file.stat().st_size
        file.unlink()
    return freed
