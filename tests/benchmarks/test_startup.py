"""How long commands take to start, against the libraries that they stand on.

The ratio is what counts: processor time of child processes, medians, runs interleaved so that whatever else the
machine does slows all of them alike.
"""

import os
import resource
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

ROUNDS = 10
BASELINE = [sys.executable, "-c", "import pydantic, yaml, networkx; from pydantic import BaseModel"]
COMMAND = [sys.executable, "-m", "latentgraph.engine.cli"]

GRAPH = """\
latentgraph: 1
nodes:
  first: {type: Made0, inputs: {text: hello}}
  second: {type: Made149, inputs: {text: $first, amount: 0.5}}
outputs:
  text: $second
"""

NODE = '''
class Made{number}(Node, category="made {category}"):
    """The node type of number {number}.

    It has inputs of several types, as a real one has.
    """

    text: str
    amount: float = Field(1.0, ge=0, le=10, description="how much")
    steps: int = Field(20, ge=1, le=1000, description="how often")
    mode: Literal["soft", "hard", "other"] = "soft"
    seed: int | tuple[int, ...] | None = Field(None, description="where to begin")

    def run(self, context: Context) -> str:
        return self.text
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file of 150 node types and a graph that uses two of them."""
    folder = tmp_path_factory.mktemp("startup")
    nodes = (NODE.format(number=number, category=number // 15) for number in range(150))
    begin = "from typing import Literal\n\nfrom latentgraph.engine import Context, Field, Node\n\n"
    (folder / "many.py").write_text(begin + "\n".join(nodes))
    (folder / "many.yaml").write_text(GRAPH)
    return folder


def seconds(command: list[str], folder: Path) -> float:
    """Processor time of a command, with all it starts."""

    def used() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = used()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    return used() - before


MANY = ["--nodes", "many.py"]
TXT2IMG = ["txt2img", "--set", "steps=2", *MANY]

COMMANDS: dict[str, tuple[list[str], float]] = {
    "--help": (["--help"], 2),
    "check": (["check", "txt2img"], 1.8),
    "nodes": (["nodes"], 2),
    "graphs": (["graphs"], 2),
    "schema": (["schema"], 3),
    "check, 150 types": (["check", "many.yaml", *MANY], 1.8),
    "check txt2img, 150 types": (["check", *TXT2IMG], 1.8),
    "plan txt2img, 150 types": (["plan", *TXT2IMG], 2.2),
    "run txt2img, all reused, 150 types": (["run", *TXT2IMG], 2.5),
    "nodes, 150 types": (["nodes", *MANY], 2),
    "schema, 150 types": (["schema", *MANY], 3),
}


def test_commands_start_quickly(folder: Path) -> None:
    commands = {"baseline": BASELINE, **{name: [*COMMAND, *given] for name, (given, _) in COMMANDS.items()}}
    for command in commands.values():
        seconds(command, folder)  # once, so that all bytecode is compiled
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            times[name].append(seconds(command, folder))
    medians = {name: median(each) for name, each in times.items()}
    ratios = {name: medians[name] / medians["baseline"] for name in COMMANDS}
    print(f"\nbaseline: {medians['baseline'] * 1000:.0f} ms of processor time")
    for name, ratio in ratios.items():
        print(f"{name:<34} {medians[name] * 1000:5.0f} ms, {ratio:.2f} of the baseline (allowed: {COMMANDS[name][1]})")
    assert {name: ratio for name, ratio in ratios.items() if ratio >= COMMANDS[name][1]} == {}
