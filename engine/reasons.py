"""Why a node runs: what of its ingredients is not what it was when it ran last, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .digest import digest
from .records import Record, Ref

if TYPE_CHECKING:
    from .keys import Key

_SHOWN = 200  # characters of a text
_LISTED = 20  # elements of a list


def shown(value: Any) -> Any:
    """An input's value, short enough to be kept beside a result: a long text or list by its beginning and digest."""
    if isinstance(value, str) and len(value) > _SHOWN:
        return {"long": value[:_SHOWN], "digest": digest(value)}
    if isinstance(value, tuple) and len(value) > _LISTED:
        return {"long": f"{len(value)} elements", "digest": digest(value)}
    if isinstance(value, tuple):
        return tuple(map(shown, value))
    return value


def difference(before: Record, now: Key) -> str:
    """What changed since a node's last result, in words: `steps was 20, is 25`."""
    old, new = before.about, now.about()
    if old.get("type") != new["type"]:
        return f"its type was {old.get('type')}, is {new['type']}"
    if old.get("version") != new["version"]:
        return f"the version of {new['type']} was {old.get('version')}, is {new['version']}"
    if old.get("code") != new["code"]:
        return f"the code of {new['type']} changed"
    changes = [
        *_changes(old.get("inputs", {}), new["inputs"]),
        *_changes(old.get("variables", {}), new.get("variables", {})),
        *_changes(old.get("environment", {}), new["environment"]),
    ]
    if changes:
        more = f" (and {len(changes) - 1} more)" if len(changes) > 1 else ""
        return changes[0] + more
    if old.get("fingerprint") != new.get("fingerprint"):
        return "what it reads changed"
    return "no result yet" if before.key != now.digest else "its result is gone"


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return [
        _change(name, old.get(name), new.get(name))
        for name in [*old, *(n for n in new if n not in old)]
        if old.get(name) != new.get(name)
    ]


def _change(name: str, old: Any, new: Any) -> str:
    if any(
        isinstance(value, (Ref, dict)) or (isinstance(value, tuple) and any(isinstance(v, (Ref, dict)) for v in value))
        for value in (old, new)
    ):
        return f"{name} changed"
    return f"{name} was {_words(old)}, is {_words(new)}"


def _words(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value if len(value) <= 40 else value[:39] + "…"}"'
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_words, value)) + "]"
    return str(value)
