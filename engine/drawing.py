"""A graph as a picture: its nodes as boxes, coloured by what is decided for them, and its links by port type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, zip_longest
from zlib import crc32

from . import painting
from .diagnostics import printable
from .layout import Area, Layout, Link, Point, Size, arrange
from .painting import Curve, Disc, Line, Picture, Polygon, Rect, Shape, Words, shortened, text_width

__all__ = ["Box", "Link", "to_png", "to_svg"]

MARGIN = 28.0
PADDING = 12.0  # inside a box
NARROWEST, WIDEST = 110.0, 250.0  # boxes
DETAILS = 6  # lines of a box that say what its plain inputs are
PITCH = 12.0  # from a port without a label to the next
LEAST = 420.0  # width of a picture
LINK = 1.8  # thickness of links
DOT = 3.6  # radius of the dots at their ends

HEADING, NAME, TYPE, SMALL = 18.0, 13.0, 11.0, 10.0  # sizes of text
ROW = 15.0  # from one line of small text to the next
DETAIL = 13.0
BREAK = 6.0  # between parts of a box

COLOURS = {  # on a light page and on a dark one
    "page": ("#fbfbfa", "#17191d"),
    "card": ("#ffffff", "#212429"),
    "edge": ("#cdd1d6", "#454b54"),
    "frame": ("#f3f4f4", "#1c1f24"),
    "text": ("#24292f", "#e4e7ea"),
    "muted": ("#6a727c", "#9aa3ad"),
    "run": ("#b3530e", "#f0a15f"),
    "run-soft": ("#fdeedd", "#40301f"),
    "run-edge": ("#d58a4c", "#b9743a"),
    "reuse": ("#1f67b1", "#7db9f2"),
    "reuse-soft": ("#e5f0fb", "#1f3346"),
    "reuse-edge": ("#9dc1e6", "#3f6d99"),
    "depends": ("#7a4bb0", "#c3a2ef"),
    "depends-soft": ("#f2eafb", "#362a48"),
    "depends-edge": ("#bda3e0", "#75589c"),
    "skip": ("#747b84", "#9199a3"),
    "skip-soft": ("#eceeef", "#2b2f35"),
    "skip-edge": ("#bcc1c7", "#5a6069"),
}
STATES = ("run", "depends", "reuse", "skip")
TYPE_COLOURS = (
    ("#7d8fa3", "#9db0c4"),  # slate
    ("#4f9d69", "#74be8c"),  # green
    ("#a0785a", "#bf9a7e"),  # brown
    ("#cc5b5b", "#e28080"),  # red
    ("#3f8fc7", "#66b0e3"),  # blue
    ("#8a8f3c", "#b0b562"),  # olive
    ("#c39a2b", "#dcb855"),  # yellow
    ("#8a76c9", "#a594e0"),  # violet
    ("#d9803a", "#eb9f5f"),  # orange
    ("#5a6fc0", "#8496e0"),  # indigo
    ("#9c5fa8", "#bd87c8"),  # purple
    ("#2f9c95", "#58bdb6"),  # teal
    ("#cb6fa6", "#e192c4"),  # pink
)


COLOURS |= {f"type-{index}": both for index, both in enumerate(TYPE_COLOURS)}


@dataclass(frozen=True)
class Box:
    """One node of a graph, as it is drawn."""

    name: str
    """The node's address, such as `sampled` or `drawn/3/sampled`."""
    title: str
    """The node type."""
    state: str | None = None
    """`run`, `reuse`, `skip` or `depends`; None where nothing is planned."""
    note: str = ""
    """A short line, such as the reason for the state."""
    detail: tuple[str, ...] = ()
    """Lines such as `seed: 42`, for inputs that are no links."""
    group: str = ""
    """Boxes of one group get a frame around them, with this label."""


def to_svg(title: str, boxes: Sequence[Box], links: Sequence[Link]) -> str:
    """The picture as the text of an SVG file, for light and for dark pages.

    Links join two of the boxes each. Raises ValueError where they form a cycle.
    """
    return painting.to_svg(_picture(title, boxes, links))


