"""How data flows through a checked graph: which nodes are needed, and when the inputs of each are known.

A flow runs nothing and decides nothing. It hands out steps, uses of nodes whose inputs are known, and is told what
became of each; `plan` and `execute` both follow it. Nothing is asked for that no output needs: of a `Switch` only the
branch it takes, of a node whose `when` is false nothing at all, of a graph that is used as a node type only what leads
to the outputs that are linked to. The elements of a `foreach` come to be when its lists are known.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

from .checked import CheckedGraph, CheckedNode, Computed, Given, Linked
from .expression import evaluate
from .graph import MISSING, Param, outside_limits
from .node import Node
from .switch import Switch
from .types import choices, element


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

_WORST = (FAILED, ABSENT, UNKNOWN)

@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that only running can tell, in a plan; equal symbols stand for equal values."""

    symbol: Any
    maker: str
    """The address of a step that gives it."""


Stages = Generator[list["Step"], None, None]
_Target = tuple["Step", str, tuple[int, ...]]
_Port = tuple[str, bool, Any]
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
        self.targets: list[tuple[_Port, Any, _Target | None]] | None = None
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


class Flow:
    """Follow a graph from the links that are wanted.

    `next` gives the steps whose inputs are known, those earlier in the file first; whoever takes one says later by
    `settle` what became of it. `finished` is called with each step that is settled by a mark, because something it
    needs is not there, say; `released` with each whose outputs nobody will ask for again.
    """

    def __init__(
        self,
        checked: CheckedGraph,
        *,
        constant: Callable[[Any], Any] = lambda value: value,
        finished: Callable[[Step], None] = lambda step: None,
        released: Callable[[Step], None] = lambda step: None,
    ) -> None:
        self.top = Scope(checked)
        self.constant, self.finished, self.released = constant, finished, released
        self.ready: list[tuple[tuple[int, ...], int, Step]] = []
        self.agenda: deque[Step] = deque()
        self.splits: dict[int, tuple[dict[str, Any], list[tuple[_Port, Any]]]] = {}
        self.ports: dict[type[Node], dict[str, _Port]] = {}
        self.known: list[Step] = []
        """All steps that something needs, in the order in which that was found out."""

    def want(self, link: Linked) -> Step:
        """Ask for what a link of the top level leads to."""
        step = self.top.target(link)[0]
        step.users += 1
        self._want(step)
        self._pump()
        return step

    def want_node(self, name: str) -> list[Step]:
        """Ask for all outputs of a node of the top level."""
        node = self.top.checked.nodes[name]
        outputs = node.type.outputs if isinstance(node.type, CheckedGraph) else node.type.outputs()
        return [self.want(Linked(name, output)) for output in outputs]

    def next(self) -> Step | None:
        return heapq.heappop(self.ready)[2] if self.ready else None

    def value(self, link: Linked) -> Any:
        """What a link of the top level brings, or a mark. Raises ValueError for an element that a list has not."""
        return self._value(self.top, link)

    def behind(self, step: Step) -> list[Step]:
        """The steps that an undecided step might ask for: all that its inputs lead to."""
        forms = {**step.node.inputs, **step.elements}
        return [found for form in forms.values() for found in self._steps(step.scope, form)]

    def settle(self, step: Step, outputs: Mapping[str, Any] | Mark, reason: str = "") -> None:
        self._settle(step, outputs, reason)
        self._pump()

    # the agenda: steps that can go on

    def _want(self, step: Step) -> None:
        if not step.wanted:
            step.wanted = True
            if type(step) is not Gather:
                self.known.append(step)
            self.agenda.append(step)

    def _pump(self) -> None:
        agenda = self.agenda
        while agenda:
            self._advance(agenda.popleft())

    def _advance(self, step: Step) -> None:
        """Go on with a step, up to where it waits for others."""
        if step.targets is not None:
            self._take_inputs(step)
            return
        if step.stages is None:
            if type(step) is Gather:
                step.stages = self._gather(step)
            elif step.scope.conditions or step.node.when is not True or step.node.type is Switch:
                step.stages = self._before_inputs(step)
            else:
                step.certain = True
                self._ask_for_inputs(step)
                return
        for needed in step.stages:
            if self._ask(step, needed):
                return
        if step.outputs is PENDING:
            self._ask_for_inputs(step)

    def _ask(self, step: Step, needed: list[Step]) -> int:
        """Have a step wait for those it needs; how many of them are not there yet."""
        still_open = 0
        for other in needed:
            other.users += 1
            if other.outputs is PENDING:
                if other.waiters is None:
                    other.waiters = []
                other.waiters.append(step)
                still_open += 1
                if not other.wanted:
                    self._want(other)
        step.uses = needed if step.uses is None else step.uses + needed
        step.open = still_open
        return still_open

    def _settle(self, step: Step, outputs: Mapping[str, Any] | Mark, reason: str = "") -> None:
        step.outputs, step.reason, step.stages, step.targets = outputs, reason, None, None
        if type(outputs) is Mark:
            self.finished(step)
        for waiter in step.waiters or ():
            waiter.open -= 1
            if not waiter.open:
                self.agenda.append(waiter)
        step.waiters = None
        for used in step.uses or ():
            used.users -= 1
            if not used.users:
                self.released(used)
        step.uses = None

    def _refuse(self, step: Step, wrong: Exception) -> None:
        step.wrong = True
        self._settle(step, FAILED, str(wrong))

    # what a step waits for, stage by stage

    def _before_inputs(self, step: Step) -> Stages:
        """What decides whether a step needs its inputs at all."""
        if step.scope.conditions or step.node.when is not True:
            yield from self._condition(step)
            if step.outputs is not PENDING:
                return
        step.certain = True
        if step.node.type is Switch:
            yield from self._switch(step)

    def _ask_for_inputs(self, step: Step) -> None:
        scope = step.scope
        constant, dynamic = self._split(step.node)
        step.inputs = {**constant, **step.elements}
        needed: list[Step] = []
        step.targets = targets = []
        try:
            for port, form in dynamic:
                # Most inputs are links: their targets are looked up once.
                target = scope.target(form) if type(form) is Linked else None
                targets.append((port, form, target))
                if target is not None:
                    needed.append(target[0])
                else:
                    needed += self._steps(scope, form)
        except (_Wrong, OSError) as wrong:
            self._refuse(step, wrong)
            return
        if not needed or not self._ask(step, needed):
            self._take_inputs(step)

    def _take_inputs(self, step: Step) -> None:
        """Hand the step out, or settle it where an input is not there."""
        assert step.targets is not None
        worst: tuple[Mark, str] | None = None
        try:
            for (name, required, floating), form, target in step.targets:
                value = _indexed(*target) if target is not None else self._value(step.scope, form)
                if type(value) is not Mark:
                    step.inputs[name] = value if floating is None else coerced(value, floating)
                elif (value is not ABSENT or required) and (
                    worst is None or _WORST.index(value) < _WORST.index(worst[0])
                ):
                    worst = value, self._because(step.scope, form, value)
        except (_Wrong, OSError) as wrong:
            self._refuse(step, wrong)
            return
        if worst is None:
            heapq.heappush(self.ready, (step.order, id(step), step))
        else:
            self._settle(step, worst[0], worst[1])

    def _split(self, node: CheckedNode) -> tuple[dict[str, Any], list[tuple[_Port, Any]]]:
        """The inputs of a node that are known as they stand, and the others with the ports that take them."""
        found = self.splits.get(id(node)) if self.splits else None
        if found is None:
            assert not isinstance(node.type, CheckedGraph)
            ports = self.ports.get(node.type) or self._ports(node.type)
            constant: dict[str, Any] = {}
            dynamic: list[tuple[_Port, Any]] = []
            for name, form in node.inputs.items():
                if _is_dynamic(form):
                    dynamic.append((ports[name], form))
                else:
                    constant[name] = self.constant(form)
            found = constant, dynamic
            if node.foreach is not None:  # others are asked for once
                self.splits[id(node)] = found
        return found

    def _ports(self, node_type: type[Node]) -> dict[str, _Port]:
        ports = self.ports[node_type] = {
            name: (name, entry.required, entry.annotation if _takes_floats(entry.annotation) else None)
            for name, entry in node_type.inputs().items()
        }
        return ports

    def _condition(self, step: Step) -> Stages:
        """Settle the step where a `when` around it, or its own, is not true."""
        own = [] if step.node.when is True else [(step.scope, step.node.when)]
        for scope, form in [*step.scope.conditions, *own]:
            try:
                yield list(self._steps(scope, form))
                value = self._value(scope, form)
            except (_Wrong, OSError) as wrong:
                self._refuse(step, wrong)
                return
            if value is False:
                self._settle(step, ABSENT, "its `when` is false")
                return
            if value is not True:
                self._undecided(step, scope, form, value)
                return

    def _switch(self, step: Step) -> Stages:
        scope, inputs = step.scope, {**step.node.inputs, **step.elements}
        form = inputs["condition"]
        yield list(self._steps(scope, form))
        value = self._value(scope, form)
        if type(value) is bool:
            form = inputs.get("then" if value else "otherwise", ABSENT)
            yield list(self._steps(scope, form))
            value = self._value(scope, form)
        elif type(value) is Unknown:
            value = UNKNOWN
        if type(value) is Mark:
            self._undecided(step, scope, form, value)
        else:
            step.sources = merged([used.sources for used in step.uses or ()])
            self._settle(step, {"value": value})

    def _gather(self, step: Gather) -> Stages:
        scope, node = step.scope, step.node
        assert node.foreach is not None
        if scope.conditions or node.when is not True:
            yield from self._condition(step)
            if step.outputs is not PENDING:
                return
        try:
            over = node.foreach.over
            yield [found for form in over.values() for found in self._steps(scope, form)]
            lists = {name: self._value(scope, form) for name, form in over.items()}
            marks = [
                (UNKNOWN if type(value) is Unknown else value, over[name])
                for name, value in lists.items()
                if type(value) is not tuple
            ]
            if marks:
                mark, form = min(marks, key=lambda found: _WORST.index(found[0]))
                self._undecided(step, scope, form, mark)
                return
            elements = scope.expanded(node, _choices(lists, node.foreach.zipped, step.address))
            targets = [_output(element, step.output) for element in elements]
            yield [target[0] for target in targets]
            values = [_indexed(target[0], target[1], target[2]) for target in targets]
        except (_Wrong, OSError) as wrong:
            self._refuse(step, wrong)
            return
        for mark in (FAILED, UNKNOWN):
            if mark in values:
                which = targets[values.index(mark)][0]
                self._settle(step, mark, f"{which.address} failed" if mark is FAILED else f"on {which.address}")
                return
        step.sources = merged(target[0].sources for target in targets)
        self._settle(step, {step.output: tuple(value for value in values if value is not ABSENT)})

    def _undecided(self, step: Step, scope: Scope, form: Any, value: Any) -> None:
        """Settle a step that is not there, or of which only running can tell whether it is."""
        mark = value if type(value) is Mark else UNKNOWN
        self._settle(step, mark, self._because(scope, form, mark))

    # values

    def _steps(self, scope: Scope, form: Any) -> Iterator[Step]:
        """The steps whose outputs an input's value needs."""
        kind = type(form)
        if kind is Linked:
            yield scope.target(form)[0]
        elif kind is tuple:
            for item in form:
                yield from self._steps(scope, item)
        elif kind is Given:
            if form.param in scope.bound:
                yield from self._bound_steps(scope, form.param)
        elif kind is Computed:
            for name in form.expression.params():
                if name in scope.bound:
                    yield from self._bound_steps(scope, name)

    def _bound_steps(self, scope: Scope, param: str) -> Iterator[Step]:
        assert scope.outer is not None
        yield from self._steps(scope.outer, scope.bound[param])

    def _value(self, scope: Scope, form: Any) -> Any:
        kind = type(form)
        if kind is Linked:
            return _indexed(*scope.target(form))
        if kind is tuple:
            items = tuple(self._value(scope, item) for item in form)
            return next((mark for mark in _WORST if mark in items), items) if _any_mark(items) else items
        if kind is Given:
            return _element(self._param(scope, form.param), form.index, f"$params.{form.param}")
        if kind is Mark:
            return form
        if kind is Computed:
            values = {name: self._param(scope, name) for name in form.expression.params()}
            marks = [value for value in values.values() if type(value) is Mark]
            if marks:
                return min(marks, key=_WORST.index)
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
            value = self._value(scope.outer, scope.bound[name])
        if value is ABSENT and param.default is not MISSING:
            value = self.constant(param.default)
        if type(value) in (Mark, Unknown) or value is None:
            return value
        value = coerced(value, param.annotation)
        known = tuple(item for item in value if not _any_unknown(item)) if type(value) is tuple else value
        wrong = outside_limits(param, known)
        if wrong is not None:
            raise _Wrong(f"`{name}` of the graph {scope.checked.graph.name} {wrong[1]}")
        return value

    def _because(self, scope: Scope, form: Any, mark: Mark) -> str:
        """Why a value is not there, in words that follow `skipped: ` or `depends `."""
        steps = list(self._steps(scope, form))
        blamed = next((step for step in steps if step.outputs is mark), steps[0] if steps else None)
        if blamed is None:
            return "a value it needs is not there"
        if mark is UNKNOWN:
            return f"on {blamed.address}"
        return f"it needs {blamed.address}, which " + ("failed" if mark is FAILED else "was skipped")


