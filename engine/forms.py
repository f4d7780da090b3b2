"""The forms in which a checked graph has values: which steps each waits for, and what it comes to.

A value is plain, or a reference; or a mark where it is not there; or, in a plan, unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .checked import CheckedGraph, CheckedNode, Computed, Given, Linked
from .expression import evaluate
from .graph import MISSING, Param, outside_limits
from .node import Node
from .steps import ABSENT, FAILED, UNKNOWN, WORST, Mark, Port, Scope, Step, Unknown
from .types import choices, element


class Wrong(ValueError):
    """A value that came over a link is not what the graph can take."""


class Forms:
    """Resolves forms in their scopes. `constant` gives references to values of port types, and plain values back."""

    def __init__(self, constant: Callable[[Any], Any]) -> None:
        self.constant = constant
        self.splits: dict[int, tuple[dict[str, Any], list[tuple[Port, Any]]]] = {}
        self.ports: dict[type[Node], dict[str, Port]] = {}

    def split(self, node: CheckedNode) -> tuple[dict[str, Any], list[tuple[Port, Any]]]:
        """The inputs of a node that are known as they stand, and the others with the ports that take them."""
        found = self.splits.get(id(node)) if self.splits else None
        if found is None:
            assert not isinstance(node.type, CheckedGraph)
            ports = self.ports.get(node.type) or self._ports(node.type)
            constant: dict[str, Any] = {}
            dynamic: list[tuple[Port, Any]] = []
            for name, form in node.inputs.items():
                if _is_dynamic(form):
                    dynamic.append((ports[name], form))
                else:
                    constant[name] = self.constant(form)
            found = constant, dynamic
            if node.foreach is not None:  # others are asked for once
                self.splits[id(node)] = found
        return found

    def _ports(self, node_type: type[Node]) -> dict[str, Port]:
        ports = self.ports[node_type] = {
            name: (name, entry.required, entry.annotation if _takes_floats(entry.annotation) else None)
            for name, entry in node_type.inputs().items()
        }
        return ports

    def steps(self, scope: Scope, form: Any) -> Iterator[Step]:
        """The steps whose outputs an input's value needs."""
        kind = type(form)
        if kind is Linked:
            yield scope.target(form)[0]
        elif kind is tuple:
            for item in form:
                yield from self.steps(scope, item)
        elif kind is Given:
            if form.param in scope.bound:
                yield from self._bound_steps(scope, form.param)
        elif kind is Computed:
            for name in form.expression.params():
                if name in scope.bound:
                    yield from self._bound_steps(scope, name)

    def _bound_steps(self, scope: Scope, param: str) -> Iterator[Step]:
        assert scope.outer is not None
        yield from self.steps(scope.outer, scope.bound[param])

    def value(self, scope: Scope, form: Any) -> Any:
        kind = type(form)
        if kind is Linked:
            return indexed(*scope.target(form))
        if kind is tuple:
            items = tuple(self.value(scope, item) for item in form)
            return next((mark for mark in WORST if mark in items), items) if _any_mark(items) else items
        if kind is Given:
            return element_of(self._param(scope, form.param), form.index, f"$params.{form.param}")
        if kind is Mark:
            return form
        if kind is Computed:
            values = {name: self._param(scope, name) for name in form.expression.params()}
            marks = [value for value in values.values() if type(value) is Mark]
            if marks:
                return min(marks, key=WORST.index)
            unknown = [value for value in values.values() if type(value) is Unknown]
            if unknown:
                return Unknown((str(form.expression), tuple(values.items())), unknown[0].maker)
            return evaluate(form.expression, values)
        return self.constant(form)

    def _param(self, scope: Scope, name: str) -> Any:
        """The value of a param, as its declaration takes it: its default where nothing is given, or that is absent."""
        param: Param = scope.checked.graph.params[name]
        value: Any = ABSENT
        if name in scope.bound:
            assert scope.outer is not None
            value = self.value(scope.outer, scope.bound[name])
        if value is ABSENT and param.fallback is not MISSING:
            value = self.constant(param.fallback)
        if type(value) in (Mark, Unknown) or value is None:
            return value
        value = coerced(value, param.annotation)
        known = tuple(item for item in value if not _any_unknown(item)) if type(value) is tuple else value
        wrong = outside_limits(param, known)
        if wrong is not None:
            raise Wrong(f"`{name}` of the graph {scope.checked.graph.name} {wrong[1]}")
        return value

    def because(self, scope: Scope, form: Any, mark: Mark) -> str:
        """Why a value is not there, in words that follow `skipped: ` or `depends `."""
        steps = list(self.steps(scope, form))
        blamed = next((step for step in steps if step.outputs is mark), steps[0] if steps else None)
        if blamed is None:
            return "a value it needs is not there"
        if mark is UNKNOWN:
            return f"on {blamed.address}"
        return f"it needs {blamed.address}, which " + ("failed" if mark is FAILED else "was skipped")


def indexed(step: Step, output: str, index: tuple[int, ...]) -> Any:
    outputs = step.outputs
    if type(outputs) is Mark:
        return outputs
    value = outputs[output]  # type: ignore[index]
    return element_of(value, index, f"${step.address}.{output}") if index else value


def element_of(value: Any, index: tuple[int, ...], called: str) -> Any:
    for position in index:
        if type(value) is Mark:
            return value
        if type(value) is Unknown:
            value = Unknown((value.symbol, position), value.maker)
            continue
        if position >= len(value):
            raise Wrong(f"`{called}` has {len(value)} elements, {position} was asked for")
        value = value[position]
    return value


def coerced(value: Any, annotation: Any) -> Any:
    """A value that fits a type, as a port of the type takes it: an int as a float where it is none of an int's."""
    if type(value) is int:
        for alternative in choices(annotation):
            if alternative is int:
                return value
            if alternative is float:
                return float(value)
    elif type(value) is tuple:
        inner = next((found for alternative in choices(annotation) if (found := element(alternative))), None)
        return value if inner is None else tuple(coerced(item, inner) for item in value)
    return value


def _takes_floats(annotation: Any) -> bool:
    inner = (element(alternative) for alternative in choices(annotation))
    return float in choices(annotation) or any(found is not None and _takes_floats(found) for found in inner)


def _is_dynamic(form: Any) -> bool:
    """Whether an input's value is known only as the graph runs."""
    kind = type(form)
    return kind in (Linked, Given, Computed) or (kind is tuple and any(map(_is_dynamic, form)))


def _any_mark(items: tuple[Any, ...]) -> bool:
    return any(type(item) is Mark for item in items)


def _any_unknown(value: Any) -> bool:
    return type(value) is Unknown or (type(value) is tuple and any(map(_any_unknown, value)))
