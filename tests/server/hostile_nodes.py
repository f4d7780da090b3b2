"""Node types as careless authors write them: they tell where they are, and give as much as they are asked for."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Literal

from latentgraph.engine import Context, Node

PLACES = [os.getcwd(), os.path.expanduser("~"), sys.prefix, tempfile.gettempdir(), str(Path(__file__).parent)]


class Tells(Node, category="tests", volatile=True):
    """Tells where the server's folders are."""

    how: Literal["log", "progress", "ValueError", "OSError", "KeyError", "deep", "scratch", "link"]

    def run(self, context: Context) -> int:
        said = " and ".join(f"{place}/x.txt, file://{place}/y, in:{place}, ({place}/a/b.c)" for place in PLACES)
        match self.how:
            case "log":
                context.log(said)
            case "progress":
                context.progress(1, 2, said)
            case "ValueError":
                raise ValueError(said)
            case "OSError":
                Path(tempfile.gettempdir(), "nothing here", "x.txt").read_text()
            case "KeyError":
                raise KeyError(*PLACES)
            case "deep":
                raise RuntimeError(said) from OSError(said)
            case "scratch":
                raise ValueError(f"{context.scratch()} is full")
            case "link":
                Path(__file__).rename("/proc/nothing")
        return 1


class Many(Node, category="tests"):
    """As many numbers as are wanted, which nobody knows before it runs."""

    count: int

    def run(self, context: Context) -> tuple[int, ...]:
        return tuple(range(self.count))


class Environment(Node, category="tests", volatile=True):
    """What the process that runs it knows: its environment and its command line."""

    def run(self, context: Context) -> str:
        return Path("/proc/self/environ").read_text() + Path("/proc/self/cmdline").read_text()
