"""How a picture was made, read from its file: a PNG's text chunks, the comment in the EXIF data of a JPEG or a WebP.

A picture may come from anywhere, so nothing here believes what a PNG claims: every length is checked against the file
and a limit, every chunk against its checksum, and nothing is unpacked beyond the limit. EXIF data is read by Pillow.
Pixels are never decoded.
"""

import json
import re
import warnings
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from .problems import UserError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
PREFIX = "latentgraph."
TEXT_BYTES = 8 * 1024 * 1024  # twice what a graph file may have
CHUNKS = 100_000
NAME = re.compile(r"[^./\\:][^/\\:]*")

EXIF, USER_COMMENT = 0x8769, 0x9286
"""Tags: where the directory of EXIF data is, and in it what somebody has to say about the picture (Exif 2.32, 4.6)."""

ASCII = b"ASCII\0\0\0"
"""How a comment begins whose text is ASCII."""


class NoMaking(UserError):
    """A file is no PNG, JPEG or WebP picture, is damaged, or does not say how it was made."""


@dataclass(frozen=True)
class Making:
    """How a picture was made: the graph's text and name, the values of its params, and the digests of model files.

    A param that is a file or a folder is there as its name and digest, `{"name": …, "sha256": …}`.
    """

    graph: str
    name: str
    params: Mapping[str, Any]
    models: Mapping[str, str]


def is_picture(path: Path) -> bool:
    """Whether a file is a PNG, JPEG or WebP picture, or is called like one."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return _format(file) is not None or path.suffix.lower() in SUFFIXES


def read_making(path: Path) -> Making:
    """How the picture in a PNG, JPEG or WebP file was made. Raises NoMaking and OSError."""
    with path.open("rb") as file:
        try:
            texts = dict(_texts(file, path.stat().st_size))
        except _Damaged as damaged:
            raise NoMaking(f"{path} cannot be read as a PNG, JPEG or WebP picture: {damaged}") from None
    if "graph" not in texts:
        raise NoMaking(
            f"{path} does not say how it was made: latentgraph did not draw it, it was drawn with --no-metadata,"
            " or it was changed since"
        )
    params, models = (_mapping(path, name, texts.get(name, "{}")) for name in ("params", "models"))
    name = texts.get("name", path.stem)
    if not (NAME.fullmatch(name) and name.isprintable()):
        # It becomes part of the names of files.
        raise NoMaking(f"{path} says that its graph is called {name!r}, which is no name of a graph")
    return Making(texts["graph"], name, params, {name: str(digest) for name, digest in models.items()})


def _mapping(path: Path, name: str, text: str) -> dict[str, Any]:
    found = _object(text)
    if found is None:
        raise NoMaking(f"{path} does not say how it was made: its text {PREFIX}{name} is not a JSON object")
    return found


def _object(text: str) -> dict[str, Any] | None:
    """The object in a JSON text, if it is one."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


class _Damaged(Exception):
    """Why a file is no whole picture."""


def _format(file: BinaryIO) -> Literal["png", "jpeg", "webp"] | None:
    """By a file's first bytes; it is then read from its beginning again."""
    start = file.read(12)
    file.seek(0)
    if start.startswith(SIGNATURE):
        return "png"
    if start.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    return "webp" if start[:4] == b"RIFF" and start[8:] == b"WEBP" else None


def _texts(file: BinaryIO, size: int) -> Iterator[tuple[str, str]]:
    """The texts in a picture's file whose names begin with PREFIX, without it. Raises _Damaged."""
    kind = _format(file)
    if kind is None:
        raise _Damaged("it does not begin like one")
    if kind == "png":
        yield from _png_texts(file, size)
        return
    # Other programs comment pictures, too, and not in JSON.
    for name, text in (_object(_comment(file)) or {}).items():
        if name.startswith(PREFIX) and isinstance(text, str):
            yield name.removeprefix(PREFIX), text


def _comment(file: BinaryIO) -> str:
    """The comment in the EXIF data of a JPEG or WebP file, '' where there is none, by Pillow; no pixel is decoded."""
    from PIL import Image

    try:
        with warnings.catch_warnings(action="ignore"), Image.open(file, formats=("JPEG", "WEBP")) as picture:
            comment = picture.getexif().get_ifd(EXIF).get(USER_COMMENT)
    except Exception:  # Pillow's readers raise whatever comes to them on bytes they do not expect
        raise _Damaged("its parts do not fit together") from None
    if not isinstance(comment, bytes) or not comment.startswith(ASCII):
        return ""
    if len(comment) > TEXT_BYTES:
        raise _Damaged(f"a text in it has {len(comment):,} bytes, at most {TEXT_BYTES:,} are read")
    return comment.removeprefix(ASCII).decode("ascii", "replace")


# PNG (ISO/IEC 15948)


def _png_texts(file: BinaryIO, size: int) -> Iterator[tuple[str, str]]:
    file.seek(len(SIGNATURE))
    budget = TEXT_BYTES
    for _ in range(CHUNKS):
        header = file.read(8)
        if len(header) < 8:
            raise _Damaged("it ends too early")
        length, kind = int.from_bytes(header[:4]), header[4:]
        if length > size - file.tell() - 4:
            raise _Damaged(f"a part of it claims {length:,} bytes, more than there are")
        if kind == b"IEND":
            return
        if kind not in (b"tEXt", b"zTXt", b"iTXt"):
            file.seek(length + 4, 1)
            continue
        if length > TEXT_BYTES:
            raise _Damaged(f"a text in it has {length:,} bytes, at most {TEXT_BYTES:,} are read")
        content = file.read(length)
        if zlib.crc32(kind + content) != int.from_bytes(file.read(4)):
            raise _Damaged("a text in it does not match its checksum")
        name, _, rest = content.partition(b"\0")
        if name.startswith(PREFIX.encode()):
            text = _text(kind, rest, budget)
            budget -= len(text)
            yield name.decode("latin-1").removeprefix(PREFIX), text
    raise _Damaged(f"it has more than {CHUNKS:,} parts")


def _text(kind: bytes, rest: bytes, limit: int) -> str:
    """The text of a chunk, without its name: what a tEXt, zTXt or iTXt chunk holds after the first zero byte."""
    packed, encoding = kind == b"zTXt", "latin-1"
    if kind == b"zTXt":
        rest = rest[1:]
    elif kind == b"iTXt":
        packed, encoding = rest[:1] == b"\x01", "utf-8"
        parts = rest[2:].split(b"\0", 2)  # the language, the name in that language, the text
        if len(parts) != 3:
            raise _Damaged("a text in it is cut off")
        rest = parts[2]
    if packed:
        unpacking = zlib.decompressobj()
        try:
            rest = unpacking.decompress(rest, limit + 1)  # never 0, which would be no limit
        except zlib.error as error:
            raise _Damaged(f"a text in it cannot be unpacked: {error}") from None
    if len(rest) > limit:
        raise _Damaged(f"the texts in it have more than {TEXT_BYTES:,} bytes")
    try:
        return rest.decode(encoding)
    except UnicodeDecodeError:
        raise _Damaged("a text in it is not UTF-8") from None
