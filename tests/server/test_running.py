"""A server in a process of its own: what it keeps, what it goes on with, and what becomes of its workers."""

import asyncio
import contextlib
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import serving

SLOW = """\
latentgraph: 1
params:
  value: {type: int, default: 1}
  steps: {type: int, default: 20}
nodes:
  first: {type: Constant, inputs: {value: $params.value}}
  slow: {type: Slow, inputs: {value: $first, steps: $params.steps, seconds: 0.05}}
outputs:
  number: $slow
"""

DIES = """\
latentgraph: 1
params:
  marks: {type: str}
  times: {type: int}
nodes:
  first: {type: Constant, inputs: {value: 7}}
  dies: {type: Dies, inputs: {marks: $params.marks, times: $params.times, after: $first}}
  sum: {type: Add, inputs: {a: $first, b: $dies}}
outputs:
  sum: $sum
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[serving.Server]:
    """One server for the tests that do not end it."""
    found = serving.start(tmp_path_factory.mktemp("shared"), "--workers", "2").ready()
    yield found
    found.stop()


def submitted(server: serving.Server, graph: Any = SLOW, **params: Any) -> str:
    answer = server.request("POST", "/v1/jobs", {"graph": graph, "params": params})
    assert answer.status == 202, answer.text
    return answer.json["job"]


def until(true: Callable[[], Any], seconds: float = 30) -> Any:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, "it has not happened"
        time.sleep(0.02)
    return found


def state(server: serving.Server, job: str) -> str:
    return server.get(f"/v1/jobs/{job}").json["state"]


def events(server: serving.Server, job: str) -> list[dict[str, Any]]:
    return server.get(f"/v1/jobs/{job}/events").json["events"]


def names(server: serving.Server, job: str) -> list[str]:
    return [event["event"] for event in events(server, job)]


def started(server: serving.Server, job: str, node: str) -> bool:
    return any(event.get("node") == node for event in events(server, job))


# jobs


def test_a_job_that_is_waited_for_answers_with_its_outcome(shared: serving.Server) -> None:
    job = shared.run(serving.NUMBER, {"value": 5})
    assert (job["state"], job["outputs"]) == ("done", {"number": 5})
    assert names(shared, job["job"]) == [
        "queued", "run_started", "node_started", "node_finished", "output", "run_finished",
    ]  # fmt: skip


def test_waiting_ends_when_the_time_is_over(shared: serving.Server) -> None:
    answer = shared.request("POST", "/v1/jobs?wait=0.2", {"graph": SLOW, "params": {"value": 99}})
    assert answer.status == 202
    assert answer.json["state"] in ("queued", "running")


def test_a_wrong_graph_is_refused_with_all_its_errors_and_their_positions(shared: serving.Server) -> None:
    before = shared.get("/v1/jobs").json
    graph = "latentgraph: 1\nnodes:\n  a: {type: Constnt}\n  b: {type: Add, inputs: {a: 1, b: $c}}\noutputs: {x: $b}\n"
    answer = shared.request("POST", "/v1/jobs", {"graph": graph})
    assert answer.status == 422
    found = {(d["code"], d["line"], d["column"]) for d in answer.json["error"]["diagnostics"]}
    assert found >= {("unknown-type", 3, 13), ("unknown-node", 4, 36)}
    assert shared.get("/v1/jobs").json == before


def test_a_node_that_fails_is_told_with_its_message(shared: serving.Server) -> None:
    graph = "latentgraph: 1\nnodes:\n  bad: {type: Fails, inputs: {message: too bad}}\noutputs: {x: $bad}\n"
    job = shared.run(graph)
    assert job["state"] == "failed"
    assert job["error"] == "the node `bad` failed: too bad"
    (finished,) = [event for event in events(shared, job["job"]) if event["event"] == "node_finished"]
    assert (finished["status"], finished["error"]) == ("failed", "too bad")


def test_a_queued_job_is_cancelled_at_once_and_a_running_one_within_a_step(shared: serving.Server) -> None:
    jobs = [submitted(shared, value=value, steps=1000) for value in (101, 102, 103)]
    until(lambda: started(shared, jobs[0], "slow") and started(shared, jobs[1], "slow"))
    assert shared.request("POST", f"/v1/jobs/{jobs[2]}/cancel").json["state"] == "cancelled"
    for job in jobs[:2]:
        began = time.monotonic()
        assert shared.request("POST", f"/v1/jobs/{job}/cancel").json["state"] == "cancelling"
        until(lambda job=job: state(shared, job) == "cancelled")
        assert time.monotonic() - began < 5
    assert all(names(shared, job)[-1] == "run_finished" for job in jobs)
    assert shared.request("POST", f"/v1/jobs/{jobs[0]}/cancel").json["state"] == "cancelled"


def test_two_identical_jobs_compute_once(shared: serving.Server) -> None:
    jobs = [submitted(shared, value=55) for _ in range(2)]
    for job in jobs:
        until(lambda job=job: state(shared, job) == "done")
    statuses = [
        event["status"] for job in jobs for event in events(shared, job)
        if event["event"] == "node_finished" and event["node"] == "slow"
    ]  # fmt: skip
    assert sorted(statuses) == ["computed", "reused"]


def test_a_random_param_is_drawn_once_and_told(shared: serving.Server) -> None:
    graph = serving.NUMBER.replace("default: 1", "default: random, min: 0")
    job = shared.run(graph)
    drawn = job["params"]["value"]
    assert job["outputs"] == {"number": drawn}
    again = shared.request("POST", f"/v1/jobs/{job['job']}/retry").json["job"]
    until(lambda: state(shared, again) == "done")
    document = shared.get(f"/v1/jobs/{again}").json
    assert document["outputs"] == {"number": drawn}
    assert document["counts"] == {"computed": 0, "reused": 1, "failed": 0, "skipped": 0}


def test_the_same_key_gives_the_same_job(shared: serving.Server) -> None:
    body = {"graph": serving.NUMBER, "params": {"value": 8}, "key": "once"}
    first = shared.request("POST", "/v1/jobs", body)
    again = shared.request("POST", "/v1/jobs", body)
    assert (first.status, again.status) == (202, 200)
    assert again.json["job"] == first.json["job"]
    assert again.json["existing"]
    other = shared.request("POST", "/v1/jobs", {**body, "params": {"value": 9}})
    assert (other.status, other.json["error"]["code"]) == (409, "key-reused")


def test_outputs_are_served_with_ranges_and_etags(shared: serving.Server) -> None:
    graph = "latentgraph: 1\nnodes:\n  s: {type: Shout, inputs: {text: hello}}\noutputs: {text: $s}\n"
    output = shared.run(graph, name="shouting")["outputs"]["text"]
    assert output["file"].startswith("shouting-text-")
    whole = shared.get(output["url"])
    assert whole.content == b"HELLO"
    assert whole.headers["Content-Type"] == "text/plain"
    assert whole.headers["ETag"] == f'"{output["digest"]}"'
    part = shared.get(output["url"], headers={"Range": "bytes=1-3"})
    assert (part.status, part.content) == (206, b"ELL")
    assert shared.get(output["url"], headers={"If-None-Match": whole.headers["ETag"]}).status == 304


def test_an_upload_is_an_input(shared: serving.Server) -> None:
    upload = shared.request("POST", "/v1/uploads?name=a.txt", b"from outside", {"Content-Type": "text/plain"})
    assert upload.status == 201
    graph = (
        "latentgraph: 1\nparams:\n  file: {type: File}\nnodes:\n"
        "  r: {type: ReadFile, inputs: {file: $params.file}}\noutputs: {text: $r}\n"
    )
    assert shared.run(graph, {"file": upload.json["upload"]})["outputs"] == {"text": "from outside"}
    assert shared.get(upload.json["url"]).content == b"from outside"


def test_a_job_that_is_deleted_is_gone_with_its_outputs(shared: serving.Server) -> None:
    graph = "latentgraph: 1\nnodes:\n  s: {type: Shout, inputs: {text: gone}}\noutputs: {text: $s}\n"
    job = shared.run(graph)
    assert shared.request("DELETE", f"/v1/jobs/{job['job']}").status == 204
    assert shared.get(f"/v1/jobs/{job['job']}").status == 404
    assert shared.get(job["outputs"]["text"]["url"]).status == 404
    running = submitted(shared, value=77)
    assert shared.request("DELETE", f"/v1/jobs/{running}").status == 409


def test_a_graph_of_ones_own_has_a_name(shared: serving.Server) -> None:
    put = shared.request("PUT", "/v1/graphs/mine/number", serving.NUMBER.encode(), {"Content-Type": "application/yaml"})
    assert put.status == 201
    assert shared.run("mine/number", {"value": 3})["outputs"] == {"number": 3}
    assert "mine/number" in [graph["name"] for graph in shared.get("/v1/graphs").json["graphs"]]
    assert shared.request("DELETE", "/v1/graphs/mine/number").status == 204
    assert shared.request("POST", "/v1/jobs", {"graph": "mine/number"}).json["error"]["code"] == "unknown-graph"


def test_a_queue_that_stands_still_takes_jobs_and_starts_none(shared: serving.Server) -> None:
    assert shared.request("POST", "/v1/queue", {"paused": True}).json["paused"]
    job = submitted(shared, serving.NUMBER, value=31)
    time.sleep(0.3)
    assert state(shared, job) == "queued"
    assert not shared.request("POST", "/v1/queue", {"paused": False}).json["paused"]
    until(lambda: state(shared, job) == "done")


# workers


def test_a_worker_that_dies_is_replaced_and_its_job_goes_on(shared: serving.Server, tmp_path: Path) -> None:
    job = shared.run(DIES, {"marks": str(tmp_path), "times": 1})
    assert (job["state"], job["attempts"], job["outputs"]) == ("done", 2, {"sum": 8})
    found = events(shared, job["job"])
    (interrupted,) = [event for event in found if event["event"] == "interrupted"]
    assert "SIGKILL" in interrupted["reason"]
    after = [event for event in found if event["seq"] > interrupted["seq"]]
    assert [e["status"] for e in after if e["event"] == "node_finished" and e["node"] == "first"] == ["reused"]
    until(lambda: len(shared.workers()) == 2)


def test_a_job_that_kills_its_workers_fails_and_the_server_does_not_mind(
    shared: serving.Server, tmp_path: Path
) -> None:
    job = shared.run(DIES, {"marks": str(tmp_path), "times": 100})
    assert job["state"] == "failed"
    assert job["error"].startswith("its worker ended 3 times")
    assert names(shared, job["job"]).count("run_finished") == 1
    assert shared.run(serving.NUMBER, {"value": 44})["state"] == "done"


def test_workers_take_no_file_of_the_working_folder_for_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("enum", "queue", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('this is not the module that is meant')")
    monkeypatch.chdir(tmp_path)
    server = serving.start(tmp_path / "server").ready()
    assert server.run(serving.NUMBER)["state"] == "done"
    server.stop()


def test_only_workers_load_torch(tmp_path: Path) -> None:
    server = serving.start(tmp_path, nodes=False).ready()
    assert server.run("txt2img", {"steps": 1})["state"] == "done"

    def loaded(pid: int) -> bool:
        return "libtorch" in Path(f"/proc/{pid}/maps").read_text()

    assert not loaded(server.process.pid)
    assert [loaded(pid) for pid in server.workers()] == [True]
    server.stop()


# the server


def test_a_job_survives_the_death_of_the_server_and_goes_on(tmp_path: Path) -> None:
    server = serving.start(tmp_path)
    job = submitted(server)
    until(lambda: started(server, job, "slow"))
    queued = submitted(server, serving.NUMBER, value=12)
    server.restart()
    until(lambda: state(server, job) == "done" and state(server, queued) == "done")
    found = events(server, job)
    assert [event["seq"] for event in found] == list(range(1, len(found) + 1))
    interrupted = [event["event"] for event in found].index("interrupted")
    after = {e["node"]: e["status"] for e in found[interrupted:] if e["event"] == "node_finished"}
    assert after["first"] == "reused"
    server.stop()


def test_workers_end_with_a_server_that_is_killed(tmp_path: Path) -> None:
    server = serving.start(tmp_path, "--workers", "2").ready()
    until(lambda: len(server.workers()) == 2)
    workers = server.workers()
    submitted(server, steps=1000)
    server.kill()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 10)


def test_a_server_that_is_asked_to_stop_puts_back_what_runs(tmp_path: Path) -> None:
    server = serving.start(tmp_path)
    job = submitted(server, steps=40)
    until(lambda: started(server, job, "slow"))

    async def closed() -> int | None:
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{server.url}/v1/ws") as socket:
            await socket.send_json({"id": 1, "do": "subscribe", "job": job})
            await socket.receive()
            server.process.send_signal(signal.SIGTERM)
            while not socket.closed:
                await socket.receive()
            return socket.close_code

    assert asyncio.run(closed()) == 1012
    assert server.stop() == 0
    server.start()
    until(lambda: state(server, job) == "done")
    interrupted = [event for event in events(server, job) if event["event"] == "interrupted"]
    assert [event["reason"] for event in interrupted] == ["the server was stopped"]
    server.stop()


def test_a_queue_stands_still_after_a_restart_too(tmp_path: Path) -> None:
    server = serving.start(tmp_path)
    server.request("POST", "/v1/queue", {"paused": True})
    server.restart()
    assert server.get("/v1/queue").json["paused"]
    server.stop()


def test_a_data_folder_has_one_server(tmp_path: Path) -> None:
    server = serving.start(tmp_path)
    again = serve("--port", "0", "--data", str(tmp_path / "data"))
    assert (again.returncode, again.stdout) == (2, "")
    assert "another server is using" in again.stderr
    taken = serve("--port", str(server.port), "--data", str(tmp_path / "other"))
    assert taken.returncode == 2
    assert "cannot listen" in taken.stderr
    server.stop()


def test_a_newer_or_broken_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    server = serving.start(tmp_path)
    server.stop()
    database = tmp_path / "data" / "jobs.sqlite"
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("pragma user_version = 999")
    refused = serve("--port", "0", "--data", str(tmp_path / "data"))
    assert (refused.returncode, "newer release" in refused.stderr) == (2, True)
    database.write_bytes(b"this is no database" * 100)
    for left in database.parent.glob("jobs.sqlite-*"):
        left.unlink()
    refused = serve("--port", "0", "--data", str(tmp_path / "data"))
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
    assert database.read_bytes().startswith(b"this is no database")


def serve(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "latentgraph.engine.cli", "serve", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux can take a disk from a process")
def test_a_full_disk_refuses_submissions_and_loses_nothing(tmp_path: Path) -> None:
    server = serving.start(tmp_path).ready()
    before = server.run(serving.NUMBER, {"value": 1})
    running = submitted(server, steps=30)
    until(lambda: started(server, running, "slow"))
    limits = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (1, limits[1]))
    answer = server.request("POST", "/v1/jobs", {"graph": serving.NUMBER, "params": {"value": 2}})
    assert (answer.status, answer.json["error"]["temporary"]) == (503, True)
    assert server.get(f"/v1/jobs/{before['job']}").json["state"] == "done"
    time.sleep(2)
    assert state(server, running) == "running"
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, limits)
    until(lambda: state(server, running) == "done")
    assert server.run(serving.NUMBER, {"value": 2})["outputs"] == {"number": 2}
    found = events(server, running)
    assert [event["seq"] for event in found] == list(range(1, len(found) + 1))
    server.stop()


def test_the_log_of_a_restored_backup_has_another_epoch(tmp_path: Path) -> None:
    server = serving.start(tmp_path)
    server.stop()
    database = tmp_path / "data" / "jobs.sqlite"
    backup = database.read_bytes()
    server.start()
    epoch = server.get("/v1/server").json["epoch"]
    server.run(serving.NUMBER)
    server.stop()
    database.write_bytes(backup)
    for left in database.parent.glob("jobs.sqlite-*"):
        left.unlink()
    server.start()
    assert server.get("/v1/server").json["epoch"] != epoch
    server.stop()
