"""Reads YAML into a tree that knows where everything stands.

The tree is built in one loop over libyaml's events, because `yaml.compose` and `yaml.load` recurse in C and can be made
to crash the process; and because depth, size and the repetitions that aliases stand for have to be limited before any
of them costs memory. An alias shares the tree of its anchor. No tree is deeper than DEPTH, so whoever walks one may
recurse.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import yaml

from . import syntax
from .diagnostics import Diagnostic, GraphWrong, Note, Place, nearest
from .scalars import Value, resolve

DEPTH = syntax.DEPTH
BYTES = 4 * 1024 * 1024
NODES = 200_000
_MANY = 100  # problems after which reading stops: nobody reads more of them

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LINE_END = re.compile(r"\r\n|\r|\n")
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_COMMENT = re.compile(r"[ \t]+#([^\r\n]*)")
_AFTER_KEY = re.compile(r"\s*:")
_ANCHOR = re.compile(r"&[\w-]+(?:\s+(?:#[^\r\n]*)?)*")


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value. `text` is what was written, `value` what it stands for; quoted and block text is always text.

    `trap` says what other YAML readers would have made of plain text. `comment_after` is what follows ` #` on the line
    of plain text: a comment, which may have been meant as part of it. `verbatim` tells that the text stands at its
    place letter by letter: neither folded nor escaped, nor repeated by an alias.
    """

    place: Place
    text: str
    value: Value
    quoted: bool = False
    block: bool = False
    trap: str | None = None
    comment_after: str | None = None
    verbatim: bool = False

    def part(self, start: int, end: int) -> Place:
        """Where the characters from `start` to `end` (exclusive) of the text stand; the whole place if unknown."""
        if not self.verbatim:
            return self.place
        column = self.place.column + self.quoted
        return replace(self.place, column=column + start, end_column=column + end)


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    place: Place
    items: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys, which are always text and never twice the same, with their values. `flow` tells that it stands in { }.

    Inside { } a comma ends a value: text with a comma in it shows as an entry with an empty, unquoted value.
    """

    place: Place
    entries: tuple[tuple[Scalar, Tree], ...]
    flow: bool = False
    _by_key: dict[str, Tree] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_key", {key.text: value for key, value in self.entries})

    def get(self, key: str) -> Tree | None:
        """The value of a key, or None where it is absent."""
        return self._by_key.get(key)

    def keys(self) -> tuple[str, ...]:
        return tuple(self._by_key)


Tree = Scalar | Sequence | Mapping


def plain(tree: Tree) -> Any:
    """The tree as plain values: dicts with text keys, lists, and scalars."""
    match tree:
        case Scalar():
            return tree.value
        case Sequence():
            return [plain(item) for item in tree.items]
        case Mapping():
            return {key.text: plain(value) for key, value in tree.entries}


def read(text: str | bytes, file: str) -> Mapping:
    """The tree of a YAML text; `file` is its name in places.

    Raises GraphWrong with every problem found: all that can be told before the first place where the text is not YAML.
    """
    return _Reader(_decoded(text, file), file).read()


def _decoded(text: str | bytes, file: str) -> str:
    """The text without a byte order mark. Raises GraphWrong where it is too large or no UTF-8 text."""

    def wrong(code: str, message: str, before: str, help: str | None = None) -> GraphWrong:
        lines = _LINE_END.split(before)
        line, column = len(lines), len(lines[-1]) + 1
        return GraphWrong([Diagnostic(code, message, Place(file, line, column, line, column + 1), help)])

    # Surrogates pass here and are reported below, with their place.
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(data) > BYTES:
        message = f"the file has {len(data):,} bytes, a graph file may have {BYTES:,}"
        raise wrong("too-large", message, "", "keep large data in files of its own")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise wrong("syntax", "the file is UTF-16 text, not UTF-8", "", "save it as UTF-8")
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            message = f"the file is not UTF-8 text: byte 0x{data[error.start]:02x} at offset {error.start}"
            raise wrong("syntax", message, data[: error.start].decode("utf-8"), "save it as UTF-8") from None
    text = text.removeprefix("\ufeff")
    if found := _FORBIDDEN.search(text):
        number = ord(found[0])
        name, help = f"U+{number:04X}", f'in double quotes it is written "\\u{number:04x}"' if number < 0xD800 else None
        if number == 0:
            name, help = "NUL", "is this a text file?"
        raise wrong("syntax", f"the character {name} cannot stand in a file", text[: found.start()], help)
    return text


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not been read yet."""

    start: int
    end: int
    flow: bool
    anchor: str | None
    keys: dict[str, Place] | None
    """The keys of a mapping so far, and where they stand; None for a list."""
    items: list[Tree] = field(default_factory=list)
    """Of a mapping, keys and values in turn."""
    size: int = 1
    height: int = 1

    @property
    def wants_key(self) -> bool:
        return self.keys is not None and len(self.items) % 2 == 0


