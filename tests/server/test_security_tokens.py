"""What a token lets its owner do, and that it stays a secret."""

import asyncio
import hmac
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
import serving
from callers import TOKENS, Talk, as_, raw, refused, status_of, talk, token_file
from serving import NUMBER, Server

from latentgraph.server.checks.limits import Limits
from latentgraph.server.errors import Forbidden, Unauthorized
from latentgraph.server.http.access import Caller, Tokens
from latentgraph.server.http.app import application
from latentgraph.server.http.messages import REQUESTS
from latentgraph.server.http.routes import ROUTES

NOBODYS = "j0000000000000000000000"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("tokens")
    found = serving.start(folder, "--token-file", token_file(folder), "--workers=1").ready()
    yield found
    found.stop()


# scopes

SCOPES = {
    **{("GET", path): None for path in ("/v1/health", "/v1/ready", "/v1/openapi.json", "/v1/asyncapi.json")},
    ("GET", "/v1/server"): "read",
    ("GET", "/v1/queue"): "read",
    ("POST", "/v1/queue"): "admin",
    ("GET", "/v1/store"): "read",
    ("GET", "/metrics"): "read",
    ("POST", "/v1/check"): "read",
    ("GET", "/v1/node-types"): "read",
    ("GET", "/v1/node-types/{type}"): "read",
    ("GET", "/v1/schema"): "read",
    ("GET", "/v1/graphs"): "read",
    ("GET", "/v1/graphs/{graph}"): "read",
    ("PUT", "/v1/graphs/{graph}"): "submit",
    ("DELETE", "/v1/graphs/{graph}"): "submit",
    ("POST", "/v1/uploads"): "submit",
    ("GET", "/v1/uploads/{digest}"): "read",
    ("POST", "/v1/jobs"): "submit",
    ("GET", "/v1/jobs"): "read",
    ("GET", "/v1/jobs/{job}"): "read",
    ("DELETE", "/v1/jobs/{job}"): "submit",
    ("POST", "/v1/jobs/{job}/cancel"): "submit",
    ("POST", "/v1/jobs/{job}/retry"): "submit",
    ("GET", "/v1/jobs/{job}/graph"): "read",
    ("GET", "/v1/jobs/{job}/events"): "read",
    ("GET", "/v1/jobs/{job}/outputs/{file}"): "read",
    ("GET", "/v1/events"): "read",
}
"""Who may do what: whoever adds a route decides it here, too."""

WITHOUT_TOKEN = {"/", "/docs", "/page", "/v1/ws"}
"""Besides those: the page, which has no data in it, and the websocket, which asks for the token itself."""

SOCKET_SCOPES = {
    **dict.fromkeys(("hello", "subscribe", "unsubscribe", "jobs", "job"), "read"),
    **dict.fromkeys(("submit", "cancel", "retry"), "submit"),
}


def plain(path: str) -> str:
    return re.sub(r":[^}]+\}", "}", path)


def test_every_route_has_the_scope_that_was_decided_for_it() -> None:
    assert {(route.method, plain(route.path)): route.scope for route in ROUTES} == SCOPES


def test_there_are_no_routes_besides() -> None:
    app = application(SimpleNamespace(limits=Limits()))  # type: ignore[arg-type]
    found = {plain(resource.canonical) for resource in app.router.resources()}
    assert found == {path for _, path in SCOPES} | WITHOUT_TOKEN


def test_every_request_on_the_websocket_has_a_scope() -> None:
    assert set(REQUESTS) == set(SOCKET_SCOPES)


