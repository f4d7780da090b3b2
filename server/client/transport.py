"""Requests to a server over HTTP, sent again where no answer came, and websockets."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from .errors import ServerError, Unreachable
from .patience import Attempts, Patience

LOSSES = (aiohttp.ClientError, asyncio.TimeoutError, ConnectionError)
"""What a connection that is lost raises."""

PROTOCOL = "latentgraph.v1"
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60)
_HEARTBEAT = 20.0
_LARGEST_FRAME = 256 * 1024 * 1024
_FOR_GOOD = {400: "bad-request", 401: "unauthorized", 403: "forbidden", 404: "not-found"}
"""What is answered to a handshake that would be refused again, and the code that the protocol has for it."""

_GATEWAY = {502, 503, 504}
"""What a proxy answers where the server behind it is not there."""


class Transport:
    """One server as a client reaches it."""

    def __init__(self, url: str, token: str | None, patience: Patience) -> None:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
            raise ValueError(f"`{url}` is no URL of a server, such as http://127.0.0.1:8765")
        self.url, self.patience = url.rstrip("/"), patience
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._session: aiohttp.ClientSession | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """Made when it is first asked for, because that needs a running event loop."""
        if self._session is None:
            self._session = aiohttp.ClientSession(headers=self._headers, timeout=_TIMEOUT)
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        content: Callable[[], Any] | None = None,
        again: bool = True,
    ) -> Any:
        """The answer as JSON; None where it has none. Raises ServerError and Unreachable.

        `body` is sent as JSON, or what `content` opens as it is. `again` says whether the request may be sent a second
        time where no answer came, because it then changes nothing more.
        """
        attempts = Attempts(self.patience)
        while True:
            try:
                async with AsyncExitStack() as stack:
                    data = stack.enter_context(content()) if content else None
                    answer = await stack.enter_async_context(
                        self.session.request(method, self.url + path, json=body, data=data, params=query)
                    )
                    text = await answer.text("utf-8")
                attempts.answered()
                if answer.status < 400:
                    attempts.granted()
                    return _content(answer, text)
                await attempts.after_refusal(_refusal(answer, text), _wait(answer))
            except LOSSES as loss:
                refused = isinstance(loss, aiohttp.ClientConnectorError)
                if not again and not refused:
                    raise Unreachable(f"{self.url} did not answer, and may have done what it was asked") from loss
                await attempts.after_loss(self.url, loss, refused)

    async def download(self, path: str, digest: str | None = None) -> AsyncIterator[bytes]:
        """The bytes at a path, piece by piece; goes on where a connection was lost. Raises ServerError."""
        attempts, seen, size = Attempts(self.patience), hashlib.sha256(), 0
        while True:
            try:
                headers = {"Range": f"bytes={size}-"} if size else {}
                async with self.session.get(self.url + path, headers=headers) as answer:
                    attempts.answered()
                    if answer.status >= 400 and answer.status != 416:
                        await attempts.after_refusal(_refusal(answer, await answer.text("utf-8")), _wait(answer))
                        continue
                    if answer.status == 416:
                        break  # all of it had come
                    skip = size if answer.status != 206 else 0
                    async for piece in answer.content.iter_any():
                        fresh = piece[skip:]
                        skip -= len(piece) - len(fresh)
                        if fresh:
                            attempts.granted()
                            size += len(fresh)
                            seen.update(fresh)
                            yield fresh
                break
            except LOSSES as loss:
                await attempts.after_loss(self.url, loss, isinstance(loss, aiohttp.ClientConnectorError))
        if digest is not None and seen.hexdigest() != digest:
            raise ServerError("damaged", f"what {self.url}{path} gave is not what it should be: its digest differs")

    @asynccontextmanager
    async def websocket(self) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """A websocket of the protocol. Raises ServerError where the server refuses it for good."""
        try:
            connecting = self.session.ws_connect(
                f"{self.url}/v1/ws",
                protocols=[PROTOCOL],
                heartbeat=_HEARTBEAT,
                max_msg_size=_LARGEST_FRAME,
            )
            async with connecting as socket:
                yield socket
        except aiohttp.WSServerHandshakeError as error:
            if error.status in _FOR_GOOD:
                message = f"{self.url} refuses a websocket: {error.status} {error.message}"
                raise ServerError(_FOR_GOOD[error.status], message) from error
            raise


def _content(answer: aiohttp.ClientResponse, text: str) -> Any:
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        raise ServerError("not-json", f"{answer.url} does not answer as a latentgraph server does") from None


def _refusal(answer: aiohttp.ClientResponse, text: str) -> ServerError:
    """The error that an answer tells; what stands between may answer, too, with something that is not JSON."""
    try:
        return ServerError.told(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError, AttributeError):
        message = f"{answer.url} answers {answer.status} {answer.reason}"
        return ServerError(f"http-{answer.status}", message, temporary=answer.status in _GATEWAY)


def _wait(answer: aiohttp.ClientResponse) -> float:
    """The seconds of `Retry-After`."""
    try:
        return float(answer.headers.get("Retry-After", "0"))
    except ValueError:
        return 0.0
