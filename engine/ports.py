"""Port types: what may flow over a link.

The plain ones are Python's own: int, float, str, bool, a `Literal` of choices, lists and optionals of any of them.
Every other port type is a class derived from `PortType`: a frozen dataclass, declared without importing anything
heavy, whose fields decide its digest. Two come with the engine, `File` and `Folder`.
"""

import mimetypes
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from .digest import digest, digest_of_file
from .remembered import remembered
from .roots import readable

_registered: dict[str, type["PortType"]] = {}


@dataclass(frozen=True)
class Written:
    """One file of an output: what follows the output's own name (`.png`, `-1.png`, `/unet/config.json`), and bytes."""

    suffix: str
    content: bytes


class Codec(Protocol):
    """How values of a port type are kept on disk: as bytes, in a format that runs no code when it is read."""

    suffix: str
    """Of files in this format, such as `.safetensors`."""

    def encode(self, value: "PortType") -> bytes:
        """Raises TypeError where the value has parts that the format cannot hold."""

    def decode(self, kind: type["PortType"], content: bytes) -> "PortType":
        """The value that `encode` was given. Raises ValueError where the content is none of `kind`."""


class _Plain:
    """Gives the codec of port types that name none: `engine.codec` needs this module, so it is imported when asked."""

    def __get__(self, value: "PortType | None", kind: type["PortType"]) -> Codec:
        from .codec import PLAIN

        return PLAIN


class PortType:
    """A class whose values flow over links. Derive a frozen dataclass from it; its name is the port type's name.

    Values are plain data and are never changed once made. A type whose values can be outputs of a graph overrides
    `written`. Class keywords: `codec` says how values are kept on disk (as JSON of the fields where nothing is said);
    `reader` names the node type that makes a value from a file, its only required input, so that a param of this type
    can be given as a path.
    """

    codec: ClassVar[Codec] = _Plain()  # type: ignore[assignment]
    reader: ClassVar[str | None] = None

    def __init_subclass__(cls, *, codec: Codec | None = None, reader: str | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        if codec is not None:
            cls.codec = codec
        if reader is not None:
            cls.reader = reader
        known = _registered.get(cls.__name__)
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(f"two port types are called {cls.__name__}: in {known.__module__} and {cls.__module__}")
        _registered[cls.__name__] = cls

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        # Values of port types come over links, whole: pydantic has to look at their class only, never at their fields,
        # whose annotations may name classes that are not imported.
        return core_schema.is_instance_schema(cls)

    def written(self) -> Iterable[Written]:
        """The files that an output with this value is written as, kept in the store like any result.

        Port types that do not override this cannot be outputs of a graph.
        """
        raise NotImplementedError

    @classmethod
    def described(cls, file: Written, about: Mapping[str, Any]) -> Written:
        """A file of `written` that says how it was made; without it where its format has no place for that.

        `about` has the keys `graph` (the graph file's text), `name`, `params` and `models` (digests by name). Done each
        time a file is written, so it should import nothing heavy.
        """
        return file

    def sources(self) -> Mapping[str, str]:
        """Digests, by name, of the model files that this value stands for; recorded with what is made from it."""
        return {}

    @classmethod
    def can_be_written(cls) -> bool:
        return cls.written is not PortType.written


def port_types() -> Mapping[str, type[PortType]]:
    """All port types that are classes, by name."""
    return _registered


@dataclass(frozen=True)
class File(PortType):
    """A file by its content: one on disk, or bytes that a node made. Its digest is its content's."""

    name: str
    path: Path | None = field(default=None, compare=False)
    content: bytes | None = field(default=None, compare=False, repr=False)

    @classmethod
    def at(cls, path: Path) -> "File":
        return cls(path.name, path=path)

    def read(self) -> bytes:
        """The bytes. Raises OSError where the file cannot be read."""
        if self.content is not None:
            return self.content
        assert self.path is not None
        return self.path.read_bytes()

    @property
    def media_type(self) -> str:
        return mimetypes.guess_type(self.name)[0] or "application/octet-stream"

    @cached_property
    def digest(self) -> str:
        if self.path is None:
            return digest(self.content or b"")
        return str(remembered("digest 1", self.path, digest_of_file))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, File) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def written(self) -> Iterable[Written]:
        yield Written("".join(Path(self.name).suffixes[-1:]), self.read())


@dataclass(frozen=True)
class Folder(PortType):
    """Files below one folder, each named by its path inside it, with `/`. Its digest is that of names and contents."""

    files: tuple[File, ...]
    path: Path | None = field(default=None, compare=False)

    marks: ClassVar[frozenset[str]] = frozenset({".git", "__pycache__", "node_modules"})

    @classmethod
    def at(cls, path: Path) -> "Folder":
        """The folder on disk, all files below it; hidden files and `__pycache__` do not count."""
        files = []
        for file in sorted(path.rglob("*")):
            inside = file.relative_to(path)
            hidden = any(part.startswith(".") or part in cls.marks for part in inside.parts)
            if file.is_file() and not hidden and readable(file, path):
                files.append(File(inside.as_posix(), path=file))
        return cls(tuple(files), path)

    @classmethod
    def of(cls, contents: Mapping[str, bytes]) -> "Folder":
        return cls(tuple(File(name, content=contents[name]) for name in sorted(contents)))

    def __contains__(self, name: str) -> bool:
        return any(file.name == name for file in self.files)

    def __getitem__(self, name: str) -> File:
        """The file called `name`. Raises FileNotFoundError."""
        for file in self.files:
            if file.name == name:
                return file
        raise FileNotFoundError(f"{self.path or 'the folder'} has no file {name}")

    def below(self, name: str) -> "Folder":
        """The folder `name` inside this one; without files where there is none."""
        inside = tuple(
            File(file.name[len(name) + 1 :], path=file.path, content=file.content)
            for file in self.files
            if file.name.startswith(f"{name}/")
        )
        return Folder(inside, self.path / name if self.path else None)

    @cached_property
    def digest(self) -> str:
        return digest([[file.name, file.digest] for file in self.files])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Folder) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def written(self) -> Iterable[Written]:
        for file in self.files:
            yield Written(f"/{file.name}", file.read())