def to_png(title: str, boxes: Sequence[Box], links: Sequence[Link], scale: float = 2) -> bytes:
    """The picture on a light page as the bytes of a PNG file.

    `scale` is how many pixels a unit of the SVG has; fewer where there would be too many. Letters that Pillow's font
    lacks are drawn without their accents, other characters as that font draws unknown ones.
    """
    return painting.to_png(_picture(title, boxes, links), scale)


def _picture(title: str, boxes: Sequence[Box], links: Sequence[Link]) -> Picture:
    cards = {box.name: _Card(box) for box in boxes}
    for link in links:
        cards[link.source].outputs.setdefault(link.output, link.type)
        cards[link.target].inputs.setdefault(link.input, link.type)
    groups = {box.name: box.group for box in boxes if box.group}
    layout = arrange({name: card.size() for name, card in cards.items()}, links, groups)
    colours = _type_colours(links)
    width = max(layout.width, LEAST)
    heading, height = _heading(title, boxes, colours, MARGIN + width)
    layout.move(MARGIN, height)
    picture = Picture(printable(title), width + 2 * MARGIN, height + layout.height + MARGIN, COLOURS)
    picture.parts.append(("", heading))
    picture.parts += [(printable(group), _frame(group, area)) for group, area in layout.frames.items()]
    picture.parts += _lines(links, layout, colours)
    picture.parts += [(card.about(), list(card.shapes(layout, colours))) for card in cards.values()]
    return picture


def _base(type: str) -> str:
    """The port type whose colour a type has; a list has that of its elements."""
    return type.removesuffix(" | none").strip("[]")


def _type_colours(links: Sequence[Link]) -> dict[str, str]:
    """A colour for each port type: the same in all pictures, unless two types of this one would have the same."""
    colours: dict[str, str] = {}
    for name in dict.fromkeys(_base(link.type) for link in links):
        wanted = crc32(name.lower().encode(errors="replace"))
        wishes = [f"type-{(wanted + step) % len(TYPE_COLOURS)}" for step in range(len(TYPE_COLOURS))]
        colours[name] = next((wish for wish in wishes if wish not in colours.values()), wishes[0])
    return colours


def _heading(title: str, boxes: Sequence[Box], colours: Mapping[str, str], right: float) -> tuple[list[Shape], float]:
    """The title and, below it, what the colours mean; and where the picture goes on."""
    text = shortened(printable(title), HEADING, right - MARGIN)
    shapes: list[Shape] = [Words(MARGIN, MARGIN + HEADING * 0.75, text, HEADING, "text", bold=True)]
    counts = Counter(box.state for box in boxes)
    x, y = MARGIN, MARGIN + HEADING + BREAK
    entries: list[tuple[Callable[[float, float, str, str], Iterator[Shape]], str, str]]
    entries = [(_pill, state, f"{counts[state]} {state}") for state in STATES if counts[state]]
    entries += [(_sample, colours[name], printable(name)) for name in sorted(colours)]
    for shapes_of, colour, words in entries:
        wide = text_width(words, SMALL) + 40
        if x > MARGIN and x + wide > right:
            x, y = MARGIN, y + 1.6 * ROW
        shapes += shapes_of(x, y, colour, words)
        x += wide
    return shapes, y + (1.6 * ROW if entries else 0) + 2 * BREAK


def _pill(x: float, y: float, state: str, words: str) -> Iterator[Shape]:
    """A state as a sign and words, its top left corner at a point."""
    yield Rect(x, y, _pill_width(words), ROW, f"{state}-soft", radius=ROW / 2)
    yield from _sign(x + 10.5, y + ROW / 2, state)
    yield Words(x + 18, y + ROW / 2 + SMALL * 0.34, words, SMALL, state)


def _pill_width(words: str) -> float:
    return text_width(words, SMALL) + 26