class _Reader:
    def __init__(self, text: str, file: str) -> None:
        self.text, self.file = text, file
        self.line_starts = array("L", [0])
        self.line_starts.extend(match.end() for match in _LINE_END.finditer(text))
        self.found: list[Diagnostic] = []
        self.open: list[_Open] = []
        self.anchors: dict[str, tuple[Tree, int, int]] = {}  # with its size and height, aliases expanded
        self.count = 0
        self.last = (0, 0)  # where the value that was read last starts and ends
        self.root: Tree | None = None

    def read(self) -> Mapping:
        try:
            for event in yaml.parse(self.text, Loader=_LOADER):
                self.take(event)
        except yaml.MarkedYAMLError as error:
            opened = next((frame.start for frame in reversed(self.open) if self.text[frame.start] in "[{"), None)
            self.found.append(syntax.explain(error, self.text, self.place, self.last, opened))
        except yaml.YAMLError as error:
            self.fail("syntax", 0, 0, f"this is not YAML: {error}")
        if self.found:
            raise GraphWrong(sorted(self.found, key=lambda diagnostic: diagnostic.place or Place("", 0, 0, 0, 0)))
        if isinstance(self.root, Mapping):
            return self.root
        if self.root is None or (isinstance(self.root, Scalar) and self.root.value is None):
            help = "a graph has at least `latentgraph: 1`, `nodes` and `outputs`"
            self.fail("missing-key", 0, 0, "the file is empty", help)
        start, end = self.last
        if isinstance(self.root, Sequence):
            help = "write each line as `key: value`"
            self.fail("wrong-type", start, end, "the file is a list, not keys with values", help)
        missing = re.search(r"\w:\S", self.root.text)
        help = "a space follows the `:`, as in `key: value`" if missing else "write each line as `key: value`"
        self.fail("wrong-type", start, end, "the file is a single text, not keys with values", help)
        return None

    def take(self, event: Any) -> None:
        match event:
            case yaml.ScalarEvent():
                self.refuse_tag(event)
                self.scalar(event)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self.refuse_tag(event)
                self.begin(event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self.finish(event)
            case yaml.AliasEvent():
                self.alias(event)
            case yaml.DocumentStartEvent() if self.root is not None:
                self.second_document(event)

    def second_document(self, event: Any) -> NoReturn:
        start = event.start_mark.index
        message = "a second document begins here, a graph file is one document"
        self.fail("syntax", start, start + 3, message, "put it into a file of its own, or remove the `---`")

    def place(self, start: int, end: int) -> Place:
        line, end_line = bisect_right(self.line_starts, start), bisect_right(self.line_starts, end)
        starts = self.line_starts
        return Place(self.file, line, start - starts[line - 1] + 1, end_line, end - starts[end_line - 1] + 1)

    def wrong(self, code: str, place: Place, message: str, help: str | None, *notes: Note) -> None:
        self.found.append(Diagnostic(code, message, place, help, notes))
        if len(self.found) >= _MANY:
            raise GraphWrong(self.found)

    def fail(self, code: str, start: int, end: int, message: str, help: str | None = None) -> NoReturn:
        """Says what makes it pointless or dangerous to read on."""
        raise GraphWrong([*self.found, Diagnostic(code, message, self.place(start, end), help)])

    def refuse_tag(self, event: Any) -> None:
        if event.tag is not None:
            start = event.start_mark.index
            written = re.compile(r"(?:&\S+\s+)?(!\S{0,40})").match(self.text, start)
            start, end = written.span(1) if written else (start, start + 1)
            self.wrong("syntax", self.place(start, end), *syntax.tag(self.text[start:end]))

    def grow(self, size: int, height: int, start: int, end: int) -> None:
        """Counts what comes next before it is made."""
        self.count += size
        if self.count > NODES:
            self.fail("too-large", start, end, f"the file has more than {NODES:,} values, those of aliases counted too")
        if len(self.open) + height > DEPTH:
            self.fail("too-deep", start, end, f"lists and mappings stand more than {DEPTH} deep within each other")

    def scalar(self, event: Any) -> None:
        text, style, start, end = event.value, event.style, event.start_mark.index, event.end_mark.index
        quoted, block = style in ("'", '"'), style in ("|", ">")
        frame = self.open[-1] if self.open else None
        if event.anchor and (anchor := _ANCHOR.match(self.text, start, end)):
            start = anchor.end()
        elif text == "" and not quoted and not block and frame and frame.keys is not None and not frame.wants_key:
            # libyaml puts a value that is not there before whatever follows; it belongs behind its key's colon.
            colon = _AFTER_KEY.match(self.text, frame.end)
            start = end = colon.end() if colon else frame.end
        while block and end > start and self.text[end - 1] in "\r\n \t":
            end -= 1
        self.grow(1, 0, start, end)
        value, trap = (text, None) if quoted or block else resolve(text)
        comment = None if quoted or block else _COMMENT.match(self.text, end)
        verbatim = self.text[start + quoted : end - quoted] == text
        after = comment[1].rstrip() if comment else None
        scalar = Scalar(self.place(start, end), text, value, quoted, block, trap, after, verbatim)
        self.add(scalar, start, end, 1, 0, event.anchor)

    def begin(self, event: Any) -> None:
        start, end = event.start_mark.index, event.end_mark.index
        if self.text[start:end].endswith(("[", "{")):
            start = end - 1  # behind an anchor, if there is one
        elif event.anchor and (anchor := _ANCHOR.match(self.text, start)):
            start = anchor.end()
        self.grow(1, 1, start, max(end, start + 1))
        keys: dict[str, Place] | None = {} if isinstance(event, yaml.MappingStartEvent) else None
        self.open.append(_Open(start, end, bool(event.flow_style), event.anchor, keys))

    def finish(self, event: Any) -> None:
        frame, end = self.open.pop(), event.end_mark.index
        # In block style the end that libyaml tells is where the next thing begins.
        end = end if frame.flow and self.text[end - 1 : end] in ("]", "}") else frame.end
        place = self.place(frame.start, end)
        tree: Tree
        if frame.keys is None:
            tree = Sequence(place, tuple(frame.items))
        else:
            tree = Mapping(place, self.merged(frame), frame.flow)
        self.add(tree, frame.start, end, frame.size, frame.height, frame.anchor)

    def alias(self, event: Any) -> None:
        name, start, end = event.anchor, event.start_mark.index, event.end_mark.index
        known = self.anchors.get(name)
        if any(frame.anchor == name for frame in self.open):
            known = None
            self.wrong("syntax", self.place(start, end), f"`*{name}` stands inside the value that it repeats", None)
        elif known is None:
            near = nearest(name, self.anchors)
            quote = f'quote it if it is text: "*{name}"'
            help = f"there is `&{near}`; {quote}" if near else quote
            self.wrong("syntax", self.place(start, end), f"no anchor before this is called `{name}`", help)
        tree, size, height = known or (Scalar(self.place(start, end), "", None), 1, 0)
        self.grow(size, height, start, end)
        if isinstance(tree, Scalar):
            tree = replace(tree, verbatim=False, comment_after=None)
        self.add(replace(tree, place=self.place(start, end)), start, end, size, height, None)

    def add(self, tree: Tree, start: int, end: int, size: int, height: int, anchor: str | None) -> None:
        """Puts a finished tree where it belongs."""
        self.last = (start, end)
        if anchor:
            self.anchors[anchor] = (tree, size, height)
        if not self.open:
            self.root = tree
            return
        frame = self.open[-1]
        if frame.wants_key:
            tree = self.key(frame, tree)
        frame.items.append(tree)
        frame.end = end
        frame.size += size
        frame.height = max(frame.height, height + 1)

    def key(self, frame: _Open, tree: Tree) -> Scalar:
        assert frame.keys is not None
        if not isinstance(tree, Scalar):
            template = isinstance(tree, Mapping) and tree.flow and frame.flow and self.last[0] == frame.start + 1
            message = "`{{ }}` is not part of the format" if template else "a list or a mapping cannot be a key"
            template_help = "write a param as $params.NAME, and in longer text as $(params.NAME)"
            self.wrong("syntax", tree.place, message, template_help if template else "a key is a name or text")
            return Scalar(tree.place, "", None)
        if tree.text in frame.keys:
            note = Note(f"`{tree.text}` is here first", frame.keys[tree.text])
            help = "merge several at once: `<<: [*one, *other]`" if tree.text == "<<" else None
            self.wrong("duplicate-key", tree.place, f"the key `{tree.text}` is there twice", help, note)
        frame.keys.setdefault(tree.text, tree.place)
        return tree

    def merged(self, frame: _Open) -> tuple[tuple[Scalar, Tree], ...]:
        """The entries of a mapping with those that `<<` brings in its place; what the mapping says itself wins."""
        assert frame.keys is not None
        keys_and_values = zip(frame.items[::2], frame.items[1::2], strict=True)
        pairs = [(key, value) for key, value in keys_and_values if isinstance(key, Scalar)]
        if "<<" not in frame.keys:
            return tuple(pairs)
        taken = set(frame.keys)
        entries: list[tuple[Scalar, Tree]] = []
        for key, value in pairs:
            if key.text != "<<" or key.quoted:
                entries.append((key, value))
                continue
            for source in value.items if isinstance(value, Sequence) else (value,):
                if not isinstance(source, Mapping):
                    message = "`<<` merges mappings, this is none"
                    self.wrong("syntax", source.place, message, "write `<<: *anchor` with the anchor of a mapping")
                    continue
                new = [entry for entry in source.entries if entry[0].text not in taken]
                entries += new
                taken.update(entry[0].text for entry in new)
        return tuple(entries)
