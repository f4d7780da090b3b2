"""`latentgraph check`: several graphs, formats, params, and what the codes mean."""

import io
import re
from pathlib import Path

import pytest
from tiny import Command, graph

from latentgraph.engine.cli.show import show
from latentgraph.engine.diagnostics import CODES, Diagnostic, Place

GOOD = graph('a: {type: Paint, inputs: {text: "a dog"}}', "a: $a")
BAD = graph("a: {type: Paint, inputs: {text: 7}}", "a: $a")
OPEN = graph(
    "a: {type: Paint, inputs: {text: $params.text, size: $params.size}}",
    "a: $a",
    "text: {type: str}\nsize: {type: int, default: 2, max: 8}",
)


@pytest.fixture(autouse=True)
def _graphs(tmp_path: Path) -> None:
    for name, text in {"good": GOOD, "bad": BAD, "open": OPEN}.items():
        (tmp_path / f"{name}.yaml").write_text(text)


def test_a_good_graph(latentgraph: Command) -> None:
    answer = latentgraph("check", "good.yaml")
    assert (answer.code, answer.out, answer.err) == (0, "no problems\n", "")


def test_several_graphs_are_all_checked(latentgraph: Command) -> None:
    answer = latentgraph("check", "bad.yaml", "nowhere.yaml", "good.yaml", "bad.yaml")
    lines = answer.out.splitlines()
    assert answer.code == 2
    assert lines[0] == 'bad.yaml:3:35: error[wrong-type]: `text`: str is wanted, `7` is a number (quote it: "7")'
    assert lines[1].startswith("error[missing-file]: there is no file `nowhere.yaml`")
    assert lines[3:] == ["3 errors"]


def test_json_is_one_object_a_line_and_nothing_else(latentgraph: Command) -> None:
    answer = latentgraph("check", "bad.yaml", "--format", "json")
    (problem,) = answer.events
    assert problem["path"] == "nodes.a.inputs.text"
    assert (problem["file"], problem["line"], problem["end_column"]) == ("bad.yaml", 3, 36)
    assert answer.err == "1 error\n"


def test_github_annotations(latentgraph: Command) -> None:
    answer = latentgraph("check", "bad.yaml", "--format", "github")
    assert answer.out.startswith("::error file=bad.yaml,line=3,col=35,endLine=3,endColumn=36,title=wrong-type::")


def test_params_without_default_are_checked_by_type_alone(latentgraph: Command) -> None:
    assert latentgraph("check", "open.yaml").code == 0


def test_params_that_are_given_are_checked(latentgraph: Command) -> None:
    answer = latentgraph("check", "open.yaml", "--set", "size=9", "--set", "txt=hello")
    assert answer.code == 2
    assert "error[out-of-range]: `--set size=9`: `size` is 9, the most is 8" in answer.out
    assert "error[unknown-param]: `--set txt=hello`: the graph has no param `txt` (did you mean `text`?)" in answer.out
    assert "error[missing-input]: the param `text` has no default and was not given" in answer.out


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_explained(code: str, latentgraph: Command) -> None:
    answer = latentgraph("check", "--explain", code)
    assert answer.code == 0
    assert answer.out.startswith(f"{code}\n\n")


def test_every_code_that_is_used_is_explained() -> None:
    engine = Path(__file__).parents[2] / "engine"
    said = re.compile(r'(?:error|warning|Refused|wrong|fail|Diagnostic)\(\s*"([a-z]+(?:-[a-z]+)*)",')
    used = {code for file in engine.rglob("*.py") for code in said.findall(file.read_text())}
    assert used - CODES.keys() == set()
    assert len(used) > 15


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_source_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    problem = Diagnostic("wrong-type", "str is wanted", Place("bad.yaml", 3, 35, 3, 36), "quote it")
    show([problem], {"bad.yaml": BAD}, terminal)
    assert terminal.getvalue().splitlines() == [
        "bad.yaml:3:35: error[wrong-type]: str is wanted",
        "  |",
        "3 |   a: {type: Paint, inputs: {text: 7}}",
        "  |                                   ^",
        "  = help: quote it",
        "",
    ]


def test_colours_only_where_they_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Diagnostic("cycle", "a → a", None)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    terminal, pipe = Terminal(), io.StringIO()
    show([problem], {}, terminal)
    show([problem], {}, pipe)
    assert "\x1b[" in terminal.getvalue()
    assert "\x1b[" not in pipe.getvalue()
