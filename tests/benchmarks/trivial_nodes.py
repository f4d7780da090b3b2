"""Nodes that do next to nothing, so that what is measured is the engine."""

from latentgraph.engine import Context, Node


class Number(Node):
    value: float

    def run(self, context: Context) -> float:
        return self.value


class Plus(Node):
    a: float
    b: float = 1.0

    def run(self, context: Context) -> float:
        return self.a + self.b
