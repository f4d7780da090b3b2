"""The OpenAPI and AsyncAPI documents: right in themselves, and right about the server."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import openapi_spec_validator
import pytest
import serving
from documented import Messages, Schemas, closed

from latentgraph.server.http.app import ROUTES

SPECIFICATION = (
    Path(__file__).parents[2] / "server/page/node_modules/@asyncapi/specs/schemas/3.0.0.json"
)  # comes with `npm ci` in server/page

WORK = """\
latentgraph: 1
params:
  a: {type: int, default: 1, min: 0, max: 100}
  seed: {type: int, default: random}
nodes:
  one: {type: Constant, inputs: {value: $params.a}}
  sum: {type: Add, inputs: {a: $one, b: $params.seed}}
  loud: {type: Shout, inputs: {text: hello}}
  shown: {type: Preview, inputs: {steps: 2, seconds: 0.3}}
outputs:
  sum: $sum
  loud: $loud
  shown: $shown
"""

FAILS = """\
latentgraph: 1
nodes:
  one: {type: Fails}
  two: {type: Add, inputs: {a: $one, b: 1}}
outputs: {two: $two}
"""

SLOW = """\
latentgraph: 1
nodes:
  slow: {type: Slow, inputs: {steps: 600, seconds: 0.05}}
outputs: {slow: $slow}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[serving.Server]:
    running = serving.start(tmp_path_factory.mktemp("server")).ready()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def openapi(server: serving.Server) -> Any:
    return server.get("/v1/openapi.json").json


@pytest.fixture(scope="module")
def asyncapi(server: serving.Server) -> Any:
    return server.get("/v1/asyncapi.json").json


def test_the_openapi_document_is_a_valid_one(openapi: Any) -> None:
    openapi_spec_validator.validate(openapi)


def test_every_operation_is_in_the_openapi_document(openapi: Any) -> None:
    listed = [operation["operationId"] for path in openapi["paths"].values() for operation in path.values()]
    assert sorted(listed) == sorted({route.name for route in ROUTES})
    assert all("description" in operation for path in openapi["paths"].values() for operation in path.values())


def test_only_servers_with_tokens_say_that_one_is_needed(openapi: Any, tmp_path: Path) -> None:
    assert "securitySchemes" not in openapi["components"]
    tokens = tmp_path / "tokens"
    tokens.write_text("ann read,submit 0123456789abcdef\n")
    tokens.chmod(0o600)
    running = serving.start(tmp_path / "server", "--token-file", tokens, nodes=False)
    try:
        document = running.get("/v1/openapi.json").json
        openapi_spec_validator.validate(document)
        for path in document["paths"].values():
            for operation in path.values():
                assert ("security" in operation) == ("401" in operation["responses"])
        assert "security" in document["paths"]["/v1/jobs"]["post"]
        assert "security" not in document["paths"]["/v1/health"]["get"]
        assert "security" in running.get("/v1/asyncapi.json").json["servers"]["here"]
    finally:
        running.stop()


class Recorder:
    """Calls operations by their ids, and holds each answer against what the document says of it."""

    def __init__(self, server: serving.Server, document: Any) -> None:
        self.server, self.document = server, closed(document)
        self.schemas = Schemas(self.document)
        self.called: set[tuple[str, int]] = set()
        self.operations = {
            operation["operationId"]: (method.upper(), path, operation)
            for path, item in self.document["paths"].items()
            for method, operation in item.items()
        }

    def __call__(
        self, operation: str, body: Any = None, query: str = "", headers: dict[str, str] | None = None, **parts: str
    ) -> serving.Answer:
        method, path, about = self.operations[operation]
        answer = self.server.request(method, path.format(**parts) + query, body, headers)
        self.called.add((operation, answer.status))
        said = about["responses"][str(answer.status)]
        if "$ref" in said:
            said = self.document["components"]["responses"][said["$ref"].rpartition("/")[2]]
        answer.headers = {name.title(): value for name, value in answer.headers.items()}
        assert answer.headers.keys() >= {name.title() for name in said.get("headers", {})}, operation
        media = answer.headers.get("Content-Type", "").partition(";")[0]
        if not said.get("content"):
            assert answer.content == b""
            return answer
        kinds = said["content"]
        kind = kinds[media] if media in kinds else kinds[f"{media.partition('/')[0]}/*"]
        if media == "application/json" and "schema" in kind:
            assert self.schemas.wrong(kind["schema"], answer.json) == [], answer.text
        return answer


