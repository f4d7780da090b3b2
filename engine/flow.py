"""How data flows through a checked graph: which nodes are needed, and when the inputs of each are known.

A flow runs nothing and decides nothing. It hands out steps, uses of nodes whose inputs are known, and is told what
became of each; `plan` and `execute` both follow it. Nothing is asked for that no output needs: of a `Switch` only the
branch it takes, of a node whose `when` is false nothing at all, of a graph that is used as a node type only what leads
to the outputs that are linked to. The elements of a `foreach` come to be when its lists are known.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from itertools import product
from math import prod
from typing import Any

from .checked import CheckedGraph, Linked
from .forms import Forms, Wrong, coerced, indexed
from .inputs import MOST_ELEMENTS
from .steps import (
    ABSENT,
    FAILED,
    PENDING,
    UNKNOWN,
    WORST,
    Gather,
    Mark,
    Scope,
    Stages,
    Step,
    Unknown,
    merged,
)
from .switch import Switch


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
        self.forms = Forms(constant)
        self.finished, self.released = finished, released
        self.ready: list[tuple[tuple[int, ...], int, Step]] = []
        self.agenda: deque[Step] = deque()
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
        return self.forms.value(self.top, link)

    def behind(self, step: Step) -> list[Step]:
        """The steps that an undecided step might ask for: all that its inputs lead to."""
        forms = {**step.node.inputs, **step.elements}
        return [found for form in forms.values() for found in self.forms.steps(step.scope, form)]

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
        try:
            for needed in step.stages:
                if self._ask(step, needed):
                    return
        except (Wrong, OSError) as wrong:
            self._refuse(step, wrong)
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
        constant, dynamic = self.forms.split(step.node)
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
                    needed += self.forms.steps(scope, form)
        except (Wrong, OSError) as wrong:
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
                value = indexed(*target) if target is not None else self.forms.value(step.scope, form)
                if type(value) is not Mark:
                    step.inputs[name] = value if floating is None else coerced(value, floating)
                elif (value is not ABSENT or required) and (
                    worst is None or WORST.index(value) < WORST.index(worst[0])
                ):
                    worst = value, self.forms.because(step.scope, form, value)
        except (Wrong, OSError) as wrong:
            self._refuse(step, wrong)
            return
        if worst is None:
            heapq.heappush(self.ready, (step.order, id(step), step))
        else:
            self._settle(step, worst[0], worst[1])

    def _condition(self, step: Step) -> Stages:
        """Settle the step where a `when` around it, or its own, is not true."""
        own = [] if step.node.when is True else [(step.scope, step.node.when)]
        for scope, form in [*step.scope.conditions, *own]:
            yield list(self.forms.steps(scope, form))
            value = self.forms.value(scope, form)
            if value is False:
                self._settle(step, ABSENT, "its `when` is false")
                return
            if value is not True:
                self._undecided(step, scope, form, value)
                return

    def _switch(self, step: Step) -> Stages:
        scope, inputs = step.scope, {**step.node.inputs, **step.elements}
        form = inputs["condition"]
        yield list(self.forms.steps(scope, form))
        value = self.forms.value(scope, form)
        if type(value) is bool:
            form = inputs.get("then" if value else "otherwise", ABSENT)
            yield list(self.forms.steps(scope, form))
            value = self.forms.value(scope, form)
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
        over = node.foreach.over
        yield [found for form in over.values() for found in self.forms.steps(scope, form)]
        lists = {name: self.forms.value(scope, form) for name, form in over.items()}
        marks = [
            (UNKNOWN if type(value) is Unknown else value, over[name])
            for name, value in lists.items()
            if type(value) is not tuple
        ]
        if marks:
            mark, form = min(marks, key=lambda found: WORST.index(found[0]))
            self._undecided(step, scope, form, mark)
            return
        elements = scope.expanded(node, _choices(lists, node.foreach.zipped, step.address))
        targets = [_output(element, step.output) for element in elements]
        yield [target[0] for target in targets]
        values = [indexed(target[0], target[1], target[2]) for target in targets]
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
        self._settle(step, mark, self.forms.because(scope, form, mark))


def _choices(lists: Mapping[str, Any], zipped: bool, address: str) -> list[Mapping[str, Any]]:
    """One mapping of inputs to elements for each element of a foreach."""
    if zipped:
        lengths = {name: len(items) for name, items in lists.items()}
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"`{name}` has {length}" for name, length in lengths.items())
            raise Wrong(f"the lists of `{address}` differ in length: {listed}")
        rows: Iterable[tuple[Any, ...]] = zip(*lists.values(), strict=True)
    else:
        rows = product(*lists.values())
    count = max(map(len, lists.values())) if zipped else prod(map(len, lists.values()))
    if count > MOST_ELEMENTS:
        raise Wrong(f"the `foreach` of `{address}` comes to {count:,} elements, the most is {MOST_ELEMENTS:,}")
    return [dict(zip(lists, row, strict=True)) for row in rows]


def _output(element: Scope | Step, output: str) -> tuple[Step, str, tuple[int, ...]]:
    """Where an output of one element of a foreach comes from."""
    if isinstance(element, Step):
        return element, output, ()
    return element.target(element.checked.outputs[output])
