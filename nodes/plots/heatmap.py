"""Drawing a table of numbers as colours."""

from math import isfinite
from textwrap import fill
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage

from latentgraph.engine import Context
from latentgraph.engine.node import Wrong

from .data import Plot, Table
from .style import WIDTH, Colours, figure, plotted

if TYPE_CHECKING:
    from ..ports import Image
    from .nodes import PlotHeatmap

MOST_NAMES = 32
"""More columns, or rows, are not all named."""
MOST_CELLS, MOST_NUMBERS, MOST_PICTURES, MOST_TABLES = 400_000, 900, 100, 12
"""What is drawn in seconds, and can be told apart."""
LINE, WRAPPED = 24, 14
"""Letters of a row's name in a line, where there are as few rows as that."""


def heatmap(node: "PlotHeatmap", context: Context) -> Plot:
    """What the node PlotHeatmap draws."""
    _check(node)
    grids = [_numbers(each) for each in node.tables]
    values = [value for grid in grids for row in grid for value in row if isfinite(value)]
    low, high = min(values, default=0.0), max(values, default=0.0)
    if node.centre is not None:
        reach = max(high - node.centre, node.centre - low) or 1.0
        low, high = node.centre - reach, node.centre + reach
    rows, columns = len(grids[0]), len(grids[0][0])
    side = 0.0 if node.pictures is None else min(48.0, 0.6 * WIDTH * 72 / columns / len(grids))

    def draw(colours: Colours) -> Figure:
        square = min(8.0, 6.4 * rows / columns / len(grids) + 1.6)
        drawn = figure(max(3.2, square, min(8.0, 0.2 * rows + 1.2)))
        places = drawn.subplots(1, len(grids), squeeze=False)[0]
        scale = colours.scale if node.centre is None else colours.around
        for index, (place, each, grid) in enumerate(zip(places, node.tables, grids, strict=True)):
            shown = place.imshow(grid, cmap=scale, vmin=low, vmax=high, aspect="auto")
            place.grid(visible=False)
            if node.pictures is None:
                step = -(-columns // MOST_NAMES)
                names = each.names[1::step]
                place.set_xticks(range(0, columns, step), names, rotation=_turned(names, len(grids)))
            else:
                place.set_xticks([])
                _show(place, node.pictures, side)
            named = [fill(str(value), LINE) if rows <= WRAPPED else str(value) for value in each.columns[0].values]
            step = -(-rows // MOST_NAMES)
            named = named[::step] if index == 0 else [""] * len(named[::step])
            place.set_yticks(range(0, rows, step), named)
            place.set_xlabel(node.x_label, labelpad=4 + side)
            if index == 0:
                place.set_ylabel(each.columns[0].label)
            if node.labels:
                place.set_title(node.labels[index])
            if node.numbers:
                for row, line in enumerate(grid):
                    for column, value in enumerate(line):
                        strength = value - low if node.centre is None else 2 * abs(value - node.centre)
                        strong = strength / ((high - low) or 1) > (0.55 if node.centre is None else 0.65)
                        colour = colours.page if strong else colours.text
                        text = format(value, node.format)
                        zero = isfinite(value) and not set(text) & set("123456789")
                        text = text.lstrip("-") if zero else text  # no -0.00
                        place.text(column, row, text, ha="center", va="center", color=colour, fontsize=10)
        drawn.colorbar(shown, ax=list(places), label=node.value_label).outline.set_visible(False)
        if node.title:
            drawn.suptitle(node.title, fontsize=14)
        return drawn

    return plotted(draw, context)


def _check(node: "PlotHeatmap") -> None:
    """Raises Wrong for tables that are not of one form, for texts, and for more than can be drawn."""
    first, tables = node.tables[0], node.tables
    if len(tables) > MOST_TABLES:
        raise Wrong("tables", f"there are {len(tables)} tables, but at most {MOST_TABLES} fit side by side")
    cells = sum((len(each.columns) - 1) * len(each.columns[0].values) for each in tables)
    most = MOST_NUMBERS if node.numbers else MOST_CELLS
    if cells > most:
        what = "numbers to write" if node.numbers else "numbers to draw"
        raise Wrong(
            "numbers" if node.numbers else "tables", f"there are {cells} {what}: at most {most} can be told apart"
        )
    if node.pictures is not None and len(node.pictures.pixels) > MOST_PICTURES:
        raise Wrong("pictures", f"there are {len(node.pictures.pixels)} pictures: at most {MOST_PICTURES} can be seen")
    for each in tables:
        if each.names[1:] != first.names[1:]:
            raise Wrong("tables", "the tables have different columns: only those of the same columns are compared")
        for column in each.columns[1:]:
            if not column.numeric:
                raise Wrong(
                    "tables", f"column `{column.name}` holds texts, but only the first column may: it names rows"
                )


def _numbers(each: Table) -> list[list[float]]:
    """The rows of numbers behind the column that names them."""
    columns = [[float(value) for value in column.values] for column in each.columns[1:]]
    return [list(row) for row in zip(*columns, strict=True)]


def _show(place: Axes, pictures: "Image", side: float) -> None:
    """Draw a picture under each column, `side` points high."""
    for index, picture in enumerate(pictures.pixels[:, :3]):
        array = picture.clamp(0, 1).permute(1, 2, 0).numpy()
        drawn = OffsetImage(array, zoom=side / len(array), interpolation="bicubic")
        spot = {"xy": (index, -0.01), "xycoords": ("data", "axes fraction"), "box_alignment": (0.5, 1)}
        place.add_artist(AnnotationBbox(drawn, frameon=False, pad=0, **spot))


def _turned(names: list[str], panels: int) -> float:
    """By how many degrees the names of columns are turned, so that they do not run into each other."""
    return 90 if len(names) * panels * max(map(len, names)) > 75 else 0
