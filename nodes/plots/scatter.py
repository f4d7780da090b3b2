"""Drawing points, each by two of its numbers."""

from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from .data import Plot, Table
from .style import Colours, figure, plotted

if TYPE_CHECKING:
    from .nodes import PlotScatter


def scatter(node: "PlotScatter") -> Plot:
    """What the node PlotScatter draws."""
    names = node.tables[0].names
    x, y = node.x or names[0], node.y or names[1]
    for each in node.tables:
        for name in (x, y, *((node.colour,) if node.colour else ())):
            each.column(name)

    def draw(colours: Colours) -> Figure:
        groups = [[index] for index in range(len(node.tables))] if node.panels else [list(range(len(node.tables)))]
        drawn = figure(4.6 if len(groups) < 3 else 3.6)
        limits = _limits(node.tables, x), _limits(node.tables, y)
        for part, group in zip(drawn.subfigures(1, len(groups), squeeze=False)[0], groups, strict=True):
            _group(part, node, group, (x, y), limits, colours)
        if node.title:
            drawn.suptitle(node.title, fontsize=14)
        return drawn

    return plotted(draw)


def _group(
    part: Any,
    node: "PlotScatter",
    group: list[int],
    axes: tuple[str, str],
    limits: tuple[tuple[float, float], tuple[float, float]],
    colours: Colours,
) -> None:
    """Some of the tables in one panel, with histograms of either number at its sides where they are asked for."""
    if node.marginals:
        place, above, beside = (
            part.subplot_mosaic([["above", "."], ["points", "beside"]], width_ratios=(4, 1), height_ratios=(1, 4)).pop(
                "points"
            ),
            None,
            None,
        )
        places = {axis.get_label(): axis for axis in part.axes}
        above, beside = places["above"], places["beside"]
    else:
        place, above, beside = part.subplots(), None, None
    for index in group:
        each = node.tables[index]
        xs, ys = each.column(axes[0]).values, each.column(axes[1]).values
        colour = colours.series[index % len(colours.series)]
        size = max(4.0, min(30.0, 12_000 / max(1, len(xs))))
        options = {"s": size, "alpha": 0.6, "linewidths": 0}
        if node.colour:
            _coloured(part, place, each, (xs, ys), node.colour, options, colours)
        else:
            place.scatter(xs, ys, color=colour, label=node.labels[index] if node.labels else None, **options)
        for side, values, direction, span in ((above, xs, "vertical", 0), (beside, ys, "horizontal", 1)):
            if side is not None:
                side.hist(values, bins=40, range=limits[span], orientation=direction, color=colour, alpha=0.6)
                side.set_axis_off()
    for radius in node.circles:
        place.add_patch(Circle((0, 0), radius, fill=False, color=colours.text, linestyle="--", linewidth=1.2))
    if above is not None:
        above.set_xlim(limits[0])
        beside.set_ylim(limits[1])
    place.set(xlim=limits[0], ylim=limits[1])
    place.set_xlabel(node.tables[0].column(axes[0]).label)
    place.set_ylabel(node.tables[0].column(axes[1]).label)
    if node.square:
        place.set_aspect("equal")
    if node.labels and len(group) == 1:
        (above or place).set_title(node.labels[group[0]])
    elif node.labels or node.colour:
        _legend(place)


def _coloured(
    part: Any, place: Axes, each: Table, points: tuple[Any, Any], name: str, options: dict[str, Any], colours: Colours
) -> None:
    """Points in colours that a column says: one to each text, or a scale of numbers."""
    column = each.column(name)
    if not all(isinstance(value, str) for value in column.values):
        shown = place.scatter(*points, c=column.values, cmap=colours.scale, **options)
        part.colorbar(shown, ax=place, label=column.label).outline.set_visible(False)
        return
    for index, text in enumerate(sorted(set(column.values))):  # type: ignore[type-var]
        chosen = [row for row, value in enumerate(column.values) if value == text]
        xs, ys = ([values[row] for row in chosen] for values in points)
        place.scatter(xs, ys, color=colours.series[index % len(colours.series)], label=text, **options)


def _legend(place: Axes) -> None:
    handles, _ = place.get_legend_handles_labels()
    if not handles:
        return
    for handle in place.legend(markerscale=1.5, handletextpad=0.2).legend_handles:
        if handle is not None:
            handle.set_alpha(1)


def _limits(tables: tuple[Table, ...], name: str) -> tuple[float, float]:
    """From the least to the most that any table has, with some room."""
    values = [float(value) for each in tables for value in each.column(name).values]
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = 0.05 * (high - low) or 0.5
    return low - room, high + room
