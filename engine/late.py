"""What a node type imports only when it runs, imported by one thread at a time.

Libraries that load their own parts lazily, as diffusers and transformers do, can break where two threads enter them at
once, and nodes run in several.
"""

from __future__ import annotations

import dis
from contextlib import suppress
from threading import Lock
from types import FunctionType

from .node import Node

_importing = Lock()
_ready: set[type[Node]] = set()


def import_late(node_type: type[Node]) -> None:
    """Import what `run` imports, and the functions of its module that it calls. What cannot be is left to them."""
    if node_type in _ready:
        return
    with _importing:
        run = node_type.run
        if isinstance(run, FunctionType):
            _import_all(run, set())
        _ready.add(node_type)


def _import_all(function: FunctionType, seen: set[FunctionType]) -> None:
    """Carry out the import statements of a function, as it would: they load a level and names, and then import."""
    seen.add(function)
    loaded: list[object] = []
    for instruction in dis.get_instructions(function):
        if instruction.opname == "IMPORT_NAME":
            level, names = loaded[-2:]
            assert isinstance(level, int)
            with suppress(Exception):
                __import__(instruction.argval, function.__globals__, None, names or (), level)  # type: ignore[arg-type]
        elif instruction.opname.startswith("LOAD_"):
            loaded.append(instruction.argval)
    for name in function.__code__.co_names:
        called = function.__globals__.get(name)
        if isinstance(called, FunctionType) and called.__module__ == function.__module__ and called not in seen:
            _import_all(called, seen)
