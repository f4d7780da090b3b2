"""What the engine's tests share: small node types, and the command line called without a process of its own."""

import sys
from pathlib import Path
from types import ModuleType

import pytest
from tiny import TINY_NODES, Answer, Command

from latentgraph.engine.cli import main
from latentgraph.engine.registry import Registry, types_at


@pytest.fixture(scope="session")
def tiny() -> Registry:
    """The node types of tiny_nodes.py, and no others."""
    return Registry(types_at(TINY_NODES))


@pytest.fixture
def tiny_module(tiny: Registry) -> ModuleType:
    """The module that `--nodes tiny_nodes.py` makes."""
    number = tiny.get("Number")
    assert number is not None
    return sys.modules[number.__module__]


@pytest.fixture
def latentgraph(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Calls the command line, in a working folder of its own, with the node types of tiny_nodes.py."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LATENTGRAPH_CACHE", str(tmp_path / "cache"))

    def call(command: str, *arguments: str | Path, nodes: bool = True) -> Answer:
        more = ["--nodes", str(TINY_NODES)] if nodes else []
        code = main([command, *map(str, arguments), *more])
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return call
