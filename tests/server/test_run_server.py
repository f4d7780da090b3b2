"""`latentgraph run --server`: as a run on this machine, in what it prints, writes and gives back."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import serving

from latentgraph.engine.cli import main
from latentgraph.server.client import Client

NODES = Path(__file__).parents[1] / "engine" / "tiny_nodes.py"

GRAPH = """\
latentgraph: 1
params:
  text: {type: str, default: a dog}
  size: {type: int, default: 1, min: 1}
  numbers: {type: [float], default: [1, 2.5]}
  file: {type: File, default: words.txt}
nodes:
  painted: {type: Paint, inputs: {text: $params.text, size: $params.size}}
  framed: {type: Frame, inputs: {picture: $painted}}
  loaded: {type: Load, inputs: {file: $params.file}}
  sum: {type: Total, inputs: {numbers: $params.numbers}}
outputs:
  image: $framed
  words: $loaded
  sum: $sum
"""

STEPS = """\
latentgraph: 1
params:
  steps: {type: int, default: 400}
nodes:
  slow: {type: Steps, inputs: {steps: $params.steps, seconds: 0.05}}
outputs:
  steps: $slow
"""


KNOWN = """\
latentgraph: 1
params:
  text: {type: str, default: a dog}
  model: {type: File, default: model.bin}
nodes:
  drawn: {type: Draw, inputs: {text: $params.text, model: $params.model}}
outputs:
  image: $drawn
"""


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Answer]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[serving.Server]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "graphs").mkdir()
    (folder / "graphs" / "known.yaml").write_text(KNOWN)
    running = serving.start(folder, "--nodes", NODES, "--graphs", folder / "graphs", nodes=False)
    yield running
    running.stop()


@pytest.fixture
def there(
    server: serving.Server, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Runs at the server, from a working folder of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words.txt").write_text("words")
    (tmp_path / "paint.yaml").write_text(GRAPH)
    (tmp_path / "steps.yaml").write_text(STEPS)

    def call(*arguments: str | Path, url: str = server.url) -> Answer:
        code = main(["run", *map(str, arguments), "--server", url])
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return call


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs on this machine, in the same working folder."""

    def call(*arguments: str | Path) -> Answer:
        code = main(["run", *map(str, arguments), "--nodes", str(NODES), "--no-store"])
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return call


def test_outputs_are_the_same_files_with_the_same_content(there: Run, here: Run, tmp_path: Path) -> None:
    arguments = ("paint.yaml", "--set", "text=a cat", "--set", "numbers=[4, 5]")
    away, home = there(*arguments, "--output", "away"), here(*arguments, "--output", "home")
    assert (away.code, home.code) == (0, 0)
    assert away.out.replace("away/", "") == home.out.replace("home/", "")
    for folder in ("away", "home"):
        assert len(list((tmp_path / folder).iterdir())) == 2
    for path in (tmp_path / "home").iterdir():
        assert (tmp_path / "away" / path.name).read_bytes() == path.read_bytes()


