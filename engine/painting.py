"""Shapes, painted as SVG text or as PNG bytes so that both look the same.

Colours are named by what they stand for, and are given for a light page and for a dark one. All text is in the font
that comes with Pillow; the SVG carries it.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from itertools import pairwise
from math import ceil, cos, hypot, pi, sin, sqrt
from typing import TYPE_CHECKING
from unicodedata import combining, east_asian_width, normalize
from xml.sax.saxutils import escape, quoteattr

from .layout import Point

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

PIXELS = 40_000_000  # at most, of a PNG
FEW = 4_000_000  # of them, which are painted even finer
AT_ONCE = 32_000_000  # pixels that are painted at once, before they are made smaller
DASH = (5.0, 4.0)
BOLD = 0.22  # how much wider strokes of bold text are, on each side: Pillow's font is regular only


@dataclass(frozen=True, slots=True)
class Rect:
    x: float
    y: float
    width: float
    height: float
    fill: str
    edge: str = ""
    thickness: float = 1.0
    radius: float = 0.0
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """Straight from each point to the next."""

    points: Sequence[Point]
    colour: str
    thickness: float


@dataclass(frozen=True, slots=True)
class Curve:
    """Pieces, each from one point to another to the right of it, and level at both."""

    pieces: Sequence[tuple[Point, Point]]
    colour: str
    thickness: float


@dataclass(frozen=True, slots=True)
class Disc:
    x: float
    y: float
    radius: float
    fill: str
    edge: str = ""
    thickness: float = 1.0


@dataclass(frozen=True, slots=True)
class Polygon:
    points: Sequence[Point]
    fill: str


@dataclass(frozen=True, slots=True)
class Words:
    """One line of text that begins, or ends, at a point of its base line."""

    x: float
    y: float
    text: str
    size: float
    colour: str
    bold: bool = False
    ends: bool = False


Shape = Rect | Line | Curve | Disc | Polygon | Words


@dataclass
class Picture:
    title: str
    width: float
    height: float
    colours: Mapping[str, tuple[str, str]]
    """By name, on a light page and on a dark one. `page` is the page's."""
    parts: list[tuple[str, list[Shape]]] = field(default_factory=list)
    """Shapes that belong together, and what is to be said about them."""


def text_width(text: str, size: float) -> float:
    return size * sum(map(_advance, text))


def shortened(text: str, size: float, room: float) -> str:
    """As much of the text as fits into the room, and a mark where it goes on."""
    used, mark = 0.0, _advance("…") * size
    fits = 0
    for index, character in enumerate(text):
        used += _advance(character) * size
        if used > room + 0.1:  # sums differ in their last digits
            return text[:fits].rstrip() + "…"
        if used + mark <= room:
            fits = index + 1
    return text


@cache
def _font(size: float) -> FreeTypeFont:
    from PIL import ImageFont

    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


@cache
def _in_font(character: str) -> bool:
    unknown, found = (bytes(_font(100).getmask(c)) for c in ("\U0010ffff", character))
    return found != unknown


@cache
def _advance(character: str) -> float:
    """How wide a character is in text of size 1."""
    if _in_font(character):
        return _font(1000).getlength(character) / 1000  # large, because it is rounded to whole pixels
    if combining(character):
        return 0.0
    return 1.0 if east_asian_width(character) in "WF" else 0.65


def to_svg(picture: Picture) -> str:
    width, height = _number(picture.width), _number(picture.height)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        f' role="img" aria-label={quoteattr(picture.title)}>',
        f"<title>{escape(picture.title)}</title>",
        f"<style>{_style(picture.colours)}</style>",
        f'<rect width="{width}" height="{height}" class="f-page"/>',
    ]
    for about, shapes in picture.parts:
        painted = "".join(map(_element, shapes))
        lines.append(f"<g><title>{escape(about)}</title>{painted}</g>" if about else f"<g>{painted}</g>")
    return "\n".join([*lines, "</svg>", ""])


def _style(colours: Mapping[str, tuple[str, str]]) -> str:
    """Classes that fill or stroke with a colour, and the font."""

    def classes(dark: bool) -> str:
        return "".join(
            f".f-{name}{{fill:{both[dark]}}}.s-{name}{{stroke:{both[dark]}}}" for name, both in colours.items()
        )

    font = b64encode(_font(10).font_bytes).decode()
    return (
        f'@font-face{{font-family:Aileron;src:url("data:font/ttf;base64,{font}")}}'
        'text{font-family:Aileron,"Helvetica Neue",Helvetica,Arial,sans-serif;white-space:pre}'
        f".line{{fill:none;stroke-linejoin:round;stroke-linecap:round}}.b{{stroke-width:{2 * BOLD}}}"
        f"{classes(dark=False)}@media(prefers-color-scheme:dark){{{classes(dark=True)}}}"
    )


