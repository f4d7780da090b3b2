"""Execution: timeouts, tries, going on after a stop, and several runs that need the same."""

import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tiny import graph

from latentgraph.engine.events import Event
from latentgraph.engine.execute import execute
from latentgraph.engine.registry import Registry
from latentgraph.engine.runs import Run
from latentgraph.engine.session import load_text
from latentgraph.engine.store import Store, open_store


@pytest.fixture
def run(tiny: Registry, tmp_path: Path) -> Any:
    def run(nodes: str, outputs: str, store: Store | None = None, **options: Any) -> tuple[Run, list[Event]]:
        events: list[Event] = []
        checked = load_text(graph(nodes, outputs), "test", "test.yaml", tmp_path, tiny).check()
        return execute(checked, store=store, emit=events.append, **options), events

    return run


def test_a_node_that_takes_longer_than_its_timeout_fails(run: Any) -> None:
    started = time.monotonic()
    done, _ = run(
        "slow: {type: Steps, timeout: 0.1, inputs: {steps: 1000, seconds: 0.02}}\nfine: {type: Number}",
        "a: $slow\nb: $fine",
    )
    assert time.monotonic() - started < 5
    assert (done.nodes, done.outputs) == ({"slow": "failed", "fine": "computed"}, {"b": 1})
    assert str(done.failures["slow"]) == "it took longer than its timeout of 0.1 s"


def test_nobody_waits_for_a_node_that_does_not_hear_of_its_timeout(run: Any) -> None:
    started = time.monotonic()
    done, _ = run(
        "deaf: {type: Stubborn, timeout: 0.1, inputs: {seconds: 20}}\nafter: {type: Add, inputs: {a: $deaf}}",
        "a: $after",
    )
    assert time.monotonic() - started < 5
    assert done.nodes == {"deaf": "failed", "after": "skipped"}


def test_a_node_within_its_timeout_is_fine(run: Any) -> None:
    assert run("quick: {type: Steps, timeout: 30}", "a: $quick")[0].status == "done"


def test_a_node_is_tried_again_as_often_as_it_says(run: Any, tiny_module: ModuleType) -> None:
    tiny_module.Flaky.tries.clear()
    done, events = run("flaky: {type: Flaky, retry: 3, inputs: {needs: 3}}", "a: $flaky")
    assert done.status == "done"
    assert [event["message"] for event in events if event["event"] == "log"] == [
        "failed (not yet, 1), trying again: 1 of 3",
        "failed (not yet, 2), trying again: 2 of 3",
    ]
    tiny_module.Flaky.tries.clear()
    done, _ = run("flaky: {type: Flaky, retry: 1, inputs: {needs: 3}}", "a: $flaky")
    assert str(done.failures["flaky"]) == "not yet, 2"
    assert len(tiny_module.Flaky.tries) == 2


def test_a_stopped_node_goes_on_where_it_stood(run: Any, tiny_module: ModuleType, tmp_path: Path) -> None:
    store, cancelled = open_store(tmp_path / "store"), threading.Event()
    tiny_module.SEEN.clear()
    tiny_module.Resumes.counted.clear()
    threading.Thread(target=lambda: (tiny_module.SEEN.wait(10), time.sleep(0.1), cancelled.set())).start()
    nodes = "counts: {type: Resumes, inputs: {upto: 60, seconds: 0.02}}"
    stopped, _ = run(nodes, "a: $counts", store, cancelled=cancelled)
    assert stopped.status == "cancelled"
    store.close()
    done, _ = run(nodes, "a: $counts", open_store(tmp_path / "store"))
    assert done.status == "done"
    assert tiny_module.Resumes.counted == list(range(60))


def test_a_longer_run_goes_on_from_a_shorter_one(run: Any, tiny_module: ModuleType) -> None:
    store = open_store(None)
    tiny_module.Resumes.counted.clear()
    run("counts: {type: Resumes, inputs: {upto: 5}}", "a: $counts", store)
    run("counts: {type: Resumes, inputs: {upto: 8}}", "a: $counts", store)
    assert tiny_module.Resumes.counted == list(range(8))


@pytest.mark.parametrize("on_disk", [False, True])
def test_runs_in_several_threads_compute_what_they_share_once(
    run: Any, tiny_module: ModuleType, tmp_path: Path, on_disk: bool
) -> None:
    store = open_store(tmp_path / "store" if on_disk else None)
    tiny_module.Once.computed.clear()
    nodes = "\n".join(f"n{index}: {{type: Once, inputs: {{name: n{index}}}}}" for index in range(6))
    outputs = "\n".join(f"o{index}: $n{index}" for index in range(6))
    found: list[Run] = []
    threads = [threading.Thread(target=lambda: found.append(run(nodes, outputs, store)[0])) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [done.status for done in found] == ["done"] * 5
    assert sorted(tiny_module.Once.computed) == [f"n{index}" for index in range(6)]


def test_waiting_for_another_run_takes_no_jobs_place(run: Any, tiny_module: ModuleType) -> None:
    store = open_store(None)
    key = run("n: {type: Once, inputs: {name: shared, seconds: 0}}", "a: $n", open_store(None))[0].keys["n"]
    claim = store.claim(key)
    assert claim is not None
    finished: list[str] = []

    def listen(event: Event) -> None:
        if event["event"] == "node_finished":
            finished.append(event["node"])
            if len(finished) == 3:
                claim.release()

    nodes = "n: {type: Once, inputs: {name: shared, seconds: 0}}\n" + "\n".join(
        f"m{index}: {{type: Once, inputs: {{name: m{index}, seconds: 0.01}}}}" for index in range(3)
    )
    text = graph(nodes, "a: $n\nb: $m0\nc: $m1\nd: $m2")
    checked = load_text(text, "test", "test.yaml", Path(), _registry(tiny_module)).check()
    assert execute(checked, store=store, emit=listen, jobs=1).status == "done"
    assert finished == ["m0", "m1", "m2", "n"]


def _registry(module: ModuleType) -> Registry:
    return Registry([module.Once])
