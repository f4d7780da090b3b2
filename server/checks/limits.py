"""What one job, and one client, may ask of the server."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from math import prod
from typing import Any

from latentgraph.engine.checked import CheckedGraph
from latentgraph.engine.inputs import elements
from latentgraph.engine.node import Node
from latentgraph.engine.problems import Problems, UserError
from latentgraph.engine.values import is_known


@dataclass(frozen=True)
class Limits:
    """Each can be set with `--limit NAME=NUMBER`."""

    body: int = 8 * 1024**2
    """Bytes of a request, and of a message on the websocket."""
    upload: int = 64 * 1024**2
    """Bytes of an uploaded file."""
    nodes: int = 5_000
    """Nodes of a graph, those of graph files and each element of a foreach counted."""
    pixels: int = 16 * 1024**2
    """Of all pictures of a batch together, and of an uploaded picture."""
    steps: int = 100_000
    """Of one sampling or training."""
    graphs: int = 1_000
    """Graphs that clients may keep by name, all together."""
    queue: int = 1_000
    """Jobs that one client may have waiting."""
    connections: int = 2_000
    """Websockets and event streams together."""
    messages: int = 500
    """Messages a second on one websocket; ten times as many at once are borne."""
    subscriptions: int = 1_000
    """On one websocket."""

    @classmethod
    def named(cls, options: list[str]) -> Limits:
        """From `NAME=NUMBER`. Raises UserError."""
        names, given = [field.name for field in fields(cls)], {}
        for option in options:
            name, equals, number = option.partition("=")
            if name not in names or not equals or not number.isdecimal() or int(number) < 1:
                raise UserError(f"`--limit {option}`: write NAME=NUMBER, where NAME is one of {', '.join(names)}")
            given[name] = int(number)
        return cls(**given)

    def as_json(self) -> dict[str, int]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def guard(self) -> Callable[[Node], None]:
        """What looks at each node of one run before it runs: raises ValueError where it has inputs beyond the limits,
        or where lists that came to be have made far more nodes than could be told before."""
        ran, most = itertools.count(1), 2 * self.nodes  # twice, as those count that are made again to make room

        def guard(node: Node) -> None:
            if next(ran) > most:
                raise ValueError(f"this server runs at most {self.nodes:,} nodes of a graph")
            for _, message in self.exceeded({name: getattr(node, name) for name in type(node).inputs()}):
                raise ValueError(message)

        return guard

    def exceeded(self, inputs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """The inputs of a node that ask for too much, and what is to be said of each."""
        steps = inputs.get("steps")
        if type(steps) is int and steps > self.steps:
            yield "steps", f"{steps:,} steps are more than the {self.steps:,} that this server does"
        sides = [inputs.get(name) for name in ("width", "height")]
        if all(type(side) is int for side in sides):
            factors: list[Any] = [*sides, inputs.get("batch_size", 1), inputs.get("count", 1)]
            pixels = prod(factor for factor in factors if type(factor) is int)
            if pixels > self.pixels:
                yield "width", f"{pixels:,} pixels are more than the {self.pixels:,} that this server does"

    def check(self, graph: CheckedGraph, problems: Problems) -> None:
        """Says in `problems` what a graph, as far as it is known before it runs, asks too much of."""
        count = self._check(graph, problems)
        if count > self.nodes:
            message = f"the graph comes to {count:,} nodes, this server runs at most {self.nodes:,}"
            problems.error("over-limit", None, message, path="nodes")

    def _check(self, graph: CheckedGraph, problems: Problems) -> int:
        count = 0
        for name, node in graph.nodes.items():
            times = elements(node.foreach) if node.foreach is not None else 1
            if isinstance(node.type, CheckedGraph):
                count += times * self._check(node.type, problems)
                continue
            count += times
            known = {input: value for input, value in node.inputs.items() if is_known(value)}
            for input, message in self.exceeded(known):
                written = graph.graph.nodes.get(name)
                tree = written.inputs.get(input) if written is not None and written.inputs else None
                place = tree.place if tree is not None else None
                problems.error("over-limit", place, f"`{input}`: {message}", path=f"nodes.{name}.inputs.{input}")
        return count
