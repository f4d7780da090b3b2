"""The arrays inside values, without knowing any array library: whether a node changed one, or handed one on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any


def arrays_in(value: Any) -> Iterator[Any]:
    """All arrays (anything with `__array__`) in the fields, tuples and mappings of a value."""
    if hasattr(value, "__array__"):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from arrays_in(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from arrays_in(item)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from arrays_in(getattr(value, field.name))


def versions(values: Mapping[str, Any]) -> dict[str, list[Any]]:
    """A counter for each array that its library counts up at each change in place (PyTorch does), by input."""
    return {name: [getattr(array, "_version", None) for array in arrays_in(value)] for name, value in values.items()}


def memory_of(values: Mapping[str, Any]) -> set[int]:
    """Where the memory of arrays begins: two that begin at the same place share it."""
    return {place for value in values.values() for array in arrays_in(value) if (place := _place(array))}


def apart(value: Any, taken: set[int]) -> Any:
    """The value, with a copy of every array whose memory is among those taken."""
    if not any(_place(array) in taken for array in arrays_in(value)):
        return value
    return _replaced(value, lambda array: _copy(array) if _place(array) in taken else array)


def _place(array: Any) -> int:
    """The address of an array's memory; 0 where it has none, or none that can be told."""
    if hasattr(array, "untyped_storage"):
        return int(array.untyped_storage().data_ptr())
    base = array
    while getattr(base, "base", None) is not None and hasattr(base.base, "__array_interface__"):
        base = base.base
    interface = getattr(base, "__array_interface__", None)
    return int(interface["data"][0]) if interface else 0


def _copy(array: Any) -> Any:
    return array.clone() if hasattr(array, "clone") else array.copy()


def _replaced(value: Any, change: Callable[[Any], Any]) -> Any:
    if hasattr(value, "__array__"):
        return change(value)
    if isinstance(value, (tuple, list)):
        items = [_replaced(item, change) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, Mapping):
        return {name: _replaced(item, change) for name, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type) and any(True for _ in arrays_in(value)):
        return replace(value, **{f.name: _replaced(getattr(value, f.name), change) for f in fields(value) if f.init})
    return value
