"""The OpenAPI document: the operations over HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from http import HTTPStatus
from typing import Any, get_args

from ...errors import Refusal
from ...state import Server
from ..messages import Failed
from ..routes import PARTS, ROUTES, Parameter, Route
from ..streams import LAST_ID, SSE
from .schemas import RECEIVED, SENT, Mode, prose, schemas

JSON = "application/json"

ABOUT = """\
Graphs of latent diffusion and other work: checked, queued, run, and followed. What went wrong is always answered as
`{"error": {"code", "message", "temporary", …}}` with a stable code.

Events of jobs come as server-sent events here, and over the websocket `/v1/ws`, which `/v1/asyncapi.json` describes.
Later versions may add fields to answers, and kinds of events: ignore what you do not know.
"""

TAGS = {
    "jobs": "Graphs that are run: submitted, followed, cancelled; their events and outputs.",
    "graphs": "Graphs that have names, what can be said about any graph, and the node types there are.",
    "uploads": "Files for the inputs of graphs.",
    "server": "The server itself: its limits, its queue, how it is.",
}

HEADERS = {
    "ETag": "the SHA-256 of the content, in quotes",
    "Content-Range": "which part of the file this is",
    "Retry-After": "seconds after which to try again",
    "WWW-Authenticate": "`Bearer`",
}

EVENT_STREAM = (
    "Server-sent events: `id` is the position to come back with as `Last-Event-ID`, `event` the kind, `data` an Event"
    " as JSON."
)


@cache
def openapi(server: Server) -> dict[str, Any]:
    """The document for a server, whose limits are in it, and the need of tokens if it has any."""
    return _Document(server).whole()


class _Document:
    def __init__(self, server: Server) -> None:
        self.server, self.tokens = server, server.tokens.needed
        self.schemas, self.components = schemas(_types())

    def whole(self) -> dict[str, Any]:
        paths: dict[str, Any] = {}
        for route in ROUTES:
            path = re.sub(r":[^}]*}", "}", route.path)
            paths.setdefault(path, {})[route.method.lower()] = self.operation(route)
        components: dict[str, Any] = {
            "schemas": self.components,
            "responses": {f"refused-{status}": self.refusal(status) for status in sorted(_refusals())},
            "headers": {name: _header(text) for name, text in HEADERS.items()},
        }
        if self.tokens:
            components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        return {
            "openapi": "3.1.0",
            "info": {
                "title": "latentgraph",
                "version": self.server.version,
                "description": prose(ABOUT),
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/"}],
            "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
            "paths": paths,
            "components": components,
            "x-limits": self.server.limits.as_json(),
        }

    def operation(self, route: Route) -> dict[str, Any]:
        found: dict[str, Any] = {
            "operationId": route.name,
            "tags": [route.tag],
            "summary": prose(route.summary).partition(". ")[0].rstrip(".").replace("`", ""),
            "description": prose(route.summary),
            "parameters": [*self.parameters(route)],
            "responses": {str(status): answer for status, answer in self.answers(route)},
        }
        if route.scope is not None and self.tokens:
            found["security"] = [{"token": []}]
            found["description"] += f" Needs a token with the scope `{route.scope}`."
        if route.body is not None:
            found["requestBody"] = self.body(route)
        return found

    # what is sent to the server

    def parameters(self, route: Route) -> Iterator[dict[str, Any]]:
        for name in _parts(route):
            yield {**self.parameter("path", name, PARTS[name]), "required": True}
        for name, parameter in route.query.items():
            yield self.parameter("query", name, parameter)
        if SSE in (route.streams, route.answers.get(200)):
            yield _header("the `id` of the last event that was seen", "Last-Event-ID", f"^{LAST_ID.pattern}$")
        if route.file:
            yield _header("the part that is wanted, such as `bytes=100-`; one that cannot be read is ignored", "Range")
            yield _header("the ETag of the file that you have", "If-None-Match")

    def parameter(self, place: str, name: str, parameter: Parameter) -> dict[str, Any]:
        schema = dict(self.schemas[id(parameter.type), RECEIVED])
        if parameter.default not in (None, []):
            schema["default"] = parameter.default
        return {"name": name, "in": place, "description": parameter.description, "schema": schema}

    def body(self, route: Route) -> dict[str, Any]:
        limits = self.server.limits
        if isinstance(route.body, type):
            content: dict[str, Any] = {JSON: {"schema": self.schemas[id(route.body), RECEIVED]}}
        else:
            content = {media: {"schema": schema} if schema else {} for media, schema in (route.body or {}).items()}
        most = limits.upload if _takes_all(route) else limits.body
        return {"required": True, "description": f"At most {most:,} bytes.", "content": content}

    # what the server answers

    def answers(self, route: Route) -> Iterator[tuple[int, dict[str, Any]]]:
        for status, kind in route.answers.items():
            yield status, self.answer(route, status, kind)
        if route.file:
            about = {"headers": _headers("ETag", "Content-Range"), "content": _media(route.answers[200])}
            yield 206, {"description": "The part that was asked for.", **about}
            yield 304, {"description": "The file is the one that you have.", "headers": _headers("ETag")}
        for status in sorted(self.refusals(route) - set(route.answers)):
            yield status, {"$ref": f"#/components/responses/refused-{status}"}

    def refusals(self, route: Route) -> set[int]:
        """The statuses of what may go wrong: what is common to all, and what the route says."""
        found = {400, 403, 500, 503, *route.refusals}
        if route.scope is not None and self.tokens:
            found.add(401)
        if route.body is not None:
            found |= {413} if _takes_all(route) else {413, 415}
        if route.file:
            found |= {412, 416}
        return found

    def answer(self, route: Route, status: int, kind: Any) -> dict[str, Any]:
        found: dict[str, Any] = {"description": HTTPStatus(status).phrase + "."}
        if isinstance(kind, str | tuple):
            found["content"] = _media(kind)
        elif kind is not None:
            found["content"] = {JSON: {"schema": self.schemas[id(kind), SENT]}}
        if route.streams is not None and status == 200:
            found["content"] |= _media(route.streams)
        if route.file:
            found["headers"] = _headers("ETag")
        if links := self.links(kind):
            found["links"] = links
        return found

    def links(self, kind: Any) -> dict[str, Any]:
        """Where to go on with what an answer names: the operations whose path is made of it."""
        models = [each for each in get_args(kind) or (kind,) if hasattr(each, "model_fields")]
        fields = [self.components[model.__name__]["properties"] for model in models]
        found = {}
        for route in ROUTES:
            parts = {part: self.schemas[id(PARTS[part].type), RECEIVED] for part in _parts(route)}
            if parts and fields and all(parts.items() <= properties.items() for properties in fields):
                parameters = {part: f"$response.body#/{part}" for part in parts}
                found[route.name] = {"operationId": route.name, "parameters": parameters}
        return found

    def refusal(self, status: int) -> dict[str, Any]:
        kinds = _refusals()[status]
        codes = {kind: ", ".join(f"`{code}`" for code in (kind.code, *kind.special)) for kind in kinds}
        found: dict[str, Any] = {
            "description": " ".join(f"{codes[kind]}: {prose(kind.__doc__ or '')}" for kind in kinds),
            "content": {JSON: {"schema": self.schemas[id(Failed), SENT]}},
        }
        if any(kind.temporary for kind in kinds):
            found["headers"] = _headers("Retry-After")
        if more := {401: "WWW-Authenticate", 416: "Content-Range"}.get(status):
            found["headers"] = _headers(more)
        return found


def _types() -> Iterator[tuple[Any, Mode]]:
    """All types that are in bodies, parameters and answers."""
    seen: set[tuple[int, Mode]] = set()
    for kind, mode in _all_types():
        if (id(kind), mode) not in seen:
            seen.add((id(kind), mode))
            yield kind, mode


def _all_types() -> Iterator[tuple[Any, Mode]]:
    yield Failed, SENT
    for part in PARTS.values():
        yield part.type, RECEIVED
    for route in ROUTES:
        for parameter in route.query.values():
            yield parameter.type, RECEIVED
        if isinstance(route.body, type):
            yield route.body, RECEIVED
        for kind in route.answers.values():
            if kind is not None and not isinstance(kind, str | tuple):
                yield kind, SENT


def _refusals() -> dict[int, list[type[Refusal]]]:
    """The kinds of refusals by their status."""
    found: dict[int, list[type[Refusal]]] = {}
    for kind in Refusal.__subclasses__():
        found.setdefault(kind.status, []).append(kind)
    return found


def _parts(route: Route) -> list[str]:
    return re.findall(r"{(\w+)", route.path)


def _takes_all(route: Route) -> bool:
    """Whether any file may be the body."""
    return not isinstance(route.body, type) and "application/octet-stream" in (route.body or {})


def _media(kinds: str | Iterable[str]) -> dict[str, Any]:
    """Bodies that are no JSON."""
    found: dict[str, Any] = {}
    for kind in [kinds] if isinstance(kinds, str) else kinds:
        found[kind] = {"schema": {"type": "string"}} if kind.startswith("text/") else {}
        if kind == SSE:
            found[kind]["schema"]["description"] = EVENT_STREAM
    return found


def _header(description: str, name: str | None = None, pattern: str | None = None) -> dict[str, Any]:
    """A header of an answer, or, with a name, one that may be sent."""
    found: dict[str, Any] = {"name": name, "in": "header"} if name else {}
    return {
        **found,
        "description": description,
        "schema": {"type": "string", **({"pattern": pattern} if pattern else {})},
    }


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
