"""What the server takes: latency, jobs a second, memory, start-up. As ratios to floors of the same run.

The floor of latency is what no server over a websocket can go below: an echo over aiohttp's websocket, in a process of
its own, and one commit of SQLite in WAL mode. All figures are printed; what is asserted is generous, because the
machines are noisy. LATENTGRAPH_LOAD=10000 is the number of jobs that are sent through (1,000 unless said).
"""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median, quantiles

import aiohttp
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "server"))

import serving

JOBS = int(os.environ.get("LATENTGRAPH_LOAD", "1000"))

ECHO = """
import asyncio, sys
from aiohttp import WSMsgType, web

async def echo(request):
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(message.data)
    return socket

async def main():
    app = web.Application()
    app.router.add_get("/", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[serving.Server]:
    found = serving.start(tmp_path_factory.mktemp("load"), "--limit", "queue=20000").ready()
    yield found
    found.stop()


@pytest.fixture(scope="module")
def echo() -> Iterator[str]:
    process = subprocess.Popen([sys.executable, "-c", ECHO], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield f"http://127.0.0.1:{int(process.stdout.readline())}/"
    process.kill()
    process.wait()


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        yield socket


def memory(pid: int) -> int:
    """Resident memory in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def commits(folder: Path, count: int) -> list[float]:
    connection = sqlite3.connect(folder / "floor.sqlite", isolation_level=None)
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = normal")
    connection.execute("create table t(a)")
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        connection.execute("begin immediate")
        connection.execute("insert into t values('x')")
        connection.execute("commit")
        taken.append(time.perf_counter() - began)
    return taken


def test_submit_to_first_event(server: serving.Server, echo: str, tmp_path: Path) -> None:
    count = 300

    async def measured() -> tuple[list[float], list[float], list[float]]:
        echoes, firsts, starts = [], [], []
        async with connected(echo) as floor, connected(server.url + "/v1/ws") as socket:
            for number in range(1, count + 1):
                request = {
                    "id": number,
                    "do": "submit",
                    "graph": serving.NUMBER,
                    "params": {"value": 1},
                    "follow": True,
                }
                text = json.dumps(request)
                began = time.perf_counter()
                await floor.send_str(text)
                await floor.receive()
                echoes.append(time.perf_counter() - began)
                began, first = time.perf_counter(), None
                await socket.send_str(text)
                while not (message := json.loads((await socket.receive()).data)).get("end"):
                    if first is None and "event" in message:
                        first = time.perf_counter() - began
                    if message.get("event") == "run_started":
                        starts.append(time.perf_counter() - began)
                assert first is not None
                firsts.append(first)
        return echoes, firsts, starts

    echoes, firsts, starts = asyncio.run(measured())
    floors = [echo + commit for echo, commit in zip(echoes, commits(tmp_path, count), strict=True)]
    print()
    for name, found in (("floor", floors), ("first event", firsts), ("run_started", starts)):
        cuts = quantiles(found, n=100)
        print(
            f"  {name}: p50 {cuts[49] * 1e3:.2f} ms, p99 {cuts[98] * 1e3:.2f} ms, ratio {cuts[49] / median(floors):.1f}"
        )
    assert median(firsts) < 8 * median(floors)