def test_progress_lines_are_those_of_a_run_here(there: Run, here: Run, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("words of progress")
    arguments = ("paint.yaml", "--set", "text=progress", "--set", "numbers=17", "--output", "lines")

    def said(answer: Answer) -> list[str]:
        return sorted(line.split(" in ")[0].split(": reused")[0] for line in answer.err.splitlines())

    assert said(there(*arguments)) == said(here(*arguments))
    assert there(*arguments).err.splitlines()[-1].endswith("4 reused")


def test_events_are_those_of_a_run_here(there: Run, here: Run, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("words of events")
    arguments = ("paint.yaml", "--set", "text=events", "--set", "numbers=18", "--json")
    away, home = there(*arguments).events, here(*arguments).events
    assert away[0]["event"] == "run_started"
    assert set(away[0]) == set(home[0])
    assert sorted(event["event"] for event in away) == sorted(event["event"] for event in home)
    assert sorted(away[-1].pop("computed")) == sorted(home[-1].pop("computed"))
    assert away[-1] == home[-1]
    assert [event for event in away if event["event"] == "output"] == [
        event for event in home if event["event"] == "output"
    ]


def test_files_in_params_are_sent_and_win_over_defaults(there: Run, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "other.txt").write_text("other words")
    (tmp_path / "inner" / "params.yaml").write_text("file: other.txt\ntext: by file\n")
    answer = there("paint.yaml", "--params", "inner/params.yaml", "--set", "file=words.txt", "--json")
    assert Path(answer.events[-1]["outputs"]["words"]).read_text().startswith("words")
    answer = there("paint.yaml", "--params", "inner/params.yaml", "--json")
    assert Path(answer.events[-1]["outputs"]["words"]).read_text().startswith("other words")


def test_a_default_that_is_a_file_is_missed_only_where_nothing_is_given(there: Run, tmp_path: Path) -> None:
    (tmp_path / "words.txt").rename(tmp_path / "moved.txt")
    answer = there("paint.yaml")
    assert answer.code == 2
    assert answer.err.splitlines()[0].startswith("paint.yaml:6:31: error[missing-file]: `file`: there is no file")
    assert there("paint.yaml", "--set", "file=moved.txt").code == 0


def test_wrong_params_are_refused_as_here(there: Run, here: Run, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("text: 7\nsize: 0\ntxt: a\n")
    arguments = ("paint.yaml", "--params", "params.yaml", "--set", "numbers=one", "--set", "file=word.txt")
    away, home = there(*arguments), here(*arguments)
    assert away.code == home.code == 2
    assert away.err == home.err
    assert "5 errors, nothing was run" in away.err


def test_a_wrong_graph_is_refused_as_here(there: Run, here: Run, tmp_path: Path) -> None:
    wrong = GRAPH.replace("$painted}", "$pianted}").replace("Total", "Totla")
    (tmp_path / "paint.yaml").write_text(wrong)
    away, home = there("paint.yaml", "--set", "size=0"), here("paint.yaml", "--set", "size=0")
    assert away.code == home.code == 2
    assert away.err == home.err
    assert "(did you mean `Total`?)" in away.err
    away, home = there("paint.yaml", "--json"), here("paint.yaml", "--json")
    assert away.events == home.events
    (tmp_path / "paint.yaml").write_text("nodes: [")
    assert there("paint.yaml").err == here("paint.yaml").err


def test_warnings_are_shown_and_the_graph_runs(there: Run, tmp_path: Path) -> None:
    (tmp_path / "paint.yaml").write_text(GRAPH.replace("  sum: $sum\n", ""))
    answer = there("paint.yaml")
    assert answer.code == 0
    assert "warning[unused-node]" in answer.err


def test_what_cannot_be_sent_is_said(there: Run, tmp_path: Path) -> None:
    (tmp_path / "paint.yaml").write_text(GRAPH.replace("$params.file", "words.txt"))
    answer = there("paint.yaml")
    assert answer.code == 2
    assert "error[missing-file]" in answer.err
    assert "files that nodes name have to be at the server" in answer.err
    for options in (["--check"], ["--strict"], ["--profile"], ["--store", "s"], ["--no-store"], ["--jobs", "2"]):
        refused = there("paint.yaml", *options)
        assert refused.code == 2
        assert f"`{options[0]}` cannot be used with a server" in refused.err


def test_a_node_that_fails(there: Run, here: Run, tmp_path: Path) -> None:
    (tmp_path / "failing.yaml").write_text(
        "latentgraph: 1\nnodes:\n  good: {type: Paint, inputs: {text: good}}\n  bad: {type: Fail}\n"
        "outputs:\n  good: $good\n  bad: $bad\n"
    )
    away, home = there("failing.yaml"), here("failing.yaml")
    assert away.code == home.code == 1
    assert "failing.yaml:4:3: the node `bad` failed: the paint is dry" in away.err.splitlines()
    assert away.out == home.out
    assert away.err.splitlines()[-1].endswith("1 reused, 1 failed") or away.err.splitlines()[-1].endswith(
        "1 computed, 1 failed"
    )


def test_a_graph_that_the_server_knows_runs_by_its_name_and_its_picture_again(there: Run, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_text("a model")
    answer = there("known", "--set", "text=a cat", "--set", "model=model.bin")
    assert answer.code == 0
    picture = Path(answer.out.strip().removeprefix("image: "))
    assert picture.name.startswith("known-image-")
    assert picture.read_bytes().startswith(b"\x89PNG")
    again = there(picture, "--trust", "--set", "model=model.bin", "--output", "again")
    assert (again.code, again.out) == (0, answer.out.replace("output/", "again/"))
    without = there(picture, "--trust")
    assert without.code == 2
    assert "the picture was made with `model.bin` as `model`" in without.err
    missing = there("knwon")
    assert missing.code == 2
    assert "there is no file `knwon`" in missing.err


def test_targets_are_run_instead_of_outputs(there: Run) -> None:
    answer = there("paint.yaml", "--target", "sum", "--json")
    assert answer.events[-1]["outputs"] == {"sum": 3.5}
    answer = there("paint.yaml", "--target", "smu")
    assert answer.code == 2
    assert "the graph has no node `smu`" in answer.err


def test_previews_are_written(there: Run, tmp_path: Path) -> None:
    answer = there("steps.yaml", "--set", "steps=15", "--previews", "--json")
    assert answer.code == 0
    assert "preview" not in {event["event"] for event in answer.events}
    assert "progress" in {event["event"] for event in answer.events}
    assert (tmp_path / "output" / "previews" / "slow.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_that_cannot_be_written_is_found_out_before_the_run(there: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answer = there("paint.yaml", "--output", "file/inside")
    assert answer.code == 2
    assert answer.err.splitlines()[-1].endswith("file is a file, not a folder")


def test_a_server_that_is_not_there(there: Run) -> None:
    answer = there("paint.yaml", url="http://127.0.0.1:9")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("error: http://127.0.0.1:9 does not answer: ")
    assert there("paint.yaml", url="localhost:9").err.startswith("error: `localhost:9` is no URL of a server")


def test_the_server_and_the_token_come_from_the_environment_or_a_file(
    there: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    token = "a-token-that-is-long-enough"
    (tmp_path / "tokens").write_text(f"somebody read,submit {token}\n")
    (tmp_path / "tokens").chmod(0o600)
    (tmp_path / "token").write_text(f"{token}\n")
    server = serving.start(tmp_path, "--nodes", NODES, "--token-file", str(tmp_path / "tokens"), nodes=False)
    try:
        refused = there("paint.yaml", url=server.url)
        assert refused.code == 2
        assert "token" in refused.err
        assert there("paint.yaml", "--token-file", "token", url=server.url).code == 0
        monkeypatch.setenv("LATENTGRAPH_TOKEN", token)
        monkeypatch.setenv("LATENTGRAPH_SERVER", server.url)
        assert main(["run", "paint.yaml"]) == 0
        assert main(["run", "paint.yaml", "--server", "", "--nodes", str(NODES), "--no-store"]) == 0
    finally:
        server.stop()


def process(folder: Path, url: str, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "latentgraph.engine.cli", "run", "steps.yaml", "--server", url, *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def job_in(url: str, state: str, seconds: float = 20) -> str:
    """The newest job as soon as it is in a state."""
    end = time.monotonic() + seconds
    with Client(url) as client:
        while time.monotonic() < end:
            if (jobs := client.jobs(limit=1)) and jobs[0]["state"] == state:
                return str(jobs[0]["job"])
            time.sleep(0.05)
    raise AssertionError(f"no job was ever {state}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_cancels_the_job_and_waits_for_its_end(
    number: signal.Signals, there: Run, server: serving.Server, tmp_path: Path
) -> None:
    with process(tmp_path, server.url, "--json") as running:
        assert running.stdout is not None
        assert running.stderr is not None
        while '"node_started"' not in running.stdout.readline():
            pass
        running.send_signal(number)
        last = json.loads(running.stdout.read().splitlines()[-1])
        assert running.wait(20) == 130
        assert running.stderr.read() == "cancelling; once more ends it at once\n"
    assert (last["event"], last["status"], last["skipped"]) == ("run_finished", "cancelled", ["slow"])
    job_in(server.url, "cancelled")


def test_a_second_ctrl_c_ends_at_once(there: Run, server: serving.Server, tmp_path: Path) -> None:
    (tmp_path / "steps.yaml").write_text(
        "latentgraph: 1\nnodes:\n  slow: {type: Stubborn, inputs: {seconds: 4}}\noutputs:\n  slow: $slow\n"
    )
    with process(tmp_path, server.url) as running:
        assert running.stderr is not None
        assert running.stderr.readline().startswith("slow: started")
        running.send_signal(signal.SIGINT)
        assert running.stderr.readline().startswith("cancelling")
        time.sleep(0.5)
        started = time.monotonic()
        running.send_signal(signal.SIGINT)
        assert running.wait(5) == 130
        assert time.monotonic() - started < 3
    job_in(server.url, "cancelled")


def test_a_reader_of_events_that_goes_away_cancels_the_job(there: Run, server: serving.Server, tmp_path: Path) -> None:
    with process(tmp_path, server.url, "--json") as running:
        assert running.stdout is not None
        running.stdout.readline()
        running.stdout.close()
        assert running.wait(20) == 130
    job_in(server.url, "cancelled")


def test_a_server_that_is_lost_is_waited_for(there: Run, tmp_path: Path) -> None:
    lost = serving.start(tmp_path, "--nodes", NODES, "--workers", "1", nodes=False)
    try:
        with process(tmp_path, lost.url, "--set", "steps=40") as running:
            assert running.stderr is not None
            assert running.stdout is not None
            assert running.stderr.readline().startswith("slow: started")
            lost.kill()
            assert "does not answer; waiting for it" in running.stderr.readline()
            lost.restart()
            rest = running.stderr.read()
            assert running.wait(30) == 0
            assert running.stdout.read() == "steps: 40.0\n"
        assert "the server answers again" in rest
        assert "interrupted: " in rest
        assert rest.count("slow: started") == 1
    finally:
        lost.stop()


def test_ctrl_c_in_a_thread_that_is_not_the_main_one_is_left_to_others(there: Run) -> None:
    answers = []
    thread = threading.Thread(target=lambda: answers.append(there("paint.yaml")))
    thread.start()
    thread.join(30)
    assert answers[0].code == 0
