"""Node types for the tests of killed processes: each writes down that it was computed."""

import os
import time
from dataclasses import dataclass

from latentgraph.engine import Context, Node, PortType, Written


@dataclass(frozen=True)
class Block(PortType):
    """Something with a few bytes to keep: larger than what stands in the index itself."""

    content: bytes

    def written(self):
        yield Written(".bin", self.content)


class Work(Node):
    """Takes a while, and depends on another."""

    name: str
    after: Block | None = None
    seconds: float = 0.01

    def run(self, context: Context) -> Block:
        with open(os.environ["FAULT_LOG"], "a") as log:
            log.write(f"{self.name} {os.getpid()}\n")
        time.sleep(self.seconds)
        before = self.after.content if self.after is not None else b""
        return Block((self.name.encode() + before)[:100] * 300)