def test_every_operation_answers_as_the_document_says(server: serving.Server, openapi: Any) -> None:
    call = Recorder(server, openapi)
    for plain in ("health", "ready", "about", "queue", "store", "metrics", "node_types", "schema", "graphs"):
        call(plain)
    call("openapi_document")
    call("asyncapi_document")
    call("pause", {"paused": True})
    call("pause", {"paused": "yes"})
    queued = call("submit", {"graph": WORK, "key": "a", "name": "work"}).json["job"]
    call("submit", {"graph": WORK, "key": "a", "name": "work"})
    call("submit", {"graph": WORK, "key": "a"})
    call("submit", {"graph": WORK, "params": {"a": -1}})
    call("submit", {"graph": "nothing"})
    call("submit", b"text", headers={"Content-Type": "text/plain"})
    call("submit", {"graph": WORK, "webhook": "http://example.org/"})
    call("job", job=queued)
    call("delete_job", job=queued)
    call("cancel", job=queued)
    call("delete_job", job=queued)
    call("job", job=queued)
    call("pause", {"paused": False})
    done = call("submit", {"graph": WORK, "name": "work"}, query="?wait=60").json
    assert done["state"] == "done"
    call("jobs", query="?state=done&state=failed&limit=1")
    call("jobs", query="?limit=0")
    call("events", job=done["job"])
    stream = call("events", job=done["job"], headers={"Accept": "text/event-stream"})
    for line in stream.text.splitlines():
        if line.startswith("data: "):
            assert not call.schemas.wrong(
                {"$ref": "#/components/schemas/Events/properties/events/items"}, json.loads(line[6:])
            )
    call("job_graph", job=done["job"])
    file = done["outputs"]["loud"]["file"]
    etag = call("output", job=done["job"], file=file).headers["Etag"]
    assert etag == f'"{done["outputs"]["loud"]["digest"]}"'
    call("output", job=done["job"], file=file, headers={"Range": "bytes=1-2"})
    call("output", job=done["job"], file=file, headers={"Range": "bytes=100-"})
    call("output", job=done["job"], file=file, headers={"If-None-Match": etag})
    call("output", job=done["job"], file=file, headers={"If-Match": '"other"'})
    call("output", job=done["job"], file="other")
    assert server.run(FAILS)["state"] == "failed"
    call("retry", job=done["job"])
    call("check", {"graph": WORK})
    call("check", {"graph": WORK + "  wrong: $nothing\n"})
    call("node_type", type="Slow")
    call("node_type", type="Nothing")
    call("keep_graph", WORK.encode(), headers={"Content-Type": "application/yaml"}, graph="a/b")
    call("keep_graph", WORK.encode(), headers={"Content-Type": "application/yaml"}, graph="a%2Fb")
    call("keep_graph", WORK.encode(), headers={"Content-Type": "application/yaml"}, graph="txt2img")
    call("graph", graph="a%2Fb")
    call("drop_graph", graph="a/b")
    call("drop_graph", graph="a/b")
    sent = call("upload", b"content", query="?name=a.txt").json
    call("upload", b"content", query="?name=a.txt")
    form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="b.txt"\r\n\r\nmore\r\n--x--\r\n'
    call("upload", form, headers={"Content-Type": "multipart/form-data; boundary=x"})
    call("uploaded", digest=sent["digest"])
    call("uploaded", digest="0" * 64)

    missing = {name for name in call.operations if not any(called == name and at < 300 for called, at in call.called)}
    assert missing == {"feed"}  # a stream without an end
    assert {at for _, at in call.called} >= {200, 201, 202, 204, 206, 304, 400, 403, 404, 409, 415, 416, 422}


