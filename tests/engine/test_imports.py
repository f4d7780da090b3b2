"""What is quick stays quick: no command but `run` imports a heavy library, and `--help` not even pydantic."""

import subprocess
import sys
from pathlib import Path

import pytest
from tiny import TINY_NODES, graph

HEAVY = {"torch", "diffusers", "transformers", "numpy", "PIL", "rich", "safetensors", "tokenizers"}

PROGRAM = """
import sys
from latentgraph.engine.cli import main
code = main(sys.argv[1:])
print(code, *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


def imported(folder: Path, *arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    code, *modules = done.stderr.splitlines()[-1].split()
    assert code == "0", done.stderr
    return set(modules)


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "txt2img", "train/vae", "graph.yaml"],
        ["check", "graph.yaml", "--format", "json", "--set", "n=3"],
        ["plan", "txt2img"],
        ["plan", "graph.yaml", "--json"],
        ["nodes"],
        ["nodes", "KSampler", "--json"],
        ["graphs"],
        ["schema"],
    ],
)
def test_no_command_but_run_imports_a_heavy_library(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "graph.yaml").write_text(
        graph("a: {type: Add, inputs: {a: $params.n}}", "a: $a", "n: {type: int, default: 1}")
    )
    nodes = [] if arguments[0] == "graphs" else ["--nodes", str(TINY_NODES)]
    assert imported(tmp_path, *arguments, *nodes) & HEAVY == set()


def test_drawing_a_graph_imports_nothing_heavy_but_pillow(tmp_path: Path) -> None:
    assert imported(tmp_path, "draw", "txt2img", "-o", "graph.svg") & HEAVY == {"PIL"}


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_imports_next_to_nothing(option: str, tmp_path: Path) -> None:
    assert imported(tmp_path, option) & {*HEAVY, "pydantic", "yaml", "networkx"} == set()


def test_a_run_of_light_nodes_imports_no_heavy_library(tmp_path: Path) -> None:
    (tmp_path / "graph.yaml").write_text(graph("a: {type: Number}", "a: $a"))
    modules = imported(tmp_path, "run", "graph.yaml", "--json", "--nodes", str(TINY_NODES))
    assert modules & HEAVY == set()


def test_a_reused_run_writes_its_picture_without_a_heavy_library(tmp_path: Path) -> None:
    arguments = ["run", "txt2img", "--set", "steps=1", "--store", "store"]
    assert "torch" in imported(tmp_path, *arguments)
    (picture,) = (tmp_path / "output").iterdir()
    first = picture.read_bytes()
    picture.unlink()
    assert imported(tmp_path, *arguments) & HEAVY == set()
    assert picture.read_bytes() == first
