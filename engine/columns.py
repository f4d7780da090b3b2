"""Which column of a drawing each box is in, and in which order: steps 1 to 3 of what layout.py describes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from math import isqrt
from statistics import fmean
from typing import NamedTuple

from .order import in_order

SWEEPS = 16  # over the columns, to order them; more hardly change anything
NOTHING = 1e-9  # differences below come from rounding


class Part(NamedTuple):
    """The part of a link that lies on one sheet. Source and target are the names of cells there."""

    source: str
    output: str
    target: str
    input: str
    trunk: str


@dataclass(eq=False)
class Cell:
    """What takes a place in a column: a `box`, a `frame`, a door `in` or `out` of the frame around, or a `passage`."""

    kind: str
    width: float = 0.0
    height: float = 0.0
    input_slots: Sequence[float] = (0.0,)
    output_slots: Sequence[float] = (0.0,)
    inputs: dict[str, float] = field(default_factory=dict)
    """How far each port is below the top. A frame's are where its doors are, others take the slots in any order."""
    outputs: dict[str, float] = field(default_factory=dict)
    before: list[Line] = field(default_factory=list)
    after: list[Line] = field(default_factory=list)
    column: int = 0
    rank: int = 0
    x: float = 0.0
    y: float = 0.0


@dataclass(eq=False)
class Line:
    """A line from a cell to one in the next column."""

    left: Cell
    output: str
    right: Cell
    input: str
    weight: float = 1.0
    """The less, the more branches there are: what many share says little about where each belongs."""

    def start(self) -> float:
        """How far down it begins, in ranks of the column."""
        return self.left.rank + self.left.outputs.get(self.output, 0.0) / (self.left.height or 1)

    def end(self) -> float:
        return self.right.rank + self.right.inputs.get(self.input, 0.0) / (self.right.height or 1)

    def start_y(self) -> float:
        return self.left.y + self.left.outputs[self.output]

    def end_y(self) -> float:
        return self.right.y + self.right.inputs[self.input]


def set_columns(cells: Mapping[str, Cell], parts: Iterable[Part]) -> None:
    """Put each cell to the right of all that it takes data from, where the lines to and from it are shortest."""
    sources: dict[str, set[str]] = {name: set() for name in cells}
    targets: dict[str, set[str]] = {name: set() for name in cells}
    for part in parts:
        sources[part.target].add(part.source)
        targets[part.source].add(part.target)
    order = in_order(sources)
    if len(order) < len(cells):
        raise ValueError("the links form a cycle")
    first = int(any(cell.kind == "in" for cell in cells.values()))  # after the column of the doors that lead in
    most = max(16, 2 * isqrt(len(cells)))  # so that no column gets much higher than the drawing is wide
    filled: Counter[int] = Counter()
    boxes = [name for name in order if cells[name].kind in ("box", "frame")]
    for name in boxes:
        column = max((cells[source].column + 1 for source in sources[name]), default=first)
        while filled[column] == most:
            column += 1
        cells[name].column = column
        filled[column] += 1
    for cell in cells.values():
        if cell.kind == "out":
            cell.column = max(filled) + 1

    # A cell from which more trunks leave than enter it is better off near to where they lead.
    leave = Counter(name for name, _ in {(part.source, part.trunk) for part in parts})
    enter = Counter(name for name, _ in {(part.target, part.trunk) for part in parts})
    for names in (boxes[::-1], boxes, boxes[::-1]):
        for name in names:
            cell, wanted = cells[name], cells[name].column
            if leave[name] > enter[name]:
                wanted = min(cells[target].column for target in targets[name]) - 1
            elif enter[name] > leave[name]:
                wanted = max(cells[source].column for source in sources[name]) + 1
            while wanted != cell.column and filled[wanted] == most:
                wanted += 1 if wanted < cell.column else -1
            filled[cell.column] -= 1
            filled[wanted] += 1
            cell.column = wanted
    used = {column: index for index, column in enumerate(sorted({cell.column for cell in cells.values()}))}
    for cell in cells.values():
        cell.column = used[cell.column]


def chains_of(cells: Mapping[str, Cell], parts: Iterable[Part]) -> list[list[Cell]]:
    """For each part the cells that it goes through, one in each column, now joined by lines."""
    passages: dict[tuple[str, int], Cell] = {}
    lines: dict[tuple[Cell, str, Cell, str], Line] = {}
    chains = []
    for part in parts:
        source, target = cells[part.source], cells[part.target]
        cells_between = []
        for column in range(source.column + 1, target.column):
            if (part.trunk, column) not in passages:
                passages[part.trunk, column] = Cell("passage", column=column)
            cells_between.append(passages[part.trunk, column])
        chains.append([source, *cells_between, target])
        for left, right in pairwise(chains[-1]):
            ends = (left, part.output if left is source else "", right, part.input if right is target else "")
            lines[ends] = Line(*ends)
    leave = Counter((left, output) for left, output, _, _ in lines)
    enter = Counter((right, input) for _, _, right, input in lines)
    for (left, output, right, input), line in lines.items():
        line.weight = 1 / max(leave[left, output], enter[right, input])
        left.after.append(line)
        right.before.append(line)
    return chains


