"""Small graphs for the engine's tests, and what calling the command line gives."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TINY_NODES = Path(__file__).with_name("tiny_nodes.py")


@dataclass(frozen=True)
class Answer:
    """What a command gave."""

    code: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


Command = Callable[..., Answer]


def graph(nodes: str, outputs: str, params: str = "") -> str:
    """The text of a graph with these sections, each with one entry a line."""

    def section(name: str, text: str) -> str:
        lines = "\n".join(f"  {line}" for line in text.strip().splitlines())
        return f"{name}:\n{lines}\n" if text else ""

    return "latentgraph: 1\n" + section("params", params) + section("nodes", nodes) + section("outputs", outputs)
