"""The node types that draw plots: of tables and of pictures, in one style, for light pages and for dark ones.

A column's name and unit are what its axis is called, so tables say what they hold and plots need few words.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Literal

from latentgraph.engine import Context, Field, Node
from latentgraph.engine.node import Wrong

from ..ports import Image
from .data import Plot, Table, table

TABLES = "one table, or several that are compared; all have the columns that are drawn"
LABELS = "what each table is called; none where there is but one"
TITLE = "what is written above; nothing without"


class MakeTable(Node, category="plots"):
    """Lists of numbers as a table: a column for each list, after one called `step` that is counted from 1.

    `smooth` takes the mean of that many values up to each one, which makes the loss of a training readable. The table
    then begins where there are so many, or has one row where there are fewer.
    """

    values: tuple[tuple[float, ...], ...] = Field(description="a list for each column, all of one length")
    names: tuple[str, ...] = Field(("loss",), description="what each list holds")
    units: tuple[str, ...] = Field((), description="the unit of each list; none without")
    smooth: int = Field(1, ge=1, description="how many values are averaged")
    counted: str = Field("step", description="what the column that counts is called; empty for none")

    def run(self, context: Context) -> Table:
        if not self.values:
            raise Wrong("values", "there are no lists of values: give one for each column")
        if len(self.names) != len(self.values):
            raise Wrong("names", f"there are {len(self.values)} lists of values and {len(self.names)} names")
        if self.units and len(self.units) != len(self.values):
            raise Wrong("units", f"there are {len(self.values)} lists of values and {len(self.units)} units")
        if len({len(each) for each in self.values}) != 1:
            raise Wrong("values", f"lists of {', '.join(str(len(each)) for each in self.values)} values are no table")
        headings = [*([self.counted] if self.counted else []), *self.names]
        for name in self.names:
            if headings.count(name) > 1:
                raise Wrong("names", f"two columns are called `{name}`: give each a name of its own")
        columns: dict[str, list[float | int]] = {}
        first = max(0, min(self.smooth, len(self.values[0])) - 1)
        if self.counted:
            columns[self.counted] = list(range(first + 1, len(self.values[0]) + 1))
        for name, each in zip(self.names, self.values, strict=True):
            columns[name] = _smoothed(each, self.smooth)[first:]
        return table(columns, dict(zip(self.names, self.units, strict=False)))


def _smoothed(values: Sequence[float], size: int) -> list[float | int]:
    """The mean of `size` values up to each one, or of as many as there are.

    Each sum is one from the middle up and one from the middle down, the middle being a multiple of `size`. So it takes
    one pass however many are averaged, and nothing is subtracted: a very large value spoils no other mean.
    """
    blocks = [values[start : start + size] for start in range(0, len(values), size)]
    up = [part for block in blocks for part in accumulate(block)]
    down = [part for block in blocks for part in list(accumulate(block[::-1]))[::-1]]
    means: list[float | int] = []
    for end, part in enumerate(up):
        start = max(0, end + 1 - size)
        means.append((part + down[start] if start % size else part) / (end + 1 - start))
    return means


class TableValue(Node, category="plots"):
    """One number of a table: that of a column in a row. Fails where the table has no such column or row."""

    table: Table
    column: str = Field(description="the name of the column")
    row: int = Field(-1, description="counted from 0; below 0 counted from the end, -1 the last")

    def run(self, context: Context) -> float:
        try:
            values = self.table.column(self.column).values
        except ValueError as unknown:
            raise Wrong("column", str(unknown)) from None
        if not -len(values) <= self.row < len(values):
            raise Wrong("row", f"row is {self.row}, but the table has {len(values)} rows, the first of which is 0")
        value = values[self.row]
        if isinstance(value, str):
            raise Wrong("column", f"column `{self.column}` holds texts, such as `{value}`: take a column of numbers")
        return float(value)


class PlotCurve(Node, category="plots"):
    """Draw columns of numbers over another one: as curves, as points, or as bars.

    Of several tables each has a colour of its own. With `panels` each column has an axis of its own, side by side.
    Fails where a table has no column of a name.
    """

    tables: tuple[Table, ...] = Field(description=TABLES)
    labels: tuple[str, ...] = Field((), description=LABELS)
    x: str = Field("", description="the column along the bottom; the first without")
    y: tuple[str, ...] = Field((), description="the columns that are drawn; all others without")
    kind: Literal["line", "points", "both", "bars"] = Field("line", description="how they are drawn")
    panels: bool = Field(False, description="each column in a panel of its own")
    dashed: tuple[str, ...] = Field(
        (), description="columns, or tables by their labels, that are dashed: a theory, say"
    )
    points: tuple[str, ...] = Field((), description="columns that are points, where the others are lines")
    log: tuple[str, ...] = Field((), description="columns whose axis is logarithmic")
    y_label: str = Field("", description="what is written at the side; the column's name and unit without")
    title: str = Field("", description=TITLE)

    def run(self, context: Context) -> Plot:
        from .curves import curves

        _check_labels(self.tables, self.labels)
        return curves(self, context)


class PlotScatter(Node, category="plots"):
    """Draw points, each by two of its numbers. Fails where a table has no column of a name."""

    tables: tuple[Table, ...] = Field(description=TABLES)
    labels: tuple[str, ...] = Field((), description=LABELS)
    x: str = Field("", description="the column along the bottom; the first without")
    y: str = Field("", description="the column up the side; the second without")
    colour: str = Field("", description="the column that colours the points: texts each have one, numbers a scale")
    panels: bool = Field(False, description="each table in a panel of its own")
    same_axes: bool = Field(True, description="whether all panels go as far")
    marginals: bool = Field(False, description="histograms of either number at the sides")
    square: bool = Field(False, description="equal lengths mean equal distances on both axes")
    circles: tuple[float, ...] = Field((), description="radii of circles around the origin")
    title: str = Field("", description=TITLE)

    def run(self, context: Context) -> Plot:
        from .scatter import scatter

        _check_labels(self.tables, self.labels)
        for each in self.tables:
            if len(each.columns) < 2:
                raise Wrong("tables", f"points need two columns, and a table has only {each.names}")
        return scatter(self, context)


class PlotHeatmap(Node, category="plots"):
    """Draw a table as colours: its first column names the rows, the others are the columns of numbers.

    Several tables are drawn side by side, on the same scale. Where there is no room for the name of every column, some
    are left out.
    """

    tables: tuple[Table, ...] = Field(description="one table, or several of the same rows")
    labels: tuple[str, ...] = Field((), description=LABELS)
    pictures: Image | None = Field(None, description="a picture for each column, drawn in place of its name")
    x_label: str = Field("", description="what the columns are")
    value_label: str = Field("", description="what the numbers are, with their unit")
    centre: float | None = Field(None, description="the number from which colours go two ways")
    numbers: bool = Field(False, description="write each number on its colour")
    format: str = Field(
        ".2f", pattern=r"^,?(\.\d{1,2})?[efg%]$", description="how numbers are written, in Python's words"
    )
    title: str = Field("", description=TITLE)

    def run(self, context: Context) -> Plot:
        from .heatmap import heatmap

        _check_labels(self.tables, self.labels)
        for each in self.tables:
            if len(each.columns) < 2 or not each.columns[0].values:
                raise Wrong("tables", f"a table of {each.names} has no rows of numbers to draw")
            if len(each.columns[0].values) != len(self.tables[0].columns[0].values):
                raise Wrong("tables", "the tables have different numbers of rows")
            if self.pictures is not None and len(self.pictures.pixels) != len(each.columns) - 1:
                count = len(self.pictures.pixels)
                raise Wrong("pictures", f"there are {count} pictures for {len(each.columns) - 1} columns: give as many")
        return heatmap(self, context)


class PlotUNet(Node, category="plots"):
    """Draw the layers of a U-Net, of TraceUNet: down to small maps of many channels, and up again.

    A box is as high as the map that comes out of a layer and as wide as it has channels, each on a scale of roots.
    Dashed arrows are skips: what is given again. Fails for a table that is none of a U-Net's layers.
    """

    layers: Table
    title: str = Field("", description=TITLE)

    def run(self, context: Context) -> Plot:
        from .unet import NEEDED, unet

        for name in NEEDED:
            if name not in self.layers.names:
                raise Wrong("layers", f"the table has no column `{name}`: give the layers of a TraceUNet")
        return unet(self, context)


class ImageStrip(Node, category="plots"):
    """Draw rows of pictures with words at their sides: what happens from left to right, or under other conditions.

    Each item of `rows` is a row, its pictures those of the batch; one item is cut in rows of `columns` pictures. Fails
    where there is not one label for each row, or for each column; and of `given` not one picture, or one for each row.
    """

    rows: tuple[Image, ...] = Field(description="pictures, a batch for each row")
    as_columns: bool = Field(False, description="each batch is a column instead")
    columns: int = Field(
        0, ge=0, le=50, description="pictures in a row, where one batch is cut in rows; 0 does not cut"
    )
    given: Image | None = Field(None, description="what stands before each row: what its pictures were made from")
    given_label: str = Field("", description="what to write above that")
    row_labels: tuple[str | float, ...] = Field((), description="what to write beside each row")
    column_labels: tuple[str | float, ...] = Field((), description="what to write above each column")
    x_label: str = Field("", description="what changes from left to right, with its unit")
    y_label: str = Field("", description="what changes from top to bottom, with its unit")
    title: str = Field("", description=TITLE)

    def run(self, context: Context) -> Plot:
        from .strip import strip

        if not self.rows:
            raise Wrong("rows", "there are no pictures to draw")
        return strip(self, context)


def _check_labels(tables: tuple[Table, ...], labels: tuple[str, ...]) -> None:
    if not tables:
        raise Wrong("tables", "there is nothing to draw: link a table")
    if labels and len(labels) != len(tables):
        raise Wrong("labels", f"there are {len(tables)} tables and {len(labels)} labels: give one for each")
