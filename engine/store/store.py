"""The store: keeps results, key → digests and digest → value, in memory and on disk."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ..ports import PortType
from ..problems import UserError
from ..records import Record, Ref
from .claims import Claim
from .memory import Memory


class StoreError(UserError):
    """A store that this release cannot use."""


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


@dataclass(frozen=True)
class Listed:
    """A result as `store list` shows it."""

    record: Record
    bytes: int
    """What it takes with those of its values that are there."""
    used: float
    """When it was last used, in seconds since 1970."""


@dataclass(frozen=True)
class Pruned:
    """What was let go."""

    results: int = 0
    values: int = 0
    states: int = 0
    leftovers: int = 0
    """Files that belonged to nothing."""
    bytes: int = 0


class Store:
    """Made by `open_store`. All methods may be called from several threads."""

    def __init__(self, folder: Path | None, memory_bytes: int, notice: Callable[[str], None]) -> None:
        self.folder = folder
        self.notice = notice
        self._memory = Memory(memory_bytes)
        self._claimed: dict[str, object] = {}
        self._latest: dict[str, dict[str, str]] = {}
        self._variables: dict[str, tuple[str, ...]] = {}
        self._outputs: dict[str, tuple[str, str, str]] = {}
        self._seconds: dict[str, float] = {}

    def lookup(self, key: str) -> Record | None:
        held = self._memory.held.get(key)
        return held.item if held is not None else None

    def has(self, ref: Ref) -> bool:
        return (ref.type, ref.digest) in self._memory.held

    def value(self, ref: Ref) -> PortType | None:
        held = self._memory.held.get((ref.type, ref.digest))
        return held.item if held is not None else None

    def keep(self, record: Record, values: Mapping[str, PortType]) -> int:
        now = time.time()
        for ref in record.refs():
            if ref.digest in values:
                self._memory.put((ref.type, ref.digest), values[ref.digest], record.seconds, now)
        self._memory.put(record.key, record, record.seconds, now)
        if "type" in record.about:
            self._seconds[record.about["type"]] = record.seconds
        return 0

    def claim(self, key: str) -> Claim | None:
        claim = Claim(key, self._release)
        return claim if self._claimed.setdefault(key, claim) is claim else None

    def _release(self, key: str) -> None:
        self._claimed.pop(key, None)

    def touch(self, keys: Iterable[str], refs: Iterable[Ref]) -> None:
        now = time.time()
        for key in keys:
            self._memory.used(key, now)
        for ref in refs:
            self._memory.used((ref.type, ref.digest), now)

    def known_partial(self, partial: str) -> bool:
        return partial in self._memory.partials

    def latest(self, graph: str) -> dict[str, str]:
        return dict(self._latest.get(graph, {}))

    def remember_latest(self, graph: str, keys: Mapping[str, str]) -> None:
        self._latest.setdefault(graph, {}).update(keys)

    def variables(self, code: str) -> tuple[str, ...]:
        return self._variables.get(code, ())

    def add_variables(self, code: str, names: Iterable[str]) -> None:
        self._variables[code] = tuple(sorted({*self.variables(code), *names}))

    def save_state(self, key: str, state: PortType) -> None:
        self._memory.put(("", key), state, 600.0, time.time())

    def state(self, key: str) -> PortType | None:
        held = self._memory.held.get(("", key))
        return held.item if held is not None else None

    def drop_state(self, key: str) -> None:
        self._memory.drop(("", key))

    def note_output(self, content_sha256: str, key: str, output: str, run: str) -> None:
        self._outputs[content_sha256] = (key, output, run)

    def origin(self, content_sha256: str) -> tuple[str, str, str] | None:
        return self._outputs.get(content_sha256)

    def seconds_of(self, node_type: str) -> float | None:
        return self._seconds.get(node_type)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        yield

    def info(self) -> StoreInfo:
        return StoreInfo(self.folder, 1, self._memory.bytes, self._memory.bound)

    def records(self) -> Iterator[Listed]:
        for held in list(self._memory.held.values()):
            if type(held.item) is Record:
                yield Listed(held.item, held.bytes, held.used)

    def verify(self) -> list[str]:
        return []

    def prune(self, bytes: int | None = None) -> Pruned:
        self._memory.evict(self._memory.bound if bytes is None else bytes)
        return Pruned()

    def clear(self) -> None:
        self._memory.clear()

    def remove(self, key: str) -> None:
        """Forget the result of a key; its values stay, others may have them too."""
        self._memory.drop(key)
