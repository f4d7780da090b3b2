"""What the engine costs for each node, on chains and on wide graphs of 100 to 10,000 trivial nodes.

Everything is processor time of this process, counted from the checked graph, and shown beside a floor of the same run:
a Python loop that validates the same nodes and calls them. The ratios to that floor and the growth from 100 to 10,000
nodes are what is asserted, generously, because the machines are noisy; the figures are printed.
"""

import gc
import os
import resource
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from latentgraph.engine import Context
from latentgraph.engine.checked import CheckedGraph
from latentgraph.engine.execute import execute
from latentgraph.engine.registry import Registry, types_at
from latentgraph.engine.session import load_text
from latentgraph.engine.store import Store, open_store

NODES = Path(__file__).with_name("trivial_nodes.py")
SIZES = (100, 1_000, 10_000)
ROUNDS = {100: 9, 1_000: 3, 10_000: 1}

ALLOWED = {"cold in memory": 80, "cold with disk": 250, "reused in memory": 20, "reused from disk": 50}
"""The most each may cost, as a multiple of validating and calling the node."""


def chain(size: int, changed: int | None = None) -> str:
    """Each node takes the one before; `changed` adds something else."""
    lines = [
        f"  n{index}: {{type: Plus, inputs: {{a: $n{index - 1}, b: {1.25 if index == changed else 1.0}}}}}"
        for index in range(1, size)
    ]
    first = f"  n0: {{type: Number, inputs: {{value: {1.5 if changed == 0 else 1.0}}}}}"
    return "\n".join(["latentgraph: 1", "nodes:", first, *lines, f"outputs: {{last: $n{size - 1}}}"])


def wide(size: int, changed: int | None = None) -> str:
    """No node takes another."""
    lines = [
        f"  n{index}: {{type: Plus, inputs: {{a: {index}.0, b: {2.0 if index == changed else 1.0}}}}}"
        for index in range(size)
    ]
    outputs = [f"  o{index}: $n{index}" for index in range(size)]
    return "\n".join(["latentgraph: 1", "nodes:", *lines, "outputs:", *outputs])


SHAPES: dict[str, Callable[..., str]] = {"chain": chain, "wide": wide}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(types_at(NODES))


def checked(text: str, registry: Registry) -> CheckedGraph:
    return load_text(text, "bench", "bench.yaml", Path(), registry).check()


def cost(action: Callable[[], Any], size: int) -> float:
    """Processor time for each node, in microseconds."""
    gc.collect()
    before = time.process_time()
    action()
    return (time.process_time() - before) / size * 1e6


def floor(registry: Registry, size: int) -> float:
    """The same nodes, validated and called in a loop."""
    plus, context = registry.get("Plus"), Context()
    assert plus is not None

    def loop() -> None:
        value = 1.0
        for _ in range(size):
            value = plus.model_validate({"a": value, "b": 1.0}).run(context)

    return cost(loop, size)


def measure(shape: str, size: int, registry: Registry, folder: Path) -> dict[str, float]:
    """The median cost of each way, from rounds that take turns."""
    found: dict[str, list[float]] = {}

    def note(name: str, action: Callable[[], Any]) -> None:
        found.setdefault(name, []).append(cost(action, size))

    graph = checked(SHAPES[shape](size), registry)
    changes = {
        "first changed": checked(SHAPES[shape](size, 0), registry),
        "middle changed": checked(SHAPES[shape](size, size // 2), registry),
        "last changed": checked(SHAPES[shape](size, size - 1), registry),
    }
    for number in range(ROUNDS[size]):
        found.setdefault("floor", []).append(floor(registry, size))
        one_round(graph, changes, folder / f"{shape}-{size}-{number}", note)
    return {name: median(each) for name, each in found.items()}


def one_round(
    graph: CheckedGraph, changes: dict[str, CheckedGraph], folder: Path, note: Callable[[str, Callable[[], Any]], None]
) -> None:
    memory = open_store(None)
    note("cold in memory", lambda: execute(graph, store=memory))
    note("reused in memory", lambda: execute(graph, store=memory))
    for name, changed in changes.items():
        note(name, partial(execute, changed, store=memory))
    disk = open_store(folder)
    note("cold with disk", lambda: execute(graph, store=disk))
    disk.close()
    again = as_another_process_has_it(folder)
    note("reused from disk", lambda: execute(graph, store=again))
    assert execute(graph, store=again).named("computed") == []
    again.close()


def as_another_process_has_it(folder: Path) -> Store:
    """The store with nothing in memory: of the same results, under another name of the folder."""
    return open_store(folder.rename(folder.with_name(f"{folder.name}-again")))


@pytest.mark.parametrize("shape", SHAPES)
def test_cost_of_a_node(shape: str, registry: Registry, tmp_path: Path) -> None:
    table = {size: measure(shape, size, registry, tmp_path) for size in SIZES}
    print(f"\n{shape}, microseconds of processor time for each node (times the floor)")
    for name in table[100]:
        cells = [f"{table[size][name]:8.1f} ({table[size][name] / table[size]['floor']:5.1f})" for size in SIZES]
        print(f"  {name:<18}" + "  ".join(cells))
    for name, allowed in ALLOWED.items():
        ratios = {size: table[size][name] / table[size]["floor"] for size in SIZES}
        assert max(ratios[1_000], ratios[10_000]) < allowed, (name, ratios)
        assert ratios[10_000] < 3 * ratios[1_000], f"{name} grows faster than the graph: {ratios}"


def test_peak_memory_grows_as_the_graph_does(registry: Registry) -> None:
    peaks = {}
    for size in (1_000, 10_000):
        graph = checked(chain(size), registry)
        tracemalloc.start()
        try:
            execute(graph, store=open_store(None, memory_bytes=0))
            peaks[size] = tracemalloc.get_traced_memory()[1] / size
        finally:
            tracemalloc.stop()
    print(f"\nbytes at the peak for each node of a chain: {peaks[1_000]:.0f} of 1,000, {peaks[10_000]:.0f} of 10,000")
    assert 0 < peaks[10_000] < 1.5 * peaks[1_000]


def test_cost_of_the_command_line(tmp_path: Path) -> None:
    """Reading YAML and checking included; the start of the process is measured by a small graph and taken off."""
    size = 3_000
    (tmp_path / "small.yaml").write_text(chain(10))
    (tmp_path / "large.yaml").write_text(chain(size))

    def run(graph: str, store: str) -> float:
        command = [sys.executable, "-m", "latentgraph.engine.cli", "run", graph, "--json", "--nodes", str(NODES)]
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        before = usage.ru_utime + usage.ru_stime
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        command += ["--store", store]
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, stdout=subprocess.DEVNULL)
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime - before

    costs: dict[str, list[float]] = {"cold": [], "reused": []}
    for number in range(3):
        for name in costs:
            start = run("small.yaml", f"small{number}")
            costs[name].append((run("large.yaml", f"store{number}") - start) / (size - 10) * 1e6)
    cold, reused = median(costs["cold"]), median(costs["reused"])
    print(f"\nby the command line, microseconds for each of {size:,} nodes: cold {cold:.0f}, reused {reused:.0f}")
    assert reused < cold
