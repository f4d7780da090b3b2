"""Reading jobs and their events; and waiting until there are more.

The durable log is the buffer: whoever follows a job or a feed keeps a position, reads a page, and at the head waits.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .jobs import FINAL

PAGE = 200


@dataclass(frozen=True)
class Logged:
    """An event of the log, its JSON as it is sent."""

    job: str
    seq: int
    cursor: int
    text: str
    """A JSON object from `job` on, without the opening brace."""
    last: bool


class Heads:
    """Wakes those that wait for more of a job's, or an owner's, events."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}

    @contextmanager
    def waiting(self, subject: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever something about the subject was committed; the waiter clears it."""
        event = asyncio.Event()
        self._waiting.setdefault(subject, set()).add(event)
        try:
            yield event
        finally:
            self._waiting[subject].discard(event)
            if not self._waiting[subject]:
                del self._waiting[subject]

    def wake(self, subjects: Collection[str]) -> None:
        for subject in subjects:
            for event in self._waiting.get(subject, ()):
                event.set()

    def wake_all(self) -> None:
        self.wake(list(self._waiting))


class Turns:
    """Those who read long stretches of the log take turns, with each other and with all else that the server does: no
    more than a page in an iteration of the event loop."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def take(self) -> None:
        async with self._lock:
            await asyncio.sleep(0)


class Log:
    """What is in the database about jobs. Reads are short, so they are made where they are asked for."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def events(self, job: str, after: int, limit: int = PAGE) -> list[Logged]:
        return self._read("where job = ? and seq > ? order by seq", (job, after), limit)

    def feed(self, owner: str | None, after: int, limit: int = PAGE) -> list[Logged]:
        """The events of all of an owner's jobs, or of all jobs (None), in the order in which they were written."""
        if owner is None:
            return self._read("where cursor > ? order by cursor", (after,), limit)
        return self._read("where owner = ? and cursor > ? order by cursor", (owner, after), limit)

    def _read(self, condition: str, values: tuple[Any, ...], limit: int) -> list[Logged]:
        rows = self._connection.execute(
            f"select job, seq, cursor, time, body from events {condition} limit {limit}", values
        )
        return [
            Logged(
                row["job"],
                row["seq"],
                row["cursor"],
                f'"job":"{row["job"]}","seq":{row["seq"]},"cursor":{row["cursor"]},"time":{row["time"]:.6f},'
                + row["body"][1:],
                row["body"].startswith('{"event":"run_finished"'),
            )
            for row in rows
        ]

    def head(self, owner: str | None) -> int:
        """The cursor of the newest event of an owner, or of all."""
        where, values = ("", ()) if owner is None else (" where owner = ?", (owner,))
        (found,) = self._connection.execute(f"select max(cursor) from events{where}", values).fetchone()
        return found or 0

    def forgotten(self) -> int:
        """The highest cursor among the events that were deleted."""
        row = self._connection.execute("select value from meta where name = 'forgotten'").fetchone()
        return int(row["value"]) if row else 0

    def job(self, job: str) -> sqlite3.Row | None:
        found: sqlite3.Row | None = self._connection.execute("select * from jobs where id = ?", (job,)).fetchone()
        return found

    def jobs(self, owner: str | None, states: Collection[str], limit: int, before: str | None) -> list[sqlite3.Row]:
        conditions, values = ["id < ?"], [before or "k"]
        if owner is not None:
            conditions.append("owner = ?")
            values.append(owner)
        if states:
            conditions.append(f"state in ({', '.join('?' * len(states))})")
            values.extend(states)
        return self._connection.execute(
            f"select * from jobs where {' and '.join(conditions)} order by id desc limit {int(limit)}", values
        ).fetchall()

    def position(self, row: sqlite3.Row) -> int:
        """How many queued jobs are before this one."""
        (count,) = self._connection.execute(
            "select count(*) from jobs where state = 'queued' and (priority > :priority or"
            " (priority = :priority and (rank < :rank or (rank = :rank and id < :id))))",
            {name: row[name] for name in ("priority", "rank", "id")},
        ).fetchone()
        return int(count)

    def count(self, state: str) -> int:
        (count,) = self._connection.execute("select count(*) from jobs where state = ?", (state,)).fetchone()
        return int(count)

    def text(self, row: sqlite3.Row) -> str:
        (text,) = self._connection.execute("select text from texts where digest = ?", (row["text"],)).fetchone()
        return str(text)

    def output(self, job: str, file: str) -> sqlite3.Row | None:
        found: sqlite3.Row | None = self._connection.execute(
            "select digest, media, size from outputs where job = ? and file = ?", (job, file)
        ).fetchone()
        return found

    def document(self, row: sqlite3.Row) -> dict[str, Any]:
        """A job as clients see it."""
        found: dict[str, Any] = {
            "job": row["id"],
            "owner": row["owner"],
            "graph": row["graph"],
            "state": row["state"],
            "cancelling": bool(row["cancelling"]),
            "priority": row["priority"],
            "created": row["created"],
            "attempts": row["attempts"],
            "last": row["last"],
            "params": json.loads(row["params"]),
            "outputs": json.loads(row["outputs"] or "{}"),
        }
        found |= {name: row[name] for name in ("started", "finished", "error") if row[name] is not None}
        if row["counts"]:
            found["counts"] = json.loads(row["counts"])
        if row["state"] == "queued":
            found["position"] = self.position(row)
        return found


def is_final(state: str) -> bool:
    return state in FINAL
