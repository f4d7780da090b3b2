"""What node types say of their outputs before anything runs, and what cannot work according to them.

A fact is what `describe` gives for an output: any light value. Facts go along links, through a Switch whose condition
is known, and into and out of graphs that are used as node types.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import product
from math import prod
from typing import Any

from .checked import CheckedGraph, CheckedNode, Computed, Given, Linked
from .diagnostics import Diagnostic, Note, Place
from .node import Node, Wrong
from .problems import Problems
from .switch import Switch
from .values import UNUSABLE

UNKNOWN: Any = type("Unknown", (), {"__repr__": lambda self: "UNKNOWN"})()

MOST_ELEMENTS = 100
"""Up to how many elements of a foreach are described one by one."""


class Facts:
    """Collects the facts about a graph. What cannot work goes to `problems`.

    `skipped` has the nodes that are left out, those that are wrong already and those that will not run, for each graph
    by its identity.
    """

    def __init__(self, skipped: Mapping[int, Collection[str]], problems: Problems) -> None:
        self.skipped, self.problems = skipped, problems

    def of(self, checked: CheckedGraph, params: Mapping[str, Any], notes: tuple[Note, ...] = ()) -> dict[str, Any]:
        """What is known about the graph's outputs, given what is known about its `params`."""
        return _InGraph(self, checked, params, notes).outputs()


class _InGraph:
    def __init__(self, facts: Facts, checked: CheckedGraph, params: Mapping[str, Any], notes: tuple[Note, ...]) -> None:
        self.facts, self.checked, self.params, self.notes = facts, checked, params, notes
        self.found: dict[Linked, Any] = {}

    def outputs(self) -> dict[str, Any]:
        skipped = self.facts.skipped.get(id(self.checked), ())
        for name, node in self.checked.nodes.items():
            if name not in skipped:
                for output, fact in self._node(node).items():
                    self.found[Linked(name, output)] = fact
        return _known({name: self._fact(link) for name, link in self.checked.outputs.items()})

    def _node(self, node: CheckedNode) -> Mapping[str, Any]:
        if isinstance(node.type, CheckedGraph):
            inputs = _known({name: self._fact(value) for name, value in node.inputs.items()})
            used = self.checked.graph.nodes[node.name].use()
            found = self.facts.of(node.type, inputs, (used, *self.notes))
            return found if node.foreach is None else {}
        if node.type is Switch:
            condition = self._fact(node.inputs.get("condition"))
            chosen = node.inputs.get("then" if condition else "otherwise", UNKNOWN)
            return _known({"value": self._fact(chosen)}) if type(condition) is bool and node.foreach is None else {}
        if node.type.describe.__func__ is Node.describe.__func__:  # type: ignore[attr-defined]
            return {}
        defaults = {name: entry.default for name, entry in node.type.inputs().items() if not entry.required}
        known = _known({**defaults, **{name: self._fact(value) for name, value in node.inputs.items()}})
        if node.foreach is None:
            return self._described(node, known)
        mapped = {name: self._fact(values) for name, values in node.foreach.over.items()}
        combined = _combined(list(mapped.values()), node.foreach.zipped)
        if combined is None:
            self._described(node, {name: value for name, value in known.items() if name not in mapped})
            return {}
        each = [self._described(node, known | dict(zip(mapped, chosen, strict=True))) for chosen in combined]
        return {
            name: tuple(found[name] for found in each)
            for name in node.type.outputs()
            if all(name in found for found in each)
        }

    def _described(self, node: CheckedNode, known: Mapping[str, Any]) -> Mapping[str, Any]:
        assert not isinstance(node.type, CheckedGraph)
        name = node.type.__name__
        try:
            return {output: fact for output, fact in node.type.describe(known).items() if output in node.type.outputs()}
        except ValueError as wrong:
            self._error(node, "cannot-work", str(wrong), wrong.input if isinstance(wrong, Wrong) else None)
        except Exception as error:
            message = f"{name}.describe failed, which is a mistake in the node type: {type(error).__name__}: {error}"
            self._error(node, "faulty-type", message, None)
        return {}

    def _error(self, node: CheckedNode, code: str, message: str, input_name: str | None) -> None:
        place, path = self._place(node, input_name)
        message = f"`{input_name}`: {message}" if input_name else message
        self.facts.problems.add([Diagnostic(code, message, place, path=path)], self.notes)

    def _place(self, node: CheckedNode, input_name: str | None) -> tuple[Place, str]:
        """Where a node, or what is given for one of its inputs, is written."""
        graph = self.checked.graph
        if node.name not in graph.nodes:  # it reads a param from a file
            param = graph.params[node.name.removeprefix("params.")]
            return param.place, f"params.{param.name}"
        written = graph.nodes[node.name]
        for section, entries in (("inputs", written.inputs), ("foreach", written.foreach)):
            tree = entries.get(input_name or "") if entries else None
            if tree is not None:
                return tree.place, f"nodes.{node.name}.{section}.{input_name}"
        return written.name.place, f"nodes.{node.name}"

    def _fact(self, value: Any) -> Any:
        """What is known of an input's value: itself, or what was said of what is linked; UNKNOWN if nothing."""
        if isinstance(value, Linked):
            return _element(self.found.get(Linked(value.node, value.output), UNKNOWN), value.index)
        if isinstance(value, Given):
            return _element(self.params.get(value.param, UNKNOWN), value.index)
        if isinstance(value, Computed) or value is UNUSABLE:
            return UNKNOWN
        if isinstance(value, tuple):
            items = tuple(self._fact(item) for item in value)
            return UNKNOWN if any(item is UNKNOWN for item in items) else items
        return value


def _known(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: fact for name, fact in facts.items() if fact is not UNKNOWN}


def _element(fact: Any, index: tuple[int, ...]) -> Any:
    for position in index:
        if not isinstance(fact, (list, tuple)) or position >= len(fact):
            return UNKNOWN
        fact = fact[position]
    return fact


def _combined(lists: list[Any], zipped: bool) -> Iterable[tuple[Any, ...]] | None:
    """The elements of a foreach, where they are known and not too many."""
    if not all(isinstance(values, tuple) for values in lists):
        return None
    if zipped:
        return zip(*lists, strict=False) if len(lists[0]) <= MOST_ELEMENTS else None
    return product(*lists) if prod(map(len, lists)) <= MOST_ELEMENTS else None
