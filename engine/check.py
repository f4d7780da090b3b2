"""Checking: from a graph as it was written to a graph whose every node, link and value is known to fit."""

from collections.abc import Mapping
from typing import Any

from .absent import Absent, absent_in, why
from .checked import LATER, CheckedGraph, CheckedNode, Foreach, Linked, links_in
from .diagnostics import Note
from .facts import Facts
from .given import param_values, read_from_files
from .graph import Graph, WrittenNode
from .inputs import Inputs, elements, refused_inputs
from .node import Node
from .order import Waits, cycles, in_order, needed_by
from .params import MISSING, Param, is_drawn, outside_limits
from .ports import PortType
from .problems import Problems
from .references import References
from .registry import Registry
from .source import Scalar
from .subgraphs import GraphFile, is_graph_file, load_files
from .types import choices, element, only_linked, type_name
from .values import UNUSABLE, spelt

MOST_RUNS = 300_000
"""How many nodes a run may have, those of all elements of a foreach counted."""


def check(graph: Graph, registry: Registry, problems: Problems, given: Mapping[str, Any] | None = None) -> CheckedGraph:
    """Check `graph` with the params `given` over its defaults; what is wrong goes to `problems`.

    What comes back can run if there are no errors among the problems. Where `given` is None, params without a default
    stay unknown and only their types are checked, and none is drawn.
    """
    file = load_files(graph, registry, problems)
    values, random = param_values(graph, given, problems)
    used = _Used(registry)
    checker = _Checker(file, values, problems, used)
    checked = checker.check(random)
    problems.add(used.problems.found, ())
    checker.finish(checked)
    Facts(used.skipped, problems).of(checked, {})
    return checked


class _Used:
    """The graphs that are used as node types: each is checked once for all that is known of its params."""

    def __init__(self, registry: Registry) -> None:
        self.registry, self.problems = registry, Problems()
        self.checked: dict[tuple[str | None, ...], CheckedGraph] = {}
        self.absent: dict[int, frozenset[str]] = {}
        """The outputs that are known to be absent, by the identity of the graph."""
        self.sizes: dict[int, int] = {}
        """How many nodes there are to run, each element of a foreach for itself, by the identity of the graph."""
        self.skipped: dict[int, set[str]] = {}
        """The nodes that are wrong or absent, by the identity of the graph."""

    def graph(self, file: GraphFile, params: Mapping[str, Any], notes: tuple[Note, ...]) -> CheckedGraph:
        key = (file.key, *map(spelt, params.values()))
        found = self.checked.get(key)
        if found is None:
            problems = Problems(list(file.problems))
            found = self.checked[key] = _Checker(file, params, problems, self, notes).check({})
            self.problems.add([problem for problem in problems.found if problem.severity == "error"], notes)
        return found


