"""`latentgraph plan`, `draw` and `store`, and what `run` does with the store."""

import json
import re
from pathlib import Path

import pytest
from tiny import Command, graph

GRAPH = graph(
    "painted: {type: Paint, inputs: {text: $params.text}}\n"
    "framed: {type: Frame, inputs: {picture: $painted}}\n"
    "slow: {type: Steps, inputs: {steps: $params.steps}}",
    "image: $framed\nsteps: $slow",
    'text: {type: str, default: "a dog"}\nsteps: {type: int, default: 3}',
)


@pytest.fixture(autouse=True)
def _graph(tmp_path: Path) -> None:
    (tmp_path / "paint.yaml").write_text(GRAPH)


def rows(text: str) -> list[list[str]]:
    return [re.split(r"  +", line.strip()) for line in text.splitlines()]


def test_a_plan_says_what_runs_and_why(latentgraph: Command) -> None:
    fresh = latentgraph("plan", "paint.yaml")
    assert (fresh.code, rows(fresh.out)[0]) == (0, ["painted", "Paint", "run", "no result yet"])
    assert fresh.err == "3 to run\n"
    latentgraph("run", "paint.yaml")
    assert [row[2] for row in rows(latentgraph("plan", "paint.yaml").out)] == ["reuse"] * 3
    changed = latentgraph("plan", "paint.yaml", "--set", "text=a cat")
    painted, framed, slow = rows(changed.out)
    assert (painted[2], painted[-1]) == ("run", 'text was "a dog", is "a cat"')
    assert (framed[2], framed[-1]) == ("depends", "it runs unless painted gives what it gave before")
    assert slow == ["slow", "Steps", "reuse"]
    assert changed.err.startswith("1 to run, 1 undecided, 1 reused, about ")


def test_a_plan_runs_nothing_and_keeps_nothing(latentgraph: Command) -> None:
    latentgraph("plan", "paint.yaml")
    assert json.loads(latentgraph("store", "info", "--json", nodes=False).out)["results"] == 0


def test_a_plan_as_json(latentgraph: Command) -> None:
    latentgraph("run", "paint.yaml")
    planned = json.loads(latentgraph("plan", "paint.yaml", "--set", "steps=4", "--json", "--target", "slow").out)
    assert [(each["node"], each["action"], each["why"]) for each in planned] == [("slow", "run", "steps was 3, is 4")]
    assert planned[0]["seconds"] > 0


def test_a_plan_of_a_wrong_graph(latentgraph: Command) -> None:
    answer = latentgraph("plan", "paint.yaml", "--set", "steps=many")
    assert (answer.code, answer.out) == (2, "")
    assert "wrong-type" in answer.err


@pytest.mark.parametrize(("name", "begins"), [("a.svg", b"<svg"), ("a.png", b"\x89PNG")])
def test_a_graph_is_drawn(latentgraph: Command, tmp_path: Path, name: str, begins: bytes) -> None:
    latentgraph("run", "paint.yaml")
    answer = latentgraph("draw", "paint.yaml", "-o", name, "--set", "text=a cat")
    assert (answer.code, answer.out) == (0, f"{name}\n")
    assert begins in (tmp_path / name).read_bytes()[:200]
    if name == "a.svg":
        drawn = (tmp_path / name).read_text()
        assert all(word in drawn for word in ("painted", "Frame", "a cat", "reuse", "depends"))


def test_a_drawing_has_to_be_svg_or_png(latentgraph: Command) -> None:
    answer = latentgraph("draw", "paint.yaml", "-o", "a.jpg")
    assert (answer.code, answer.err) == (
        2, "error: `-o a.jpg`: a graph is drawn as .svg or .png (say which by the file's name)\n",
    )  # fmt: skip


def test_another_process_reuses_what_a_run_kept_and_writes_the_same_file(latentgraph: Command) -> None:
    first = latentgraph("run", "paint.yaml")
    again = latentgraph("run", "paint.yaml")
    assert first.out == again.out
    assert again.err.splitlines()[0] == "reused: painted, framed, slow"
    assert again.err.splitlines()[-1].endswith(": 3 reused")


def test_without_a_store_everything_is_computed(latentgraph: Command) -> None:
    latentgraph("run", "paint.yaml")
    assert latentgraph("run", "paint.yaml", "--no-store").err.endswith(": 3 computed\n")


