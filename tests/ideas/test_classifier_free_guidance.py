"""Classifier-free guidance: w = 1 is the conditioned output, w = 0 the unconditioned one, and beyond all grow alike."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor

from latentgraph.engine.context import Context
from latentgraph.engine.node import Wrong
from latentgraph.engine.registry import Registry
from latentgraph.engine.session import load
from latentgraph.engine.store import open_store
from latentgraph.nodes import node_types
from latentgraph.nodes.conditioning import CLIPEncode
from latentgraph.nodes.guidance import CFGCombine
from latentgraph.nodes.guides import Conditioning, Guidance
from latentgraph.nodes.images import MeasureDiversity
from latentgraph.nodes.latents import EmptyLatent
from latentgraph.nodes.models import BUILTIN, Loaded, LoadModel
from latentgraph.nodes.ports import Image
from latentgraph.nodes.sampling import KSampler

CONTEXT = Context()
PROMPT = "a cat face with sunglasses"


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return LoadModel(name="builtin").run(CONTEXT)


@pytest.fixture(scope="module")
def texts(loaded: Loaded) -> tuple[Conditioning, Conditioning]:
    """The conditionings of the prompt, and of the empty text."""
    conditioned, unconditioned = (CLIPEncode(clip=loaded.clip, text=text).run(CONTEXT) for text in (PROMPT, ""))
    return conditioned, unconditioned


def sampled(loaded: Loaded, guidance: Guidance | Conditioning, **options: Any) -> Tensor:
    canvas = EmptyLatent(model=loaded.model, batch_size=2).run(CONTEXT)
    options = {"sampler": "dpmpp_2m", "steps": 3, "seed": 42, **options}
    drawn = KSampler(model=loaded.model, guidance=guidance, latent=canvas, **options).run(CONTEXT)
    return drawn.samples


def guided(texts: tuple[Conditioning, Conditioning], scale: float) -> Guidance:
    return CFGCombine(positive=texts[0], negative=texts[1], scale=scale).run(CONTEXT)


def test_w_1_is_the_conditioned_output_and_w_0_the_unconditioned_one_to_the_bit(loaded: Loaded, texts):
    conditioned, unconditioned = (sampled(loaded, text) for text in texts)
    assert torch.equal(sampled(loaded, guided(texts, 1.0)), conditioned)
    assert torch.equal(sampled(loaded, guided(texts, 0.0)), unconditioned)
    assert not torch.equal(conditioned, unconditioned)


@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0, 9.0])
def test_a_step_takes_the_formula_of_what_the_network_predicts_with_and_without_the_prompt(scale, loaded, texts):
    network = UNet2DConditionModel.from_pretrained(BUILTIN / "unet").float().eval()
    scheduler = DDIMScheduler.from_pretrained(BUILTIN / "scheduler")
    scheduler.set_timesteps(3)
    noise = torch.cat([torch.randn(1, 8, 16, 16, generator=torch.Generator().manual_seed(seed)) for seed in (42, 43)])
    timestep = scheduler.timesteps[0]
    with torch.no_grad():
        conditioned, unconditioned = (
            network(noise, timestep, encoder_hidden_states=text.conds[0].tokens.expand(2, -1, -1)).sample
            for text in texts
        )
    output = scale * (conditioned - unconditioned) + unconditioned
    wanted = scheduler.step(output, timestep, noise).prev_sample
    found = sampled(loaded, guided(texts, scale), sampler="diffusers:DDIMScheduler", end=1)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_the_share_that_shows_the_prompt_rises_with_w(ran):
    shares = ran("classifier-free-guidance")["shares"]
    assert len(shares) == 5
    assert shares[0] < shares[1] < shares[2] < shares[3]
    assert shares[0] <= 0.05
    assert shares[2] >= shares[1] + 0.2
    assert shares[3] >= 0.7
    assert shares[4] >= 0.55


def test_the_pictures_of_one_prompt_grow_alike_with_w(ran):
    diversities = ran("classifier-free-guidance")["diversities"]
    assert all(more < 0.95 * less for less, more in pairwise(diversities))
    assert diversities[4] < 0.5 * diversities[1]


def test_the_table_has_a_row_for_each_scale(ran):
    outputs = ran("classifier-free-guidance")
    scales, shares, diversities = (column.values for column in outputs["table"].columns)
    assert scales == (0.0, 1.0, 3.0, 5.0, 9.0)
    assert shares == tuple(outputs["shares"])
    assert diversities == tuple(outputs["diversities"])


def test_another_scale_computes_its_own_row_alone(tmp_path: Path):
    graph = load("ideas/classifier-free-guidance", registry=Registry(node_types()), store=open_store(tmp_path))
    small = {"batch_size": 8, "steps": 1}
    graph.run(scales=[0.0, 1.0, 3.0], **small)
    again = graph.run(scales=[0.0, 1.0, 5.0, 3.0], **small)
    anew = {"guided/2", "sampled/2", "decoded/2", "verdict/2", "diversity/2", "shown/2"}
    assert set(again.named("computed")) == {*anew, "table", "plot", "strip"}
    assert set(again.nodes) - set(again.named("computed")) >= {"model", "conditioned", "canvas", "sampled/3", "shown/3"}


def test_diversity_is_the_mean_distance_of_all_pairs():
    levels = torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1, 1).expand(3, 3, 4, 4)
    assert MeasureDiversity(images=Image(levels)).run(CONTEXT) == pytest.approx((0.5 + 1.0 + 0.5) / 3)
    pixels = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    pairs = torch.pdist(pixels.flatten(1).double()) / (3 * 8 * 8) ** 0.5
    assert MeasureDiversity(images=Image(pixels)).run(CONTEXT) == pytest.approx(float(pairs.mean()))
    assert MeasureDiversity(images=Image(pixels[:1].repeat(3, 1, 1, 1))).run(CONTEXT) == 0.0
    opaque = torch.cat([pixels, torch.rand(6, 1, 8, 8)], 1)
    assert MeasureDiversity(images=Image(opaque)).run(CONTEXT) == pytest.approx(float(pairs.mean()))
    with pytest.raises(Wrong, match="one picture alone differs from no other"):
        MeasureDiversity(images=Image(pixels[:1])).run(CONTEXT)
