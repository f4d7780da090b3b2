"""Drawing points, each by two of its numbers."""

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from latentgraph.engine import Context
from latentgraph.engine.node import Wrong

from .data import Column, Plot, Table
from .style import Colours, figure, named, plotted

if TYPE_CHECKING:
    from .nodes import PlotScatter

ACROSS = 3
"""Panels side by side."""
MOST_TABLES, MOST_BESIDE, MOST_TEXTS, MOST_POINTS, MOST_CIRCLES = 24, 6, 16, 100_000, 32
"""What is drawn in seconds, and can be told apart: twice as many texts as there are colours, by two marks.

Panels with histograms all stand side by side, `MOST_BESIDE` of them."""


def scatter(node: "PlotScatter", context: Context) -> Plot:
    """What the node PlotScatter draws."""
    if len(node.tables) > MOST_TABLES:
        raise Wrong("tables", f"there are {len(node.tables)} tables: at most {MOST_TABLES} are drawn")
    if node.panels and node.marginals and len(node.tables) > MOST_BESIDE:
        raise Wrong("marginals", f"there are {len(node.tables)} panels: at most {MOST_BESIDE} have histograms")
    points = sum(len(each.columns[0].values) for each in node.tables)
    if points > MOST_POINTS:
        raise Wrong("tables", f"there are {points} points: at most {MOST_POINTS} are drawn")
    if len(node.circles) > MOST_CIRCLES or not all(map(isfinite, node.circles)):
        raise Wrong("circles", f"give at most {MOST_CIRCLES} radii, none of them infinite")
    names = node.tables[0].names
    x, y = node.x or names[0], node.y or names[1]
    for each in node.tables:
        if not each.columns[0].values:
            raise Wrong("tables", f"a table of {each.names} has no rows: there are no points to draw")
        for where, name in (("x", x), ("y", y)):
            if not each.column(name).numeric:
                raise Wrong(where, f"column `{name}` holds texts: points need numbers")
            if not each.column(name).finite:
                raise Wrong(where, f"column `{name}` holds numbers that are infinite or none")
    if node.colour:
        _check_colour([each.column(node.colour) for each in node.tables])

    def draw(colours: Colours) -> Figure:
        groups = [[index] for index in range(len(node.tables))] if node.panels else [list(range(len(node.tables)))]
        down = -(-len(groups) // ACROSS)
        height = 4.6 if len(groups) < ACROSS else 3.0 if node.square else 3.6
        drawn = figure((height if down == 1 else 2.6 * down) + (0.4 if node.colour and node.panels else 0))
        panels = _panels(drawn, len(groups), node.marginals)
        places = []
        for panel, group in zip(panels, groups, strict=True):
            tables = node.tables if node.same_axes else [node.tables[index] for index in group]
            limits = _limits(tables, x, node.circles), _limits(tables, y, node.circles)
            if node.square and not node.same_axes:
                limits = _alike(*limits)
            places.append(_group(panel, node, group, (x, y), limits, colours))
        if len(places) > ACROSS:
            for place in places:
                place.label_outer()
        if node.colour:
            _explain(drawn, places, node)
        if node.title:
            drawn.suptitle(node.title, fontsize=14)
        return drawn

    return plotted(draw, context)


def _check_colour(columns: Sequence[Column]) -> None:
    """Raises Wrong for values that are neither all texts, and few, nor all numbers."""
    name = columns[0].name
    values = {value for column in columns for value in column.values}
    texts = {value for value in values if isinstance(value, str)}
    if texts and texts != values:
        raise Wrong("colour", f"column `{name}` holds both texts and numbers: give only one of them a colour")
    if len(texts) > MOST_TEXTS:
        raise Wrong(
            "colour", f"column `{name}` holds {len(texts)} texts: colours of at most {MOST_TEXTS} are told apart"
        )
    if not texts and not all(column.finite for column in columns):
        raise Wrong("colour", f"column `{name}` holds numbers that are infinite or none")


def _panels(drawn: Figure, count: int, marginals: bool) -> list[tuple[Axes, Axes | None, Axes | None]]:
    """Axes side by side for points, each with those above and beside it where histograms are drawn."""
    if not marginals:
        across = min(count, ACROSS)
        places = list(drawn.subplots(-(-count // across), across, squeeze=False).flat)
        for spare in places[count:]:
            spare.set_axis_off()
        return [(place, None, None) for place in places[:count]]
    rows = [[name for index in range(count) for name in (f"above {index}", ".")]]
    rows.append([name for index in range(count) for name in (f"points {index}", f"beside {index}")])
    found = drawn.subplot_mosaic(rows, width_ratios=(4, 1) * count, height_ratios=(1, 4))
    return [(found[f"points {index}"], found[f"above {index}"], found[f"beside {index}"]) for index in range(count)]


def _group(
    panel: tuple[Axes, Axes | None, Axes | None],
    node: "PlotScatter",
    group: list[int],
    axes: tuple[str, str],
    limits: tuple[tuple[float, float], tuple[float, float]],
    colours: Colours,
) -> Axes:
    """Some of the tables in one panel, with histograms of either number at its sides where they are asked for."""
    place, above, beside = panel
    for index in group:
        each = node.tables[index]
        xs, ys = each.column(axes[0]).values, each.column(axes[1]).values
        colour = colours.series[0 if node.panels else index % len(colours.series)]
        size = max(4.0, min(30.0, 12_000 / max(1, len(xs))))
        options = {"s": size, "alpha": 0.6, "linewidths": 0}
        if node.colour:
            _coloured(place, node, each, (xs, ys), options, colours)
            colour = colours.muted  # those of the points mean something
        else:
            place.scatter(xs, ys, color=colour, label=named(node.labels[index]) if node.labels else None, **options)
        for side, values, direction, span in ((above, xs, "vertical", 0), (beside, ys, "horizontal", 1)):
            if side is not None:
                side.hist(values, bins=40, range=limits[span], orientation=direction, color=colour, alpha=0.6)
                side.set_axis_off()
    for radius in node.circles:
        place.add_patch(Circle((0, 0), radius, fill=False, color=colours.text, linestyle="--", linewidth=1.2))
    if above is not None and beside is not None:
        above.set_xlim(limits[0])
        beside.set_ylim(limits[1])
    place.set(xlim=limits[0], ylim=limits[1])
    place.set_xlabel(node.tables[0].column(axes[0]).label)
    place.set_ylabel(node.tables[0].column(axes[1]).label)
    if node.square:
        place.set_aspect("equal")
    if node.labels and len(group) == 1:
        (above or place).set_title(node.labels[group[0]])
    elif node.labels and not node.colour:
        _legend(place.legend(markerscale=1.5, handletextpad=0.2))
    return place


def _values(node: "PlotScatter") -> list[Any]:
    """What colours the points of all tables, so that a colour means the same in all of them."""
    return sorted({value for each in node.tables for value in each.column(node.colour).values})  # type: ignore[type-var]


def _coloured(
    place: Axes, node: "PlotScatter", each: Table, points: tuple[Any, Any], options: dict[str, Any], colours: Colours
) -> None:
    """Points in colours that a column says: one to each text, or a scale of numbers."""
    values, known = each.column(node.colour).values, _values(node)
    if not isinstance(known[0], str):
        place.scatter(*points, c=values, cmap=colours.points, vmin=known[0], vmax=known[-1], **options)
        return
    for index, text in enumerate(known):
        chosen = [row for row, value in enumerate(values) if value == text]
        xs, ys = ([numbers[row] for row in chosen] for numbers in points)
        label = named(text) if named(text) not in place.get_legend_handles_labels()[1] else None
        colour, marker = colours.series[index % len(colours.series)], "o^"[index // len(colours.series)]
        place.scatter(xs, ys, color=colour, marker=marker, label=label, **options)


def _explain(drawn: Figure, places: list[Axes], node: "PlotScatter") -> None:
    """What the colours mean, once for all panels."""
    alone = len(places) == 1
    if isinstance(_values(node)[0], str):
        handles, labels = places[0].get_legend_handles_labels()
        if alone:
            _legend(places[0].legend(handles, labels, markerscale=1.5, handletextpad=0.2))
        else:
            shown = {"ncols": min(4, len(labels)), "markerscale": 1.5, "handletextpad": 0.2}
            _legend(drawn.legend(handles, labels, loc="outside lower center", **shown))
        return
    label = node.tables[0].column(node.colour).label
    place = {"location": "right"} if alone else {"location": "bottom", "aspect": 50}
    bar = drawn.colorbar(places[0].collections[0], ax=places, label=label, **place)
    bar.solids.set_alpha(1)
    bar.outline.set_visible(False)


def _legend(legend: Any) -> None:
    for handle in legend.legend_handles:
        handle.set_alpha(1)


def _limits(tables: Sequence[Table], name: str, circles: Sequence[float]) -> tuple[float, float]:
    """From the least to the most that any table has, and around the circles, with some room."""
    values = [float(value) for each in tables for value in each.column(name).values]
    values += [way * radius for radius in circles for way in (-1, 1)]
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = 0.05 * (high - low) or 0.5
    return low - room, high + room


def _alike(x: tuple[float, float], y: tuple[float, float]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Limits around the same middles, of one length."""
    half = max(x[1] - x[0], y[1] - y[0]) / 2
    return (sum(x) / 2 - half, sum(x) / 2 + half), (sum(y) / 2 - half, sum(y) / 2 + half)
