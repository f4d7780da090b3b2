"""Jobs in the database: submitting, claiming, finishing, cancelling; every change with the events that tell of it.

Each function here is a change for `Database.write`, or reads through a connection. A job's events are numbered from 1
without gaps, and exactly one `run_finished` is the last: it is written in the commit that makes the job final.

Who comes first is data. A job has a `rank`, the virtual time at which it is due: one more than that of the same owner's
last queued job, and at least that of the job which was started last. So whoever queues a thousand jobs does not keep
others waiting (start-time fair queueing: Goyal, Vin and Cheng, 1996). Higher priorities come before all ranks.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FINAL = ("done", "failed", "cancelled")
OVERTAKING = 8
"""By how much a job may be due later than another one and still be taken first, by a worker that has its models."""

CANDIDATES = 16


class KeyReused(Exception):
    """The idempotency key stands for another submission of the same owner."""


class QueueFull(Exception):
    """The owner has as many queued jobs as it may have."""


@dataclass(frozen=True)
class Submission:
    """A submission that was checked: what the database keeps of it."""

    owner: str
    graph: str
    text: str
    text_digest: str
    request: Mapping[str, Any]
    params: Mapping[str, Any]
    body: str
    """The digest of what the client sent."""
    key: str | None = None
    priority: int = 0
    affinity: Sequence[str] = ()
    webhook: str | None = None


@dataclass(frozen=True)
class Claimed:
    """A job that a worker is to run now."""

    id: str
    owner: str
    graph: str
    text: str
    request: Mapping[str, Any]
    params: Mapping[str, Any]
    affinity: tuple[str, ...]
    attempt: int


class Jobs:
    """The changes that are made to jobs. `changed` takes the ids of jobs and the names of owners that were touched."""

    def __init__(self, changed: Any) -> None:
        self._changed = changed
        self._newest = ""
        self._rank: int | None = None
        """The rank of the job that was started last; found in the database when it is first needed."""

    def new_id(self) -> str:
        """An id that sorts after all that were given before."""
        stamp = f"{time.time_ns() // 1000:014x}"
        self._newest = max(stamp, f"{int(self._newest or '0', 16) + 1:014x}")
        return f"j{self._newest}{os.urandom(4).hex()}"

    def submit(self, connection: sqlite3.Connection, submission: Submission, most: int) -> tuple[str, str, bool]:
        """The job's id and state, and whether it was there already. Raises KeyReused and QueueFull."""
        if submission.key is not None:
            row = connection.execute(
                "select id, state, body from jobs where owner = ? and key = ?", (submission.owner, submission.key)
            ).fetchone()
            if row is not None:
                if row["body"] != submission.body:
                    raise KeyReused
                return row["id"], row["state"], True
        waiting, last = connection.execute(
            "select count(*), max(rank) from jobs where owner = ? and state = 'queued'", (submission.owner,)
        ).fetchone()
        if waiting >= most:
            raise QueueFull
        job, now = self.new_id(), time.time()
        connection.execute("insert or ignore into texts values(?, ?)", (submission.text_digest, submission.text))
        connection.execute(
            "insert into jobs(id, owner, graph, text, request, params, key, body, priority, rank, affinity, state,"
            " created, last) values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'queued', ?, 1)",
            (
                job,
                submission.owner,
                submission.graph,
                submission.text_digest,
                _json(submission.request),
                _json(submission.params),
                submission.key,
                submission.body,
                submission.priority,
                max(last or 0, self._started_rank(connection)) + 1,
                _json(list(submission.affinity)),
                now,
            ),
        )
        if submission.webhook is not None:
            connection.execute("insert into deliveries(job, url, due) values(?, ?, 0)", (job, submission.webhook))
        self._insert(connection, job, submission.owner, 0, [{"event": "queued", "graph": submission.graph}])
        return job, "queued", False

    def append(self, connection: sqlite3.Connection, job: str, owner: str, events: Sequence[Mapping[str, Any]]) -> None:
        """Add events to a job's log."""
        count = len(events)
        row = connection.execute("update jobs set last = last + ? where id = ? returning last", (count, job)).fetchone()
        self._insert(connection, job, owner, row["last"] - count, events)

    def _insert(
        self, connection: sqlite3.Connection, job: str, owner: str, last: int, events: Sequence[Mapping[str, Any]]
    ) -> None:
        now = time.time()
        connection.executemany(
            "insert into events(job, owner, seq, time, body) values(?, ?, ?, ?, ?)",
            [(job, owner, last + number, now, _json(event)) for number, event in enumerate(events, 1)],
        )
        self._changed((job, owner))

    def claim(self, connection: sqlite3.Connection, held: Sequence[Collection[str]]) -> tuple[Claimed, int] | None:
        """The job to be run next, and which of the free workers takes it; `held` has what models each one holds."""
        rows = connection.execute(
            "select id, owner, graph, text, request, params, affinity, attempts, rank, priority from jobs"
            f" where state = 'queued' order by priority desc, rank, id limit {CANDIDATES}"
        ).fetchall()
        if not rows:
            return None
        first = rows[0]
        row, worker = first, 0
        due = [
            row for row in rows if row["priority"] == first["priority"] and row["rank"] <= first["rank"] + OVERTAKING
        ]
        for candidate in due:
            needed = json.loads(candidate["affinity"])
            holding = next((n for n, models in enumerate(held) if needed and set(needed) <= set(models)), None)
            if holding is not None:
                row, worker = candidate, holding
                break
        connection.execute(
            "update jobs set state = 'running', attempts = attempts + 1, started = coalesce(started, ?) where id = ?",
            (time.time(), row["id"]),
        )
        self._rank = max(row["rank"], self._started_rank(connection))
        self._changed((row["id"], row["owner"]))
        (text,) = connection.execute("select text from texts where digest = ?", (row["text"],)).fetchone()
        claimed = Claimed(
            row["id"],
            row["owner"],
            row["graph"],
            text,
            json.loads(row["request"]),
            json.loads(row["params"]),
            tuple(json.loads(row["affinity"])),
            row["attempts"] + 1,
        )
        return claimed, worker

    def _started_rank(self, connection: sqlite3.Connection) -> int:
        if self._rank is None:
            (self._rank,) = connection.execute("select coalesce(max(rank), 0) from jobs where attempts > 0").fetchone()
        return self._rank

    def finish(
        self,
        connection: sqlite3.Connection,
        job: str,
        finished: Mapping[str, Any],
        before: Sequence[Mapping[str, Any]] = (),
        files: Sequence[Mapping[str, Any]] = (),
    ) -> bool:
        """Make a job final, with the events that came before `run_finished`; False where it was final already."""
        row = connection.execute("select owner, state from jobs where id = ?", (job,)).fetchone()
        if row is None or row["state"] in FINAL:
            return False
        counts = {status: len(finished.get(status, ())) for status in ("computed", "reused", "failed", "skipped")}
        connection.execute(
            "update jobs set state = ?, finished = ?, cancelling = 0, counts = ?, outputs = ?, error = ?, bytes = ?"
            " where id = ?",
            (
                finished["status"],
                time.time(),
                _json(counts),
                _json(finished.get("outputs", {})),
                finished.get("error"),
                sum(file["size"] for file in files),
                job,
            ),
        )
        connection.executemany(
            "insert or replace into outputs values(?, ?, ?, ?, ?)",
            [(job, file["file"], file["digest"], file["media"], file["size"]) for file in files],
        )
        self.append(connection, job, row["owner"], [*before, finished])
        return True

    def interrupted(self, connection: sqlite3.Connection, job: str, reason: str, most_deaths: int | None) -> bool:
        """Put a job back whose worker has ended; False where that happened so often that it has failed.

        `most_deaths` is None where the job had no part in it.
        """
        row = connection.execute("select owner, state, deaths, attempts, cancelling from jobs where id = ?", (job,))
        found = row.fetchone()
        if found is None or found["state"] != "running":
            return True
        deaths = found["deaths"] + (most_deaths is not None)
        connection.execute("update jobs set deaths = ? where id = ?", (deaths, job))
        if found["cancelling"]:
            self.finish(connection, job, _ended("cancelled"))
            return True
        event = {"event": "interrupted", "reason": reason, "attempt": found["attempts"]}
        if most_deaths is not None and deaths >= most_deaths:
            error = f"its worker ended {deaths} times, the last time: {reason}"
            self.finish(connection, job, _ended("failed", error), [event])
            return False
        connection.execute("update jobs set state = 'queued' where id = ?", (job,))
        self.append(connection, job, found["owner"], [event])
        return True

    def cancel(self, connection: sqlite3.Connection, job: str) -> str:
        """A queued job is cancelled at once; a running one is marked, and its worker has to be told."""
        (state,) = connection.execute("select state from jobs where id = ?", (job,)).fetchone()
        if state == "queued":
            self.finish(connection, job, _ended("cancelled"))
            return "cancelled"
        if state == "running":
            row = connection.execute("update jobs set cancelling = 1 where id = ? returning owner", (job,)).fetchone()
            self._changed((job, row["owner"]))
            return "cancelling"
        return str(state)

    def delete(self, connection: sqlite3.Connection, jobs: Sequence[str]) -> None:
        """Forget final jobs, their events and outputs; the files go when nothing refers to them any more."""
        for job in jobs:
            row = connection.execute("select max(cursor) from events where job = ?", (job,)).fetchone()
            if row[0] is not None:
                connection.execute(
                    "insert into meta values('forgotten', ?) on conflict(name) do update set"
                    " value = max(cast(value as integer), excluded.value)",
                    (row[0],),
                )
            for table in ("events", "outputs", "deliveries"):
                connection.execute(f"delete from {table} where job = ?", (job,))
            connection.execute("delete from jobs where id = ?", (job,))
            self._changed((job, ""))


def _ended(status: str, error: str | None = None) -> dict[str, Any]:
    """The `run_finished` of a job that no worker has brought to an end."""
    lists: dict[str, Any] = {"computed": [], "reused": [], "failed": [], "skipped": []}
    event = {"event": "run_finished", "status": status, **lists, "outputs": {}}
    return {**event, "error": error} if error else event


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
