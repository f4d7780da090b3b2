"""What a client does when the server, or the connection to it, is lost: nothing is missed, nothing comes twice."""

import asyncio
import contextlib
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import serving

from latentgraph.server.client import Client, Interrupted, NodeFinished, RunFinished, Snapshot, Unreachable

NODES = Path(__file__).parents[1] / "engine" / "tiny_nodes.py"

CHAIN = (
    "latentgraph: 1\nparams:\n  name: {type: str, default: a}\nnodes:\n"
    + "".join(
        f'  n{number}: {{type: Wait, inputs: {{name: "$(params.name) {number}", seconds: 0.15'
        + (f", after: $n{number - 1}" if number else "")
        + "}}\n"
        for number in range(10)
    )
    + "outputs:\n  last: $n9\n"
)
"""Nodes one after the other, each of which takes a while."""


class Cutting:
    """A proxy that cuts every connection after a random while, in the middle of whatever is being said."""

    def __init__(self, port: int, seed: int) -> None:
        self.target, self.random, self.cuts, self.port = port, random.Random(seed), 0, 0
        self.ready, self.loop = threading.Event(), asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_until_complete, args=(self._serve(),), daemon=True)
        self.thread.start()
        self.ready.wait(5)

    async def _serve(self) -> None:
        self.over = asyncio.Event()
        async with await asyncio.start_server(self._connection, "127.0.0.1", 0) as server:
            self.port = server.sockets[0].getsockname()[1]
            self.ready.set()
            await self.over.wait()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
            copies = [asyncio.ensure_future(copy) for copy in (self._copy(reader, back), self._copy(there, writer))]
            await asyncio.wait(copies, timeout=self.random.uniform(0.005, 0.25), return_when=asyncio.FIRST_COMPLETED)
            self.cuts += 1
            for task in copies:
                task.cancel()
            back.transport.abort()
        writer.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(self.random.randint(1, 4000)):
                writer.write(piece)
                await writer.drain()

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.over.set)
        self.thread.join()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[serving.Server]:
    running = serving.start(tmp_path, "--nodes", NODES, "--workers", "1", nodes=False)
    yield running
    running.stop()


def test_a_server_that_is_killed_and_comes_back_is_followed_without_a_gap(server: serving.Server) -> None:
    said: list[str] = []
    with Client(server.url, patience=60, notice=said.append) as client:
        job = client.submit(CHAIN)
        events = []
        for event in job.follow():
            events.append(event)
            if isinstance(event, NodeFinished) and (event.node, event.status) == ("n2", "computed"):
                server.restart()
        numbers = [event.seq for event in events if event.seq]
        assert numbers == list(range(1, len(numbers) + 1))
        assert any(isinstance(event, Interrupted) for event in events)
        assert [type(event) for event in events].count(RunFinished) == 1
        finished = [event for event in events if isinstance(event, NodeFinished)]
        assert {event.node for event in finished if event.status == "reused"} >= {"n0", "n1"}
        assert job.result().outputs == {"last": 0.15}


def test_a_lost_server_is_said_to_be_lost_and_to_be_back(server: serving.Server) -> None:
    said: list[str] = []
    with Client(server.url, patience=60, notice=said.append) as client:
        job = client.submit(CHAIN, {"name": "b"})
        threading.Timer(2.5, server.restart).start()
        server.kill()
        assert job.result().outputs == {"last": 0.15}
    assert [message.replace(server.url, "URL") for message in said] == [
        "URL does not answer; waiting for it",
        "the server answers again",
    ]


def test_a_server_that_does_not_come_back_is_unreachable_after_a_while(server: serving.Server) -> None:
    with Client(server.url, patience=1.5, notice=lambda message: None) as client:
        job = client.submit(CHAIN, {"name": "c"})
        server.kill()
        with pytest.raises(Unreachable, match="tried for"):
            job.result()
        with pytest.raises(Unreachable):
            client.jobs()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_through_a_connection_that_is_cut_at_random_every_event_comes_once_and_in_order(
    seed: int, server: serving.Server
) -> None:
    proxy = Cutting(server.port, seed)
    try:
        with Client(f"http://127.0.0.1:{proxy.port}", patience=60, notice=lambda message: None) as client:
            job = client.submit(CHAIN, {"name": f"cut {seed}"})
            through = [event for event in job.follow() if event.seq]
            assert job.result().outputs == {"last": 0.15}
            assert len(client.jobs()) == 1, "a submission that was sent again made a second job"
    finally:
        proxy.close()
    assert proxy.cuts > 5
    with Client(server.url) as client:
        assert through == list(client.follow(job.id))
    assert [event.seq for event in through] == list(range(1, len(through) + 1))


def test_files_come_whole_through_a_connection_that_is_cut(server: serving.Server, tmp_path: Path) -> None:
    graph = (
        "latentgraph: 1\nparams:\n  file: {type: File}\nnodes:\n"
        "  loaded: {type: Load, inputs: {file: $params.file}}\noutputs:\n  image: $loaded\n"
    )
    content = random.Random(5).randbytes(1_000_000).hex().encode()
    proxy = Cutting(server.port, 4)
    try:
        with Client(f"http://127.0.0.1:{proxy.port}", patience=60, notice=lambda message: None) as client:
            image = client.run(graph, {"file": client.upload(content, "a.txt")}).outputs["image"]
            assert image.read().startswith(content)
            assert image.save(tmp_path).read_bytes().startswith(content)
    finally:
        proxy.close()


def test_a_position_in_another_epoch_is_answered_with_a_snapshot(server: serving.Server) -> None:
    with Client(server.url) as client:
        job = client.submit(CHAIN, {"name": "d"})
        job.result()
        events = list(client.follow(job.id, after=3, epoch="another"))
        assert isinstance(events[0], Snapshot)
        assert events[0].document["state"] == "done"
        assert [type(event) for event in events].count(RunFinished) == 1
        assert isinstance(events[-1], RunFinished)
        feed = client.feed(after=3, epoch="another")
        assert isinstance(next(feed), Snapshot)
