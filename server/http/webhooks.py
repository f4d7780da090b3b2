"""Webhooks: who asked for it is told when a job is over, signed, and again until it answers.

Deliveries are rows, so they survive the server. Each is at least once, with the job's last cursor to tell repeats; the
signature is that of the Standard Webhooks specification (standardwebhooks.com): `webhook-id`, `webhook-timestamp` and
`webhook-signature`, which is `v1,` and the HMAC-SHA256 of `id.timestamp.body` in base64, keyed with what the file
`webhook-secret` in the data folder says.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import time
from pathlib import Path
from typing import Any

import aiohttp

from ..queue.jobs import FINAL
from ..state import Server

ATTEMPTS = 12
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 6 * 3600.0
TIMEOUT = 15.0


class Webhooks:
    """Delivers what is due, one after the other."""

    def __init__(self, server: Server, first_pause: float = FIRST_PAUSE) -> None:
        self.server, self.first_pause = server, first_pause
        self.secret = secret(server.settings.data / "webhook-secret") if server.settings.webhooks else b""

    async def run(self) -> None:
        """Deliver for as long as the server lives. Where no webhooks are allowed, there is nothing to do."""
        if not self.server.settings.webhooks:
            return
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
            with self.server.heads.waiting("@") as more:
                while True:
                    more.clear()
                    due = self._due()
                    for row in due:
                        await self._deliver(session, row)
                    if not due:
                        try:
                            await asyncio.wait_for(more.wait(), self.first_pause)
                        except TimeoutError:
                            continue

    def _due(self) -> list[Any]:
        return self.server.database.reading.execute(
            "select deliveries.job, url, deliveries.attempts from deliveries join jobs on jobs.id = deliveries.job"
            f" where due <= ? and state in {FINAL} order by due limit 20",
            (time.time(),),
        ).fetchall()

    async def _deliver(self, session: aiohttp.ClientSession, row: Any) -> None:
        job, database = row["job"], self.server.database
        found = self.server.log.job(job)
        if found is None or not self.server.receivers.allow(row["url"]):
            await self._drop(job)  # where it may be sent can have changed since it was asked for
            return
        events = self.server.log.events(job, found["last"] - 1)
        document = {
            "type": "job." + found["state"],
            "cursor": events[-1].cursor,
            "data": self.server.log.document(found),
        }
        body = json.dumps(document, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json", **signed(self.secret, job, body)}
        try:
            async with session.post(row["url"], data=body, headers=headers, allow_redirects=False) as response:
                delivered = 200 <= response.status < 300
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            delivered = False
        attempts = row["attempts"] + 1
        if delivered or attempts >= ATTEMPTS:
            await self._drop(job)
            return
        due = time.time() + min(self.first_pause * 4 ** (attempts - 1), LONGEST_PAUSE)
        await database.write_surely(
            lambda connection: connection.execute(
                "update deliveries set attempts = ?, due = ? where job = ?", (attempts, due, job)
            )
        )

    async def _drop(self, job: str) -> None:
        await self.server.database.write_surely(
            lambda connection: connection.execute("delete from deliveries where job = ?", (job,))
        )


def signed(key: bytes, id: str, body: bytes) -> dict[str, str]:
    """The headers that prove where a webhook comes from, and when it was sent."""
    stamp = str(int(time.time()))
    digest = hmac.new(key, f"{id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": id,
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def secret(path: Path) -> bytes:
    """The key of the signatures, made when it is first needed, in a file that only its owner may read."""
    if not path.exists():
        text = "whsec_" + base64.b64encode(os.urandom(24)).decode()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text + "\n")
    return base64.b64decode(path.read_text().strip().removeprefix("whsec_"))
