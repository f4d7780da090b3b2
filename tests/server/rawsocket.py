"""A websocket client that sends what a proper one would not: any frame, in any pieces (RFC 6455, section 5.2)."""

from __future__ import annotations

import json
import os
import socket
import struct
from typing import Any

TEXT, BINARY, CONTINUED, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10


class Raw:
    """A connection whose handshake is done, unless it says otherwise."""

    def __init__(self, port: int, *, handshake: bool = True, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(30)
        self.socket.connect(("127.0.0.1", port))
        self._read = b""
        self.number = 0
        if handshake:
            self.socket.sendall(
                b"GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
            )
            while b"\r\n\r\n" not in self._read:
                self._read += self.socket.recv(4096)
            head, _, self._read = self._read.partition(b"\r\n\r\n")
            assert b" 101 " in head, head

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def reset(self) -> None:
        """Go without a goodbye: the other side gets a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def send(self, payload: bytes | str, opcode: int = TEXT, **how: Any) -> None:
        self.socket.sendall(frame(payload, opcode, **how))

    def ask(self, do: str, **fields: Any) -> int:
        """Send a request; gives its number."""
        self.number += 1
        self.send(json.dumps({"id": self.number, "do": do, **fields}))
        return self.number

    def frame(self) -> tuple[int, bytes] | None:
        """The next frame, as its opcode and what is in it; None where the connection has ended."""
        head = self._take(2)
        if head is None:
            return None
        length = head[1] & 127
        assert not head[1] & 128, "a server does not mask"
        if length > 125:
            size = 2 if length == 126 else 8
            length = int.from_bytes(self._take(size) or b"", "big")
        return head[0] & 15, self._take(length) or b""

    def next(self) -> Any:
        """The next text frame's JSON."""
        while True:
            found = self.frame()
            assert found is not None, "the connection has ended"
            assert found[0] != CLOSE, found
            if found[0] == TEXT:
                return json.loads(found[1])

    def reply(self, number: int) -> Any:
        """The reply to a request; what comes before it is dropped."""
        while True:
            found = self.next()
            if found.get("id") == number:
                return found

    def closed(self) -> int | None:
        """The code with which the server closes; None where it just ends. All that comes before is dropped."""
        while (found := self.frame()) is not None:
            if found[0] == CLOSE:
                return int.from_bytes(found[1][:2], "big") if len(found[1]) >= 2 else None
        return None

    def _take(self, count: int) -> bytes | None:
        while len(self._read) < count:
            try:
                more = self.socket.recv(1 << 16)
            except ConnectionError:
                return None
            if not more:
                return None
            self._read += more
        found, self._read = self._read[:count], self._read[count:]
        return found


def frame(
    payload: bytes | str = b"",
    opcode: int = TEXT,
    *,
    final: bool = True,
    reserved: int = 0,
    masked: bool = True,
    claimed: int | None = None,
) -> bytes:
    """A frame, in bytes. `claimed` is the length that it says it has."""
    content = payload.encode("utf-8", "surrogatepass") if isinstance(payload, str) else payload
    length = len(content) if claimed is None else claimed
    head = bytes([final << 7 | reserved << 4 | opcode])
    mask = masked << 7
    if length < 126:
        head += bytes([mask | length])
    elif length < 1 << 16:
        head += bytes([mask | 126]) + length.to_bytes(2, "big")
    else:
        head += bytes([mask | 127]) + length.to_bytes(8, "big")
    if not masked:
        return head + content
    key = os.urandom(4)
    repeated = (key * (len(content) // 4 + 1))[: len(content)]
    hidden = int.from_bytes(content, "big") ^ int.from_bytes(repeated, "big")
    return head + key + hidden.to_bytes(len(content), "big")
