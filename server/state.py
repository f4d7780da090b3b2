"""Everything that a running server has, and what can be done with jobs: the same over HTTP and the websocket."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import re
import sqlite3
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any, TypeVar

from .checks.checking import Accepted, Asked, Checker
from .checks.known import KnownGraphs
from .errors import Conflict, Forbidden, NotFound, TooMany, Unavailable
from .http.access import Caller, Sites, Tokens
from .http.messages import Submission as Submitted
from .http.receivers import Receivers
from .queue.blobs import Blobs
from .queue.database import Database
from .queue.jobs import FINAL, Jobs, KeyReused, QueueFull, Submission
from .queue.log import Heads, Log, Turns
from .queue.uploads import Uploads
from .settings import Settings
from .workers.slots import Slots
from .workers.supervisor import Supervisor

T = TypeVar("T")
LOG = logging.getLogger(__name__)
JOB = re.compile(r"j[0-9a-f]{22}")


class Server:
    """A server: its parts, put together. Has to be made in a running event loop; `open` and `close` it once."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.version = version("latentgraph")
        self.limits = settings.policy.limits
        self.tokens = Tokens(settings.token_file)
        self.sites = Sites(settings.host, settings.hosts, settings.origins, tokens=self.tokens.needed)
        self.receivers = Receivers(settings.webhooks)
        for folder in (settings.data, settings.blobs, settings.uploads, settings.graphs):
            folder.mkdir(parents=True, exist_ok=True)
        self.heads, self.turns = Heads(), Turns()
        self.database = Database(settings.database, power=settings.durability == "power", committed=self._committed)
        self.jobs = Jobs(lambda touched: self.database.changed.add(touched))
        self.log = Log(self.database.reading)
        self.slots = Slots(lambda job: self.heads.wake([job]))
        self.blobs = Blobs(settings.blobs, power=settings.durability == "power")
        self.known = KnownGraphs(settings.graphs, self.limits.graphs)
        self.checker = Checker(settings.policy.enforce(), self.known, settings.policy)
        self.uploads = Uploads(settings.uploads, self.database)
        self.supervisor = Supervisor(settings, self.database, self.jobs, self.slots)
        self.checks = ThreadPoolExecutor(1, "checks")
        """One thread, so that a graph that takes long to check does not keep the event loop waiting."""
        self._turns: defaultdict[str | None, asyncio.Lock] = defaultdict(asyncio.Lock)
        """By whose uploads a graph may read."""
        self.epoch = ""
        self.connections = 0
        self.counts: dict[str, int] = {"submitted": 0, "refused": 0}
        self.stopping = asyncio.Event()

    async def open(self) -> None:
        """Take up what an earlier process left, and start the workers."""
        self.epoch = await self.database.write(self._settle_epoch)
        left = [row["id"] for row in self.log.jobs(None, ["running"], 1_000_000, None)]
        for job in left:
            await self.database.write(
                lambda connection, job=job: self.jobs.interrupted(connection, job, "the server ended", None)  # type: ignore[misc]
            )
        row = self.database.reading.execute("select value from meta where name = 'paused'").fetchone()
        self.supervisor.paused = row is not None and row["value"] == "1"
        self.supervisor.start()
        self.supervisor.look()

    async def close(self) -> None:
        self.stopping.set()
        self.heads.wake_all()
        await self.supervisor.close()
        self.note_head()
        self.checks.shutdown(wait=False, cancel_futures=True)
        self.database.close()

    def _committed(self, changed: set[tuple[str, str]]) -> None:
        self.heads.wake({subject for job, owner in changed for subject in (job, f"@{owner}", "@")})

    # the epoch

    def _settle_epoch(self, connection: sqlite3.Connection) -> str:
        """The log's name, which is another one where the log is older than it was: it was lost, or restored."""
        row = connection.execute("select value from meta where name = 'epoch'").fetchone()
        (head,) = connection.execute(
            "select coalesce(max(seq), 0) from sqlite_sequence where name = 'events'"
        ).fetchone()
        try:
            noted = int((self.settings.data / "head").read_text())
        except (OSError, ValueError):
            noted = 0
        if row is not None and head >= noted:
            return str(row["value"])
        epoch = os.urandom(6).hex()
        connection.execute("insert or replace into meta values('epoch', ?)", (epoch,))
        return epoch

    def note_head(self) -> None:
        """Remember outside of the database how far its log goes."""
        try:
            (self.settings.data / "head").write_text(str(self.log.head(None)))
        except OSError as error:
            LOG.error("how far the log goes cannot be noted: %s", error)

    # jobs

    async def submit(self, caller: Caller, request: Submitted) -> dict[str, Any]:
        """Check a submission and keep it. Raises Refusal."""
        caller.needs("submit")
        if request.priority > 0:
            caller.needs("admin")
        self._webhook_allowed(request.webhook)
        if self.stopping.is_set():
            raise Unavailable("the server is being stopped")
        asked = self.checker.asked(request.graph, request.params, caller.sees, request.name, tuple(request.targets))
        try:
            accepted = await self._accepted(asked)
        except Exception:
            self.counts["refused"] += 1
            raise
        # A retry of this submission has to be told from another one; what is drawn is drawn once.
        body = {name: getattr(request, name) for name in ("graph", "params", "name", "targets", "priority", "webhook")}
        submission = Submission(
            owner=caller.name,
            graph=asked.name,
            text=asked.text,
            text_digest=asked.digest,
            request={"folder": str(asked.folder), "targets": list(asked.targets), "reader": asked.reader},
            params={**request.params, **accepted.drawn},
            body=hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest(),
            key=request.key,
            priority=request.priority,
            affinity=accepted.models,
            webhook=request.webhook,
        )
        return await self._keep(submission)

    async def in_checks(self, do: Callable[[Asked], T], asked: Asked) -> T:
        """Have the checker do something, in its own thread. One graph of a client waits for the other: checking a large
        one takes seconds, which others would have to wait as often as somebody sends one."""
        async with self._turns[asked.reader]:
            return await asyncio.get_running_loop().run_in_executor(self.checks, do, asked)

    async def _accepted(self, asked: Asked) -> Accepted:
        """Small graphs are checked at once: while a thread did it, the event loop would wait for it all the same."""
        known = self.checker.accepted(asked)
        if known is not None:
            return known
        if self.checker.is_quick(asked):
            return self.checker.accept(asked)
        return await self.in_checks(self.checker.accept, asked)

    async def _keep(self, submission: Submission) -> dict[str, Any]:
        try:
            job, state, existing = await self.database.write(
                lambda connection: self.jobs.submit(connection, submission, self.limits.queue)
            )
        except KeyReused:
            raise Conflict("the key stands for another submission", code="key-reused") from None
        except QueueFull:
            raise TooMany(f"you have {self.limits.queue} jobs waiting, which is the most") from None
        except sqlite3.OperationalError as error:
            LOG.error("nothing can be kept: %s", error)
            raise Unavailable("the server cannot keep anything now, its disk may be full") from None
        self.counts["submitted"] += not existing
        # A moment later, so that the client hears of its job first.
        asyncio.get_running_loop().call_soon(self.supervisor.look)
        return {"job": job, "state": state, "existing": existing}

    def job(self, caller: Caller, job: str) -> sqlite3.Row:
        """A job that the caller may see. Raises NotFound, which tells nothing of jobs of others."""
        row = self.log.job(job) if JOB.fullmatch(job) else None
        if row is None or caller.sees not in (None, row["owner"]):
            raise NotFound(f"there is no job `{job[:40]}`")
        return row

    def document(self, caller: Caller, job: str) -> dict[str, Any]:
        return self.log.document(self.job(caller, job))

    async def cancel(self, caller: Caller, job: str) -> dict[str, Any]:
        caller.needs("submit")
        self.job(caller, job)
        state = await self.database.write(lambda connection: self.jobs.cancel(connection, job))
        if state == "cancelling":
            self.supervisor.cancel(job)
        return {"job": job, "state": state}

    async def retry(self, caller: Caller, job: str) -> dict[str, Any]:
        """The same graph and params once more, as another job."""
        caller.needs("submit")
        row = self.job(caller, job)
        asked = self.checker.asked_again(row, self.log.text(row))
        accepted = await self._accepted(asked)
        return await self._keep(
            Submission(
                owner=caller.name,
                graph=row["graph"],
                text=asked.text,
                text_digest=asked.digest,
                request=json.loads(row["request"]),
                params=asked.params or {},
                body=row["body"],
                priority=min(row["priority"], 0),
                affinity=accepted.models,
            )
        )

    async def delete(self, caller: Caller, job: str) -> None:
        caller.needs("submit")
        row = self.job(caller, job)
        if row["state"] not in FINAL:
            raise Conflict("the job is not over: cancel it first")
        await self.database.write(lambda connection: self.jobs.delete(connection, [job]))

    def listed(self, caller: Caller, states: list[str], limit: int, before: str | None) -> dict[str, Any]:
        rows = self.log.jobs(caller.sees, states, limit + 1, before)
        return {"jobs": [self.log.document(row) for row in rows[:limit]], "more": len(rows) > limit}

    async def pause(self, caller: Caller, paused: bool) -> None:
        caller.needs("admin")
        await self.database.write(
            lambda connection: connection.execute(
                "insert or replace into meta values('paused', ?)", (str(int(paused)),)
            )
        )
        self.supervisor.paused = paused
        self.supervisor.look()

    def about(self, caller: Caller) -> dict[str, Any]:
        return {
            "server": self.version,
            "epoch": self.epoch,
            "owner": caller.name,
            "scopes": sorted(caller.scopes),
            "limits": self.limits.as_json(),
        }

    def queue(self, caller: Caller) -> dict[str, Any]:
        """What the workers do, and which jobs of the caller they run."""
        workers = [worker.as_json() for worker in self.supervisor.workers]
        for about, worker in zip(workers, self.supervisor.workers, strict=True):
            if worker.job is not None and caller.sees not in (None, worker.job.owner):
                del about["job"]
        return {
            "queued": self.log.count("queued"),
            "running": self.log.count("running"),
            "paused": self.supervisor.paused,
            "workers": workers,
        }

    def _webhook_allowed(self, url: str | None) -> None:
        if url is not None and not self.receivers.allow(url):
            raise Forbidden("webhooks may not be sent there; `latentgraph serve --webhook URL` says where they may")