class _Wrong(ValueError):
    """A value that came over a link is not what the graph can take."""


def _choices(lists: Mapping[str, Any], zipped: bool, address: str) -> list[Mapping[str, Any]]:
    """One mapping of inputs to elements for each element of a foreach."""
    if zipped:
        lengths = {name: len(items) for name, items in lists.items()}
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"`{name}` has {length}" for name, length in lengths.items())
            raise _Wrong(f"the lists of `{address}` differ in length: {listed}")
        rows: Iterable[tuple[Any, ...]] = zip(*lists.values(), strict=True)
    else:
        rows = product(*lists.values())
    return [dict(zip(lists, row, strict=True)) for row in rows]


def _output(element: Scope | Step, output: str) -> tuple[Step, str, tuple[int, ...]]:
    """Where an output of one element of a foreach comes from."""
    if isinstance(element, Step):
        return element, output, ()
    return element.target(element.checked.outputs[output])


def _indexed(step: Step, output: str, index: tuple[int, ...]) -> Any:
    outputs = step.outputs
    if type(outputs) is Mark:
        return outputs
    value = outputs[output]  # type: ignore[index]
    return _element(value, index, f"${step.address}.{output}") if index else value


def _element(value: Any, index: tuple[int, ...], called: str) -> Any:
    for position in index:
        if type(value) is Mark:
            return value
        if type(value) is Unknown:
            value = Unknown((value.symbol, position), value.maker)
            continue
        if position >= len(value):
            raise _Wrong(f"`{called}` has {len(value)} elements, {position} was asked for")
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


NOTHING: Mapping[str, str] = {}


def merged(several: Iterable[Mapping[str, str]]) -> Mapping[str, str]:
    """All of several mappings as one; no new one where only one of them has anything."""
    found = NOTHING
    for mapping in several:
        if mapping and mapping is not found:
            found = {**found, **mapping} if found else mapping
    return found
