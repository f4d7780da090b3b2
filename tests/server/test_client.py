"""The Python clients against a real server: requests, events, results, refusals."""

import asyncio
import hashlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import serving

from latentgraph.server.client import (
    AsyncClient,
    Client,
    GraphRefused,
    JobCancelled,
    JobFailed,
    NodeFinished,
    NodeStarted,
    OutputFile,
    Preview,
    Progress,
    Queued,
    RunFinished,
    ServerError,
    Unreachable,
)

NODES = Path(__file__).parents[1] / "engine" / "tiny_nodes.py"

PAINT = """\
latentgraph: 1
params:
  text: {type: str, default: a dog}
  numbers: {type: [float], default: [1, 2.5]}
nodes:
  painted: {type: Paint, inputs: {text: $params.text}}
  sum: {type: Total, inputs: {numbers: $params.numbers}}
outputs:
  image: $painted
  sum: $sum
"""

STEPS = """\
latentgraph: 1
params:
  steps: {type: int, default: 5}
  seconds: {type: float, default: 0.05}
nodes:
  slow: {type: Steps, inputs: {steps: $params.steps, seconds: $params.seconds}}
outputs:
  steps: $slow
"""

LOAD = """\
latentgraph: 1
params:
  file: {type: File}
nodes:
  loaded: {type: Load, inputs: {file: $params.file}}
outputs:
  image: $loaded
"""

