"""Who may do what: tokens with scopes, and which sites' pages may use the server at all.

A server on a loopback address without tokens lets everybody on the machine do everything, and nobody else: a page of
another site, opened in a browser on this machine, is told from the user's own by `Host`, `Origin` and `Sec-Fetch-Site`.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import re
import socket
import stat
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from latentgraph.engine.problems import UserError

from ..errors import Forbidden, Unauthorized

SCOPES = ("read", "submit", "admin")
_LINE = re.compile(r"(?P<name>[A-Za-z0-9_@][A-Za-z0-9_.@-]{0,63})\s+(?P<scopes>[a-z,]+)\s+(?P<token>[!-~]{16,512})")
"""Names of files can be made of the names, and tokens sent in headers."""

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::\d{1,5})?")


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
    """Raises UserError."""
    names, tokens = set[str](), set[bytes]()
    for number, line in enumerate(_private_text(path).splitlines(), 1):
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
        # Uploads are in folders called like their owners, and some disks do not tell letters of either case apart.
        if found["name"].lower() in names:
            raise UserError(f"{path}:{number}: there are two tokens called {found['name']}")
        digest = _digest(found["token"])
        if digest in tokens:
            raise UserError(f"{path}:{number}: the token is there already, under another name")
        names.add(found["name"].lower())
        tokens.add(digest)
        yield digest, Caller(found["name"], scopes)
    if not names:
        raise UserError(f"the token file {path} has no token")


def _private_text(path: Path) -> str:
    """The text of a file that only its owner may read. Raises UserError."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise UserError(f"the token file {path} can be read by others: chmod 600 {path}")
            return file.read().decode()
    except OSError as error:
        raise UserError(f"the token file {path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError:
        raise UserError(f"the token file {path} is no UTF-8 text") from None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


class Sites:
    """By which names the server may be called, and from pages of which sites.

    Where it listens at all addresses and nobody needs a token, it is called by an address or by the machine's name: any
    other name could be one that a hostile site has turned to this machine, so that its pages count as the server's own.
    """

    def __init__(self, host: str, hosts: Collection[str], origins: Collection[str], *, tokens: bool) -> None:
        self.loopback = is_loopback(host)
        self._hosts = {name_of(name) for name in hosts} | {host.lower()}
        if self.loopback:
            self._hosts |= {"localhost", "127.0.0.1", "::1"}
        everywhere = host in ("0.0.0.0", "::")
        self._any = everywhere and tokens and not hosts
        self._addresses = everywhere
        if everywhere:
            machine = socket.gethostname().lower()
            self._hosts |= {"localhost", machine, f"{machine}.local"}
        self._origins = frozenset(map(origin_of, origins))

    def check(self, request: web.Request) -> None:
        """Raises Forbidden for what a browser sends on behalf of a page of another site."""
        host = request.headers.get("Host", "")
        # A request for a whole URL names the host there, too.
        if not self._called(host) or not self._called(request.host):
            raise Forbidden("this server is not called so; `latentgraph serve --allow-host NAME` lets it be")
        origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site", "none")
        if origin is not None and origin.lower() in self._origins:
            return
        if origin is not None and not _same(origin, host):
            raise Forbidden("pages of other sites may not use this server; see `latentgraph serve --allow-origin`")
        # A picture of another site, say: browsers send no Origin with those. To follow a link to the page is no harm.
        followed = origin is None and request.path == "/" and request.headers.get("Sec-Fetch-Mode") == "navigate"
        if site not in ("none", "same-origin") and not followed:
            raise Forbidden("pages of other sites may not use this server; see `latentgraph serve --allow-origin`")

    def allowed_origin(self, request: web.Request) -> str | None:
        """The origin to be named in the answer, where it is one of those that were allowed."""
        origin = request.headers.get("Origin")
        return origin if origin is not None and origin.lower() in self._origins else None

    def _called(self, host: str) -> bool:
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = found[1].strip("[]").lower()
        return self._any or name in self._hosts or (self._addresses and _is_address(name))


def origin_of(url: str) -> str:
    """An origin as browsers send it, from a URL without a path. Raises UserError."""
    scheme, _, host = url.lower().rstrip("/").partition("://")
    if scheme not in ("http", "https") or not _HOST.fullmatch(host):
        raise UserError(f"`--allow-origin {url}`: write a site as browsers do, such as https://example.org")
    return f"{scheme}://{host}"


def name_of(host: str) -> str:
    """The name in a host with or without a port. Raises UserError."""
    found = _HOST.fullmatch(host)
    if found is None:
        raise UserError(f"`--allow-host {host}`: write a name or an address, such as example.org")
    return found[1].strip("[]").lower()


def is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _same(origin: str, host: str) -> bool:
    """Whether a page's origin is the server by the name by which it is called; in front of it there may be TLS."""
    scheme, _, netloc = origin.partition("://")
    return scheme in ("http", "https") and netloc.lower() == host.lower()
