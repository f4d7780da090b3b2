"""Routes over HTTP: what each one takes and answers is declared beside it, and is what the OpenAPI document says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from ..checks.known import NAME
from ..errors import BadRequest, TooLarge, UnsupportedType
from ..state import Server
from .access import Caller
from .events import Digest, JobId

Handler = Callable[["Call"], Awaitable[web.StreamResponse]]
M = TypeVar("M", bound=BaseModel)

MOST_VALUES = 500_000
"""In JSON that is read: the event loop stands still for so long."""

SERVER: web.AppKey[Server] = web.AppKey("server", Server)


@dataclass(frozen=True)
class Parameter:
    """A parameter of the query: its type as pydantic has it, its default, and what it is for."""

    type: Any
    default: Any
    description: str


GraphName = Annotated[str, Field(pattern=f"^{NAME.pattern}$")]
PARTS: dict[str, Parameter] = {
    "job": Parameter(JobId, None, "a job's id"),
    "file": Parameter(str, None, "an output file's name; slashes in it stay as they are, or are written %2F"),
    "digest": Parameter(Digest, None, "what an upload's content has as its SHA-256"),
    "graph": Parameter(GraphName, None, "a graph's name, such as `txt2img` or `train/vae`; slashes may be written %2F"),
    "type": Parameter(str, None, "a node type's name, such as `KSampler`"),
}
"""What the parts of paths are, by the names that they have there."""


@dataclass(frozen=True)
class Route:
    """One operation. `answers` has, by status, the type of the JSON body, a media type, or None for no body."""

    method: str
    path: str
    handler: Handler
    answers: Mapping[int, Any]
    tag: str
    scope: str | None = "read"
    body: type[BaseModel] | Mapping[str, Any] | None = None
    """The model of a JSON body, or what other bodies are: a JSON Schema for each media type."""
    query: Mapping[str, Parameter] = field(default_factory=dict)
    refusals: tuple[int, ...] = ()
    """The statuses of what may go wrong besides what is common to all."""
    streams: str | None = None
    """The media type of the same as a stream, where it is asked for."""
    file: bool = False
    """Whether a file is sent: with an ETag, and in parts where a range is asked for."""

    @property
    def name(self) -> str:
        return self.handler.__name__

    @property
    def summary(self) -> str:
        return (self.handler.__doc__ or "").strip()


ROUTES: list[Route] = []


def route(method: str, path: str, answers: Mapping[int, Any], tag: str, **more: Any) -> Callable[[Handler], Handler]:
    """Declares a handler; its docstring is the summary."""

    def declare(handler: Handler) -> Handler:
        ROUTES.append(Route(method, path, handler, answers, tag, **more))
        return handler

    return declare


class Call:
    """One request that may be answered: who asks, and what is asked."""

    def __init__(self, route: Route, request: web.Request, caller: Caller) -> None:
        self.route, self.request, self.caller = route, request, caller
        self.server = request.app[SERVER]
        self.query = self._query()

    def part(self, name: str) -> str:
        """A part of the path."""
        return self.request.match_info[name]

    async def body(self, model: type[M]) -> M:
        """The JSON body. Raises UnsupportedType, TooLarge and BadRequest."""
        if self.request.content_type != "application/json":
            raise UnsupportedType("the body has to be JSON: send the header `Content-Type: application/json`")
        content = await self.bytes(self.server.limits.body)
        if content.count(b",") > MOST_VALUES:
            raise TooLarge(f"the body has more than {MOST_VALUES:,} values")
        return validated(model, content)

    async def bytes(self, most: int) -> bytes:
        """The body. Raises TooLarge."""
        found = bytearray()
        async for chunk in self.request.content.iter_any():
            found += chunk
            if len(found) > most:
                raise TooLarge(f"the body is larger than {most:,} bytes")
        return bytes(found)

    def _query(self) -> dict[str, Any]:
        given = self.request.query
        for name in given:
            if name not in self.route.query:
                raise BadRequest(f"this request has no parameter `{name[:40]}` in its query")
        found = {}
        for name, parameter in self.route.query.items():
            values = given.getall(name, [])
            if not values:
                found[name] = parameter.default
                continue
            several = isinstance(parameter.default, list)
            if len(values) > 1 and not several:
                raise BadRequest(f"`{name}` is in the query more than once")
            value: Any = values if several else values[0]
            try:
                found[name] = TypeAdapter(parameter.type).validate_python(value)
            except ValidationError as error:
                raise BadRequest(f"`{name}` in the query: {_said(error)}") from None
        return found


def validated(model: type[M], content: bytes | dict[str, Any]) -> M:
    """From JSON, or what was in it. Raises BadRequest where it is not JSON, or not what the model takes."""
    try:
        return model.model_validate(content) if isinstance(content, dict) else model.model_validate_json(content)
    except ValidationError as error:
        raise BadRequest(_said(error)) from None


def _said(error: ValidationError) -> str:
    """What pydantic has to say, in a line."""
    problems = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False)[:5]:
        where = ".".join(str(part) for part in problem["loc"])[:200]
        problems.append(f"`{where}`: {problem['msg'].lower()}" if where else problem["msg"].lower())
    return "; ".join(problems)


def answer(found: Any, status: int = 200) -> web.Response:
    """A JSON answer; the models say what is in it, and tests hold them to it."""
    return web.json_response(found, status=status)
