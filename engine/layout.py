"""Where the boxes and links of a drawing go: boxes in columns, data flowing from left to right.

Left to right, because boxes hold lines of text and so are wide and low: many fit into a column, links meet them at
their short sides, and most graphs come out about as wide as a screen. The steps are the usual ones (Sugiyama's):

1. Each box gets a column, to the right of all that it takes data from.
2. A link that passes a column takes a place there, like a box without height, so that it never runs through one. Links
   from one output, or into one input, share these places: they are drawn as one trunk that branches.
3. Boxes and passages are ordered within their columns so that few links cross.
4. Each is moved as near to the height of what it is linked to as its neighbours allow.

A group is laid out by itself and then takes part in the rest as one large box.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from .columns import Cell, Part, chains_of, connected, ordered, set_columns, set_ports
from .heights import set_heights

APART = 40.0  # between boxes that no lines connect
FRAME = 18.0  # left free between a frame and what is in it
LABEL = 14.0  # more of it at the top, for the frame's label


@dataclass(frozen=True)
class Link:
    """An output of a node that flows into an input of another; `type` is the port type's name."""

    source: str
    output: str
    target: str
    input: str
    type: str


@dataclass(frozen=True)
class Size:
    """What a box needs: the least width, the height, and how far down its sides links can end, one for each port."""

    width: float
    height: float
    inputs: tuple[float, ...] = ()
    outputs: tuple[float, ...] = ()


class Point(NamedTuple):
    x: float
    y: float


class Area(NamedTuple):
    x: float
    y: float
    width: float
    height: float


@dataclass
class Layout:
    """Where everything is. A link goes through its points, and is level at each of them."""

    width: float = 0.0
    height: float = 0.0
    boxes: dict[str, Area] = field(default_factory=dict)
    frames: dict[str, Area] = field(default_factory=dict)
    inputs: dict[tuple[str, str], Point] = field(default_factory=dict)
    outputs: dict[tuple[str, str], Point] = field(default_factory=dict)
    links: list[list[Point]] = field(default_factory=list)
    trunks: list[str] = field(default_factory=list)
    """For each link the name of the trunk that it is a branch of."""

    def move(self, x: float, y: float) -> None:
        """Move everything to the right and down."""
        self.boxes = {name: Area(a.x + x, a.y + y, a.width, a.height) for name, a in self.boxes.items()}
        self.frames = {name: Area(a.x + x, a.y + y, a.width, a.height) for name, a in self.frames.items()}
        self.inputs = {port: Point(p.x + x, p.y + y) for port, p in self.inputs.items()}
        self.outputs = {port: Point(p.x + x, p.y + y) for port, p in self.outputs.items()}
        self.links = [[Point(p.x + x, p.y + y) for p in points] for points in self.links]


def arrange(sizes: Mapping[str, Size], links: Sequence[Link], groups: Mapping[str, str]) -> Layout:
    """The layout of boxes, by name, and of the links between them; `groups` has the group of each box that is in one.

    Raises ValueError where links form a cycle, also one through a whole group.
    """
    home = {name: groups.get(name, "") for name in sizes}
    sheets = {group: _Sheet() for group in dict.fromkeys([*home.values(), ""])}
    for name, size in sizes.items():
        sheets[home[name]].cells[name] = Cell("box", size.width, size.height, size.inputs, size.outputs)
    trunks = _trunks(links)
    routes = [_cut(link, trunk, home, sheets) for link, trunk in zip(links, trunks, strict=True)]
    for group, part in (step for route in routes for step in route):
        sheets[group].parts[part] = []

    outside = sheets.pop("")
    for group, sheet in sheets.items():
        sheet.lay_out(FRAME)
        outside.cells[_frame(group)] = sheet.as_cell()
    outside.lay_out(0)

    layout = Layout(outside.width, outside.height, trunks=trunks)
    origins = {"": Point(0, 0)}
    for group in sheets:
        cell = outside.cells[_frame(group)]
        origins[group] = Point(cell.x, cell.y)
        layout.frames[group] = Area(cell.x, cell.y, cell.width, cell.height)
    sheets[""] = outside
    for name, group in home.items():
        cell, (x, y) = sheets[group].cells[name], origins[group]
        layout.boxes[name] = Area(x + cell.x, y + cell.y, cell.width, cell.height)
        for port, below in cell.inputs.items():
            layout.inputs[name, port] = Point(x + cell.x, y + cell.y + below)
        for port, below in cell.outputs.items():
            layout.outputs[name, port] = Point(x + cell.x + cell.width, y + cell.y + below)
    for route in routes:
        parts = [(origins[group], sheets[group].parts[part]) for group, part in route]
        # Parts, and columns as wide as a box, begin where the one before ends.
        places = [Point(x + point.x, y + point.y) for (x, y), points in parts for point in points]
        layout.links.append(list(dict.fromkeys(places)))
    return layout