def _element(shape: Shape) -> str:
    match shape:
        case Rect():
            place = "".join(f' {name}="{_number(getattr(shape, name))}"' for name in ("x", "y", "width", "height"))
            corner = f' rx="{_number(shape.radius)}"' if shape.radius else ""
            dash = f' stroke-dasharray="{DASH[0]:g} {DASH[1]:g}"' if shape.dashed else ""
            return f"<rect{place}{corner}{_paint(shape)}{dash}/>"
        case Disc():
            place = f'cx="{_number(shape.x)}" cy="{_number(shape.y)}" r="{_number(shape.radius)}"'
            return f"<circle {place}{_paint(shape)}/>"
        case Polygon():
            points = " ".join(f"{_number(x)},{_number(y)}" for x, y in shape.points)
            return f'<polygon points="{points}" class="f-{shape.fill}"/>'
        case Line():
            path = "L".join(f"{_number(x)} {_number(y)}" for x, y in shape.points)
            return f'<path d="M{path}" class="line s-{shape.colour}" stroke-width="{_number(shape.thickness)}"/>'
        case Curve():
            thick = _number(shape.thickness)
            return f'<path d="{_path(shape)}" class="line s-{shape.colour}" stroke-width="{thick}"/>'
        case Words():
            bold = f" b s-{shape.colour}" if shape.bold else ""
            end = ' text-anchor="end"' if shape.ends else ""
            return (
                f'<text x="{_number(shape.x)}" y="{_number(shape.y)}" font-size="{_number(shape.size)}"'
                f' class="f-{shape.colour}{bold}"{end}>{escape(shape.text)}</text>'
            )


def _paint(shape: Rect | Disc) -> str:
    edge = f' s-{shape.edge}" stroke-width="{_number(shape.thickness)}' if shape.edge else ""
    return f' class="f-{shape.fill}{edge}"'


