"""The Python way in."""

from pathlib import Path

import pytest
from tiny import TINY_NODES, graph

from latentgraph.engine import GraphWrong, load
from latentgraph.engine.library import NoSuchGraph, find_graph, shipped_graphs

PAINT = graph(
    "painted: {type: Paint, inputs: {text: $params.text, size: $params.size}}",
    "image: $painted",
    "text: {type: str, default: hello}\nsize: {type: int, default: 1, max: 9}",
)


@pytest.fixture
def paint(tmp_path: Path) -> Path:
    path = tmp_path / "paint.yaml"
    path.write_text(PAINT)
    return path


def test_load_and_run(paint: Path) -> None:
    events: list[str] = []
    loaded = load(paint, nodes=[TINY_NODES])
    done = loaded.run(text="a dog", on_event=lambda event: events.append(event["event"]))
    assert done.outputs["image"].text == "a dog"
    assert done.sources == {"image": {"paint.bin": "0" * 64}}
    assert events == ["run_started", "node_started", "node_finished"]
    assert loaded.params["text"].default == "hello"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"text": 7}, "error[wrong-type]: the value given for `text`: str is wanted, `7` is a number"),
        ({"size": 10}, "error[out-of-range]: the value given for `size` is 10, the most is 9"),
        ({"size": 9}, "paint.yaml:6:61: error[out-of-range]: `size` is 9; it should be less than or equal to 8"),
        ({"txt": ""}, "error[unknown-param]: the graph has no param `txt` (did you mean `text`?)"),
    ],
)
def test_params_that_are_wrong(params: dict[str, object], message: str, paint: Path) -> None:
    with pytest.raises(GraphWrong) as wrong:
        load(paint, nodes=[TINY_NODES]).run(**params)
    assert message in str(wrong.value)


def test_a_param_without_default_has_to_be_given(tmp_path: Path) -> None:
    path = tmp_path / "open.yaml"
    path.write_text(graph("a: {type: Paint, inputs: {text: $params.text}}", "a: $a", "text: {type: str}"))
    loaded = load(path, nodes=[TINY_NODES])
    assert loaded.run(text="x").outputs["a"].text == "x"
    with pytest.raises(GraphWrong, match="has no default and was not given"):
        loaded.run()


def test_graphs_are_found_by_path_and_by_name(paint: Path, tmp_path: Path) -> None:
    shipped = dict(shipped_graphs())
    assert find_graph(paint) == ("paint", paint)
    assert find_graph("txt2img") == ("txt2img", shipped["txt2img"])
    assert find_graph("train/vae") == ("vae", shipped["train/vae"])
    with pytest.raises(NoSuchGraph, match="did you mean `train/vae`"):
        find_graph("train/vaes")


def test_a_default_that_is_not_there_matters_only_where_nothing_is_given(tmp_path: Path) -> None:
    (tmp_path / "graph.yaml").write_text(
        "latentgraph: 1\n"
        "params:\n"
        "  text: {type: File, default: gone.txt}\n"
        "nodes:\n"
        "  read: {type: ReadText, inputs: {file: $params.text}}\n"
        "outputs: {text: $read}\n"
    )
    (tmp_path / "plugin.py").write_text(
        "from latentgraph.engine import Context, File, Node\n"
        "class ReadText(Node):\n"
        "    file: File\n"
        "    def run(self, context: Context) -> str:\n"
        "        return self.file.read().decode()\n"
    )
    (tmp_path / "there.txt").write_text("there")
    graph = load(tmp_path / "graph.yaml", nodes=[tmp_path / "plugin.py"])
    assert graph.run(text=tmp_path / "there.txt").outputs == {"text": "there"}
    with pytest.raises(GraphWrong, match="missing-file"):
        graph.run()
