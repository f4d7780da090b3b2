"""`latentgraph run PICTURE.png`: shown, asked about, and made again."""

import io
from pathlib import Path

import pytest
from tiny import Command, graph

from latentgraph.engine.cli import again
from latentgraph.engine.cli.arguments import CommandWrong
from latentgraph.engine.picture import Making, read_making

GRAPH = graph(
    "drawn: {type: Draw, inputs: {text: $params.text, model: $params.model}}",
    "image: $drawn",
    "text: {type: str, default: a dog}\nmodel: {type: File, default: model.txt}",
)


@pytest.fixture
def picture(tmp_path: Path, latentgraph: Command) -> Path:
    """A picture that a graph drew, whose graph file is gone."""
    (tmp_path / "graph.yaml").write_text(GRAPH)
    (tmp_path / "model.txt").write_text("the model")
    answer = latentgraph("run", "graph.yaml", "--set", "text=a cat")
    (tmp_path / "graph.yaml").unlink()
    return tmp_path / answer.out.strip().removeprefix("image: ")


def test_the_making_is_recorded_without_paths_and_times(picture: Path, tmp_path: Path) -> None:
    making = read_making(picture)
    assert (making.graph, making.name) == (GRAPH, "graph")
    assert making.params["text"] == "a cat"
    assert making.params["model"]["name"] == "model.txt"
    assert making.models == {"model.txt": making.params["model"]["sha256"]}
    assert str(tmp_path).encode() not in picture.read_bytes()


def test_without_anybody_to_ask_it_is_shown_and_not_run(picture: Path, latentgraph: Command) -> None:
    answer = latentgraph("run", picture)
    assert answer.code == 2
    assert GRAPH.strip() in answer.err
    assert '  text: "a cat"' in answer.err
    assert answer.err.splitlines()[-1].endswith("(run it with --trust if you trust this graph)")


def test_files_have_to_be_given_again(picture: Path, latentgraph: Command) -> None:
    answer = latentgraph("run", picture, "--trust")
    assert answer.code == 2
    assert "the picture was made with `model.txt` as `model` (give it: --set model=PATH)" in answer.err


def test_the_same_picture_is_made_again(picture: Path, latentgraph: Command) -> None:
    before = picture.read_bytes()
    picture = picture.rename(picture.with_name("renamed.png"))
    answer = latentgraph("run", picture, "--trust", "--set", "model=model.txt")
    assert answer.code == 0
    again_ = Path(answer.out.strip().removeprefix("image: "))
    assert again_.name.startswith("graph-image-")
    assert again_.read_bytes() == before
    assert "warning" not in answer.err


def test_recorded_params_can_be_changed(picture: Path, latentgraph: Command) -> None:
    answer = latentgraph("run", picture, "--trust", "--set", "model=model.txt", "--set", "text=an ant")
    made = read_making(Path(answer.out.strip().removeprefix("image: ")))
    assert made.params["text"] == "an ant"


def test_other_files_and_models_are_said(picture: Path, latentgraph: Command, tmp_path: Path) -> None:
    (tmp_path / "model.txt").write_text("another model")
    answer = latentgraph("run", picture, "--trust", "--set", "model=model.txt")
    assert answer.code == 0
    assert "warning: `model` is another file than the picture was made with" in answer.err
    assert "warning: the model file model.txt differs from the one the picture was made with" in answer.err


def test_a_graph_that_is_wrong_by_now_is_refused(picture: Path, latentgraph: Command) -> None:
    answer = latentgraph("run", picture, "--trust", "--set", "model=model.txt", nodes=False)
    assert answer.code == 2
    assert f"{picture}#graph:6:17: error[unknown-type]: there is no node type `Draw`" in answer.err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


MAKING = Making("text: \x1b[2J hello", "test", {"text": "\x1b]0;evil\x07"}, {})


@pytest.mark.parametrize("answer", ["y\n", "yes\n", "YES\n"])
def test_a_yes_at_a_terminal(answer: str) -> None:
    shown = io.StringIO()
    again.confirm(Path("a.png"), MAKING, False, Terminal(answer), shown)
    assert shown.getvalue().endswith("make it again? [y/N] ")


@pytest.mark.parametrize("answer", ["", "\n", "n\n", "maybe\n"])
def test_anything_else_at_a_terminal(answer: str) -> None:
    with pytest.raises(CommandWrong, match="nothing was run"):
        again.confirm(Path("a.png"), MAKING, False, Terminal(answer), io.StringIO())


def test_what_a_terminal_would_obey_is_shown_instead() -> None:
    shown = io.StringIO()
    again.confirm(Path("a.png"), MAKING, True, output=shown)
    assert "\x1b" not in shown.getvalue()
    assert "hello" in shown.getvalue()
