"""The operations over HTTP that concern everything but jobs: graphs, node types, uploads, the server itself."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import mimetypes
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError
from pydantic import Field

from latentgraph.engine import describe
from latentgraph.engine.schema import graph_schema
from latentgraph.engine.store import default_folder, open_store

from ..checks.known import Known, TooManyGraphs
from ..errors import BadRequest, Forbidden, NotFound, TooLarge, TooMany, UnsupportedType
from . import described, messages
from .documents import asyncapi, openapi
from .files import FILE, send_file
from .metrics import metrics_text
from .pictures import oversized
from .routes import Call, Parameter, answer, route

FileName = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^/\\\x00-\x1f\x7f]+$")]
YAML = ("application/yaml", "text/yaml", "text/plain")
FORM_AROUND = 4096
"""So many bytes of a form are not the file's."""

FIRST_PART = 30.0
"""Seconds within which a form's file has to begin."""

FILE_CONTENT = {"type": "string", "format": "binary", "minLength": 1}
FORM = {"type": "object", "required": ["file"], "properties": {"file": FILE_CONTENT}}


@route("GET", "/v1/health", {200: messages.Health}, "server", scope=None)
async def health(call: Call) -> web.StreamResponse:
    """Whether the server answers."""
    return answer({"status": "ok"})


@route("GET", "/v1/ready", {200: messages.Ready, 503: messages.Ready}, "server", scope=None)
async def ready(call: Call) -> web.StreamResponse:
    """Whether graphs can be run: 503 as long as no worker is there."""
    supervisor = call.server.supervisor
    workers = [{name: worker.as_json()[name] for name in ("worker", "state", "since")} for worker in supervisor.workers]
    found = {"ready": supervisor.ready, "workers": workers}
    return answer(found, 200 if supervisor.ready else 503)


@route("GET", "/v1/server", {200: messages.ServerAbout}, "server")
async def about(call: Call) -> web.StreamResponse:
    """The server's version, its limits, and what the token may do."""
    return answer(call.server.about(call.caller))


@route("GET", "/v1/queue", {200: messages.Queue}, "server")
async def queue(call: Call) -> web.StreamResponse:
    """How many jobs wait and run, and what the workers do."""
    return answer(call.server.queue(call.caller))


@route("POST", "/v1/queue", {200: messages.Queue}, "server", scope="admin", body=messages.Pause)
async def pause(call: Call) -> web.StreamResponse:
    """Let the queue stand still, or go on. What runs is not touched."""
    await call.server.pause(call.caller, (await call.body(messages.Pause)).paused)
    return answer(call.server.queue(call.caller))


@route("GET", "/v1/store", {200: described.StoreAbout}, "server")
async def store(call: Call) -> web.StreamResponse:
    """How many results the store has, and how much of its bound they take."""
    folder = call.server.settings.store or default_folder()
    info = await asyncio.to_thread(lambda: open_store(folder, memory_bytes=0).info())
    return answer(
        {
            "bytes": info.disk_bytes,
            "bound": info.disk_bound,
            "results": info.results,
            "values": info.values,
            "states": info.states,
            "by_type": dict(info.by_type),
        }
    )


@route("GET", "/metrics", {200: "text/plain"}, "server")
async def metrics(call: Call) -> web.StreamResponse:
    """Counters and gauges in the text format of Prometheus."""
    return web.Response(text=metrics_text(call.server), headers={"Content-Type": "text/plain; version=0.0.4"})


@route("GET", "/v1/openapi.json", {200: dict[str, Any]}, "server", scope=None)
async def openapi_document(call: Call) -> web.StreamResponse:
    """This document: the operations over HTTP."""
    return answer(openapi(call.server))


@route("GET", "/v1/asyncapi.json", {200: dict[str, Any]}, "server", scope=None)
async def asyncapi_document(call: Call) -> web.StreamResponse:
    """The messages of the websocket, as an AsyncAPI document."""
    return answer(asyncapi(call.server))


# graphs and node types


@route("POST", "/v1/check", {200: messages.Checked}, "graphs", body=messages.Check)
async def check(call: Call) -> web.StreamResponse:
    """Say all that is wrong with a graph, and draw it, without running anything."""
    asked, server = await call.body(messages.Check), call.server
    found = server.checker.asked(asked.graph, asked.params, call.caller.sees, asked.name)
    return answer(await server.in_checks(server.checker.described, found))


@route("GET", "/v1/node-types", {200: messages.NodeTypes}, "graphs")
async def node_types(call: Call) -> web.StreamResponse:
    """The node types that graphs may use here."""
    return answer({"node_types": [describe.node_type(node) for node in call.server.checker.registry]})


@route("GET", "/v1/node-types/{type}", {200: described.NodeType}, "graphs", refusals=(404,))
async def node_type(call: Call) -> web.StreamResponse:
    """One node type, with its inputs and outputs."""
    found = call.server.checker.registry.get(call.part("type"))
    if found is None:
        raise NotFound("there is no such node type")
    return answer(describe.node_type(found))


@route("GET", "/v1/schema", {200: dict[str, Any]}, "graphs")
async def schema(call: Call) -> web.StreamResponse:
    """The JSON Schema of graph files."""
    return answer(graph_schema(call.server.checker.registry))


@route("GET", "/v1/graphs", {200: messages.GraphList}, "graphs")
async def graphs(call: Call) -> web.StreamResponse:
    """The graphs that ship and the user's own, with their params."""
    known = call.server.known
    return answer({"graphs": await asyncio.to_thread(lambda: [known.described(graph) for graph in known])})


