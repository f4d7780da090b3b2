"""Files as they are sent over HTTP: with the digest of their content as ETag, in parts where a range is asked for, and
never as something that could run a script in the server's name."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from aiohttp import ETag, web

from ..errors import NotFound, OtherContent, OutsideOfFile

FILE = ("application/octet-stream", "image/*", "text/plain", "application/json")
"""What files may be sent as."""
INLINE = re.compile(r"image/(png|jpeg|webp|gif)|text/plain|application/json")
"""What a browser may show by itself."""
CHUNK = 1 << 18


async def send_file(request: web.Request, path: Path, media: str, name: str, digest: str) -> web.StreamResponse:
    """Send a file, or the part of it that is asked for. Raises NotFound, OtherContent and OutsideOfFile."""
    if request.if_match is not None and not _matches(request.if_match, digest):
        raise OtherContent("the file is another one than the one that you know")
    headers = {"ETag": f'"{digest}"', "Cache-Control": "private, no-cache", "Accept-Ranges": "bytes"}
    if request.if_none_match is not None and _matches(request.if_none_match, digest):
        return web.Response(status=304, headers=headers)
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise NotFound("the file is gone") from None
    with file:
        size = os.fstat(file.fileno()).st_size
        part = _part(request, size, digest)
        inline = INLINE.fullmatch(media) is not None
        headers["Content-Type"] = media if inline else "application/octet-stream"
        headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
        headers["Content-Disposition"] = f"{'inline' if inline else 'attachment'}; filename*=UTF-8''{quote(name, '')}"
        if part is not None:
            headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
        response = web.StreamResponse(status=200 if part is None else 206, headers=headers)
        return await _send(request, response, file, range(size) if part is None else part)


async def _send(request: web.Request, response: web.StreamResponse, file: BinaryIO, part: range) -> web.StreamResponse:
    response.content_length = len(part)
    await response.prepare(request)
    file.seek(part.start)
    left = len(part)
    while left and (chunk := await asyncio.to_thread(file.read, min(CHUNK, left))):
        left -= len(chunk)
        await response.write(chunk)
    await response.write_eof()
    return response


def _part(request: web.Request, size: int, digest: str) -> range | None:
    """The bytes that are asked for; None for all of them, and for what is no range (RFC 9110, 14.2)."""
    if request.headers.get("If-Range", f'"{digest}"') != f'"{digest}"':
        return None
    try:
        asked = request.http_range
    except ValueError:
        return None
    if asked.start is None:
        return None
    found = range(size)[asked]
    if not found:
        raise OutsideOfFile(size)
    return found


def _matches(tags: tuple[ETag, ...], digest: str) -> bool:
    return any(tag.value in ("*", digest) for tag in tags)
