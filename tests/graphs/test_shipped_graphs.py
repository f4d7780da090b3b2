"""The graphs that ship: each is right, runs as it is, and calls the same thing by the same name."""

from pathlib import Path

import pytest
import torch

from latentgraph.engine.diagnostics import GraphWrong
from latentgraph.engine.library import shipped_graphs
from latentgraph.engine.ports import PortType
from latentgraph.engine.problems import Problems
from latentgraph.engine.registry import Registry
from latentgraph.engine.session import load
from latentgraph.engine.store import open_store
from latentgraph.nodes import node_types
from latentgraph.nodes.models import BUILTIN

SHIPPED = dict(shipped_graphs())
DRAWING = ["gallery", "img2img", "txt2img", "txt2img-batch"]

TYPES = {
    "artwork": "Folder", "batch_size": "int", "guidance_scale": "float", "height": "int", "image": "File",
    "model": "str",
    "negative_prompt": "str", "prompt": "str", "prompts": "[str]", "sampler": "str", "scheduler": "str", "seed": "int",
    "steps": "int", "strength": "float", "width": "int",
}  # fmt: skip


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(node_types())


def test_the_graphs_that_ship_are_these():
    assert list(SHIPPED) == [
        *DRAWING, "train/builtin", "train/clip", "train/dataset", "train/evaluate", "train/unet", "train/vae",
    ]  # fmt: skip


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
        assert {"model", "seed", "steps", "guidance_scale", "sampler"} <= set(graph.params)


@pytest.mark.parametrize("name", DRAWING)
def test_a_shipped_graph_draws(name: str, registry: Registry):
    (picture,) = load(name, registry=registry).run(steps=2).outputs.values()
    assert picture.pixels.min() >= 0
    assert picture.pixels.max() <= 1
    assert picture.pixels.std() > 0.05


TRAINING = {
    "train/dataset": {"count": 8},
    "train/vae": {"count": 16, "coarse_steps": 1, "steps": 1},
    "train/clip": {"count": 256, "steps": 1, "batch_size": 8},
    "train/unet": {"count": 16, "steps": 1, "batch_size": 2},
    "train/builtin": {"count": 256, "coarse_steps": 1, "vae_steps": 1, "clip_steps": 1, "unet_steps": 1},
    "train/evaluate": {"steps": 1, "seen": 2, "dressed": 1, "pairs": 1, "judge_count": 520, "judge_steps": 1},
}


@pytest.mark.parametrize("name", TRAINING)
def test_a_training_graph_runs_to_its_outputs(name: str, registry: Registry, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("LATENTGRAPH_CACHE", str(tmp_path))
    graph = load(name, registry=registry)
    run = graph.run(**TRAINING[name])
    assert set(run.outputs) == set(graph.graph.outputs)
    for value in run.outputs.values():
        if isinstance(value, PortType):
            assert [written for written in value.written() if not written.content] == []


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
