"""What a subscription sends: the log from a position on, and the newest progress and previews in between."""

from __future__ import annotations

import asyncio
import json
import struct
from typing import TYPE_CHECKING, Any, Protocol

from ..queue.log import PAGE, Logged, is_final
from .messages import Subscribe

if TYPE_CHECKING:
    from .websocket import Connection

FEW = 10
"""Events that are sent at once; who has more to catch up with waits for the turns of others."""

BOOKMARK = 20.0
"""Seconds after which a feed without events says where it is."""


class Follower(Protocol):
    async def follow(self) -> None: ...


class JobFollower:
    """Follows one job to its end."""

    def __init__(self, connection: Connection, number: int, job: str, request: Subscribe) -> None:
        self.connection, self.number, self.job, self.previews = connection, number, job, request.previews
        self.after = request.after
        self._seen: dict[str, tuple[int, int]] = {}
        """By node, the numbers of the progress and of the preview that were sent."""

    async def follow(self) -> None:
        server, caught_up, limit = self.connection.server, False, FEW
        with server.heads.waiting(self.job) as more:
            while not server.stopping.is_set():
                more.clear()
                async with self.connection.page:
                    page = server.log.events(self.job, self.after, limit)
                    await self._send(page)
                if any(event.last for event in page):
                    await self._tell(f'"caught_up":{self.after}', caught_up)
                    await self._tell('"end":true', False)
                    return
                if len(page) == limit:
                    limit = PAGE
                    await server.turns.take()
                    continue
                if not caught_up:
                    await self._tell(f'"caught_up":{self.after}', False)
                    caught_up = True
                row = server.log.job(self.job)
                if row is None or (is_final(row["state"]) and self.after >= row["last"]):
                    await self._tell('"end":true', False)  # it was deleted, or all of it was known already
                    return
                await self._send_slots()
                await more.wait()

    async def _send(self, page: list[Logged]) -> None:
        for event in page:
            await self.connection.send_text(f'{{"sub":{self.number},{event.text}')
            self.after = event.seq

    async def _tell(self, what: str, said: bool) -> None:
        if not said:
            await self.connection.send_text(f'{{"sub":{self.number},{what}}}')

    async def _send_slots(self) -> None:
        """What is new of the nodes' progress and previews; what came in between was overtaken."""
        for node, slot in list(self.connection.server.slots.of(self.job).items()):
            progress, preview = self._seen.get(node, (0, 0))
            self._seen[node] = (slot.progress_number, slot.preview_number)
            if slot.progress is not None and slot.progress_number > progress:
                found: dict[str, Any] = {"sub": self.number, "progress": slot.progress, "after": self.after}
                await self.connection.send_text(json.dumps(found, ensure_ascii=False))
            if self.previews and slot.preview is not None and slot.preview_number > preview:
                about, image = slot.preview
                head = json.dumps({"type": "preview", "sub": self.number, **about}).encode()
                await self.connection.send_bytes(struct.pack(">I", len(head)) + head + image)


class FeedFollower:
    """Follows all jobs of an owner for as long as the client wants."""

    def __init__(self, connection: Connection, number: int, owner: str, request: Subscribe) -> None:
        self.connection, self.number, self.owner = connection, number, owner
        self.after = request.after

    async def follow(self) -> None:
        server, caught_up, limit = self.connection.server, False, FEW
        with server.heads.waiting(f"@{self.owner}") as more:
            while not server.stopping.is_set():
                more.clear()
                async with self.connection.page:
                    page = server.log.feed(self.owner, self.after, limit)
                    for event in page:
                        await self.connection.send_text(f'{{"sub":{self.number},{event.text}')
                        self.after = event.cursor
                if len(page) == limit:
                    limit = PAGE
                    await server.turns.take()
                    continue
                if not caught_up:
                    await self.connection.send_text(f'{{"sub":{self.number},"caught_up":{self.after}}}')
                    caught_up = True
                try:
                    async with asyncio.timeout(BOOKMARK):
                        await more.wait()
                except TimeoutError:
                    head = server.log.head(None)
                    if server.log.feed(self.owner, self.after, 1):
                        continue  # it was committed a moment ago
                    self.after = max(self.after, head)
                    await self.connection.send_text(f'{{"sub":{self.number},"bookmark":{self.after}}}')
