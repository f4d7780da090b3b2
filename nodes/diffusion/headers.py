"""Safetensors files by their headers alone: what is in them, and whether they are whole. Nothing here imports torch.

The format: 8 bytes with the header's length, the header (JSON, with the place of every tensor), the tensors.
"""

import io
import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from latentgraph.engine.ports import File

BITS = {f"{kind}{bits}": bits for kind in "IUF" for bits in (8, 16, 32, 64)}
BITS |= {"BF16": 16, "F8_E4M3": 8, "F8_E5M2": 8, "C64": 64, "BOOL": 8}
"""Of one number, by the types' names in the format. There are newer ones, whose sizes are not checked."""

AGAIN = "copy or download it again"


class Header(NamedTuple):
    """The shapes of a file's tensors by name, their types, as the format calls them, and what its makers wrote."""

    shapes: Mapping[str, tuple[int, ...]]
    types: Mapping[str, str]
    about: Mapping[str, str]


def header(file: File) -> Header:
    """Raises ValueError for a file that is no safetensors file, or not whole, saying what it is instead."""
    where = file.path or file.name
    with file.path.open("rb") if file.path is not None else io.BytesIO(file.read()) as stream:
        size = stream.seek(0, io.SEEK_END)
        stream.seek(0)
        start = stream.read(64)
        length = int.from_bytes(start[:8], "little")
        stream.seek(8)
        text = stream.read(length) if length <= size else b""
    try:
        entries = json.loads(text)
        about = {name: str(value) for name, value in entries.pop("__metadata__", {}).items()}
        end = _end_of(sorted(entries.values(), key=lambda entry: entry["data_offsets"]))
        shapes = {name: tuple(entry["shape"]) for name, entry in entries.items()}
        types = {name: str(entry["dtype"]) for name, entry in entries.items()}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise ValueError(f"{where} {_instead(start, size)}") from None
    wanted = 8 + length + end
    if size != wanted:
        raise ValueError(
            f"{where} has {size:,} bytes instead of {wanted:,}, {'it is cut off' if size < wanted else 'too many'}:"
            f" {AGAIN}"
        )
    return Header(shapes, types, about)


def check_safetensors(file: File) -> None:
    """Whether a safetensors file is whole, by its header alone: ValueError where it is not."""
    header(file)


def _end_of(entries: list[Any]) -> int:
    """Where the last tensor ends. Raises ValueError where one does not follow on another, or is not as its shape."""
    place = 0
    for entry in entries:
        begin, end = entry["data_offsets"]
        sides, bits = entry["shape"], BITS.get(entry["dtype"])
        if begin != place or end < begin or any(type(number) is not int or number < 0 for number in (end, *sides)):
            raise ValueError
        if bits is not None and (end - begin) * 8 != math.prod(sides) * bits:
            raise ValueError
        place = end
    return place


def _instead(start: bytes, size: int) -> str:
    """What a file is that is no safetensors file, by its first bytes, and what to do."""
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not size:
        return f"is empty, so it is no safetensors file: {AGAIN}"
    if start.startswith(b"version https://git-lfs"):
        return "is only Git LFS's pointer to a file: fetch the file itself with `git lfs pull`, or download it"
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "is a web page under the name of a model, as sites send it that want a login: download the file itself"
    if text.startswith((b"{", b"[")):
        return "is JSON under the name of a model, as servers send it with an error: download the file itself"
    if start.startswith((b"PK\x03\x04", b"\x80\x02}", b"\x80\x02c", b"\x80\x02\x8a", b"\x80\x04\x95")):
        return (
            "is a pickled file under another name, which could run any program when it is read, so it is not read: give"
            " it its own suffix back, .ckpt, and convert it once with `latentgraph models convert FILE.ckpt`"
        )
    if start.startswith(b"GGUF"):
        return "is a GGUF file, which cannot be read: take the model as a safetensors file"
    length = int.from_bytes(start[:8], "little")
    if start[8:9] == b"{" and length > size - 8:
        return f"has {size:,} bytes, its header alone {8 + length:,}: it is cut off, {AGAIN}"
    return f"is no safetensors file, or a damaged one: {AGAIN}"