def test_jobs_a_second_and_flat_memory(server: serving.Server) -> None:
    count, window = JOBS, 32

    async def measured() -> tuple[float, list[int]]:
        done, memories = 0, []
        async with connected(server.url + "/v1/ws") as socket:
            await socket.send_json({"id": 0, "do": "subscribe", "feed": "mine", "after": 0})
            head = json.loads((await socket.receive()).data)["ok"]["head"]
            began = time.perf_counter()

            async def submit(number: int) -> None:
                params = {"value": number}
                await socket.send_json({"id": number, "do": "submit", "graph": serving.NUMBER, "params": params})

            for number in range(1, window + 1):
                await submit(number)
            sent = window
            while done < count:
                message = json.loads((await socket.receive()).data)
                if message.get("event") == "run_finished" and message["cursor"] > head:
                    done += 1
                    if done % (count // 10) == 0:
                        memories.append(memory(server.process.pid))
                    if sent < count:
                        sent += 1
                        await submit(sent)
            return count / (time.perf_counter() - began), memories

    rate, memories = asyncio.run(measured())
    workers = [memory(pid) for pid in server.workers()]
    shown = ", ".join(f"{found / 1e6:.0f}" for found in memories)
    print(f"\n  {rate:.0f} jobs a second; the server's memory after each tenth of {count:,} jobs: {shown} MB")
    print(f"  its workers': {', '.join(f'{found / 1e6:.0f} MB' for found in workers)}")
    assert rate > 50
    assert memories[-1] < memories[1] + 10e6


def test_idle_websockets_and_idle_memory(tmp_path: Path) -> None:
    server = serving.start(tmp_path).ready()
    idle = memory(server.process.pid)

    async def measured() -> tuple[int, float]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            sockets = [await session.ws_connect(server.url + "/v1/ws") for _ in range(1000)]
            for number, socket in enumerate(sockets):
                await socket.send_json({"id": number, "do": "subscribe", "feed": "mine", "after": 0})
                await socket.receive()
            used = memory(server.process.pid)
            began = time.perf_counter()
            await sockets[0].send_json({"id": 9, "do": "submit", "graph": serving.NUMBER})
            for socket in sockets:
                while "event" not in json.loads((await socket.receive()).data):
                    pass
            return used, time.perf_counter() - began

    used, took = asyncio.run(measured())
    print(f"\n  idle: {idle / 1e6:.0f} MB; with 1,000 websockets that follow a feed: {used / 1e6:.0f} MB")
    print(f"  a job's first event reached all 1,000 in {took:.2f} s")
    server.stop()
    assert idle < 120e6
    assert (used - idle) / 1000 < 200e3


def test_a_client_that_never_reads_takes_no_memory_and_keeps_nobody_waiting(tmp_path: Path) -> None:
    server = serving.start(tmp_path).ready()
    many = "\n".join(f"  n{i}: {{type: Constant, inputs: {{value: {i}}}}}" for i in range(2000))
    graph = f"latentgraph: 1\nnodes:\n{many}\noutputs: {{last: $n0}}\n"
    targets = [f"n{i}" for i in range(2000)]
    job = server.request("POST", "/v1/jobs?wait=120", {"graph": graph, "targets": targets}).json
    assert job["last"] > 2000

    async def measured() -> tuple[int, int, float]:
        before = memory(server.process.pid)
        async with connected(server.url + "/v1/ws") as deaf, connected(server.url + "/v1/ws") as other:
            for number in range(100):
                await deaf.send_json({"id": number, "do": "subscribe", "job": job["job"], "after": 0})
            await asyncio.sleep(2)
            began = time.perf_counter()
            await other.send_json({"id": 1, "do": "submit", "graph": serving.NUMBER, "follow": True})
            while not json.loads((await other.receive()).data).get("end"):
                pass
            return before, memory(server.process.pid), time.perf_counter() - began

    before, after, took = asyncio.run(measured())
    print(f"\n  with 200,000 events for a client that does not read: {(after - before) / 1e6:+.1f} MB")
    print(f"  meanwhile another one's job took {took * 1e3:.0f} ms")
    server.stop()
    assert after - before < 20e6


def test_ready_soon_after_it_is_started(tmp_path: Path) -> None:
    imports = "import aiohttp, aiohttp.web, pydantic, yaml, networkx, sqlite3; from pydantic import BaseModel"
    floors, takes = [], []
    for number in range(5):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", imports], check=True)
        floors.append(time.perf_counter() - began)
        began = time.perf_counter()
        server = serving.start(tmp_path / str(number)).ready()
        takes.append(time.perf_counter() - began)
        server.stop()
    ratio = median(takes) / median(floors)
    print(f"\n  ready in {median(takes):.2f} s, imports alone {median(floors):.2f} s: {ratio:.1f} times")
    assert ratio < 8
