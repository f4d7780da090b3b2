"""Node types that say where they are, in every way in which a node says something."""

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
