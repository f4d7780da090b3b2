"""Content digests: SHA-256 over one canonical, type-tagged encoding of plain data and arrays.

Everything that is compared by content goes through `digest`. The encoding never depends on a file format: arrays count
by dtype, shape and raw little-endian bytes, floats by their IEEE bits (so -0.0 differs from 0.0), and every part is
tagged by type and prefixed by its length, so that no two different values share an encoding.
"""

import hashlib
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from .records import Ref

Part = bytes | memoryview


@runtime_checkable
class Digestible(Protocol):
    """A value that knows the hex digest of its own content."""

    @property
    def digest(self) -> str: ...


def digest(value: object) -> str:
    """The SHA-256 of a value's content, in hexadecimal; equal values have equal digests.

    Takes None, bool, int, float, str, bytes, lists and tuples, mappings with text keys, arrays (anything with
    `__array__`, NumPy's and PyTorch's among them), frozen dataclasses made of these, and values with a `digest` of
    their own. Raises TypeError for anything else.
    """
    hashed = hashlib.sha256()
    parts: list[Part] = []
    append(value, parts)
    for part in parts:
        hashed.update(part)
    return hashed.hexdigest()


def digest_of_file(path: Path) -> str:
    """What `digest` gives for the bytes in a file, which are never all in memory. Raises OSError."""
    with path.open("rb") as stream:
        hashed = hashlib.sha256(b"y" + _LENGTH(os.fstat(stream.fileno()).st_size))
        while part := stream.read(_CHUNK):
            hashed.update(part)
    return hashed.hexdigest()


def encoded(value: object) -> bytes:
    """The encoding itself. Raises TypeError, as `digest` does."""
    parts: list[Part] = []
    append(value, parts)
    return b"".join(parts)


def tagged(tag: bytes, content: bytes) -> bytes:
    """Content behind its tag and its length, so that it cannot run into what follows."""
    return tag + _LENGTH(len(content)) + content


_CHUNK = 2**20  # bytes
_LENGTH = struct.Struct("<Q").pack
_FLOAT = struct.Struct("<d").pack


def append(value: Any, parts: list[Part]) -> None:
    """Add a value's encoding, which may be in several parts. Raises TypeError, as `digest` does."""
    encode = _ENCODERS.get(type(value)) or _encoder(value)
    encode(value, parts)


def _encoder(value: Any) -> Callable[[Any, list[Part]], None]:
    """How a value that is none of the plain types itself is encoded."""
    for plain in (bool, int, float, str, bytes, tuple, list):
        if isinstance(value, plain):
            return _ENCODERS[plain]
    if isinstance(value, Mapping):
        return _mapping
    if isinstance(value, Digestible):
        return _digestible
    if hasattr(value, "__array__"):
        return _array
    if is_dataclass(value) and not isinstance(value, type):
        return _dataclass
    raise TypeError(f"a {type(value).__name__} has no digest")


def _text(value: str, parts: list[Part]) -> None:
    parts.append(tagged(b"s", value.encode("utf-8", "surrogatepass")))


def _list(value: Any, parts: list[Part]) -> None:
    parts.append(b"l" + _LENGTH(len(value)))
    for item in value:
        append(item, parts)


def _mapping(value: Mapping[Any, Any], parts: list[Part]) -> None:
    parts.append(b"m" + _LENGTH(len(value)))
    for key in sorted(value):
        _text(str(key), parts)
        append(value[key], parts)


def _digestible(value: Any, parts: list[Part]) -> None:
    parts.append(tagged(b"d", f"{type(value).__name__} {value.digest}".encode()))


def _dataclass(value: Any, parts: list[Part]) -> None:
    parts.append(tagged(b"c", type(value).__name__.encode()))
    for field in fields(value):
        _text(field.name, parts)
        append(getattr(value, field.name), parts)


def _array(value: Any, parts: list[Part]) -> None:
    array = value.__array__()
    little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
    parts.append(tagged(b"a", f"{little.dtype.str}{little.shape}".encode()))
    if little.size:
        parts.append(memoryview(little.reshape(-1)).cast("B"))


_ENCODERS: dict[type, Callable[[Any, list[Part]], None]] = {
    type(None): lambda value, parts: parts.append(b"n"),
    bool: lambda value, parts: parts.append(b"b1" if value else b"b0"),
    int: lambda value, parts: parts.append(tagged(b"i", b"%x" % int(value))),
    float: lambda value, parts: parts.append(b"f" + _FLOAT(value)),
    str: _text,
    bytes: lambda value, parts: parts.append(tagged(b"y", value)),
    list: _list,
    tuple: _list,
    dict: _mapping,
    Ref: lambda value, parts: parts.append(tagged(b"d", f"{value.type} {value.digest}".encode())),
}
