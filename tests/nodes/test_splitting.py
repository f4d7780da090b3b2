"""A sampling that is split at any step is the sampling at one go, to the last bit; another one may go on, too."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import test_parity
import torch

from latentgraph.engine.context import Context
from latentgraph.engine.digest import digest
from latentgraph.nodes.codec import TENSORS
from latentgraph.nodes.conditioning import CLIPEncode
from latentgraph.nodes.diffusion.samplers import SAMPLERS
from latentgraph.nodes.guides import APG, CFG
from latentgraph.nodes.latents import EmptyLatent, VAEEncode, VAEEncodeInpaint
from latentgraph.nodes.models import Loaded
from latentgraph.nodes.ports import Image, Latent, Mask
from latentgraph.nodes.sampling import KSampler

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

EVERY = [*SAMPLERS, *(f"diffusers:{name}" for name in test_parity.BOTH_WAYS + test_parity.NO_ADD_NOISE)]
STEPS = 5

Draw = Callable[..., Latent]


@pytest.fixture
def draw(loaded: Loaded, context: Context) -> Draw:
    red, dog = (CLIPEncode(clip=loaded.clip, text=text).run(context) for text in ("a red apple", "dog"))
    canvas = EmptyLatent(model=loaded.model, batch_size=2).run(context)
    usual = {"model": loaded.model, "guidance": CFG(red, dog, 5.0), "latent": canvas, "steps": STEPS, "seed": 3}
    return lambda **inputs: KSampler(**usual | inputs).run(context)


def stored(latent: Latent) -> Latent:
    """The latent as it comes back from disk."""
    return TENSORS.decode(Latent, TENSORS.encode(latent))  # type: ignore[return-value]


def split(draw: Draw, at: int, **inputs: Any) -> Latent:
    left = stored(draw(end=at, **inputs))
    assert left.unfinished is not None
    assert left.unfinished.sigma > 0
    return draw(**inputs | {"latent": left, "seed": None, "start": at})


@pytest.mark.parametrize("sampler", EVERY)
def test_every_sampler_at_every_step(draw: Draw, sampler: str) -> None:
    whole = draw(sampler=sampler)
    for at in range(1, STEPS):
        assert digest(split(draw, at, sampler=sampler)) == digest(whole), f"split at {at}"


def test_in_many_parts_without_saying_where(draw: Draw) -> None:
    left = draw(sampler="dpmpp_3m_sde", end=1)
    for end in (2, 3, None):
        left = draw(sampler="dpmpp_3m_sde", latent=stored(left), seed=None, end=end)
    assert digest(left) == digest(draw(sampler="dpmpp_3m_sde"))


def test_what_guidance_remembers_goes_on(draw: Draw, loaded: Loaded, context: Context) -> None:
    red, dog = (CLIPEncode(clip=loaded.clip, text=text).run(context) for text in ("a red apple", "dog"))
    guidance = APG(red, dog, 5.0, momentum=-0.5)
    assert digest(split(draw, 3, guidance=guidance)) == digest(draw(guidance=guidance))


@pytest.mark.parametrize("sampler", ["euler_ancestral", "dpmpp_2m", "diffusers:DPMSolverMultistepScheduler"])
def test_inpainting_goes_on(draw: Draw, loaded: Loaded, context: Context, sampler: str) -> None:
    image = Image(torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    mask = Mask((torch.arange(32) > 12).float().expand(1, 1, 32, 32))
    encoded = VAEEncodeInpaint(vae=loaded.vae, image=image, mask=mask, seed=1).run(context)
    given = {"latent": encoded, "seed": 4, "sampler": sampler}
    left = stored(draw(**given, end=2))
    assert digest(draw(**given | {"latent": left, "seed": None})) == digest(draw(**given))


def test_another_sampler_goes_on_from_the_noise_that_is_left(draw: Draw) -> None:
    for first, second in (
        ("dpmpp_2m", "euler"),
        ("diffusers:DDIMScheduler(clip_sample=false)", "dpmpp_2m"),
        ("heun", "diffusers:DPMSolverMultistepScheduler"),
    ):
        left = draw(sampler=first, scheduler="trailing", steps=20, end=10)
        both = draw(sampler=second, latent=left, seed=None, scheduler="trailing", steps=20, start=10)
        assert both.unfinished is None
        whole = draw(sampler=second, scheduler="trailing", steps=20)
        # They solve the same equation, so they end near each other.
        assert (both.samples - whole.samples).abs().mean() < 0.1 * whole.samples.abs().mean()


def test_where_another_sampling_goes_on_has_to_be_said(draw: Draw) -> None:
    left = draw(sampler="euler", end=2)
    with pytest.raises(ValueError, match="left after step 2 by another sampling: say with start"):
        draw(sampler="dpmpp_2m", latent=left, seed=None)
    with pytest.raises(ValueError, match=r"was left at sigma .*, but step 4 begins at"):
        draw(sampler="euler", latent=left, seed=None, start=4)


def test_a_clean_latent_may_begin_at_a_step(draw: Draw, loaded: Loaded, context: Context) -> None:
    image = Image(torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    encoded = VAEEncode(vae=loaded.vae, image=image, seed=1).run(context)
    by_start = draw(latent=encoded, start=2)
    by_strength = draw(latent=encoded, strength=0.6)
    assert digest(by_start) == digest(by_strength)


def test_denoise_takes_all_steps_of_a_longer_way(draw: Draw, loaded: Loaded, context: Context) -> None:
    image = Image(torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    encoded = VAEEncode(vae=loaded.vae, image=image, seed=1).run(context)
    by_denoise = draw(latent=encoded, steps=5, denoise=0.5)
    by_strength = draw(latent=encoded, steps=10, strength=0.5)
    assert digest(by_denoise) == digest(by_strength)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"start": 5}, "start is 5, but there are 5 steps"),
        ({"end": 6}, "end is 6, but there are 5 steps"),
        ({"start": 3, "end": 3}, "nothing is between them"),
        ({"strength": 0.5, "start": 3}, "leave one out"),
        ({"strength": 0.5, "denoise": 0.5}, "two ways to say one thing"),
    ],
)
def test_parts_that_are_none_are_refused(draw: Draw, loaded: Loaded, inputs: dict[str, Any], message: str) -> None:
    canvas = draw()
    with pytest.raises(ValueError, match=message):
        draw(latent=replace(canvas, generators=None), **inputs)
