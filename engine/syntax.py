"""Says in plain words why a text is not YAML.

libyaml tells where it stopped and what it expected there; what went wrong has to be seen from the text around that
place. The words differ between libyaml and PyYAML's own parser, so only parts that both share are looked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import yaml

from .diagnostics import Diagnostic, Note, Place

PlaceOf = Callable[[int, int], Place]

DEPTH = 64
"""How deep lists and mappings may stand within each other."""


def tag(written: str) -> tuple[str, str]:
    """The message and the help about a tag, which YAML allows and the format does not."""
    return f"tags such as `{written}` are not part of the format", "remove it, or quote the whole text it begins"


def explain(
    error: yaml.MarkedYAMLError, text: str, place: PlaceOf, last: tuple[int, int], opened: int | None
) -> Diagnostic:
    """The diagnostic for an error of the parser.

    `place` gives the place of a span of the text, `last` is the span of the value read last, and `opened` is where the
    innermost bracket that is still open stands.
    """
    return _Case(error, text, place, last, opened).diagnostic()


class _Case:
    def __init__(
        self, error: yaml.MarkedYAMLError, text: str, place: PlaceOf, last: tuple[int, int], opened: int | None
    ) -> None:
        self.problem, self.context = error.problem or "", error.context or ""
        self.text, self.place, self.last, self.opened = text, place, last, opened
        mark = error.problem_mark or error.context_mark
        self.at = min(mark.index, len(text)) if mark else len(text)
        self.since = min(error.context_mark.index, len(text)) if error.context_mark else self.at
        self.char = text[self.at : self.at + 1]
        self.line_start = max(text.rfind("\n", 0, self.at), text.rfind("\r", 0, self.at)) + 1

    def diagnostic(self) -> Diagnostic:
        """Asks the scanner's cases before the parser's: what is no token cannot be in the wrong order."""
        if "maximum" in self.problem and "depth" in self.problem:  # libyaml looks ahead, before depth is counted
            at = self.too_deep()
            message = f"lists and mappings stand more than {DEPTH} deep within each other"
            return Diagnostic("too-deep", message, self.place(at, at + 1))
        return self.in_a_token() or self.between_brackets() or self.between_lines()

    def too_deep(self) -> int:
        """Where brackets first stand deeper than they may."""
        depth = 0
        for at, character in enumerate(self.text):
            depth += (character in "[{") - (character in "]}")
            if depth >= DEPTH:  # the file itself is a mapping
                return at
        return self.at

    def in_a_token(self) -> Diagnostic | None:
        problem, context, at, char = self.problem, self.context, self.at, self.char
        tab = re.compile(r"[ ]*(\t+)").match(self.text, self.line_start)
        if tab and tab.start(1) <= at and ("tab" in problem or char == "\t" or "values are not" in problem):
            return self.say(*tab.span(1), "a tab is used to indent", "indent with spaces")
        if "tab" in problem or (char == "\t" and "cannot start" in problem):
            return self.say(at, at + 1, "a tab stands where a space is wanted", "write a space")
        if "quoted scalar" in context:
            if "unexpected" in problem:
                help = f"close it with {self.text[self.since]} where the text ends"
                return self.say(self.since, self.since + 1, "this quote is never closed", help)
            backslash = self.text.rfind("\\", self.since, at + 1)
            written = self.text[backslash : backslash + 2]
            help = "write \\\\ for a backslash, or put the text in single quotes"
            return self.say(backslash, backslash + 2, f"`{written}` means nothing inside double quotes", help)
        if "scanning an a" in context:  # an alias, an anchor
            mark = self.text[self.since : self.since + 1]
            what = "repeats an anchor" if mark == "*" else "makes an anchor"
            return self.value(self.since, f"`{mark}` {what}, and a name of letters and digits has to follow")
        if "tag" in problem or "tag" in context:
            start = self.since if self.text[self.since : self.since + 1] == "!" else at
            text = re.compile(r"\S{0,40}").match(self.text, start)
            end = text.end() if text else start
            return self.say(start, end, *tag(self.text[start:end]))
        if "directive" in context + problem or "YAML document" in problem:
            return self.say(at, self.line_end(at), "a line cannot begin with `%`", "quote the text, or indent it")
        if "cannot start" in problem:
            return self.value(at, f"unquoted text cannot begin with `{char}`")
        if "block scalar" in context:
            mark = self.text[self.since]
            return self.value(self.since, f"after `{mark}` the text begins on the next line")
        if "sequence entries are not allowed" in problem:
            help = "write [a, b], or begin a line with `- `"
            return self.value(at, "a list cannot begin on the line of its key", help)
        if "mapping keys are not allowed" in problem:
            return self.value(at, "unquoted text cannot begin with `? `")
        if "simple key" in context:
            missing_space = re.compile(r"\S*?\w:(?=[^\s/])").match(self.text, self.since)
            help = "a space follows the `:`" if missing_space else "write `key: value`, or indent it to continue a text"
            return self.say(self.since, self.line_end(self.since), "this line is no `key: value`", help)
        if "values are not allowed" in problem:
            return self.colon()
        return None

    def between_brackets(self) -> Diagnostic | None:
        at, char, opened = self.at, self.char, self.opened
        if opened is None:
            if char in ("]", "}") and "node content" in self.problem:
                return self.value(at, f"this `{char}` closes nothing")
            return self.value(at, "unquoted text cannot begin with `,`") if char == "," else None
        if char in ("]", "}"):
            note = Note(f"`{self.text[opened]}` is opened here", self.place(opened, opened + 1))
            closing = "]" if self.text[opened] == "[" else "}"
            return self.say(at, at + 1, f"`{closing}` is wanted here, this is `{char}`", None, note)
        if char == ",":
            return self.say(at, at + 1, "a value is missing before this comma", "remove the comma, or quote it as text")
        crossed = re.search(r"[\r\n]", self.text[max(self.last[0], opened) : at])
        if not char or (crossed and self.indent(at) <= self.indent(opened)):
            reached = Note("it was still open here", self.place(at, at))
            message = f"this `{self.text[opened]}` is never closed"
            return self.say(opened, opened + 1, message, None, *([reached] if char else []))
        if char == "{" and self.text[at - 1] == "$":
            help = "write a param as $params.NAME, and in longer text as $(params.NAME)"
            closed = self.text.find("}", at, self.line_end(at)) + 1
            return self.say(at - 1, closed or at + 1, "`${ }` is not part of the format", help)
        if crossed:
            return self.say(at, at + 1, "a comma is missing at the end of the line before", "between { } or [ ] add it")
        return self.colon() if char == ":" else self.leftover()

    def between_lines(self) -> Diagnostic:
        at, char = self.at, self.char
        if not re.search(r"[\r\n]", self.text[self.last[1] : at]) and self.last[1] > self.line_start and char:
            return self.leftover()
        if char == "-" and "block mapping" in self.context:
            return self.say(at, at + 1, "a list item stands among keys", "indent the list below the key it belongs to")
        if "block collection" in self.context:
            return self.say(at, self.line_end(at), "a line that is no item stands among the items of a list",
                            "begin it with `- `, or indent it differently")  # fmt: skip
        if "key" in self.problem or "<block end>" in self.problem or "<document start>" in self.problem:
            help = "indent it exactly like the lines it belongs with"
            return self.say(at, self.line_end(at), "the indentation of this line fits no line above it", help)
        if "node content" in self.problem:
            return self.say(at, self.line_end(at), "a value is missing before this")
        return self.say(at, min(at + 1, len(self.text)), f"this is not YAML: {self.problem}")

    def say(self, start: int, end: int, message: str, help: str | None = None, *notes: Note) -> Diagnostic:
        return Diagnostic("syntax", message, self.place(start, max(start, end)), help, notes)

    def value(self, start: int, message: str, help: str | None = None) -> Diagnostic:
        """About a value whose first character has a meaning that may not be intended."""
        quote = self.quote(start)
        return self.say(start, start + 1, message, f"{help}; {quote}" if help else quote)

    def colon(self) -> Diagnostic:
        """About a colon where there can be none: a second one on a line, or one on a line that is not aligned."""
        start, end = self.last
        before = max(self.opened or 0, start - 500)
        if comment := re.search(r":[ \t]+(#[^\r\n]*)\s*\Z", self.text[before:start]):
            begin = before + comment.start(1)
            message = "everything after ` #` is a comment, so no value stands here"
            return self.say(begin, self.line_end(begin), message, "quote the text")
        if re.search(r"[\r\n]", self.text[start : self.at]):
            first = re.compile(r"\s*").match(self.text, self.line_start)
            begin = first.end() if first else self.line_start
            help = "indent it like the keys it belongs with"
            return self.say(begin, self.at, "this line continues the value above, it cannot be a key", help)
        if end > start and self.text[end - 1] in "\"']}":
            return self.say(self.at, self.at + 1, "a `:` follows the end of a value", self.quote(start))
        return self.say(self.at, self.at + 1, "unquoted text cannot contain `: `", self.quote(start))

    def leftover(self) -> Diagnostic:
        """About text on the line after a value has ended."""
        start, end = self.last
        closing = self.text[end - 1 : end]
        rest = self.value_end(self.at)
        if closing in ("]", "}"):
            return self.say(self.at, rest, f"text follows the closing `{closing}`", self.quote(start))
        if closing in ('"', "'"):
            notes = []
            if re.search(r"[\r\n]", self.text[start:end]):
                notes.append(Note("the quote is opened here", self.place(start, start + 1)))
            double = "double it inside the text: ''" if closing == "'" else 'write it \\" inside the text'
            return self.say(self.at, rest, "text follows the closing quote", f"to keep the quote, {double}", *notes)
        return self.say(self.at, rest, "text follows the end of a value", self.quote(start))

    def line_end(self, index: int) -> int:
        """Where what the line says ends, before a comment."""
        newline = re.compile(r"[\r\n]").search(self.text, index)
        line = self.text[index : newline.start() if newline else len(self.text)]
        return index + len(re.split(r"[ \t]#", line, maxsplit=1)[0].rstrip())

    def value_end(self, index: int) -> int:
        """Where a value on this line ends, if it was meant as one text."""
        end = self.line_end(index)
        if self.opened is None:
            return end
        comma = re.search(r",\s|,\Z|[}\]]", self.text[index + 1 : end])
        return index + 1 + comma.start() if comma else end

    def indent(self, index: int) -> int:
        start = max(self.text.rfind("\n", 0, index), self.text.rfind("\r", 0, index)) + 1
        spaces = re.compile(r" *").match(self.text, start)
        return len(spaces[0]) if spaces else 0

    def quote(self, start: int) -> str:
        """Help that shows the line with the value at `start` in quotes."""
        value = self.text[start : self.value_end(max(start, self.at))].strip()
        key = re.search(r"([\w-]+):\s+\Z", self.text[max(0, start - 80) : start])
        if not 0 < len(value) <= 60 or not value.isprintable() or '"' in value or "\\" in value:
            return "quote the whole text"
        return f'quote it if it is text: {f"{key[1]}: " if key else ""}"{value}"'
