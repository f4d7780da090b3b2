"""SQLite as the server uses it: one thread writes, everybody's changes in one commit, and the event loop reads.

Nothing is acknowledged before its commit. In WAL mode a commit survives the death of any process; with the durability
`power` it is synced, too, and one sync serves all that waited for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
Change = Callable[[sqlite3.Connection], Any]

FORMAT = 1
TOGETHER = 512
"""At most so many changes are committed together."""

SCHEMA = """
create table meta(name text primary key, value text) without rowid;
create table texts(digest text primary key, text text) without rowid;
create table jobs(
    id text primary key,
    owner text not null,
    graph text not null,         -- its name
    text text not null,          -- the digest of its text
    request text not null,       -- what a worker needs besides, as JSON
    params text not null,        -- what was given and drawn, as JSON
    key text,                    -- the client's idempotency key
    body text not null,          -- the digest of the whole submission
    priority integer not null,
    rank integer not null,       -- the virtual time at which it is due, see `queue`
    affinity text not null,      -- the models it needs, as JSON
    state text not null,
    cancelling integer not null default 0,
    created real not null,
    started real,
    finished real,
    attempts integer not null default 0,
    deaths integer not null default 0,   -- of workers while they ran it
    last integer not null default 0,     -- the seq of its newest event
    counts text,
    outputs text,
    error text,
    bytes integer not null default 0     -- of its outputs
) without rowid;
create index jobs_due on jobs(priority desc, rank, id) where state = 'queued';
create index jobs_of on jobs(owner, state);
create index jobs_in on jobs(state);
create index jobs_finished on jobs(finished) where finished is not null;
create unique index jobs_key on jobs(owner, key) where key is not null;
create table events(
    cursor integer primary key autoincrement,
    job text not null,
    owner text not null,
    seq integer not null,
    time real not null,
    body text not null
);
create unique index events_of on events(job, seq);
create index events_for on events(owner, cursor);
create table outputs(
    job text not null, file text not null, digest text not null, media text not null, size integer not null,
    primary key (job, file)
) without rowid;
create index outputs_of on outputs(digest);
create table uploads(
    digest text not null, owner text not null, name text not null, media text not null, size integer not null,
    created real not null, primary key (digest, owner)
) without rowid;
create table deliveries(
    job text primary key, url text not null, attempts integer not null default 0, due real not null
) without rowid;
"""


class DatabaseError(Exception):
    """The database cannot be used: made by a newer release, or by another server that is running."""


class Database:
    """The server's database. `committed` is called in the event loop with what changes put into `changed`."""

    def __init__(self, path: Path, *, power: bool, committed: Callable[[set[Any]], None]) -> None:
        self.path, self._committed = path, committed
        self.changed: set[Any] = set()
        """What the changes of the commit under way touch; for the writing thread alone."""
        self._power = power
        self._loop = asyncio.get_running_loop()
        self._waiting: queue.SimpleQueue[tuple[Change, asyncio.Future[Any]] | None] = queue.SimpleQueue()
        self._writing = self._connect()
        self._prepare()
        self.reading = self._connect()
        self.reading.execute("pragma query_only = on")
        self._thread = threading.Thread(target=self._write_all, name="database", daemon=True)
        self._thread.start()

    def write(self, change: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Make a change; its result is there when it is committed. Changes are made in the order of the calls.

        A change that raises is undone, and the others of the commit are not. Raises sqlite3.Error where the disk is
        full or broken.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        self._waiting.put((change, future))
        return future

    async def write_surely(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """The same for what must not be lost: tried again until the disk takes it."""
        while True:
            try:
                return await self.write(change)
            except sqlite3.OperationalError:
                await asyncio.sleep(1)

    def close(self) -> None:
        """Write what waits and close the file."""
        self._waiting.put(None)
        self._thread.join()
        self.reading.close()
        self._writing.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        connection.execute("pragma busy_timeout = 5000")
        connection.execute("pragma journal_mode = wal")
        connection.execute(f"pragma synchronous = {'full' if self._power else 'normal'}")
        return connection

    def _prepare(self) -> None:
        (version,) = self._writing.execute("pragma user_version").fetchone()
        if version > FORMAT:
            raise DatabaseError(f"{self.path} was made by a newer release of latentgraph")
        if version == 0:
            self._writing.executescript(f"begin; {SCHEMA}; pragma user_version = {FORMAT}; commit;")

    def _write_all(self) -> None:
        open_ = True
        while open_:
            batch = [self._waiting.get()]
            with contextlib.suppress(queue.Empty):
                while len(batch) < TOGETHER:
                    batch.append(self._waiting.get_nowait())
            changes = [entry for entry in batch if entry is not None]
            open_ = len(changes) == len(batch)
            if changes:
                self._commit(changes)

    def _commit(self, changes: list[tuple[Change, asyncio.Future[Any]]]) -> None:
        connection, results = self._writing, list[tuple[asyncio.Future[Any], Any, BaseException | None]]()
        self.changed = set()
        try:
            connection.execute("begin immediate")
            for change, future in changes:
                connection.execute("savepoint change")
                try:
                    results.append((future, change(connection), None))
                except Exception as error:
                    if not connection.in_transaction:
                        raise  # a full disk undoes everything
                    connection.execute("rollback to change")
                    results.append((future, None, error))
                connection.execute("release change")
            connection.execute("commit")
        except Exception as error:
            if connection.in_transaction:
                connection.execute("rollback")
            results = [(future, None, error) for _, future in changes]
            self.changed = set()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(self._deliver, results, self.changed)

    def _deliver(self, results: list[tuple[asyncio.Future[Any], Any, BaseException | None]], changed: set[Any]) -> None:
        for future, result, error in results:
            if future.done():
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
        if changed:
            self._committed(changed)
