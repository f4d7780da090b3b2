"""How the server and its workers talk: frames over a socket pair, each a length, a kind and a body."""

from __future__ import annotations

import json
import struct
from typing import Any

HEADER = struct.Struct(">IB")
JSON, PREVIEW = 0, 1


def packed(message: Any) -> bytes:
    """A frame that holds a message as JSON."""
    body = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    return HEADER.pack(len(body), JSON) + body


def packed_preview(about: dict[str, Any], image: bytes) -> bytes:
    """A frame that holds a picture of work in progress, and what it is of."""
    head = json.dumps(about).encode()
    return HEADER.pack(4 + len(head) + len(image), PREVIEW) + struct.pack(">I", len(head)) + head + image


def unpacked_preview(body: bytes) -> tuple[dict[str, Any], bytes]:
    (length,) = struct.unpack_from(">I", body)
    return json.loads(body[4 : 4 + length]), body[4 + length :]
