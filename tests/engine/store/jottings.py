"""Small results for the tests of the store, and other processes that work on it."""

import hashlib
import os
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from latentgraph.engine.digest import digest
from latentgraph.engine.ports import PortType
from latentgraph.engine.records import Record, Ref
from latentgraph.engine.store import Store

LARGE = "a text too long for a row of the index " * 1000


class Plain:
    """Texts as they are; one that is called `secret` cannot be kept."""

    suffix = ".txt"

    def encode(self, value: Any) -> bytes:
        if value.text == "secret":
            raise TypeError("it is secret")
        return value.text.encode()

    def decode(self, kind: type[PortType], content: bytes) -> Any:
        return kind(content.decode())  # type: ignore[call-arg]


@dataclass(frozen=True)
class Jotting(PortType, codec=Plain()):
    """A text."""

    text: str


def key_of(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


def ref_to(value: PortType) -> Ref:
    return Ref(type(value).__name__, digest(value))


def result(name: object, *values: PortType, seconds: float = 1.0, node_type: str = "Jot", **more: Any) -> Record:
    """A result with these values and the plain output `number`."""
    outputs = {f"value_{number}": ref_to(value) for number, value in enumerate(values)}
    about = {"type": node_type, "inputs": {"name": str(name)}}
    return Record(key_of(name), {**outputs, "number": 7}, about=about, partial=node_type, seconds=seconds, **more)


def keep(store: Store, name: object, *values: PortType, **more: Any) -> Record:
    record = result(name, *values, **more)
    store.keep(record, {digest(value): value for value in values})
    return record


@dataclass
class Opener:
    """Opens the store in one folder, each time as a new process would find it."""

    folder: Path
    said: list[str] = field(default_factory=list)
    opened: list[Store] = field(default_factory=list)

    def __call__(self, *, memory: int = 2**24, disk: int = 2**30, power: bool = False) -> Store:
        self.close()
        self.opened.append(Store(self.folder, memory, disk, power, self.said.append))
        return self.opened[-1]

    def close(self) -> None:
        while self.opened:
            self.opened.pop().close()


class Child:
    """A forked process that does something. `do` is given a function that tells the parent a line."""

    def __init__(self, do: Callable[[Callable[[object], None]], None]) -> None:
        ours, theirs = os.pipe()
        self.process = os.fork()
        if self.process == 0:
            code = 1
            try:
                do(lambda line: os.write(theirs, f"{line}\n".encode()) and None)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        os.close(theirs)
        self.told = os.fdopen(ours)

    def line(self) -> str:
        """The next line that it tells."""
        return self.told.readline().strip()

    def lines(self) -> list[str]:
        """All that it tells until it ends."""
        return self.told.read().splitlines()

    def kill(self) -> None:
        os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)

    def succeeds(self) -> bool:
        return os.waitpid(self.process, 0)[1] == 0
