"""What a result is, apart from the values themselves: outputs by digest, and how they came about."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Ref:
    """Stands for a value of a port type by its content."""

    type: str
    digest: str


@dataclass(frozen=True, slots=True)
class Record:
    """The result of a node under its key.

    `outputs` has plain values as they are, `Ref`s in place of values of port types, and tuples of both. `sources` are
    the digests of the model files that it was made from, `about` the ingredients of the key in a form to be shown.
    `partial` is a digest of those that are known before anything runs: all but what links bring.
    """

    key: str
    outputs: Mapping[str, Any]
    sources: Mapping[str, str] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    partial: str = ""
    made: float = 0.0
    """Seconds since 1970."""
    seconds: float = 0.0
    """How long it took to compute."""
    run: str = ""
    """The run that computed it."""

    def refs(self) -> Iterator[Ref]:
        for value in self.outputs.values():
            yield from refs_in(value)


def refs_in(value: Any) -> Iterator[Ref]:
    """The references in a value that may be a tuple of them."""
    if type(value) is Ref:
        yield value
    elif type(value) is tuple:
        for item in value:
            yield from refs_in(item)


def to_json(value: Any) -> str:
    """Plain values, references and tuples as JSON; `from_json` gives the same again."""
    return _ENCODER.encode(value)


def from_json(text: str) -> Any:
    return _tuples(_DECODER.decode(text))


def _reference(value: Any) -> Any:
    if isinstance(value, Ref):
        return {"$ref": [value.type, value.digest]}
    raise TypeError(f"a {type(value).__name__} is no plain value")


_ENCODER = json.JSONEncoder(default=_reference, separators=(",", ":"))


def _referenced(found: dict[str, Any]) -> Any:
    return Ref(*found["$ref"]) if found.keys() == {"$ref"} else found


_DECODER = json.JSONDecoder(object_hook=_referenced)


def _tuples(value: Any) -> Any:
    if type(value) is list:
        return tuple(_tuples(item) for item in value)
    if type(value) is dict:
        return {name: _tuples(item) for name, item in value.items()}
    return value
