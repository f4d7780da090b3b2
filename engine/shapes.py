"""The shapes of a graph's nodes: what each takes and gives, known before any of its inputs is looked at.

Nothing here says what is wrong. Where the type of something cannot be told it is any type, which fits everywhere, so
that one mistake is not reported several times.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from .expression import ExpressionError, Link, ParamReference, Text, parse_text, type_of
from .node import Input, Node, Output
from .order import in_order
from .source import Scalar, Sequence, Tree
from .switch import Switch
from .types import PLAIN, list_of, part, union

if TYPE_CHECKING:
    from .graph import Graph, Param, WrittenNode


@dataclass(frozen=True, slots=True)
class Shape:
    """A node as others see it: what its type is called, its inputs and outputs by name.

    `primary` is what a link without an output's name takes: the only output, or the one that the type declares.
    """

    name: str
    inputs: Mapping[str, Input]
    outputs: Mapping[str, Output]
    primary: Output | None
    type: type[Node] | None = None
    """Where it is a node type."""
    params: Mapping[str, Param] = field(default_factory=dict)
    """Where it is a graph file: what its inputs stand for."""
    required: tuple[str, ...] = ()

    def repeated(self) -> Shape:
        """The shape of a foreach: it gives lists."""
        outputs = {name: Output(name, list_of(output.annotation)) for name, output in self.outputs.items()}
        return replace(self, outputs=outputs, primary=outputs[self.primary.name] if self.primary else None)


@cache
def shape_of(node_type: type[Node]) -> Shape:
    inputs = node_type.inputs()
    required = tuple(name for name, entry in inputs.items() if entry.required)
    outputs, primary = node_type.outputs(), node_type.primary_output()
    return Shape(node_type.__name__, inputs, outputs, primary, node_type, required=required)


class Shapes:
    """The shapes of a graph's nodes by name, given the `types` of those that have one that is known."""

    def __init__(self, graph: Graph, types: Mapping[str, type[Node] | Shape | None]) -> None:
        self.graph = graph
        self.plain_params = _plain_types(graph.params)
        self.by_name: dict[str, Shape | None] = {}
        switches = []
        for name, node in graph.nodes.items():
            kind = types[name]
            if kind is Switch:
                switches.append(name)
            shape = shape_of(kind) if isinstance(kind, type) else kind
            self.by_name[name] = shape.repeated() if shape is not None and node.foreach is not None else shape
        for name in self._in_order(switches) if switches else ():
            self.by_name[name] = self._switch(graph.nodes[name])

    def __getitem__(self, name: str) -> Shape | None:
        return self.by_name[name]

    def items(self) -> Iterator[tuple[str, Shape | None]]:
        yield from self.by_name.items()

    def of_link(self, link: Link) -> Any:
        """The type of what a link gives."""
        shape = self.by_name.get(link.node)
        if shape is None:
            return Any
        path = list(link.path)
        output = shape.outputs.get(path.pop(0)) if path and not path[0].isdecimal() else shape.primary
        return _inside(output.annotation, path) if output is not None else Any

    def of_tree(self, tree: Tree | None) -> Any:
        """The type of what is written."""
        if isinstance(tree, Sequence):
            return list_of(union(map(self.of_tree, tree.items)))
        if not isinstance(tree, Scalar):
            return Any
        if not isinstance(tree.value, str):
            return type(tree.value)
        try:
            parsed = parse_text(tree.value)
            if isinstance(parsed, Text):
                return str
            if isinstance(parsed, Link):
                return self.of_link(parsed)
            if isinstance(parsed, ParamReference):
                param = self.graph.params.get(parsed.name)
                return Any if param is None else _inside(param.annotation, parsed.path)
            return PLAIN[type_of(parsed, self.plain_params)]
        except ExpressionError:
            return Any

    def _switch(self, node: WrittenNode) -> Shape:
        """A Switch, which gives what its branches are."""
        branches = [self.of_tree(tree) for name, tree in node.entries() if name.text in ("then", "otherwise")]
        if node.foreach is not None:
            branches += [
                part(self.of_tree(tree)) or Any
                for name, tree in node.foreach.entries
                if name.text in ("then", "otherwise")
            ]
        output = Output("value", union(branches))
        shape = replace(shape_of(Switch), outputs={"value": output}, primary=output)
        return shape if node.foreach is None else shape.repeated()

    def _in_order(self, switches: list[str]) -> list[str]:
        """Those that others take their type from first; on a cycle there is no type."""
        known = set(switches)
        return in_order({name: known.intersection(self._linked(self.graph.nodes[name])) for name in switches})

    @staticmethod
    def _linked(node: WrittenNode) -> Iterator[str]:
        """The nodes that anything written for a node may link to."""
        left = [tree for _, tree in (*node.entries(), *(node.foreach.entries if node.foreach else ()))]
        while left:
            tree = left.pop()
            if isinstance(tree, Sequence):
                left += tree.items
            elif isinstance(tree, Scalar) and tree.text.startswith("$"):
                yield tree.text[1:].partition(".")[0]


def _plain_types(params: Mapping[str, Param]) -> Mapping[str, str]:
    """The types of those params that expressions can use."""
    names = {kind: name for name, kind in PLAIN.items()}
    return {name: names[param.annotation] for name, param in params.items() if param.annotation in names}


def _inside(annotation: Any, path: list[str] | tuple[str, ...]) -> Any:
    """The type of an element, as far as a path leads into lists."""
    for _ in path:
        annotation = part(annotation)
        if annotation is None:
            return Any
    return annotation
