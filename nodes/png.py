"""Texts in PNG files, put there without decoding the picture."""

import zlib
from collections.abc import Mapping

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def with_texts(content: bytes, texts: Mapping[str, str]) -> bytes:
    """A PNG file with a compressed iTXt chunk for each text, by name, behind its header. Equal texts, equal bytes."""
    end = len(SIGNATURE) + 12 + int.from_bytes(content[8:12])  # of IHDR, which comes first
    return content[:end] + b"".join(map(_chunk, texts, texts.values())) + content[end:]


def _chunk(name: str, text: str) -> bytes:
    """Keyword, that it is compressed and how, no language, no translated keyword, the text."""
    content = b"iTXt" + name.encode("latin-1") + b"\0\1\0\0\0" + zlib.compress(text.encode())
    return (len(content) - 4).to_bytes(4) + content + zlib.crc32(content).to_bytes(4)
