"""What is in PNG files beside the picture, found and put there without decoding it."""

import zlib
from collections.abc import Mapping

from latentgraph.engine.ports import File

SIGNATURE = b"\x89PNG\r\n\x1a\n"
BEGINNING = 65_536


def size_of(file: File) -> tuple[int, int] | None:
    """The height and width of a PNG picture, from its header; None for others, and where EXIF data may turn it.

    Raises OSError where the file cannot be read.
    """
    if file.path is None:
        content = file.read()[:BEGINNING]
    else:
        with file.path.open("rb") as stream:
            content = stream.read(BEGINNING)
    if not content.startswith(SIGNATURE) or content[12:16] != b"IHDR" or b"eXIf" in content:
        return None
    return int.from_bytes(content[20:24]), int.from_bytes(content[16:20])


def with_texts(content: bytes, texts: Mapping[str, str]) -> bytes:
    """A PNG file with a compressed iTXt chunk for each text, by name, behind its header. Equal texts, equal bytes."""
    end = len(SIGNATURE) + 12 + int.from_bytes(content[8:12])  # of IHDR, which comes first
    return content[:end] + b"".join(map(_chunk, texts, texts.values())) + content[end:]


def _chunk(name: str, text: str) -> bytes:
    """Keyword, that it is compressed and how, no language, no translated keyword, the text."""
    content = b"iTXt" + name.encode("latin-1") + b"\0\1\0\0\0" + zlib.compress(text.encode())
    return (len(content) - 4).to_bytes(4) + content + zlib.crc32(content).to_bytes(4)
