"""Drawing columns of numbers over another one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .data import Column, Plot
from .style import Colours, figure, plotted

if TYPE_CHECKING:
    from .nodes import PlotCurve

ACROSS = 2
"""Panels side by side."""


def curves(node: "PlotCurve") -> Plot:
    """What the node PlotCurve draws."""
    x = node.x or node.tables[0].names[0]
    names = list(node.y) or [name for name in node.tables[0].names if name != x]
    for each in node.tables:
        each.column(x)
        for name in (*names, *node.log):
            each.column(name)

    def draw(colours: Colours) -> Figure:
        panels = [[name] for name in names] if node.panels else [names]
        down = -(-len(panels) // ACROSS) if len(panels) > 1 else 1
        drawn = figure(4.2 if down == 1 else 3.4 * down)
        across = min(len(panels), ACROSS)
        places = list(drawn.subplots(down, across, squeeze=False).flat)
        for place, shown in zip(places, panels, strict=False):
            _panel(place, node, x, shown, colours)
        for spare in places[len(panels) :]:
            spare.set_axis_off()
        handles, labels = places[0].get_legend_handles_labels()
        if len(labels) > 1 or node.labels:
            if len(panels) > 1 or node.kind == "bars":
                drawn.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)))
            else:
                places[0].legend(handles, labels)
        if node.title:
            drawn.suptitle(node.title, fontsize=14)
        return drawn

    return plotted(draw)


def _panel(place: Axes, node: "PlotCurve", x: str, names: Sequence[str], colours: Colours) -> None:
    several = len(node.tables) > 1
    for index, each in enumerate(node.tables):
        for position, name in enumerate(names):
            label = _label(node, index, each.column(name), alone=len(names) == 1)
            colour = colours.series[(index if several and len(names) == 1 else index * len(names) + position) % 8]
            values = each.column(x).values, each.column(name).values
            dashed = name in node.dashed or label in node.dashed
            if node.kind == "bars":
                _bars(place, values, index * len(names) + position, len(node.tables) * len(names), label, colour)
            else:
                line = "" if node.kind == "points" or name in node.points else "--" if dashed else "-"
                marker = "o" if node.kind != "line" or name in node.points else ""
                place.plot(*values, color=colour, label=label, linestyle=line, marker=marker, markersize=6)
    first = node.tables[0]
    place.set_xlabel(first.column(x).label)
    if node.panels or len(names) == 1:
        place.set_ylabel(node.y_label or first.column(names[0]).label)
    else:
        units = {first.column(name).unit for name in names}
        place.set_ylabel(node.y_label or (units.pop() if len(units) == 1 else ""))
    if x in node.log:
        place.set_xscale("log")
    if set(names) & set(node.log):
        place.set_yscale("log")


def _label(node: "PlotCurve", index: int, column: Column, alone: bool) -> str:
    """What the legend calls a curve: its table, its column, or both where there are several of either."""
    if not node.labels:
        return column.name
    return node.labels[index] if alone else f"{node.labels[index]}: {column.name}"


def _bars(
    place: Axes, values: tuple[Sequence[object], Sequence[object]], index: int, count: int, label: str, colour: str
) -> None:
    """One of `count` bars at each of the values, which stand evenly apart whatever they are."""
    width = 0.8 / count
    spots = [spot - 0.4 + width * (index + 0.5) for spot in range(len(values[0]))]
    place.bar(spots, values[1], width=width, color=colour, label=label)  # type: ignore[arg-type]
    place.set_xticks(
        range(len(values[0])), [f"{value:g}" if isinstance(value, float) else str(value) for value in values[0]]
    )
    place.grid(axis="x", visible=False)