def _sign(x: float, y: float, state: str) -> Iterator[Shape]:
    """The sign of a state, for those who cannot tell the colours."""
    match state:
        case "run":
            yield Polygon([Point(x - 2.6, y - 3.8), Point(x + 3.8, y), Point(x - 2.6, y + 3.8)], state)
        case "reuse":
            yield Line([Point(x - 3.6, y + 0.2), Point(x - 1, y + 2.9), Point(x + 3.8, y - 3)], state, 1.6)
        case "depends":
            yield Polygon([Point(x, y - 4.2), Point(x + 4.2, y), Point(x, y + 4.2), Point(x - 4.2, y)], state)
            yield Polygon([Point(x, y - 2.1), Point(x + 2.1, y), Point(x, y + 2.1), Point(x - 2.1, y)], f"{state}-soft")
        case "skip":
            yield Disc(x, y, 3.4, f"{state}-soft", state, 1.3)
            yield Line([Point(x - 2.3, y + 2.3), Point(x + 2.3, y - 2.3)], state, 1.3)


def _sample(x: float, y: float, colour: str, words: str) -> Iterator[Shape]:
    """A port type in its colour."""
    yield Line([Point(x + 1, y + ROW / 2), Point(x + 13, y + ROW / 2)], colour, LINK)
    yield Disc(x + 13, y + ROW / 2, DOT, colour)
    yield Words(x + 20, y + ROW / 2 + SMALL * 0.34, words, SMALL, "muted")


def _frame(group: str, area: Area) -> list[Shape]:
    label = shortened(printable(group), TYPE, area.width - 24)
    return [
        Rect(*area, "frame", "edge", radius=12),
        Words(area.x + 14, area.y + 18, label, TYPE, "muted", bold=True),
    ]


def _lines(links: Sequence[Link], layout: Layout, colours: Mapping[str, str]) -> Iterator[tuple[str, list[Shape]]]:
    """The links, those of one trunk together, on a border that shows which is above where they cross others."""
    trunks: dict[str, list[int]] = {}
    for index, trunk in enumerate(layout.trunks):
        trunks.setdefault(trunk, []).append(index)
    for members in trunks.values():
        pieces: dict[tuple[Point, Point], str] = {}
        for index in members:
            for piece in pairwise(layout.links[index]):
                pieces.setdefault(piece, colours[_base(links[index].type)])
        curves = [
            Curve([piece for piece in pieces if pieces[piece] == colour], colour, LINK)
            for colour in dict.fromkeys(pieces.values())
        ]
        ends = (links[index] for index in members)
        about = [printable(f"{a.source}.{a.output} → {a.target}.{a.input}: {a.type}") for a in ends]
        yield "\n".join(about), [Curve(list(pieces), "page", LINK + 3), *curves]