FAIL = """\
latentgraph: 1
nodes:
  good: {type: Paint, inputs: {text: good}}
  bad: {type: Fail}
outputs:
  good: $good
  bad: $bad
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[serving.Server]:
    running = serving.start(tmp_path_factory.mktemp("server"), "--nodes", NODES, nodes=False)
    yield running
    running.stop()


@pytest.fixture
def client(server: serving.Server) -> Iterator[Client]:
    with Client(server.url) as client:
        yield client


def test_a_graph_runs_and_gives_values_and_files(client: Client, tmp_path: Path) -> None:
    result = client.run(PAINT, {"text": "a cat"}, name="paint")
    assert result.outputs["sum"] == 3.5
    image = result.outputs["image"]
    assert isinstance(image, OutputFile)
    assert image.name.startswith("paint-image-")
    assert image.media == "text/plain"
    content = image.read()
    assert content.startswith(b"a cat")
    assert (len(content), hashlib.sha256(content).hexdigest()) == (image.size, image.digest)
    assert image.save(tmp_path / "new" / "cat.txt").read_bytes() == content
    assert image.save(tmp_path).name == image.name
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["cat.txt"]


def test_events_are_typed_numbered_and_end_with_the_run(client: Client) -> None:
    job = client.submit(PAINT, {"text": "events"})
    events = list(job.follow())
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert isinstance(events[0], Queued)
    assert isinstance(events[-1], RunFinished)
    assert {event.job for event in events} == {job.id}
    assert [(event.node, event.type) for event in events if isinstance(event, NodeStarted)] == [("painted", "Paint")]
    finished = {event.node: event for event in events if isinstance(event, NodeFinished)}
    assert finished["painted"].status == "computed"
    assert isinstance(finished["painted"].seconds, float)
    assert events[-1].outputs["sum"] == 3.5
    assert list(job.follow(after=len(events) - 2)) == events[-2:]
    assert list(job.follow(after=len(events))) == []


def test_progress_and_previews_come_while_a_node_runs(client: Client) -> None:
    job = client.submit(STEPS, {"steps": 20, "seconds": 0.06})
    events = list(job.follow(previews=True))
    steps = [event.step for event in events if isinstance(event, Progress)]
    assert steps == sorted(steps)
    assert steps
    assert all(event.node == "slow" and event.steps == 20 for event in events if isinstance(event, Progress))
    previews = [event for event in events if isinstance(event, Preview)]
    assert previews
    assert all(preview.image.startswith(b"\x89PNG") and preview.width == 4 for preview in previews)
    assert not any(isinstance(event, Preview) for event in client.submit(STEPS, {"steps": 21}).follow())


def test_a_file_is_sent_once_and_given_as_a_param(client: Client, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("words in a file")
    by_path = client.upload(tmp_path / "words.txt")
    assert by_path.startswith("upload:")
    assert client.upload(b"words in a file", "other.txt") == by_path
    assert client.run(LOAD, {"file": by_path}).outputs["image"].read().startswith(b"words in a file")


def test_a_graph_may_be_a_file_an_object_or_a_name(client: Client, tmp_path: Path) -> None:
    (tmp_path / "my graph.yaml").write_text(PAINT)
    assert client.run(tmp_path / "my graph.yaml").outputs["image"].name.startswith("my_graph-image-")
    number = {"latentgraph": 1, "nodes": {"n": {"type": "Number", "inputs": {"value": 7}}}, "outputs": {"n": "$n"}}
    assert client.run(number).outputs == {"n": 7}
    assert "txt2img" in [graph["name"] for graph in client.graphs()]
    assert "KSampler" in client.graph("txt2img")["text"]
    assert client.graph("train/vae")["name"] == "train/vae"
    assert client.check("txt2img")["ok"]


def test_a_wrong_graph_is_refused_with_every_problem(client: Client) -> None:
    wrong = PAINT.replace("$painted", "$pianted").replace("Total", "Totla")
    with pytest.raises(GraphRefused) as refused:
        client.submit(wrong)
    told = client.check(wrong)
    assert not told["ok"]
    assert told["diagnostics"] == list(refused.value.diagnostics)
    assert {found["code"] for found in told["diagnostics"]} >= {"unknown-node", "unknown-type"}
    assert "pianted" in str(refused.value)
    with pytest.raises(GraphRefused, match="txet"):
        client.run(PAINT, {"txet": "a cat"})


def test_a_job_that_fails_raises_and_has_what_there_is(client: Client) -> None:
    with pytest.raises(JobFailed, match="the paint is dry") as failed:
        client.run(FAIL)
    assert failed.value.result.outputs["good"].read().startswith(b"good")
    assert failed.value.document["state"] == "failed"


def test_a_job_is_cancelled_while_it_runs(client: Client) -> None:
    job = client.submit(STEPS, {"steps": 1000})
    for event in job.follow():
        if isinstance(event, NodeStarted):
            assert job.cancel() in ("cancelling", "cancelled")
    with pytest.raises(JobCancelled):
        job.result()
    assert job.cancel() == "cancelled"
    assert client.jobs("cancelled", limit=1)[0]["job"] == job.id


def test_on_event_may_use_the_client(client: Client) -> None:
    with pytest.raises(JobCancelled):
        client.run(STEPS, {"steps": 1001}, on_event=lambda event: client.cancel(event.job) if event.seq == 2 else None)


def test_jobs_are_listed_retried_and_deleted(client: Client) -> None:
    job = client.submit(PAINT, {"text": "again"})
    job.result()
    again = job.retry()
    assert again.id != job.id
    assert again.result().document["counts"]["reused"] == 2
    listed = client.jobs(["done"], limit=2)
    assert [found["job"] for found in listed] == [again.id, job.id]
    assert client.jobs(limit=1, before=again.id)[0]["job"] == job.id
    job.delete()
    with pytest.raises(ServerError) as refused:
        job.document()
    assert (refused.value.code, refused.value.temporary) == ("not-found", False)
    with pytest.raises(ServerError):
        list(job.follow())


def test_importing_the_client_imports_neither_the_engine_nor_the_server() -> None:
    program = (
        "import sys, latentgraph.server.client\n"
        "print(*(name for name in sys.modules if name.startswith(('latentgraph.', 'torch', 'pydantic'))))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    names = {name for name in done.stdout.split() if not name.startswith("latentgraph.server.client")}
    assert names == {"latentgraph.server"}


def test_ctrl_c_while_following_leaves_the_client_usable(server: serving.Server) -> None:
    program = f"""
import os, signal, threading
from latentgraph.server.client import Client
with Client({server.url!r}) as client:
    job = client.submit({STEPS!r}, {{"steps": 1003}})
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        for event in job.follow():
            pass
    except KeyboardInterrupt:
        print(job.cancel())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "cancelling\n", "")


