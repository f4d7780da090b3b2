"""Node types of small arithmetic for the oracle: each tells what it computed."""

from latentgraph.engine import Context, Node

COMPUTED: list[tuple[str, tuple[object, ...]]] = []
"""The type and the inputs of every node that was computed and did not fail."""


def computed(node: Node) -> None:
    COMPUTED.append((type(node).__name__, tuple(getattr(node, name) for name in type(node).inputs())))


class Const(Node):
    value: int

    def run(self, context: Context) -> int:
        computed(self)
        return self.value


class Plus(Node):
    a: int
    b: int = 1

    def run(self, context: Context) -> int:
        computed(self)
        return self.a + self.b


class Half(Node):
    """Gives the same for different inputs, so that what follows need not run again."""

    a: int

    def run(self, context: Context) -> int:
        computed(self)
        return self.a // 2


class Fussy(Node):
    a: int
    at: int = 0

    def run(self, context: Context) -> int:
        if self.a % 5 == self.at:
            raise ValueError(f"not {self.a}")
        computed(self)
        return self.a * 3


class IsEven(Node):
    a: int

    def run(self, context: Context) -> bool:
        computed(self)
        return self.a % 2 == 0


class UpTo(Node):
    n: int

    def run(self, context: Context) -> list[int]:
        computed(self)
        return list(range(self.n % 4))


class SumUp(Node):
    numbers: tuple[int, ...]

    def run(self, context: Context) -> int:
        computed(self)
        return sum(self.numbers)
