"""What a client does when the server, or the connection to it, is lost: nothing is missed, nothing comes twice."""

import asyncio
import contextlib
import math
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


MOST_CUTS = 40
"""How often a connection is cut by bytes: far more often than a client needs that goes on where it was cut."""


class Cutting:
    """A proxy that cuts every connection after a random while, in the middle of whatever is being said.

    With `most`, it is cut at the latest after a random number of bytes of an answer, up to as many; no longer after
    `MOST_CUTS` cuts, so that a client that begins anew each time comes to an end, too. Of the first `swallowed`
    connections it passes on what the client says, and cuts them when an answer comes.
    """

    def __init__(
        self, port: int, seed: int, longest: float = 0.25, most: int | None = None, swallowed: int = 0
    ) -> None:
        self.target, self.random, self.longest, self.swallowed = port, random.Random(seed), longest, swallowed
        self.most = most
        self.cuts, self.port = 0, 0
        self.ready = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self.thread.start()
        self.ready.wait(5)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "Cutting":
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.over.set)
        self.thread.join()

    async def _serve(self) -> None:
        self.loop, self.over = asyncio.get_running_loop(), asyncio.Event()
        async with await asyncio.start_server(self._connection, "127.0.0.1", 0) as server:
            self.port = server.sockets[0].getsockname()[1]
            self.ready.set()
            await self.over.wait()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
            self.swallowed -= 1
            swallow = self.swallowed >= 0
            answer = there.read(1) if swallow else self._copy(there, writer, self.most)
            copies = [asyncio.ensure_future(copy) for copy in (self._copy(reader, back), answer)]
            longest = 10 if swallow else self.random.uniform(0.005, self.longest)
            await asyncio.wait(copies, timeout=longest, return_when=asyncio.FIRST_COMPLETED)
            self.cuts += 1
            for task in copies:
                task.cancel()
            back.transport.abort()
        writer.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most: int | None = None) -> None:
        left = math.inf if most is None or self.cuts >= MOST_CUTS else self.random.randint(1, most)
        with contextlib.suppress(OSError):
            while left > 0 and (piece := await reader.read(self.random.randint(1, 4000))):
                writer.write(piece)
                await writer.drain()
                left -= len(piece)


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[serving.Server]:
    """A server that may be killed."""
    running = serving.start(tmp_path, "--nodes", NODES, "--workers", "1", nodes=False)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[serving.Server]:
    """A server that is there all the time."""
    running = serving.start(tmp_path_factory.mktemp("server"), "--nodes", NODES, "--workers", "1", nodes=False)
    yield running
    running.stop()


def test_a_server_that_is_killed_and_comes_back_is_followed_without_a_gap(mortal: serving.Server) -> None:
    with Client(mortal.url, patience=60) as client:
        job = client.submit(CHAIN)
        events = []
        for event in job.follow():
            events.append(event)
            if isinstance(event, NodeFinished) and (event.node, event.status) == ("n2", "computed"):
                mortal.restart()
        numbers = [event.seq for event in events if event.seq]
        assert numbers == list(range(1, len(numbers) + 1))
        assert any(isinstance(event, Interrupted) for event in events)
        assert [type(event) for event in events].count(RunFinished) == 1
        finished = [event for event in events if isinstance(event, NodeFinished)]
        assert {event.node for event in finished if event.status == "reused"} >= {"n0", "n1"}
        assert job.result().outputs == {"last": 0.15}


def test_a_lost_server_is_said_to_be_lost_and_to_be_back(mortal: serving.Server) -> None:
    said: list[str] = []
    with Client(mortal.url, patience=60, notice=said.append) as client:
        job = client.submit(CHAIN, {"name": "b"})
        threading.Timer(2.5, mortal.restart).start()
        mortal.kill()
        assert job.result().outputs == {"last": 0.15}
    assert [message.replace(mortal.url, "URL") for message in said] == [
        "URL does not answer; waiting for it",
        "the server answers again",
    ]


def test_a_server_that_does_not_come_back_is_unreachable_after_a_while(mortal: serving.Server) -> None:
    with Client(mortal.url, patience=1.5, notice=lambda message: None) as client:
        job = client.submit(CHAIN, {"name": "c"})
        mortal.kill()
        with pytest.raises(Unreachable, match="tried for"):
            job.result()
        with pytest.raises(Unreachable):
            client.jobs()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_through_a_connection_that_is_cut_at_random_every_event_comes_once_and_in_order(
    seed: int, server: serving.Server
) -> None:
    with Cutting(server.port, seed) as proxy, Client(proxy.url, patience=60) as client:
        job = client.submit(CHAIN, {"name": f"cut {seed}"})
        through = [event for event in job.follow() if event.seq]
        assert job.result().outputs == {"last": 0.15}
        assert proxy.cuts > 5
    with Client(server.url) as client:
        assert through == list(client.follow(job.id))
    assert [event.seq for event in through] == list(range(1, len(through) + 1))


def test_a_submission_that_was_not_answered_is_sent_again_and_makes_one_job(server: serving.Server) -> None:
    with Cutting(server.port, 1, longest=60, swallowed=2) as proxy, Client(proxy.url, patience=60) as client:
        job = client.submit(CHAIN, {"name": "swallowed"})
        assert proxy.cuts == 2
        assert job.existing
        job.cancel()
    with Client(server.url) as client:
        assert [found["job"] for found in client.jobs() if found["params"]["name"] == "swallowed"] == [job.id]


def test_a_retry_that_was_not_answered_is_not_sent_again(server: serving.Server) -> None:
    with Client(server.url) as client:
        first = client.submit(CHAIN, {"name": "retried"})
        first.cancel()
        list(first.follow())
        with Cutting(server.port, 1, longest=60, swallowed=1) as proxy, Client(proxy.url) as through:
            with pytest.raises(Unreachable, match="may have done"):
                through.retry(first.id)
        again = [found for found in client.jobs() if found["params"]["name"] == "retried"]
        assert len(again) == 2
        client.cancel(again[0]["job"])


def test_files_come_whole_through_a_connection_that_is_cut(server: serving.Server, tmp_path: Path) -> None:
    graph = (
        "latentgraph: 1\nparams:\n  file: {type: File}\nnodes:\n"
        "  loaded: {type: Load, inputs: {file: $params.file}}\noutputs:\n  image: $loaded\n"
    )
    content = random.Random(5).randbytes(3_000_000).hex().encode()
    with Client(server.url) as client:
        job = client.submit(graph, {"file": client.upload(content, "a.txt")})
        job.result()
    with Cutting(server.port, 4, longest=10, most=2_500_000) as proxy, Client(proxy.url, patience=60) as client:
        image = client.result(job.id).outputs["image"]
        before = proxy.cuts
        assert image.read().startswith(content)
        assert image.save(tmp_path).read_bytes().startswith(content)
        assert before + 1 < proxy.cuts < MOST_CUTS


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
