"""Workers and the server are killed again and again while clients submit and follow jobs: nothing accepted is lost.

LATENTGRAPH_CHAOS=N does it N times, with other moments each time.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import uuid
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import serving

ROUNDS = int(os.environ.get("LATENTGRAPH_CHAOS", "1"))
CLIENTS, JOBS, WORKERS_KILLED, SERVER_KILLED = 8, 200, 20, 5

GRAPH = """\
latentgraph: 1
params:
  value: {type: int}
nodes:
  begun: {type: Constant, inputs: {value: $params.value}}
  slow: {type: Slow, inputs: {value: $begun, steps: 4, seconds: 0.03}}
  sum: {type: Add, inputs: {a: $begun, b: $slow}}
outputs:
  sum: $sum
"""


class Client:
    """Follows the rule of the protocol: keeps the epoch and the cursor, and submits again what was not answered."""

    def __init__(self, server: serving.Server, number: int) -> None:
        self.server, self.number = server, number
        self.keys = {str(uuid.uuid4()): 1000 * number + value for value in range(JOBS // CLIENTS)}
        self.acknowledged: dict[str, str] = {}
        self.cursor, self.epoch = 0, None
        self.events: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.finished: set[str] = set()
        self.reconnects = 0

    async def run(self) -> None:
        while len(self.finished) < JOBS or len(self.acknowledged) < len(self.keys):
            try:
                await self._connected()
            except (TimeoutError, aiohttp.ClientError, OSError):
                self.reconnects += 1
                await asyncio.sleep(0.05)

    async def _connected(self) -> None:
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(f"{self.server.url}/v1/ws", timeout=aiohttp.ClientWSTimeout(5)) as socket:
                subscribe = {"id": 0, "do": "subscribe", "feed": "mine", "after": self.cursor}
                await socket.send_json(subscribe | ({"epoch": self.epoch} if self.epoch else {}))
                waiting = {}
                for number, (key, value) in enumerate(self.keys.items(), 1):
                    if key not in self.acknowledged:
                        waiting[number] = key
                        submit = {"do": "submit", "graph": GRAPH, "params": {"value": value}, "key": key}
                        await socket.send_json({"id": number, **submit})
                async for message in socket:
                    self._take(json.loads(message.data), waiting)
                    if len(self.finished) == JOBS and len(self.acknowledged) == len(self.keys):
                        return
                raise aiohttp.ClientError("closed")

    def _take(self, frame: dict[str, Any], waiting: dict[int, str]) -> None:
        if "event" in frame:
            assert frame["cursor"] > self.cursor, "an event came twice, or out of order"
            self.cursor = frame["cursor"]
            events = self.events[frame["job"]]
            assert frame["seq"] == len(events) + 1, "an event is missing"
            events.append(frame)
            if frame["event"] == "run_finished":
                self.finished.add(frame["job"])
        elif frame.get("id") in waiting:
            assert "ok" in frame, frame
            self.acknowledged[waiting[frame["id"]]] = frame["ok"]["job"]
        elif frame.get("id") == 0:
            assert "ok" in frame, frame


async def kill(server: serving.Server, clients: list[Client], chance: random.Random) -> None:
    """Kill workers and the server at random moments, spread over the jobs."""
    kills = ["worker"] * WORKERS_KILLED + ["server"] * SERVER_KILLED
    chance.shuffle(kills)
    for number, what in enumerate(kills, 1):
        while max(len(client.finished) for client in clients) < JOBS * number / (len(kills) + 2) * 0.9:
            await asyncio.sleep(0.01)
        await asyncio.sleep(chance.random() * 0.2)
        if what == "server":
            await asyncio.to_thread(server.restart)
            continue
        while not (found := server.workers()):
            await asyncio.sleep(0.01)
        with contextlib.suppress(ProcessLookupError):
            os.kill(chance.choice(found), signal.SIGKILL)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[serving.Server]:
    found = serving.start(tmp_path, "--workers", "2", "--store", str(tmp_path / "store"))
    yield found
    found.stop()


@pytest.mark.parametrize("number", range(ROUNDS))
def test_every_accepted_job_ends_once_and_every_client_sees_every_event_once(
    server: serving.Server, number: int
) -> None:
    clients = [Client(server, number) for number in range(CLIENTS)]

    async def all_of_it() -> None:
        async with asyncio.timeout(300):
            killing = asyncio.create_task(kill(server, clients, random.Random(number)))
            await asyncio.gather(*(client.run() for client in clients))
            await killing

    asyncio.run(all_of_it())
    jobs = [job for client in clients for job in client.acknowledged.values()]
    assert len(set(jobs)) == JOBS
    values = {job: client.keys[key] for client in clients for key, job in client.acknowledged.items()}
    interrupted = 0
    for client in clients:
        assert set(client.events) == set(jobs)
        assert client.reconnects >= SERVER_KILLED
        for job, events in client.events.items():
            names = [event["event"] for event in events]
            assert names[0] == "queued"
            assert names.count("run_finished") == 1
            assert names[-1] == "run_finished"
            interrupted += names.count("interrupted")
            if events[-1]["status"] == "done":
                assert events[-1]["outputs"] == {"sum": 2 * values[job]}
            else:
                assert "its worker ended 3 times" in events[-1]["error"]
    assert interrupted > 0
    assert "Traceback" not in server.log, server.log
    states = {row["job"]: row["state"] for row in server.get("/v1/jobs?limit=500").json["jobs"]}
    for job in jobs:
        assert states[job] == clients[0].events[job][-1]["status"]
