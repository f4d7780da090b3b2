"""The disk tier: a folder with an index of results and values, and a file for each large value."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..records import Record, Ref, from_json, to_json
from .contents import ROOM, Content, Contents, Damaged, checksum, clear_away
from .index import Index, refuse_newer
from .locks import Locks
from .memory import GRAIN

if TYPE_CHECKING:
    from ..ports import PortType

RESULT_ROOM = 400
"""Bytes that a row of a result takes besides its content, in the table and its indexes."""

OUTPUT_ROOM = 300
"""Bytes that a note about a written file takes."""

MANY = 500
"""Results that are read at once."""

STATE_SECONDS = 600.0
"""What a saved state is taken to have cost: only nodes that run long save any."""


class Disk:
    """A store's folder. All methods raise sqlite3.Error and OSError where the disk is in trouble.

    In it are index.sqlite and locks; values/ and states/, whose files are named by rows of the index; and writing/, for
    files that are not ready yet, each named after its process.
    """

    def __init__(self, folder: Path, bound: int, *, power: bool, notice: Callable[[str], None]) -> None:
        """Raises StoreError for a store of a newer release."""
        self.folder = folder
        self.bound = bound
        self.notice = notice
        self.writable = True
        refuse_newer(folder / "index.sqlite")
        try:
            self._open(power)
        except (OSError, sqlite3.Error) as trouble:
            self._open_for_reading(power, trouble)
        self.contents = Contents(folder, self.index, self.locks, power=power, notice=notice)
        self.written = 0
        """Bytes that this process has added since it last settled the total of all."""
        self.limit = bound
        """Bytes in all from which on something is evicted."""
        self.times: dict[str, tuple[float, float]] = {}
        """Of node types, what this process knows to be in the index."""

    def _open(self, power: bool) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not os.access(self.folder, os.W_OK):
            raise PermissionError("it is write-protected")
        self.locks = Locks(self.folder / "locks")
        self.index = Index(self.folder / "index.sqlite", self.locks, power=power, notice=self.notice)
        for name in ("values", "writing"):
            (self.folder / name).mkdir(exist_ok=True)

    def _open_for_reading(self, power: bool, trouble: Exception) -> None:
        """What can be done with a folder that is write-protected, or on a full disk."""
        self.writable = False
        self.locks = Locks(None)
        try:
            self.index = Index(self.folder / "index.sqlite", None, power=power, notice=self.notice)
        except sqlite3.Error:
            raise trouble from None
        self.notice(unwritable(self.folder, trouble))

    # Results.

    def result(self, key: str) -> Record | None:
        """Raises Damaged."""
        row = self.index.row(f"{_SELECT}=?", key)
        return None if row is None else _record(*row)

    def results(self, keys: Sequence[str]) -> Iterator[Record]:
        """The results of many keys at once; those that are damaged are left out."""
        for first in range(0, len(keys), MANY):
            some = keys[first : first + MANY]
            for row in self.index.rows(f"{_SELECT} IN ({','.join('?' * len(some))})", *some):
                try:
                    yield _record(*row)
                except Damaged:
                    continue  # whoever asks for it alone is told

    def record(self, key: str) -> Record | None:
        """The result of a key; None where there is none any more."""
        try:
            return self.result(key)
        except Damaged as damaged:
            self._say(damaged)
            if self.writable:
                self.remove(key)
            return None

    def keep(self, record: Record, values: Mapping[str, PortType]) -> int:
        """The bytes written. Raises TypeError and ValueError where the record has parts that JSON cannot hold."""
        now = time.time()
        parts = [to_json(part).encode() if part else b"{}" for part in (record.outputs, record.sources, record.about)]
        size = sum(map(len, parts)) + RESULT_ROOM
        node_type = str(record.about.get("type", ""))
        times = [record.partial, float(record.made), float(record.seconds), record.run]
        row = (*times, node_type, size, now, _checksum(record.key, parts, times), *parts, record.key)
        there: list[Ref] = []
        new: list[Content] = []

        def do(connection: sqlite3.Connection) -> int:
            for one in new:
                self.contents.insert(connection, one, record.seconds, now)
            _touch(connection, (), there, now)
            added = connection.execute(_INSERT, row).rowcount
            if not added:
                connection.execute(_UPDATE, row)
            connection.execute("INSERT OR IGNORE INTO partials VALUES (?)", (record.partial,))
            self._learn(connection, node_type, record.seconds)
            written = added * size + sum(one.size + ROOM for one in new)
            self.written += written
            return written

        try:
            for ref in dict.fromkeys(record.refs()):
                if self.contents.has(ref):
                    there.append(ref)
                elif ref.digest in values:
                    prepared = self.contents.prepared(ref, values[ref.digest])
                    new += [prepared] if prepared else []
            return self.index.write(do)
        finally:
            clear_away(new)

    def remove(self, key: str) -> None:
        self.index.write(lambda connection: connection.execute("DELETE FROM results WHERE key=?", (key,)))

    def touch(self, keys: Iterable[str], refs: Iterable[Ref]) -> None:
        now = time.time()
        self.index.write(lambda connection: _touch(connection, keys, refs, now))

    def known_partial(self, partial: str) -> bool:
        """Whether any result has this partial digest; it may also be one that was evicted or removed since."""
        return self.index.row("SELECT 1 FROM partials WHERE partial=?", partial) is not None

    def seconds_of(self, node_type: str) -> float | None:
        row = self.index.row("SELECT seconds FROM times WHERE type=?", node_type)
        return row[0] if row else None

    # Values and states.

    def value(self, ref: Ref) -> tuple[PortType, float] | None:
        """A value, and how long it took to make."""
        return self._undamaged(ref.digest, ref.type)

    def state(self, key: str) -> PortType | None:
        kind = self.contents.state_type(key)
        found = self._undamaged(key, kind) if kind else None
        return found[0] if found else None

    def save_state(self, key: str, state: PortType) -> bool:
        """Whether that could be done."""
        new = self.contents.prepared(Ref(type(state).__name__, key), state, state=True)
        if new is None:
            return False
        try:
            self.contents.replace_state(key, new, STATE_SECONDS, time.time())
        finally:
            clear_away([new])
        self.written += new.size + ROOM
        return True

    def drop_state(self, key: str) -> None:
        if self.contents.state_type(key) is not None:
            self.contents.replace_state(key, None, 0, 0)

    def _undamaged(self, digest: str, kind: str) -> tuple[PortType, float] | None:
        from ..codec import Gone

        try:
            return self.contents.decoded(digest, kind)
        except Damaged as damaged:
            self._say(damaged)
        except Gone:
            pass  # a model that was moved, say: whoever made this value finds it where it is now
        if self.writable:
            self.contents.drop(digest, kind)
        return None

    def _say(self, damaged: Damaged) -> None:
        self.notice(f"the stored {damaged} is damaged, it will be made again")

    # What is remembered beside results.

    def latest(self, graph: str) -> dict[str, str]:
        row = self.index.row("SELECT keys FROM latest WHERE graph=?", graph)
        return _mapping(row[0]) if row else {}

    def remember_latest(self, graph: str, keys: Mapping[str, str]) -> bool:
        def do(connection: sqlite3.Connection) -> None:
            row = connection.execute("SELECT keys FROM latest WHERE graph=?", (graph,)).fetchone()
            known = _mapping(row[0]) if row else {}
            text = json.dumps(known | dict(keys), separators=(",", ":")).encode()
            self.written += len(text)
            connection.execute("INSERT OR REPLACE INTO latest VALUES (?,?,?)", (graph, time.time(), text))

        if not keys.items() <= self.latest(graph).items():
            self.index.write(do)
        return True

    def variables(self, code: str) -> tuple[str, ...]:
        query = "SELECT name FROM variables WHERE code=? AND typeof(name)='text' ORDER BY name"
        return tuple(name for (name,) in self.index.rows(query, code))

    def add_variables(self, code: str, names: Iterable[str]) -> None:
        rows = [(code, name) for name in names]
        self.index.write(
            lambda connection: connection.executemany("INSERT OR IGNORE INTO variables VALUES (?,?)", rows)
        )

    def note_output(self, content: str, key: str, output: str, run: str) -> bool:
        row = (content, key, output, run)
        if self.index.row("SELECT content, key, output, run FROM outputs WHERE content=?", content) != row:
            query = "INSERT OR REPLACE INTO outputs VALUES (?,?,?,?)"
            self.index.write(lambda connection: connection.execute(query, row))
            self.written += OUTPUT_ROOM
        return True

    def origin(self, content: str) -> tuple[str, str, str] | None:
        row: tuple[str, str, str] | None = self.index.row(
            "SELECT key, output, run FROM outputs WHERE content=?", content
        )
        return row

    def _learn(self, connection: sqlite3.Connection, node_type: str, seconds: float) -> None:
        """Move the typical time of a node type towards a new one, unless it is about what was known."""
        known = self.times.get(node_type)
        if known is None:
            query = "SELECT TOTAL(seconds), TOTAL(count) FROM times WHERE type=?"
            known = self.times[node_type] = connection.execute(query, (node_type,)).fetchone()
        typical, count = known
        if count and abs(seconds - typical) <= 0.2 * typical + 0.005:
            return
        count = min(count + 1, 8)
        self.times[node_type] = typical, count = typical + (seconds - typical) / count, count
        connection.execute("INSERT OR REPLACE INTO times VALUES (?,?,?)", (node_type, typical, count))


_INSERT = """
INSERT OR IGNORE INTO results
(partial, made, seconds, run, type, bytes, used, checksum, outputs, sources, about, key)
VALUES (?,?,?,?,?,?,?,?,?,?,?,?)
"""
_UPDATE = """
UPDATE results SET
partial=?, made=?, seconds=?, run=?, type=?, bytes=?, used=?, checksum=?, outputs=?, sources=?, about=? WHERE key=?
"""
_SELECT = "SELECT key, checksum, outputs, sources, about, partial, made, seconds, run FROM results WHERE key"


def unwritable(folder: Path, trouble: Exception) -> str:
    return f"the store {folder} cannot be written ({trouble}): new results are kept in memory only"


def _touch(connection: sqlite3.Connection, keys: Iterable[str], refs: Iterable[Ref], now: float) -> None:
    before = now - GRAIN
    for key in keys:
        connection.execute("UPDATE results SET used=? WHERE key=? AND used<?", (now, key, before))
    for ref in refs:
        query = "UPDATE contents SET used=? WHERE digest=? AND type=? AND used<?"
        connection.execute(query, (now, ref.digest, ref.type, before))


def _record(key: str, check: bytes, outputs: bytes, sources: bytes, about: bytes, *times: Any) -> Record:
    """The result that a row holds. Raises Damaged."""
    try:
        undamaged = _checksum(key, (outputs, sources, about), list(times)) == check
    except TypeError:  # a flipped bit can make a number of a text
        undamaged = False
    if not undamaged:
        raise Damaged(f"result {key[:12]}")
    from_files = from_json(sources.decode()) if sources != b"{}" else _NO_SOURCES
    return Record(key, from_json(outputs.decode()), from_files, Later(about), *times)


_NO_SOURCES: Mapping[str, str] = {}


def _checksum(key: str, parts: Iterable[bytes], times: Iterable[Any]) -> bytes:
    return checksum(key, b"\n".join((*parts, repr(times).encode())))


def _mapping(text: bytes) -> dict[str, str]:
    """What JSON has; nothing where it is damaged, as it only serves to explain."""
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError):
        return {}


class Later(Mapping[str, Any]):
    """A mapping that is read from its JSON when somebody looks into it, which few do."""

    __slots__ = ("_content", "_text")

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._content: Mapping[str, Any] | None = None

    def _read(self) -> Mapping[str, Any]:
        if self._content is None:
            self._content = from_json(self._text.decode())
        return self._content

    def __getitem__(self, name: str) -> Any:
        return self._read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __repr__(self) -> str:
        return repr(self._read())
