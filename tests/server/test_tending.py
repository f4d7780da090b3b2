"""What a server does by itself, seen from inside: old jobs are forgotten, workers that do not stop are ended."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import serving

from latentgraph.server import running as supervising
from latentgraph.server.checks.policy import Policy
from latentgraph.server.http.access import LOCAL
from latentgraph.server.http.messages import Submission
from latentgraph.server.queue import blobs, tending
from latentgraph.server.queue.tending import forget
from latentgraph.server.settings import Settings
from latentgraph.server.state import Server
from latentgraph.server.workers import supervisor

SHOUT = "latentgraph: 1\nnodes:\n  s: {{type: Shout, inputs: {{text: {0}}}}}\noutputs: {{text: $s}}\n"


@pytest.fixture(autouse=True)
def _unconfined(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server confines its process: here that is the tests' own, which is not to be."""
    monkeypatch.setattr("latentgraph.server.checks.policy.confine", lambda *folders, **more: None)


@asynccontextmanager
async def running(folder: Path, **changes: Any) -> AsyncIterator[Server]:
    policy = Policy(nodes=(str(serving.TINY),), graphs=str(folder / "graphs"), uploads=str(folder / "uploads"))
    server = Server(replace(Settings(folder, policy, store=folder / "store"), **changes))
    await server.open()
    try:
        yield server
    finally:
        await server.close()


async def submitted(server: Server, graph: str) -> str:
    return str((await server.submit(LOCAL, Submission(graph=graph)))["job"])


async def until(true: Callable[[], Any], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.02)


async def done(server: Server, graph: str) -> str:
    job = await submitted(server, graph)
    await until(lambda: server.document(LOCAL, job)["state"] == "done")
    return job


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


def files(server: Server) -> set[str]:
    return {path.name for path in server.settings.blobs.glob("*/*")}


def test_jobs_that_have_been_over_for_too_long_are_forgotten_with_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blobs, "YOUNG", -1)

    async def test() -> None:
        async with running(tmp_path, keep_days=1) as server:
            old, new = await done(server, SHOUT.format("old")), await done(server, SHOUT.format("new"))
            assert len(files(server)) == 2
            two_days_ago = time.time() - 2 * 86400
            await server.database.write(
                lambda c: c.execute("update jobs set finished = ? where id = ?", (two_days_ago, old))
            )
            await forget(server)
            assert server.log.job(old) is None
            assert server.document(LOCAL, new)["state"] == "done"
            output = server.document(LOCAL, new)["outputs"]["text"]
            assert files(server) == {output["digest"]}
            assert server.log.events(old, 0) == []
            assert server.log.forgotten() > 0

    run(test)


def test_a_file_that_two_jobs_gave_stays_as_long_as_one_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blobs, "YOUNG", -1)

    async def test() -> None:
        async with running(tmp_path) as server:
            first, second = await done(server, SHOUT.format("x")), await done(server, SHOUT.format("x"))
            assert len(files(server)) == 1
            await server.delete(LOCAL, first)
            await forget(server)
            assert len(files(server)) == 1
            await server.delete(LOCAL, second)
            await forget(server)
            assert files(server) == set()

    run(test)


def test_the_oldest_jobs_go_where_outputs_are_too_large_together(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path, keep_bytes=25) as server:
            jobs = [await done(server, SHOUT.format(f"{number:010d}")) for number in range(4)]
            await forget(server)
            assert [server.log.job(job) is not None for job in jobs] == [False, False, True, True]

    run(test)


def test_a_file_that_was_written_a_moment_ago_is_left_alone(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as server:
            digest = server.blobs.keep(b"a worker is about to say whose this is")
            await forget(server)
            assert files(server) == {digest}

    run(test)


def test_what_is_done_by_itself_goes_on_when_the_disk_is_well_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervising, "PAUSE", 0.01)
    monkeypatch.setattr(tending, "NOTE_EVERY", 0.01)

    async def test() -> None:
        async with running(tmp_path) as server:
            database, head = server.database.path, tmp_path / "head"
            head.mkdir()  # it cannot be written
            server.database.path = tmp_path / "nowhere" / "jobs.sqlite"  # nor can this be opened
            going = asyncio.create_task(supervising.going_on(lambda: tending.tend(server)))
            await asyncio.sleep(0.2)
            assert not going.done()
            server.database.path = database
            head.rmdir()
            await until(head.is_file)
            going.cancel()

    run(test)


def test_a_worker_that_does_not_stop_is_ended_and_the_job_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "STUCK", 0.5)
    graph = "latentgraph: 1\nnodes:\n  s: {type: Stubborn}\noutputs: {x: $s}\n"

    async def test() -> None:
        async with running(tmp_path) as server:
            job = await submitted(server, graph)
            await until(lambda: "node_started" in str([event.text for event in server.log.events(job, 0)]))
            (worker,) = server.supervisor.workers
            assert worker.process is not None
            before = worker.process.pid
            assert (await server.cancel(LOCAL, job))["state"] == "cancelling"
            await until(lambda: server.document(LOCAL, job)["state"] == "cancelled")
            await until(lambda: worker.state == "idle")
            assert worker.process.pid != before
            with pytest.raises(ProcessLookupError):
                os.kill(before, 0)

    run(test)
