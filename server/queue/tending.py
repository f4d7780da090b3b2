"""What a server does now and then: forget old jobs, delete files that nothing refers to, note how far its log goes."""

from __future__ import annotations

import asyncio
import time

from ..state import Server
from .jobs import FINAL

NOTE_EVERY, TEND_EVERY = 5.0, 60.0
TOGETHER = 100
"""So many jobs are forgotten in one change, that others need not wait long."""


async def tend(server: Server) -> None:
    """Look after a server for as long as it lives."""
    tended = 0.0
    while True:
        server.note_head()
        await asyncio.to_thread(server.database.checkpoint)
        if time.monotonic() - tended >= TEND_EVERY:
            await forget(server)
            tended = time.monotonic()
        await asyncio.sleep(NOTE_EVERY)


async def forget(server: Server) -> None:
    """Forget jobs that have been over for too long, and the oldest where their outputs are too large together."""
    settings, database = server.settings, server.database
    while due := _old(server):
        await database.write_surely(lambda connection, due=due: server.jobs.delete(connection, due))  # type: ignore[misc]
    await database.write_surely(
        lambda connection: connection.execute("delete from texts where digest not in (select text from jobs)")
    )
    used = {row[0] for row in database.reading.execute("select distinct digest from outputs")}
    await asyncio.to_thread(server.blobs.drop_all_but, used)
    await server.uploads.forget(time.time() - settings.keep_days * 86400)


def _old(server: Server) -> list[str]:
    connection, settings = server.database.reading, server.settings
    over = f"select id from jobs where state in {FINAL} and finished is not null"
    oldest = time.time() - settings.keep_days * 86400
    found = connection.execute(f"{over} and finished < ? order by finished limit {TOGETHER}", (oldest,)).fetchall()
    (size,) = connection.execute("select coalesce(sum(bytes), 0) from jobs").fetchone()
    if not found and size > settings.keep_bytes:
        found = connection.execute(f"{over} and bytes > 0 order by finished limit 1").fetchall()
    return [row[0] for row in found]
