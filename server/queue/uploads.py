"""Uploaded files: each owner's own, by the digest of their content, as `FOLDER/OWNER/DIGEST/NAME`.

An owner sees no uploads of others, and cannot tell whether there are any: what is kept, answered and named is the same.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import BadRequest, NotFound
from ..http.access import Caller
from .database import Database


def folders_of(uploads: Path, reader: str | None) -> list[Path]:
    """The folders with the uploads that graphs of an owner may read; those of everybody for None."""
    if reader is not None:
        return [uploads / reader]
    return sorted(folder for folder in uploads.iterdir() if folder.is_dir() and not folder.name.startswith("."))


class Uploads:
    """What is in the folder, and in the table of the same name."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder, self._database = folder, database

    def has(self, caller: Caller, digest: str) -> bool:
        """Whether the caller has uploaded it before."""
        return (self.folder / caller.name / digest).is_dir()

    async def keep(self, caller: Caller, name: str, media: str, source: Path, digest: str) -> dict[str, Any]:
        """Keep a file that was received, under the digest of its content; gives what stands for it.

        Raises BadRequest where it cannot be called so.
        """
        caller.needs("submit")
        if not re.fullmatch(r"[^/\\\0]{1,200}", name) or name in (".", "..") or not name.isprintable():
            raise BadRequest("a file's name is at most 200 printable characters without slashes")
        if len(os.fsencode(name)) > 255:
            raise BadRequest("a file's name is at most 255 bytes long")
        folder = self.folder / caller.name / digest
        size = source.stat().st_size
        if not folder.is_dir():
            partial = folder.with_name(f".{digest}.{os.urandom(4).hex()}")
            partial.mkdir(parents=True)
            os.replace(source, partial / name)
            try:
                partial.rename(folder)
            except OSError:  # somebody else was quicker
                shutil.rmtree(partial)
        row: dict[str, Any] = await self._database.write(
            lambda connection: dict(
                connection.execute(
                    "insert into uploads values(?, ?, ?, ?, ?, ?) on conflict do update set"
                    " created = excluded.created returning name, media, size",
                    (digest, caller.name, name, media, size, time.time()),
                ).fetchone()
            )
        )
        return {"upload": f"upload:{digest}", "digest": digest, **row, "url": f"/v1/uploads/{digest}"}

    def find(self, caller: Caller, digest: str) -> tuple[Path, str]:
        """An upload's file and media type. Raises NotFound."""
        rows = self._database.reading.execute(
            "select owner, media from uploads where digest = ? and (owner = ? or ?)",
            (digest, caller.name, caller.sees is None),
        )
        for row in rows.fetchall():
            with contextlib.suppress(OSError, StopIteration):
                return next((self.folder / row["owner"] / digest).iterdir()), row["media"]
        raise NotFound("there is no such upload")

    async def forget(self, before: float) -> None:
        """Delete those that nobody has uploaded since, and that no job needs that is not over."""
        for row in list(self._old(before)):
            if await self._database.write_surely(lambda connection, row=row: _dropped(connection, row, before)):  # type: ignore[misc]
                shutil.rmtree(self.folder / row["owner"] / row["digest"], ignore_errors=True)

    def _old(self, before: float) -> Iterator[sqlite3.Row]:
        reading = self._database.reading
        for row in reading.execute("select digest, owner from uploads where created < ?", (before,)).fetchall():
            needed = reading.execute(
                "select 1 from jobs join texts on texts.digest = jobs.text where state in ('queued', 'running')"
                " and (instr(params, ?) or instr(texts.text, ?)) limit 1",
                (row["digest"], row["digest"]),
            )
            if needed.fetchone() is None:
                yield row


def _dropped(connection: sqlite3.Connection, row: sqlite3.Row, before: float) -> bool:
    """Whether an upload was forgotten: it may have come again in the meantime."""
    cursor = connection.execute(
        "delete from uploads where digest = ? and owner = ? and created < ?", (row["digest"], row["owner"], before)
    )
    return cursor.rowcount > 0
