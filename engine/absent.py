"""What a run is known not to have, before it begins: nodes whose `when` is false, and those that cannot do without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .checked import CheckedGraph, CheckedNode, Linked, links_in
from .diagnostics import Note
from .node import Node
from .problems import Problems
from .shapes import shape_of
from .switch import Switch


@dataclass
class Absent:
    """The nodes of a graph that are left out, each with the node that is the reason; and single outputs of others."""

    nodes: dict[str, str] = field(default_factory=dict)
    outputs: dict[Linked, str] = field(default_factory=dict)

    def reason(self, value: Any) -> str | None:
        """Why an input's value cannot be had; None where it may be."""
        for link in links_in(value):
            found = self.nodes.get(link.node) or self.outputs.get(Linked(link.node, link.output))
            if found is not None:
                return found
        return None


def absent_in(checked: CheckedGraph, inside: Mapping[int, frozenset[str]], problems: Problems) -> Absent:
    """What is absent in a graph, and says so where a Switch takes it.

    `inside` has the outputs that are absent of each graph that is used as a node type, by the graph's identity.
    """
    absent = Absent()
    for name, node in checked.nodes.items():
        if node.when is False:
            absent.nodes[name] = name
        elif node.type is Switch and node.foreach is None:
            _switch(checked, node, absent, problems)
        elif isinstance(node.type, CheckedGraph):
            gone = inside.get(id(node.type), frozenset())
            absent.outputs.update((Linked(name, output), name) for output in gone)
        elif (absent.nodes or absent.outputs) and node.type is not Node:
            for wanted in shape_of(node.type).required:
                reason = absent.reason(node.inputs.get(wanted) or (node.foreach and node.foreach.over.get(wanted)))
                if reason is not None:
                    absent.nodes[name] = reason
    return absent


def _switch(checked: CheckedGraph, node: CheckedNode, absent: Absent, problems: Problems) -> None:
    condition = node.inputs.get("condition")
    if type(condition) is not bool:
        reason = absent.reason(condition)
        if reason is not None:
            absent.nodes[node.name] = reason
        return
    taken = "then" if condition else "otherwise"
    if taken not in node.inputs:
        absent.nodes[node.name] = node.name
        return
    reason = absent.reason(node.inputs[taken])
    if reason is None:
        return
    absent.nodes[node.name] = reason
    written = checked.graph.nodes[node.name]
    tree = written.inputs.get(taken) if written.inputs else None
    problems.error(
        "absent-branch", tree.place if tree else written.place, f"`{node.name}` takes `{taken}`, which is not there",
        help="give the Switch the same condition as that `when`", path=f"nodes.{node.name}.inputs.{taken}",
        notes=why(checked, [reason]),
    )  # fmt: skip


def why(checked: CheckedGraph, reasons: list[str]) -> list[Note]:
    """Where the reasons stand."""
    notes = []
    for name in dict.fromkeys(reasons):
        written, node = checked.graph.nodes[name], checked.nodes[name]
        message = f"`{name}` gives nothing"
        if node.when is False and written.when is not None:
            message = f"`{name}` is left out, its `when` is false"
        notes.append(Note(message, written.when.place if written.when else written.name.place))
    return notes
