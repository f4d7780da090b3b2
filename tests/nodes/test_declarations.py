"""Node types are declared without loading anything heavy, and say what they take."""

import subprocess
import sys

import pytest

from latentgraph.engine.node import Node
from latentgraph.nodes import node_types
from latentgraph.nodes.guides import CFG, Conditioning, Guidance
from latentgraph.nodes.ports import Image, Latent

HEAVY = ("torch", "numpy", "diffusers", "transformers", "safetensors", "PIL", "scipy")


def test_declaring_all_node_types_imports_nothing_heavy() -> None:
    code = (
        "import sys, latentgraph.nodes\n"
        "for node_type in latentgraph.nodes.node_types(): node_type.inputs(), node_type.outputs()\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_main_node_types_are_there() -> None:
    names = {node_type.__name__ for node_type in node_types()}
    assert names >= {
        "LoadModel", "CLIPEncode", "EmptyLatent", "LoadImage", "VAEEncode", "CFGCombine", "KSampler", "VAEDecode",
        "SaveImage",
    }  # fmt: skip


@pytest.mark.parametrize("node_type", node_types(), ids=lambda node_type: node_type.__name__)
def test_each_is_documented_and_sorted(node_type: type[Node]) -> None:
    assert node_type.documentation()
    assert node_type.category
    for port in node_type.inputs().values():
        plain = port.type_name.replace(" | none", "") in ("int", "float", "[int]", "int | [int]")
        assert port.description or not plain, f"{node_type.__name__}.{port.name} has no description"


def test_values_that_are_written_and_those_that_only_flow() -> None:
    assert Image.can_be_written()
    assert Latent.can_be_written()
    assert not Conditioning.can_be_written()
    assert not Guidance.can_be_written()
    assert issubclass(CFG, Guidance)
