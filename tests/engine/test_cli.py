"""The command line as a whole: help, mistakes in it, exit codes, and what other packages add."""

import subprocess
import sys
from argparse import Namespace
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest
from tiny import TINY_NODES, Command, graph

from latentgraph.engine import cli
from latentgraph.engine.cli import main
from latentgraph.engine.cli.arguments import Parser


def test_help_lists_the_commands_with_examples(latentgraph: Command) -> None:
    answer = latentgraph("--help", nodes=False)
    assert answer.code == 0
    for command in ("run", "check", "nodes", "graphs", "schema"):
        assert f"\n  {command} " in answer.out
    assert "latentgraph run txt2img --set prompt=" in answer.out


@pytest.mark.parametrize("command", ["run", "check", "nodes", "graphs", "schema"])
def test_each_command_has_help(command: str, latentgraph: Command) -> None:
    answer = latentgraph(command, "--help", nodes=False)
    assert answer.code == 0
    assert answer.out.startswith(f"usage: latentgraph {command}")


def test_version(latentgraph: Command) -> None:
    assert latentgraph("--version", nodes=False).out.startswith("latentgraph 0.")


def test_nothing_at_all_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "commands:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["chek", "a.yaml"], "there is no command `chek` (did you mean `check`?)"),
        (["frobnicate"], "there is no command `frobnicate` (`latentgraph --help` lists them)"),
        (["--verbose"], "`latentgraph` has no option `--verbose` (did you mean `--version`?)"),
        (["run", "a.yaml", "--sett", "seed=7"], "`latentgraph run` has no option `--sett` (did you mean `--set`?)"),
        (["check", "a.yaml", "--explane", "x"], "has no option `--explane` (did you mean `--explain`?)"),
        (["run"], "the following arguments are required: GRAPH"),
        (["run", "a.yaml", "b.yaml"], "has no place for an argument `b.yaml`"),
        (["run", "a.yaml", "--jobs", "none"], "argument --jobs"),
        (["run", "a.yaml", "--jobs", "0"], "argument --jobs"),
        (["check", "--format", "xml", "a.yaml"], "argument --format: invalid choice: 'xml'"),
        (["check"], "no graph to check is given"),
        (["check", "--explain", "wrong-prt"], "there is no code `wrong-prt` (did you mean `wrong-port`?)"),
        (["run", "txt2im"], "and no graph that ships is called so (did you mean `txt2img`?)"),
        (["run", "."], "`.` is a folder, a graph file is wanted"),
        (["nodes", "Paintt", "--nodes", str(TINY_NODES)], "there is no node type `Paintt` (did you mean `Paint`?)"),
        (["nodes", "--nodes", "nowhere.py"], "nowhere.py is neither a Python file nor a folder with node types"),
    ],
)  # fmt: skip
def test_mistakes_are_said_in_words(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert "Traceback" not in captured.err


def test_what_a_terminal_would_obey_is_not_sent_to_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "\x1b[2J.yaml"]) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_a_file_that_cannot_be_read_is_said_so(latentgraph: Command, tmp_path: Path) -> None:
    (tmp_path / "graph.yaml").write_text(graph("a: {type: Number}", "a: $a"))
    answer = latentgraph("run", "graph.yaml", "--params", "nowhere.yaml")
    assert (answer.code, answer.err) == (2, "error: nowhere.yaml: no such file or directory\n")


class Greet:
    """A command as another package would bring it."""

    name = "greet"
    help = "say hello"

    def add_arguments(self, parser: Parser) -> None:
        parser.add_argument("whom")

    def run(self, args: Namespace) -> int:
        print(f"hello {args.whom}")
        return 0


greet = Greet()


def installed(monkeypatch: pytest.MonkeyPatch, *entries: EntryPoint) -> None:
    monkeypatch.setattr("latentgraph.engine.entries._all", lambda: EntryPoints(entries))


def test_packages_add_commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    installed(monkeypatch, EntryPoint("greet", f"{__name__}:greet", cli.GROUP))
    assert main(["greet", "you"]) == 0
    assert main(["--help"]) == 0
    assert main(["gret"]) == 2
    captured = capsys.readouterr()
    assert captured.out.startswith("hello you\n")
    assert "greet     say hello" in captured.out
    assert "did you mean `greet`?" in captured.err


def test_a_broken_command_of_a_package_breaks_no_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    installed(monkeypatch, EntryPoint("bad", "no_such_module:bad", cli.GROUP))
    assert main(["check", "--explain", "cycle"]) == 0
    assert main(["bad"]) == 2
    assert "the command `bad` of the package no_such_module:bad cannot be loaded" in capsys.readouterr().err


def test_whoever_stops_reading_gets_no_traceback() -> None:
    command = f"'{sys.executable}' -m latentgraph.engine.cli nodes --nodes '{TINY_NODES}' | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""
