"""SQLite as the server uses it: everybody's changes of a moment in one commit, and short reads where they are needed.

Nothing is acknowledged before its commit. In WAL mode a commit survives the death of any process; with the durability
`power` it is synced, too, and one sync serves all that waited for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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
create index jobs_of on jobs(owner, state, rank);
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


class Results(list[tuple["asyncio.Future[Any]", Any, BaseException | None]]):
    """What came of the changes of a commit: the future of each, its result or its error."""


class DatabaseError(Exception):
    """The database cannot be used."""


class Database:
    """The server's database. `committed` is called in the event loop with what changes put into `changed`."""

    def __init__(self, path: Path, *, power: bool, committed: Callable[[set[Any]], None]) -> None:
        self.path, self._committed = path, committed
        self.changed: set[Any] = set()
        """What the changes of the commit under way touch; for changes alone."""
        self._power = power
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[Change, asyncio.Future[Any]]] = []
        self._busy = False
        self._thread = ThreadPoolExecutor(1, "database")
        self._writing = self._connect()
        self._prepare()
        self.reading = self._connect()
        self.reading.execute("pragma query_only = on")

    def write(self, change: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Make a change; its result is there when it is committed. Changes are made in the order of the calls.

        A change that raises is undone, and the others of the commit are not. Raises sqlite3.Error where the disk is
        full or broken.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        self._waiting.append((change, future))
        if not self._busy:
            self._busy = True
            self._loop.call_soon(self._begin)
        return future

    async def write_surely(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """The same for what must not be lost: tried again until the disk takes it."""
        while True:
            try:
                return await self.write(change)
            except sqlite3.OperationalError:
                await asyncio.sleep(1)

    def checkpoint(self) -> None:
        """Move what was committed from the log of changes into the file, as no commit does: it can take a while."""
        with contextlib.closing(self._connect()) as connection:
            connection.execute("pragma wal_checkpoint(passive)").fetchall()

    def close(self) -> None:
        """Write what waits and close the file."""
        self._thread.shutdown()
        if self._waiting:
            self._deliver(self._commit(self._taken()))
        self.reading.close()
        self._writing.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        connection.execute("pragma busy_timeout = 5000")
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma wal_autocheckpoint = 0")
        connection.execute(f"pragma synchronous = {'full' if self._power else 'normal'}")
        return connection

    def _prepare(self) -> None:
        (version,) = self._writing.execute("pragma user_version").fetchone()
        if version > FORMAT:
            raise DatabaseError("it was made by a newer release of latentgraph")
        if version == 0:
            self._writing.executescript(f"begin; {SCHEMA}; pragma user_version = {FORMAT}; commit;")

    def _begin(self) -> None:
        """Commit what waits: at once, as that takes less than to ask a thread; or in one, where the disk is awaited."""
        changes = self._taken()
        if self._power:
            self._loop.run_in_executor(self._thread, self._commit, changes).add_done_callback(self._end)
        else:
            self._settle(self._commit(changes))

    def _end(self, committed: asyncio.Future[Results]) -> None:
        self._settle(committed.result())

    def _settle(self, results: Results) -> None:
        self._busy = bool(self._waiting)
        if self._busy:
            self._loop.call_soon(self._begin)
        self._deliver(results)

    def _taken(self) -> list[tuple[Change, asyncio.Future[Any]]]:
        taken, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
        return taken

    def _commit(self, changes: list[tuple[Change, asyncio.Future[Any]]]) -> Results:
        connection, results = self._writing, Results()
        several = len(changes) > 1
        self.changed = set()
        try:
            connection.execute("begin immediate")
            for change, future in changes:
                if several:
                    connection.execute("savepoint change")
                try:
                    results.append((future, change(connection), None))
                except Exception as error:
                    if not (several and connection.in_transaction):
                        raise  # it was alone, or a full disk has undone everything
                    connection.execute("rollback to change")
                    results.append((future, None, error))
                if several:
                    connection.execute("release change")
            connection.execute("commit")
        except Exception as error:
            if connection.in_transaction:
                connection.execute("rollback")
            self.changed = set()
            return Results((future, None, error) for _, future in changes)
        return results

    def _deliver(self, results: Results) -> None:
        for future, result, error in results:
            if future.done():
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
        if self.changed:
            self._committed(self.changed)