@pytest.mark.parametrize(("method", "path"), SCOPES)
def test_a_route_takes_who_has_its_scope_and_nobody_else(server: Server, method: str, path: str) -> None:
    scope = SCOPES[method, path]
    at = path.format(type="Constant", graph="nothing", digest="0" * 64, job=NOBODYS, file="x.png")
    for name, (scopes, token) in {**TOKENS, "stranger": ("", "x" * 40), "nobody": ("", "")}.items():
        head = f"Authorization: Bearer {token}\r\n" if token else ""
        request = f"{method} {at} HTTP/1.1\r\nHost: HOST\r\n{head}Content-Length: 0\r\nConnection: close\r\n\r\n"
        status = status_of(raw(server, request.encode()))
        may = scope is None or scope in scopes.split(",") or name == "root"
        assert (status not in (401, 403)) if may else (status == (403 if scopes else 401)), (name, status)


@pytest.mark.parametrize("do", [do for do in SOCKET_SCOPES if do != "hello"])
def test_a_request_on_the_websocket_takes_who_has_its_scope(server: Server, do: str) -> None:
    more: dict[str, Any] = {
        "submit": {"graph": NUMBER},
        "subscribe": {"feed": "mine"},
        "unsubscribe": {"sub": 1},
        "jobs": {},
    }.get(do, {"job": NOBODYS})

    async def asked(talk: Talk) -> str:
        found = await talk.ask(do, **more)
        return str(found["error"]["code"]) if "error" in found else "fine"

    assert (talk(server, asked, as_("reader")) == "forbidden") is (SOCKET_SCOPES[do] == "submit")
    assert talk(server, asked, as_("ann")) in ("fine", "not-found")
    assert talk(server, asked) == "unauthorized"


def test_a_websocket_needs_the_scope_read(server: Server) -> None:
    assert refused(server, as_("sender")) == 403
    assert refused(server, {"Authorization": "Bearer " + "x" * 40}) == 401

    async def hello(talk: Talk) -> tuple[Any, int | None]:
        found = await talk.ask("hello", token=TOKENS["sender"][1])
        return found["error"]["code"], await talk.closed()

    assert talk(server, hello) == ("forbidden", 4403)


def test_a_priority_above_others_is_for_admins(server: Server) -> None:
    assert server.request("POST", "/v1/jobs", {"graph": NUMBER, "priority": 1}, as_("ann")).status == 403
    assert server.request("POST", "/v1/jobs", {"graph": NUMBER, "priority": 1}, as_("root")).status == 202

    async def submitted(talk: Talk) -> Any:
        return (await talk.ask("submit", graph=NUMBER, priority=10))["error"]["code"]

    assert talk(server, submitted, as_("bob")) == "forbidden"


# the websocket's hello


def test_a_wrong_token_or_none_closes_the_websocket(server: Server) -> None:
    async def hello(talk: Talk) -> tuple[Any, int | None]:
        found = await talk.ask("hello", token="x" * 40)
        return found["error"]["code"], await talk.closed()

    async def without(talk: Talk) -> tuple[Any, int | None]:
        found = await talk.ask("hello")
        return found["error"]["code"], await talk.closed()

    async def first(talk: Talk) -> tuple[Any, int | None]:
        found = await talk.ask("jobs")
        return found["error"]["code"], await talk.closed()

    for conversation in (hello, without, first):
        assert talk(server, conversation) == ("unauthorized", 4401)


def test_who_does_not_say_hello_within_five_seconds_is_left_whatever_else_is_said(server: Server) -> None:
    async def silent(talk: Talk) -> int | None:
        return await talk.closed(8)

    async def chatting(talk: Talk) -> int | None:
        async def chat() -> None:
            while not talk.socket.closed:
                await talk.socket.send_str("{}")
                await asyncio.sleep(0.01)

        task = asyncio.create_task(chat())
        code = await talk.closed(8)
        task.cancel()
        return code

    async def both() -> list[int | None]:
        async with aiohttp.ClientSession() as session:

            async def one(do: Any) -> int | None:
                async with session.ws_connect(f"{server.url}/v1/ws") as socket:
                    code: int | None = await asyncio.wait_for(do(Talk(socket)), 8)
                    return code

            return list(await asyncio.gather(one(silent), one(chatting)))

    assert asyncio.run(both()) == [4408, 4408]


