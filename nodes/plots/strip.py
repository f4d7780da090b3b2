"""Drawing rows of pictures with words at their sides."""

from textwrap import fill
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from latentgraph.engine import Context
from latentgraph.engine.node import Wrong

from .data import Plot
from .style import WIDTH, Colours, figure, plotted

if TYPE_CHECKING:
    from torch import Tensor

    from .nodes import ImageStrip


GAP = 0.06
"""Inches between two pictures."""
MOST_ACROSS, MOST_PICTURES = 50, 200
"""Pictures in a row and in all: more take minutes, and are too small to be seen."""


def strip(node: "ImageStrip", context: Context) -> Plot:
    """What the node ImageStrip draws. Raises ValueError where there is not one label for each row or column."""
    count = sum(len(row.pixels) for row in node.rows)
    if count > MOST_PICTURES:
        raise Wrong("rows", f"there are {count} pictures, but a strip has at most {MOST_PICTURES}")
    rows = [list(row.pixels) for row in node.rows]
    if len(rows) == 1 and node.columns:
        whole = rows[0]
        rows = [whole[start : start + node.columns] for start in range(0, len(whole), node.columns)]
    if node.as_columns:
        if len(set(map(len, rows))) > 1:
            raise ValueError("the columns have different numbers of pictures")
        rows = [list(row) for row in zip(*rows, strict=True)]
    columns, labels = max(map(len, rows)), node.column_labels
    if node.row_labels and len(node.row_labels) != len(rows):
        raise ValueError(f"there are {len(rows)} rows of pictures, but {len(node.row_labels)} values in row_labels")
    if node.column_labels and len(node.column_labels) != columns:
        raise ValueError(f"a row has {columns} pictures, but there are {len(node.column_labels)} column_labels")
    if node.given is not None:
        before = list(node.given.pixels)
        if len(before) not in (1, len(rows)):
            raise ValueError(f"there are {len(rows)} rows, but {len(before)} pictures that stand before them")
        rows = [[first, *row] for first, row in zip(before * (len(rows) // len(before)), rows, strict=True)]
        columns += 1
        labels = (node.given_label, *labels) if labels or node.given_label else ()
        labels += ("",) * (columns - len(labels)) if labels else ()
    if columns > MOST_ACROSS:
        raise Wrong("rows", f"a row has {columns} pictures, but at most {MOST_ACROSS} can be seen: cut it by `columns`")
    beside = 1.2 if node.row_labels else 0.0
    side = min(2.4, (WIDTH - beside) / columns - GAP)
    height = side * rows[0][0].shape[1] / rows[0][0].shape[2]
    lines = 0.3 * bool(labels) + 0.35 * bool(node.x_label) + 0.4 * bool(node.title)

    def draw(colours: Colours) -> Figure:
        drawn = figure((height + GAP) * len(rows) + lines + 0.2)
        drawn.set_layout_engine("compressed")
        drawn.get_layout_engine().set(w_pad=GAP / 2, h_pad=GAP / 2, wspace=0, hspace=0)  # type: ignore[union-attr,call-arg]
        places = drawn.subplots(len(rows), columns, squeeze=False)
        for row, pictures in enumerate(rows):
            for column, place in enumerate(places[row]):
                place.set(xticks=[], yticks=[], frame_on=False)
                place.grid(visible=False)
                if column < len(pictures):
                    place.imshow(_array(pictures[column]), interpolation="bicubic")
                if column == 0 and node.row_labels:
                    text = fill(_text(node.row_labels[row]), 14)
                    place.set_ylabel(text, rotation=0, ha="right", va="center", fontsize=11, labelpad=8)
                if row == 0 and labels:
                    place.set_title(fill(_text(labels[column]), max(6, round(side * 10))), fontsize=11, pad=4)
        if node.x_label:
            drawn.supxlabel(node.x_label, fontsize=12)
        if node.y_label:
            drawn.supylabel(node.y_label, fontsize=12)
        if node.title:
            drawn.suptitle(node.title, fontsize=14)
        return drawn

    return plotted(draw, context)


def _array(picture: "Tensor") -> object:
    return picture.clamp(0, 1).permute(1, 2, 0).numpy()


def _text(label: str | float) -> str:
    return label if isinstance(label, str) else f"{label:g}"