def test_a_store_of_ones_own(latentgraph: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    latentgraph("run", "paint.yaml", "--store", "here")
    assert (tmp_path / "here" / "index.sqlite").exists()
    assert latentgraph("run", "paint.yaml").err.endswith(": 3 computed\n")
    monkeypatch.setenv("LATENTGRAPH_STORE", str(tmp_path / "here"))
    assert latentgraph("run", "paint.yaml").err.endswith(": 3 reused\n")


def test_why_tells_where_a_result_and_a_file_come_from(latentgraph: Command, tmp_path: Path) -> None:
    picture = latentgraph("run", "paint.yaml").out.splitlines()[0].removeprefix("image: ")
    node = latentgraph("store", "why", "paint.yaml", "framed", nodes=False).out
    assert re.search(r"Frame, version 1, code [0-9a-f]{16}", node)
    assert re.search(r"picture +Picture [0-9a-f]{8} +from painted", node)
    (tmp_path / picture).rename(tmp_path / "renamed.txt")
    file = latentgraph("store", "why", "renamed.txt", nodes=False).out
    assert "renamed.txt is the output `image` of the run" in file
    assert "Frame, version 1" in file


def test_why_of_what_is_not_known(latentgraph: Command, tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("other")
    assert "the store does not know other.txt" in latentgraph("store", "why", "other.txt", nodes=False).err
    latentgraph("run", "paint.yaml")
    answer = latentgraph("store", "why", "paint.yaml", "frmed", nodes=False)
    assert answer.code == 2
    assert "did you mean `framed`?" in answer.err


def test_the_store_is_listed_checked_pruned_and_cleared(latentgraph: Command) -> None:
    latentgraph("run", "paint.yaml")
    listed = latentgraph("store", "list", nodes=False).out
    assert {"Paint", "Frame", "Steps"} <= {row[1] for row in rows(listed)[1:]}
    assert len(latentgraph("store", "list", "--json", nodes=False).out.splitlines()) == len(rows(listed)) - 1
    assert latentgraph("store", "verify", nodes=False).out == "everything is whole\n"
    assert latentgraph("store", "prune", "--to", "1GB", nodes=False).code == 0
    assert latentgraph("store", "clear", nodes=False).code == 0
    assert json.loads(latentgraph("store", "info", "--json", nodes=False).out)["results"] == 0
    assert latentgraph("store", "prune", "--to", "much", nodes=False).code == 2


def test_check_names_the_first_node_that_gives_something_else(latentgraph: Command, tmp_path: Path) -> None:
    (tmp_path / "unsure.yaml").write_text(graph("a: {type: Unsure}\nb: {type: Number}", "a: $a\nb: $b"))
    latentgraph("run", "unsure.yaml")
    answer = latentgraph("run", "unsure.yaml", "--check")
    assert answer.code == 1
    assert "unsure.yaml:3:3: the node `a` failed: its output `value` differs" in answer.err
    assert latentgraph("run", "paint.yaml", "--check").code == 0


def test_strict_finds_nodes_that_use_global_random_generators(latentgraph: Command, tmp_path: Path) -> None:
    (tmp_path / "random.yaml").write_text(graph("a: {type: Unsure}", "a: $a"))
    assert latentgraph("run", "random.yaml", "--no-store").code == 0
    answer = latentgraph("run", "random.yaml", "--strict", "--no-store")
    assert (answer.code, "draws from a global random generator" in answer.err) == (1, True)


def test_a_profile_lists_the_slowest_node_first(latentgraph: Command, tmp_path: Path) -> None:
    (tmp_path / "slow.yaml").write_text(
        graph("a: {type: Number}\nb: {type: Steps, inputs: {seconds: 0.01}}", "a: $a\nb: $b")
    )
    lines = latentgraph("run", "slow.yaml", "--profile").err.splitlines()
    heading = next(index for index, line in enumerate(lines) if line.startswith("node"))
    assert [line.split()[0] for line in lines[heading + 1 : heading + 3]] == ["b", "a"]
    assert re.search(r" [MG]B", lines[heading + 1])


def test_a_failure_tells_the_nodes_inputs_and_its_own_code_only(latentgraph: Command, tmp_path: Path) -> None:
    (tmp_path / "fail.yaml").write_text(graph("a: {type: Fail, inputs: {how: mistake}}", "a: $a"))
    answer = latentgraph("run", "fail.yaml")
    assert answer.code == 1
    assert "the node `a` failed: KeyError: 'paint', in tiny_nodes.py:" in answer.err
    assert "its inputs: how: 'mistake'" in answer.err
    assert "tiny_nodes.py" in answer.err
    assert "execute.py" not in answer.err
    assert "compute.py" not in answer.err


def test_a_random_param_is_drawn_shown_and_recorded(latentgraph: Command, tmp_path: Path) -> None:
    (tmp_path / "random.yaml").write_text(
        graph("a: {type: Number, inputs: {value: $params.seed}}", "a: $a", "seed: {type: int, default: random}")
    )
    first, second = (latentgraph("run", "random.yaml", "--json").events for _ in range(2))
    assert first[0]["random"]["seed"] == first[-1]["outputs"]["a"] != second[-1]["outputs"]["a"]
    line = latentgraph("run", "random.yaml").err.splitlines()[0]
    assert re.fullmatch(r"seed: \d+ \(random\)", line)


def test_a_file_of_params_can_ask_for_a_random_one(latentgraph: Command, tmp_path: Path) -> None:
    (tmp_path / "random.yaml").write_text(
        graph("a: {type: Number, inputs: {value: $params.seed}}", "a: $a", "seed: {type: int, default: 1, max: 9}")
    )
    (tmp_path / "params.yaml").write_text("seed: random\n")
    events = latentgraph("run", "random.yaml", "--params", "params.yaml", "--json").events
    assert events[0]["random"]["seed"] == events[-1]["outputs"]["a"] <= 9
