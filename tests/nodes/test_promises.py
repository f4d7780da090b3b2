"""What the engine promises of tensors: changed inputs are noticed, memory is not shared, values are let go."""

import gc
import weakref
from pathlib import Path

import pytest
import torch

from latentgraph.engine import Context, Node
from latentgraph.engine.execute import execute
from latentgraph.engine.registry import Registry
from latentgraph.engine.runs import Run
from latentgraph.engine.session import load_text
from latentgraph.engine.store import open_store
from latentgraph.nodes.ports import Image

MADE: list["weakref.ref[Image]"] = []
ALIVE: list[int] = []


class Gray(Node):
    """A gray picture."""

    level: float = 0.5

    def run(self, context: Context) -> Image:
        made = Image(torch.full((1, 3, 4, 4), self.level))
        MADE.append(weakref.ref(made))
        return made


class Brighten(Node):
    """Changes the picture that it is given, which no node may."""

    image: Image

    def run(self, context: Context) -> Image:
        self.image.pixels.add_(0.1)
        return Image(self.image.pixels.clone())


class Sly(Node):
    """Changes the picture behind PyTorch's back."""

    image: Image

    def run(self, context: Context) -> Image:
        self.image.pixels.numpy()[:] = 0.0
        return Image(torch.ones(1, 3, 4, 4))


class Top(Node):
    """The upper half of a picture: a view of its memory."""

    image: Image

    def run(self, context: Context) -> Image:
        return Image(self.image.pixels[:, :, :2])


class Same(Node):
    """The picture itself."""

    image: Image

    def run(self, context: Context) -> Image:
        gc.collect()
        ALIVE.append(sum(made() is not None for made in MADE))
        return Image(self.image.pixels + 0.01)


class Copied(Node):
    """The same picture once more."""

    image: Image

    def run(self, context: Context) -> Image:
        return Image(self.image.pixels.clone())


REGISTRY = Registry([Gray, Brighten, Sly, Top, Same, Copied])


def run(nodes: str, last: str, **options: object) -> Run:
    text = f"latentgraph: 1\nnodes:\n{nodes}\noutputs: {{image: ${last}}}\n"
    checked = load_text(text, "test", "test.yaml", Path(), REGISTRY).check()
    return execute(checked, store=open_store(None, memory_bytes=0), **options)  # type: ignore[arg-type]


def test_a_node_that_changes_its_input_fails_with_its_name():
    done = run("  gray: {type: Gray}\n  bright: {type: Brighten, inputs: {image: $gray}}", "bright")
    assert str(done.failures["bright"]) == (
        "Brighten changes its input `image` in place; a node may only make new values"
    )


def test_strict_notices_a_change_that_no_counter_shows():
    nodes = "  gray: {type: Gray}\n  sly: {type: Sly, inputs: {image: $gray}}"
    assert run(nodes, "sly").status == "done"
    assert "changes its input `image`" in str(run(nodes, "sly", strict=True).failures["sly"])


def test_an_output_does_not_share_the_memory_of_an_input():
    nodes = "  gray: {type: Gray}\n  top: {type: Top, inputs: {image: $gray}}"
    checked = load_text(
        f"latentgraph: 1\nnodes:\n{nodes}\noutputs: {{whole: $gray, top: $top}}\n",
        "test",
        "test.yaml",
        Path(),
        REGISTRY,
    ).check()
    outputs = execute(checked, store=open_store(None)).outputs
    whole, top = (outputs[name].pixels for name in ("whole", "top"))
    assert torch.equal(whole[:, :, :2], top)
    assert whole.untyped_storage().data_ptr() != top.untyped_storage().data_ptr()


def test_a_value_is_let_go_as_soon_as_no_node_needs_it():
    MADE.clear()
    ALIVE.clear()
    nodes = "  n0: {type: Gray}\n" + "\n".join(
        f"  n{index}: {{type: Same, inputs: {{image: $n{index - 1}}}}}" for index in range(1, 6)
    )
    assert run(nodes, "n5").status == "done"
    assert ALIVE == [1, 0, 0, 0, 0]


def test_a_value_that_two_nodes_gave_stays_until_nobody_needs_either():
    nodes = "  gray: {type: Gray}\n" + "\n".join(
        f"  n{index}: {{type: Copied, inputs: {{image: ${'gray' if index == 1 else f'n{index - 1}'}}}}}"
        for index in range(1, 5)
    )
    MADE.clear()
    done = run(nodes, "n4")
    assert done.status == "done"
    assert set(done.nodes.values()) == {"computed"}
    assert len(MADE) == 1
    assert done.outputs["image"].pixels.mean() == 0.5


@pytest.mark.parametrize("memory", [0, 512 * 1024**2])
def test_the_same_bits_come_back_from_disk(tmp_path: Path, memory: int):
    text = "latentgraph: 1\nnodes:\n  gray: {type: Gray, inputs: {level: 0.3}}\noutputs: {image: $gray}\n"
    checked = load_text(text, "test", "test.yaml", Path(), REGISTRY).check()
    store = open_store(tmp_path / str(memory), memory_bytes=memory)
    first = execute(checked, store=store).outputs["image"].pixels
    store.close()
    again = execute(checked, store=open_store(tmp_path / str(memory)))
    assert again.nodes == {"gray": "reused"}
    assert torch.equal(first, again.outputs["image"].pixels)
