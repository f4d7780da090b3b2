"""Drawing the layers of a U-Net."""

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, Patch, Rectangle

from latentgraph.engine import Context
from latentgraph.engine.node import Wrong

from .data import Plot
from .style import Colours, figure, plotted

if TYPE_CHECKING:
    from .nodes import PlotUNet

NEEDED = ("layer", "kind", "channels", "height", "width", "transformers", "told the time", "skip from")
"""The columns that the table has to have."""

MOST_LAYERS = 400

HIGHEST = 1.0
"""Of a box, in the plot's own unit; a band is so high, too, at the highest resolution."""
GAP = 0.62
"""Between two bands, and for the channels that are written there."""


def unet(node: "PlotUNet", context: Context) -> Plot:
    """What the node PlotUNet draws."""
    rows = [
        dict(zip(node.layers.names, values, strict=True))
        for values in zip(*(column.values for column in node.layers.columns), strict=True)
    ]
    time = next((row for row in rows if row["kind"] == "embedding"), None)
    inside = [row for row in rows if row["kind"] != "embedding"]
    _check(inside)
    boxes = _placed(inside)
    low = min(box["y"] - box["high"] / 2 for box in boxes)

    def draw(colours: Colours) -> Figure:
        drawn = figure(max(3.6, min(6.0, 1.6 - low * 0.85)))
        place = drawn.subplots()
        place.set_axis_off()
        small = min(10.0, 170 / len(boxes))
        _lines(place, boxes, colours)
        for box in boxes:
            place.add_patch(
                Rectangle(
                    (box["x"] - box["wide"] / 2, box["y"] - box["high"] / 2),
                    box["wide"],
                    box["high"],
                    facecolor=_colour(box, colours),
                    edgecolor=colours.page,
                    linewidth=0.8,
                    zorder=3,
                )
            )
            channels = format(box["channels"], "d")
            place.text(box["x"], box["y"] - box["high"] / 2 - 0.06, channels, ha="center", va="top", fontsize=small)
            if box["told the time"]:
                place.plot(box["x"], box["y"], marker="o", color=colours.page, markersize=small / 2.2, zorder=4)
        for y, text in {box["y"]: f"{box['height']} × {box['width']}" for box in reversed(boxes)}.items():
            place.text(-0.9, y, text, ha="right", va="center", fontsize=11)
        if time is not None:
            middle = (boxes[0]["x"] + boxes[-1]["x"]) / 2
            text = f"timestep → {time['channels']} numbers, told to each ●"
            place.text(middle, 0.98, text, ha="center", va="center", fontsize=11)
        place.set_xlim(-3.2, boxes[-1]["x"] + 0.8)
        place.set_ylim(low - 0.35, 1.25)
        drawn.legend(handles=_legend(colours), loc="outside lower center", ncols=2)
        if node.title:
            drawn.suptitle(node.title, fontsize=14)
        return drawn

    return plotted(draw, context)


def _check(rows: list[dict[str, Any]]) -> None:
    """Raises Wrong for rows that are not what TraceUNet says of layers."""
    if not 0 < len(rows) <= MOST_LAYERS:
        raise Wrong("layers", f"there are {len(rows)} layers: give those of a TraceUNet, at most {MOST_LAYERS}")
    known = {row["layer"] for row in rows}
    for row in rows:
        if not all(isinstance(row[name], str) for name in ("layer", "kind", "skip from")):
            raise Wrong("layers", "`layer`, `kind` and `skip from` do not hold texts: give the layers of a TraceUNet")
        sizes = [row[name] for name in ("channels", "height", "width")]
        if not all(isinstance(size, int) and size > 0 for size in sizes):
            raise Wrong("layers", f"layer `{row['layer']}` is of {sizes}: give the layers of a TraceUNet")
        if row["skip from"] and row["skip from"] not in known:
            raise Wrong("layers", f"there is no layer `{row['skip from']}`, from which `{row['layer']}` has its skip")


def _placed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each layer with the centre and the size of its box: from left to right, lower where maps are smaller."""
    largest, most = max(row["height"] for row in rows), max(row["channels"] for row in rows)
    heights = sorted({row["height"] for row in rows}, reverse=True)
    tall = {height: HIGHEST * (height / largest) ** 0.5 for height in heights}
    centre, y = {}, HIGHEST / 2
    for height in heights:
        y -= tall[height] / 2 + (GAP if centre else HIGHEST / 2)
        centre[height] = y
        y -= tall[height] / 2
    return [
        {
            **row,
            "x": float(index),
            "y": centre[row["height"]],
            "high": tall[row["height"]],
            "wide": 0.16 + 0.62 * (row["channels"] / most) ** 0.5,
        }
        for index, row in enumerate(rows)
    ]


def _lines(place: Axes, boxes: list[dict[str, Any]], colours: Colours) -> None:
    """The way from layer to layer, and the skips."""
    for one, other in pairwise(boxes):
        place.plot((one["x"], other["x"]), (one["y"], other["y"]), color=colours.muted, linewidth=1.2, zorder=1)
    known = {box["layer"]: box for box in boxes}
    for box in boxes:
        if not box["skip from"]:
            continue
        start = known[box["skip from"]]
        # Outer skips are higher, so that they pass above what is between.
        y = box["y"] + box["high"] / 2 + 0.05 + 0.028 * (box["x"] - start["x"])
        top = box["y"] + box["high"] / 2
        colour, style = colours.series[2], {"linewidth": 1.3, "linestyle": "--"}
        place.plot((start["x"], start["x"], box["x"]), (top, y, y), color=colour, zorder=2, **style)
        place.add_patch(
            FancyArrowPatch(
                (box["x"], y), (box["x"], top), arrowstyle="-|>", mutation_scale=8, color=colour, zorder=5, shrinkA=0,
                shrinkB=0,
            )
        )  # fmt: skip


def _colour(box: dict[str, Any], colours: Colours) -> str:
    if box["kind"] != "residual":
        return colours.muted
    return colours.series[1 if box["transformers"] else 0]


def _legend(colours: Colours) -> list[Any]:
    return [
        Patch(color=colours.series[0], label="residual layer"),
        Patch(color=colours.series[1], label="residual layer with attention to the text"),
        Patch(color=colours.muted, label="convolution; to half or twice the size"),
        Line2D([], [], color=colours.series[2], linestyle="--", label="skip: what it saw is given again"),
    ]
