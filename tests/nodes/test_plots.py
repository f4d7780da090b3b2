"""Plots: one style for light and dark pages, axes that say what they are, and tables that hold together."""

import io
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image as Pillow

from latentgraph.engine import Cancelled, Context
from latentgraph.engine.codec import PLAIN
from latentgraph.engine.node import Wrong
from latentgraph.nodes.plots.data import Plot, Table, table
from latentgraph.nodes.plots.nodes import ImageStrip, MakeTable, PlotCurve, PlotHeatmap, PlotScatter, PlotUNet
from latentgraph.nodes.plots.style import DARK, DPI, LIGHT, WIDTH, plotted
from latentgraph.nodes.plots.unet import NEEDED
from latentgraph.nodes.ports import Image

LOSSES = table({"step": [1, 2, 3], "loss": [3.0, 2.0, 1.5], "kl": [1.0, 0.5, 0.25]}, {"loss": "nats", "kl": "nats"})
OTHER = table({"step": [1, 2, 3], "loss": [4.0, 1.0, 0.5], "kl": [2.0, 0.5, 0.1]}, {"loss": "nats", "kl": "nats"})
PICTURES = Image(torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1)))

TEXTS = table({"x": [1, 2], "word": ["a", "b"], "y": [1.0, 2.0]})


def zeros(rows: int, columns: int, names: tuple[str, ...] = ()) -> Table:
    """A table of zeros after a first column."""
    return table({"step": [0] * rows, **{name: [0.0] * rows for name in names or map(str, range(columns))}})


def many_pictures(count: int) -> ImageStrip:
    """A strip of small pictures in one row."""
    return ImageStrip(rows=(Image(torch.zeros(count, 3, 2, 2)),))


def unet_layers(**changes: Any) -> Table:
    """A table of one layer."""
    row = dict.fromkeys(NEEDED, 1) | {"layer": "a", "kind": "residual", "skip from": ""}
    return table({name: [value] for name, value in (row | changes).items()})


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

    def keep(draw: Callable[[Any], Figure], context: Context) -> Plot:
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
    assert made == table({"step": [2, 3], "loss": [3.0, 1.0]})
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
        (MakeTable(values=()), "there are no lists of values"),
        (MakeTable(values=((1.0,), (2.0,)), names=("a", "a")), "two columns are called `a`"),
        (MakeTable(values=((1.0,),), names=("step",)), "two columns are called `step`"),
        (many_pictures(51), "a row has 51 pictures, but at most 50"),
        (ImageStrip(rows=(many_pictures(41).rows[0],) * 5), "there are 205 pictures, but a strip has at most 200"),
        (PlotHeatmap(tables=(zeros(1000, 401),)), "there are 401000 numbers to draw: at most 400000"),
        (PlotHeatmap(tables=(zeros(30, 31),), numbers=True), "there are 930 numbers to write: at most 900"),
        (PlotHeatmap(tables=(LOSSES, table({"step": [1, 2, 3], "loss": [1, 2, 3]}))), "different columns"),
        (PlotHeatmap(tables=(TEXTS, TEXTS)), "column `word` holds texts"),
        (PlotCurve(tables=(zeros(101, 2),), kind="bars"), "there are 202 bars: at most 200"),
        (PlotCurve(tables=(zeros(1, 25),), panels=True), "there are 25 columns to draw: at most 24"),
        (PlotCurve(tables=(zeros(1, 33),)), "there are 33 curves on one axis: at most 32"),
        (PlotCurve(tables=(zeros(100_001, 2),)), "there are 200002 points: at most 200000"),
        (PlotCurve(tables=(table({"x": [1.0]}),)), r"curves need two columns, and a table has only \['x'\]"),
        (PlotCurve(tables=(TEXTS,), y=("word",)), "column `word` holds texts"),
        (PlotCurve(tables=(LOSSES,), dashed=("lost",)), "`lost` is neither a column nor the label of a table"),
        (PlotCurve(tables=(LOSSES,), points=("lost",)), "there is no column `lost`"),
        (PlotCurve(tables=(LOSSES, zeros(3, 2, ("loss", "kl"))), kind="bars"), "the tables differ in `step`"),
        (PlotCurve(tables=(TEXTS, table({"x": ["a"], "y": [1.0]})), x="x", y=("y",)), "both texts and numbers"),
        (PlotScatter(tables=(LOSSES,) * 25, panels=True), "there are 25 tables: at most 24"),
        (PlotScatter(tables=(LOSSES,) * 7, panels=True, marginals=True), "at most 6 have histograms"),
        (PlotScatter(tables=(zeros(100_001, 1),)), "there are 100001 points: at most 100000"),
        (PlotScatter(tables=(TEXTS,), y="word"), "column `word` holds texts"),
        (
            PlotScatter(tables=(table({"x": [1.0], "y": [float("nan")]}),)),
            "`y` holds numbers that are infinite or none",
        ),
        (PlotScatter(tables=(table({"x": [], "y": []}),)), "has no rows"),
        (PlotScatter(tables=(table({"x": [1, 2], "y": [1, 2], "c": ["a", 1]}),), colour="c"), "both texts and numbers"),
        (
            PlotScatter(tables=(table({"x": range(17), "y": range(17), "c": list("abcdefghijklmnopq")}),), colour="c"),
            "holds 17 texts: colours of at most 16",
        ),
        (
            PlotUNet(layers=table({name: [1] for name in NEEDED})),
            "do not hold texts: give the layers of a TraceUNet",
        ),
        (PlotUNet(layers=unet_layers(kind="embedding")), "there are 0 layers"),
        (PlotUNet(layers=unet_layers(channels="many")), "is of .*: give the layers of a TraceUNet"),
        (PlotUNet(layers=unet_layers(**{"skip from": "b"})), "there is no layer `b`"),
    ],
)
def test_what_cannot_be_drawn_is_said(node: Any, message: str):
    with pytest.raises((Wrong, ValueError), match=message):
        node.run(Context())


