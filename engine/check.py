"""Checking: from a graph as it was written to a graph whose every node, link and value is known to fit."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from .diagnostics import Note, nearest
from .graph import MISSING, Graph, Param, WrittenNode, outside_limits
from .node import Node
from .order import cycles, in_order, needed_by
from .ports import PortType
from .problems import Problems
from .references import Linked, References, brief, links_in
from .registry import Registry
from .source import Mapping as Entries
from .source import Scalar
from .types import choices, element, type_name
from .values import PLAIN_TEXT, UNUSABLE, Refused, admitted, converted


@dataclass(frozen=True)
class CheckedNode:
    """A node ready to run: its inputs are values, links, or tuples of both."""

    name: str
    type: type[Node]
    inputs: Mapping[str, Any]

    def links(self) -> Iterator[Linked]:
        for value in self.inputs.values():
            yield from links_in(value)


@dataclass(frozen=True)
class CheckedGraph:
    """A graph that can run: nodes in an order in which they can, and the links of its outputs."""

    graph: Graph
    params: Mapping[str, Any]
    nodes: Mapping[str, CheckedNode]
    outputs: Mapping[str, Linked]


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
        self.params = self._param_values(given)
        self.references = References(graph, self.types, self.params, problems)

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
        name, node_type = written.name.text, self.types[written.name.text]
        if node_type is None:
            near = self.registry.nearest(written.type.text)
            self.problems.error(
                "unknown-type", written.type.place, f"there is no node type `{written.type.text}`",
                help=f"did you mean `{near}`?" if near else "`latentgraph nodes` lists the node types",
                path=f"nodes.{name}.type",
            )  # fmt: skip
            # Links and params inside are looked at all the same: what is wrong with them is another cause.
            inputs = {
                key.text: self._untyped(tree, f"nodes.{name}.inputs.{key.text}") for key, tree in written.entries()
            }
            return CheckedNode(name, Node, inputs)
        known = node_type.inputs()
        inputs = {}
        present: set[str | None] = set()
        for key, tree in written.entries():
            path = f"nodes.{name}.inputs.{key.text}"
            if key.text in known:
                value = converted(
                    tree, known[key.text].annotation, self.problems, path, self.graph.folder, self.references.resolve
                )
                self._comment_trap(tree, key, path)
                inputs[key.text] = value
                present.add(key.text)
            else:
                present.add(self._unknown_input(written, node_type, key, tree, path))
        for wanted in known.values():
            if wanted.required and wanted.name not in present and written.complete:
                self.problems.error(
                    "missing-input", written.name.place,
                    f"{node_type.__name__} needs `{wanted.name}` ({wanted.type_name})",
                    help=self.references.givers(wanted.annotation, name), path=f"nodes.{name}.inputs.{wanted.name}",
                )  # fmt: skip
        self._limits(written, node_type, inputs)
        return CheckedNode(name, node_type, inputs)

    def _untyped(self, tree: Any, path: str) -> Any:
        if isinstance(tree, Scalar) and isinstance(tree.value, str):
            found = self.references.resolve(tree, None, path)
            return UNUSABLE if found is PLAIN_TEXT else found
        return UNUSABLE

    def _comment_trap(self, tree: Any, key: Scalar, path: str) -> None:
        """Warns where a comment was probably meant as text: `a dog #1 in show`, but not `a dog  # the first`."""
        if not (isinstance(tree, Scalar) and isinstance(tree.value, str) and tree.comment_after):
            return
        if tree.comment_after[0] not in " !#":
            self.problems.warning(
                "text-as-value", tree.place, f"`{key.text}` ends before ` #`, which begins a comment: `{tree.text}`",
                help=f'if the rest belongs to it, quote it: "{tree.text} #{tree.comment_after}"', path=path,
            )  # fmt: skip

    def _unknown_input(
        self, written: WrittenNode, node_type: type[Node], key: Scalar, tree: Any, path: str
    ) -> str | None:
        """Says so, and gives the input that was probably meant."""
        known = node_type.inputs()
        near = nearest(key.text, list(known))
        help: str | None = f"did you mean `{near}`?" if near else "its inputs: " + (", ".join(known) or "it has none")
        notes = []
        cut = self._cut_off(written.inputs, key) if self._empty(tree) else None
        if cut is not None:
            name, before, rest = cut
            if rest[0] != key.text:
                return None  # the first part that a comma cut off is said to be one, with all that follow
            near = None
            notes = [Note(f"inside {{ }} a comma ends a value, so `{name}` is only `{before}`", None)]
            help = f'quote it: {name}: "{", ".join([before, *rest])}"'
        self.problems.error(
            "unknown-input", key.place, f"{node_type.__name__} has no input `{key.text}`",
            help=help, notes=notes, path=path,
        )  # fmt: skip
        return near

    @staticmethod
    def _empty(tree: Any) -> bool:
        return isinstance(tree, Scalar) and tree.text == "" and not tree.quoted

    @staticmethod
    def _cut_off(inputs: Entries | None, key: Scalar) -> tuple[str, str, list[str]] | None:
        """The input whose text commas cut off, inside { }, what is left of it, and the parts, of which `key` is one."""
        if inputs is None or not inputs.flow:
            return None
        cut: tuple[str, str, list[str]] | None = None
        for name, tree in inputs.entries:
            if not _Checker._empty(tree):
                if cut and key.text in cut[2]:
                    break
                cut = (name.text, tree.text, []) if isinstance(tree, Scalar) and not tree.quoted else None
            elif cut:
                cut[2].append(name.text)
        return cut if cut and key.text in cut[2] else None

    def _limits(self, written: WrittenNode, node_type: type[Node], inputs: dict[str, Any]) -> None:
        """Ask the node type itself about the values that are known: their ranges and whatever else it validates."""
        values = {
            name: value
            for name, value in inputs.items()
            if value is not UNUSABLE and not any(True for _ in links_in(value))
        }
        try:
            node_type.model_validate(values)
        except ValidationError as invalid:
            for name, code, message in refused_inputs(invalid):
                if name not in values:
                    continue
                tree = written.inputs.get(name) if written.inputs else None
                place = tree.place if tree is not None else written.place
                self.problems.error(code, place, message, path=f"nodes.{written.name.text}.inputs.{name}")

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
        node_type = self.types[found.node]
        assert node_type is not None
        given = node_type.outputs()[found.output].annotation
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
            for name, node_type in self.types.items()
            for output in (node_type.outputs().values() if node_type else ())
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


_RANGES = ("greater_than", "less_than", "multiple_of", "too_short", "too_long", "string_too")
"""How pydantic's names of errors about ranges and lengths begin."""


def refused_inputs(invalid: ValidationError) -> Iterator[tuple[str, str, str]]:
    """What a node type said about its inputs: the name of each, a diagnostic's code, and the message."""
    for problem in invalid.errors(include_url=False):
        name = str(problem["loc"][0]) if problem["loc"] else ""
        message = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
        if problem["type"].startswith(_RANGES):
            yield name, "out-of-range", f"`{name}` is {brief(problem['input'])}; it {message}"
        else:
            code = "not-a-choice" if problem["type"] == "not_a_choice" else "wrong-type"
            yield name, code, f"`{name}`: {message}" if name else message


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
