"""Drawing columns of numbers over another one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from latentgraph.engine import Context
from latentgraph.engine.node import Wrong

from .data import Column, Plot
from .style import Colours, figure, named, plotted

if TYPE_CHECKING:
    from .nodes import PlotCurve

ACROSS = 2
"""Panels side by side."""
MOST_PANELS, MOST_CURVES, MOST_POINTS, MOST_BARS, MOST_TEXTS = 24, 32, 200_000, 200, 1000
"""What is drawn in seconds, and can be told apart. Curves are those of one panel, the others of all."""
MOST_NAMES = 32
"""More bars, or texts along the bottom, are not all named."""


def curves(node: "PlotCurve", context: Context) -> Plot:
    """What the node PlotCurve draws."""
    for each in node.tables:
        if len(each.columns) < 2:
            raise Wrong("tables", f"curves need two columns, and a table has only {each.names}")
    x = node.x or node.tables[0].names[0]
    names = list(node.y) or [column.name for column in node.tables[0].columns if column.name != x and column.numeric]
    if not names:
        raise Wrong("y", f"besides `{x}` there are only texts: there are no numbers to draw")
    _check_size(node, len(names))
    _check_columns(node, x, names)

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

    return plotted(draw, context)


def _check_size(node: "PlotCurve", columns: int) -> None:
    """Raises Wrong for more than can be drawn."""
    if node.panels and columns > MOST_PANELS:
        raise Wrong("panels", f"there are {columns} columns to draw: at most {MOST_PANELS} have a panel")
    count = len(node.tables) * (1 if node.panels else columns)
    if count > MOST_CURVES:
        raise Wrong("tables", f"there are {count} curves on one axis: at most {MOST_CURVES} are drawn")
    points = columns * sum(len(each.columns[0].values) for each in node.tables)
    if node.kind == "bars" and points > MOST_BARS:
        raise Wrong("kind", f"there are {points} bars: at most {MOST_BARS} are drawn")
    if points > MOST_POINTS:
        raise Wrong("tables", f"there are {points} points: at most {MOST_POINTS} are drawn")


def _check_columns(node: "PlotCurve", x: str, names: Sequence[str]) -> None:
    """Raises Wrong for texts where numbers are wanted, and for names that nothing has."""
    first = node.tables[0]
    for each in node.tables:
        for name in (*names, *node.log):
            if not each.column(name).numeric:
                raise Wrong("log" if name in node.log else "y", f"column `{name}` holds texts, not numbers")
        if node.kind == "bars" and each.column(x).values != first.column(x).values:
            raise Wrong(
                "tables", f"the tables differ in `{x}`, and bars stand beside each other only at the same values"
            )
    kinds = {isinstance(value, str) for each in node.tables for value in each.column(x).values}
    if len(kinds) > 1:
        raise Wrong("x", f"column `{x}` holds both texts and numbers")
    if True in kinds and len({value for each in node.tables for value in each.column(x).values}) > MOST_TEXTS:
        raise Wrong("x", f"column `{x}` holds more than {MOST_TEXTS} different texts")
    both = {f"{label}: {name}" for label in node.labels for name in names}
    for name in node.dashed:
        if name not in {*first.names, *node.labels, *both}:
            raise Wrong("dashed", f"`{name}` is neither a column nor the label of a table")
    for name in node.points:
        if name not in first.names:
            raise Wrong("points", f"there is no column `{name}`, but {', '.join(f'`{each}`' for each in first.names)}")


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
                place.plot(*values, color=colour, label=named(label), linestyle=line, marker=marker, markersize=6)
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
    place.bar(spots, values[1], width=width, color=colour, label=named(label))  # type: ignore[arg-type]
    step = -(-len(values[0]) // MOST_NAMES) or 1
    ticks = [f"{value:g}" if isinstance(value, float) else str(value) for value in values[0][::step]]
    place.set_xticks(range(0, len(values[0]), step), ticks)
    place.grid(axis="x", visible=False)
