"""What the server answers where it does not do what was asked: the same over HTTP and over the websocket."""

from __future__ import annotations

import errno
import logging
import sqlite3
from typing import Any

LOG = logging.getLogger(__name__)


class Refusal(Exception):
    """An answer that is no success: a stable code, a message for people, and whether to try again makes sense."""

    code, status, temporary = "bad-request", 400, False
    special: tuple[str, ...] = ()
    """Codes of cases that clients may want to tell from the others."""

    def __init__(self, message: str, *, code: str | None = None, **more: Any) -> None:
        super().__init__(message)
        self.message, self.more = message, more
        self.code = code or self.code

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": "1"} if self.temporary else {}

    def as_json(self) -> dict[str, Any]:
        return {"code": self.code, "message": self.message, "temporary": self.temporary, **self.more}


class BadRequest(Refusal):
    """What was sent is not what this request takes."""

    special = ("unknown-graph",)


class Unauthorized(Refusal):
    """No token, or none that is known."""

    code, status = "unauthorized", 401

    @property
    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": "Bearer"}


class Forbidden(Refusal):
    """The token lacks a scope, or the request comes from another site."""

    code, status = "forbidden", 403


class NotFound(Refusal):
    """There is no such thing, or it belongs to somebody else."""

    code, status = "not-found", 404


class Conflict(Refusal):
    """It cannot be done in the state in which things are."""

    code, status = "conflict", 409
    special = ("key-reused",)


class Gone(Refusal):
    """Events before the ones that are kept were asked for, or those of another log."""

    code, status = "gone", 410


class OtherContent(Refusal):
    """A file is another one than the one that `If-Match` says."""

    code, status = "other-content", 412


class OutsideOfFile(Refusal):
    """The range that was asked for is not in the file."""

    code, status = "outside-of-file", 416

    def __init__(self, size: int) -> None:
        super().__init__(f"the file has {size:,} bytes")
        self.size = size

    @property
    def headers(self) -> dict[str, str]:
        return {"Content-Range": f"bytes */{self.size}"}


class TooLarge(Refusal):
    """More bytes than this server takes."""

    code, status = "too-large", 413


class UnsupportedType(Refusal):
    """The body is in a format that this request does not take."""

    code, status = "unsupported-type", 415


class GraphRefused(Refusal):
    """The graph or its params are wrong; `diagnostics` says all that is."""

    code, status = "graph-wrong", 422

    def __init__(self, diagnostics: list[dict[str, Any]]) -> None:
        errors = [found for found in diagnostics if found["severity"] == "error"]
        count = f"{len(errors)} errors, the first: " if len(errors) > 1 else ""
        super().__init__(f"the graph is wrong: {count}{errors[0]['message']}", diagnostics=diagnostics)


class TooMany(Refusal):
    """More at once than this client may have."""

    code, status, temporary = "too-many", 429, True


class Unavailable(Refusal):
    """The server cannot do it now: it stops, or its disk is full."""

    code, status, temporary = "unavailable", 503, True


class Internal(Refusal):
    """The server has made a mistake; its log says which."""

    code, status = "internal", 500


def refusal_of(error: Exception, what: str) -> Refusal:
    """What to answer where something has gone wrong; the log tells what there was to do when it is no refusal."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return NotFound("there is nothing that is called so")
    if isinstance(error, (sqlite3.OperationalError, OSError)):
        LOG.error("%s: %s", what, error)
        return Unavailable("the server cannot do this now, its disk may be full")
    LOG.error("%s", what, exc_info=error)
    return Internal("the server has made a mistake; its log says which")
