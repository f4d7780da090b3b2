"""The port types of plots: numbers in named columns, and the plot that is drawn of them."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from latentgraph.engine.ports import PortType, Written

from ..codec import TENSORS
from ..metadata import described

Cell = float | int | str


@dataclass(frozen=True)
class Column:
    """Values under a name: numbers of one unit, or texts."""

    name: str
    values: tuple[Cell, ...]
    unit: str = ""
    """`px`, `ms`, `%`; empty where the values are counts, shares or texts."""

    @property
    def label(self) -> str:
        return f"{self.name} ({self.unit})" if self.unit else self.name

    @property
    def numeric(self) -> bool:
        """Whether no value is a text."""
        return not any(isinstance(value, str) for value in self.values)

    @property
    def finite(self) -> bool:
        """Whether all values are numbers, and none is infinite or not a number."""
        return all(not isinstance(value, str) and math.isfinite(value) for value in self.values)


@dataclass(frozen=True)
class Table(PortType):
    """Measurements in columns of one length, each with a name and a unit. Written as CSV."""

    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        if not self.columns:
            raise ValueError("a table has at least one column")
        if len({len(column.values) for column in self.columns}) > 1:
            raise ValueError(f"columns of a table are of one length; {self.names} are not")
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"columns of a table have names of their own; {self.names} have not")

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    def column(self, name: str) -> Column:
        """The column of a name. Raises ValueError, with the names that there are."""
        for column in self.columns:
            if column.name == name:
                return column
        raise ValueError(f"the table has no column `{name}`, but {', '.join(f'`{known}`' for known in self.names)}")

    def written(self) -> Iterable[Written]:
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow([column.label for column in self.columns])
        rows.writerows(zip(*(column.values for column in self.columns), strict=True))
        yield Written(".csv", text.getvalue().encode())


def table(columns: Mapping[str, Sequence[Cell]], units: Mapping[str, str] | None = None) -> Table:
    """A table of columns by name, with the units of some of them. Tensors and arrays come as their `tolist()`."""
    units = units or {}
    return Table(tuple(Column(name, tuple(values), units.get(name, "")) for name, values in columns.items()))


@dataclass(frozen=True, eq=False)
class Plot(PortType, codec=TENSORS):
    """One plot as two PNG files: for a light page (`NAME.png`) and for a dark one (`NAME-dark.png`)."""

    light: bytes
    dark: bytes

    def written(self) -> Iterable[Written]:
        yield Written(".png", self.light)
        yield Written("-dark.png", self.dark)

    @classmethod
    def described(cls, file: Written, about: Mapping[str, Any]) -> Written:
        return Written(file.suffix, described(file.content, about))
