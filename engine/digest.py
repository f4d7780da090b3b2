"""Content digests: SHA-256 over one canonical, type-tagged encoding of plain data and arrays.

Everything that is compared by content goes through `digest`. The encoding never depends on a file format: arrays count
by dtype, shape and raw little-endian bytes, floats by their IEEE bits (so -0.0 differs from 0.0), and every part is
tagged by type and prefixed by its length, so that no two different values share an encoding.
"""

import hashlib
import struct
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Protocol, runtime_checkable


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
    for part in _encoded(value):
        hashed.update(part)
    return hashed.hexdigest()


def _encoded(value: Any) -> Iterator[bytes | memoryview]:
    if value is None:
        yield b"n"
    elif isinstance(value, bool):
        yield b"b1" if value else b"b0"
    elif isinstance(value, int):
        yield from _tagged(b"i", str(int(value)).encode())
    elif isinstance(value, float):
        yield b"f" + struct.pack("<d", value)
    elif isinstance(value, str):
        yield from _tagged(b"s", value.encode("utf-8", "surrogatepass"))
    elif isinstance(value, bytes):
        yield from _tagged(b"y", value)
    elif isinstance(value, (list, tuple)):
        yield b"l" + struct.pack("<Q", len(value))
        for item in value:
            yield from _encoded(item)
    elif isinstance(value, Mapping):
        yield b"m" + struct.pack("<Q", len(value))
        for key in sorted(value):
            yield from _tagged(b"s", str(key).encode())
            yield from _encoded(value[key])
    elif isinstance(value, Digestible):
        yield from _tagged(b"d", f"{type(value).__name__} {value.digest}".encode())
    elif hasattr(value, "__array__"):
        yield from _array(value)
    elif is_dataclass(value) and not isinstance(value, type):
        yield from _tagged(b"c", type(value).__name__.encode())
        for field in fields(value):
            yield from _tagged(b"s", field.name.encode())
            yield from _encoded(getattr(value, field.name))
    else:
        raise TypeError(f"a {type(value).__name__} has no digest")


def _tagged(tag: bytes, content: bytes) -> Iterator[bytes]:
    yield tag + struct.pack("<Q", len(content))
    yield content


def _array(value: Any) -> Iterator[bytes | memoryview]:
    array = value.__array__()
    little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
    yield from _tagged(b"a", f"{little.dtype.str}{little.shape}".encode())
    yield memoryview(little.reshape(-1)).cast("B") if little.size else b""
