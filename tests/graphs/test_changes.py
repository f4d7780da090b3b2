"""Changing one thing computes exactly what had to be computed: of txt2img, img2img and a graph of thirty nodes."""

from pathlib import Path
from typing import Any

import pytest

from latentgraph.engine.execute import execute
from latentgraph.engine.plan import plan
from latentgraph.engine.registry import Registry
from latentgraph.engine.runs import Run
from latentgraph.engine.session import load
from latentgraph.engine.store import open_store
from latentgraph.nodes import node_types

DOG = Path(__file__).parents[2] / "graphs" / "examples" / "dog.png"
THIRTY = Path(__file__).with_name("thirty.yaml")

SAMPLING = {"sampled", "decoded"}

CHANGES: list[tuple[str, dict[str, Any], set[str]]] = [
    ("txt2img", {}, set()),
    ("txt2img", {"prompt": "a star on a red background"}, {"wanted", "guided", *SAMPLING}),
    ("txt2img", {"negative_prompt": "a cat face"}, {"unwanted", "guided", *SAMPLING}),
    ("txt2img", {"seed": 7}, SAMPLING),
    ("txt2img", {"steps": 5}, SAMPLING),
    ("txt2img", {"sampler": "dpmpp_2m"}, SAMPLING),
    ("txt2img", {"sampler": "ddim"}, {"sampled"}),  # without noise of its own it is Euler's method: the same picture
    ("txt2img", {"guidance_scale": 3.0}, {"guided", *SAMPLING}),
    ("txt2img", {"guidance_scale": 5}, set()),  # what it was, as an int
    ("txt2img", {"width": 64, "height": 64}, {"canvas"}),  # the size that is usual anyway: the canvas is the same
    ("txt2img", {"width": 96}, {"canvas", *SAMPLING}),
    ("img2img", {}, set()),
    ("img2img", {"strength": 0.5}, SAMPLING),
    ("img2img", {"seed": 7}, {"encoded", *SAMPLING}),
    ("img2img", {"prompt": "a star on a red background"}, {"wanted", "guided", *SAMPLING}),
    ("img2img", {"image": "a copy elsewhere"}, set()),
    ("img2img", {"image": "another file with the same picture"}, {"given"}),
    ("thirty", {}, set()),
    ("thirty", {"quality": 50}, {"saved_a", "saved_c"}),
    ("thirty", {"strength": 0.9}, {"redrawn", "d", "small_d", "saved_d"}),
    ("thirty", {"scale": 2.0}, {
        "guided", "steered", "drawn", "twice", "a", "b", "small_a", "small_b", "grid", "saved_a", "sheet", "redrawn",
        "d", "small_d", "saved_d",
    }),
    ("thirty", {"other": "a dog face on a pink background"}, {
        "second", "steered", "twice", "b", "small_b", "grid", "sheet", "redrawn", "d", "small_d", "saved_d",
    }),
    ("thirty", {"prompt": "a star on a red background"}, {
        "first", "guided", "plain", "drawn", "loose", "a", "c", "small_a", "small_c", "saved_a", "saved_c",
    }),
]  # fmt: skip


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(node_types())


@pytest.fixture
def store(tmp_path: Path) -> Any:
    return open_store(tmp_path / "store")


def given(name: str, change: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The params of a run; few steps, because what is computed is asked for, not how well."""
    params = {} if name == "thirty" else {"steps": 4}
    params |= change
    if params.get("image") == "a copy elsewhere":
        params["image"] = folder / "copy.png"
        params["image"].write_bytes(DOG.read_bytes())
    elif "image" in params:
        from PIL import Image

        params["image"] = folder / "other.png"
        Image.open(DOG).save(params["image"], compress_level=1)
        assert params["image"].read_bytes() != DOG.read_bytes()
    return params


@pytest.mark.parametrize(("name", "change", "computed"), CHANGES, ids=lambda value: str(value) if value else "")
def test_exactly_what_had_to_be_computed_is(
    name: str, change: dict[str, Any], computed: set[str], registry: Registry, store: Any, tmp_path: Path
) -> None:
    graph = load(THIRTY if name == "thirty" else name, registry=registry)
    execute(graph.check(**given(name, {}, tmp_path)), store=store, files=True)
    changed = graph.check(**given(name, change, tmp_path))
    planned = plan(changed, store)
    run: Run = execute(changed, store=store, files=True)
    assert run.status == "done", run.failures
    assert set(run.named("computed")) == computed
    assert set(run.named("reused")) == set(changed.nodes) - computed
    assert set(planned.named("run")) <= computed <= {*planned.named("run"), *planned.named("depends")}
    print(f"\n{name}, {change or 'nothing changed'}: {len(computed)} computed, {len(run.named('reused'))} reused")