def test_all_references_of_the_asyncapi_document_lead_somewhere(asyncapi: Any) -> None:
    assert (asyncapi["asyncapi"], list(asyncapi["channels"])) == ("3.0.0", ["websocket"])

    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                yield value["$ref"]
            for item in value.values():
                yield from references(item)
        if isinstance(value, list):
            for item in value:
                yield from references(item)

    for reference in references(asyncapi):
        found = asyncapi
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
    for message in asyncapi["components"]["messages"].values():
        jsonschema.Draft202012Validator.check_schema(message["payload"])
    for schema in asyncapi["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.browser
def test_the_asyncapi_document_is_a_valid_one(asyncapi: Any) -> None:
    jsonschema.validate(asyncapi, json.loads(SPECIFICATION.read_text()))


class Wire:
    """A websocket whose every frame is one of the documented messages."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, messages: Messages, seen: set[str]) -> None:
        self.socket, self.messages, self.seen, self.number = socket, messages, seen, 0

    async def next(self) -> Any:
        message = await self.socket.receive(60)
        assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), message
        self.seen.add(self.messages.name(message.data))
        return json.loads(message.data) if isinstance(message.data, str) else self.messages.head(message.data)

    async def until(self, wanted: Callable[[Any], Any]) -> Any:
        while not wanted(frame := await self.next()):
            pass
        return frame

    async def ask(self, do: str, **fields: Any) -> Any:
        """Send a request, which has to be as the document says, too; gives its reply."""
        self.number += 1
        frame = {"id": self.number, "do": do, **fields}
        assert self.messages.wrong(self.messages.messages[do]["payload"], frame) == []
        await self.socket.send_json(frame)
        reply = await self.until(lambda frame: frame.get("id") == self.number)
        self.seen.add(f"{do} replied")
        return reply


async def follow(server: serving.Server, messages: Messages) -> set[str]:
    """Everything that a websocket is good for; gives the names of the messages that came."""
    seen: set[str] = set()
    async with (
        aiohttp.ClientSession(server.url) as session,
        session.ws_connect("/v1/ws", protocols=["latentgraph.v1"]) as one,
        session.ws_connect("/v1/ws") as other,
    ):
        wire, feed = Wire(one, messages, seen), Wire(other, messages, seen)
        await wire.ask("hello")
        await feed.ask("subscribe", feed="mine")
        for graph in (WORK, FAILS):
            reply = await wire.ask("submit", graph=graph, follow=True)
            await wire.until(lambda frame: "end" in frame)
            await wire.ask("job", job=reply["ok"]["job"])
        await wire.ask("submit", graph="latentgraph: 1\nnodes: {a: {type: Nothing}}\n")
        await wire.ask("retry", job=reply["ok"]["job"])
        slow = (await wire.ask("submit", graph=SLOW))["ok"]["job"]
        sub = (await wire.ask("subscribe", job=slow))["ok"]["sub"]
        await wire.until(lambda frame: "progress" in frame)
        for process in server.workers():
            os.kill(process, signal.SIGKILL)
        await wire.until(lambda frame: frame.get("event") == "interrupted")
        await wire.until(lambda frame: "progress" in frame)
        await wire.ask("subscribe", job=slow, after=1, epoch="another")
        await wire.ask("subscribe", feed="mine", after=1, epoch="another")
        await wire.ask("unsubscribe", sub=sub)
        await wire.ask("cancel", job=slow)
        await wire.ask("jobs", state=["done", "failed"], limit=2)
        await feed.until(lambda frame: frame.get("job") == slow and frame.get("event") == "run_finished")
    return seen


def test_every_frame_of_real_traffic_is_exactly_one_documented_message(server: serving.Server, asyncapi: Any) -> None:
    messages = Messages(asyncapi)
    seen = asyncio.run(follow(server, messages))
    assert messages.sent - seen == {"bookmark"}  # comes after 20 seconds
    assert {name.removesuffix(" replied") for name in seen if name.endswith(" replied")} == {
        name for name, operation in asyncapi["operations"].items() if operation["action"] == "receive"
    }


def test_close_codes_are_documented(server: serving.Server, asyncapi: Any) -> None:
    async def closed_with() -> int | None:
        async with aiohttp.ClientSession(server.url) as session, session.ws_connect("/v1/ws") as socket:
            await socket.send_str("no json")
            await socket.receive(10)
            return socket.close_code

    assert str(asyncio.run(closed_with())) in asyncapi["channels"]["websocket"]["x-close-codes"]


def test_a_stream_of_a_job_that_is_over_ends_wherever_it_begins(server: serving.Server) -> None:
    job = server.run(serving.NUMBER)
    for after in (0, job["last"] - 1, job["last"], job["last"] + 7):
        path = f"/v1/jobs/{job['job']}/events?after={after}"
        answer = server.get(path, headers={"Accept": "text/event-stream"}, timeout=10)
        assert answer.text.count("data: ") == max(0, job["last"] - after)


def test_documents_are_quick_to_get(server: serving.Server) -> None:
    began = time.monotonic()
    for _ in range(10):
        assert server.get("/v1/openapi.json").status == 200
    assert time.monotonic() - began < 2
