"""docs/javascript/latentgraph.mjs in Node.js against a real server, over websockets and over server-sent events."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import serving

pytestmark = pytest.mark.browser

CLIENT = Path(__file__).parents[2] / "docs" / "javascript" / "latentgraph.mjs"

PROGRAM = """
import { Client, ServerError } from CLIENT
const client = new Client(URL)
const say = (...things) => console.log(JSON.stringify(things))
"""

SLOW = """\
latentgraph: 1
params:
  value: {type: int, default: 1}
nodes:
  first: {type: Slow, inputs: {value: $params.value, steps: 6, seconds: 0.05}}
  second: {type: Slow, inputs: {value: $first, steps: 40, seconds: 0.05}}
outputs:
  number: $second
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[serving.Server]:
    running = serving.start(tmp_path / "server", "--workers", "1")
    yield running
    running.stop()


def node(server: serving.Server, program: str, *options: str) -> "subprocess.Popen[str]":
    """A program in Node.js, which is needed here: the test fails where it is missing."""
    text = PROGRAM.replace("CLIENT", json.dumps(CLIENT.as_uri())).replace("URL", json.dumps(server.url), 1) + program
    command = ["node", *options, "--input-type=module", "--eval", text]
    try:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    except FileNotFoundError:
        raise AssertionError("these tests need Node.js: there is no `node` on the PATH") from None


def said(process: "subprocess.Popen[str]") -> list[Any]:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return [json.loads(line) for line in out.splitlines()]


def websocket_option() -> list[str]:
    """What makes Node.js have a global WebSocket: nothing from 22 on."""
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    return [] if int(version.removeprefix("v").partition(".")[0]) >= 22 else ["--experimental-websocket"]


def transport(name: str) -> tuple[list[str], str]:
    return (websocket_option(), "") if name == "websocket" else ([], "delete globalThis.WebSocket\n")


@pytest.mark.parametrize("name", ["websocket", "events"])
def test_a_job_is_followed_over_a_restart_every_event_once_and_in_order(name: str, server: serving.Server) -> None:
    options, before = transport(name)
    program = (
        before
        + f"""
const job = await client.submit({json.dumps(SLOW)}, {{ value: 5 }})
for await (const event of client.follow(job)) say(event)
say(await client.job(job))
"""
    )
    process = node(server, program, *options)
    assert process.stdout is not None
    lines = []
    while not lines or '"node_finished"' not in lines[-1]:
        lines.append(process.stdout.readline())
    server.restart()
    events = [json.loads(line)[0] for line in lines] + [thing[0] for thing in said(process)]
    job = events.pop()
    logged = [event for event in events if "seq" in event]
    assert [event["seq"] for event in logged] == list(range(1, len(logged) + 1))
    assert [event["event"] for event in logged].count("run_finished") == 1
    assert "interrupted" in [event["event"] for event in logged]
    assert ("progress" in [event["event"] for event in events]) == (name == "websocket")
    assert (job["state"], job["outputs"]) == ("done", {"number": 5})


def test_previews_come_as_pictures(server: serving.Server) -> None:
    graph = "latentgraph: 1\nnodes:\n  p: {type: Preview}\noutputs:\n  p: $p\n"
    program = f"""
const job = await client.submit({json.dumps(graph)})
for await (const event of client.follow(job, {{ previews: true }}))
  if (event.event === 'preview') say(event.node, event.width, event.image.type, event.image.size)
"""
    previews = said(node(server, program, *websocket_option()))
    assert previews
    assert previews[0][:3] == ["p", 8, "image/png"]
    assert previews[0][3] > 50


def test_files_go_there_and_come_back_and_refusals_are_errors(server: serving.Server) -> None:
    graph = (
        "latentgraph: 1\nparams:\n  file: {type: File}\nnodes:\n"
        "  text: {type: ReadFile, inputs: {file: $params.file}}\n"
        "  loud: {type: Shout, inputs: {text: $text}}\noutputs:\n  text: $text\n  loud: $loud\n"
    )
    program = f"""
const file = await client.upload(new Blob(['some words']), 'words.txt')
const job = await client.run({json.dumps(graph)}, {{ file }}, {{ name: 'shouting' }})
say(job.outputs.text, job.outputs.loud.file, await (await client.bytes(job.outputs.loud)).text())
try {{
  await client.submit('txt2img', {{ stpes: 1 }})
}} catch (error) {{
  say(error instanceof ServerError, error.code, error.diagnostics[0].code)
}}
"""
    done, refused = said(node(server, program))
    assert done[0] == "some words"
    assert done[1].startswith("shouting-loud-")
    assert done[2] == "SOME WORDS"
    assert refused == [True, "graph-wrong", "unknown-param"]


def test_a_token_is_sent_in_the_hello_of_a_websocket(tmp_path: Path) -> None:
    token = "a-token-that-is-long-enough"
    (tmp_path / "tokens").write_text(f"somebody read,submit {token}\n")
    (tmp_path / "tokens").chmod(0o600)
    server = serving.start(tmp_path / "with tokens", "--token-file", tmp_path / "tokens")
    try:
        program = f"""
const mine = new Client({json.dumps(server.url)}, {{ token: {json.dumps(token)} }})
say((await mine.run({json.dumps(serving.NUMBER)}, {{ value: 4 }})).outputs)
try {{
  for await (const event of client.follow(await mine.submit({json.dumps(serving.NUMBER)}))) say(event)
}} catch (error) {{
  say(error.code)
}}
"""
        started = time.monotonic()
        assert said(node(server, program, *websocket_option())) == [[{"number": 4}], ["unauthorized"]]
        assert time.monotonic() - started < 20
    finally:
        server.stop()