def connected(cells: Iterable[Cell]) -> list[list[Cell]]:
    """The cells in groups that lines connect, each in the order given; those without lines are the last group."""
    place = {cell: index for index, cell in enumerate(dict.fromkeys(cells))}
    groups = [sorted(group, key=place.__getitem__) for group in groups_of(place, lambda line: True)]
    alone = [group[0] for group in groups if len(group) == 1]
    return [group for group in groups if len(group) > 1] + [alone] * bool(alone)


def groups_of(cells: Iterable[Cell], counts: Callable[[Line], bool]) -> list[list[Cell]]:
    """The cells in groups that are connected by lines that count."""
    groups: dict[Cell, list[Cell]] = {}
    for first in cells:
        if first not in groups:
            groups[first] = group = [first]
            for cell in group:  # which grows meanwhile
                for line in filter(counts, chain(cell.before, cell.after)):
                    other = line.right if line.left is cell else line.left
                    if other not in groups:
                        groups[other] = group
                        group.append(other)
    return [group for first, group in groups.items() if group[0] is first]


def ordered(cells: Iterable[Cell], count: int) -> list[list[Cell]]:
    """So many columns of the cells, each in an order in which few lines cross.

    From either side in turn, each goes to the mean place of what it is linked to; at last neighbours are swapped.
    """
    columns: list[list[Cell]] = [[] for _ in range(count)]
    for cell in cells:
        columns[cell.column].append(cell)
    _set_ranks(columns)
    best, fewest = [list(column) for column in columns], _crossings(columns)
    for sweep in range(SWEEPS):
        if not fewest:
            break
        forward = sweep % 2 == 0
        for column in columns if forward else reversed(columns):
            means = {cell: _mean(cell, forward) for cell in column if (cell.before if forward else cell.after)}
            moved = iter(sorted(means, key=means.__getitem__))
            column[:] = [next(moved) if cell in means else cell for cell in column]
            _set_ranks([column])
        crossings = _crossings(columns)
        if crossings < fewest:
            best, fewest = [list(column) for column in columns], crossings
    _set_ranks(best)
    for _ in range(SWEEPS):
        if not sum(_swap(column) for column in best):
            break
    return best


def _set_ranks(columns: Iterable[Sequence[Cell]]) -> None:
    for column in columns:
        for rank, cell in enumerate(column):
            cell.rank = rank


def _mean(cell: Cell, forward: bool) -> float:
    """The mean place of what a cell is linked to on one side."""
    lines = cell.before if forward else cell.after
    places = [(line.start() if forward else line.end()) * line.weight for line in lines]
    return sum(places) / sum(line.weight for line in lines)


def _crossings(columns: Iterable[Sequence[Cell]]) -> float:
    """How many lines cross, by weight. Those at one box do not: its ports get the order of what they are linked to."""
    count = 0.0
    for column in columns:
        lines = sorted((line.start(), line.end(), line.weight) for cell in column for line in cell.after)
        index_of = {end: index for index, end in enumerate(sorted({end for _, end, _ in lines}), 1)}
        # A Fenwick tree: of the lines so far, the weights summed by where they end.
        sums, total = [0.0] * (len(index_of) + 1), 0.0
        for _, end, weight in lines:
            index, above = index_of[end], 0.0
            while index:
                above += sums[index]
                index &= index - 1
            count += weight * (total - above)
            total += weight
            index = index_of[end]
            while index < len(sums):
                sums[index] += weight
                index += index & -index
    return count


def _swap(column: list[Cell]) -> bool:
    """Swap neighbours in a column where then fewer lines cross, and say whether there were any."""
    before = {cell: [(line.start(), line.weight) for line in cell.before] for cell in column}
    after = {cell: [(line.end(), line.weight) for line in cell.after] for cell in column}
    swapped = False
    for rank in range(len(column) - 1):
        upper, lower = column[rank : rank + 2]
        if _gain(before[upper], before[lower]) + _gain(after[upper], after[lower]) > NOTHING:
            column[rank : rank + 2] = lower, upper
            swapped = True
    _set_ranks([column])
    return swapped


def _gain(upper: Sequence[tuple[float, float]], lower: Sequence[tuple[float, float]]) -> float:
    """How many more lines cross than if two neighbours were swapped, from the places and weights of their lines."""
    return sum(a * b * ((y > z) - (y < z)) for y, a in upper for z, b in lower)


def set_ports(cell: Cell) -> None:
    """Give a box's ports the slots at its sides, in the order of what they are linked to."""
    if cell.kind == "frame":
        return
    inputs: dict[str, list[float]] = {line.input: [] for line in cell.before}
    outputs: dict[str, list[float]] = {line.output: [] for line in cell.after}
    for line in cell.before:
        inputs[line.input].append(line.start())
    for line in cell.after:
        outputs[line.output].append(line.end())
    cell.inputs = dict(zip(sorted(inputs, key=lambda port: fmean(inputs[port])), cell.input_slots, strict=False))
    cell.outputs = dict(zip(sorted(outputs, key=lambda port: fmean(outputs[port])), cell.output_slots, strict=False))
