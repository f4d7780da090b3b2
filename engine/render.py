"""Shows diagnostics: on a terminal with the source line, on one line, as JSON, and as GitHub annotations."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from unicodedata import category, east_asian_width

from .diagnostics import Diagnostic, Place, printable

SourceLine = Callable[[str, int], str | None]
"""Gives a file's line by its number from 1, without its end, or None if it is not known."""

WIDTH = 100
"""How many columns the terminal layout needs at most for source lines."""

_TAB = "    "  # fixed, because the gutter shifts every tab stop anyway
_RESET = "\x1b[0m"
_COLOURS = {"error": "\x1b[1;31m", "warning": "\x1b[1;33m", "gutter": "\x1b[34m", "label": "\x1b[1m"}


def lines_of(texts: Mapping[str, str]) -> SourceLine:
    """A lookup for `to_terminal` over texts that are in memory, by the name of their file."""
    # Not splitlines: it also breaks at characters that editors, and so line numbers, do not count as ends.
    split = {file: re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff")) for file, text in texts.items()}

    def line(file: str, number: int) -> str | None:
        lines = split.get(file, [])
        return lines[number - 1] if 0 < number <= len(lines) else None

    return line


def to_terminal(diagnostic: Diagnostic, source_line: SourceLine, *, colour: bool = False) -> str:
    """Several lines: the header, the source line with its span marked, the notes and the help."""

    def paint(name: str, text: str) -> str:
        return f"{_COLOURS[name]}{text}{_RESET}" if colour and text else text

    place, header = diagnostic.place, printable(diagnostic.header())
    before, label, after = header.partition(f"{diagnostic.severity}[{diagnostic.code}]")
    out = [before + paint(diagnostic.severity, label) + after]
    pad = " "
    line = source_line(place.file, place.line) if place else None
    if place is not None and line is not None:
        pad = " " * (len(str(place.line)) + 1)
        shown, marks = _excerpt(line, place, WIDTH - len(pad) - 2)
        indent = len(marks) - len(marks.lstrip())
        bar = paint("gutter", f"{pad}|")
        out.append(bar)
        out.append(f"{paint('gutter', f'{place.line} |')} {shown}".rstrip())
        out.append(f"{bar} {marks[:indent]}{paint(diagnostic.severity, marks[indent:])}")
    for note in diagnostic.notes:
        where = f"{note.place}: " if note.place else ""
        out.append(f"{pad}{paint('gutter', '=')} {paint('label', 'note')}: {printable(where + note.message)}")
    if diagnostic.help:
        out.append(f"{pad}{paint('gutter', '=')} {paint('label', 'help')}: {printable(diagnostic.help)}")
    return "\n".join(out)


def to_line(diagnostic: Diagnostic) -> str:
    """One line, the help in parentheses."""
    return str(diagnostic)


def to_json(diagnostic: Diagnostic) -> dict[str, Any]:
    """Everything as plain values; the keys are always there, and None where there is no place or no help."""
    return {
        "severity": diagnostic.severity,
        "code": diagnostic.code,
        "message": diagnostic.message,
        "help": diagnostic.help,
        "notes": [{"message": note.message, **_place(note.place)} for note in diagnostic.notes],
        **_place(diagnostic.place),
        "path": diagnostic.path,
        "fix": [{**_place(edit.place), "text": edit.text} for edit in diagnostic.fix],
    }


def to_github(diagnostic: Diagnostic) -> str:
    """A workflow command that makes GitHub show the diagnostic beside the line."""
    place = diagnostic.place
    fields: dict[str, str | int] = {}
    if place is not None:
        fields |= {"file": place.file, "line": place.line}
        # GitHub refuses columns for annotations over several lines.
        one_line = place.line == place.end_line
        fields |= {"col": place.column} if one_line else {}
        fields |= {"endLine": place.end_line}
        fields |= {"endColumn": place.end_column} if one_line else {}
    fields["title"] = diagnostic.code
    notes = [f"note: {f'{note.place}: ' if note.place else ''}{note.message}" for note in diagnostic.notes]
    text = "\n".join([diagnostic.message, *notes, *([f"help: {diagnostic.help}"] if diagnostic.help else [])])
    properties = ",".join(f"{name}={_escape(str(value), ':,')}" for name, value in fields.items())
    return f"::{diagnostic.severity} {properties}::{_escape(text)}"


def summary(diagnostics: Iterable[Diagnostic]) -> str:
    """How many there are: `3 errors, 1 warning`."""
    severities = [diagnostic.severity for diagnostic in diagnostics]
    counts = [(severities.count("error"), "error"), (severities.count("warning"), "warning")]
    return ", ".join(f"{count} {name}{'s' * (count != 1)}" for count, name in counts if count) or "no problems"


def _place(place: Place | None) -> dict[str, Any]:
    names = ("file", "line", "column", "end_line", "end_column")
    return {name: getattr(place, name, None) for name in names}


def _escape(text: str, more: str = "") -> str:
    """As GitHub wants it: percent first, so that nothing is escaped twice."""
    for character in "%\r\n" + more:
        text = text.replace(character, f"%{ord(character):02X}")
    return text


def _excerpt(line: str, place: Place, width: int) -> tuple[str, str]:
    """The part of `line` around the span that fits into `width` columns, and the carets for the line below it."""
    start = min(place.column - 1, len(line))
    end = min(place.end_column - 1, len(line)) if place.end_line == place.line else len(line.rstrip())
    end = max(end, start)
    # Whoever writes a megabyte on one line still gets an answer at once: what is far away cannot be shown.
    first, last = max(0, start - 2 * width), min(len(line), start + 2 * width)
    cells = [_cell(character) for character in line[first:last]]
    marked = range(start - first, max(min(end, last) - first, start - first))
    sizes = [_width(cell) for cell in cells]

    left, right = 0, len(cells)
    cut_left, cut_right = first > 0, last < len(line)
    if sum(sizes) + cut_left + cut_right > width:
        room, shown_after = width - 2, 12  # two columns for the marks of what was cut, a few characters after the span
        while left < marked.start and sum(sizes[left : marked.stop + shown_after]) > room:
            left += 1
        while sum(sizes[left:right]) > room:
            right -= 1
        cut_left, cut_right = cut_left or left > 0, cut_right or right < len(cells)
    shown = "…" * cut_left + "".join(cells[left:right]) + "…" * cut_right
    indent = cut_left + sum(sizes[left : marked.start])
    carets = sum(sizes[marked.start : min(marked.stop, right)])
    return shown, " " * indent + "^" * max(carets, 1)


def _cell(character: str) -> str:
    """What stands for a character of the source: nothing that would move the cursor or hide something."""
    if character == "\t":
        return _TAB
    if character.isprintable() or character == "\u200d":
        return character
    return " " if category(character) == "Zs" else "\ufffd"


def _width(cell: str) -> int:
    """The columns that a cell takes on a terminal."""
    if len(cell) > 1 or cell.isascii():
        return len(cell)
    if category(cell) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if east_asian_width(cell) in "WF" else 1
