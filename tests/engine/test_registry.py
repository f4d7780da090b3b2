"""Finding node types: files and folders of a user's own, names that clash, and words about what is wrong."""

from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from textwrap import dedent

import pytest

from latentgraph.engine import GraphWrong, describe
from latentgraph.engine.registry import PluginError, Registry, installed_types, load_registry, types_at
from latentgraph.engine.session import load_text

NODE = """
from latentgraph.engine import Context, Node

class {name}(Node):
    '''Says a word.'''

    def run(self, context: Context) -> str:
        return {value}
"""


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(text))
    return path


def names(path: Path) -> list[str]:
    return [node_type.__name__ for node_type in types_at(path)]


def test_a_file_gives_the_types_it_defines(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.py", NODE.format(name="Mine", value="'mine'"))
    assert names(path) == ["Mine"]


def test_modules_of_a_folder_import_each_other(tmp_path: Path) -> None:
    folder = tmp_path / "pack"
    write(folder / "words.py", "WORD = 'hello'\n")
    write(folder / "says.py", "from .words import WORD\n" + NODE.format(name="Says", value="WORD"))
    write(folder / "inner" / "deep.py", "from ..words import WORD\n" + NODE.format(name="Deep", value="WORD * 2"))
    says = {node_type.__name__: node_type for node_type in types_at(folder)}
    assert sorted(says) == ["Deep", "Says"]
    assert says["Deep"]().run(None) == "hellohello"


def test_a_folder_with_an_init_is_a_package(tmp_path: Path) -> None:
    folder = tmp_path / "pack"
    write(folder / "__init__.py", "WORD = 'hello'\n" + NODE.format(name="First", value="WORD"))
    write(folder / "second.py", "from . import WORD\n" + NODE.format(name="Second", value="WORD"))
    assert sorted(names(folder)) == ["First", "Second"]


def test_files_in_different_folders_may_be_called_alike(tmp_path: Path) -> None:
    one = write(tmp_path / "one" / "mine.py", NODE.format(name="One", value="1"))
    two = write(tmp_path / "two" / "mine.py", NODE.format(name="Two", value="2"))
    assert [*names(one), *names(two)] == ["One", "Two"]


def test_two_types_of_one_name_are_refused_with_both_places(tmp_path: Path) -> None:
    one = write(tmp_path / "one.py", NODE.format(name="Same", value="1"))
    two = write(tmp_path / "two.py", NODE.format(name="Same", value="2"))
    with pytest.raises(PluginError) as clash:
        Registry([*types_at(one), *types_at(two)])
    assert str(clash.value) == f"two node types are called Same: in {one} and in {two}"


def test_a_type_called_like_a_built_in_one_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.py", NODE.format(name="KSampler", value="1"))
    with pytest.raises(PluginError, match=r"two node types are called KSampler: in latentgraph\.nodes"):
        load_registry([path])


def test_former_names_are_found(tiny: Registry) -> None:
    assert tiny.get("Sum") is tiny.get("Total") is not None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_such_module\n", "mine.py:1: cannot be loaded: ModuleNotFoundError: No module named"),
        ("x = 1\nx = (\n", "mine.py: cannot be loaded: SyntaxError: '(' was never closed (mine.py, line 2)"),
        ("\n\n1 / 0\n", "mine.py:3: cannot be loaded: ZeroDivisionError: division by zero"),
        (
            """
            from latentgraph.engine import Context, Node
            class Bad(Node):
                numbers: dict
                def run(self, context: Context) -> int: ...
            """,
            "TypeError: Bad.numbers: <class 'dict'> is no port type",
        ),
        (
            """
            from latentgraph.engine import Context, Node
            class Bad(Node):
                numbers: list[int]
                def run(self, context: Context) -> int: ...
            """,
            "TypeError: Bad.numbers: lists reach nodes as tuples; write tuple[int, ...]",
        ),
        (
            """
            from latentgraph.engine import Context, Node
            class Bad(Node):
                category: str
                def run(self, context: Context) -> int: ...
            """,
            "Bad.category: an input cannot be called so, Node itself has a `category`",
        ),
        (
            """
            from latentgraph.engine import Context, Field, Node
            class Bad(Node):
                number: int = Field(default_factory=int)
                def run(self, context: Context) -> int: ...
            """,
            "Bad.number: a default factory hides what the default is; write a value",
        ),
        (
            """
            from latentgraph.engine import Context, Node
            class Bad(Node):
                def run(self, context: Context): ...
            """,
            "Bad.run gives None, which is no port type",
        ),
        (
            """
            from latentgraph.engine import Context, Node
            class Bad(Node):
                def run(self, context: Context) -> "Nowhere": ...
            """,
            "name 'Nowhere' is not defined",
        ),
        (
            """
            from latentgraph.engine import Context, Node
            class Bad(Node, primary="middle"):
                def run(self, context: Context) -> int: ...
            """,
            "Bad has no output `middle`, which it declares as primary",
        ),
        (
            """
            from dataclasses import dataclass
            from latentgraph.engine import PortType
            @dataclass(frozen=True)
            class File(PortType):
                text: str
            """,
            "two port types are called File: in latentgraph.engine.ports and",
        ),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Field name")
def test_what_is_wrong_with_a_plugin_is_said_in_words(text: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "mine.py", text)
    with pytest.raises(PluginError) as wrong:
        list(Registry(types_at(path)))
    assert message in str(wrong.value)
    assert str(path) in str(wrong.value)


def test_what_is_no_plugin(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="neither a Python file nor a folder"):
        names(write(tmp_path / "graph.yaml", ""))


def test_installed_types_come_through_entry_points(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write(tmp_path / "some_package.py", NODE.format(name="Packaged", value="1"))
    monkeypatch.syspath_prepend(tmp_path)
    entries = EntryPoints([EntryPoint("some", "some_package", "latentgraph.nodes")])
    monkeypatch.setattr("latentgraph.engine.entries._all", lambda: entries)
    assert [node_type.__name__ for node_type in installed_types()] == ["Packaged"]


def test_a_package_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = EntryPoints([EntryPoint("some", "no_such_package", "latentgraph.nodes")])
    monkeypatch.setattr("latentgraph.engine.entries._all", lambda: entries)
    with pytest.raises(PluginError, match="the node types of the package no_such_package cannot be loaded"):
        list(installed_types())


EFFECTS = """
from latentgraph.engine import Context, Node

class Phones(Node, effects=("uses the network",), aliases=("Calls",)):
    def run(self, context: Context) -> str:
        return "hello"
"""


def test_a_type_says_what_it_does_besides(tmp_path: Path) -> None:
    (phones,) = types_at(write(tmp_path / "phones.py", EFFECTS))
    assert describe.node_type(phones)["effects"] == ["uses the network"]
    unknown = write(tmp_path / "sings.py", EFFECTS.replace("uses the network", "sings"))
    with pytest.raises(PluginError, match="the effects are reads files, writes files, uses the network"):
        names(unknown)


def test_a_type_that_is_refused_may_not_be_used_under_any_of_its_names(tmp_path: Path) -> None:
    registry = Registry(types_at(write(tmp_path / "phones.py", EFFECTS)))
    registry.refuse("Phones", "it phones")
    for name in ("Phones", "Calls"):
        assert registry.get(name) is None
        text = f"latentgraph: 1\nnodes: {{a: {{type: {name}}}}}\noutputs: {{x: $a}}\n"
        with pytest.raises(GraphWrong) as wrong:
            load_text(text, "test", "test.yaml", tmp_path, registry).check()
        assert [problem.code for problem in wrong.value.diagnostics] == ["refused-type"]
        assert wrong.value.diagnostics[0].message == f"`{name}` may not run here: it phones"
