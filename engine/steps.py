"""Steps: the uses of nodes in a run, and the scopes that they stand in.

A step has outputs as soon as it is settled: plain values and references, or a mark that says why it has none.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .checked import CheckedGraph, CheckedNode, Linked


class Mark:
    """Stands for values that a step does not have."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


PENDING = Mark("PENDING")
ABSENT = Mark("ABSENT")
"""Not there in this run: the `when` of a node is false."""
FAILED = Mark("FAILED")
UNKNOWN = Mark("UNKNOWN")
"""Whether it is there, only running can tell."""

WORST = (FAILED, ABSENT, UNKNOWN)
"""Of several marks, the first of these counts."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that only running can tell, in a plan; equal symbols stand for equal values."""

    symbol: Any
    maker: str
    """The address of a step that gives it."""


Stages = Generator[list["Step"], None, None]
Target = tuple["Step", str, tuple[int, ...]]
Port = tuple[str, bool, Any]
"""An input's name, whether it is required, and its type where it takes floats, which a value may have to be made."""


class Step:
    """One use of a node: at the top level, inside a graph that is used as a node type, or as an element of a foreach.

    Its `address` is its node's name, after those of what it stands in: `drawn/3/sampled`. `inputs` are known as soon as
    the flow hands it out, `outputs` as soon as it is settled: plain values and references, or a mark.
    """

    __slots__ = (
        "address",
        "certain",
        "elements",
        "inputs",
        "node",
        "open",
        "order",
        "outputs",
        "reason",
        "scope",
        "sources",
        "stages",
        "targets",
        "users",
        "uses",
        "waiters",
        "wanted",
        "wrong",
    )

    def __init__(
        self,
        address: str,
        order: tuple[int, ...],
        node: CheckedNode,
        scope: Scope,
        elements: Mapping[str, Any],
    ) -> None:
        self.address, self.order, self.node, self.scope, self.elements = address, order, node, scope, elements
        self.inputs: dict[str, Any] = {}
        self.outputs: Mapping[str, Any] | Mark = PENDING
        self.sources = NOTHING
        self.reason = ""
        self.wrong = False
        """Whether a value that came over a link is what the graph cannot take."""
        self.certain = False
        """Whether it is known that no `when` keeps it from running."""
        self.wanted = False
        self.open = 0
        self.stages: Stages | None = None
        self.targets: list[tuple[Port, Any, Target | None]] | None = None
        """Where its inputs come from, as soon as it has asked for them."""
        self.waiters: list[Step] | None = None
        self.uses: list[Step] | None = None
        self.users = 0

    def __lt__(self, other: Step) -> bool:
        return self.order < other.order

    def __repr__(self) -> str:
        return f"<{self.address}: {self.outputs}>"


_NO_ELEMENTS: Mapping[str, Any] = {}


class Gather(Step):
    """The list of one output of a foreach: not a node that anybody wrote, so it is never handed out."""

    __slots__ = ("output",)

    def __init__(self, address: str, order: tuple[int, ...], node: CheckedNode, scope: Scope, output: str) -> None:
        super().__init__(address, order, node, scope, _NO_ELEMENTS)
        self.output = output

    @property
    def expanded(self) -> bool:
        """Whether its elements are steps of their own by now, which say themselves what became of them."""
        return self.node.name in self.scope.elements


class Scope:
    """A graph in use: the top level, or inside a node whose type it is. `bound` has what its params are given."""

    def __init__(
        self,
        checked: CheckedGraph,
        prefix: str = "",
        order: tuple[int, ...] = (),
        outer: Scope | None = None,
        bound: Mapping[str, Any] | None = None,
        node: CheckedNode | None = None,
    ) -> None:
        self.checked, self.prefix, self.order, self.outer = checked, prefix, order, outer
        self.bound = bound or {}
        self.conditions: list[tuple[Scope, Any]] = []
        if outer is not None and node is not None:
            self.conditions = [*outer.conditions, *([(outer, node.when)] if node.when is not True else [])]
        self.steps: dict[str, Step] = {}
        self.gathers: dict[tuple[str, str], Gather] = {}
        self.inner: dict[str, Scope] = {}
        self.elements: dict[str, list[Scope | Step]] = {}

    @cached_property
    def places(self) -> Mapping[str, int]:
        """Where each node stands in its file: an extra one, for a param, stands before all."""
        return {name: index for index, name in enumerate(self.checked.graph.nodes)}

    def place(self, name: str) -> tuple[int, ...]:
        return (*self.order, self.places.get(name, -1))

    def step(self, name: str) -> Step:
        found = self.steps.get(name)
        if found is None:
            node = self.checked.nodes[name]
            found = self.steps[name] = Step(self.prefix + name, self.place(name), node, self, _NO_ELEMENTS)
        return found

    def target(self, link: Linked) -> tuple[Step, str, tuple[int, ...]]:
        """The step that a link leads to, the output, and the index into it."""
        scope, name, output, index = self, link.node, link.output, link.index
        while True:
            node = scope.checked.nodes[name]
            if node.foreach is not None:
                return scope.gather(node, output), output, index
            if not isinstance(node.type, CheckedGraph):
                return scope.step(name), output, index
            inside = node.type.outputs[output]
            scope = scope.inside(node)
            name, output, index = inside.node, inside.output, inside.index + index

    def inside(self, node: CheckedNode) -> Scope:
        found = self.inner.get(node.name)
        if found is None:
            assert isinstance(node.type, CheckedGraph)
            prefix = f"{self.prefix}{node.name}/"
            found = Scope(node.type, prefix, self.place(node.name), self, node.inputs, node)
            self.inner[node.name] = found
        return found

    def gather(self, node: CheckedNode, output: str) -> Gather:
        found = self.gathers.get((node.name, output))
        if found is None:
            found = Gather(f"{self.prefix}{node.name}", self.place(node.name), node, self, output)
            self.gathers[node.name, output] = found
        return found

    def expanded(self, node: CheckedNode, chosen: list[Mapping[str, Any]]) -> list[Scope | Step]:
        """The elements of a foreach, one for each choice of values from its lists."""
        found = self.elements.get(node.name)
        if found is None:
            found = self.elements[node.name] = [
                self._element(node, index, elements) for index, elements in enumerate(chosen)
            ]
        return found

    def _element(self, node: CheckedNode, index: int, elements: Mapping[str, Any]) -> Scope | Step:
        address, order = f"{self.prefix}{node.name}/{index}", (*self.place(node.name), index)
        if isinstance(node.type, CheckedGraph):
            return Scope(node.type, f"{address}/", order, self, {**node.inputs, **elements}, node)
        return Step(address, order, node, self, elements)


NOTHING: Mapping[str, str] = {}


def merged(several: Iterable[Mapping[str, str]]) -> Mapping[str, str]:
    """All of several mappings as one; no new one where only one of them has anything."""
    found = NOTHING
    for mapping in several:
        if mapping and mapping is not found:
            found = {**found, **mapping} if found else mapping
    return found
