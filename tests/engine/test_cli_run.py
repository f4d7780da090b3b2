"""`latentgraph run`: params, outputs, events, failures and cancelling."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
from tiny import TINY_NODES, Command, graph

from latentgraph.engine.cli import progress
from latentgraph.engine.digest import digest

PAINT = graph(
    "painted: {type: Paint, inputs: {text: $params.text, size: $params.size}}\n"
    "framed: {type: Frame, inputs: {picture: $painted}}\n"
    "sum: {type: Total, inputs: {numbers: $params.numbers}}",
    "image: $framed\nsum: $sum",
    'text: {type: str, default: "a dog"}\nsize: {type: int, default: 1, min: 1}\n'
    "numbers: {type: [float], default: [1, 2.5]}",
)


@pytest.fixture(autouse=True)
def _graph(tmp_path: Path) -> None:
    (tmp_path / "paint.yaml").write_text(PAINT)


def test_outputs_are_written_and_named_on_standard_output(latentgraph: Command, tmp_path: Path) -> None:
    answer = latentgraph("run", "paint.yaml", "--no-metadata")
    image, total = answer.out.splitlines()
    path = image.removeprefix("image: ")
    assert answer.code == 0
    assert path.startswith("output/paint-image-")
    assert (tmp_path / path).read_text() == "[a dog]"
    assert total == "sum: 3.5"
    assert answer.err.splitlines()[-1].endswith("3 computed")


def test_the_same_result_is_the_same_file(latentgraph: Command, tmp_path: Path) -> None:
    first = latentgraph("run", "paint.yaml").out
    again = latentgraph("run", "paint.yaml").out
    other = latentgraph("run", "paint.yaml", "--set", "text=a cat").out
    assert first == again != other
    assert len(list((tmp_path / "output").iterdir())) == 2


def test_an_input_with_the_content_of_an_output_does_not_change_its_name(latentgraph: Command, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("a dog")
    (tmp_path / "same.yaml").write_text(graph("loaded: {type: Load, inputs: {file: a.md}}", "image: $loaded"))
    first = latentgraph("run", "same.yaml", "--no-metadata").out
    assert first.rstrip().endswith(".txt")
    assert latentgraph("run", "same.yaml", "--no-metadata").out == first


def test_metadata_is_written_unless_unwanted(latentgraph: Command, tmp_path: Path) -> None:
    latentgraph("run", "paint.yaml", "--output", "with")
    latentgraph("run", "paint.yaml", "--output", "without", "--no-metadata")
    (with_,), (without,) = (list((tmp_path / name).iterdir()) for name in ("with", "without"))
    assert "type: Paint" in with_.read_text()
    assert "type: Paint" not in without.read_text()


def test_set_reads_by_the_declared_type(latentgraph: Command) -> None:
    answer = latentgraph("run", "paint.yaml", "--set", "numbers=[1, 2]", "--set", "text=on", "--json")
    assert answer.events[-1]["outputs"]["sum"] == 3.0
    answer = latentgraph("run", "paint.yaml", "--set", "numbers=4,5", "--json")
    assert answer.events[-1]["outputs"]["sum"] == 9.0


def test_the_last_of_several_values_counts(latentgraph: Command) -> None:
    answer = latentgraph("run", "paint.yaml", "--set", "numbers=4", "--set", "numbers=6", "--json")
    assert answer.events[-1]["outputs"]["sum"] == 6.0


@pytest.mark.parametrize("name", ["params.yaml", "params.json"])
def test_params_come_from_a_file_and_set_wins(name: str, latentgraph: Command, tmp_path: Path) -> None:
    (tmp_path / name).write_text(json.dumps({"text": "an emoji \N{GRINNING FACE}", "numbers": [4, 5], "size": 2}))
    if name == "params.yaml":
        (tmp_path / name).write_text('text: "an emoji \N{GRINNING FACE}"\nnumbers: [4, 5]\nsize: 2\n')
    answer = latentgraph("run", "paint.yaml", "--params", name, "--set", "numbers=1", "--json", "--no-metadata")
    outputs = answer.events[-1]["outputs"]
    assert outputs["sum"] == 1.0
    assert Path(outputs["image"]).read_text() == "[an emoji \N{GRINNING FACE}]"


def test_wrong_params_are_refused_all_at_once(latentgraph: Command, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("text: 7\nsize: 0\ntxt: a\n")
    answer = latentgraph("run", "paint.yaml", "--params", "params.yaml", "--set", "numbers=one", "--set", "sum=1")
    assert answer.code == 2
    assert answer.err.splitlines() == [
        "error[wrong-type]: `--set numbers=one`: float is wanted, `one` is text",
        "error[unknown-param]: `--set sum=1`: the graph has no param `sum` (did you mean `numbers`?)"
        if "did you mean `numbers`?" in answer.err
        else "error[unknown-param]: `--set sum=1`: the graph has no param `sum` (its params: text, size, numbers)",
        'params.yaml:1:7: error[wrong-type]: `text`: str is wanted, `7` is a number (quote it: "7")',
        "params.yaml:2:7: error[out-of-range]: `size` is 0, the least is 1",
        "params.yaml:3:1: error[unknown-param]: the graph has no param `txt` (did you mean `text`?)",
        "5 errors, nothing was run",
    ]


def test_a_file_of_params_that_is_broken(latentgraph: Command, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.json").write_text("[1]")
    (tmp_path / "c.yaml").write_text("text: [")
    for name in ("a.json", "b.json", "c.yaml"):
        answer = latentgraph("run", "paint.yaml", "--params", name)
        assert answer.code == 2
        assert name in answer.err


def test_set_without_a_value(latentgraph: Command) -> None:
    answer = latentgraph("run", "paint.yaml", "--set", "text")
    assert (answer.code, answer.err) == (
        2,
        "error: `--set text` gives no value to a name (write --set NAME=VALUE)\n",
    )


def test_paths_in_set_are_relative_to_the_working_folder_in_graphs_to_the_graph(
    latentgraph: Command, tmp_path: Path
) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a.txt").write_text("inner")
    (tmp_path / "a.txt").write_text("outer")
    text = graph(
        "x: {type: Load, inputs: {file: $params.file}}", "x: $x", "file: {type: File, default: a.txt}"
    )  # fmt: skip
    (tmp_path / "inner" / "graph.yaml").write_text(text)
    by_default = latentgraph("run", "inner/graph.yaml", "--no-metadata").out.split(": ")[1].strip()
    by_set = latentgraph("run", "inner/graph.yaml", "--no-metadata", "--set", "file=a.txt").out.split(": ")[1].strip()
    assert (Path(by_default).read_text(), Path(by_set).read_text()) == ("inner", "outer")


def test_events(latentgraph: Command) -> None:
    answer = latentgraph("run", "paint.yaml", "--json", "--jobs", "1")
    events = answer.events
    assert answer.code == 0
    assert answer.err == ""
    assert [event["event"] for event in events] == [
        "run_started",
        *["node_started", "node_finished"] * 3,
        "output",
        "output",
        "run_finished",
    ]
    assert events[0]["nodes"] == ["painted", "framed", "sum"]
    assert events[2]["status"] == "computed"
    assert events[2]["seconds"] >= 0
    assert events[-1] == {
        "event": "run_finished",
        "status": "done",
        "computed": ["painted", "framed", "sum"],
        "reused": [],
        "failed": [],
        "skipped": [],
        "outputs": {"image": events[-3]["value"], "sum": 3.5},
    }
    assert Path(events[-3]["value"]).is_file()


def test_events_of_a_graph_that_is_wrong(latentgraph: Command) -> None:
    answer = latentgraph("run", "paint.yaml", "--json", "--set", "size=0")
    assert answer.code == 2
    assert [event["event"] for event in answer.events] == ["diagnostic", "run_finished"]
    assert answer.events[0]["code"] == "out-of-range"
    assert answer.events[-1]["status"] == "failed"


FAILING = graph(
    "good: {type: Paint, inputs: {text: good}}\n"
    "bad: {type: Fail, inputs: {how: $params.how}}\n"
    "after: {type: Frame, inputs: {picture: $bad}}",
    "good: $good\nafter: $after",
    "how: {type: str, default: purpose}",
)


def test_a_node_that_fails(latentgraph: Command, tmp_path: Path) -> None:
    (tmp_path / "failing.yaml").write_text(FAILING)
    answer = latentgraph("run", "failing.yaml", "--no-metadata")
    assert answer.code == 1
    assert "failing.yaml:6:3: the node `bad` failed: the paint is dry" in answer.err.splitlines()
    assert answer.err.splitlines()[-1].startswith("failed in ")
    assert answer.err.splitlines()[-1].endswith("1 computed, 1 failed, 1 skipped")
    assert "Traceback" not in answer.err
    name, path = answer.out.strip().split(": ")
    assert (name, Path(path).read_text()) == ("good", "good")


def test_a_mistake_in_a_node_says_where_it_is_and_debug_shows_the_way(latentgraph: Command, tmp_path: Path) -> None:
    (tmp_path / "failing.yaml").write_text(FAILING)
    brief = latentgraph("run", "failing.yaml", "--set", "how=mistake")
    assert "the node `bad` failed: KeyError: 'paint', in tiny_nodes.py:" in brief.err
    assert "Traceback" not in brief.err
    long = latentgraph("run", "failing.yaml", "--set", "how=mistake", "--debug")
    assert "Traceback" in long.err
    assert 'raise KeyError("paint")' in long.err


def test_a_node_that_gives_what_it_does_not_declare(latentgraph: Command, tmp_path: Path) -> None:
    (tmp_path / "failing.yaml").write_text(FAILING)
    answer = latentgraph("run", "failing.yaml", "--set", "how=wrong type")
    assert answer.code == 1
    assert "the node `bad` failed: Fail.run gave a wrong `picture`: Picture is wanted, `7` is a number" in answer.err


def test_an_output_that_cannot_be_written_fails_the_run_but_no_other_output(
    latentgraph: Command, tmp_path: Path
) -> None:
    text = graph(
        "a: {type: Paint, inputs: {text: unwritable}}\nb: {type: Paint, inputs: {text: fine}}", "a: $a\nb: $b"
    )  # fmt: skip
    (tmp_path / "two.yaml").write_text(text)
    answer = latentgraph("run", "two.yaml")
    assert answer.code == 1
    assert "the output `a` was not written: this picture cannot be written" in answer.err
    assert answer.out.startswith("b: output/two-b-")


def test_a_folder_that_cannot_be_written_is_found_out_before_the_run(latentgraph: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answer = latentgraph("run", "paint.yaml", "--output", "file/inside")
    assert answer.code == 2
    assert answer.err.splitlines()[-1].endswith("file is a file, not a folder")
    assert "started" not in answer.err


def test_a_disk_that_is_full(latentgraph: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("latentgraph.engine.outputs.write_whole", full)
    answer = latentgraph("run", "paint.yaml")
    assert answer.code == 1
    assert "the output `image` was not written: [Errno 28] No space left on device" in answer.err
    assert answer.out == "sum: 3.5\n"


def test_target_runs_only_what_it_needs(latentgraph: Command) -> None:
    answer = latentgraph("run", "paint.yaml", "--target", "sum", "--json")
    assert answer.events[-1]["computed"] == ["sum"]
    assert answer.events[-1]["outputs"] == {"sum": 3.5}


def test_a_target_that_is_no_node(latentgraph: Command) -> None:
    answer = latentgraph("run", "paint.yaml", "--target", "farmed")
    assert answer.code == 2
    assert "the graph has no node `farmed` (did you mean `framed`?)" in answer.err


STEPS = graph("slow: {type: Steps, inputs: {steps: $params.steps, seconds: 0.02}}", "steps: $slow",
              "steps: {type: int, default: 3}")  # fmt: skip


def test_progress_and_previews(latentgraph: Command, tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "steps.yaml").write_text(STEPS)
    answer = latentgraph("run", "steps.yaml", "--json", "--previews")
    steps = [event for event in answer.events if event["event"] == "progress"]
    assert [(event["step"], event["steps"], event["message"]) for event in steps] == [
        (1, 3, "loss 1.00"),
        (2, 3, "loss 0.50"),
        (3, 3, "loss 0.33"),
    ]
    assert "preview" not in {event["event"] for event in answer.events}
    with Image.open(tmp_path / "output" / "previews" / "slow.png") as picture:
        assert picture.size == (4, 4)
        assert picture.getpixel((0, 0)) == (170, 170, 170)


def test_without_previews_none_are_written(latentgraph: Command, tmp_path: Path) -> None:
    (tmp_path / "steps.yaml").write_text(STEPS)
    assert latentgraph("run", "steps.yaml").code == 0
    assert not (tmp_path / "output").exists()


def test_plain_progress_has_a_line_now_and_then() -> None:
    now = 0.0
    out = io.StringIO()
    lines = progress.Lines(out, clock=lambda: now)
    lines.take({"event": "node_started", "node": "slow", "type": "Steps"})
    for step in range(1, 1001):
        now += 0.125
        lines.take({"event": "progress", "node": "slow", "step": step, "steps": 1000, "message": "loss 0.5"})
    lines.take({"event": "node_finished", "node": "slow", "status": "computed", "seconds": now})
    said = out.getvalue().splitlines()
    assert said[0] == "slow: started (Steps)"
    assert said[1] == "slow: step 100 of 1000, 1 min 52 s left, loss 0.5"
    assert len(said) == 12
    assert said[-1] == "slow: computed in 2 min 5 s"


def test_plain_progress_of_a_long_node_has_a_line_a_minute() -> None:
    now = 0.0
    out = io.StringIO()
    lines = progress.Lines(out, clock=lambda: now)
    lines.take({"event": "node_started", "node": "slow", "type": "Steps"})
    for step in range(1, 601):
        now += 1
        lines.take({"event": "progress", "node": "slow", "step": step, "steps": 100_000})
    assert len(out.getvalue().splitlines()) == 1 + 10


def test_live_progress_shows_steps_and_what_finished() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    live = progress.Live(out)
    live.take({"event": "node_started", "node": "slow[bold]", "type": "Steps"})
    live.take({"event": "progress", "node": "slow[bold]", "step": 1, "steps": 4, "message": "loss [0.5]"})
    live.bars.refresh()
    live.take({"event": "node_finished", "node": "slow[bold]", "status": "computed", "seconds": 2.0})
    live.take({"event": "node_finished", "node": "never", "status": "skipped"})
    live.close()
    for text in ("slow[bold]", "1/4", "loss [0.5]", "✓ slow[bold]  computed in 2.0 s", "- never  skipped"):
        assert text in out.getvalue()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_cancelling(number: signal.Signals, tmp_path: Path, tiny_module: ModuleType, latentgraph: Command) -> None:
    """In this process: the signal arrives while a node makes its steps."""
    import threading

    (tmp_path / "steps.yaml").write_text(STEPS)
    tiny_module.SEEN.clear()
    before = signal.getsignal(signal.SIGINT)

    def interrupt() -> None:
        tiny_module.SEEN.wait(10)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=interrupt)
    thread.start()
    started = time.monotonic()
    answer = latentgraph("run", "steps.yaml", "--set", "steps=1000", "--json")
    thread.join()
    assert answer.code == 130
    assert time.monotonic() - started < 5
    assert answer.events[-1]["status"] == "cancelled"
    assert answer.events[-1]["skipped"] == ["slow"]
    assert "cancelling" in answer.err
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_interrupt_ends_at_once(tmp_path: Path) -> None:
    text = graph("slow: {type: Wait, inputs: {seconds: 60}}", "out: $slow")
    (tmp_path / "wait.yaml").write_text(text)
    command = [sys.executable, "-m", "latentgraph.engine.cli", "run", "wait.yaml", "--nodes", str(TINY_NODES)]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("slow: started")
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline().startswith("cancelling")
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130


def test_a_reader_of_events_that_goes_away_cancels_the_run(tmp_path: Path) -> None:
    (tmp_path / "steps.yaml").write_text(STEPS)
    run = f"'{sys.executable}' -m latentgraph.engine.cli run steps.yaml --json --nodes '{TINY_NODES}'"
    command = f"set -o pipefail; {run} --set steps=3000 | head -n 3 > /dev/null; echo $?"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.stdout, done.stderr) == ("130\n", "")


def test_names_of_files_hold_the_digest(latentgraph: Command, tiny_module: ModuleType) -> None:
    answer = latentgraph("run", "paint.yaml", "--json")
    eight = digest(tiny_module.Picture("[a dog]"))[:8]
    assert answer.events[-1]["outputs"]["image"] == f"output/paint-image-{eight}.txt"
