"""The AsyncAPI document: the websocket."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import BaseModel, Field, create_model

from ...state import Server
from ..events import EVENTS, TOLD, PreviewHead, Seq, Subscribed
from ..messages import REPLIES, REQUESTS, Error
from ..websocket import CLOSE_CODES, PROTOCOL
from .schemas import RECEIVED, SENT, Mode, prose, schemas

ABOUT = """\
A text frame is one JSON object. A client's frame says what to `do`, with an `id` of its choice; there is exactly one
reply to each, `{"id", "ok"}` or `{"id", "error"}`. A frame that is no JSON object closes the connection. `hello` has to
be the first frame, within 5 seconds, where a token is needed and the header `Authorization` did not have it.

A subscription is the `id` of the request that made it, and comes as `sub` in all it sends: first everything in the log
after `after`, then `caught_up`, then events as they happen; for a job `end` after its `run_finished`.

A client's whole rule: keep the epoch and the last `seq` (or, for a feed, `cursor`); drop what is not above it; on a gap
subscribe again; send a submission that was not answered again with its `key`. That gives every event exactly once, in
order. Where the reply to `subscribe` is the error `gone`, begin from its `snapshot`, with `after` 0 or the feed's head.

Outputs do not travel here: an output has a URL, which HTTP serves (`/v1/openapi.json`). Later versions may add fields,
and kinds of events and frames: ignore what you do not know.
"""

PREVIEW = """\
The newest picture of a node's work in progress, as a binary frame: an unsigned 32-bit big-endian number n, n bytes of
JSON that say what it is of, and the image file. Previews may be dropped.
"""

LAYOUT = [
    {"name": "length", "type": "uint32", "byteOrder": "big-endian"},
    {"name": "head", "type": "json", "length": "length", "schema": {"$ref": "#/components/schemas/PreviewHead"}},
    {"name": "image", "type": "bytes"},
]


NUMBER = Field(description="the client's number of this request")


class Refused(BaseModel):
    """What was asked for was not done."""

    id: Seq | None = Field(description="None where the request had none that could be read")
    error: Error


@cache
def asyncapi(server: Server) -> dict[str, Any]:
    """The document for a server: it says whether tokens are needed."""
    frames = _frames()
    found, components = schemas([*frames.values(), (PreviewHead, SENT)])
    messages = {name: _message(name, kind, found[id(kind), mode]) for name, (kind, mode) in frames.items()}
    messages["preview"] = {
        "name": "preview",
        "title": "A preview",
        "description": prose(PREVIEW),
        "contentType": "application/octet-stream",
        "payload": {"type": "string", "format": "binary"},
        "x-binary": LAYOUT,
    }
    components = {"schemas": components, "messages": messages}
    address = {"default": "127.0.0.1:8765", "description": "the address that this document is from"}
    host: dict[str, Any] = {"host": "{address}", "protocol": "ws", "variables": {"address": address}}
    if server.tokens.needed:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        host["security"] = [{"$ref": "#/components/securitySchemes/token"}]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "latentgraph",
            "version": server.version,
            "description": prose(ABOUT),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"here": host},
        "channels": {"websocket": _channel(messages)},
        "operations": _operations(),
        "components": components,
    }


def _frames() -> dict[str, tuple[type[BaseModel], Mode]]:
    """All text frames by the names of their messages, and whether the server receives or sends them."""
    received: dict[str, type[BaseModel]] = {
        do: create_model(f"{kind.__name__}Frame", __base__=kind, __doc__=kind.__doc__, id=(Seq, NUMBER))
        for do, kind in REQUESTS.items()
    }
    replies: dict[str, type[BaseModel]] = {
        _reply(do): create_model(f"{kind.__name__}Reply", __doc__=kind.__doc__, id=(Seq, ...), ok=(kind, ...))
        for do, kind in REPLIES.items()
    }
    events: dict[str, type[BaseModel]] = {
        name: create_model(f"{kind.__name__}Frame", __base__=(Subscribed, kind), __doc__=kind.__doc__)
        for name, kind in EVENTS.items()
    }
    sent: dict[str, type[BaseModel]] = {**replies, "failed": Refused, **events, **TOLD}
    return {name: (kind, RECEIVED) for name, kind in received.items()} | {
        name: (kind, SENT) for name, kind in sent.items()
    }


def _reply(do: str) -> str:
    """What the message that replies to a request is called; where two have the same reply, it is called after one."""
    return next(other for other, kind in REPLIES.items() if kind is REPLIES[do]) + ".reply"


def _message(name: str, kind: type[BaseModel], schema: dict[str, Any]) -> dict[str, Any]:
    about = prose(kind.__doc__ or "")
    found: dict[str, Any] = {"name": name, "title": about.partition(".")[0], "description": about, "payload": schema}
    if "id" in kind.model_fields:
        found["correlationId"] = {"location": "$message.payload#/id"}
    return found


def _channel(messages: dict[str, Any]) -> dict[str, Any]:
    headers = {"type": "object", "properties": {"Sec-WebSocket-Protocol": {"type": "string", "const": PROTOCOL}}}
    return {
        "address": "/v1/ws",
        "description": f"The websocket, with the subprotocol `{PROTOCOL}`.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {"ws": {"method": "GET", "headers": headers, "bindingVersion": "0.1.0"}},
        "x-close-codes": {str(code): text for code, text in CLOSE_CODES.items()},
    }


def _operations() -> dict[str, Any]:
    """What the server receives, each with its reply, and what it sends by itself."""
    channel = {"$ref": "#/channels/websocket"}

    def named(*names: str) -> list[dict[str, str]]:
        return [{"$ref": f"#/channels/websocket/messages/{name}"} for name in names]

    received = {
        do: {
            "action": "receive",
            "channel": channel,
            "summary": prose(kind.__doc__ or ""),
            "messages": named(do),
            "reply": {"channel": channel, "messages": named(_reply(do), "failed")},
        }
        for do, kind in REQUESTS.items()
    }
    follow = {
        "action": "send",
        "channel": channel,
        "summary": "What a subscription sends.",
        "messages": named(*EVENTS, *TOLD, "preview"),
    }
    return {**received, "follow": follow}
