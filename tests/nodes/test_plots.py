"""Plots: one style for light and dark pages, axes that say what they are, and tables that hold together."""

import io
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image as Pillow

from latentgraph.engine import Context
from latentgraph.engine.codec import PLAIN
from latentgraph.engine.node import Wrong
from latentgraph.nodes.plots.data import Plot, Table, table
from latentgraph.nodes.plots.nodes import ImageStrip, MakeTable, PlotCurve, PlotHeatmap, PlotScatter
from latentgraph.nodes.plots.style import DARK, DPI, LIGHT, WIDTH
from latentgraph.nodes.ports import Image

LOSSES = table({"step": [1, 2, 3], "loss": [3.0, 2.0, 1.5], "kl": [1.0, 0.5, 0.25]}, {"loss": "nats", "kl": "nats"})
OTHER = table({"step": [1, 2, 3], "loss": [4.0, 1.0, 0.5], "kl": [2.0, 0.5, 0.1]}, {"loss": "nats", "kl": "nats"})
PICTURES = Image(torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1)))

NODES = [
    PlotCurve(tables=(LOSSES,)),
    PlotCurve(tables=(LOSSES, OTHER), labels=("small", "large"), panels=True, log=("kl",)),
    PlotCurve(tables=(LOSSES,), y=("loss",), kind="bars"),
    PlotScatter(tables=(LOSSES, OTHER), labels=("small", "large"), x="loss", y="kl", panels=True, marginals=True),
    PlotScatter(tables=(LOSSES,), x="loss", y="kl", colour="step", circles=(1.0,), square=True),
    PlotHeatmap(tables=(LOSSES, OTHER), labels=("before", "after"), x_label="what", numbers=True, centre=1.0),
    ImageStrip(rows=(PICTURES, PICTURES), row_labels=("a", "b"), column_labels=(1, 2.5, "c"), x_label="t"),
]


def figure_of(node: Any, monkeypatch: pytest.MonkeyPatch) -> Figure:
    """The figure that a node draws on a light page."""
    drawn: list[Figure] = []

    def keep(draw: Callable[[Any], Figure]) -> Plot:
        drawn.append(draw(LIGHT))
        return Plot(b"", b"")

    module = {"PlotCurve": "curves", "PlotScatter": "scatter", "PlotHeatmap": "heatmap", "ImageStrip": "strip"}
    monkeypatch.setattr(import_module(f"latentgraph.nodes.plots.{module[type(node).__name__]}"), "plotted", keep)
    node.run(Context())
    return drawn[0]


@pytest.mark.parametrize("node", NODES, ids=lambda node: type(node).__name__)
def test_a_plot_is_two_pictures_of_one_size_on_a_light_and_on_a_dark_page(node: Any):
    plot = node.run(Context())
    assert [file.suffix for file in plot.written()] == [".png", "-dark.png"]
    light, dark = (
        numpy.asarray(Pillow.open(io.BytesIO(content)).convert("RGB")) for content in (plot.light, plot.dark)
    )
    assert light.shape == dark.shape
    assert light.shape[1] == WIDTH * DPI
    for picture, colours in ((light, LIGHT), (dark, DARK)):
        page = [round(255 * part) for part in to_rgb(colours.page)]
        assert picture[2, 2].tolist() == page
        assert (picture != page).any(-1).mean() > 0.01


@pytest.mark.parametrize("node", NODES, ids=lambda node: type(node).__name__)
def test_equal_inputs_give_equal_bytes(node: Any):
    first, second = node.run(Context()), node.run(Context())
    assert (first.light, first.dark) == (second.light, second.dark)


@pytest.mark.parametrize("node", NODES, ids=lambda node: type(node).__name__)
def test_text_can_be_read_at_half_size(node: Any, monkeypatch):
    figure = figure_of(node, monkeypatch)
    assert min(text.get_fontsize() for text in figure.findobj(lambda part: hasattr(part, "get_fontsize"))) >= 10


def test_axes_are_called_like_their_columns_with_their_units(monkeypatch):
    (axes,) = figure_of(PlotCurve(tables=(LOSSES,), y=("loss",)), monkeypatch).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "loss (nats)")
    (axes,) = figure_of(PlotScatter(tables=(LOSSES,), x="kl", y="loss"), monkeypatch).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("kl (nats)", "loss (nats)")


