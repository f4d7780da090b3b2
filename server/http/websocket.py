"""The websocket `/v1/ws`: requests, each with one reply, and subscriptions to the log.

A subscription is a position in the log and a task: it reads a page, sends it, repeats, and at the head waits for the
next commit. Replay and live are one loop, so there is no hand-over to get wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Coroutine, Iterator
from typing import Any, NoReturn

from aiohttp import WSCloseCode, WSMsgType, web

from ..errors import BadRequest, Forbidden, Gone, NotFound, TooMany, Unauthorized, refusal_of
from ..state import Server
from .access import Caller, bearer
from .following import FeedFollower, Follower, JobFollower
from .messages import REQUESTS, Cancel, Hello, ListJobs, OneJob, Request, Retry, Submit, Subscribe
from .messages import Unsubscribe as Unsubscription
from .routes import MOST_VALUES, SERVER, validated

PROTOCOL = "latentgraph.v1"
HELLO = 5.0
"""Seconds within which a client has to say who it is."""

PATIENCE = 60.0
"""Seconds after which a client that takes nothing is left."""

BAD_FRAME, NO_TOKEN, FORBIDDEN, SILENT, TOO_LARGE, TOO_FAST, RESTART = 4400, 4401, 4403, 4408, 4413, 4429, 1012
CLOSE_CODES = {
    BAD_FRAME: "a frame that is no text with a JSON object in it",
    NO_TOKEN: "the token is not known, or was not said first",
    FORBIDDEN: "the token lacks the scope `read`",
    SILENT: "no hello within 5 seconds",
    TOO_LARGE: "a frame larger than the limit `body`",
    TOO_FAST: "more messages than the limit `messages` a second",
    RESTART: "the server stops: come back with `after`",
}


class Closed(Exception):
    """The connection is to be closed, with a code and a reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


async def websocket(request: web.Request) -> web.StreamResponse:
    """Serve one websocket until it is closed."""
    server = request.app[SERVER]
    if server.connections >= server.limits.connections:
        raise TooMany("the server has as many connections as it may have")
    caller = None
    if bearer(request) is not None or not server.tokens.needed:
        caller = server.tokens.of(request)
        caller.needs("read")
    socket = _Socket(
        protocols=(PROTOCOL,), heartbeat=30.0, max_msg_size=server.limits.body, compress=False, timeout=5.0
    )
    if not socket.can_prepare(request).ok:
        raise BadRequest("this is a websocket: connect to it with a websocket client")
    await socket.prepare(request)
    server.connections += 1
    try:
        await Connection(server, socket, caller).serve()
    finally:
        server.connections -= 1
    return socket


class _Socket(web.WebSocketResponse):
    """Closes with the protocol's own code where a frame is too large."""

    async def close(self, *, code: int = 1000, message: bytes = b"", drain: bool = True) -> bool:
        if code == WSCloseCode.MESSAGE_TOO_BIG:
            code, message = TOO_LARGE, CLOSE_CODES[TOO_LARGE].encode()
        return await super().close(code=code, message=message, drain=drain)


