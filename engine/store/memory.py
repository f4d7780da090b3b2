"""The memory tier: results and values at hand, bounded in bytes."""

import threading
import time
from collections.abc import Mapping
from typing import Any

from ..records import Record, Ref
from .worth import share_of_results, worth

Name = str | tuple[str, str]
"""A key, or a port type's name and a digest."""

GRAIN = 60.0
"""Seconds by which the time of the last use may be behind, so that quick runs one after the other need not note it."""


RECORD_BYTES = 2048
"""About what a record takes besides its outputs."""


class Held:
    """Something in memory, and what it is judged by."""

    __slots__ = ("bytes", "item", "seconds", "used")

    def __init__(self, item: Any, bytes: int, seconds: float, used: float) -> None:
        self.item, self.bytes, self.seconds, self.used = item, bytes, seconds, used


class Memory:
    """What is in memory, by name. `held` may be read without asking; all changes go through the methods."""

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self.bytes = 0
        self.held: dict[Name, Held] = {}
        self.partials: set[str] = set()
        """Of all results that are or were here."""
        self._lock = threading.Lock()

    def put(self, name: Name, item: Any, seconds: float, used: float) -> None:
        """Hold an item, in place of what had its name; others go where there would be too much."""
        size = RECORD_BYTES + bytes_of(tuple(item.outputs.values())) if type(item) is Record else bytes_of(item)
        held = Held(item, size, seconds, used)
        with self._lock:
            self._drop(name)
            if held.bytes > self.bound:
                return
            self.held[name] = held
            self.bytes += held.bytes
            if type(item) is Record:
                self.partials.add(item.partial)
            if self.bytes > self.bound:
                self._evict(self.bound * 9 // 10)

    def used(self, name: Name, now: float) -> bool:
        """Note that something is used; tells whether that was not known yet, within GRAIN."""
        held = self.held.get(name)
        if held is None:
            return True
        if now - held.used < GRAIN:
            return False
        held.used = now
        return True

    def drop(self, name: Name) -> None:
        with self._lock:
            self._drop(name)

    def clear(self) -> None:
        with self._lock:
            self.held.clear()
            self.partials.clear()
            self.bytes = 0

    def evict(self, bytes: int) -> None:
        """Let go of what is worth least, until no more than `bytes` are left."""
        with self._lock:
            self._evict(bytes)

    def before_fork(self) -> None:
        """So that the child does not find it half changed."""
        self._lock.acquire()

    def after_fork(self, *, child: bool) -> None:
        self._lock.release()

    def _drop(self, name: Name) -> None:
        held = self.held.pop(name, None)
        if held is not None:
            self.bytes -= held.bytes

    def _evict(self, bytes: int) -> None:
        results = {name: held for name, held in self.held.items() if type(held.item) is Record}
        values = {name: held for name, held in self.held.items() if name not in results}
        taken = sum(held.bytes for held in results.values())
        self._drop_least(results, taken - share_of_results(bytes, self.bytes - taken))
        self._drop_least(values, self.bytes - bytes)

    def _drop_least(self, candidates: dict[Name, Held], excess: int) -> None:
        now = time.time()

        def worth_of(name: Name) -> float:
            held = candidates[name]
            return worth(held.seconds, held.bytes, now - held.used)

        for name in sorted(candidates, key=worth_of) if excess > 0 else ():
            if excess <= 0:
                break
            excess -= candidates[name].bytes
            self._drop(name)


_SMALL = {type(None), bool, int, float}


def bytes_of(value: Any) -> int:
    """About how much memory a value takes: its arrays and texts, and a little for each object."""
    total, seen, open_values = 0, set(), [value]
    while open_values:
        value = open_values.pop()
        if type(value) in _SMALL:
            total += 32
            continue
        if type(value) is Ref:
            total += 256
            continue
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, (str, bytes)):
            total += 64 + len(value)
        elif isinstance(value, (tuple, list)):
            total += 64 + 8 * len(value)
            open_values.extend(value)
        elif isinstance(value, Mapping):
            total += 256
            open_values.extend(value.keys())
            open_values.extend(value.values())
        elif hasattr(value, "__dataclass_fields__"):
            total += 256
            open_values.extend(getattr(value, name) for name in value.__dataclass_fields__)
        else:
            total += 256 + int(getattr(value, "nbytes", 0))
    return total
