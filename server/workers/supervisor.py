"""Worker processes: started, given jobs, listened to, replaced when they die."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ..queue.database import Database
from ..queue.jobs import Claimed, Jobs
from ..settings import Settings
from .frames import HEADER, PREVIEW, packed, unpacked_preview
from .slots import Slots

LOG = logging.getLogger(__name__)

HELD = 8
"""So many models are taken to be still loaded in a worker."""

STUCK = 30.0
"""Seconds after which a worker that does not stop a cancelled job is ended."""

SLOWEST_RESTART = 30.0


@dataclass(eq=False)
class Worker:
    """A place for a worker process, and the process that has it now."""

    number: int
    state: str = "starting"
    since: float = field(default_factory=time.time)
    process: asyncio.subprocess.Process | None = None
    stream: asyncio.StreamWriter | None = None
    job: Claimed | None = None
    models: OrderedDict[str, None] = field(default_factory=OrderedDict)
    starts: int = 0

    def become(self, state: str) -> None:
        self.state, self.since = state, time.time()

    def send(self, message: Any) -> None:
        if self.stream is not None and not self.stream.is_closing():
            self.stream.write(packed(message))

    def holds(self, models: tuple[str, ...]) -> None:
        for model in models:
            self.models[model] = None
            self.models.move_to_end(model)
        while len(self.models) > HELD:
            self.models.popitem(last=False)

    def as_json(self) -> dict[str, Any]:
        found = {"worker": self.number, "state": self.state, "since": self.since}
        return {**found, "job": self.job.id} if self.job is not None else found


class Supervisor:
    """Keeps the workers going and the queue moving."""

    def __init__(self, settings: Settings, database: Database, jobs: Jobs, slots: Slots) -> None:
        self.settings, self.database, self.jobs, self.slots = settings, database, jobs, slots
        self.workers = [Worker(number) for number in range(settings.workers)]
        self.paused = False
        self._closing = False
        self._due = asyncio.Event()
        """Set when a job may be due or a worker free."""
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._keep(worker)) for worker in self.workers]
        self._tasks.append(asyncio.create_task(self._dispatch()))

    def look(self) -> None:
        """A job was queued, or the queue goes on: see whether a worker can take one."""
        self._due.set()

    @property
    def ready(self) -> bool:
        return any(worker.state in ("idle", "busy") for worker in self.workers)

    def cancel(self, job: str) -> None:
        """Tell the worker that runs a job to stop it, and see to it that it does."""
        for worker in self.workers:
            if worker.job is not None and worker.job.id == job:
                worker.send({"cancel": job})
                self._tasks.append(asyncio.create_task(self._end_if_stuck(worker, job)))
        self._tasks = [task for task in self._tasks if not task.done()]

    async def close(self) -> None:
        """Stop what runs within a step, so that it goes on where it stood when the server is there again."""
        self._closing = True
        for worker in self.workers:
            if worker.job is not None:
                worker.send({"cancel": worker.job.id})
        deadline = time.monotonic() + self.settings.grace
        while any(worker.job is not None for worker in self.workers) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for worker in self.workers:
            self._kill(worker)

    # the queue

    async def _dispatch(self) -> None:
        """Give the jobs that are due to the workers that are free."""
        while True:
            await self._due.wait()
            self._due.clear()
            while not (self.paused or self._closing) and (
                free := [worker for worker in self.workers if worker.state == "idle"]
            ):
                held = [tuple(worker.models) for worker in free]
                found = await self.database.write_surely(partial(self.jobs.claim, held=held))
                if found is None:
                    break
                claimed, index = found
                await self._give(free[index], claimed)

    async def _give(self, worker: Worker, job: Claimed) -> None:
        if worker.state != "idle":  # it died in the meantime
            await self._put_back(job.id, "its worker ended before it began", counts=False)
            return
        worker.job = job
        worker.become("busy")
        worker.holds(job.affinity)
        request = {"job": job.id, "graph": job.graph, "text": job.text, "params": job.params, **job.request}
        worker.send(request)

    async def _put_back(self, job: str, reason: str, *, counts: bool) -> None:
        most = self.settings.attempts if counts else None
        await self.database.write_surely(lambda connection: self.jobs.interrupted(connection, job, reason, most))
        self._due.set()

    # a worker

    async def _keep(self, worker: Worker) -> None:
        """Start a process, listen to it until it ends, and start the next one."""
        pause = 0.0
        while True:
            await asyncio.sleep(pause)
            worker.become("starting")
            worker.models.clear()
            began = time.monotonic()
            try:
                reader = await self._started(worker)
                await self._listen(worker, reader)
            except Exception:  # whatever it says or does: its place has to go on
                LOG.exception("worker %s", worker.number)
            reason = await self._ended(worker)
            job, worker.job = worker.job, None
            worker.become("starting")
            if job is not None:
                self.slots.drop(job.id)
                await self._put_back(job.id, reason, counts=not self._closing)
            # One that cannot even start is tried more and more rarely.
            lived = time.monotonic() - began > 5 or job is not None
            pause = 0.0 if lived else min(max(2 * pause, 0.2), SLOWEST_RESTART)

    async def _started(self, worker: Worker) -> asyncio.StreamReader:
        ours, theirs = socket.socketpair()
        with theirs:
            environment = dict(os.environ)
            if self.settings.devices:
                environment["CUDA_VISIBLE_DEVICES"] = self.settings.devices[worker.number % len(self.settings.devices)]
            worker.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # nothing in the folder that the server was started in is taken for a module
                "-m",
                "latentgraph.server.workers.worker",
                str(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=sys.stderr.fileno(),
                pass_fds=(theirs.fileno(),),
                env=environment,
            )
        worker.starts += 1
        reader, worker.stream = await asyncio.open_connection(sock=ours)
        worker.send(
            {
                "policy": self.settings.policy.as_json(),
                "blobs": str(self.settings.blobs),
                "store": str(self.settings.store) if self.settings.store else None,
                "durability": self.settings.durability,
            }
        )
        return reader

    async def _listen(self, worker: Worker, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                length, kind = HEADER.unpack(await reader.readexactly(HEADER.size))
                body = await reader.readexactly(length)
                if kind == PREVIEW:
                    about, image = unpacked_preview(body)
                    if worker.job is not None and about["job"] == worker.job.id:
                        self.slots.preview(about["job"], about["node"], about, image)
                else:
                    await self._take(worker, json.loads(body))

    async def _take(self, worker: Worker, message: Mapping[str, Any]) -> None:
        if "ready" in message:
            self._free(worker)
            return
        job = worker.job
        if job is None or message["job"] != job.id:
            return
        if "finished" in message:
            await self._finish(worker, job, message)
            return
        if message["events"]:
            events = message["events"]
            await self.database.write_surely(lambda connection: self.jobs.append(connection, job.id, job.owner, events))
            for event in events:
                if event["event"] == "node_finished":
                    self.slots.finished(job.id, event["node"])
        for node, progress in message["progress"].items():
            self.slots.progress(job.id, node, progress)

    async def _finish(self, worker: Worker, job: Claimed, message: Mapping[str, Any]) -> None:
        finished = message["finished"]
        if self._closing and finished["status"] == "cancelled":
            await self._put_back(job.id, "the server was stopped", counts=False)
            worker.job = None
            return
        ended = asyncio.ensure_future(
            self.database.write_surely(
                lambda connection: self.jobs.finish(
                    connection, job.id, finished, message.get("before", ()), message.get("files", ())
                )
            )
        )
        # The next job is claimed in the same commit, so that the worker need not wait for two.
        worker.job = None
        self._free(worker)
        await ended
        self.slots.drop(job.id)

    def _free(self, worker: Worker) -> None:
        worker.become("idle")
        self._due.set()

    async def _ended(self, worker: Worker) -> str:
        """Wait for the process to be gone, and say how it ended."""
        if worker.stream is not None:
            worker.stream.close()
            worker.stream = None
        self._kill(worker)
        code = await worker.process.wait() if worker.process is not None else 0
        if code >= 0:
            return f"the worker ended with the code {code}"
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        return f"the worker was ended by the signal {name}"

    def _kill(self, worker: Worker) -> None:
        if worker.process is not None and worker.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                # Not `process.kill`, which would take the exit code from who waits for it.
                os.kill(worker.process.pid, signal.SIGKILL)

    async def _end_if_stuck(self, worker: Worker, job: str) -> None:
        await asyncio.sleep(STUCK)
        if worker.job is not None and worker.job.id == job:
            self._kill(worker)
