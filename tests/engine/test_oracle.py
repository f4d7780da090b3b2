"""The engine against an evaluator that has no cache: random graphs, edited, failing and interrupted between runs."""

import os
import tempfile
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from evaluator import ABSENT, FAILED, SUB_TEXT, Evaluation, Link, Program, Use, text
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from latentgraph.engine.check import check
from latentgraph.engine.events import Event
from latentgraph.engine.execute import execute
from latentgraph.engine.plan import plan
from latentgraph.engine.problems import Problems
from latentgraph.engine.registry import Registry, types_at
from latentgraph.engine.runs import Run
from latentgraph.engine.session import load_text
from latentgraph.engine.store import Store, open_store

SEQUENCES = int(os.environ.get("LATENTGRAPH_ORACLE", "100"))
NUMBERS = st.integers(-3, 9)
ORACLE_NODES = Path(__file__).with_name("oracle_nodes.py")


class Killed(BaseException):
    """Stands for a process that ends in the middle of a run."""


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(types_at(ORACLE_NODES))


@pytest.fixture(scope="module")
def nodes(registry: Registry) -> ModuleType:
    import sys

    const = registry.get("Const")
    assert const is not None
    return sys.modules[const.__module__]


@st.composite
def programs(draw: Any) -> Program:
    """A program of up to ten nodes, each linked to earlier ones."""
    uses: dict[str, Use] = {}
    links: dict[str, list[Link]] = {"int": [], "bool": [], "list": []}

    def number() -> Any:
        return draw(st.sampled_from(links["int"]) | NUMBERS if links["int"] else NUMBERS)

    def truth() -> Any:
        return draw(st.sampled_from(links["bool"]) | st.booleans() if links["bool"] else st.booleans())

    def numbers() -> Any:
        constant = st.lists(NUMBERS, max_size=3).map(tuple)
        mixed = [constant]
        if links["list"]:
            mixed.append(st.sampled_from(links["list"]))
        if links["int"]:
            mixed.append(st.lists(st.sampled_from(links["int"]) | NUMBERS, min_size=1, max_size=3).map(tuple))
        return draw(st.one_of(mixed))

    def each() -> dict[str, Any] | None:
        return {"a": numbers()} if draw(st.integers(0, 3)) == 0 else None

    for index in range(draw(st.integers(2, 10))):
        name = f"n{index}"
        kind = draw(st.sampled_from(["Const", "Plus", "Half", "Fussy", "IsEven", "UpTo", "SumUp", "Switch", "sub"]))
        over, gives = None, "int"
        match kind:
            case "Const":
                inputs: dict[str, Any] = {"value": draw(NUMBERS)}
            case "Plus" | "Fussy":
                over = each()
                other = "b" if kind == "Plus" else "at"
                inputs = {} if over else {"a": number()}
                if draw(st.booleans()):
                    inputs[other] = number()
            case "Half" | "IsEven":
                inputs, gives = {"a": number()}, "bool" if kind == "IsEven" else "int"
            case "UpTo":
                inputs, gives = {"n": number()}, "list"
            case "SumUp":
                inputs = {"numbers": numbers()}
            case "Switch":
                inputs = {"condition": truth(), "then": number(), "otherwise": number()}
            case _:
                kind = "./sub.yaml"
                over = {"x": numbers()} if draw(st.booleans()) else None
                inputs = {} if over else {"x": number()}
                if draw(st.booleans()):
                    inputs["y"] = number()
                if draw(st.booleans()):
                    inputs["flag"] = truth()
        when = truth() if draw(st.integers(0, 3)) == 0 else True
        uses[name] = Use(kind, inputs, when, over)
        outputs = ["total", "tried", "last"] if kind == "./sub.yaml" else [""]
        links["list" if over else gives] += [Link(name, output) for output in outputs]
    everything = [link for kind in links.values() for link in kind]
    chosen = draw(st.lists(st.sampled_from(everything), min_size=1, max_size=4, unique=True))
    return Program(uses, {f"o{index}": link for index, link in enumerate(chosen)})