def test_the_same_key_is_the_same_job(client: Client) -> None:
    first = client.submit(PAINT, {"text": "once"}, key="a key of mine")
    second = client.submit(PAINT, {"text": "once"}, key="a key of mine")
    assert (first.id, first.existing, second.existing) == (second.id, False, True)
    assert client.submit(PAINT, {"text": "once"}).id != first.id
    with pytest.raises(ServerError) as reused:
        client.submit(PAINT, {"text": "twice"}, key="a key of mine")
    assert reused.value.code == "key-reused"


def test_the_feed_tells_of_all_own_jobs_in_order(client: Client) -> None:
    start = max(found.cursor for found in client.submit(PAINT, {"text": "before"}).follow())
    jobs = [client.submit(PAINT, {"text": f"feed {number}"}).id for number in range(3)]
    seen = {job: [] for job in jobs}
    cursors = []
    for event in client.feed(after=start):
        if event.seq:
            cursors.append(event.cursor)
            seen[event.job].append(event)
        if all(events and isinstance(events[-1], RunFinished) for events in seen.values()):
            break
    assert cursors == sorted(set(cursors))
    for job, events in seen.items():
        assert events == [event for event in client.follow(job) if event.seq]


def test_targets_are_run_instead_of_the_outputs(client: Client) -> None:
    result = client.run(PAINT, {"text": "target"}, targets=["sum"])
    assert result.outputs == {"sum": 3.5}


def test_one_client_serves_several_threads(client: Client) -> None:
    results: dict[int, list[object]] = {}

    def work(number: int) -> None:
        results[number] = [client.run(PAINT, {"numbers": [number, other]}).outputs["sum"] for other in range(3)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: [number + other for other in range(3)] for number in range(4)}


def test_an_iterator_may_be_left_and_the_client_goes_on(client: Client) -> None:
    job = client.submit(STEPS, {"steps": 12})
    for event in job.follow():
        if event.seq == 2:
            break
    assert job.result().outputs == {"steps": 12.0}


def test_closing_a_client_frees_those_who_wait(server: serving.Server) -> None:
    client = Client(server.url)
    job = client.submit(STEPS, {"steps": 1002})
    ended = threading.Event()

    def follow() -> None:
        try:
            list(client.follow(job.id))
        except BaseException:
            ended.set()

    thread = threading.Thread(target=follow)
    thread.start()
    ended.wait(0.3)
    client.close()
    client.close()
    assert ended.wait(5)
    thread.join()
    with Client(server.url) as other:
        other.cancel(job.id)


def test_the_asyncio_client_follows_many_jobs_at_once(server: serving.Server) -> None:
    async def main() -> list[object]:
        async with AsyncClient(server.url) as client:
            runs = (client.run(PAINT, {"numbers": [number]}) for number in range(6))
            results = await asyncio.gather(*runs)
            image = results[0].outputs["image"]
            assert await image.read() == await results[1].outputs["image"].read()
            return [result.outputs["sum"] for result in results]

    assert asyncio.run(main()) == [0, 1, 2, 3, 4, 5]


def test_a_server_that_was_never_there_is_unreachable_at_once() -> None:
    with Client("http://127.0.0.1:9", patience=100) as client, pytest.raises(Unreachable, match=r"127\.0\.0\.1:9"):
        client.server()
    with Client("http://127.0.0.1:9") as client, pytest.raises(Unreachable):
        list(client.follow("j" + "0" * 22))
    with pytest.raises(ValueError, match="no URL"):
        Client("127.0.0.1:8765")


def test_a_token_is_needed_where_the_server_wants_one(tmp_path: Path) -> None:
    token = "a-token-that-is-long-enough"
    (tmp_path / "tokens").write_text(f"somebody read,submit {token}\n")
    (tmp_path / "tokens").chmod(0o600)
    server = serving.start(tmp_path, "--nodes", NODES, "--token-file", str(tmp_path / "tokens"), nodes=False)
    try:
        with Client(server.url) as client, pytest.raises(ServerError) as refused:
            client.jobs()
        assert refused.value.code == "unauthorized"
        with Client(server.url) as client, pytest.raises(ServerError):
            list(client.feed())
        with Client(server.url, token) as client:
            assert client.run(PAINT).outputs["sum"] == 3.5
            assert client.server()["owner"] == "somebody"
    finally:
        server.stop()
