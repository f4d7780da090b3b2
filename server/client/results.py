"""What came of a job: plain values, and files that are fetched when they are asked for."""

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from .transport import Transport

Document = dict[str, Any]
"""A job, a graph or a node type as the server describes it."""

F = TypeVar("F")


@dataclass(frozen=True)
class FileAt:
    """An output that is a file at the server."""

    name: str
    url: str
    digest: str
    """SHA-256 of the bytes, in hex."""
    media: str
    size: int


def with_files(value: Any, file: Callable[[FileAt], F]) -> Any:
    """An output's value as the server tells it, with `file` for each file in it."""
    if isinstance(value, list):
        return [with_files(item, file) for item in value]
    if isinstance(value, Mapping) and "file" in value and "url" in value:
        return file(FileAt(value["file"], value["url"], value["digest"], value["media"], value["size"]))
    return value


@dataclass(frozen=True)
class AsyncOutputFile(FileAt):
    """A file that a job has made."""

    transport: Transport = field(repr=False, compare=False)

    async def read(self) -> bytes:
        """The bytes. Raises ServerError and Unreachable."""
        return b"".join([piece async for piece in self.transport.download(self.url, self.digest)])

    async def save(self, path: str | Path) -> Path:
        """Write the file to a path, or under its own name into a folder; where it was written. Raises OSError, too.

        It is written to one side and renamed into place: nobody ever sees half of it.
        """
        path = Path(path)
        if path.is_dir():
            path = path / Path(self.name).name
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
        try:
            with beside.open("wb") as file:
                async for piece in self.transport.download(self.url, self.digest):
                    file.write(piece)
            os.replace(beside, path)
        finally:
            with contextlib.suppress(OSError):
                beside.unlink()
        return path


@dataclass(frozen=True)
class Result:
    """What came of a job: its outputs by name, plain values or files, and everything else the server knows of it."""

    job: str
    outputs: Mapping[str, Any]
    document: Document = field(repr=False)
