"""Who computes what and which runs are under way, known to all processes that share a store.

All of it is byte ranges of one file, locked with fcntl: such a lock dies with its process. Each process opens that file
once and never closes it, as closing it anywhere in a process gives up all its locks. The file's content is the start of
each run, 8 bytes each.
"""

import contextlib
import os
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# Where in the file what is locked; claims have the bytes below, by their key's first 60 bits.
_PROCESSES, _RUNS, _ALONE = 2**60, 2**61, 2**62
_START = struct.Struct("<d")


class Claim:
    """The right to compute the result of a key, until it is released or its process dies."""

    __slots__ = ("_locks", "key", "offset")

    def __init__(self, key: str, locks: "Locks") -> None:
        self.key = key
        self.offset = int(key[:15], 16)
        self._locks = locks

    def release(self) -> None:
        self._locks.release(self)


class Locks:
    """The locks of one store; without a file, or without fcntl, only among the threads of this process."""

    def __init__(self, file: Path | None) -> None:
        self._lock = threading.Lock()
        self._claims: dict[str, Claim] = {}
        self._runs: dict[int, float] = {}
        self._process = -1
        self._descriptor = -1
        self.shared = file is not None and fcntl is not None
        """Whether other processes see these locks."""
        if file is not None and fcntl is not None:
            self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def claim(self, key: str) -> Claim | None:
        """The claim to a key, a digest in hexadecimal; None where another thread or process has it."""
        claim = Claim(key, self)
        if self._claims.setdefault(key, claim) is not claim:
            return None
        if self.shared and not self._take(claim.offset):
            del self._claims[key]
            return None
        return claim

    def release(self, claim: Claim) -> None:
        """Also where it was released before, or was claimed by the process that this one was forked from."""
        if self._claims.get(claim.key) is claim:
            if self.shared:
                self._give(claim.offset)
            del self._claims[claim.key]

    @contextlib.contextmanager
    def run(self, started: float) -> Iterator[None]:
        """Shows other processes that a run has started and is not over."""
        with self._lock:
            place = 0
            while place in self._runs or (self.shared and not self._take(_RUNS + place)):
                place += 1
            self._runs[place] = started
            if self.shared:
                os.pwrite(self._descriptor, _START.pack(started), place * _START.size)
        try:
            yield
        finally:
            with self._lock:
                if self._runs.pop(place, None) is not None and self.shared:
                    self._give(_RUNS + place)

    def oldest_run(self) -> float:
        """When the oldest run began that is not over, in any process; infinity where there is none."""
        with self._lock:
            starts = [float("inf"), *self._runs.values()]
            places = os.fstat(self._descriptor).st_size // _START.size if self.shared else 0
            for place in range(places):
                if place in self._runs:
                    continue
                if self._take(_RUNS + place):
                    self._give(_RUNS + place)
                else:
                    starts.append(_START.unpack(os.pread(self._descriptor, _START.size, place * _START.size))[0])
            return min(starts)

    def process(self) -> str:
        """A name for this process that no other one has or had."""
        with self._lock:
            if self._process < 0:
                self._process = int.from_bytes(os.urandom(8), "big") >> 4
                if self.shared:
                    self._take(_PROCESSES + self._process)
            return f"{self._process:015x}"

    def is_alive(self, process: str) -> bool | None:
        """Whether the process of this name is still there; None where that cannot be told."""
        if process == self.process():
            return True
        if not self.shared:
            return None
        if self._take(_PROCESSES + int(process, 16)):
            self._give(_PROCESSES + int(process, 16))
            return False
        return True

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """No other process is in here at the same time."""
        if self.shared:
            with contextlib.suppress(OSError):
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX, 1, _ALONE)
        try:
            yield
        finally:
            if self.shared:
                self._give(_ALONE)

    def before_fork(self) -> None:
        self._lock.acquire()

    def after_fork(self, *, child: bool) -> None:
        """The child has none of its parent's locks."""
        if child:
            self._claims.clear()
            self._runs.clear()
            self._process = -1
        self._lock.release()

    def _take(self, offset: int) -> bool:
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
        except (BlockingIOError, PermissionError):
            return False
        except OSError:  # a file system without locks: two processes compute the same, which does no harm
            return True
        return True

    def _give(self, offset: int) -> None:
        with contextlib.suppress(OSError):
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, offset)
