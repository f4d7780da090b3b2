"""What is reused and what is not: each row of the rules of keys, both ways."""

import os
import sqlite3
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tiny import graph

from latentgraph.engine import Context, Node
from latentgraph.engine.execute import execute
from latentgraph.engine.plan import plan
from latentgraph.engine.registry import Registry, types_at
from latentgraph.engine.runs import Run
from latentgraph.engine.session import load_text
from latentgraph.engine.store import Store, open_store

REUSE_NODES = Path(__file__).with_name("reuse_nodes.py")


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(types_at(REUSE_NODES))


@pytest.fixture
def module(registry: Registry) -> ModuleType:
    say = registry.get("Say")
    assert say is not None
    module = sys.modules[say.__module__]
    module.COMPUTED.clear()
    return module


@pytest.fixture(params=["in memory", "on disk", "on disk, another process"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Gives the store for the next run: for another process, one that has nothing in memory."""
    folder = tmp_path / "store"
    opened: list[Store] = [open_store(None if request.param == "in memory" else folder)]

    def next_store() -> Store:
        if request.param.endswith("process"):
            opened[-1].close()
            opened.append(open_store(folder))
        return opened[-1]

    yield next_store
    opened[-1].close()


class Runner:
    """Runs graphs with one store, and says what became of their nodes; each run is planned first."""

    def __init__(self, registry: Registry, store: Any, folder: Path) -> None:
        self.registry, self.store, self.folder = registry, store, folder

    def __call__(self, nodes: str, outputs: str = "", params: str = "", name: str = "test", **given: Any) -> Run:
        outputs = outputs or f"last: ${nodes.strip().splitlines()[-1].partition(':')[0]}"
        text = graph(nodes, outputs, params)
        checked = load_text(text, name, f"{name}.yaml", self.folder, self.registry).check(**given)
        store = self.store()
        planned = plan(checked, store)
        self.why = {found.node: found.why for found in planned.nodes}
        run = execute(checked, store=store)
        for found in planned.nodes:
            wanted = {"run": ["computed", "failed"], "reuse": ["reused"], "skip": ["skipped"]}
            became = run.nodes.get(found.node)
            assert became in wanted.get(found.action, ["computed", "reused", "skipped"]) or run.failures, found
        return run


@pytest.fixture
def run(registry: Registry, module: ModuleType, store: Any, tmp_path: Path) -> Runner:
    return Runner(registry, store, tmp_path)


CHAIN = (
    "said: {type: Say, inputs: {text: $params.text}}\n"
    "upper: {type: Upper, inputs: {text: $said}}\n"
    "long: {type: Length, inputs: {text: $upper}}"
)
TEXT = "text: {type: str, default: hello}"


def test_an_unchanged_graph_computes_nothing(run: Runner) -> None:
    first = run(CHAIN, params=TEXT)
    again = run(CHAIN, params=TEXT)
    assert first.named("computed") == ["said", "upper", "long"]
    assert again.named("reused") == ["said", "upper", "long"]
    assert first.outputs == again.outputs == {"last": 5}


def test_a_change_runs_what_depends_on_it_and_nothing_else(run: Runner) -> None:
    nodes = (
        CHAIN
        + "\nother: {type: Say, inputs: {text: other}}\njoined: {type: Join, inputs: {first: $upper, second: $other}}"
    )
    run(nodes, params=TEXT)
    changed = run(nodes, params=TEXT, text="goodbye")
    assert changed.named("reused") == ["other"]
    assert run.why["said"] == 'text was "hello", is "goodbye"'
    assert run.why["upper"] == "it runs unless said gives what it gave before"


def test_a_node_that_gives_what_it_gave_before_stops_the_recomputation(run: Runner) -> None:
    run(CHAIN, params=TEXT)
    changed = run(CHAIN, params=TEXT, text="HELLO")
    assert changed.nodes == {"said": "computed", "upper": "computed", "long": "reused"}


def test_going_back_reuses_the_older_result(run: Runner) -> None:
    run(CHAIN, params=TEXT)
    run(CHAIN, params=TEXT, text="goodbye")
    assert run(CHAIN, params=TEXT).named("computed") == []


@pytest.mark.parametrize(
    "again",
    [
        "renamed: {type: Say, inputs: {text: hello}}",
        "# a comment\nsaid:\n  inputs: {text: 'hello'}\n  type: Say",
        "said: {type: Say, inputs: {text: hello, times: 1}}",
        "said: {type: Say, inputs: {times: 1, text: hello}}",
    ],
    ids=["another name", "another layout", "a default written out", "another order"],
)
def test_names_layout_and_defaults_do_not_matter(run: Runner, again: str) -> None:
    run("said: {type: Say, inputs: {text: hello}}")
    name = "renamed" if "renamed" in again else "said"
    assert run(again, f"last: ${name}").named("computed") == []


def test_another_graph_with_the_same_node_reuses_its_result(run: Runner, tmp_path: Path) -> None:
    run("said: {type: Say, inputs: {text: hello}}", name="one")
    assert run("a: {type: Say, inputs: {text: hello}}", name="two").named("computed") == []


def test_a_constant_and_a_link_that_brings_the_same_are_the_same(run: Runner) -> None:
    run("a: {type: Scale, inputs: {number: 6.0}}\nb: {type: Scale, inputs: {number: 6.0, by: 2.0}}", "a: $a\nb: $b")
    linked = run("a: {type: Scale, inputs: {number: 6.0}}\nb: {type: Scale, inputs: {number: $a, by: 2.0}}")
    assert linked.named("computed") == []


def test_an_int_for_a_float_is_that_float(run: Runner) -> None:
    run("a: {type: Scale, inputs: {number: 5.0}}")
    assert run("a: {type: Scale, inputs: {number: 5}}").named("computed") == []
    linked = "said: {type: Say, inputs: {text: hello}}\nlong: {type: Length, inputs: {text: $said}}\n"
    last = run(linked + "a: {type: Scale, inputs: {number: $long}}")
    assert (last.nodes["a"], last.outputs["last"]) == ("reused", 5.0)


def test_minus_zero_is_not_zero(run: Runner) -> None:
    run("a: {type: Scale, inputs: {number: 0.0}}")
    assert run("a: {type: Scale, inputs: {number: -0.0}}").named("computed") == ["a"]


def test_a_file_counts_by_its_content_not_by_its_place(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    run("read: {type: Read, inputs: {file: a.txt}}")
    (tmp_path / "a.txt").rename(tmp_path / "b.txt")
    assert run("read: {type: Read, inputs: {file: b.txt}}").named("computed") == []
    (tmp_path / "b.txt").write_text("two")
    assert run("read: {type: Read, inputs: {file: b.txt}}").named("computed") == ["read"]
    (tmp_path / "b.txt").write_text("one")
    assert run("read: {type: Read, inputs: {file: b.txt}}").named("computed") == []


def test_a_file_changed_within_the_clocks_resolution_is_noticed(run: Runner, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("one")
    os.utime(file, ns=(10**18, 10**18))
    assert run("read: {type: Read, inputs: {file: a.txt}}").outputs["last"].text == "one"
    file.write_text("two")
    os.utime(file, ns=(10**18, 10**18))
    assert run("read: {type: Read, inputs: {file: a.txt}}").outputs["last"].text == "two"


def test_environment_variables_that_a_node_asks_for_are_in_its_key(run: Runner, monkeypatch: Any) -> None:
    monkeypatch.setenv("GREETING", "hello")
    nodes = "greeting: {type: Greet, inputs: {whom: you}}"
    assert run(nodes).outputs["last"].text == "hello, you"
    assert run(nodes).named("computed") == []
    monkeypatch.setenv("GREETING", "good morning")
    monkeypatch.setenv("ANOTHER", "does not matter")
    changed = run(nodes)
    assert (changed.outputs["last"].text, run.why["greeting"]) == (
        "good morning, you",
        'GREETING was "hello", is "good morning"',
    )
    monkeypatch.setenv("GREETING", "hello")
    assert run(nodes).named("computed") == []


def test_a_fingerprint_is_in_the_key(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    nodes = f"tree: {{type: Tree, inputs: {{folder: {tmp_path / 'folder'}}}}}"
    assert run(nodes).outputs["last"] == ()
    assert run(nodes).named("computed") == []
    (tmp_path / "folder" / "new").touch()
    assert run(nodes).outputs["last"] == ("new",)
    assert run.why["tree"] == "what it reads changed"


def test_a_volatile_node_runs_each_time_and_its_value_decides_what_follows(run: Runner) -> None:
    nodes = "moody: {type: Moody}\nlong: {type: Length, inputs: {text: $moody}}"
    run(nodes)
    again = run(nodes)
    assert again.nodes["moody"] == "computed"
    assert run.why["moody"] == "Moody is volatile"


def test_nodes_that_compute_the_same_compute_it_once(run: Runner, module: ModuleType) -> None:
    nodes = "\n".join(f"n{index}: {{type: Say, inputs: {{text: same}}}}" for index in range(6))
    done = run(nodes, "\n".join(f"o{index}: $n{index}" for index in range(6)))
    assert module.COMPUTED["Say"] == 1
    assert sorted(done.nodes.values()) == ["computed", *["reused"] * 5]


def test_the_version_of_a_node_type_is_in_the_key(run: Runner, module: ModuleType, monkeypatch: Any) -> None:
    run("said: {type: Say, inputs: {text: hello}}")
    monkeypatch.setattr(module.Say, "version", 2)
    assert run("said: {type: Say, inputs: {text: hello}}").named("computed") == ["said"]
    assert run.why["said"] == "the version of Say was 1, is 2"


def test_again_names_the_first_node_whose_result_differs(
    registry: Registry, module: ModuleType, tmp_path: Path
) -> None:
    text = graph(
        "unsure: {type: Unsure}\nsaid: {type: Say, inputs: {text: hello}}\n"
        "joined: {type: Join, inputs: {first: $said, second: $unsure}}",
        "last: $joined",
    )
    checked = load_text(text, "test", "test.yaml", tmp_path, registry).check()
    store = open_store(None)
    execute(checked, store=store)
    again = execute(checked, store=store, again=True)
    assert again.nodes["said"] == "computed"
    assert again.nodes["unsure"] == "failed"
    assert "not deterministic" in str(again.failures["unsure"])


def forget_values(store: Path) -> None:
    """What eviction does in time: results stay, values go."""
    with sqlite3.connect(store / "index.sqlite") as index:
        index.execute("DELETE FROM contents")


def test_a_value_that_is_gone_is_made_again_only_where_its_bytes_are_needed(
    registry: Registry, module: ModuleType, tmp_path: Path
) -> None:
    folder = tmp_path / "store"
    checked = load_text(graph(CHAIN, "last: $long", TEXT), "test", "test.yaml", tmp_path, registry).check()
    store = open_store(folder, memory_bytes=0)
    execute(checked, store=store)
    forget_values(folder)
    module.COMPUTED.clear()
    assert execute(checked, store=store).named("computed") == []
    more = graph(CHAIN + "\njoined: {type: Join, inputs: {first: $upper, second: $upper}}", "last: $joined", TEXT)
    checked = load_text(more, "test", "test.yaml", tmp_path, registry).check()
    planned = {found.node: (found.action, found.why) for found in plan(checked, store).nodes}
    assert planned == {
        "said": ("run", "its value is no longer in the store"),
        "upper": ("run", "its value is no longer in the store"),
        "joined": ("run", "no result yet"),
    }
    done = execute(checked, store=store)
    assert done.outputs["last"].text == "HELLOHELLO"
    assert module.COMPUTED == {"Say": 1, "Upper": 1, "Join": 1}


def test_a_value_that_cannot_be_made_again_alike_is_reported_never_mixed_in(
    registry: Registry, module: ModuleType, tmp_path: Path
) -> None:
    checked = load_text(
        graph("unsure: {type: Unsure}\nlong: {type: Length, inputs: {text: $unsure}}", "last: $long"),
        "test", "test.yaml", tmp_path, registry,
    ).check()  # fmt: skip
    store = open_store(tmp_path / "store", memory_bytes=0)
    execute(checked, store=store)
    forget_values(tmp_path / "store")
    checked = load_text(
        graph("unsure: {type: Unsure}\nupper: {type: Upper, inputs: {text: $unsure}}", "last: $upper"),
        "test", "test.yaml", tmp_path, registry,
    ).check()  # fmt: skip
    done = execute(checked, store=store)
    assert done.nodes == {"unsure": "failed", "upper": "skipped"}
    assert "not deterministic" in str(done.failures["unsure"])


SAY_EACH = "said: {type: Say, foreach: {text: $params.texts}}\nupper: {type: Upper, foreach: {text: $said}}"


def test_an_element_that_is_inserted_is_the_only_one_that_is_computed(run: Runner) -> None:
    params = "texts: {type: [str], default: [one, three]}"
    run(SAY_EACH, params=params)
    more = run(SAY_EACH, params=params, texts=["one", "two", "three"])
    assert [value.text for value in more.outputs["last"]] == ["ONE", "TWO", "THREE"]
    assert more.named("computed") == ["said/1", "upper/1"]
    assert run(SAY_EACH, params=params, texts=["three"]).named("computed") == []


def test_one_element_that_fails_does_not_lose_the_others(run: Runner) -> None:
    nodes = "read: {type: Half, foreach: {number: [2.0, 0.0, 4.0]}}\nsum: {type: Scale, foreach: {number: $read}}"
    failed = run(nodes, "last: $read\nsum: $sum")
    assert failed.nodes == {"read/0": "computed", "read/1": "failed", "read/2": "computed", "sum": "skipped"}
    assert failed.outputs == {}
    again = run(nodes.replace("0.0", "8.0"), "last: $read")
    assert again.nodes == {"read/0": "reused", "read/1": "computed", "read/2": "reused"}
    assert again.outputs == {"last": (1.0, 4.0, 2.0)}


def test_a_node_inside_a_graph_file_is_the_same_as_outside(run: Runner, tmp_path: Path) -> None:
    run("said: {type: Say, inputs: {text: hello, times: 2}}")
    (tmp_path / "one.yaml").write_text(
        graph("inner: {type: Say, inputs: {text: $params.words, times: 2}}", "said: $inner", "words: {type: str}")
    )
    inside = run("used: {type: ./one.yaml, inputs: {words: hello}}", "last: $used")
    assert inside.nodes == {"used/inner": "reused"}


def test_the_branch_that_is_not_taken_is_not_computed(run: Runner) -> None:
    nodes = (
        "one: {type: Say, inputs: {text: one}}\ntwo: {type: Say, inputs: {text: two}}\n"
        "chosen: {type: Switch, inputs: {condition: $params.first, then: $one, otherwise: $two}}\n"
        "upper: {type: Upper, inputs: {text: $chosen}}"
    )
    params = "first: {type: bool, default: true}"
    assert run(nodes, params=params).named("computed") == ["one", "upper"]
    assert run(nodes, params=params, first=False).named("computed") == ["two", "upper"]
    assert run(nodes, params=params).named("computed") == []


EDITED = """
from latentgraph.engine import Context, Node


class Edited(Node):
    def run(self, context: Context) -> int:
        return {number}
"""


def test_code_that_was_edited_while_the_process_runs_is_neither_reused_nor_kept(tmp_path: Path) -> None:
    file = tmp_path / "edited.py"
    file.write_text(EDITED.format(number=1))
    checked = load_text(
        graph("a: {type: Edited}", "a: $a"), "test", "test.yaml", tmp_path, Registry(types_at(file))
    ).check()
    store, said = open_store(None), []
    assert execute(checked, store=store).named("computed") == ["a"]
    assert execute(checked, store=store).named("reused") == ["a"]
    file.write_text(EDITED.format(number=2))
    edited = execute(checked, store=store, emit=lambda event: said.append(event.get("message", "")))
    assert (edited.named("computed"), edited.outputs) == (["a"], {"a": 1})
    assert [message for message in said if message] == [
        f"its result is not kept: {file} was edited while this process runs; restart it to keep results"
    ]
    assert plan(checked, store).nodes[0].action == "run"


def test_code_made_at_run_time_is_reused_in_this_process_only(tmp_path: Path) -> None:
    def made(number: int) -> type[Node]:
        class Made(Node):
            def run(self, context: Context) -> int:
                return number

        return Made

    checked = load_text(graph("a: {type: Made}", "a: $a"), "test", "t.yaml", tmp_path, Registry([made(3)])).check()
    store = open_store(tmp_path / "store")
    assert execute(checked, store=store).outputs == {"a": 3}
    assert execute(checked, store=store).named("reused") == ["a"]
    assert store.info().results == 0
    other = load_text(graph("a: {type: Made}", "a: $a"), "test", "t.yaml", tmp_path, Registry([made(4)])).check()
    assert execute(other, store=store).outputs == {"a": 4}


def test_a_file_that_was_moved_is_taken_from_where_it_is_now(run: Runner, tmp_path: Path) -> None:
    nodes = "named: {{type: Named, inputs: {{path: {}}}}}\nread: {{type: Read, inputs: {{file: $named}}}}"
    said: list[str] = []
    (tmp_path / "a.txt").write_text("one")
    run(nodes.format(tmp_path / "a.txt"), "last: $named")
    (tmp_path / "a.txt").rename(tmp_path / "b.txt")
    run(nodes.format(tmp_path / "b.txt"), "last: $named")
    run.store().notice = said.append
    assert run(nodes.format(tmp_path / "b.txt")).outputs["last"].text == "one"
    assert said == []
