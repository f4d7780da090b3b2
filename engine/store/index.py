"""The index of a store on disk: one SQLite file, shared by threads and processes.

It is in WAL mode: what is committed survives the death of any process. Threads that write at the same time share a
commit. A damaged index is begun anew; one that was deleted while it was open is noticed at the next commit.
"""

import contextlib
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from ..problems import UserError
from .locks import Locks
from .worth import worth

FORMAT = 1
"""Of the index and the files beside it, kept as the index's `user_version`."""

WAIT = 60.0
"""Seconds that another process may take for its commits."""

# What is long stands last in a row, so that the rest can be read without it.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS results
    (key TEXT PRIMARY KEY, type TEXT, partial TEXT, made REAL, seconds REAL, run TEXT, bytes INTEGER, used REAL,
     checksum BLOB, outputs BLOB, sources BLOB, about BLOB);
CREATE TABLE IF NOT EXISTS partials (partial TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS contents
    (digest TEXT, type TEXT, state INTEGER, seconds REAL, bytes INTEGER, used REAL,
     file TEXT, checksum BLOB, content BLOB, PRIMARY KEY (digest, type));
CREATE TABLE IF NOT EXISTS latest (graph TEXT PRIMARY KEY, used REAL, keys BLOB);
CREATE TABLE IF NOT EXISTS variables (code TEXT, name TEXT, PRIMARY KEY (code, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outputs (content TEXT PRIMARY KEY, key TEXT, output TEXT, run TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS times (type TEXT PRIMARY KEY, seconds REAL, count INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS total (bytes INTEGER);
INSERT INTO total SELECT 0 WHERE NOT EXISTS (SELECT * FROM total);
"""

T = TypeVar("T")


class StoreError(UserError):
    """A store that this release cannot use."""


class _Job(Generic[T]):
    """Something to be done inside a transaction, and what came of it."""

    __slots__ = ("do", "done", "given", "trouble")

    def __init__(self, do: Callable[[sqlite3.Connection], T]) -> None:
        self.do = do
        self.done = False
        self.given: T | None = None
        self.trouble: Exception | None = None


class Index:
    """The SQLite file at `file`. All methods raise sqlite3.Error and OSError where the disk is in trouble."""

    def __init__(self, file: Path, locks: Locks | None, *, power: bool, notice: Callable[[str], None]) -> None:
        """Without locks the file is only read."""
        self.file = file
        self._locks = locks
        self._power = power
        self._notice = notice
        self._lock = threading.Lock()
        self._waiting: deque[_Job[Any]] = deque()
        self._inode = 0
        self._connection: sqlite3.Connection | None = None
        with self._lock:
            self._connect()

    def row(self, query: str, *values: Any) -> Any:
        """The first row; None where there is none."""
        with self._lock:
            return (self._connection or self._connect()).execute(query, values).fetchone()

    def rows(self, query: str, *values: Any) -> list[Any]:
        with self._lock:
            return (self._connection or self._connect()).execute(query, values).fetchall()

    def write(self, do: Callable[[sqlite3.Connection], T]) -> T:
        """What `do` gives inside a transaction, once that is committed.

        It may be called again where something interrupted the first time, so doing it twice has to do no harm.
        """
        mine: _Job[T] = _Job(do)
        self._waiting.append(mine)
        try:
            with self._lock:
                if not mine.done:
                    self._commit(mine)
        except BaseException:
            with contextlib.suppress(ValueError):
                self._waiting.remove(mine)
            raise
        if mine.trouble is not None:
            raise mine.trouble
        return mine.given  # type: ignore[return-value]

    def renew(self) -> None:
        """Begin anew, as the file is damaged; unless another process has done so already."""
        with self._lock:
            self._close()
            self._connect(damaged=self._inode)

    def shrink(self) -> None:
        """Give the room of deleted rows back to the disk."""
        with self._lock:
            connection = self._connection or self._connect()
            connection.executescript("PRAGMA incremental_vacuum")  # `execute` would do one page of it
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Until it is used again. What was committed is safe without it."""
        with self._lock:
            self._close()

    def before_fork(self) -> None:
        """So that no thread is inside SQLite."""
        self._lock.acquire()

    def after_fork(self, *, child: bool) -> None:
        """SQLite's locks are the parent's: the child needs a connection of its own."""
        if child:
            self._waiting.clear()
            self._close()
        self._lock.release()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _commit(self, mine: _Job[Any]) -> None:
        """Do all jobs that wait, in one transaction."""
        jobs: list[_Job[Any]] = []
        while self._waiting:
            jobs.append(self._waiting.popleft())
        try:
            connection = self._current()
            connection.execute("BEGIN IMMEDIATE")
            try:
                for job in jobs:
                    job.given = job.do(connection)
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
        except Exception as trouble:
            for job in jobs:
                job.trouble = trouble
        except BaseException:  # an interrupt, which concerns this thread only
            self._waiting.extend(job for job in jobs if job is not mine)
            raise
        for job in jobs:
            job.done = True

    def _current(self) -> sqlite3.Connection:
        """The connection, to the file that has the name now."""
        if self._connection is None:
            return self._connect()
        if _inode(self.file) != self._inode:
            self._close()
            return self._connect()
        return self._connection

    def _connect(self, damaged: int | None = None) -> sqlite3.Connection:
        """Open the file; where it is the damaged one, or turns out to be damaged, begin a new one."""
        if self._locks is None:
            self._connection = _opened_for_reading(self.file)
            return self._connection
        with self._locks.alone():
            refuse_newer(self.file)
            if damaged is not None and _inode(self.file) == damaged:
                self._remove()
            elif not _size(self.file) and (self.file.parent / "values").exists():
                self._notice(f"the index of the store {self.file.parent} is gone, what it had will be made again")
            try:
                self._connection = _opened(self.file, self._power)
            except (sqlite3.Error, UnicodeDecodeError) as trouble:
                if not is_damage(trouble):
                    raise
                self._remove()
                self._connection = _opened(self.file, self._power)
            self._inode = _inode(self.file)
        return self._connection

    def _remove(self) -> None:
        self._notice(f"the index of the store {self.file.parent} is damaged, what it had will be made again")
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.file}{suffix}").unlink(missing_ok=True)


def refuse_newer(file: Path) -> None:
    """Raises StoreError for a store of a newer release. Looks into the file without SQLite, which would touch it."""
    try:
        with file.open("rb") as opened:
            header = opened.read(64)
    except OSError:
        return
    if header.startswith(b"SQLite format 3\0") and len(header) == 64:
        _refuse(int.from_bytes(header[60:64], "big"), file.parent)


def _refuse(format: int, folder: Path) -> None:
    if format > FORMAT:
        raise StoreError(
            f"the store {folder} was made by a newer release of latentgraph (format {format}, this one knows {FORMAT});"
            " update latentgraph, or name another folder with --store"
        )


def _opened(file: Path, power: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(file, timeout=WAIT, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA fullfsync={int(power)}")
        format = connection.execute("PRAGMA user_version").fetchone()[0]
        _refuse(format, file.parent)
        if format == 0:
            # Not in WAL mode yet, so that the format is in the file itself.
            connection.execute(f"PRAGMA synchronous={'FULL' if power else 'OFF'}")
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
            connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version={FORMAT}; COMMIT")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA wal_autocheckpoint=4000")  # a checkpoint waits for the disk
        connection.execute(f"PRAGMA synchronous={'FULL' if power else 'NORMAL'}")
        connection.execute("SELECT bytes FROM total").fetchone()
        return _prepared(connection)
    except BaseException:
        connection.close()
        raise


def _opened_for_reading(file: Path) -> sqlite3.Connection:
    """Where nothing can be written beside the file, SQLite reads it only if it takes it to be unchangeable."""
    for options in ("mode=ro", "mode=ro&immutable=1"):
        connection = sqlite3.connect(f"{file.as_uri()}?{options}", uri=True, timeout=WAIT, check_same_thread=False)
        try:
            connection.execute("SELECT bytes FROM total").fetchone()
            return _prepared(connection)
        except sqlite3.Error as error:
            trouble = error
            connection.close()
    raise trouble


def _prepared(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.execute("PRAGMA cache_size=-16000")
    connection.create_function("worth", 3, _worth, deterministic=True)
    connection.text_factory = lambda text: text.decode(errors="replace")  # a flipped bit is no reason to give up
    return connection


def _worth(*numbers: Any) -> float:
    try:
        return worth(*numbers)
    except TypeError:  # a flipped bit can make a text of a number
        return 0.0


def _inode(file: Path) -> int:
    try:
        return os.stat(file).st_ino
    except FileNotFoundError:
        return 0


def _size(file: Path) -> int:
    try:
        return os.stat(file).st_size
    except FileNotFoundError:
        return 0


def is_damage(trouble: Exception) -> bool:
    """Whether it tells of a file that is no proper index (any more)."""
    code = getattr(trouble, "sqlite_errorcode", 0)
    damaged = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_TOOBIG)
    return (
        isinstance(trouble, UnicodeDecodeError)  # of a message that SQLite makes of what it found
        or code & 0xFF in damaged
        or code == sqlite3.SQLITE_IOERR_SHORT_READ
        or (isinstance(trouble, sqlite3.OperationalError) and str(trouble).startswith("no such "))
    )


def is_busy(trouble: Exception) -> bool:
    return getattr(trouble, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
