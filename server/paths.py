"""Keeps the server's own paths out of what it tells clients."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_PATH = re.compile(r"""(?<![\w:/.<$-])(?:[A-Za-z]:)?/(?:[^\s/'"`:;,|<>()\[\]{}]+/)+(?=[^\s/])""")
"""The folders of an absolute path: each that begins after something that is no part of a path, or of a URL."""

_TEXTS = ("error", "message", "help", "file", "reason")


def without_folders(text: str) -> str:
    """A text in which absolute paths have only their last part, whether they exist or not."""
    return _PATH.sub("…/", text)


def clean(found: Any) -> Any:
    """A diagnostic or an event, without the folders of paths in what is meant for people to read."""
    if isinstance(found, Mapping):
        return {
            name: without_folders(value)
            if name in _TEXTS and isinstance(value, str)
            else [without_folders(line) for line in value]
            if name == "traceback"
            else clean(value)
            if name in ("notes", "inputs", "fix")
            else value
            for name, value in found.items()
        }
    if isinstance(found, list):
        return [clean(item) for item in found]
    return without_folders(found) if isinstance(found, str) else found
