"""Checking: from a graph as it was written to a graph whose every node, link and value is known to fit."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .checked import CheckedGraph, CheckedNode, Linked, links_in
from .diagnostics import Note, nearest
from .graph import MISSING, Graph, Param, WrittenNode, outside_limits
from .inputs import Inputs, refused_inputs
from .node import Node
from .order import cycles, in_order, needed_by
from .ports import PortType
from .problems import Problems
from .references import References
from .registry import Registry
from .shapes import Shapes
from .source import Scalar
from .types import choices, element, type_name
from .values import UNUSABLE, Refused, admitted


def check(graph: Graph, registry: Registry, problems: Problems, given: Mapping[str, Any] | None = None) -> CheckedGraph:
    """Check `graph` with the params `given` over its defaults; what is wrong goes to `problems`.

    What comes back can run if there are no errors among the problems. Where `given` is None, params without a default
    stay unknown and only their types are checked.
    """
    checker = _Checker(graph, registry, problems, given)
    return checker.check()


class _Checker:
    def __init__(self, graph: Graph, registry: Registry, problems: Problems, given: Mapping[str, Any] | None) -> None:
        self.graph, self.registry, self.problems = graph, registry, problems
        self.types = {name: registry.get(node.type.text) for name, node in graph.nodes.items()}
        self.shapes = Shapes(graph, self.types)
        self.params = self._param_values(given)
        self.references = References(graph, self.shapes, self.params, problems)
        self.inputs = Inputs(graph, self.references, problems)

    def check(self) -> CheckedGraph:
        nodes = {name: self._node(node) for name, node in self.graph.nodes.items()}
        outputs = {}
        for name, (_, link) in self.graph.outputs.items():
            linked = self._output(name, link)
            if linked is not None:
                outputs[name] = linked
        order = self._order(nodes)
        if not self.problems.any_errors:
            # Otherwise something may be unused only because what uses it is wrong.
            self._warn_of_unused(nodes, outputs)
        return CheckedGraph(self.graph, self.params, {name: nodes[name] for name in order}, outputs)

    # params

    def _param_values(self, given: Mapping[str, Any] | None) -> dict[str, Any]:
        """The value of each param, UNUSABLE where it was refused or is not known."""
        values = {}
        for name in given or {}:
            if name not in self.graph.params:
                near = nearest(name, list(self.graph.params))
                known = ", ".join(self.graph.params) or "it has none"
                self.problems.error(
                    "unknown-param", None, f"the graph has no param `{name}`",
                    help=f"did you mean `{near}`?" if near else f"its params: {known}", path=f"params.{name}",
                )  # fmt: skip
        for name, param in self.graph.params.items():
            if given is not None and name in given:
                values[name] = self._given_param(param, given[name])
            elif param.default is not MISSING:
                values[name] = param.default
            else:
                values[name] = UNUSABLE
                if given is not None:
                    self.problems.error(
                        "missing-input", param.place, f"the param `{name}` has no default and was not given",
                        help=f"give it: --set {name}=…", path=f"params.{name}",
                    )  # fmt: skip
        return values

    def _given_param(self, param: Param, value: Any) -> Any:
        if value is UNUSABLE:
            return value  # whoever gives it so has said why
        try:
            taken = admitted(value, param.annotation, Path())
            limits = None if taken is None else outside_limits(param, taken)
            if limits is None:
                return taken
            code, message, help = limits[0], f"the value given for `{param.name}` {limits[1]}", None
        except Refused as refused:
            code, message, help = refused.code, f"the value given for `{param.name}`: {refused.message}", refused.help
        self.problems.error(
            code, None, message, help=help, path=f"params.{param.name}",
            notes=[Note(f"`{param.name}` is declared here", param.place)],
        )  # fmt: skip
        return UNUSABLE

    # nodes

    def _node(self, written: WrittenNode) -> CheckedNode:
        name = written.name.text
        node_type, shape, when = self.types[name], self.shapes[name], self.inputs.condition(written)
        if node_type is None or shape is None:
            near = self.registry.nearest(written.type.text)
            self.problems.error(
                "unknown-type", written.type.place, f"there is no node type `{written.type.text}`",
                help=f"did you mean `{near}`?" if near else "`latentgraph nodes` lists the node types",
                path=f"nodes.{name}.type",
            )  # fmt: skip
            return CheckedNode(name, Node, self.inputs.untyped(written), when)
        inputs, foreach = self.inputs.read(written, shape)
        return CheckedNode(name, node_type, inputs, when, foreach, written.timeout, written.retry)

    # the whole

    def _output(self, name: str, link: Scalar) -> Linked | None:
        path = f"outputs.{name}"
        found = self.references.resolve(link, None, path)
        if found is UNUSABLE:
            return None
        if not isinstance(found, Linked):
            self.problems.error(
                "wrong-type", link.place, f"the output `{name}` is not a link",
                help="write a link to a node's output, such as $decoded", path=path,
            )  # fmt: skip
            return None
        shape = self.shapes[found.node]
        assert shape is not None
        given = shape.outputs[found.output].annotation
        for _ in found.index:
            given = element(given)
        if not _can_be_output(given):
            self.problems.error(
                "wrong-port", link.place, f"a {type_name(given)} cannot be an output, it cannot be written to a file",
                help=self._writers(), path=path,
            )  # fmt: skip
            return None
        return found

    def _writers(self) -> str | None:
        links = [
            self.references.link_text(name, output)
            for name, shape in self.shapes.items()
            for output in (shape.outputs.values() if shape else ())
            if _can_be_output(output.annotation)
        ]
        return "what can: " + ", ".join(f"`{link}`" for link in links[:4]) if links else None

    def _warn_of_unused(self, nodes: Mapping[str, CheckedNode], outputs: Mapping[str, Linked]) -> None:
        needed = needed_by([link.node for link in outputs.values()], _waits(nodes))
        for name, written in self.graph.nodes.items():
            if name not in needed:
                self.problems.warning(
                    "unused-node", written.name.place, f"no output needs the node `{name}`, so it will not run",
                    path=f"nodes.{name}",
                )  # fmt: skip
        for name, param in self.graph.params.items():
            if name not in self.references.used_params:
                message = f"nothing uses the param `{name}`"
                self.problems.warning("unused-param", param.place, message, path=f"params.{name}")

    def _order(self, nodes: Mapping[str, CheckedNode]) -> list[str]:
        """The nodes in an order in which they can run; says so where there is none."""
        waits = _waits(nodes)
        order = in_order(waits)
        for cycle in cycles(waits) if len(order) < len(nodes) else ():
            places = [self.graph.nodes[name].name.place for name in cycle]
            self.problems.error(
                "cycle", places[0], "these nodes wait for each other: " + " → ".join([*cycle, cycle[0]]),
                notes=[Note(f"`{name}` is here", place) for name, place in list(zip(cycle, places, strict=True))[1:]],
                help="let one of them take its input from elsewhere", path=f"nodes.{cycle[0]}",
            )  # fmt: skip
        return order


def _waits(nodes: Mapping[str, CheckedNode]) -> dict[str, set[str]]:
    """Which nodes each node takes its inputs from."""
    return {name: {link.node for link in node.links()} for name, node in nodes.items()}


def _can_be_output(annotation: Any) -> bool:
    inner = element(annotation)
    if inner is not None:
        return _can_be_output(inner)
    alternatives = choices(annotation)
    if len(alternatives) > 1:
        return all(map(_can_be_output, alternatives))
    kind = alternatives[0]
    return not (isinstance(kind, type) and issubclass(kind, PortType)) or kind.can_be_written()


def needed_nodes(checked: CheckedGraph, targets: list[str] | None = None) -> list[str]:
    """The nodes that the outputs (or only the nodes `targets`) need, in an order in which they can run."""
    wanted = targets or [link.node for link in checked.outputs.values()]
    needed = needed_by(wanted, _waits(checked.nodes))
    return [name for name in checked.nodes if name in needed]


__all__ = ["CheckedGraph", "CheckedNode", "Linked", "check", "links_in", "needed_nodes", "refused_inputs"]