# tokens are compared in constant time, and kept to themselves


def test_every_known_token_is_compared_whichever_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = Tokens(token_file(tmp_path))
    compared: list[tuple[bytes, bytes]] = []
    honest = hmac.compare_digest

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return honest(a, b)

    monkeypatch.setattr("latentgraph.server.http.access.hmac.compare_digest", compare)
    for name, (_, token) in TOKENS.items():
        compared.clear()
        assert tokens.caller(token).name == name
        assert len(compared) == len(TOKENS)
        assert {len(part) for pair in compared for part in pair} == {32}  # digests, so that no length is told either
    for wrong in ("", "x" * 40, TOKENS["ann"][1][:-1], TOKENS["ann"][1] + "x", "é", "\udc80", "x" * 100_000):
        compared.clear()
        with pytest.raises(Unauthorized, match="the token is not known"):
            tokens.caller(wrong)
        assert len(compared) == len(TOKENS)


def test_a_scope_that_is_missing_is_named_and_admin_has_all() -> None:
    Caller("root", frozenset({"admin"})).needs("read")
    with pytest.raises(Forbidden, match="the token `ann` lacks the scope `submit`"):
        Caller("ann", frozenset({"read"})).needs("submit")


@pytest.mark.parametrize(
    "header",
    [
        {"Authorization": f"Basic {TOKENS['ann'][1]}"},
        {"Authorization": TOKENS["ann"][1]},
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {TOKENS['ann'][1]}, Bearer {TOKENS['bob'][1]}"},
        {"Cookie": f"token={TOKENS['ann'][1]}"},
        {"X-Api-Key": TOKENS["ann"][1]},
        {"Sec-WebSocket-Protocol": TOKENS["ann"][1]},
        {"Proxy-Authorization": f"Bearer {TOKENS['ann'][1]}"},
    ],
)
def test_a_token_counts_in_its_header_alone(server: Server, header: dict[str, str]) -> None:
    answer = server.get("/v1/server", headers=header)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_token_in_a_url_does_not_count(server: Server) -> None:
    for name in ("token", "access_token", "authorization", "key"):
        assert server.get(f"/v1/server?{name}={TOKENS['ann'][1]}").status == 401

        async def asked(talk: Talk) -> Any:
            return (await talk.ask("jobs"))["error"]["code"]

        assert talk(server, asked, path=f"?{name}={TOKENS['ann'][1]}") == "unauthorized"
    answer = server.get(f"/v1/server?token={TOKENS['ann'][1]}", headers=as_("ann"))
    assert answer.status == 400
    assert TOKENS["ann"][1] not in answer.text


# at last


def test_no_token_was_said_again_or_logged_or_kept(server: Server) -> None:
    token = TOKENS["ann"][1]
    broken = [
        f"GET /v1/server HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer {token}\0\r\n\r\n",
        f"GET /v1/server HTTP/1.1\r\nHost: HOST\r\nAuthorization : Bearer {token}\r\n\r\n",
        f"GET /v1/server HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer {token}\r\nContent-Length: x\r\n\r\n",
        f"GET /v1/server?token={token} HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer {token}\r\n\r\n",
        f"GET /{token} HTTP/9.9\r\nHost: HOST\r\n\r\n",
        f"GET /v1/{token} HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n",
        f"{token} / HTTP/1.1\r\nHost: HOST\r\n\r\n",
    ]
    for request in broken:
        assert token.encode() not in raw(server, request.encode())

    async def mistaken(talk: Talk) -> str:
        return str(await talk.ask("hello", token=[token]))

    assert token not in talk(server, mistaken, as_("ann"))
    everything = server.log.encode() + b"".join(
        path.read_bytes() for path in server.folder.rglob("*") if path.is_file() and path.name != "tokens"
    )
    for _, secret in TOKENS.values():
        assert secret.encode() not in everything
    assert "Traceback" not in server.log
