"""What checking gives: a graph whose every node, link and value is known to fit.

Inputs hold values in one of these forms: a plain value or a value of a port type; a link; a param that is known only
once the graph is used inside another one; an expression over such params; a tuple of any of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .expression import Expression, Template

if TYPE_CHECKING:
    from .graph import Graph
    from .node import Node


@dataclass(frozen=True, slots=True)
class Linked:
    """A value that another node gives: one of its outputs, or an element of a list among them."""

    node: str
    output: str
    index: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Given:
    """A param of a graph that is a node type, or an element of it: known when the node that uses the graph is run."""

    param: str
    index: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Computed:
    """An expression over params of which at least one is `Given`."""

    expression: Expression | Template


@dataclass(frozen=True, slots=True)
class Foreach:
    """A node once for each element of lists: their product, the last varying fastest, or side by side (`zipped`)."""

    over: Mapping[str, Any]
    """By the name of the input that takes the elements, a value that is a list."""
    zipped: bool = False


LATER: Any = type("Later", (), {"__repr__": lambda self: "LATER"})()
"""The value of a param of a graph that is a node type, where only its use says what it is."""


@dataclass(frozen=True)
class CheckedNode:
    """A node ready to run.

    `type` is a node type, or a graph that is used as one; its `inputs` are then the params that are given. `when` is a
    bool in any form: where it is false, the node gives nothing.
    """

    name: str
    type: type[Node] | CheckedGraph
    inputs: Mapping[str, Any]
    when: Any = True
    foreach: Foreach | None = None
    timeout: float | None = None
    retry: int = 0

    def links(self) -> Iterator[Linked]:
        """All links of the node, those of `when` and `foreach` too."""
        for value in (self.when, *(self.foreach.over.values() if self.foreach else ()), *self.inputs.values()):
            if type(value) is Linked:
                yield value
            elif type(value) is tuple:
                yield from links_in(value)


@dataclass(frozen=True)
class CheckedGraph:
    """A graph that can run: nodes in an order in which they can, and the links of its outputs.

    `params` has the value of every param; LATER for those that the use of the graph as a node type gives.
    """

    graph: Graph
    params: Mapping[str, Any]
    nodes: Mapping[str, CheckedNode]
    outputs: Mapping[str, Linked]
    random: Mapping[str, int] = field(default_factory=dict)
    """The params that were to be random, and what was drawn for them."""


def links_in(value: Any) -> Iterator[Linked]:
    """The links in an input's value."""
    if isinstance(value, Linked):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from links_in(item)


def graph_id(checked: CheckedGraph) -> str:
    """What the store calls a graph: its file's place, because two files may be called alike."""
    return place_in_store(checked.graph.name, checked.graph.folder)


def place_in_store(name: str, folder: Path) -> str:
    """The same, of a graph that is found but not read."""
    return os.path.join(os.path.abspath(folder), name)
