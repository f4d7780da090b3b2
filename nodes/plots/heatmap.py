"""Drawing a table of numbers as colours."""

from textwrap import fill
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage

from .data import Plot, Table
from .style import WIDTH, Colours, figure, plotted

if TYPE_CHECKING:
    from ..ports import Image
    from .nodes import PlotHeatmap

MOST_NAMES = 32
"""More columns are not all named."""
LINE, WRAPPED = 24, 14
"""Letters of a row's name in a line, where there are as few rows as that."""


def heatmap(node: "PlotHeatmap") -> Plot:
    """What the node PlotHeatmap draws."""
    grids = [_numbers(each) for each in node.tables]
    values = [value for grid in grids for row in grid for value in row]
    low, high = min(values), max(values)
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
            place.set_yticks(range(rows), named if index == 0 else [""] * rows)
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
                        text = text if set(text) & set("123456789") else text.lstrip("-")  # no -0.00
                        place.text(column, row, text, ha="center", va="center", color=colour, fontsize=10)
        drawn.colorbar(shown, ax=list(places), label=node.value_label).outline.set_visible(False)
        if node.title:
            drawn.suptitle(node.title, fontsize=14)
        return drawn

    return plotted(draw)


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
