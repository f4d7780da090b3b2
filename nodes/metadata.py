"""How a picture was made, put into its file: PNG, JPEG or WebP, found by its first bytes, without decoding it.

Everything here is plain bytes, because it is done each time an output is written, and should import nothing heavy.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from .png import SIGNATURE, with_texts

USER_COMMENT = 0x9286
"""The tag of EXIF data for what somebody has to say about a picture."""

SEGMENT = 65_533
"""Bytes of a JPEG segment at most, without its marker and its length."""


def described(content: bytes, about: Mapping[str, Any]) -> bytes:
    """The file with `about` in it; what is no PNG, JPEG or WebP file, or has no place for it, as it is.

    PNG has a text chunk for each part, under `latentgraph.` and its name. JPEG and WebP have EXIF data, whose comment
    is one JSON object of these names: in a JPEG at most 64 KiB. Equal parts give equal bytes.
    """
    texts = {f"latentgraph.{name}": _text(value) for name, value in about.items()}
    if content.startswith(SIGNATURE):
        return with_texts(content, texts)
    exif = _exif(json.dumps(texts, sort_keys=True))
    if content.startswith(b"\xff\xd8\xff"):
        return _jpeg(content, exif)
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return _webp(content, exif)
    return content


def _exif(comment: str) -> bytes:
    """EXIF data of one comment in ASCII: a TIFF file with a directory that points to another one, which has it.

    The comment is at the end, behind 8 bytes that say how it is encoded (Exif 2.32, 4.6.5).
    """
    encoded = b"ASCII\0\0\0" + comment.encode("ascii")
    header = b"MM\0\x2a" + (8).to_bytes(4)
    directories = _directory(0x8769, 4, 1, 26) + _directory(USER_COMMENT, 7, len(encoded), 44)
    return header + directories + encoded


def _directory(tag: int, kind: int, count: int, value: int) -> bytes:
    """An image file directory of 18 bytes with one entry."""
    entry = tag.to_bytes(2) + kind.to_bytes(2) + count.to_bytes(4) + value.to_bytes(4)
    return (1).to_bytes(2) + entry + bytes(4)


def _jpeg(content: bytes, exif: bytes) -> bytes:
    """With the EXIF data behind the JFIF header, where there is one, and before everything else."""
    segment = b"Exif\0\0" + exif
    if len(segment) > SEGMENT:
        return content
    end = 4 + int.from_bytes(content[4:6]) if content[2:4] == b"\xff\xe0" else 2
    return content[:end] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2) + segment + content[end:]


def _webp(content: bytes, exif: bytes) -> bytes:
    """In the extended format, which has flags and the size in front and the EXIF data behind the picture."""
    chunks = list(_chunks(content))
    (kind, first), flags = chunks[0], 0
    if kind == b"VP8X":
        flags, size = first[0], first[4:10]
        chunks = chunks[1:]
    elif kind == b"VP8L":  # 14 bits of width less 1, 14 of height less 1, one that says whether there is opacity
        bits = int.from_bytes(first[1:5], "little")
        flags, size = (bits >> 28 & 1) << 4, _size((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    else:  # VP8: 14 bits of width and height behind the frame's tag and a start code
        wide, high = (int.from_bytes(first[start : start + 2], "little") & 0x3FFF for start in (6, 8))
        size = _size(wide, high)
    chunks = [(b"VP8X", bytes([flags | 8, 0, 0, 0]) + size), *chunks, (b"EXIF", exif)]
    body = b"".join(kind + len(part).to_bytes(4, "little") + part + bytes(len(part) % 2) for kind, part in chunks)
    return b"RIFF" + (len(body) + 4).to_bytes(4, "little") + b"WEBP" + body


def _size(width: int, height: int) -> bytes:
    return (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 12
    while place + 8 <= len(content):
        length = int.from_bytes(content[place + 4 : place + 8], "little")
        yield content[place : place + 4], content[place + 8 : place + 8 + length]
        place += 8 + length + length % 2


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
