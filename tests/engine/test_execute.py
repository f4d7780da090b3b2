"""Execution: order, branches side by side, queues for a resource, failures and cancelling."""

import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tiny import graph

from latentgraph.engine import NodeFailed
from latentgraph.engine.check import check
from latentgraph.engine.events import Event
from latentgraph.engine.execute import execute
from latentgraph.engine.problems import Problems
from latentgraph.engine.registry import Registry
from latentgraph.engine.runs import Run
from latentgraph.engine.session import LoadedGraph, load_text


@pytest.fixture
def load(tiny: Registry, tmp_path: Any) -> Any:
    def load(nodes: str, outputs: str, params: str = "") -> LoadedGraph:
        return load_text(graph(nodes, outputs, params), "test", "test.yaml", tmp_path, tiny)

    return load


def run(loaded: LoadedGraph, **options: Any) -> tuple[Run, list[Event]]:
    events: list[Event] = []
    problems = Problems(list(loaded.problems))
    checked = check(loaded.graph, loaded.registry, problems, {})
    problems.raise_errors()
    return execute(checked, emit=events.append, **options), events


def test_values_flow_along_links(load: Any) -> None:
    done, _ = run(
        load(
            "count: {type: Count, inputs: {upto: 4}}\n"
            "total: {type: Total, inputs: {numbers: $count}}\n"
            "last: {type: Add, inputs: {a: $count.3, b: $total}}\n"
            "mixed: {type: Total, inputs: {numbers: [$last, 1, $count.1]}}",
            "total: $total\nlast: $last\nmixed: $mixed\nall: $count",
        )
    )
    assert done.status == "done"
    assert done.outputs == {"total": 6.0, "last": 9.0, "mixed": 11.0, "all": (0, 1, 2, 3)}


def test_an_element_that_a_list_does_not_have(load: Any) -> None:
    nodes = "count: {type: Count}\nadd: {type: Add, inputs: {a: $count.3}}"
    done, _ = run(load(nodes, "sum: $add"))
    assert str(done.failures["add"]) == "`$count.value` has 3 elements, 3 was asked for"
    done, _ = run(load(nodes, "third: $count.3"))
    assert done.status == "failed"
    assert str(done.failures["count"]) == "`$count.value` has 3 elements, 3 was asked for"


def test_an_element_that_a_list_does_not_have_fails_the_switch_that_takes_it(load: Any) -> None:
    nodes = "count: {type: Count}\nchosen: {type: Switch, inputs: {condition: true, then: $count.9, otherwise: 1}}"
    done, _ = run(load(nodes + "\nadd: {type: Add, inputs: {a: $chosen}}", "sum: $add"))
    assert str(done.failures["chosen"]) == "`$count.value` has 3 elements, 9 was asked for"
    assert done.nodes == {"count": "computed", "chosen": "failed", "add": "skipped"}


def test_only_what_the_outputs_need_runs(load: Any) -> None:
    done, _ = run(load("a: {type: Number}\nb: {type: Fail}", "a: $a"))
    assert done.nodes == {"a": "computed"}


def test_without_choice_nodes_run_in_the_order_of_the_file(load: Any) -> None:
    nodes = "\n".join(f"{name}: {{type: Number, inputs: {{value: {ord(name)}}}}}" for name in "dbca")
    _, events = run(load(nodes, "\n".join(f"{name}: ${name}" for name in "abcd")), jobs=1)
    assert [event["node"] for event in events if event["event"] == "node_started"] == list("dbca")


def test_a_node_starts_when_its_inputs_are_there(load: Any) -> None:
    _, events = run(
        load("c: {type: Add, inputs: {a: $b, b: 1}}\nb: {type: Add, inputs: {a: $a, b: 1}}\na: {type: Number}", "c: $c")
    )
    happened = [(event["event"], event["node"]) for event in events if event["event"].startswith("node_")]
    assert happened == [(event, node) for node in "abc" for event in ("node_started", "node_finished")]


def test_independent_branches_run_side_by_side(load: Any) -> None:
    done, _ = run(load("a: {type: Meet}\nb: {type: Meet, inputs: {who: b}}", "a: $a\nb: $b"), jobs=2)
    assert done.status == "done", done.failures


def test_no_more_nodes_are_started_than_there_are_jobs(load: Any) -> None:
    nodes = "\n".join(f"n{index}: {{type: Steps, inputs: {{seconds: 0.00{index + 3}}}}}" for index in range(5))
    _, events = run(load(nodes, "\n".join(f"o{index}: $n{index}" for index in range(5))), jobs=2)
    running = most = 0
    for event in events:
        running += {"node_started": 1, "node_finished": -1}.get(event["event"], 0)
        most = max(most, running)
    assert most == 2


def test_nodes_of_one_resource_never_overlap(load: Any, tiny_module: ModuleType) -> None:
    tiny_module.TRACE.clear()
    nodes = "\n".join(f"w{index}: {{type: Wait, inputs: {{name: w{index}, seconds: 0.02}}}}" for index in range(4))
    done, _ = run(load(nodes, "\n".join(f"o{index}: $w{index}" for index in range(4))), jobs=4)
    assert done.status == "done"
    trace = sorted(tiny_module.TRACE, key=lambda entry: entry[2])
    assert [kind for kind, _, _ in trace] == ["start", "end"] * 4
    assert [name for _, name, _ in trace[::2]] == ["w0", "w1", "w2", "w3"]