@dataclass
class _Card:
    """How a box is drawn: name and type, a note, the labels of ports at its sides, and details."""

    box: Box
    inputs: dict[str, str] = field(default_factory=dict)
    """The port types' names, by port."""
    outputs: dict[str, str] = field(default_factory=dict)

    def about(self) -> str:
        """All that there is to say, nothing shortened."""
        state = [self.box.state] if self.box.state else []
        lines = [f"{self.box.name}: {self.box.title}", *state, *filter(None, [self.box.note]), *self.box.detail]
        return "\n".join(map(printable, lines))

    @property
    def name(self) -> str:
        """The address inside the frame, whose label says the rest."""
        return printable(self.box.name.removeprefix(f"{self.box.group}/"))

    @property
    def details(self) -> list[str]:
        lines = [printable(line) for line in self.box.detail]
        return lines if len(lines) <= DETAILS else [*lines[: DETAILS - 1], f"… {len(lines) - DETAILS + 1} more"]

    @property
    def labels(self) -> tuple[bool, bool]:
        """Whether the inputs need labels, and whether the outputs do, because the colours do not tell them apart."""
        return (
            not all(_obvious(name, type) for name, type in self.inputs.items()),
            len({_base(type) for type in self.outputs.values()}) < len(self.outputs),
        )

    @property
    def rows(self) -> int:
        """How many rows the ports take up; none where they need no labels and so can be anywhere."""
        return max(len(self.inputs), len(self.outputs)) if any(self.labels) else 0

    @property
    def _rows_top(self) -> float:
        return PADDING + 17 + 14 + (ROW if self.box.note else 0) + BREAK

    @property
    def _details_top(self) -> float:
        return self._rows_top + (self.rows * ROW + BREAK if self.rows else 0)

    def size(self) -> Size:
        left, right = self.labels
        sides = zip_longest(self.inputs if left else (), self.outputs if right else (), fillvalue="")
        widths = [
            text_width(self.name, NAME) + (_pill_width(self.box.state) + 4 if self.box.state else 0),
            text_width(printable(self.box.title), TYPE),
            text_width(printable(self.box.note), SMALL),
            *(text_width(line, SMALL) for line in self.details),
            *(text_width(a + b, SMALL) + 24 for a, b in sides),
        ]
        width = min(max(NARROWEST, max(widths) + 2 * PADDING), WIDEST)
        height = self._details_top + len(self.details) * DETAIL - BREAK + PADDING
        height = max(height, PITCH * (1 + max(len(self.inputs), len(self.outputs))))

        def slots(count: int) -> tuple[float, ...]:
            if self.rows:
                first = self._rows_top + ROW * (self.rows - count + 1) / 2
                return tuple(first + ROW * index for index in range(count))
            return tuple(height * (index + 1) / (count + 1) for index in range(count))

        return Size(width, height, slots(len(self.inputs)), slots(len(self.outputs)))

    def shapes(self, layout: Layout, colours: Mapping[str, str]) -> Iterator[Shape]:
        area, state = layout.boxes[self.box.name], self.box.state
        yield Rect(
            *area,
            fill="page" if state == "skip" else "card",
            edge=f"{state}-edge" if state else "edge",
            thickness=1.6 if state in ("run", "depends") else 1.1,
            radius=8,
            dashed=state in ("depends", "skip"),
        )
        yield from self._text(area)
        label_inputs, label_outputs = self.labels
        yield from self._ports(area, self.inputs, layout.inputs, colours, label_inputs, ends=False)
        yield from self._ports(area, self.outputs, layout.outputs, colours, label_outputs, ends=True)

    def _text(self, area: Area) -> Iterator[Shape]:
        state, room = self.box.state, area.width - 2 * PADDING
        x, y = area.x + PADDING, area.y + PADDING + 10
        pill = 0.0
        if state:
            pill = _pill_width(state)
            yield from _pill(x + room - pill + 4, y - 11, state, state)
        strong = "muted" if state == "skip" else "text"
        yield Words(x, y, shortened(self.name, NAME, room - pill), NAME, strong, bold=True)
        yield Words(x, y + 17, shortened(printable(self.box.title), TYPE, room), TYPE, "muted")
        if self.box.note:
            yield Words(x, y + 17 + ROW, shortened(printable(self.box.note), SMALL, room), SMALL, state or "muted")
        for index, line in enumerate(self.details):
            y = area.y + self._details_top + SMALL * 0.8 + DETAIL * index
            yield Words(x, y, shortened(line, SMALL, room), SMALL, "muted")

    def _ports(
        self,
        area: Area,
        ports: Mapping[str, str],
        places: Mapping[tuple[str, str], Point],
        colours: Mapping[str, str],
        labelled: bool,
        ends: bool,
    ) -> Iterator[Shape]:
        room = (area.width - 2 * PADDING) / (2 if all(self.labels) else 1) - 4
        for port, type in ports.items():
            x, y = places[self.box.name, port]
            yield Disc(x, y, DOT, colours[_base(type)], "card", 1)
            if labelled:
                label = shortened(printable(port), SMALL, room)
                yield Words(x + (-PADDING if ends else PADDING), y + SMALL * 0.34, label, SMALL, "text", ends=ends)


def _obvious(port: str, type: str) -> bool:
    """Whether a port is called like its type, so that its colour says it."""
    return port.replace("_", "").lower().removesuffix("s") == _base(type).lower().removesuffix("s")