@st.composite
def edits(draw: Any, program: Program) -> Program:
    """The program with one constant changed, or other outputs, or just as it is."""
    places = [
        (name, part, key)
        for name, use in program.nodes.items()
        for part in ("inputs", "over")
        for key, value in (getattr(use, part) or {}).items()
        if isinstance(value, int) or (isinstance(value, tuple) and all(isinstance(item, int) for item in value))
    ]
    uses = {
        name: Use(use.type, dict(use.inputs), use.when, use.over and dict(use.over))
        for name, use in program.nodes.items()
    }
    if places and draw(st.booleans()):
        name, part, key = draw(st.sampled_from(places))
        values = getattr(uses[name], part)
        old = values[key]
        values[key] = (
            draw(st.booleans()) if isinstance(old, bool)
            else draw(NUMBERS) if isinstance(old, int)
            else draw(st.lists(NUMBERS, max_size=3).map(tuple))
        )  # fmt: skip
    return Program(uses, program.outputs)


def wait_for_workers() -> None:
    for thread in threading.enumerate():
        if thread.name.startswith("latentgraph-"):
            thread.join(10)


@settings(
    max_examples=SEQUENCES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)
@given(data=st.data())
def test_outputs_are_those_of_the_evaluator_and_only_what_is_not_known_is_computed(
    data: Any, registry: Registry, nodes: ModuleType
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "sub.yaml").write_text(SUB_TEXT)
        on_disk = data.draw(st.booleans(), "on disk")
        store = open_store(Path(folder, "store") if on_disk else None)
        known: set[tuple[str, tuple[Any, ...]]] = set()
        program = data.draw(programs(), "program")
        for _ in range(data.draw(st.integers(1, 4), "runs")):
            killed = data.draw(st.none() | st.integers(0, 20), "killed after so many events")
            check_run(program, folder, registry, nodes, store, known, killed, data.draw(st.integers(1, 3), "jobs"))
            if on_disk and data.draw(st.booleans(), "another process"):
                store.close()
                store = open_store(Path(folder, "store"))
            program = data.draw(edits(program), "edited")
        store.close()


def check_run(
    program: Program,
    folder: str,
    registry: Registry,
    nodes: ModuleType,
    store: Store,
    known: set[tuple[str, tuple[Any, ...]]],
    killed: int | None,
    jobs: int,
) -> None:
    loaded = load_text(text(program), "oracle", "oracle.yaml", Path(folder), registry)
    evaluation = Evaluation(program)
    problems = Problems(list(loaded.problems))
    checked = check(loaded.graph, registry, problems, {})
    if problems.any_errors:  # something can never be had, whatever the nodes give
        assert {problem.code for problem in problems.found if problem.severity == "error"} == {"absent-branch"}
        return
    expected = evaluation.outputs()
    nodes.COMPUTED.clear()
    planned = {found.node: found.action for found in plan(checked, store).nodes}
    assert nodes.COMPUTED == []
    events: list[Event] = []

    def listen(event: Event) -> None:
        events.append(event)
        if killed is not None and len(events) > killed:
            raise Killed

    try:
        run = execute(checked, store=store, emit=listen, jobs=jobs)
    except Killed:
        wait_for_workers()
        known.update(nodes.COMPUTED)
        return

    wanted = {name: value for name, value in expected.items() if value not in (ABSENT, FAILED)}
    assert run.outputs == wanted
    # A Switch or a `when` cannot stop a failure on its way to an output, a foreach with a `when` inside can.
    assert (
        run.status == "failed" if FAILED in expected.values() else run.status == ("failed" if run.failures else "done")
    )
    # Every node that was needed ran or was reused; each distinct computation was made once, and only if not known.
    needed = evaluation.needed
    assert {address for address, status in run.nodes.items() if status != "skipped"} == set(needed)
    fails = {address for address, computation in needed.items() if run.nodes[address] == "failed"}
    distinct = {needed[address] for address in needed if address not in fails}
    assert sorted(nodes.COMPUTED, key=repr) == sorted(distinct - known, key=repr)
    check_plan(planned, run, store)
    known.update(distinct)


def check_plan(planned: dict[str, str], run: Run, store: Store) -> None:
    """What was planned is what became of each node; a failure is not foreseen, nor what it skips."""

    def made_in_this_run(address: str) -> bool:
        record = store.lookup(run.keys[address])
        return record is not None and record.run == run.id

    after_a_failure = ["skipped", "failed"] if run.failures else []
    for address, action in planned.items():
        status = run.nodes.get(address)
        if action == "run":
            # What another node happened to compute in the meantime is not computed again.
            reused = status == "reused" and made_in_this_run(address)
            assert reused or status in ("computed", *after_a_failure), (address, status)
        elif action == "reuse":
            assert status in ("reused", *after_a_failure), (address, status)
        elif action == "skip":
            assert status in ("skipped", *after_a_failure), (address, status)
