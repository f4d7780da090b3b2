"""The log as server-sent events (the HTML standard, section 9.2)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re

from aiohttp import web

from ..errors import BadRequest, Gone, TooMany
from ..queue.log import is_final
from ..state import Server
from .routes import Call

SSE = "text/event-stream"
LAST_ID = re.compile("[0-9]{0,15}")
BEAT = 15.0
"""Seconds after which an idle stream says that it is still there."""

PATIENCE = 60.0
"""Seconds after which a client that takes nothing is left."""


async def stream(call: Call, job: str | None, owner: str | None) -> web.StreamResponse:
    """The events of a job until its end, or of an owner's jobs for as long as the client wants."""
    server, position = call.server, position_of(call)
    if job is None and 0 < position < server.log.forgotten():
        raise Gone("events after that are not kept any more", first=server.log.forgotten() + 1, epoch=server.epoch)
    if server.connections >= server.limits.connections:
        raise TooMany("the server has as many connections as it may have")
    response = web.StreamResponse(headers={"Content-Type": SSE, "Cache-Control": "no-store", "X-Accel-Buffering": "no"})
    await response.prepare(call.request)
    server.connections += 1
    try:
        with contextlib.suppress(ConnectionError, TimeoutError):
            await _follow(call, response, job, owner, position)
    finally:
        server.connections -= 1
    return response


async def _follow(call: Call, response: web.StreamResponse, job: str | None, owner: str | None, position: int) -> None:
    server = call.server
    with server.heads.waiting(job or f"@{owner}") as more:
        while not server.stopping.is_set():
            await server.turns.take()
            more.clear()
            page = server.log.events(job, position) if job is not None else server.log.feed(owner, position)
            for event in page:
                position = event.seq if job is not None else event.cursor
                name = json.loads("{" + event.text)["event"]
                text = f"id: {position}\nevent: {name}\ndata: {{{event.text}\n\n"
                await asyncio.wait_for(response.write(text.encode()), PATIENCE)
            if job is not None and (any(event.last for event in page) or not (page or _goes_on(server, job, position))):
                return
            if not page:
                try:
                    await asyncio.wait_for(more.wait(), BEAT)
                except TimeoutError:
                    await asyncio.wait_for(response.write(b": still here\n\n"), PATIENCE)


def _goes_on(server: Server, job: str, position: int) -> bool:
    """Whether a job has, or will have, events after a position; one that was deleted has none."""
    row = server.log.job(job)
    return row is not None and not (is_final(row["state"]) and position >= row["last"])


def position_of(call: Call) -> int:
    """After which event to go on: what an EventSource that comes back has seen, or `after`. Raises BadRequest."""
    text = call.request.headers.get("Last-Event-ID", "")
    if not text:
        return int(call.query["after"])
    if not LAST_ID.fullmatch(text):
        raise BadRequest("`Last-Event-ID` is a whole number")
    return int(text)
