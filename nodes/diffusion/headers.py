"""Safetensors files by their headers alone: what is in them, and whether they are whole. Nothing here imports torch.

The format: 8 bytes with the header's length, the header (JSON, with the place of every tensor), the tensors.
"""

import io
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from latentgraph.engine.ports import File


class Header(NamedTuple):
    """The shapes of a file's tensors by name, their types, as the format calls them, and what its makers wrote."""

    shapes: Mapping[str, tuple[int, ...]]
    types: Mapping[str, str]
    about: Mapping[str, str]


def header(file: File) -> Header:
    """Raises ValueError for a file that is no safetensors file, or cut off."""
    with file.path.open("rb") if file.path is not None else io.BytesIO(file.read()) as stream:
        size = stream.seek(0, io.SEEK_END)
        stream.seek(0)
        length = int.from_bytes(stream.read(8), "little")
        text = stream.read(length) if length <= size else b""
    where = file.path or file.name
    try:
        entries: dict[str, Any] = json.loads(text)
        about = dict(entries.pop("__metadata__", {}))
        shapes = {name: tuple(entry["shape"]) for name, entry in entries.items()}
        types = {name: str(entry["dtype"]) for name, entry in entries.items()}
        wanted = 8 + length + max((entry["data_offsets"][1] for entry in entries.values()), default=0)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise ValueError(f"{where} is no safetensors file, or a damaged one: copy or download it again") from None
    if size != wanted:
        raise ValueError(f"{where} has {size:,} bytes instead of {wanted:,}, it is cut off: copy or download it again")
    return Header(shapes, types, about)


def check_safetensors(file: File) -> None:
    """Whether a safetensors file is whole, by its header alone: ValueError where it is not."""
    header(file)
