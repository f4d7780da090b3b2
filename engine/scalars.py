"""What plain (unquoted) text in a graph file stands for: the core schema of YAML 1.2, and nothing that surprises.

YAML 1.1, which most Python tools read, also takes `no` for false, `010` for 8, `16:9` for 969 and `2024-01-01` for a
date. Here all of these are text, but each is a *trap*: where something other than text is wanted, the words about it
help whoever wrote it.
"""

from __future__ import annotations

import math
import re

Value = str | int | float | bool | None

_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_OLD_BOOLS = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}

_INT = re.compile(r"[-+]?[0-9]+|0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?")
_UNDERSCORED = re.compile(r"[-+]?(0[xb][0-9a-fA-F_]+|[0-9][0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9]+)?)")
_BINARY = re.compile(r"0b[01]+")
_SEXAGESIMAL = re.compile(r"[-+]?[0-9]{1,9}(:[0-5]?[0-9]){1,9}(\.[0-9]*)?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt \t].*)?")

_LONGEST_NUMBER = 100
_BEGIN_NUMBER = frozenset("+-.0123456789")


def resolve(text: str) -> tuple[Value, str | None]:
    """The value of plain text, and the trap that it is, if any: what other YAML readers would have made of it."""
    if text in _WORDS:
        return _WORDS[text], None
    if text[0] not in _BEGIN_NUMBER:
        word = text if text.islower() or text.isupper() or text.istitle() else ""
        other = _OLD_BOOLS.get(word.lower())
        return text, _trap(text, f"`{other}`", f"write `{other}` if that is meant, or ") if other else None
    if len(text) > _LONGEST_NUMBER:
        return text, None
    return _number(text)


def _number(text: str) -> tuple[Value, str | None]:
    if _LEADING_ZERO.fullmatch(text):
        whole = text.strip("+-").isdigit()
        other = f"`{int(text, 8)}`" if whole and not set(text) & set("89") else "a number without the zero in front"
        return text, _trap(text, other, "leave the zero away for a number, or ")
    if _INT.fullmatch(text):
        return int(text, {"0x": 16, "0o": 8}.get(text[:2], 10)), None
    if _FLOAT.fullmatch(text):
        value = float(text)
        if math.isinf(value):
            return text, _trap(text, "infinity", "write `.inf` if that is meant, or ")
        return value, None
    if _NOT_FINITE.fullmatch(text):
        return float(text.replace(".", "")), None
    if "_" in text and _UNDERSCORED.fullmatch(text):
        return text, _trap(text, "a number", f"write `{text.replace('_', '')}` if that is meant, or ")
    if _BINARY.fullmatch(text):
        return text, _trap(text, f"`{int(text, 2)}`", f"write `{int(text, 2)}` if that is meant, or ")
    if _SEXAGESIMAL.fullmatch(text):
        return text, _trap(text, f"`{_sexagesimal(text)}`")
    if _DATE.fullmatch(text):
        return text, _trap(text, "a date")
    return text, None


def _sexagesimal(text: str) -> int | float:
    sign = -1 if text.startswith("-") else 1
    total: int | float = 0
    for digits in text.lstrip("+-").split(":"):
        total = total * 60 + (float(digits) if "." in digits else int(digits))
    return sign * total


def _trap(text: str, other: str, instead: str = "") -> str:
    return f'some YAML readers take `{text}` as {other}; here it is text: {instead}quote it to keep it text: "{text}"'
