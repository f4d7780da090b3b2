"""Runs of a node that are stopped, and what is kept of them meanwhile."""

from typing import Any

from latentgraph.engine.context import Context
from latentgraph.engine.digest import digest
from latentgraph.engine.ports import PortType, port_types


class Kept:
    """Keeps states as a store does: in the format of their type's codec."""

    def __init__(self, others: "Kept | None" = None) -> None:
        self.states: dict[str, tuple[str, bytes]] = dict(others.states) if others else {}

    def save(self, prefix_key: object, state: PortType) -> None:
        self.states[digest(prefix_key)] = type(state).__name__, type(state).codec.encode(state)

    def resume(self, prefix_key: object) -> PortType | None:
        found = self.states.get(digest(prefix_key))
        return port_types()[found[0]].codec.decode(port_types()[found[0]], found[1]) if found else None


class Killed(BaseException):
    """The process ends here."""


def cancelled_after(evaluations: int, states: Kept) -> Context:
    made: list[str] = []

    def report(kind: str, content: dict[str, Any]) -> None:
        if kind == "progress":
            made.append(kind)

    return Context(report=report, cancelled=lambda: len(made) >= evaluations, states=states)


def killed_after(evaluations: int, states: Kept) -> Context:
    made: list[str] = []

    def report(kind: str, content: dict[str, Any]) -> None:
        if kind == "progress":
            made.append(kind)
            if len(made) > evaluations:
                raise Killed

    return Context(report=report, states=states)
