"""Checking: from a graph as it was written to a graph whose every node, link and value is known to fit."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from .diagnostics import Note, nearest
from .expression import Expression, ExpressionError, Link, ParamReference, Template, Text, evaluate, parse_text, type_of
from .graph import MISSING, Graph, Param, WrittenNode, outside_limits
from .node import Input, Node, Output
from .order import cycles, in_order, needed_by
from .ports import File, Folder, PortType
from .problems import Problems
from .registry import Registry
from .source import Mapping as Entries
from .source import Scalar
from .types import PLAIN, choices, element, fits, type_name
from .values import PLAIN_TEXT, UNUSABLE, Refused, admitted, converted


@dataclass(frozen=True)
class Linked:
    """The value of an input that another node gives: one of its outputs, or an element of a list among them."""

    node: str
    output: str
    index: tuple[int, ...] = ()


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


def links_in(value: Any) -> Iterator[Linked]:
    """The links in an input's value."""
    if isinstance(value, Linked):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from links_in(item)


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
        self.used_params: set[str] = set()

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
                    tree, known[key.text].annotation, self.problems, path, self.graph.folder, self._reference
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
                    help=self._givers(wanted.annotation, name), path=f"nodes.{name}.inputs.{wanted.name}",
                )  # fmt: skip
        self._limits(written, node_type, inputs)
        return CheckedNode(name, node_type, inputs)

    def _untyped(self, tree: Any, path: str) -> Any:
        if isinstance(tree, Scalar) and isinstance(tree.value, str):
            found = self._reference(tree, None, path)
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
            for problem in invalid.errors(include_url=False):
                name = str(problem["loc"][0]) if problem["loc"] else ""
                if name not in values:
                    continue
                tree = written.inputs.get(name) if written.inputs else None
                in_range = problem["type"].startswith(_RANGES)
                message = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
                self.problems.error(
                    "out-of-range" if in_range else "wrong-type",
                    tree.place if tree is not None else written.place,
                    f"`{name}` is {_brief(problem['input'])}; it {message}" if in_range else f"`{name}`: {message}",
                    path=f"nodes.{written.name.text}.inputs.{name}",
                )  # fmt: skip

    # references

    def _reference(self, scalar: Scalar, annotation: Any, path: str) -> Any:
        """What a text in a graph file stands for; PLAIN_TEXT where it is only that.

        `annotation` is what the place wants, None where that is not known.
        """
        try:
            parsed = parse_text(scalar.text)
            if isinstance(parsed, Text):
                if annotation is not None and _comes_over_a_link(annotation):
                    kind, near = type_name(annotation), self._nearest_node(scalar.text, annotation)
                    message = f"a {kind} comes over a link, `{_brief(scalar.text)}` is text"
                    raise Refused("text-as-value", message, near or self._givers(annotation, path.split(".")[1]))
                if parsed.text == scalar.text:
                    return PLAIN_TEXT
                return admitted(parsed.text, annotation, self.graph.folder) if annotation is not None else UNUSABLE
            if isinstance(parsed, Link):
                return self._link(scalar, parsed, annotation, path)
            if isinstance(parsed, ParamReference):
                return self._param(scalar, parsed, annotation, path)
            return self._expression(scalar, parsed, annotation, path)
        except Refused as refused:
            message = f"`{path.rpartition('.')[2]}`: {refused.message}"
            self.problems.error(refused.code, scalar.place, message, help=refused.help, path=path)
        except ExpressionError as wrong:
            self.problems.error(
                wrong.code, scalar.part(wrong.start, wrong.end), wrong.message, help=wrong.help, path=path
            )
        return UNUSABLE

    def _link(self, scalar: Scalar, link: Link, annotation: Any, path: str) -> Any:
        source = self.graph.nodes.get(link.node)
        if source is None:
            if "nodes" in self.graph.misspelt or self.problems.about("nodes", link.node):
                return UNUSABLE  # it is there, but wrong, which is said already
            self.problems.error(
                "unknown-node", scalar.place, f"no node is called `{link.node}`",
                help=self._nearest_node(link.node, annotation), path=path,
            )  # fmt: skip
            return UNUSABLE
        node_type = self.types[link.node]
        if node_type is None:
            return UNUSABLE
        outputs = node_type.outputs()
        names, listed = list(link.path), ", ".join(f"`${link.node}.{name}`" for name in outputs)
        if names and not names[0].isdigit():
            output = outputs.get(names[0])
            if output is None:
                near = nearest(names[0], list(outputs))
                self.problems.error(
                    "unknown-output", scalar.place, f"{node_type.__name__} has no output `{names[0]}`",
                    help=f"did you mean `${link.node}.{near}`?" if near else f"its outputs: {listed}",
                    notes=[self._declared(source, node_type)], path=path,
                )  # fmt: skip
                return UNUSABLE
            names = names[1:]
        else:
            output = node_type.primary_output()
            if output is None:
                fitting = [
                    f"`${link.node}.{o.name}`"
                    for o in outputs.values()
                    if annotation is None or fits(o.annotation, annotation)
                ]  # fmt: skip
                self.problems.error(
                    "which-output", scalar.place, f"`{link.node}` has several outputs, the link does not say which",
                    help=f"write one of {', '.join(fitting) or listed}", notes=[self._declared(source, node_type)],
                    path=path,
                )  # fmt: skip
                return UNUSABLE
        given, index = output.annotation, []
        for name in names:
            inner = element(given)
            if not name.isdigit() or inner is None:
                self.problems.error(
                    "unknown-output", scalar.place,
                    f"`{name}` is no part of `${link.node}.{output.name}`, a {type_name(given)}",
                    notes=[self._declared(source, node_type)], path=path,
                )  # fmt: skip
                return UNUSABLE
            given = inner
            index.append(int(name))
        if annotation is not None and not fits(given, annotation):
            self.problems.error(
                "wrong-port", scalar.place,
                f"`{path.rpartition('.')[2]}` takes {type_name(annotation)}, `{scalar.text}` is {type_name(given)}",
                help=self._givers(annotation, path.split(".")[1]), notes=[self._declared(source, node_type)], path=path,
            )  # fmt: skip
            return UNUSABLE
        return Linked(link.node, output.name, tuple(index))

    def _param(self, scalar: Scalar, reference: ParamReference, annotation: Any, path: str) -> Any:
        param = self.graph.params.get(reference.name)
        if param is None:
            if "params" in self.graph.misspelt or self.problems.about("params", reference.name):
                return UNUSABLE
            candidates = [
                name for name, p in self.graph.params.items() if annotation is None or fits(p.annotation, annotation)
            ]
            near = nearest(reference.name, candidates)
            self.problems.error(
                "unknown-param", scalar.place, f"the graph has no param `{reference.name}`",
                help=f"did you mean `$params.{near}`?" if near else "the graph's params stand under `params:`",
                path=path,
            )  # fmt: skip
            return UNUSABLE
        self.used_params.add(param.name)
        given, value = param.annotation, self.params[param.name]
        for name in reference.path:
            inner = element(given)
            if not name.isdigit() or inner is None:
                self.problems.error(
                    "unknown-param", scalar.place, f"`{name}` is no part of `{param.name}`, a {type_name(given)}",
                    path=path,
                )  # fmt: skip
                return UNUSABLE
            given = inner
            if value is not UNUSABLE and int(name) >= len(value):
                self.problems.error(
                    "out-of-range", scalar.place, f"`{param.name}` has {len(value)} elements, counted from 0", path=path
                )
                return UNUSABLE
            value = UNUSABLE if value is UNUSABLE else value[int(name)]
        if annotation is None:
            return value
        if not fits(given, annotation):
            self.problems.error(
                "wrong-type", scalar.place,
                f"`{path.rpartition('.')[2]}` takes {type_name(annotation)}, `{scalar.text}` is {type_name(given)}",
                notes=[Note(f"`{param.name}` is declared here", param.place)], path=path,
            )  # fmt: skip
            return UNUSABLE
        return UNUSABLE if value is UNUSABLE else admitted(value, annotation, Path())

    def _expression(self, scalar: Scalar, parsed: Expression | Template, annotation: Any, path: str) -> Any:
        names = {type_: name for name, type_ in PLAIN.items()}
        known = {name: names[p.annotation] for name, p in self.graph.params.items() if p.annotation in names}
        self.used_params.update(name for name in parsed.params() if name in self.graph.params)
        given = PLAIN[type_of(parsed, known)]
        if annotation is not None and not fits(given, annotation):
            self.problems.error(
                "wrong-type", scalar.place,
                f"`{path.rpartition('.')[2]}` takes {type_name(annotation)}, the expression gives {type_name(given)}",
                path=path,
            )  # fmt: skip
            return UNUSABLE
        if annotation is None or any(self.params.get(name) is UNUSABLE for name in parsed.params()):
            return UNUSABLE
        return admitted(evaluate(parsed, self.params), annotation, self.graph.folder)

    # suggestions

    def _nearest_node(self, name: str, annotation: Any) -> str | None:
        """Which node was probably meant, among those that give what is wanted."""
        givers = dict(self._giving(annotation))
        near = nearest(name, list(givers)) or (next(iter(givers)) if len(givers) == 1 else None)
        if near is None or annotation is None:
            return f"did you mean `{self._link_text(near, givers[near])}`?" if near else None
        kind = type_name(givers[near].annotation)
        return f"`{self._link_text(near, givers[near])}` is a {kind}, which fits"

    def _giving(self, annotation: Any) -> Iterator[tuple[str, Output]]:
        """Nodes with their first output that fits."""
        for name, node_type in self.types.items():
            for output in node_type.outputs().values() if node_type else ():
                if annotation is None or fits(output.annotation, annotation):
                    yield name, output
                    break

    def _givers(self, annotation: Any, asking: str) -> str | None:
        if not any(isinstance(a, type) and issubclass(a, PortType) for a in choices(annotation)):
            return None
        found = [self._link_text(name, output) for name, output in self._giving(annotation) if name != asking]
        listed = ", ".join(f"`{link}`" for link in found[:4])
        return f"nodes that give a {type_name(annotation)}: {listed}" if found else None

    def _link_text(self, node: str, output: Output) -> str:
        node_type = self.types[node]
        assert node_type is not None
        return f"${node}" if node_type.primary_output() == output else f"${node}.{output.name}"

    @staticmethod
    def _declared(source: WrittenNode, node_type: type[Node]) -> Note:
        outputs = ", ".join(f"{output.name}: {output.type_name}" for output in node_type.outputs().values())
        return Note(f"`{source.name.text}` is a {node_type.__name__} ({outputs})", source.name.place)

    # the whole

    def _output(self, name: str, link: Scalar) -> Linked | None:
        path = f"outputs.{name}"
        found = self._reference(link, None, path)
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
            self._link_text(name, output)
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
            if name not in self.used_params:
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


def _comes_over_a_link(annotation: Any) -> bool:
    """Whether nothing that can be written in a file fits."""
    return all(isinstance(a, type) and issubclass(a, PortType) and a not in (File, Folder) for a in choices(annotation))


def _can_be_output(annotation: Any) -> bool:
    annotation = element(annotation) or annotation
    return all(
        a is type(None) or not (isinstance(a, type) and issubclass(a, PortType)) or a.can_be_written()
        for a in choices(annotation)
    )


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:37] + "…"


def needed_nodes(checked: CheckedGraph, targets: list[str] | None = None) -> list[str]:
    """The nodes that the outputs (or only the nodes `targets`) need, in an order in which they can run."""
    wanted = targets or [link.node for link in checked.outputs.values()]
    needed = needed_by(wanted, _waits(checked.nodes))
    return [name for name in checked.nodes if name in needed]


__all__ = ["CheckedGraph", "CheckedNode", "Input", "Linked", "check", "links_in", "needed_nodes"]
