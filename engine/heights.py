"""How far down the boxes of a drawing are, and the lines that pass them: step 4 of what layout.py describes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import inf
from statistics import fmean

from .columns import NOTHING, Cell, Line, groups_of

ROOM = 22.0  # between two boxes of a column
BESIDE = 15.0  # between a box and a line that passes it
LANE = 9.0  # between two lines that pass a column

_Wish = tuple[float, float]
"""A height, and how much it matters."""


def set_heights(columns: Sequence[Sequence[Cell]]) -> None:
    """Move cells up and down, never past each other, until lines rise and fall about as little as they can.

    From either side in turn, each looks to the column before; little by little also to the one behind.
    """
    for column in columns:
        for upper, lower in pairwise(column):
            lower.y = upper.y + upper.height + _room(upper, lower)
        middle = (column[0].y + column[-1].y + column[-1].height) / 2 if column else 0
        for cell in column:
            cell.y -= middle
    for behind in (0, 0.3, 0.6, 1):
        for column in reversed(columns):
            _settle(column, before=behind, after=1)
        for column in columns:
            _settle(column, before=1, after=behind)
        _settle_together(columns)


def _room(upper: Cell, lower: Cell) -> float:
    return (LANE, BESIDE, ROOM)[bool(upper.height) + bool(lower.height)]


def _settle(column: Sequence[Cell], before: float, after: float) -> None:
    """Place the cells of a column so that the lines on one side, or on both, rise and fall least in all.

    Cells that want to overlap are pooled and move as one, to the median of what they want (isotonic regression).
    """
    pools: list[tuple[float, list[_Wish], list[float]]] = []
    shift, shifts = 0.0, []
    for upper, cell in zip([None, *column], column, strict=False):
        shift += upper.height + _room(upper, cell) if upper else 0
        shifts.append(shift)
        # All heights are less the shift, as if the cells could lie in one place.
        wishes, now = [(y - shift, weight) for y, weight in _wishes(cell, before, after)], [cell.y - shift]
        place = _median(wishes, now)
        while pools and pools[-1][0] > place:
            _, more_wishes, more = pools.pop()
            wishes, now = more_wishes + wishes, more + now
            place = _median(wishes, now)
        pools.append((place, wishes, now))
    places = [place for place, _, members in pools for _ in members]
    for cell, place, shift in zip(column, places, shifts, strict=True):
        cell.y = place + shift


def _settle_together(columns: Sequence[Sequence[Cell]]) -> None:
    """Move cells that level lines connect as one, as far as there is room, so that their other lines rise less."""
    cells = [cell for column in columns for cell in column]
    for group in groups_of(cells, lambda line: abs(line.start_y() - line.end_y()) < 0.01):
        members = set(group)
        least, most = -inf, inf
        wishes = []
        for cell in group:
            column = columns[cell.column]
            for upper, lower in pairwise(column[max(cell.rank - 1, 0) : cell.rank + 2]):
                free = lower.y - upper.y - upper.height - _room(upper, lower)
                if lower is cell and upper not in members:
                    least = max(least, -free)
                elif upper is cell and lower not in members:
                    most = min(most, free)
            wishes += [
                (line.start_y() - line.end_y(), _stiffness(line)) for line in cell.before if line.left not in members
            ]
            wishes += [
                (line.end_y() - line.start_y(), _stiffness(line)) for line in cell.after if line.right not in members
            ]
        if wishes:
            down = max(least, min(most, _median(wishes, [0])))
            for cell in group:
                cell.y += down


def _wishes(cell: Cell, before: float, after: float) -> Iterator[_Wish]:
    """Where a cell would have to be for each of its lines to be level, and how much that matters."""
    for line in cell.before if before else ():
        yield line.start_y() - cell.inputs[line.input], before * _stiffness(line)
    for line in cell.after if after else ():
        yield line.end_y() - cell.outputs[line.output], after * _stiffness(line)


def _stiffness(line: Line) -> float:
    """How much it matters that a line is level: most for trunks, where they pass columns, least where they end."""
    passages = (line.left.kind == "passage") + (line.right.kind == "passage")
    return 4.0 if passages == 2 else line.weight * (2 - passages)


def _median(wishes: list[_Wish], now: Sequence[float]) -> float:
    """The weighted median; of two in the middle the one that is nearer to where things are now."""
    if len(wishes) == 1:
        return wishes[0][0]
    wishes.sort()
    half = sum([weight for _, weight in wishes]) / 2
    reached, middle = 0.0, []
    for place, weight in wishes:
        if reached > half + NOTHING:
            break
        reached += weight
        if reached >= half - NOTHING:
            middle.append(place)
    at = fmean(now)
    return min(middle, key=lambda place: abs(place - at), default=at)