def test_a_queue_for_a_resource_holds_up_nobody_else(load: Any) -> None:
    _, events = run(
        load(
            "w1: {type: Wait, inputs: {seconds: 0.2}}\nw2: {type: Wait, inputs: {seconds: 0.21}}\n"
            "quick: {type: Number}",
            "a: $w1\nb: $w2\nc: $quick",
        ),
        jobs=2,
    )
    finished = [event["node"] for event in events if event["event"] == "node_finished"]
    assert finished == ["quick", "w1", "w2"]


def test_a_failure_fails_what_depends_on_it_and_nothing_else(load: Any) -> None:
    done, events = run(
        load(
            "bad: {type: Fail}\nafter: {type: Frame, inputs: {picture: $bad}}\n"
            "later: {type: Frame, inputs: {picture: $after}}\n"
            "good: {type: Steps, inputs: {steps: 3, seconds: 0.01}}\nfine: {type: Add, inputs: {a: $good}}",
            "later: $later\nfine: $fine",
        )
    )
    assert done.status == "failed"
    assert done.nodes == {
        "bad": "failed", "after": "skipped", "later": "skipped", "good": "computed", "fine": "computed",
    }  # fmt: skip
    assert done.outputs == {"fine": 3.0}
    (failed,) = [event for event in events if event.get("status") == "failed"]
    assert failed["error"] == "the paint is dry"


def test_cancelling_takes_effect_within_a_step(load: Any, tiny_module: ModuleType) -> None:
    cancelled = threading.Event()
    tiny_module.SEEN.clear()

    def cancel() -> None:
        tiny_module.SEEN.wait(10)
        cancelled.set()

    thread = threading.Thread(target=cancel)
    thread.start()
    started = time.monotonic()
    done, events = run(
        load(
            "slow: {type: Steps, inputs: {steps: 1000, seconds: 0.02}}\nafter: {type: Add, inputs: {a: $slow}}",
            "x: $after",
        ),
        cancelled=cancelled,
    )
    thread.join()
    assert time.monotonic() - started < 10
    assert done.status == "cancelled"
    assert done.nodes == {"slow": "skipped", "after": "skipped"}
    assert len([event for event in events if event["event"] == "progress"]) < 10


def test_a_listener_that_fails_ends_the_run(load: Any) -> None:
    loaded = load("slow: {type: Steps, inputs: {steps: 1000, seconds: 0.02}}", "x: $slow")

    def listen(event: Event) -> None:
        if event["event"] == "progress":
            raise BrokenPipeError

    checked = check(loaded.graph, loaded.registry, Problems(), {})
    started = time.monotonic()
    with pytest.raises(BrokenPipeError):
        execute(checked, emit=listen)
    assert time.monotonic() - started < 10


def test_events_come_from_the_calling_thread(load: Any) -> None:
    threads = set()
    loaded = load("a: {type: Steps}\nb: {type: Steps}", "a: $a\nb: $b")
    execute(check(loaded.graph, loaded.registry, Problems(), {}), emit=lambda _: threads.add(threading.get_ident()))
    assert threads == {threading.get_ident()}


def test_scratch_folders_are_of_one_nodes_own_and_removed(load: Any) -> None:
    done, _ = run(
        load("a: {type: Scratch, inputs: {text: x}}\nc: {type: Scratch}", "a: $a\nc: $c"),
    )
    assert done.outputs["a"] != done.outputs["c"]
    assert not any(Path(folder).exists() for folder in done.outputs.values())


def test_run_gives_the_values_of_outputs(load: Any) -> None:
    loaded = load("a: {type: Number, inputs: {value: $params.n}}", "a: $a", "n: {type: int, default: 3}")
    assert loaded.run().outputs == {"a": 3}
    assert loaded.run(n=4).outputs == {"a": 4}


def test_run_raises_what_failed(load: Any) -> None:
    with pytest.raises(NodeFailed, match="the node `a` failed: the paint is dry") as failed:
        load("a: {type: Fail}", "a: $a").run()
    assert failed.value.node == "a"
    assert isinstance(failed.value.__cause__, ValueError)


def test_a_guard_sees_each_node_with_all_its_inputs_and_may_refuse_it(load: Any) -> None:
    seen = []

    def guard(node: Any) -> None:
        seen.append((type(node).__name__, dict(node)))
        if type(node).__name__ == "Add" and node.b > 5:
            raise ValueError("too much")

    loaded = load("one: {type: Number, inputs: {value: 7}}\nsum: {type: Add, inputs: {a: 1, b: $one}}", "sum: $sum")
    done, _ = run(loaded, guard=guard)
    assert seen == [("Number", {"value": 7}), ("Add", {"a": 1, "b": 7})]
    assert done.nodes == {"one": "computed", "sum": "failed"}
    assert str(done.failures["sum"]) == "too much"
