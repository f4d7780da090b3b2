"""The application: routes, and what is true of every request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from aiohttp import web

from ..errors import NotFound, Refusal, TooLarge, UnsupportedType, refusal_of
from ..state import Server
from . import api, resources  # noqa: F401 - they declare the routes
from .access import Caller
from .routes import ROUTES, SERVER, Call, Route
from .websocket import websocket

PAGE = Path(__file__).parents[1] / "page" / "built"

SOFTWARE = "latentgraph"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; connect-src 'self'; style-src 'self' 'unsafe-inline';"
        " object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
    ),
}

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(server: Server) -> web.Application:
    """What answers requests for a server."""
    app = web.Application(middlewares=[_guard], client_max_size=server.limits.body)
    app[SERVER] = server
    for route in ROUTES:
        app.router.add_route(route.method, route.path, _handler(route))
    app.router.add_get("/v1/ws", websocket)
    app.router.add_get("/", _page)
    app.router.add_get("/docs", _docs)
    app.router.add_static("/page", PAGE)
    app.on_response_prepare.append(_headers)
    return app


FIRST_REQUEST = 10.0
"""Seconds within which whoever connects has to send the head of a request."""


class Protocol(web.RequestHandler):
    """How aiohttp speaks HTTP; what is none is answered like all that goes wrong.

    aiohttp itself would repeat to whoever sent it, and in the log, the line that it cannot read: a token may be in it.
    Nor does it unpack what comes packed, as a few bytes could be gigabytes.
    """

    def __init__(self, manager: web.Server, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(manager, loop=loop, access_log=None, auto_decompress=False)  # type: ignore[arg-type]
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._late = asyncio.get_running_loop().call_later(FIRST_REQUEST, transport.close)

    def connection_lost(self, exc: BaseException | None) -> None:
        self.begun()
        super().connection_lost(exc)

    def begun(self) -> None:
        """A request is here: after it, aiohttp itself sees to it that the next one does not keep it waiting."""
        if self._late is not None:
            self._late.cancel()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status >= 500:
            return super().handle_error(request, status, exc, message)
        response = _failed(status, "bad-request", "this is no HTTP request that can be read", HEADERS)
        response.headers["Server"] = SOFTWARE
        response.force_close()
        return response


def _handler(route: Route) -> Next:
    async def handle(request: web.Request) -> web.StreamResponse:
        caller = Caller("", frozenset())
        if route.scope is not None:
            caller = request.app[SERVER].tokens.of(request)
            caller.needs(route.scope)
        return await route.handler(Call(route, request, caller))

    return handle


@web.middleware
async def _guard(request: web.Request, handler: Next) -> web.StreamResponse:
    """Nothing is done for other sites' pages, and whatever goes wrong is answered in the same form."""
    server = request.app[SERVER]
    if isinstance(request.protocol, Protocol):
        request.protocol.begun()
    try:
        server.sites.check(request)
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise UnsupportedType("the body has to come as it is: leave out the header `Content-Encoding`")
        if request.method == "OPTIONS":
            return _preflight(request)
        return await handler(request)
    except web.HTTPRequestEntityTooLarge:
        return _refused(TooLarge(f"the body is larger than {server.limits.body:,} bytes"))
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        return _failed(405, "method-not-allowed", f"only {allowed} here", {"Allow": allowed})
    except web.HTTPNotFound:
        return _refused(NotFound("there is nothing here; GET /v1/openapi.json lists what there is"))
    except web.HTTPException as error:
        return _failed(error.status, "bad-request", error.reason.lower())
    except (asyncio.CancelledError, ConnectionError):
        raise
    except Exception as error:
        return _refused(refusal_of(error, f"{request.method} {request.rel_url.raw_path}"))


def _refused(refusal: Refusal) -> web.Response:
    return web.json_response({"error": refusal.as_json()}, status=refusal.status, headers=refusal.headers)


def _failed(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    found = {"code": code, "message": message, "temporary": False}
    return web.json_response({"error": found}, status=status, headers=headers)


def _preflight(request: web.Request) -> web.Response:
    """Browsers ask before they let pages of another site send JSON; only those that were allowed get an answer."""
    if request.app[SERVER].sites.allowed_origin(request) is None:
        raise NotFound("there is nothing here for OPTIONS")
    return web.Response(
        status=204,
        headers={
            "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE",
            "Access-Control-Allow-Headers": "Authorization, Content-Type, Last-Event-ID",
            "Access-Control-Max-Age": "600",
        },
    )


async def _headers(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = SOFTWARE
    origin = request.app[SERVER].sites.allowed_origin(request)
    if origin is not None:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = "ETag, Retry-After"
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        response.headers["Vary"] = "Origin"


async def _page(request: web.Request) -> web.StreamResponse:
    return web.FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-cache"})


async def _docs(request: web.Request) -> web.StreamResponse:
    return web.FileResponse(PAGE / "docs.html", headers={"Cache-Control": "no-cache"})