def test_columns_of_other_lengths_or_of_one_name_are_no_table():
    with pytest.raises(ValueError, match="one length"):
        table({"a": [1], "b": [1, 2]})
    with pytest.raises(ValueError, match="at least one column"):
        table({})


@pytest.mark.parametrize("size", [1, 2, 3, 7, 20, 50])
def test_smoothing_takes_the_mean_of_the_last_values_and_a_large_one_is_in_no_other(size: int):
    values = torch.rand(20, generator=torch.Generator().manual_seed(1)).tolist()
    values[4] = 1e18
    means = MakeTable(values=(tuple(values),), smooth=size).run(Context()).column("loss").values
    windows = [values[max(0, end - size) : end] for end in range(min(size, 20), 21)]
    assert means == pytest.approx([sum(each) / len(each) for each in windows], rel=1e-9)


def test_smoothing_over_many_values_takes_not_much_longer_than_over_few():
    def seconds(smooth: int) -> float:
        node, times = MakeTable(values=((1.0,) * 100_000,), smooth=smooth), []
        for _ in range(3):
            start = time.process_time()
            node.run(Context())
            times.append(time.process_time() - start)
        return min(times)

    assert seconds(50_000) < 20 * seconds(2)


def test_numbers_are_written_only_in_ways_that_fractions_have():
    for way in ("d", ".200f"):
        with pytest.raises(ValueError, match="format"):
            PlotHeatmap(tables=(LOSSES,), format=way)


def test_a_dollar_is_a_dollar_and_powers_of_ten_are_powers():
    figures: list[Figure] = []

    def draw(colours: Any) -> Figure:
        drawn = Figure()
        place = drawn.subplots()
        place.set_title("$a$")
        place.plot([1, 1000], [1, 1000])
        place.set_yscale("log")
        figures.append(drawn)
        return drawn

    plotted(draw, Context())
    (place,) = figures[0].axes
    texts = [label.get_text() for label in place.get_yticklabels()]
    assert all(label.get_parse_math() for label in place.get_yticklabels())
    assert any("10^" in text for text in texts)
    assert not place.title.get_parse_math()


def test_labels_that_begin_with_a_line_are_in_the_legend(monkeypatch):
    node = PlotCurve(tables=(LOSSES, OTHER), labels=("_small", "large"), y=("loss",))
    (axes,) = figure_of(node, monkeypatch).axes
    assert [text.get_text().strip("\u200b") for text in axes.get_legend().get_texts()] == ["_small", "large"]
    node = PlotScatter(tables=(LOSSES, OTHER), labels=("_small", "large"))
    (axes,) = figure_of(node, monkeypatch).axes
    assert [text.get_text().strip("\u200b") for text in axes.get_legend().get_texts()] == ["_small", "large"]


def test_columns_of_texts_are_no_curves_unless_they_are_asked_for(monkeypatch):
    (axes,) = figure_of(PlotCurve(tables=(TEXTS,)), monkeypatch).axes
    assert [line.get_ydata().tolist() for line in axes.get_lines()] == [[1.0, 2.0]]


def test_of_many_rows_and_bars_some_are_named(monkeypatch):
    axes = figure_of(PlotHeatmap(tables=(zeros(100, 2),)), monkeypatch).axes[0]
    assert len(axes.get_yticks()) == 25
    (axes,) = figure_of(PlotCurve(tables=(zeros(100, 1),), kind="bars"), monkeypatch).axes
    assert len(axes.get_xticks()) == 25


def test_numbers_that_are_none_leave_gaps_in_colours(monkeypatch):
    gaps = table({"row": [1, 2], "a": [float("nan"), 2.0], "b": [1.0, float("inf")]})
    axes = figure_of(PlotHeatmap(tables=(gaps,), numbers=True), monkeypatch).axes[0]
    assert axes.get_images()[0].get_clim() == (1.0, 2.0)


def test_drawing_stops_where_it_is_cancelled_before_either_page():
    class Cancelling(Context):
        def __init__(self, after: int) -> None:
            super().__init__()
            self.left = after

        def check_cancelled(self) -> None:
            self.left -= 1
            if self.left < 0:
                raise Cancelled

    drawn: list[Any] = []
    for after in (0, 1):
        drawn.clear()
        with pytest.raises(Cancelled):
            plotted(lambda colours: drawn.append(colours) or Figure(), Cancelling(after))
        assert len(drawn) == after
