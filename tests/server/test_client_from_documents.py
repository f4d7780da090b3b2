"""A client that knows the API from its documents alone runs a graph that draws, follows it, and gets the picture."""

import asyncio
import hashlib
import io
import json
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin

import aiohttp
import jsonschema
import pytest
import serving
from PIL import Image
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

TOKEN = "0123456789abcdef"


class Document:
    """An OpenAPI or AsyncAPI document: what its references mean, and whether values are as its schemas say."""

    def __init__(self, content: Any) -> None:
        self.content = content
        resource = Resource(contents=content, specification=DRAFT202012)
        self.registry: Registry[Any] = Registry().with_resource("document:", resource)

    def at(self, found: Any) -> Any:
        """What is meant, where something may be a reference."""
        while "$ref" in found:
            path, found = found["$ref"].removeprefix("#/"), self.content
            for part in path.split("/"):
                found = found[part]
        return found

    def fits(self, schema: Any, value: Any) -> bool:
        anchored = json.loads(json.dumps(schema).replace('"#/', '"document:#/'))
        return jsonschema.Draft202012Validator(anchored, registry=self.registry).is_valid(value)

    def example(self, schema: Any, names: tuple[str, ...] = ()) -> Any:
        """A value of a schema: its own example, or one with what is required and what is named."""
        schema = self.at(schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("examples"):
            return schema["examples"][0]
        assert schema["type"] == "object", schema
        wanted = [name for name in schema["properties"] if name in schema["required"] or name in names]
        return {name: self.example(schema["properties"][name]) for name in wanted if name != "id"}


@dataclass
class Answer:
    """An answer over HTTP, and where its document says one can go on."""

    value: Any
    headers: Any
    links: dict[str, Any]


class Http:
    """Calls operations by their ids."""

    def __init__(self, session: aiohttp.ClientSession, url: str, document: Document) -> None:
        self.session, self.document = session, document
        self.base = urljoin(url, document.content["servers"][0]["url"])
        self.operations = {
            operation["operationId"]: (method, path, operation)
            for path, item in document.content["paths"].items()
            for method, operation in item.items()
        }

    async def call(self, name: str, body: Any = None, **given: Any) -> Answer:
        method, path, operation = self.operations[name]
        query, headers = {}, {}
        for parameter in operation["parameters"]:
            if parameter["name"] not in given:
                assert not parameter.get("required"), parameter
                continue
            value = given.pop(parameter["name"])
            assert self.document.fits(parameter["schema"], value), (parameter, value)
            if parameter["in"] == "path":
                path = path.replace(f"{{{parameter['name']}}}", quote(str(value), safe=""))
            else:
                (query if parameter["in"] == "query" else headers)[parameter["name"]] = str(value)
        assert not given, "the document names no such parameters"
        if body is not None:
            assert self.document.fits(operation["requestBody"]["content"]["application/json"]["schema"], body), body
        url = self.base.rstrip("/") + path
        request = self.session.request(method, url, params=query, json=body, headers=headers)
        async with request as response:
            content = await response.read()
            said = self.document.at(operation["responses"][str(response.status)])
            assert response.status < 400, content
        kinds = said["content"]
        kind = kinds.get(response.content_type) or kinds.get(response.content_type.split("/")[0] + "/*") or {}
        value = json.loads(content) if response.content_type == "application/json" else content
        assert "schema" not in kind or self.document.fits(kind["schema"], value), value
        return Answer(value, response.headers, said.get("links", {}))

    async def go_on(self, answer: Answer, link: str) -> Answer:
        """Follow one of an answer's links."""
        about = answer.links[link]
        parts = {
            name: answer.value[where.removeprefix("$response.body#/")] for name, where in about["parameters"].items()
        }
        return await self.call(about["operationId"], **parts)


class Socket:
    """Sends requests over the websocket, and tells which message each frame is."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, document: Document) -> None:
        self.socket, self.document, self.number = socket, document, 0

    async def ask(self, name: str, *fields: str, **more: Any) -> Any:
        operation = self.document.content["operations"][name]
        self.number += 1
        payload = self.document.at(operation["messages"][0])["payload"]
        frame = {**self.document.example(payload, fields), **more, "id": self.number}
        assert self.document.fits(payload, frame), frame
        await self.socket.send_json(frame)
        _, reply = await self.next(operation["reply"]["messages"])
        assert reply["id"] == self.number
        assert "ok" in reply, reply
        return reply["ok"]

    async def follow(self) -> AsyncIterator[tuple[str, Any]]:
        while True:
            yield await self.next(self.document.content["operations"]["follow"]["messages"])

    async def next(self, references: list[Any]) -> tuple[str, Any]:
        """The next frame, and the name of the message that it is, of those that may come."""
        received = await self.socket.receive(120)
        for message in map(self.document.at, map(self.document.at, references)):
            layout = message.get("x-binary")
            if received.type is aiohttp.WSMsgType.BINARY and layout:
                (length,) = struct.unpack_from(">I", received.data)
                found, schema = json.loads(received.data[4 : 4 + length]), layout[1]["schema"]
            elif received.type is aiohttp.WSMsgType.TEXT and not layout:
                found, schema = json.loads(received.data), message["payload"]
            else:
                continue
            if self.document.fits(schema, found):
                return message["name"], found
        raise AssertionError(f"no documented message: {received}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[serving.Server]:
    folder = tmp_path_factory.mktemp("server")
    tokens = folder / "tokens"
    tokens.write_text(f"ann read,submit {TOKEN}\n")
    tokens.chmod(0o600)
    running = serving.start(folder, "--token-file", tokens, nodes=False)
    yield running
    running.stop()


def connected(server: serving.Server, use: Callable[[Http, Socket], Any]) -> Any:
    """With a client that was given two URLs and a token."""

    async def run() -> Any:
        documents = []
        async with aiohttp.ClientSession() as session:
            for name in ("openapi", "asyncapi"):
                async with session.get(f"{server.url}/v1/{name}.json") as response:
                    documents.append(Document(await response.json()))
        openapi, asyncapi = documents
        (scheme,) = openapi.content["components"]["securitySchemes"].values()
        assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
        channel = asyncapi.content["channels"]["websocket"]
        (protocol,) = (field["const"] for field in channel["bindings"]["ws"]["headers"]["properties"].values())
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.ws_connect(urljoin(server.url, channel["address"]), protocols=[protocol]) as socket,
        ):
            return await use(Http(session, server.url, openapi), Socket(socket, asyncapi))

    return asyncio.run(run())


def test_a_graph_is_submitted_and_followed_and_its_picture_fetched(server: serving.Server) -> None:
    async def use(http: Http, socket: Socket) -> tuple[list[str], list[Any], bytes, Any]:
        await socket.ask("hello")
        submitted = await socket.ask("submit", "params", follow=True)
        names, events = [], []
        async for name, frame in socket.follow():
            names.append(name)
            if "event" in frame:
                events.append(frame)
            if name == "end":
                break
        (file,) = events[-1]["outputs"].values()
        answer = await http.call("output", job=submitted["job"], file=file["file"])
        assert answer.headers["ETag"] == f'"{file["digest"]}"'
        return names, events, answer.value, file

    names, events, content, file = connected(server, use)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert (names[0], names[-1]) == ("queued", "end")
    assert {"run_started", "node_finished", "output", "run_finished", "caught_up"} <= set(names)
    assert events[-1]["status"] == "done"
    assert hashlib.sha256(content).hexdigest() == file["digest"]
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.size == (64, 64)


def test_the_same_over_http_by_the_links_of_the_answers(server: serving.Server) -> None:
    async def use(http: Http, socket: Socket) -> None:
        _, _, submit = http.operations["submit"]
        body = http.document.example(submit["requestBody"]["content"]["application/json"]["schema"], ("params",))
        submitted = await http.call("submit", body)
        assert (await http.go_on(submitted, "job")).value["job"] == submitted.value["job"]
        finished = await http.call("submit", body, wait=120)
        assert finished.value["state"] == "done"
        events = await http.go_on(submitted, "events")
        assert events.value["events"][-1]["event"] == "run_finished"
        graph = await http.go_on(submitted, "job_graph")
        assert (await http.call("check", {"graph": graph.value["graph"]})).value["ok"]

    connected(server, use)


def test_an_upload_comes_back_by_its_link(server: serving.Server, tmp_path: Path) -> None:
    async def use(http: Http, socket: Socket) -> None:
        method, path, operation = http.operations["upload"]
        assert "application/octet-stream" in operation["requestBody"]["content"]
        async with http.session.request(method, urljoin(http.base, path), data=b"words") as response:
            said = operation["responses"][str(response.status)]
            upload = await response.json()
        assert http.document.fits(said["content"]["application/json"]["schema"], upload)
        assert (await http.go_on(Answer(upload, {}, said["links"]), "uploaded")).value == b"words"

    connected(server, use)