def _path(curve: Curve) -> str:
    path, at = "", None
    for start, end in curve.pieces:
        (x, y), (to_x, to_y) = (map(_number, point) for point in (start, end))
        path += f"M{x} {y}" if start != at else ""
        middle = _number((start.x + end.x) / 2)
        path += f"H{to_x}" if y == to_y else f"C{middle} {y} {middle} {to_y} {to_x} {to_y}"
        at = end
    return path


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def to_png(picture: Picture, scale: float) -> bytes:
    """Painted larger, in strips, and then made smaller, so that edges are smooth and little memory is needed."""
    from PIL import Image, ImageDraw

    scale = min(scale, sqrt(PIXELS / (picture.width * picture.height)))
    width, height = ceil(picture.width * scale), ceil(picture.height * scale)
    finer = 4 if width * height < FEW else 2
    rows = max(1, AT_ONCE // (width * finer * finer))
    colours = {name: light for name, (light, _) in picture.colours.items()}
    shapes = [(piece, *_span(piece)) for _, shapes in picture.parts for shape in shapes for piece in _pieces(shape)]
    whole = Image.new("RGB", (width, height))
    for first in range(0, height, rows):
        count = min(rows, height - first)
        strip = Image.new("RGB", (width * finer, count * finer), colours["page"])
        brush = _Brush(ImageDraw.Draw(strip), colours, scale * finer, first * finer)
        for shape, top, bottom in shapes:
            if bottom * scale >= first and top * scale <= first + count:
                brush.paint(shape)
        whole.paste(strip.reduce(finer), (0, first))
    png = BytesIO()
    whole.save(png, "png")
    return png.getvalue()


def _pieces(shape: Shape) -> Iterator[Shape]:
    """A curve piece by piece, so that a strip gets only those that it shows; anything else as it is."""
    if isinstance(shape, Curve):
        yield from (Curve([piece], shape.colour, shape.thickness) for piece in shape.pieces)
    else:
        yield shape


def _span(shape: Shape) -> tuple[float, float]:
    """How far up and down a shape reaches, or a little further."""
    match shape:
        case Rect():
            return shape.y - shape.thickness, shape.y + shape.height + shape.thickness
        case Disc():
            return shape.y - shape.radius - shape.thickness, shape.y + shape.radius + shape.thickness
        case Words():
            return shape.y - 2 * shape.size, shape.y + shape.size
        case Polygon():
            heights, more = [y for _, y in shape.points], 0.0
        case Line():
            heights, more = [y for _, y in shape.points], shape.thickness
        case Curve():
            heights, more = [y for piece in shape.pieces for _, y in piece], shape.thickness
    return min(heights) - more, max(heights) + more


class _Brush:
    """Paints shapes on a strip of a picture: `scale` pixels for a unit, the strip's top so many pixels down."""

    def __init__(self, draw: ImageDraw, colours: Mapping[str, str], scale: float, top: int) -> None:
        self.draw, self.colours, self.scale, self.top = draw, colours, scale, top

    def paint(self, shape: Shape) -> None:
        match shape:
            case Rect():
                self.rect(shape)
            case Disc():
                if shape.edge:
                    self.disc(shape, shape.radius + shape.thickness / 2, shape.edge)
                self.disc(shape, shape.radius - (shape.thickness / 2 if shape.edge else 0), shape.fill)
            case Polygon():
                self.polygon(shape.points, shape.fill)
            case Line():
                self.line(shape.points, shape.colour, shape.thickness)
            case Curve():
                for piece in shape.pieces:
                    self.polygon(_outline_of_curve(*piece, shape.thickness), shape.colour)
            case Words():
                self.words(shape)

    def at(self, x: float, y: float) -> tuple[float, float]:
        return x * self.scale, y * self.scale - self.top

    def rect(self, shape: Rect) -> None:
        half = shape.thickness / 2 if shape.edge else 0
        if half and not shape.dashed:
            self.filled(shape, half, shape.edge)
        self.filled(shape, 0 if shape.dashed else -half, shape.fill)
        if half and shape.dashed:
            for dash in _dashes(_outline(shape)):
                self.line(dash, shape.edge, shape.thickness)

    def filled(self, rect: Rect, more: float, colour: str) -> None:
        """A rectangle that is larger by so much on each side."""
        corners = (
            self.at(rect.x - more, rect.y - more),
            self.at(rect.x + rect.width + more, rect.y + rect.height + more),
        )
        self.draw.rounded_rectangle(corners, (rect.radius + more) * self.scale, self.colours[colour])

    def disc(self, shape: Disc, radius: float, colour: str) -> None:
        corners = self.at(shape.x - radius, shape.y - radius), self.at(shape.x + radius, shape.y + radius)
        self.draw.ellipse(corners, self.colours[colour])

    def polygon(self, points: Sequence[Point], colour: str) -> None:
        self.draw.polygon([self.at(*point) for point in points], self.colours[colour])

    def line(self, points: Sequence[Point], colour: str, thickness: float) -> None:
        width = max(1, round(thickness * self.scale))
        self.draw.line([self.at(*point) for point in points], self.colours[colour], width, joint="curve")

    def words(self, shape: Words) -> None:
        self.draw.text(
            self.at(shape.x, shape.y),
            "".join(c if _in_font(c) else _plain(c) for c in shape.text),
            self.colours[shape.colour],
            _font(shape.size * self.scale),
            anchor="rs" if shape.ends else "ls",
            stroke_width=round(BOLD * self.scale) if shape.bold else 0,
        )


def _plain(character: str) -> str:
    """A letter without its accent, if the font has that."""
    letter = "".join(c for c in normalize("NFKD", character) if not combining(c))
    return letter if all(map(_in_font, letter)) else character


def _outline_of_curve(start: Point, end: Point, thickness: float) -> list[Point]:
    """A piece of a curve, a cubic with both control points half-way, as a polygon of its thickness."""
    wide, high, half = end.x - start.x, end.y - start.y, thickness / 2
    count = min(48, 8 + int(abs(high) / 8)) if high else 1
    upper, lower = [], []
    for index in range(count + 1):
        t = index / count
        x, y = start.x + wide * (1.5 * t * (1 - t) + t**3), start.y + high * t * t * (3 - 2 * t)
        across, down = wide * (1.5 - 3 * t + 3 * t * t), high * 6 * t * (1 - t)
        length = hypot(across, down) or 1
        aside, below = half * down / length, half * across / length
        upper.append(Point(x + aside, y - below))
        lower.append(Point(x - aside, y + below))
    return upper + lower[::-1]


def _outline(rect: Rect) -> list[Point]:
    """The edge of a rectangle with round corners, clockwise from the left end of its top, as SVG draws it."""
    r, points = rect.radius, [Point(rect.x + rect.radius, rect.y)]
    left, right, top, bottom = rect.x + r, rect.x + rect.width - r, rect.y + r, rect.y + rect.height - r
    for corner, (x, y) in enumerate([(right, top), (right, bottom), (left, bottom), (left, top)]):
        for index in range(9):
            angle = (corner - 1 + index / 8) * pi / 2
            points.append(Point(x + r * cos(angle), y + r * sin(angle)))
    return points


def _dashes(points: Sequence[Point]) -> Iterator[list[Point]]:
    """The dashes of a dashed line."""
    dash, left, drawn = [points[0]], DASH[0], True
    for start, end in pairwise(points):
        length = hypot(end.x - start.x, end.y - start.y)
        done = 0.0
        while length - done > left:
            done += left
            place = Point(start.x + (end.x - start.x) * done / length, start.y + (end.y - start.y) * done / length)
            if drawn:
                yield [*dash, place]
            drawn = not drawn
            dash, left = [place], DASH[0] if drawn else DASH[1]
        left -= length - done
        dash.append(end)
    if drawn:
        yield dash
