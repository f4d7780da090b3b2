"""Hostile and ordinary callers, for the tests of what a server lets them do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import aiohttp
from serving import Answer, Server

TOKENS = {
    "ann": ("read,submit", "ann-0123456789abcdef"),
    "bob": ("read,submit", "bob-0123456789abcdef"),
    "reader": ("read", "reader-0123456789abcdef"),
    "sender": ("submit", "sender-0123456789abcdef"),
    "root": ("admin", "root-0123456789abcdef"),
}


def token_file(folder: Path) -> Path:
    """A file with the tokens above."""
    path = folder / "tokens"
    path.write_text("".join(f"{name} {scopes} {token}\n" for name, (scopes, token) in TOKENS.items()))
    path.chmod(0o600)
    return path


def as_(name: str) -> dict[str, str]:
    """The header that says who asks."""
    return {"Authorization": f"Bearer {TOKENS[name][1]}"}


def raw(server: Server, content: bytes, seconds: float = 0.2) -> bytes:
    """What comes back for bytes that need not be HTTP, until nothing comes for a while after an answer.

    `HOST` in them is how the server is called.
    """
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(content.replace(b"HOST", f"127.0.0.1:{server.port}".encode()))
        found = b""
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            while chunk := connection.recv(1 << 16):
                found += chunk
                connection.settimeout(seconds)
        return found


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else 0


class Talk:
    """A websocket, asked one thing after the other."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket, self._number = socket, 0

    async def ask(self, do: str, **more: Any) -> dict[str, Any]:
        """The reply to a request; what comes in between is for nobody."""
        self._number += 1
        await self.socket.send_json({"id": self._number, "do": do, **more})
        while True:
            message = await self.socket.receive(20)
            if message.type is not aiohttp.WSMsgType.TEXT:
                return {"closed": self.socket.close_code}
            found: dict[str, Any] = json.loads(message.data)
            if found.get("id") == self._number:
                return found

    async def closed(self, seconds: float = 10) -> int | None:
        """The code with which the server closes."""
        while not self.socket.closed:
            await self.socket.receive(seconds)
        return self.socket.close_code


def talk(
    server: Server,
    do: Callable[[Talk], Coroutine[Any, Any, Any]],
    headers: dict[str, str] | None = None,
    path: str = "",
) -> Any:
    """What `do` gives, which talks with the server over a websocket."""

    async def connected() -> Any:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{server.url}/v1/ws{path}", headers=headers, max_msg_size=0) as socket,
        ):
            return await do(Talk(socket))

    return asyncio.run(connected())


def refused(server: Server, headers: dict[str, str] | None = None, path: str = "") -> int:
    """The status with which a websocket is refused; 101 where it is not."""

    async def nothing(_: Talk) -> None: ...

    try:
        talk(server, nothing, headers, path)
    except aiohttp.WSServerHandshakeError as error:
        return error.status
    return 101


def error_of(answer: Answer) -> str:
    """The code of an error, which has the form that all have."""
    found = answer.json["error"]
    assert {"code", "message", "temporary"} <= found.keys()
    return str(found["code"])