def test_curves_go_through_the_values_and_dashes_and_logarithms_are_where_they_are_asked_for(monkeypatch):
    node = PlotCurve(tables=(LOSSES,), dashed=("kl",), log=("loss",))
    (axes,) = figure_of(node, monkeypatch).axes
    loss, kl = axes.get_lines()
    assert loss.get_xydata().tolist() == [[1, 3.0], [2, 2.0], [3, 1.5]]
    assert (loss.get_linestyle(), kl.get_linestyle()) == ("-", "--")
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "log")


def test_each_table_has_a_colour_of_its_own_and_its_label_in_the_legend(monkeypatch):
    node = PlotCurve(tables=(LOSSES, OTHER), labels=("small", "large"), y=("loss",))
    (axes,) = figure_of(node, monkeypatch).axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["small", "large"]
    assert len({line.get_color() for line in axes.get_lines()}) == 2


def test_colours_of_two_heat_maps_mean_the_same_numbers(monkeypatch):
    figure = figure_of(PlotHeatmap(tables=(LOSSES, OTHER), labels=("before", "after")), monkeypatch)
    before, after = (axes.get_images()[0] for axes in figure.axes[:2])
    assert before.get_array().tolist() == [[3.0, 1.0], [2.0, 0.5], [1.5, 0.25]]
    assert before.get_clim() == after.get_clim() == (0.1, 4.0)


def test_a_strip_has_a_row_for_each_batch_or_a_column(monkeypatch):
    two = Image(PICTURES.pixels[:2])
    assert figure_of(ImageStrip(rows=(PICTURES, PICTURES)), monkeypatch).axes[0].get_gridspec().get_geometry() == (2, 3)
    turned = figure_of(ImageStrip(rows=(two, two, two), as_columns=True), monkeypatch)
    assert turned.axes[0].get_gridspec().get_geometry() == (2, 3)
    shown = turned.axes[3].get_images()[0].get_array()
    assert torch.equal(torch.from_numpy(numpy.asarray(shown)), two.pixels[1].permute(1, 2, 0))


def test_a_table_is_made_of_lists_and_can_be_smoothed():
    made = MakeTable(values=((4.0, 2.0, 0.0),), smooth=2).run(Context())
    assert made == table({"step": [1, 2, 3], "loss": [4.0, 3.0, 1.0]})
    plain = MakeTable(values=((0.5, 1.0), (1.0, 2.0)), names=("t", "x"), units=("s", "px"), counted="").run(Context())
    assert plain == table({"t": [0.5, 1.0], "x": [1.0, 2.0]}, {"t": "s", "x": "px"})


def test_a_table_is_written_as_csv_with_units_and_kept_in_the_store():
    (file,) = LOSSES.written()
    assert (file.suffix, file.content.decode().splitlines()[:2]) == (
        ".csv",
        ["step,loss (nats),kl (nats)", "1,3.0,1.0"],
    )
    assert PLAIN.decode(Table, PLAIN.encode(LOSSES)) == LOSSES


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (PlotCurve(tables=()), "there is nothing to draw: link a table"),
        (PlotCurve(tables=(LOSSES,), y=("lost",)), "no column `lost`, but `step`, `loss`, `kl`"),
        (PlotCurve(tables=(LOSSES, OTHER), labels=("one",)), "there are 2 tables and 1 labels"),
        (PlotScatter(tables=(table({"x": [1.0]}),)), r"points need two columns, and a table has only \['x'\]"),
        (PlotHeatmap(tables=(table({"x": [1.0]}),)), "has no rows of numbers to draw"),
        (ImageStrip(rows=()), "there are no pictures to draw"),
        (ImageStrip(rows=(PICTURES,), column_labels=("a",)), "a row has 3 pictures, but there are 1 column_labels"),
        (
            ImageStrip(rows=(PICTURES,), row_labels=("a", "b")),
            "there are 1 rows of pictures, but 2 values in row_labels",
        ),
        (MakeTable(values=((1.0, 2.0), (1.0,)), names=("a", "b")), "lists of 2, 1 values are no table"),
        (MakeTable(values=((1.0,),), names=("a", "b")), "there are 1 lists of values and 2 names"),
    ],
)
def test_what_cannot_be_drawn_is_said(node: Any, message: str):
    with pytest.raises((Wrong, ValueError), match=message):
        node.run(Context())


def test_columns_of_other_lengths_or_of_one_name_are_no_table():
    with pytest.raises(ValueError, match="one length"):
        table({"a": [1], "b": [1, 2]})
