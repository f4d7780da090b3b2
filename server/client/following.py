"""Following events over websockets: every one once and in order, whatever happens to the connections.

The server keeps the log. So all there is to know is how far it was read, and in which epoch: every new connection goes
on from there.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp

from .errors import ServerError
from .events import Event, Snapshot, event
from .patience import Attempts
from .transport import LOSSES, Transport

FINAL = ("done", "failed", "cancelled")

_FOR_GOOD = {4400: "bad-request", 4401: "unauthorized", 4403: "forbidden", 4413: "too-large"}
"""Close codes after which the same would only happen again."""


class _Lost(aiohttp.ClientError):
    """The connection, or something that should have come over it."""


@dataclass
class Position:
    """How far a log was read: the number of the newest event, in the log's epoch."""

    last: int = 0
    epoch: str | None = None


@dataclass(frozen=True)
class Followed:
    """What is followed: one job, whose events are numbered without gaps, or the feed of all own jobs, with gaps."""

    wanted: Mapping[str, Any]
    number: Literal["seq", "cursor"]
    dense: bool


def one_job(job: str, previews: bool) -> Followed:
    return Followed({"job": job, "previews": previews}, "seq", dense=True)


def own_jobs(previews: bool) -> Followed:
    return Followed({"feed": "mine", "previews": previews}, "cursor", dense=False)


async def follow(transport: Transport, followed: Followed, position: Position) -> AsyncGenerator[Event, None]:
    """The events after a position; those of one job end with its last. Raises ServerError and Unreachable."""
    attempts = Attempts(transport.patience)
    while True:
        try:
            async with transport.websocket() as socket:
                connection = _Connection(socket, followed, position)
                await connection.greet()
                while (snapshot := await connection.subscribe()) is not None:
                    yield snapshot
                attempts.answered()
                async for found in connection.events():
                    attempts.granted()
                    yield found
                return
        except LOSSES as loss:
            await attempts.after_loss(transport.url, loss, isinstance(loss, aiohttp.ClientConnectorError))


class _Connection:
    """One websocket with one subscription."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, followed: Followed, position: Position) -> None:
        self.socket, self.followed, self.position = socket, followed, position
        self.requests = 0

    async def greet(self) -> None:
        """Learn the epoch, in which a position that was given without one is taken to be."""
        told = await self._ask({"do": "hello"})
        if self.position.epoch is None:
            self.position.epoch = told["epoch"]

    async def subscribe(self) -> Snapshot | None:
        """Subscribe from the position on. Gives a snapshot, and moves to where it stands, where that is gone."""
        position = self.position
        try:
            wanted = {**self.followed.wanted, "after": position.last, "epoch": position.epoch}
            await self._ask({"do": "subscribe", **wanted})
            return None
        except ServerError as error:
            if error.code != "gone":
                raise
            gone = error.more
        document = gone["snapshot"]
        position.epoch = gone["epoch"]
        if self.followed.dense:
            # The end of a job is told as an event in any case.
            position.last = document["last"] - (document["state"] in FINAL)
        else:
            position.last = gone["first"] - 1
        return Snapshot(job=document.get("job", ""), document=document, told=gone)

    async def events(self) -> AsyncIterator[Event]:
        while True:
            frame = await self._receive()
            if isinstance(frame, bytes):
                size = int.from_bytes(frame[:4])
                preview = json.loads(frame[4 : 4 + size])
                yield event({**preview, "event": preview["type"], "image": frame[4 + size :]})
            elif "event" in frame:
                if self._is_next(frame[self.followed.number]):
                    yield event({name: value for name, value in frame.items() if name != "sub"})
                    if self.followed.dense and frame["event"] == "run_finished":
                        return
            elif "progress" in frame:
                job = frame.get("job") or self.followed.wanted["job"]
                yield event({"event": "progress", "job": job, **frame["progress"]})
            elif "bookmark" in frame:
                self.position.last = max(self.position.last, frame["bookmark"])
            elif frame.get("end"):
                return

    def _is_next(self, number: int) -> bool:
        """Whether an event is new. Raises _Lost where one before it is missing."""
        position = self.position
        if number <= position.last:
            return False
        if self.followed.dense and number != position.last + 1:
            raise _Lost(f"event {position.last + 1} is missing")
        position.last = number
        return True

    async def _ask(self, request: Mapping[str, Any]) -> Any:
        """The reply to a request. Raises ServerError, and _Lost where the same may be granted later."""
        self.requests += 1
        await self.socket.send_json({"id": self.requests, **request})
        while True:
            frame = await self._receive()
            if isinstance(frame, bytes) or frame.get("id") != self.requests:
                continue
            if "error" not in frame:
                return frame["ok"]
            error = ServerError.told(frame["error"])
            if error.temporary:
                raise _Lost(error.message)
            raise error

    async def _receive(self) -> Any:
        """The next frame: bytes, or what its JSON says. Raises _Lost, and ServerError where it is lost for good."""
        message = await self.socket.receive()
        if message.type is aiohttp.WSMsgType.TEXT:
            return json.loads(message.data)
        if message.type is aiohttp.WSMsgType.BINARY:
            return message.data
        code = self.socket.close_code
        if code in _FOR_GOOD:
            raise ServerError(_FOR_GOOD[code], str(message.extra or f"the server closed the connection with {code}"))
        raise _Lost(f"the connection was closed ({code or 'without a code'})")
