"""Values and saved states on disk: in rows of the index where they are small, in files of their own else."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..records import Ref
from . import files
from .index import Index
from .locks import Locks

if TYPE_CHECKING:
    from ..ports import Codec, PortType

INLINE = 16 * 1024
"""Bytes up to which content stands in the index itself."""

ROOM = 320
"""Bytes that a row takes besides its content, in the table and its index."""


class Damaged(Exception):
    """Something kept is not what it was; its text is what that was called."""


@dataclass(frozen=True, slots=True)
class Content:
    """A value or a state ready to be kept: its bytes, or the file to one side that has them."""

    digest: str
    type: str
    state: bool
    checksum: bytes
    size: int
    inline: bytes | None
    file: str | None
    aside: Path | None


class Contents:
    """What has a row in the index's table `contents`. A state has its key there in place of a digest."""

    def __init__(self, folder: Path, index: Index, locks: Locks, *, power: bool, notice: Callable[[str], None]) -> None:
        self.folder = folder
        self._index = index
        self._locks = locks
        self._power = power
        self._notice = notice
        self._numbers = itertools.count()

    def has(self, ref: Ref) -> bool:
        row = self._index.row("SELECT bytes, file FROM contents WHERE digest=? AND type=?", ref.digest, ref.type)
        return row is not None and self._is_whole(*row)

    def _is_whole(self, size: int, file: str | None) -> bool:
        """Whether the file of a row, if it has one, has its size."""
        try:
            return file is None or os.stat(self.folder / file).st_size == size
        except (OSError, TypeError, ValueError):
            return False

    def read(self, digest: str, type: str) -> tuple[bytes, float] | None:
        """The bytes, checked, and the seconds that they took to make; None where there are none. Raises Damaged."""
        for _ in range(2):  # once more, as it may have been evicted between the two looks, and made again
            row = self._index.row(
                "SELECT seconds, file, checksum, content FROM contents WHERE digest=? AND type=?", digest, type
            )
            if row is None:
                return None
            seconds, file, wanted, content = row
            # A flipped bit can turn one SQL type into another, too.
            with contextlib.suppress(FileNotFoundError, PermissionError, TypeError, ValueError):
                if file is not None:
                    content = (self.folder / file).read_bytes()
                if checksum(digest, content) == wanted:
                    return content, float(seconds)
        raise Damaged(f"{type} {digest[:12]}")

    def decoded(self, digest: str, type: str) -> tuple[PortType, float] | None:
        """What was kept; None where it is not there, or cannot be decoded here.

        Raises Damaged, and Gone where it was a file on disk that has moved or changed.
        """
        from ..codec import Gone
        from ..ports import port_types

        kind = port_types().get(type)
        found = self.read(digest, type) if kind is not None else None
        if kind is None or found is None:
            return None
        try:
            return _codec(kind).decode(kind, found[0]), found[1]
        except Gone:
            raise
        except ValueError:
            raise Damaged(f"{type} {digest[:12]}") from None
        except (ImportError, OSError) as error:
            self._notice(f"the stored {type} {digest[:12]} cannot be read: {error}")
            return None

    def prepared(self, ref: Ref, value: PortType, *, state: bool = False) -> Content | None:
        """A value encoded, and written to one side unless it is small; None where its codec cannot hold it."""
        from ..ports import port_types

        codec = _codec(port_types()[ref.type])
        try:
            content = codec.encode(value)
        except (TypeError, ValueError, OSError) as error:
            self._notice(f"a {ref.type} cannot be kept on disk: {error}")
            return None
        check = checksum(ref.digest, content)
        if len(content) <= INLINE:
            return Content(ref.digest, ref.type, state, check, len(content), content, None, None)
        # A state is replaced by later ones of its key: a name with its content in it is never another's.
        folder, mark = ("states", f"-{check.hex()[:16]}") if state else ("values", "")
        file = f"{folder}/{ref.digest[:2]}/{ref.digest}{mark}.{ref.type}{codec.suffix}"
        aside = self.folder / "writing" / f"{self._locks.process()}-{next(self._numbers)}"
        new = Content(ref.digest, ref.type, state, check, len(content), None, file, aside)
        try:
            files.write(aside, content, power=self._power)
        except BaseException:
            clear_away([new])
            raise
        return new

    def insert(self, connection: sqlite3.Connection, new: Content, seconds: float, now: float) -> None:
        """A file gets its name inside the transaction: whoever else is in one sees each file with its row."""
        key = (new.digest, new.type)
        row = (new.state, seconds, new.size, now, new.file, new.checksum, new.inline, *key)
        if not connection.execute(_INSERT, row).rowcount:
            found = connection.execute("SELECT bytes, file FROM contents WHERE digest=? AND type=?", key).fetchone()
            if self._is_whole(*found):
                return  # another process was faster; its bytes may be others for the same value
            connection.execute(_UPDATE, row)
        if new.file is not None and new.aside is not None:
            files.place(new.aside, self.folder / new.file, power=self._power)

    def drop(self, digest: str, type: str) -> None:
        """Remove what turned out to be damaged."""

        def do(connection: sqlite3.Connection) -> None:
            query = "SELECT file FROM contents WHERE digest=? AND type=?"
            self.unlink(file for (file,) in connection.execute(query, (digest, type)).fetchall())
            connection.execute("DELETE FROM contents WHERE digest=? AND type=?", (digest, type))

        self._index.write(do)

    def state_type(self, key: str) -> str | None:
        row = self._index.row("SELECT type FROM contents WHERE digest=? AND state=1", key)
        return row[0] if row else None

    def replace_state(self, key: str, new: Content | None, seconds: float, now: float) -> None:
        """Put a state in place of the one that a key had, or of nothing; None only removes it."""

        def do(connection: sqlite3.Connection) -> list[str | None]:
            before = connection.execute("SELECT file FROM contents WHERE digest=? AND state=1", (key,)).fetchall()
            connection.execute("DELETE FROM contents WHERE digest=? AND state=1", (key,))
            if new is not None:
                self.insert(connection, new, seconds, now)
            return [file for (file,) in before if new is None or file != new.file]

        # Only now: until the commit the former state is the one that counts.
        self.unlink(self._index.write(do))

    def unlink(self, names: Iterable[str | None]) -> None:
        """What cannot be removed now is left to `prune`."""
        for name in names:
            if name is not None:
                with contextlib.suppress(OSError, TypeError, ValueError):
                    (self.folder / name).unlink()


_INSERT = """
INSERT OR IGNORE INTO contents (state, seconds, bytes, used, file, checksum, content, digest, type)
VALUES (?,?,?,?,?,?,?,?,?)
"""
_UPDATE = """
UPDATE contents SET state=?, seconds=?, bytes=?, used=?, file=?, checksum=?, content=? WHERE digest=? AND type=?
"""


def clear_away(contents: Iterable[Content]) -> None:
    """Remove the files to one side that did not get a name."""
    for content in contents:
        if content.aside is not None:
            content.aside.unlink(missing_ok=True)


def checksum(name: str, content: bytes) -> bytes:
    """Of the content and what it is kept under, so that it is never taken for something else's."""
    hashed = hashlib.sha256(name.encode())
    hashed.update(content)
    return hashed.digest()


def _codec(kind: type[PortType]) -> Codec:
    codec: Codec | None = getattr(kind, "codec", None)
    if codec is None:
        from ..codec import PLAIN

        return PLAIN
    return codec