class _Checker:
    """Checks one graph: the one that runs, or one that is used as a node type, as `notes` say."""

    def __init__(
        self, file: GraphFile, params: Mapping[str, Any], problems: Problems, used: _Used, notes: tuple[Note, ...] = ()
    ) -> None:
        self.graph, self.types, self.shapes = file.graph, file.types, file.shapes
        self.params, self.problems, self.used, self.notes = params, problems, used, notes
        linked, self.readers = read_from_files(file.graph, params, used.registry, problems)
        self.references = References(file.graph, file.shapes, linked, problems)
        self.inputs = Inputs(file.graph, self.references, problems)
        self.waits: Waits = {}
        self.size = 0
        self.absent = Absent()

    def check(self, random: Mapping[str, int]) -> CheckedGraph:
        nodes, skipped = dict(self.readers), set[str]()
        for name, written in self.graph.nodes.items():
            before = len(self.problems.found)
            nodes[name] = self._node(written)
            if any(problem.severity == "error" for problem in self.problems.found[before:]):
                skipped.add(name)
        outputs = {}
        for name, (_, link) in self.graph.outputs.items():
            linked = self._output(name, link)
            if linked is not None:
                outputs[name] = linked
        self._positions(nodes, outputs)
        self.waits = _waits(nodes)
        nodes = {name: nodes[name] for name in self._order()}
        checked = CheckedGraph(self.graph, self.params, nodes, outputs, random)
        self.used.sizes[id(checked)] = self.size
        self.absent = absent_in(checked, self.used.absent, self.problems)
        self.used.absent[id(checked)] = frozenset(name for name, link in outputs.items() if self.absent.reason(link))
        self.used.skipped[id(checked)] = skipped | self.absent.nodes.keys()
        return checked

    def finish(self, checked: CheckedGraph) -> None:
        """Say what is only known, or only of interest, where the whole graph runs by itself."""
        if self.problems.any_errors:
            return  # something may be absent or unused only because what uses it is wrong
        gone = self.used.absent[id(checked)]
        if checked.outputs and len(gone) == len(checked.outputs):
            reasons = [reason for link in checked.outputs.values() if (reason := self.absent.reason(link))]
            _, link = next(iter(self.graph.outputs.values()))
            self.problems.error(
                "absent-branch", link.place, "no output of the graph is there, all that they need is left out",
                notes=why(checked, reasons), path="outputs",
            )  # fmt: skip
        else:
            self._warn_of_unused(checked.outputs)

    # nodes

    def _node(self, written: WrittenNode) -> CheckedNode:
        name = written.name.text
        kind, shape, when = self.types[name], self.shapes[name], self.inputs.condition(written)
        if kind is None or shape is None:
            self._unknown_type(written)
            return CheckedNode(name, Node, self.inputs.untyped(written), when)
        inputs, foreach = self.inputs.read(written, shape)
        if isinstance(kind, GraphFile):
            params = {name: _inside(param, inputs, foreach) for name, param in kind.graph.params.items()}
            graph = self.used.graph(kind, params, (written.use(), *self.notes))
            self._count(written, graph, foreach)
            return CheckedNode(name, graph, inputs, when, foreach, written.timeout, written.retry)
        self.size += 1 if foreach is None else elements(foreach)
        return CheckedNode(name, kind, inputs, when, foreach, written.timeout, written.retry)

    def _count(self, written: WrittenNode, graph: CheckedGraph, foreach: Foreach | None) -> None:
        """Count the nodes of a graph that is used, and refuse what is too much to do."""
        size = self.used.sizes[id(graph)] * (1 if foreach is None else elements(foreach))
        self.size += size
        if size > MOST_RUNS >= self.used.sizes[id(graph)]:
            self.problems.error(
                "too-large", written.name.place, f"this comes to {size:,} nodes, the most is {MOST_RUNS:,}",
                help="split the lists over several runs", path=f"nodes.{written.name.text}",
            )  # fmt: skip

    def _unknown_type(self, written: WrittenNode) -> None:
        text = written.type.text
        if is_graph_file(text):
            return  # what is wrong with the file is said already
        refused = self.used.registry.refused(text)
        if refused is not None:
            path = f"nodes.{written.name.text}.type"
            self.problems.error("refused-type", written.type.place, f"`{text}` may not run here: {refused}", path=path)
            return
        near = self.used.registry.nearest(text)
        help = f"did you mean `{near}`?" if near else "`latentgraph nodes` lists the node types"
        if text.endswith((".yaml", ".yml")):
            help = f"a graph file is written with its folder: ./{text}"
        self.problems.error(
            "unknown-type", written.type.place, f"there is no node type `{text}`", help=help,
            path=f"nodes.{written.name.text}.type",
        )  # fmt: skip

    # the whole

    def _positions(self, nodes: Mapping[str, CheckedNode], outputs: Mapping[str, Linked]) -> None:
        """Says where an element is asked for that a foreach, whose lists are known, does not have."""
        lengths = {
            name: elements(node.foreach)
            for name, node in nodes.items()
            if node.foreach is not None and all(isinstance(values, tuple) for values in node.foreach.over.values())
        }
        if not lengths:
            return
        asked = [(f"outputs.{name}", self.graph.outputs[name][1].place, link) for name, link in outputs.items()]
        for name, written in self.graph.nodes.items():
            for key, tree in written.entries():
                links = links_in(nodes[name].inputs.get(key.text))
                asked += [(f"nodes.{name}.inputs.{key.text}", tree.place, link) for link in links]
        for path, place, link in asked:
            length = lengths.get(link.node)
            if length is not None and link.index and link.index[0] >= length:
                message = f"`{link.node}` has {length} elements, counted from 0"
                self.problems.error("out-of-range", place, message, path=path)

    def _output(self, name: str, link: Scalar) -> Linked | None:
        path = f"outputs.{name}"
        found = self.references.resolve(link, None, path)
        if found is UNUSABLE:
            return None
        if not isinstance(found, Linked) or found.node in self.readers:
            self.problems.error(
                "wrong-type", link.place, f"the output `{name}` is not a link",
                help="write a link to a node's output, such as $decoded", path=path,
            )  # fmt: skip
            return None
        given = self.shapes.of_tree(link)
        if not self.notes and not self._is_part() and not _can_be_output(given):
            self.problems.error(
                "wrong-port", link.place, f"a {type_name(given)} cannot be an output, it cannot be written to a file",
                help=self._writers(), path=path,
            )  # fmt: skip
            return None
        return found

    def _is_part(self) -> bool:
        """Whether only another graph can use this one, which may take from it what cannot be written to a file."""
        return any(param.default is MISSING and only_linked(param.taken) for param in self.graph.params.values())

    def _writers(self) -> str | None:
        links = [
            self.references.link_text(name, output)
            for name, shape in self.shapes.items()
            for output in (shape.outputs.values() if shape else ())
            if _can_be_output(output.annotation)
        ]
        return "what can: " + ", ".join(f"`{link}`" for link in links[:4]) if links else None

    def _warn_of_unused(self, outputs: Mapping[str, Linked]) -> None:
        needed = needed_by([link.node for link in outputs.values()], self.waits)
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

    def _order(self) -> list[str]:
        """The nodes in an order in which they can run; says so where there is none."""
        order = in_order(self.waits)
        for cycle in cycles(self.waits) if len(order) < len(self.waits) else ():
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


def _inside(param: Param, inputs: Mapping[str, Any], foreach: Foreach | None) -> Any:
    """The value of a param inside the graph that a node uses, LATER where that is not known yet."""
    value = inputs.get(param.name, param.default)
    if foreach is not None and param.name in foreach.over:
        return LATER
    if value is MISSING or is_drawn(param, value) or spelt(value) is None or outside_limits(param, value):
        return LATER  # or refused, which is said where the node is
    return value


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