@route("GET", r"/v1/graphs/{graph:[\s\S]+}", {200: messages.GraphAbout}, "graphs", refusals=(404,))
async def graph(call: Call) -> web.StreamResponse:
    """One graph, with its text."""
    return answer(await _with_text(call))


@route(
    "PUT",
    r"/v1/graphs/{graph:[\s\S]+}",
    {201: messages.GraphAbout, 200: messages.GraphAbout},
    "graphs",
    scope="submit",
    body={media: {} for media in YAML},
    refusals=(429,),
)
async def keep_graph(call: Call) -> web.StreamResponse:
    """Keep a graph of one's own under a name; it need not be right yet."""
    if call.request.content_type not in YAML:
        raise UnsupportedType(f"the body is YAML: send the header `Content-Type: {YAML[0]}`")
    name, server = call.part("graph"), call.server
    if server.known.ships(name):
        raise Forbidden("a graph that ships cannot be changed: give yours another name")
    content = await call.bytes(server.limits.body)
    try:
        text = content.decode("utf-8-sig")
        new = server.known.keep(name, text)
    except UnicodeDecodeError:
        raise BadRequest("the text is not UTF-8") from None
    except ValueError as error:  # no name
        raise BadRequest(str(error)) from None
    except TooManyGraphs:
        raise TooMany(f"there are {server.limits.graphs} graphs, which is the most") from None
    return answer(await _with_text(call), 201 if new else 200)


@route("DELETE", r"/v1/graphs/{graph:[\s\S]+}", {204: None}, "graphs", scope="submit", refusals=(404,))
async def drop_graph(call: Call) -> web.StreamResponse:
    """Delete a graph of one's own."""
    known = _known(call)
    if not known.own:
        raise Forbidden("a graph that ships cannot be deleted")
    call.server.known.drop(known)
    return web.Response(status=204)


async def _with_text(call: Call) -> dict[str, Any]:
    known = _known(call)
    try:
        text = known.text
    except FileNotFoundError:
        raise NotFound("there is no such graph") from None
    return {**await asyncio.to_thread(call.server.known.described, known), "text": text}


def _known(call: Call) -> Known:
    found = call.server.known.get(call.part("graph"))
    if found is None:
        raise NotFound("there is no such graph")
    return found


# uploads


@route(
    "POST",
    "/v1/uploads",
    {201: messages.Upload, 200: messages.Upload},
    "uploads",
    scope="submit",
    body={"application/octet-stream": FILE_CONTENT, "multipart/form-data": FORM},
    query={"name": Parameter(FileName, None, "what the file is called")},
)
async def upload(call: Call) -> web.StreamResponse:
    """Upload a file for a graph's inputs: as the body, or as the part `file` of a form."""
    server, digest = call.server, hashlib.sha256()
    if (call.request.content_length or 0) > server.limits.upload + FORM_AROUND:
        raise TooLarge(f"the file is larger than {server.limits.upload:,} bytes")
    name, media, chunks = await _received(call)
    with tempfile.NamedTemporaryFile(dir=server.settings.uploads, prefix=".", delete=False) as file:
        path, size = Path(file.name), 0
        try:
            async for chunk in chunks:
                size += len(chunk)
                if size > server.limits.upload:
                    raise TooLarge(f"the file is larger than {server.limits.upload:,} bytes")
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            if size == 0:
                raise BadRequest("the file is empty")
            if (said := await asyncio.to_thread(oversized, path, server.limits.pixels)) is not None:
                raise TooLarge(said)
            there = server.uploads.has(call.caller, digest.hexdigest())
            found = await server.uploads.keep(call.caller, name, media, path, digest.hexdigest())
        finally:
            path.unlink(missing_ok=True)
    return answer(found, 200 if there else 201)


async def _received(call: Call) -> tuple[str, str, AsyncIterator[bytes]]:
    """The name and the media type of what is uploaded, and its bytes."""
    request = call.request
    name: str | None = call.query["name"]
    if request.content_type != "multipart/form-data":
        media = mimetypes.guess_type(name or "")[0] or request.content_type
        return name or "upload", media, request.content.iter_chunked(1 << 16)
    with _form():
        async with asyncio.timeout(FIRST_PART):
            part = await (await request.multipart()).next()
    if not isinstance(part, BodyPartReader) or part.name != "file":
        raise BadRequest("the form has no part `file`, or not as the first")
    called = name or Path(part.filename or "upload").name
    said = part.headers.get("Content-Type", "application/octet-stream")
    return called, mimetypes.guess_type(called)[0] or said, _chunks(part)


async def _chunks(part: BodyPartReader) -> AsyncIterator[bytes]:
    while True:
        with _form():
            chunk = await part.read_chunk(1 << 16)
        if not chunk:
            return
        yield chunk


@contextlib.contextmanager
def _form() -> Iterator[None]:
    """What aiohttp raises where a form is none."""
    try:
        yield
    except (HttpProcessingError, ValueError, AssertionError, RuntimeError, TimeoutError) as error:
        raise BadRequest(f"the form cannot be read: {error}") from None


@route("GET", "/v1/uploads/{digest}", {200: FILE}, "uploads", file=True, refusals=(404,))
async def uploaded(call: Call) -> web.StreamResponse:
    """A file that was uploaded."""
    path, media = call.server.uploads.find(call.caller, call.part("digest"))
    return await send_file(call.request, path, media, path.name, call.part("digest"))
