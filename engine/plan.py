"""The plan: what a run would do with each node, and why, without running anything.

It follows the same flow as `execute` and asks the same function, `decide`. A value that only running can tell flows as
an unknown one, which has a symbol: the key of the node that would compute it. What depends on one runs unless it turns
out to be what it was before; but if no such node has ever been computed, it runs. Nodes with equal keys, symbols
included, compute the same, so that only the first of them runs.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from .checked import CheckedGraph, graph_id
from .decide import Decision, decide
from .flow import Flow
from .keys import Keys
from .live import Live
from .reasons import difference
from .records import Ref, refs_in
from .rendering import renderable
from .steps import ABSENT, FAILED, UNKNOWN, Gather, Mark, Step, Unknown
from .store import Store
from .switch import Switch

Action = Literal["run", "reuse", "skip", "depends"]


@dataclass(frozen=True)
class Planned:
    """What would become of one node, by its address. `seconds` is about what it will take, where that can be told."""

    node: str
    type: str
    action: Action
    why: str = ""
    seconds: float | None = None


@dataclass(frozen=True)
class Plan:
    """What would become of the nodes that the outputs need, in the order of the file."""

    nodes: tuple[Planned, ...]

    def named(self, action: Action) -> list[str]:
        return [planned.node for planned in self.nodes if planned.action == action]

    @property
    def seconds(self) -> float | None:
        """About what the run takes if everything undecided runs; None where nothing is known of some node."""
        each = [planned.seconds for planned in self.nodes if planned.action in ("run", "depends")]
        known = [seconds for seconds in each if seconds is not None]
        return sum(known) if len(known) == len(each) else None


def plan(checked: CheckedGraph, store: Store, targets: list[str] | None = None) -> Plan:
    """What running this graph with this store would do; nodes given by `targets` instead of what the outputs need."""
    store.prefetch(graph_id(checked))
    return _Planning(checked, store).plan(targets)


class _Planning:
    def __init__(self, checked: CheckedGraph, store: Store) -> None:
        self.checked, self.store = checked, store
        self.live = Live(store)
        self.keys = Keys(store, self.live.get)
        self.flow = Flow(checked, constant=self.live.by_reference)
        self.latest = store.latest(graph_id(checked))
        self.decided: dict[Step, Decision] = {}
        self.unknown: dict[Step, str] = {}
        """Steps with an input that only running can tell, and the address of a step that gives it."""
        self.first: dict[str, Step] = {}
        """By its key, the first step that would compute a result: others with the same key wait for it."""
        self.again: set[Step] = set()
        """Steps whose result is known, but whose values are gone, and needed."""

    def plan(self, targets: list[str] | None) -> Plan:
        outputs = {} if targets else dict(self.checked.outputs)
        for name in targets or ():
            self.flow.want_node(name)
        for link in outputs.values():
            self.flow.want(link)
        while (step := self.flow.next()) is not None:
            self._decide(step)
        self._find_gone(self.flow.value(link) for link in outputs.values())
        # A Switch that hands on a value does no work that is worth a line.
        steps = [step for step in self.flow.known if step in self.decided or type(step.outputs) is Mark]
        planned = {step: self._planned(step) for step in steps}
        for step in [step for step in planned if step.outputs is UNKNOWN]:
            self._look_behind(step, planned)
        return Plan(tuple(planned[step] for step in sorted(planned)))

    def _decide(self, step: Step) -> None:
        decision = self.decided[step] = decide(step, self.keys, self.store)
        if decision.record is not None:
            self.flow.settle(step, decision.record.outputs)
            return
        unknown = next((found for value in step.inputs.values() for found in _unknown_in(value)), None)
        if unknown is not None:
            self.unknown[step] = unknown.maker
        symbol = decision.key.digest if decision.key is not None else step.address
        maker = self.first.setdefault(symbol, step).address
        node_type = step.node.type
        assert not isinstance(node_type, CheckedGraph)
        self.flow.settle(step, {output: Unknown((symbol, output), maker) for output in node_type.outputs()})

    # values that are gone

    def _find_gone(self, outputs: Iterable[Any]) -> None:
        """Find the steps that have to run again because something needs the bytes of what they gave."""
        makers = {
            ref.digest: step
            for step, decision in self.decided.items()
            if decision.record is not None
            for ref in decision.record.refs()
        }
        needed = [
            ref
            for value in outputs
            for ref in ([] if type(value) is Mark else refs_in(value))
            if not renderable(ref, self.store)
        ]
        for step, decision in self.decided.items():
            if decision.record is None and step not in self.unknown:
                needed += _refs(step)
        while needed:
            ref = needed.pop()
            maker = makers.get(ref.digest)
            if maker is not None and maker not in self.again and not self.live.has(ref):
                self.again.add(maker)
                needed += _refs(maker)

    # words

    def _planned(self, step: Step) -> Planned:
        decision = self.decided.get(step)
        if step in self.again:
            return self._said(step, "run", "its value is no longer in the store")
        if decision is not None:
            return self._said(step, *self._of_decided(step, decision))
        if step.outputs in (ABSENT, FAILED):
            return self._said(step, "skip", step.reason)
        return self._said(step, "depends", f"what becomes of it depends {step.reason}")

    def _of_decided(self, step: Step, decision: Decision) -> tuple[Action, str]:
        if decision.record is not None:
            return "reuse", ""
        first = self.first.get(decision.key.digest, step) if decision.key is not None else step
        if first is not step:
            return "reuse" if first not in self.unknown else "depends", f"{first.address} computes the same"
        if step in self.unknown and decision.key is not None and self.store.known_partial(decision.key.kind.partial):
            return "depends", f"it runs unless {self.unknown[step]} gives what it gave before"
        return "run", self._why(step, decision)

    def _look_behind(self, step: Step, planned: dict[Step, Planned]) -> None:
        """Add what an undecided step might ask for."""
        left = self.flow.behind(step)
        while left:
            found = left.pop()
            if found not in planned and not isinstance(found, Gather):
                planned[found] = self._said(found, "depends", f"only if {step.address} needs it")
                left += self.flow.behind(found)

    def _why(self, step: Step, decision: Decision) -> str:
        if decision.key is None:
            return decision.why
        before = self.store.lookup(self.latest.get(step.address, ""))
        return "no result yet" if before is None else difference(before, decision.key)

    def _said(self, step: Step, action: Action, why: str = "") -> Planned:
        name = step.node.type.graph.name if isinstance(step.node.type, CheckedGraph) else step.node.type.__name__
        seconds = None
        if step.node.type is Switch:
            seconds = 0.0
        elif action in ("run", "depends"):
            before = self.store.lookup(self.latest.get(step.address, ""))
            seconds = before.seconds if before is not None else self.store.seconds_of(name)
        return Planned(step.address, name, action, why, seconds)


def _unknown_in(value: Any) -> Iterator[Unknown]:
    if type(value) is Unknown:
        yield value
    elif type(value) is tuple:
        for item in value:
            yield from _unknown_in(item)


def _refs(step: Step) -> list[Ref]:
    return [ref for value in step.inputs.values() for ref in refs_in(value)]
