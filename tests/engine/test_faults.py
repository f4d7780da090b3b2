"""Killed processes, damaged stores, several processes at once: nothing finished is lost, nothing wrong is served."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from tiny import graph

FAULT_NODES = Path(__file__).with_name("fault_nodes.py")
KILLS = int(os.environ.get("LATENTGRAPH_KILLS", "4"))
CHAINS, LENGTH = 3, 6

GRAPH = graph(
    "\n".join(
        f"n{chain}_{index}: {{type: Work, inputs: {{name: n{chain}_{index}"
        + (f", after: $n{chain}_{index - 1}" if index else "")
        + "}}"
        for chain in range(CHAINS)
        for index in range(LENGTH)
    ),
    "\n".join(f"o{chain}: $n{chain}_{LENGTH - 1}" for chain in range(CHAINS)),
)
NAMES = {f"n{chain}_{index}" for chain in range(CHAINS) for index in range(LENGTH)}


@pytest.fixture(autouse=True)
def _graph(tmp_path: Path) -> None:
    (tmp_path / "graph.yaml").write_text(GRAPH)


def start(folder: Path, *options: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "latentgraph.engine.cli", "run", "graph.yaml", "--json", "--no-metadata"]
    command += ["--store", "store", "--nodes", str(FAULT_NODES), *options]
    environment = {**os.environ, "FAULT_LOG": str(folder / "log")}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: "subprocess.Popen[str]") -> tuple[list[dict[str, object]], str]:
    out, err = process.communicate(timeout=60)
    return [json.loads(line) for line in out.splitlines() if line.endswith("}")], err


def became(events: list[dict[str, object]], status: str) -> set[object]:
    return {event["node"] for event in events if event["event"] == "node_finished" and event["status"] == status}


def computed(folder: Path) -> Counter[str]:
    return Counter(line.split()[0] for line in (folder / "log").read_text().splitlines())


def outputs(folder: Path) -> dict[str, bytes]:
    return {path.name.split("-")[1]: path.read_bytes() for path in sorted((folder / "output").iterdir())}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("expected")
    (folder / "graph.yaml").write_text(GRAPH)
    finish(start(folder))
    return outputs(folder)


@pytest.mark.parametrize("kill", range(KILLS))
def test_a_killed_run_loses_no_finished_node(kill: int, tmp_path: Path, expected: dict[str, bytes]) -> None:
    process = start(tmp_path)
    seen = []
    after = random.Random(kill).randint(1, 2 * len(NAMES))  # events, so that the instant is within the run
    assert process.stdout is not None
    for line in process.stdout:
        seen.append(json.loads(line))
        if len(seen) == after:
            time.sleep(random.Random(kill).random() * 0.01)
            process.send_signal(signal.SIGKILL)
            break
    rest, _ = finish(process)
    finished = became([*seen, *rest], "computed")
    events, err = finish(start(tmp_path))
    assert finished <= became(events, "reused")
    assert events[-1]["status"] == "done", err
    assert "damaged" not in err
    assert outputs(tmp_path) == expected


def test_four_processes_compute_each_node_once(tmp_path: Path, expected: dict[str, bytes]) -> None:
    for events, err in map(finish, [start(tmp_path) for _ in range(4)]):
        assert events[-1]["status"] == "done", err
        assert became(events, "computed") | became(events, "reused") == NAMES
    assert computed(tmp_path) == dict.fromkeys(NAMES, 1)
    assert outputs(tmp_path) == expected


def test_when_the_one_that_computes_is_killed_another_takes_over(tmp_path: Path, expected: dict[str, bytes]) -> None:
    processes = [start(tmp_path) for _ in range(4)]
    log = tmp_path / "log"
    while not log.exists() or len(log.read_text().splitlines()) < 5:
        time.sleep(0.005)
    victim = int(log.read_text().splitlines()[-1].split()[1])
    os.kill(victim, signal.SIGKILL)
    for process in processes:
        events, err = finish(process)
        if process.pid != victim:
            assert events[-1]["status"] == "done", err
    again = {name: count for name, count in computed(tmp_path).items() if count > 1}
    assert computed(tmp_path).keys() == NAMES
    assert len(again) <= 4  # what the victim had under way: as many as it has jobs
    assert set(again.values()) <= {2}
    assert outputs(tmp_path) == expected


def values(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "store" / "values").rglob("*") if path.is_file())


@pytest.mark.parametrize("damage", ["truncated", "flipped", "deleted", "index deleted", "index overwritten"])
def test_a_damaged_store_is_noticed_and_made_again(damage: str, tmp_path: Path, expected: dict[str, bytes]) -> None:
    finish(start(tmp_path))
    for path in values(tmp_path):
        content = path.read_bytes()
        match damage:
            case "truncated":
                path.write_bytes(content[: len(content) // 2])
            case "flipped":
                path.write_bytes(content[:10] + bytes([content[10] ^ 1]) + content[11:])
            case "deleted":
                path.unlink()
    for path in (tmp_path / "store").glob("index.sqlite*"):
        if damage == "index deleted":
            path.unlink()
        elif damage == "index overwritten":
            path.write_bytes(b"no index" * 1000)
    for path in (tmp_path / "output").iterdir():
        path.unlink()
    events, err = finish(start(tmp_path))
    assert events[-1]["status"] == "done", err
    assert outputs(tmp_path) == expected
    said = err + json.dumps([event for event in events if event["event"] == "log"])
    if damage not in ("deleted", "index deleted"):
        assert "damaged" in said
    again, err = finish(start(tmp_path))
    assert became(again, "computed") == set()
    assert "damaged" not in err
