"""How all plots look: one style, drawn once for a light page and once for a dark one.

A figure is 8 inches wide, with text that can still be read at half its size.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from latentgraph.engine import Context

from .data import Plot

WIDTH = 8.0
"""Inches, like the margin above and below."""
MARGIN = 0.1
DPI = 200


@dataclass(frozen=True)
class Colours:
    """What is drawn in which colour on one kind of page."""

    page: str
    text: str
    muted: str
    grid: str
    series: tuple[str, ...]
    """Of the curves and points, in turn: told apart also by those who do not tell red from green."""
    low: str
    high: str
    """Ends of a scale of numbers, which goes through `middle` where it has a centre."""
    middle: str
    other: str
    """The end below the centre."""

    @property
    def scale(self) -> Colormap:
        return LinearSegmentedColormap.from_list("scale", [self.low, self.high])

    @property
    def points(self) -> Colormap:
        """A scale for points, of which no end is like the page."""
        return LinearSegmentedColormap.from_list("points", [self.series[index] for index in (4, 1, 3, 0)])

    @property
    def around(self) -> Colormap:
        return LinearSegmentedColormap.from_list("around", [self.other, self.middle, self.high])


LIGHT = Colours(
    page="#ffffff",
    text="#24292f",
    muted="#6a727c",
    grid="#e2e5e8",
    series=("#1f67b1", "#d9642a", "#2f8f5b", "#8450b8", "#b78a12", "#c2437e", "#2f8f95", "#6a727c"),
    low="#f2f6fa",
    high="#154f8c",
    middle="#f6f6f4",
    other="#b8481a",
)
DARK = Colours(
    page="#17191d",
    text="#e4e7ea",
    muted="#9aa3ad",
    grid="#33383f",
    series=("#6fb1f0", "#f0935c", "#6ccb96", "#b993ec", "#dcb855", "#ea8bb8", "#62c3c9", "#9aa3ad"),
    low="#20262d",
    high="#8cc4fa",
    middle="#272a2f",
    other="#f0935c",
)

_lock = threading.Lock()  # matplotlib's settings are those of the process


def plotted(draw: Callable[[Colours], Figure], context: Context) -> Plot:
    """The plot of a figure that `draw` makes in either kind of colours. Stops between them where it is cancelled."""
    return Plot(_png(draw, LIGHT, context), _png(draw, DARK, context))


def named(label: str) -> str:
    """What a legend says. matplotlib leaves out what is empty or begins with `_`, so no width is put in front."""
    return f"\u200b{label}" if label[:1] in ("", "_") else label


def figure(height: float) -> Figure:
    """A figure of the usual width and a height in inches, whose parts make room for each other."""
    return Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")


def _png(draw: Callable[[Colours], Figure], colours: Colours, context: Context) -> bytes:
    with _lock, matplotlib.rc_context(_settings(colours)):
        context.check_cancelled()
        content, drawn = io.BytesIO(), draw(colours)
        _read_powers(drawn)
        drawn.draw_without_rendering()  # arranges the parts
        used = drawn.get_tightbbox().padded(MARGIN)
        whole = Bbox.from_extents(0, used.y0, WIDTH, used.y1)  # nothing above and below that is empty
        drawn.savefig(content, format="png", bbox_inches=whole, metadata={"Software": None})
        return content.getvalue()


def _read_powers(drawn: Figure) -> None:
    """Texts are given as they are, a `$` too, but the ticks of logarithms are powers of ten, written as mathematics.

    Those that matplotlib makes from now on are numbers or such powers.
    """
    matplotlib.rcParams["text.parse_math"] = True
    for place in drawn.axes:
        for axis in (place.xaxis, place.yaxis):
            if axis.get_scale() == "log":
                for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                    tick.label1.set_parse_math(True)


def _settings(colours: Colours) -> dict[str, Any]:
    return {
        **matplotlib.rcParamsDefault,
        "font.family": ["DejaVu Sans"],  # comes with matplotlib, so that plots are the same everywhere
        "text.parse_math": False,
        "font.size": 12,
        "axes.titlesize": 13,
        "axes.labelsize": 12,
        "legend.fontsize": 11,
        "xtick.labelsize": 11,
        "ytick.labelsize": 11,
        "figure.facecolor": colours.page,
        "savefig.facecolor": colours.page,
        "axes.facecolor": colours.page,
        "text.color": colours.text,
        "axes.labelcolor": colours.text,
        "axes.titlecolor": colours.text,
        "axes.edgecolor": colours.muted,
        "xtick.color": colours.muted,
        "ytick.color": colours.muted,
        "xtick.labelcolor": colours.text,
        "ytick.labelcolor": colours.text,
        "grid.color": colours.grid,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": matplotlib.cycler(color=colours.series),
        "lines.linewidth": 2.0,
        "legend.frameon": False,
        "legend.labelcolor": colours.text,
        "axes.formatter.useoffset": False,
        "figure.constrained_layout.w_pad": 0.08,
        "figure.constrained_layout.h_pad": 0.08,
    }
