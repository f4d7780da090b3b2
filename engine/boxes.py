"""A checked graph as boxes and links to be drawn: as it is written, what a plan says on top.

A graph that is used as a node type is drawn with its nodes, in a frame; a foreach once, whatever it makes of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .checked import CheckedGraph, CheckedNode, Computed, Given, Linked
from .drawing import Box, Link
from .plan import Plan, Planned
from .ports import File, Folder
from .types import type_name

_ORDER = ("run", "depends", "reuse", "skip")

Bound = Mapping[str, tuple["_Level", Any]]
"""What the params of a graph are given, each in the level where that is written."""


def boxes_and_links(checked: CheckedGraph, plan: Plan | None = None) -> tuple[list[Box], list[Link]]:
    """All nodes that the graph has; those that no output needs are not in the plan and have no state."""
    planned: dict[str, list[Planned]] = {}
    for each in plan.nodes if plan is not None else ():
        planned.setdefault(_written(each.node), []).append(each)
    level = _Level(checked, planned, "", "", {})
    return list(level.boxes()), list(dict.fromkeys(level.links()))


class _Level:
    """The nodes of one graph: the outermost, or one that is a node type."""

    def __init__(
        self, checked: CheckedGraph, planned: Mapping[str, list[Planned]], prefix: str, group: str, bound: Bound
    ) -> None:
        self.checked, self.planned, self.prefix, self.group, self.bound = checked, planned, prefix, group, bound
        self.inner = {
            name: _Level(node.type, planned, f"{prefix}{name}/", group or name, self._given(node))
            for name, node in checked.nodes.items()
            if isinstance(node.type, CheckedGraph)
        }

    def _given(self, node: CheckedNode) -> Bound:
        over = node.foreach.over if node.foreach is not None else {}
        return {name: (self, form) for name, form in {**node.inputs, **over}.items()}

    def boxes(self) -> Iterator[Box]:
        for name, node in self.checked.nodes.items():
            if name in self.inner:
                yield from self.inner[name].boxes()
                continue
            assert not isinstance(node.type, CheckedGraph)
            title = node.type.__name__ + (f", each {' × '.join(node.foreach.over)}" if node.foreach else "")
            state, note = _state(self.planned.get(self.prefix + name, []))
            yield Box(self.prefix + name, title, state, note, tuple(_details(node)), self.group)

    def links(self) -> Iterator[Link]:
        for name, node in self.checked.nodes.items():
            forms = {**node.inputs, **(node.foreach.over if node.foreach else {})}
            if node.when is not True:
                forms["when"] = node.when
            if name in self.inner:
                yield from self.inner[name].links()
                continue
            for input, form in forms.items():
                for source, output, kind in self._sources(form):
                    yield Link(source, output, self.prefix + name, input, kind)

    def _sources(self, form: Any) -> Iterator[tuple[str, str, str]]:
        """Where a value comes from: the box, its output, and that one's type."""
        match form:
            case Linked():
                yield self._source(form)
            case tuple():
                for item in form:
                    yield from self._sources(item)
            case Given() if form.param in self.bound:
                level, outer = self.bound[form.param]
                yield from level._sources(outer)
            case Computed():
                for name in form.expression.params():
                    yield from self._sources(Given(name))

    def _source(self, link: Linked) -> tuple[str, str, str]:
        if link.node in self.inner:
            inner = self.inner[link.node]
            return inner._source(inner.checked.outputs[link.output])
        node_type = self.checked.nodes[link.node].type
        assert not isinstance(node_type, CheckedGraph)
        output = node_type.outputs()[link.output]
        return self.prefix + link.node, link.output, type_name(output.annotation)


def _written(address: str) -> str:
    """An address without the numbers of elements."""
    return "/".join(part for part in address.split("/") if not part.isdecimal())


def _state(planned: list[Planned]) -> tuple[str | None, str]:
    """The state of a box, and why, from what is planned for each use of its node."""
    if not planned:
        return None, ""
    actions = [each.action for each in planned]
    first = min(planned, key=lambda each: _ORDER.index(each.action))
    if len(set(actions)) == 1:
        return first.action, first.why
    return first.action, ", ".join(f"{actions.count(action)} {action}" for action in _ORDER if action in actions)


def _details(node: CheckedNode) -> Iterator[str]:
    for name, form in node.inputs.items():
        if isinstance(form, (File, Folder)):
            yield f"{name}: {form.name if isinstance(form, File) else form.path}"
        elif isinstance(form, (str, bool, int, float)):
            yield f"{name}: {str(form).lower() if isinstance(form, bool) else form}"
        elif isinstance(form, tuple) and not any(isinstance(item, (Linked, Given, Computed)) for item in form):
            yield f"{name}: {len(form)} values"
