"""The store: two tiers that keep results, key → digests and digest → value."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..records import Record, Ref
from . import tend
from .disk import STATE_SECONDS, Disk, unwritable
from .index import FORMAT, Index, StoreError, is_busy, is_damage
from .locks import Claim, Locks
from .memory import GRAIN, Memory
from .tend import Listed, Pruned

if TYPE_CHECKING:
    from ..ports import PortType

T = TypeVar("T")


@dataclass(frozen=True)
class StoreInfo:
    """How full a store is."""

    folder: Path | None
    format: int
    memory_bytes: int
    memory_bound: int
    disk_bytes: int = 0
    disk_bound: int = 0
    results: int = 0
    values: int = 0
    states: int = 0
    by_type: Mapping[str, int] = field(default_factory=dict)
    """The number of results by node type."""


class Store:
    """Made by `open_store`; all methods may be called from several threads.

    No method but `open_store` raises anything for a disk in trouble: it is said once, in words, and the store goes on
    in memory.
    """

    def __init__(
        self, folder: Path | None, memory_bytes: int, disk_bytes: int, power: bool, notice: Callable[[str], None]
    ) -> None:
        self.folder = folder
        self.notice = notice
        self._said: set[str] = set()
        self._memory = Memory(memory_bytes)
        self._disk: Disk | None = None
        self._locks = Locks(None)
        if folder is not None:
            self._open(folder, disk_bytes, power)
        # What has no place on disk, or is asked for often.
        self._variables: dict[str, tuple[str, ...]] = {}
        self._latest: dict[str, dict[str, str]] = {}
        self._outputs: dict[str, tuple[str, str, str]] = {}
        self._seconds: dict[str, float] = {}
        _stores.add(self)

    def _open(self, folder: Path, bytes: int, power: bool) -> None:
        try:
            self._disk = Disk(folder, bytes, power=power, notice=lambda message: self.notice(message))
        except (OSError, sqlite3.Error) as trouble:
            self._say(f"the store {folder} cannot be used ({trouble}): results are kept in memory only")
            return
        self._locks = self._disk.locks
        if self._disk.writable and not self._locks.shared:
            self._say("on this system, two processes may compute the same result at the same time")

    # Results.

    def lookup(self, key: str) -> Record | None:
        """The result of a key."""
        held = self._memory.held.get(key)
        if held is not None:
            return held.item  # type: ignore[no-any-return]
        record = self._on_disk(lambda disk: disk.record(key), None)
        if record is not None:
            self._memory.put(key, record, record.seconds, time.time() - GRAIN)
        return record

    def prefetch(self, graph: str) -> None:
        """Have the results of the last run of a graph at hand, for one that will probably ask for most of them."""
        if self._disk is None:
            return
        held = self._memory.held
        keys = [key for key in self.latest(graph).values() if key not in held]
        used = time.time() - GRAIN
        nothing: list[Record] = []
        for record in self._on_disk(lambda disk: list(disk.results(keys)), nothing):
            self._memory.put(record.key, record, record.seconds, used)

    def keep(self, record: Record, values: Mapping[str, PortType], *, lasting: bool = True) -> int:
        """Keep a result and its values, given by digest; when this returns, both survive the death of any process.

        Unless it is not `lasting`: then no other process could ever ask for it. Gives the bytes written to disk.
        """
        try:
            written = self._on_disk(lambda disk: disk.keep(record, values), 0, writing=True) if lasting else 0
        except (TypeError, ValueError) as error:
            self._say(f"results of {record.about.get('type')} cannot be kept on disk: {error}")
            written = 0
        now = time.time()
        for ref in record.refs():
            if ref.digest in values:
                self._memory.put((ref.type, ref.digest), values[ref.digest], record.seconds, now)
        self._memory.put(record.key, record, record.seconds, now)
        if self._disk is None or not self._disk.writable:
            self._seconds[str(record.about.get("type"))] = record.seconds
        self._settle()
        return written

    def remove(self, key: str) -> None:
        """Forget the result of a key. Its values stay, others may have the same."""
        self._memory.drop(key)
        self._on_disk(lambda disk: disk.remove(key), None, writing=True)

    def known_partial(self, partial: str) -> bool:
        """Whether any result has this partial digest, or had it before it was evicted or removed."""
        return partial in self._memory.partials or self._on_disk(lambda disk: disk.known_partial(partial), False)

    def touch(self, keys: Iterable[str], refs: Iterable[Ref]) -> None:
        """Note that these are used now."""
        now, used = time.time(), self._memory.used
        keys = [key for key in keys if used(key, now)]
        refs = [ref for ref in refs if used((ref.type, ref.digest), now)]
        if keys or refs:
            self._on_disk(lambda disk: disk.touch(keys, refs), None, writing=True)

    def seconds_of(self, node_type: str) -> float | None:
        """A typical time that nodes of this type took to compute."""
        known = self._seconds.get(node_type)
        return known if known is not None else self._on_disk(lambda disk: disk.seconds_of(node_type), None)

    # Values and states.

    def has(self, ref: Ref) -> bool:
        """Whether a value is there, by all that can be told without reading it."""
        return (ref.type, ref.digest) in self._memory.held or self._on_disk(lambda disk: disk.contents.has(ref), False)

    def value(self, ref: Ref) -> PortType | None:
        """A value, checked; None where it is not there any more, or was damaged, which is said."""
        held = self._memory.held.get((ref.type, ref.digest))
        if held is not None:
            return held.item  # type: ignore[no-any-return]
        found = self._on_disk(lambda disk: disk.value(ref), None)
        if found is None:
            return None
        value, seconds = found
        self._memory.put((ref.type, ref.digest), value, seconds, time.time() - GRAIN)
        return value

    def save_state(self, key: str, state: PortType) -> None:
        """Keep what a long-running node goes on from after it was stopped, in place of what it saved before."""
        if self._on_disk(lambda disk: disk.save_state(key, state), False, writing=True):
            self._memory.drop(("", key))
        else:
            self._memory.put(("", key), state, STATE_SECONDS, time.time())
        self._settle()

    def state(self, key: str) -> PortType | None:
        held = self._memory.held.get(("", key))
        if held is not None:
            return held.item  # type: ignore[no-any-return]
        return self._on_disk(lambda disk: disk.state(key), None)

    def drop_state(self, key: str) -> None:
        self._memory.drop(("", key))
        self._on_disk(lambda disk: disk.drop_state(key), None, writing=True)

    # Who computes and who uses what.

    def claim(self, key: str) -> Claim | None:
        """The right to compute the result of a key, until it is released or its process dies.

        None where another thread or process has it. Look the key up once more with the claim in hand: the one who had
        it may just have kept the result.
        """
        return self._locks.claim(key)

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Around a run: as long as it is inside, no process evicts from disk what was used since it began."""
        with self._locks.run(time.time()):
            yield
        disk = self._disk
        if disk is not None and (disk.written or disk.limit > disk.bound):
            disk.limit = disk.bound
            self._on_disk(tend.settle, None, writing=True)

    # What is remembered beside results.

    def latest(self, graph: str) -> dict[str, str]:
        """The keys of the nodes of a graph, by address, in its last run."""
        found = self._latest.get(graph)
        return dict(found) if found is not None else self._on_disk(lambda disk: disk.latest(graph), {})

    def remember_latest(self, graph: str, keys: Mapping[str, str]) -> None:
        """Nodes that are not among these keep the keys that they had."""
        if not self._on_disk(lambda disk: disk.remember_latest(graph, keys), False, writing=True):
            self._latest[graph] = self.latest(graph) | dict(keys)

    def variables(self, code: str) -> tuple[str, ...]:
        """The environment variables that nodes with this code digest have asked for."""
        known = self._variables.get(code)
        if known is None:
            known = self._variables[code] = self._on_disk(lambda disk: disk.variables(code), ())
        return known

    def add_variables(self, code: str, names: Iterable[str]) -> None:
        known = self.variables(code)
        new = set(names).difference(known)
        if new:
            self._variables[code] = tuple(sorted({*known, *new}))
            self._on_disk(lambda disk: disk.add_variables(code, new), None, writing=True)

    def note_output(self, content_sha256: str, key: str, output: str, run: str) -> None:
        """Remember which result a written file has."""
        if not self._on_disk(lambda disk: disk.note_output(content_sha256, key, output, run), False, writing=True):
            self._outputs[content_sha256] = (key, output, run)

    def origin(self, content_sha256: str) -> tuple[str, str, str] | None:
        """The key, output and run that gave a file with this content."""
        known = self._outputs.get(content_sha256)
        return known or self._on_disk(lambda disk: disk.origin(content_sha256), None)

    # Looking after it.

    def info(self) -> StoreInfo:
        memory = self._memory
        if self._disk is None:
            records = [held.item for held in list(memory.held.values()) if type(held.item) is Record]
            states = sum(name[0] == "" for name in list(memory.held))
            by_type = Counter(str(record.about.get("type", "")) for record in records)
            values = len(memory.held) - len(records) - states
            return StoreInfo(None, FORMAT, memory.bytes, memory.bound, 0, 0, len(records), values, states, by_type)
        disk, nothing = self._disk, (0, 0, 0, 0, dict[str, int]())
        total, results, values, states, types = self._on_disk(tend.counted, nothing)
        return StoreInfo(
            self.folder, FORMAT, memory.bytes, memory.bound, total, disk.bound, results, values, states, types
        )

    def records(self) -> Iterator[Listed]:
        """All results, the newest first."""
        if self._disk is not None:
            yield from self._on_disk(lambda disk: list(tend.listed(disk)), list[Listed]())
        else:
            for held in reversed(list(self._memory.held.values())):
                if type(held.item) is Record:
                    yield Listed(held.item, held.bytes, held.used)

    def verify(self) -> list[str]:
        """What is damaged on disk, in words, after reading and checking everything. It is removed."""
        return self._on_disk(tend.verify, [])

    def prune(self, bytes: int | None = None) -> Pruned:
        """Evict until no more than `bytes` are left, or the bound; and remove what killed processes left behind."""
        if self._disk is None:
            before = self._memory.bytes
            self._memory.evict(self._memory.bound if bytes is None else bytes)
            return Pruned(bytes=before - self._memory.bytes)
        bound = self._disk.bound if bytes is None else bytes
        self._memory.evict(min(bound, self._memory.bound))
        return self._on_disk(lambda disk: tend.prune(disk, bound), Pruned(), writing=True)

    def clear(self) -> None:
        """Forget everything."""
        self._memory.clear()
        for remembered in (self._variables, self._latest, self._outputs, self._seconds):
            remembered.clear()
        self._on_disk(tend.clear, None, writing=True)

    def close(self) -> None:
        """Close the files, until something is asked for again."""
        if self._disk is not None:
            self._disk.index.close()

    def _settle(self) -> None:
        disk = self._disk
        if disk is not None and disk.written > disk.bound // 1000:
            self._on_disk(tend.settle, None, writing=True)

    # Trouble.

    def _on_disk(self, do: Callable[[Disk], T], otherwise: T, *, writing: bool = False) -> T:
        """What `do` gives; `otherwise` where there is no disk tier, or it is in trouble."""
        for _ in range(2):
            disk = self._disk
            if disk is None or (writing and not disk.writable):
                break
            try:
                return do(disk)
            except (OSError, sqlite3.Error, StoreError, UnicodeDecodeError) as trouble:
                if not self._overcome(disk, trouble, writing):
                    break
        return otherwise

    def _overcome(self, disk: Disk, trouble: Exception, writing: bool) -> bool:
        """Whether it is worth a second try."""
        if is_damage(trouble) and disk.writable:
            try:
                disk.index.renew()
            except (OSError, sqlite3.Error, StoreError, UnicodeDecodeError) as more:
                trouble = more
            else:
                return True
        if is_busy(trouble):
            self._say(f"the store {disk.folder} is busy: some results are kept in memory only")
        elif writing:
            disk.writable = False
            self._say(unwritable(disk.folder, trouble))
        else:
            self._disk = None
            self._say(f"the store {disk.folder} cannot be read ({trouble}): results are kept in memory only")
        return False

    def _say(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            self.notice(message)


# A child that is forked goes on with the stores that its parent has open, each with files and locks of its own.
_stores: weakref.WeakSet[Store] = weakref.WeakSet()
_fork = threading.Lock()
_forking: list[Index | Locks | Memory] = []


def _before_fork() -> None:
    _fork.acquire()
    for store in list(_stores):
        disk = store._disk
        parts = [store._memory, *([disk.index, disk.locks] if disk is not None else [store._locks])]
        for part in parts:
            part.before_fork()
        _forking.extend(parts)


def _after_fork(child: bool) -> None:
    for part in _forking:
        part.after_fork(child=child)
    _forking.clear()
    _fork.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=lambda: _after_fork(child=False),
        after_in_child=lambda: _after_fork(child=True),
    )
