"""What the README says holds: its examples are right, its messages are those that are printed."""

import re
from pathlib import Path

from latentgraph.engine.cli import main
from latentgraph.engine.registry import Registry, types_at
from latentgraph.nodes import node_types

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_there_are_two_commands_of_one_line_each():
    commands = blocks("sh")
    assert len(commands) == 2
    assert all(command.count("\n") == 1 for command in commands)


def test_the_picture_at_the_top_is_there():
    names = re.findall(r"^!\[.*?\]\((.*?)\)$", README, re.MULTILINE)
    assert README.index(names[0]) < README.index("```sh")
    for name in names:
        assert (ROOT / name).read_bytes().startswith(b"\x89PNG")


def test_the_example_graphs_are_right(tmp_path: Path, capsys):
    (tmp_path / "txt2img.yaml").write_bytes((ROOT / "graphs" / "txt2img.yaml").read_bytes())
    for graph in blocks("yaml"):
        (tmp_path / "mine.yaml").write_text(graph)
        assert main(["check", str(tmp_path / "mine.yaml")]) == 0
        assert "warning" not in capsys.readouterr().out


def test_the_example_message_is_what_a_misspelt_link_gives(tmp_path: Path, capsys, monkeypatch):
    graph = blocks("yaml")[0]
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(graph.replace("guidance: $guided", "guidance: $guidd"))
    assert main(["check", "mine.yaml"]) == 2
    printed = capsys.readouterr().out
    position, message, help = re.search(
        r"^    (mine\.yaml:\d+:\d+): (error.*?)\n.*?= help: (.*?)$", README, re.MULTILINE | re.DOTALL
    ).groups()
    assert f"{position}: {message} ({help})" in printed


def test_the_example_node_type_loads(tmp_path: Path):
    (example,) = [block for block in blocks("python") if "class " in block]
    (tmp_path / "invert.py").write_text(example)
    (node,) = types_at(tmp_path / "invert.py")
    assert list(node.inputs()) == ["image", "strength"]


def test_every_command_and_graph_that_the_readme_names_is_there():
    from latentgraph.engine.library import find_graph

    for graph in re.findall(r"latentgraph run ([a-z0-9/-]+)(?: |$|`)", README, re.MULTILINE):
        find_graph(graph)
    registry = Registry(node_types())
    for name in re.findall(r"latentgraph nodes ([A-Za-z]+)", README):
        assert registry.get(name) is not None
