"""Who may do what: tokens with scopes, and which sites' pages may use the server at all.

A server on a loopback address without tokens lets everybody on the machine do everything, and nobody else: a page of
another site, opened in a browser on this machine, is told from the user's own by `Host`, `Origin` and `Sec-Fetch-Site`.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import stat
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from latentgraph.engine.problems import UserError

from .errors import Forbidden, Unauthorized

SCOPES = ("read", "submit", "admin")
_LINE = re.compile(r"(?P<name>[A-Za-z0-9_.@-]{1,64})\s+(?P<scopes>[a-z]+(?:,[a-z]+)*)\s+(?P<token>\S{16,512})")


@dataclass(frozen=True)
class Caller:
    """Who is asking: jobs belong to the `name`."""

    name: str
    scopes: frozenset[str]

    def needs(self, scope: str) -> None:
        """Raises Forbidden where the scope is missing; `admin` includes the others."""
        if scope not in self.scopes and "admin" not in self.scopes:
            raise Forbidden(f"the token `{self.name}` lacks the scope `{scope}`")

    @property
    def sees(self) -> str | None:
        """Whose jobs it sees: its own, or all (None)."""
        return None if "admin" in self.scopes else self.name


LOCAL = Caller("local", frozenset(SCOPES))


class Tokens:
    """The tokens that may call, from a file with a line for each: its name, its scopes, the token."""

    def __init__(self, path: Path | None) -> None:
        self._known = None if path is None else list(_read(path))

    @property
    def needed(self) -> bool:
        return self._known is not None

    def caller(self, token: str | None) -> Caller:
        """Whose token it is. Raises Unauthorized. Takes as long for every token that is not known."""
        if self._known is None:
            return LOCAL
        if token is None:
            raise Unauthorized("a token is needed: send the header `Authorization: Bearer TOKEN`")
        digest, found = _digest(token), None
        for known, caller in self._known:
            if hmac.compare_digest(known, digest):
                found = caller
        if found is None:
            raise Unauthorized("the token is not known")
        return found

    def of(self, request: web.Request) -> Caller:
        """Who sends a request. Raises Unauthorized."""
        return self.caller(bearer(request))


def bearer(request: web.Request) -> str | None:
    """The token in the header of a request, if there is one."""
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" and token.strip() else None


def _read(path: Path) -> Iterable[tuple[bytes, Caller]]:
    """Raises UserError and OSError."""
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UserError(f"the token file {path} can be read by others: chmod 600 {path}")
    names = set()
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _LINE.fullmatch(line.strip())
        if found is None:
            raise UserError(
                f"{path}:{number}: write NAME SCOPES TOKEN, such as `shop read,submit …`, 16 characters or more"
            )
        scopes = frozenset(found["scopes"].split(","))
        if not scopes <= set(SCOPES):
            raise UserError(f"{path}:{number}: the scopes are {', '.join(SCOPES)}")
        if found["name"] in names:
            raise UserError(f"{path}:{number}: there are two tokens called {found['name']}")
        names.add(found["name"])
        yield _digest(found["token"]), Caller(found["name"], scopes)
    if not names:
        raise UserError(f"the token file {path} has no token")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


class Sites:
    """By which names the server may be called, and from pages of which sites."""

    def __init__(self, host: str, hosts: Collection[str], origins: Collection[str]) -> None:
        self.loopback = is_loopback(host)
        self._hosts = {name.lower() for name in hosts} | {host.lower()}
        if self.loopback:
            self._hosts |= {"localhost", "127.0.0.1", "::1"}
        self._any = host in ("0.0.0.0", "::") and not hosts
        self._origins = {origin.lower().rstrip("/") for origin in origins}

    def check(self, request: web.Request) -> None:
        """Raises Forbidden for what a browser sends on behalf of a page of another site."""
        host = request.headers.get("Host", "")
        name = _hostname(host)
        if name is None or not (self._any or name in self._hosts):
            raise Forbidden("this server is not called so; `latentgraph serve --allow-host NAME` lets it be")
        origin = request.headers.get("Origin")
        if origin is not None:
            if not self._may(origin, host):
                raise Forbidden("pages of other sites may not use this server; see `latentgraph serve --allow-origin`")
            return
        # A picture of another site, say: browsers send no Origin with those. To follow a link to the page is no harm.
        followed = request.path == "/" and request.headers.get("Sec-Fetch-Mode") == "navigate"
        if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin") and not followed:
            raise Forbidden("pages of other sites may not use this server")

    def allowed_origin(self, request: web.Request) -> str | None:
        """The origin to be named in the answer, where it is one of those that were allowed."""
        origin = request.headers.get("Origin")
        return origin if origin is not None and origin.lower() in self._origins else None

    def _may(self, origin: str, host: str) -> bool:
        if origin.lower() in self._origins:
            return True
        parts = urlsplit(origin)
        return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _hostname(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
