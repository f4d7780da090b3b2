"""The network is told how much noise there is: told wrongly, it predicts a worse picture."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from fixtures import Ran

from latentgraph.engine.context import Context
from latentgraph.engine.node import Wrong
from latentgraph.engine.ports import Folder
from latentgraph.nodes.conditioning import CLIPEncode
from latentgraph.nodes.diffusion.weights import load_unet
from latentgraph.nodes.guidance import AdaptiveProjectedGuidance
from latentgraph.nodes.latents import EmptyLatent, VAEEncode
from latentgraph.nodes.models import Loaded, LoadModel
from latentgraph.nodes.training.datasets import EmojiScenes, ShowDataset
from latentgraph.nodes.training.measures import MeasureDenoiser, MisleadDenoiser
from latentgraph.nodes.training.measuring import Noisy

ARTWORK = Folder.at(Path(__file__).parents[2] / "graphs" / "train" / "emoji")


@pytest.fixture(scope="module")
def builtin() -> Loaded:
    return LoadModel(name="builtin").run(Context())


@pytest.fixture(scope="module")
def inputs(builtin: Loaded) -> dict[str, Any]:
    """A model with two pictures as latents, and their texts."""
    data = EmojiScenes(artwork=ARTWORK, count=2, seed=77).run(Context())
    shown = ShowDataset(data=data, count=2).run(Context())
    texts = CLIPEncode(clip=builtin.clip, text=shown.captions).run(Context())
    clean = VAEEncode(vae=builtin.vae, image=shown.images).run(Context())
    return {"model": builtin.model, "guidance": texts, "latent": clean}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_truth_gives_the_least_error_at_every_timestep(ran: Ran, seed: int):
    given = ran("time-embedding", seed=seed)
    assert given["off_diagonal"] == 0
    assert given["worst"] > 3


def test_the_error_grows_with_the_distance_from_the_truth(ran: Ran):
    errors = ran("time-embedding")["errors"]
    rows = list(zip(*(column.values for column in errors.columns[1:]), strict=True))
    for truth, row in enumerate(rows):
        assert list(row[: truth + 1]) == sorted(row[: truth + 1], reverse=True)
    # Where there is little noise, being told too much of it is worse the more it is.
    assert list(rows[1][1:]) == sorted(rows[1][1:])


def test_errors_are_those_of_plain_pytorch_with_diffusers_scheduler(builtin: Loaded, inputs: dict[str, Any]):
    timesteps = (100, 700)
    given = MisleadDenoiser(**inputs, timesteps=timesteps, seed=5).run(Context())
    schedule = DDIMScheduler.from_config(builtin.model.scheduler_config)
    unet, clean = load_unet(builtin.model), inputs["latent"].samples
    tokens = inputs["guidance"].conds[0].tokens
    noise = torch.stack(
        [torch.randn(clean.shape[1:], generator=torch.Generator().manual_seed(seed)) for seed in (5, 6)]
    )
    for row, real in enumerate(timesteps):
        noisy = schedule.add_noise(clean, noise, torch.tensor([real]))
        for told in timesteps:
            with torch.no_grad():
                velocity = unet(noisy, told, encoder_hidden_states=tokens).sample
            # diffusers' own conversion of v at the real timestep.
            schedule.set_timesteps(1000)
            predicted = schedule.step(velocity, real, noisy).pred_original_sample
            error = float((predicted - clean).square().mean().sqrt())
            assert given.errors.column(str(told)).values[row] == pytest.approx(error, rel=1e-4)
    ratio = given.errors.column("700").values[0] / given.errors.column("100").values[0]
    assert given.ratios.column("700").values[0] == pytest.approx(ratio)
    assert given.ratios.column("100").values[0] == given.ratios.column("700").values[1] == 1


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
def test_what_a_network_should_predict_is_read_as_the_picture_and_the_noise(kind: str):
    """By diffusers' DDIM, for each kind of prediction."""
    generator = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 2, 3, 4, 4, generator=generator)
    schedule = DDIMScheduler(prediction_type=kind, clip_sample=False)
    schedule.set_timesteps(1000)
    kept = float(schedule.alphas_cumprod[300])
    noisy = Noisy(schedule.add_noise(clean, noise, torch.tensor([300])), clean, noise, kept**0.5, (1 - kept) ** 0.5)
    wanted = noisy.wanted(kind)
    if kind == "v_prediction":
        torch.testing.assert_close(wanted, schedule.get_velocity(clean, noise, torch.tensor([300])))
    for prediction in (wanted, torch.randn(clean.shape, generator=generator)):
        read, seen = noisy.read(prediction, kind)
        torch.testing.assert_close(read, schedule.step(prediction, 300, noisy.samples).pred_original_sample)
        again = noisy.signal * read + noisy.noisiness * seen
        torch.testing.assert_close(again, noisy.samples)
    torch.testing.assert_close(noisy.read(wanted, kind)[0], clean, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(noisy.read(wanted, kind)[1], noise, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("node", [MeasureDenoiser, MisleadDenoiser])
def test_what_cannot_be_measured_is_said(node: Any, builtin: Loaded, inputs: dict[str, Any]):
    with pytest.raises(Wrong, match="1000 is no timestep of the model, which has 0 to 999"):
        node(**inputs, timesteps=(1, 1000)).run(Context())
    with pytest.raises(Wrong, match="no timesteps"):
        node(**inputs, timesteps=()).run(Context())
    with pytest.raises(Wrong, match="no picture in the latent"):
        node(**{**inputs, "latent": EmptyLatent(model=builtin.model).run(Context())}).run(Context())
    flow = replace(builtin.model, weights=replace(builtin.model.weights, kind="transformer"))
    with pytest.raises(Wrong, match="flow model"):
        node(**{**inputs, "model": flow}).run(Context())


def test_a_timestep_is_told_once():
    with pytest.raises(Wrong, match="there twice"):
        MisleadDenoiser.model_construct(timesteps=(1, 1)).run(Context())


def test_the_order_of_timesteps_does_not_matter_under_guidance_with_momentum(builtin: Loaded, inputs: dict[str, Any]):
    nothing = CLIPEncode(clip=builtin.clip, text="").run(Context())
    guided = AdaptiveProjectedGuidance(positive=inputs["guidance"], negative=nothing, scale=3.0, momentum=0.5).run(
        Context()
    )
    given = inputs | {"guidance": guided}
    found = [MeasureDenoiser(**given, timesteps=times).run(Context()).table for times in ((100, 700), (700, 100))]
    for one, other in zip(found[0].columns, found[1].columns, strict=True):
        assert one.values == other.values[::-1], one.name


def test_timesteps_are_so_many_at_most(inputs: dict[str, Any]):
    for node, most in ((MeasureDenoiser, 64), (MisleadDenoiser, 16)):
        node(**inputs, timesteps=tuple(range(most)))
        with pytest.raises(ValueError, match="timesteps"):
            node(**inputs, timesteps=tuple(range(most + 1)))
