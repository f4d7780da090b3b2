"""Keeps the server's own paths out of what it tells clients."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_URL = r"""\b[A-Za-z][A-Za-z0-9+.-]{0,15}://(?!/)[^\s'"`<>|]+"""
_FOLDERS = r"""(?:[^\s/'"`:;,|<>()\[\]{}]+/)"""
_PATH = rf"(?<![\w/.<$-])(?:file://|[A-Za-z]:)?/{_FOLDERS}+(?=[^\s/])"
"""The folders of an absolute path, which begins after something that is no part of a path."""

_hidden: set[str] = set()
_pattern = re.compile(rf"(?P<url>{_URL})|{_PATH}")

_TEXTS = ("error", "message", "help", "file", "reason")


def without_folders(text: str) -> str:
    """A text in which absolute paths have only their last part, whether they exist or not. URLs stay as they are."""
    return _pattern.sub(lambda found: found["url"] or ("…/" if found[0].endswith("/") else "…"), text)


def hide(*folders: str | Path) -> None:
    """From now on, `without_folders` knows these, whatever is in their names and wherever they stand in a text."""
    global _pattern
    _hidden.update(name for folder in folders for name in (os.path.abspath(folder), os.path.realpath(folder)))
    names = "|".join(re.escape(name) for name in sorted(_hidden - {"/"}, key=len, reverse=True))
    known = rf"(?<![\w.-])(?:file://)?(?:{names})(?:/{_FOLDERS}*(?=[^\s/])|(?![\w-]))"
    _pattern = re.compile(rf"(?P<url>{_URL})|{known}|{_PATH}")


hide(os.path.expanduser("~"), sys.prefix, tempfile.gettempdir(), Path(__file__).parents[2])
with contextlib.suppress(OSError):  # it may be gone
    hide(os.getcwd())


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
