"""The graphs that ship: each is right, runs as it is, and calls the same thing by the same name."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from latentgraph.engine.diagnostics import GraphWrong
from latentgraph.engine.library import shipped_graphs
from latentgraph.engine.ports import PortType
from latentgraph.engine.problems import Problems
from latentgraph.engine.registry import Registry
from latentgraph.engine.session import load
from latentgraph.engine.store import open_store
from latentgraph.graphs.ideas.index import ideas
from latentgraph.nodes import node_types
from latentgraph.nodes.models import BUILTIN

SHIPPED = dict(shipped_graphs())
DOCS = Path(__file__).parents[2] / "docs"

DRAWING: dict[str, dict[str, Any]] = {
    "controlnet": {},
    "gallery": {"prompts": ["a dog face", "a red apple"]},
    "hires-fix": {"strength": 0.5},
    "img2img": {},
    "inpaint": {},
    "lora": {},
    "outpaint": {},
    "prompt-schedule": {},
    "sdxl-base-refiner": {"handover": 1},
    "txt2img": {},
    "txt2img-batch": {"batch_size": 2},
    "upscale": {"strength": 0.5},
    "variations": {},
    "xy-grid": {"prompts": ["a dog face", "a red apple"], "samplers": ["euler", "dpmpp_2m"]},
}
"""Graphs that draw with the built-in model, and what makes that quick, or lets two steps suffice."""

TRAINING: dict[str, dict[str, Any]] = {
    "train/builtin": {"count": 256, "coarse_steps": 1, "vae_steps": 1, "clip_steps": 1, "unet_steps": 1},
    "train/clip": {"count": 256, "steps": 1, "batch_size": 8},
    "train/controlnet": {"count": 8, "steps": 1, "batch_size": 2},
    "train/dataset": {"count": 8},
    "train/evaluate": {"steps": 1, "seen": 2, "dressed": 1, "pairs": 1, "judge_count": 520, "judge_steps": 1},
    "train/judge": {"count": 520, "steps": 1, "batch_size": 8},
    "train/lora": {"prompts": ["a dog face", "a red apple"], "steps": 1, "rank": 1},
    "train/unet": {"count": 16, "steps": 1, "batch_size": 2},
    "train/vae": {"count": 16, "coarse_steps": 1, "steps": 1},
}
"""Graphs that train, and what makes that quick."""

TYPES = {
    "amount": "float", "artwork": "Folder", "batch_size": "int", "control_net": "Folder", "factor": "float",
    "guidance_scale": "float", "height": "int", "image": "File", "later_prompt": "str", "lora": "File", "mask": "File",
    "model": "str", "negative_prompt": "str", "other_seed": "int", "prompt": "str", "prompts": "[str]",
    "refiner": "str", "sampler": "str", "samplers": "[str]", "scheduler": "str", "seed": "int", "steps": "int",
    "strength": "float", "width": "int",
}  # fmt: skip


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(node_types())


def test_the_graphs_that_ship_are_these():
    assert list(SHIPPED) == [*DRAWING, *sorted(f"ideas/{idea.graph}" for idea in ideas()), *TRAINING]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_graph_is_right_and_needs_no_param(name: str, registry: Registry):
    graph = load(SHIPPED[name], registry=registry)
    problems = Problems()
    from latentgraph.engine.check import check

    check(graph.graph, registry, problems, {})
    assert [str(problem) for problem in (*graph.problems, *problems.found)] == []


@pytest.mark.parametrize("name", SHIPPED)
def test_params_and_outputs_of_shipped_graphs_have_the_usual_names(name: str, registry: Registry):
    graph = load(SHIPPED[name], registry=registry).graph
    assert graph.description.endswith(".")
    assert graph.text.startswith("# ")
    for param in graph.params.values():
        if param.name in TYPES:
            assert param.type_name.removesuffix(" | none") == TYPES[param.name], param.name
    if name in DRAWING:
        assert {"image", "images"} & set(graph.outputs)
        assert {"model", "seed", "steps", "guidance_scale"} <= set(graph.params)
        assert {"sampler", "samplers"} & set(graph.params)


@pytest.mark.parametrize("name", DRAWING)
def test_a_shipped_graph_draws(name: str, registry: Registry):
    run = load(name, registry=registry).run(steps=2, **DRAWING[name])
    assert run.outputs
    for picture in run.outputs.values():
        assert picture.pixels.min() >= 0
        assert picture.pixels.max() <= 1
        assert picture.pixels.std() > 0.05


def test_the_refiner_graph_draws_with_a_stable_diffusion_xl_and_its_refiner(
    registry: Registry, tmp_path: Path, monkeypatch
):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "nodes")
    import tiny_families

    base, refiner = (str(tiny_families.build(family, tmp_path / family)) for family in ("sdxl", "refiner"))
    graph = load("sdxl-base-refiner", registry=registry)
    params = {"model": base, "refiner": refiner, "steps": 3, "handover": 2, "width": 32, "height": 32}
    drawn = graph.run(**params).outputs["image"].pixels
    assert drawn.shape == (1, 3, 32, 32)
    assert not torch.equal(drawn, graph.run(**params | {"handover": 1}).outputs["image"].pixels)


def test_variations_begin_at_one_seeds_picture_and_arrive_at_anothers(registry: Registry):
    chosen = {"prompt": "a dog face", "steps": 2, "guidance_scale": 3.0, "sampler": "dpmpp_2m"}
    varied = load("variations", registry=registry).run(seed=5, other_seed=8, **chosen).outputs["images"].pixels
    alone = load("txt2img-batch", registry=registry)
    first = alone.run(seed=5, batch_size=1, **chosen).outputs["images"].pixels
    others = alone.run(seed=8, batch_size=3, **chosen).outputs["images"].pixels
    for row in varied.view(3, 5, *varied.shape[1:]):
        assert (row[:1] - first).abs().max() < 1e-4
    assert (varied[4::5] - others).abs().max() < 1e-4
    near, far = (varied[1] - first).abs().mean(), (varied[3] - first).abs().mean()
    assert 0 < near < far


def test_the_grid_has_a_row_for_each_prompt_and_a_column_for_each_sampler(registry: Registry):
    from latentgraph.nodes.diffusion.grid import Labels, labelled

    axes = {"prompts": ["a dog face", "a red apple"], "samplers": ["euler", "heun", "dpmpp_2m"]}
    grid = load("xy-grid", registry=registry).run(steps=2, guidance_scale=5.0, **axes).outputs["image"].pixels
    one = load("txt2img", registry=registry).run(steps=2, prompt="a red apple", sampler="euler").outputs["image"].pixels
    expected = labelled(one, Labels(), (), 1, 128)[..., 6:134, 6:134]
    left, top = grid.shape[3] - 3 * 134, grid.shape[2] - 134
    assert torch.equal(grid[..., top : top + 128, left : left + 128], expected)


@pytest.mark.parametrize("name", TRAINING)
def test_a_training_graph_runs_to_its_outputs(name: str, registry: Registry, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("LATENTGRAPH_CACHE", str(tmp_path))
    graph = load(name, registry=registry)
    run = graph.run(**TRAINING[name])
    assert set(run.outputs) == set(graph.graph.outputs)
    for value in run.outputs.values():
        if isinstance(value, PortType):
            assert [written for written in value.written() if not written.content] == []


def test_the_gallery_shows_every_graph_that_draws_and_its_pictures_can_be_made(registry: Registry):
    page = DOCS / "gallery.md"
    text = page.read_text()
    assert sorted(re.findall(r"^## (.*)$", text, re.MULTILINE)) == sorted(DRAWING)
    assert [link for link in re.findall(r"\]\(([^)]*)\)", text) if not (DOCS / link).is_file()] == []
    assert load(DOCS / "gallery" / "pictures.yaml", registry=registry).check().nodes


def test_the_built_in_model_draws_what_plain_diffusers_draws_with_it(registry: Registry):
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    prompt = "a dog face with glasses on a blue background"
    drawn = (
        load("txt2img", registry=registry)
        .run(prompt=prompt, seed=7, sampler="diffusers:DDIMScheduler")
        .outputs["image"]
    )
    pipeline = StableDiffusionPipeline.from_pretrained(BUILTIN, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    reference = pipeline(
        prompt,
        num_inference_steps=25,
        guidance_scale=5.0,
        generator=torch.Generator().manual_seed(7),
        output_type="pt",
    ).images
    assert (drawn.pixels - reference).abs().max() == 0.0


def test_the_built_in_model_is_small_and_whole():
    files = [path for path in BUILTIN.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 30_000_000
    names = {path.relative_to(BUILTIN).as_posix() for path in files}
    assert names >= {
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/model.safetensors",
        "tokenizer/merges.txt",
        "tokenizer/tokenizer.json",
        "tokenizer/vocab.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    }


def test_another_prompt_and_another_seed_give_other_pictures(registry: Registry):
    graph = load("txt2img", registry=registry, store=open_store(None, memory_bytes=0))  # so that nothing is reused
    first = graph.run(steps=3).outputs["image"].pixels
    assert torch.equal(first, graph.run(steps=3).outputs["image"].pixels)
    assert not torch.equal(first, graph.run(steps=3, seed=43).outputs["image"].pixels)
    assert not torch.equal(first, graph.run(steps=3, prompt="a star on a red background").outputs["image"].pixels)


def test_strength_0_gives_the_picture_back_through_the_autoencoder(registry: Registry):
    graph = load("img2img", registry=registry)
    kept = graph.run(strength=0.0).outputs["image"].pixels
    changed = graph.run(strength=0.9).outputs["image"].pixels
    from latentgraph.engine import File
    from latentgraph.nodes.diffusion.pixels import decoded

    given = decoded(File.at(Path(SHIPPED["img2img"]).parent / "examples" / "dog.png"))
    assert (kept - given).abs().mean() < 0.03 < (changed - given).abs().mean()


def test_a_wrong_param_is_refused_before_anything_runs(registry: Registry):
    events: list[object] = []
    with pytest.raises(GraphWrong, match="unknown-param"):
        load("txt2img", registry=registry).run(promt="a dog", on_event=events.append)
    with pytest.raises(GraphWrong, match="out-of-range"):
        load("txt2img", registry=registry).run(steps=0, on_event=events.append)
    assert events == []


def test_a_picture_carries_its_making_and_is_made_again_from_it(tmp_path: Path, monkeypatch, capsys):
    from latentgraph.engine.cli import main
    from latentgraph.engine.picture import read_making

    monkeypatch.chdir(tmp_path)
    assert main(["run", "txt2img", "--set", "steps=2", "--set", "seed=5", "--output", "first"]) == 0
    (first,) = Path("first").iterdir()
    making = read_making(first)
    assert making.graph == SHIPPED["txt2img"].read_text()
    assert making.params["seed"] == 5
    assert set(making.models) == {
        f"builtin/{part}" for part in ("scheduler", "text_encoder", "tokenizer", "unet", "vae")
    }
    assert str(tmp_path).encode() not in first.read_bytes()
    assert main(["run", str(first), "--trust", "--output", "again", "--no-store"]) == 0
    (again,) = Path("again").iterdir()
    assert (again.name, again.read_bytes()) == (first.name, first.read_bytes())
    assert "differs" not in capsys.readouterr().err
