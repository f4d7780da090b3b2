"""Where webhooks may be sent."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote

from yarl import URL

from latentgraph.engine.problems import UserError


class Receivers:
    """To which URLs webhooks may be sent: to those below the ones that were allowed."""

    def __init__(self, allowed: Iterable[str]) -> None:
        """Raises UserError for what is no URL."""
        self._allowed = []
        for url in allowed:
            parsed = _parsed(url)
            if parsed is None or parsed.query_string:
                raise UserError(f"`--webhook {url}`: write a URL such as https://example.org/hooks/")
            self._allowed.append(parsed)

    def allow(self, url: str) -> bool:
        """Whether the URL has the scheme, the host and the port of one of them, and its path or one below that."""
        parsed = _parsed(url)
        return parsed is not None and any(
            (parsed.scheme, parsed.host, parsed.port) == (allowed.scheme, allowed.host, allowed.port)
            and f"{parsed.path}/".startswith(f"{allowed.path.rstrip('/')}/")
            for allowed in self._allowed
        )


def _parsed(text: str) -> URL | None:
    """A URL as the client that sends to it reads it; None for one that another program might read in another way."""
    path = text.partition("?")[0]
    if not re.fullmatch(r"https?://[!-~]+", text) or set("\\@#") & set(path) or "#" in text:
        return None
    if {".", ".."} & set(re.split(r"[/\\]", unquote(unquote(path)))):
        return None
    try:
        parsed = URL(text)
        return parsed if parsed.host and parsed.port else None
    except ValueError:
        return None