class Connection:
    """One client's websocket."""

    def __init__(self, server: Server, socket: web.WebSocketResponse, caller: Caller | None) -> None:
        self.server, self.socket, self._caller = server, socket, caller
        self._subscriptions: dict[int, asyncio.Task[None]] = {}
        self._subscribing: dict[int, Coroutine[Any, Any, None]] = {}
        """What is to be sent after the reply."""
        self._sending, self._taken = 0, 0
        """How many sends are under way, and how many the client has taken."""
        self._order = asyncio.Lock()
        self.page = asyncio.Lock()
        """Who has it may send a page of the log, so that a client that takes nothing costs one page."""
        self._allowed, self._counted = 10.0 * server.limits.messages, time.monotonic()

    @property
    def caller(self) -> Caller:
        if self._caller is None:
            raise Unauthorized("say hello first, with a token")
        return self._caller

    async def serve(self) -> None:
        watching = asyncio.create_task(self._watch())
        try:
            await self._serve()
        except Closed as closed:
            await self._close(closed.code, closed.reason)
        except ConnectionError:
            self._abort()
        finally:
            watching.cancel()
            for task in self._subscriptions.values():
                task.cancel()

    async def _serve(self) -> None:
        deadline = asyncio.get_running_loop().time() + HELLO
        while True:
            try:
                # From the outside, because to `receive` a timeout of 0 is none.
                async with asyncio.timeout_at(deadline if self._caller is None else None):
                    message = await self.socket.receive()
            except TimeoutError:
                raise Closed(SILENT, CLOSE_CODES[SILENT]) from None
            if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
                return
            self._count()
            if message.type is not WSMsgType.TEXT:
                raise Closed(BAD_FRAME, "a frame is text with a JSON object in it")
            await self._answer(message.data)

    def _count(self) -> None:
        """Each message takes one of a supply that fills up with time."""
        now, most = time.monotonic(), self.server.limits.messages
        self._allowed = min(10.0 * most, self._allowed + (now - self._counted) * most) - 1
        self._counted = now
        if self._allowed < 0:
            raise Closed(TOO_FAST, f"more than {most} messages a second")

    async def _answer(self, text: str) -> None:
        """Do what a frame asks for, and send exactly one reply."""
        if text.count(",") > MOST_VALUES:
            raise Closed(TOO_LARGE, f"more than {MOST_VALUES:,} values in a frame")
        try:
            frame = json.loads(text, parse_constant=_no_number)
        except (ValueError, RecursionError):
            raise Closed(BAD_FRAME, "a frame is a JSON object") from None
        if not isinstance(frame, dict):
            raise Closed(BAD_FRAME, "a frame is a JSON object")
        number = frame.pop("id", None)
        if type(number) is not int or not 0 <= number <= 2**53:
            await self._send({"id": None, "error": BadRequest("`id` is a whole number from 0 on").as_json()})
            return
        try:
            if not _is_unicode(text, frame):
                raise BadRequest("there is half a surrogate pair in the text")
            found = await self._do(number, frame)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception as error:
            refusal = refusal_of(error, f"`do` {frame.get('do')!r:.40}")
            await self._send({"id": number, "error": refusal.as_json()})
            if isinstance(refusal, Unauthorized):
                raise Closed(NO_TOKEN, refusal.message) from None
            if self._caller is None and isinstance(refusal, Forbidden):
                raise Closed(FORBIDDEN, refusal.message) from None
            return
        await self._send({"id": number, "ok": found})
        if number in self._subscribing:
            self._subscriptions[number] = asyncio.create_task(self._subscribing.pop(number))

    async def _do(self, number: int, frame: dict[str, Any]) -> dict[str, Any]:
        model = REQUESTS.get(frame["do"]) if isinstance(frame.get("do"), str) else None
        if model is None:
            raise BadRequest(f"`do` is one of {', '.join(REQUESTS)}")
        request: Request = validated(model, frame)
        if isinstance(request, Hello):
            return self._hello(request)
        caller, server = self.caller, self.server
        match request:
            case Submit():
                found = await server.submit(caller, request)
                if request.follow:
                    self._subscribe(number, Subscribe(do="subscribe", job=found["job"]))
                    found["sub"] = number
                return found
            case Subscribe():
                return self._subscribe(number, request)
            case Unsubscription():
                task = self._subscriptions.pop(request.sub, None)
                if task is None:
                    raise NotFound(f"there is no subscription {request.sub}")
                task.cancel()
                return {"sub": request.sub}
            case ListJobs():
                return server.listed(caller, list(request.state), request.limit, request.before)
            case OneJob():
                return server.document(caller, request.job)
            case Cancel():
                return await server.cancel(caller, request.job)
            case Retry():
                return await server.retry(caller, request.job)
        raise AssertionError(request)

    def _hello(self, hello: Hello) -> dict[str, Any]:
        if self._caller is None or hello.token is not None:
            caller = self.server.tokens.caller(hello.token)
            caller.needs("read")
            self._caller = caller
        return self.server.about(self._caller)

    # subscriptions

    def _subscribe(self, number: int, request: Subscribe) -> dict[str, Any]:
        """Check a subscription, and let it begin after the reply."""
        if number in self._subscriptions and not self._subscriptions[number].done():
            raise BadRequest(f"there is a subscription {number} already")
        running = {number for number, task in self._subscriptions.items() if not task.done()}
        self._subscriptions = {number: self._subscriptions[number] for number in running}
        if len(running) >= self.server.limits.subscriptions:
            raise TooMany(f"a connection may have {self.server.limits.subscriptions} subscriptions")
        if (request.job is None) == (request.feed is None):
            raise BadRequest("subscribe to a `job`, or to the feed `mine`")
        if request.job is not None:
            found, job = self._job(request, request.job)
            following: Follower = JobFollower(self, number, job, request)
        else:
            found = self._feed(request)
            following = FeedFollower(self, number, self.caller.name, request)
        self._subscribing[number] = self._follow(number, following)
        return {"sub": number, **found}

    def _job(self, request: Subscribe, job: str) -> tuple[dict[str, Any], str]:
        row = self.server.job(self.caller, job)
        if self._other_log(request):
            raise Gone(
                "the events are those of another log",
                epoch=self.server.epoch,
                first=1,
                snapshot=self.server.log.document(row),
            )
        return {"head": row["last"]}, row["id"]

    def _feed(self, request: Subscribe) -> dict[str, Any]:
        log = self.server.log
        if self._other_log(request) or 0 < request.after < log.forgotten():
            raise Gone(
                "events after that are not kept",
                epoch=self.server.epoch,
                first=log.forgotten() + 1,
                snapshot=self.server.listed(self.caller, [], 100, None),
            )
        return {"head": log.head(self.caller.name)}

    def _other_log(self, request: Subscribe) -> bool:
        return request.after > 0 and request.epoch is not None and request.epoch != self.server.epoch

    async def _follow(self, number: int, follower: Follower) -> None:
        try:
            await follower.follow()
        except ConnectionError:
            self._abort()

    # sending

    async def _send(self, message: Any) -> None:
        await self.send_text(json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":")))

    async def send_text(self, text: str) -> None:
        """Waits as long as the client takes nothing. Raises ConnectionError where it has gone."""
        with self._sends():
            async with self._order:
                await self.socket.send_str(text)

    async def send_bytes(self, content: bytes) -> None:
        with self._sends():
            async with self._order:
                await self.socket.send_bytes(content)

    @contextlib.contextmanager
    def _sends(self) -> Iterator[None]:
        self._sending += 1
        try:
            yield
            self._taken += 1
        finally:
            self._sending -= 1

    async def _watch(self) -> None:
        """Leave a client that takes nothing for too long, and say goodbye when the server stops."""
        stopping, taken, since = self.server.stopping, -1, time.monotonic()
        while not stopping.is_set():
            if not self._sending or self._taken != taken:
                taken, since = self._taken, time.monotonic()
            elif time.monotonic() - since > PATIENCE:
                self._abort()
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE / 4):
                    await stopping.wait()
        await self._close(RESTART, "the server stops; come back with `after`")

    async def _close(self, code: int, reason: str) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError, RuntimeError):
            await asyncio.wait_for(self.socket.close(code=code, message=reason.encode()[:120]), 5)

    def _abort(self) -> None:
        """Leave a client that takes nothing: it comes back with its position, and loses nothing."""
        transport = self.socket._req.transport if self.socket._req is not None else None
        if isinstance(transport, asyncio.Transport):
            transport.abort()


def _is_unicode(text: str, frame: Any) -> bool:
    """Whether what was read from a text can be written as UTF-8; JSON has escapes for what cannot."""
    if "\\ud" not in text.lower():
        return True
    try:
        json.dumps(frame, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError):
        return False
    return True


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")
