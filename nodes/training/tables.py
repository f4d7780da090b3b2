"""Points as tables and as tensors, and how sets of them are compared.

A point is a row of numbers, float64; a table's columns of numbers are those of its points.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor

from latentgraph.engine.node import Wrong

from ..diffusion.numerics import torch
from ..plots.data import Column, Table

if TYPE_CHECKING:
    from .distributions import ComparePoints, CorrelatePoints, KeepPoints


LARGEST = 1e100
"""The largest number of a point."""
BLOCK = 2**22
"""Distances that are computed at once."""


def tensor(numbers: object) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def numbers(points: Table, names: Sequence[str]) -> Tensor:
    """Columns of a table as points f64[N, D].

    Raises ValueError where there is none of a name, one of texts, or one with a number that is not finite or too large
    to be squared.
    """
    columns = [points.column(name) for name in names]
    for column in columns:
        if any(isinstance(value, str) for value in column.values):
            raise ValueError(f"the column `{column.name}` has texts, where numbers are needed")
    rows = len(points.columns[0].values) if points.columns else 0
    values = tensor([column.values for column in columns]).reshape(len(columns), rows)
    for column, each in zip(columns, values, strict=True):
        if not (each.abs() <= LARGEST).all():
            raise ValueError(f"the column `{column.name}` has a number that is not finite, or beyond {LARGEST:g}")
    return values.mT


def deviations_of(points: Tensor) -> Tensor:
    """The standard deviation of each number of points [N, D]: exactly 0 where it is the same in all of them."""
    return torch.where(points.amin(0) == points.amax(0), 0.0, points.std(0))


def points_of(drawn: Tensor, names: Sequence[str], units: Sequence[str], *more: Column) -> Table:
    """Points [N, D] as a table, with further columns behind their numbers."""
    columns = zip(names, units, drawn.T.tolist(), strict=True)
    return Table((*(Column(name, tuple(values), unit) for name, unit, values in columns), *more))


def number_names(points: Table) -> tuple[str, ...]:
    return tuple(column.name for column in points.columns if not any(isinstance(value, str) for value in column.values))


def kept(node: "KeepPoints") -> Table:
    """What the node KeepPoints does."""
    away = (numbers(node.points, [node.column])[:, 0] - node.value).abs()
    rows = (away <= node.within).nonzero()[:, 0].tolist()
    if not rows:
        raise Wrong("value", f"no point has `{node.column}` within {node.within:g} of {node.value:g}")
    return Table(
        tuple(replace(column, values=tuple(column.values[row] for row in rows)) for column in node.points.columns)
    )


def related(node: "CorrelatePoints") -> tuple[float, float]:
    """What the node CorrelatePoints does."""
    names = number_names(node.points)
    if len(names) < 2 and not (node.x and node.y):
        raise Wrong("points", "two columns of numbers are needed")
    chosen = [node.x or names[0], node.y or names[1]]
    points = numbers(node.points, chosen)
    if len(points) < 2:
        raise Wrong("points", "at least two points are needed")
    for name, deviation in zip(chosen, deviations_of(points).tolist(), strict=True):
        if deviation == 0:
            raise Wrong("points", f"`{name}` is the same in all points, so nothing goes together with it")
    return torch.corrcoef(points.T)[0, 1].item(), torch.cov(points.T)[0, 1].item()


def compared(node: "ComparePoints") -> tuple[float, float]:
    """What the node ComparePoints does."""
    names = [name for name in number_names(node.reference) if name != node.by]
    points, reference = numbers(node.points, names), numbers(node.reference, names)
    if not names or not len(points) or len(reference) < 2:
        raise Wrong("reference", "there is nothing to compare: points need columns of numbers and some rows")
    scale = deviations_of(reference)
    scale = torch.where(scale > 0, scale, 1.0)
    pairs = [(points / scale, reference / scale)]
    if node.by:
        mine, theirs = (table.column(node.by).values for table in (node.points, node.reference))
        if set(mine) != set(theirs):
            raise Wrong("by", f"`{node.by}` has other values in the points than in the reference")
        pairs = [
            tuple(
                each[[row for row, value in enumerate(values) if value == wanted]] / scale
                for each, values in ((points, mine), (reference, theirs))
            )
            for wanted in sorted(set(mine))
        ]
    distances = torch.stack([_energy_distance(*pair) for pair in pairs])
    nearest = torch.stack([torch.cat([block.amin(1) for block in _distances(*pair)]).median() for pair in pairs])
    return distances.mean().item(), nearest.mean().item()


def _energy_distance(points: Tensor, reference: Tensor) -> Tensor:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'| of all pairs."""
    within = _mean_distance(points, points) + _mean_distance(reference, reference)
    return 2 * _mean_distance(points, reference) - within


def _mean_distance(points: Tensor, reference: Tensor) -> Tensor:
    return torch.stack([block.sum() for block in _distances(points, reference)]).sum() / len(points) / len(reference)


def _distances(points: Tensor, reference: Tensor) -> Iterator[Tensor]:
    """The distances [N, M] of points from those of the reference, some rows at a time."""
    for rows in points.split(max(1, BLOCK // len(reference))):
        yield torch.cdist(rows, reference, compute_mode="donot_use_mm_for_euclid_dist")  # exactly 0 for copies