def _frame(group: str) -> str:
    """What the cell of a frame is called, unlike any box."""
    return f"frame\n{group}"


def _trunks(links: Sequence[Link]) -> list[str]:
    """For each link what it is a branch of: all that leave its output or, if more, all that enter its input."""
    leave = Counter((link.source, link.output) for link in links)
    enter = Counter((link.target, link.input) for link in links)
    return [
        f"from\n{link.source}\n{link.output}"
        if leave[link.source, link.output] >= enter[link.target, link.input]
        else f"into\n{link.target}\n{link.input}"
        for link in links
    ]


def _cut(link: Link, trunk: str, home: Mapping[str, str], sheets: Mapping[str, _Sheet]) -> list[tuple[str, Part]]:
    """A link in parts that lie on one sheet each: it is cut where it crosses a frame, which has a door there."""
    start, end = home[link.source], home[link.target]
    whole = Part(link.source, link.output, link.target, link.input, trunk)
    if start == end:
        return [(start, whole)]
    before, middle, after = [], whole, []
    if start:
        door = sheets[start].door("out", trunk)
        before = [(start, whole._replace(target=door, input=door))]
        middle = middle._replace(source=_frame(start), output=door)
    if end:
        door = sheets[end].door("in", trunk)
        middle = middle._replace(target=_frame(end), input=door)
        after = [(end, whole._replace(source=door, output=door))]
    return [*before, ("", middle), *after]


class _Sheet:
    """What is laid out together: all that is in one frame, or all that is in none."""

    def __init__(self) -> None:
        self.cells: dict[str, Cell] = {}
        self.parts: dict[Part, list[Point]] = {}
        """The points that each goes through."""
        self.width = self.height = 0.0

    def door(self, kind: str, trunk: str) -> str:
        """The name of the door through which a trunk comes in or goes out."""
        name = f"{kind}\n{trunk}"
        if name not in self.cells:
            self.cells[name] = Cell(kind)
        return name

    def as_cell(self) -> Cell:
        """The sheet and a frame around it, as a cell of the sheet outside; its ports are the doors."""
        inputs, outputs = ({n: c.y for n, c in self.cells.items() if c.kind == kind} for kind in ("in", "out"))
        return Cell("frame", self.width, self.height, inputs=inputs, outputs=outputs)

    def lay_out(self, margin: float) -> None:
        """Give all cells their places, and all parts their points, with so much left free around boxes."""
        set_columns(self.cells, self.parts)
        chains = chains_of(self.cells, self.parts)
        count = 1 + max((cell.column for cell in self.cells.values()), default=0)
        columns: list[list[Cell]] = [[] for _ in range(count)]
        bottom = margin + LABEL if margin else 0.0
        for group in connected([*self.cells.values(), *chain.from_iterable(chains)]):
            own = ordered(group, count)
            for cell in chain.from_iterable(own):
                set_ports(cell)
            set_heights(own)
            down = bottom - min(cell.y for cell in group)
            for cell in group:
                cell.y += down
                columns[cell.column].append(cell)
            bottom = max(cell.y + cell.height for cell in group) + APART
        spans = _set_widths(columns, margin)
        self.width = spans[-1][1] + (margin if any(cell.kind != "out" for cell in columns[-1]) else 0)
        self.height = max(bottom - APART, 0) + margin
        for part, cells in zip(self.parts, chains, strict=True):
            self.parts[part] = _points(part, cells, spans)


def _set_widths(columns: Sequence[Sequence[Cell]], margin: float) -> list[tuple[float, float]]:
    """Set columns side by side, boxes as wide as the widest of their column, and say where columns begin and end."""
    x = margin if any(cell.kind != "in" for cell in columns[0]) else 0.0
    spans = []
    for column in columns:
        widest = max((cell.width for cell in column if cell.kind == "box"), default=0.0)
        for cell in column:
            cell.x = x
            cell.width = max(cell.width, widest if cell.kind == "box" else 0.0)
        spans.append((x, x + max((cell.width for cell in column), default=0.0)))
        # The further lines rise or fall, the more room they get for it.
        lines = [line for cell in column for line in cell.after]
        rise = max((abs(line.start_y() - line.end_y()) for line in lines), default=0.0)
        x = spans[-1][1] + min(48 + rise / 6 + len(lines), 140)
    return spans


def _points(part: Part, cells: Sequence[Cell], spans: Sequence[tuple[float, float]]) -> list[Point]:
    """Where a part goes: from a side of its source to one of its target, level through each column between."""
    source, *passages, target = cells
    start, end = source.y + source.outputs[part.output], target.y + target.inputs[part.input]
    points = [Point(source.x + source.width, start), Point(spans[source.column][1], start)]
    for cell in passages:
        points += [Point(x, cell.y) for x in spans[cell.column]]
    return [*points, Point(spans[target.column][0], end), Point(target.x, end)]
