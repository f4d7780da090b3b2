"""Guidance, seeds, batches, samplers by name, and what does not fit."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from latentgraph.engine.context import Cancelled, Context
from latentgraph.engine.digest import digest
from latentgraph.nodes.conditioning import CLIPEncode
from latentgraph.nodes.diffusion.evaluate import evaluating
from latentgraph.nodes.diffusion.guiding import Share
from latentgraph.nodes.diffusion.samplers import SAMPLERS, SCHEDULES
from latentgraph.nodes.diffusion.schedulers import new_scheduler
from latentgraph.nodes.guidance import CFGCombine
from latentgraph.nodes.guides import CFG, Cond, Conditioning
from latentgraph.nodes.latents import EmptyLatent, VAEDecode, VAEEncode
from latentgraph.nodes.models import Loaded
from latentgraph.nodes.ports import Image, Latent
from latentgraph.nodes.references import Space
from latentgraph.nodes.sampling import KSampler

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # about NumPy, out of diffusers


@pytest.fixture
def red(loaded: Loaded, context: Context) -> Conditioning:
    return CLIPEncode(clip=loaded.clip, text="a red apple").run(context)


@pytest.fixture
def dog(loaded: Loaded, context: Context) -> Conditioning:
    return CLIPEncode(clip=loaded.clip, text="dog").run(context)


@pytest.fixture
def canvas(loaded: Loaded, context: Context) -> Latent:
    return EmptyLatent(model=loaded.model).run(context)


def draw(loaded: Loaded, context: Context, **inputs: Any) -> Latent:
    return KSampler(**{"model": loaded.model, "steps": 3, "sampler": "euler_ancestral", "seed": 1} | inputs).run(
        context
    )


def same(a: Latent, b: Latent) -> bool:
    return torch.equal(a.samples, b.samples)


# text


def test_a_list_of_texts_is_the_batch_of_single_texts(loaded: Loaded, context: Context) -> None:
    texts = ("a red apple", "", "dog")
    (cond,) = CLIPEncode(clip=loaded.clip, text=texts).run(context).conds
    assert cond.tokens.shape == (3, 12, 16)
    for row, text in zip(cond.tokens, texts, strict=True):
        (single,) = CLIPEncode(clip=loaded.clip, text=text).run(context).conds
        torch.testing.assert_close(row, single.tokens[0])


def test_what_is_cut_off_from_a_long_text_is_said(loaded: Loaded, tmp_path: Path) -> None:
    said: list[Any] = []
    context = Context(report=lambda kind, content: said.append(content))
    CLIPEncode(clip=loaded.clip, text="red apple on blue dog " * 2, long="cut").run(context)
    assert said == []
    CLIPEncode(clip=loaded.clip, text="red apple on blue dog " * 2 + "red apple", long="cut").run(context)
    assert said[0]["message"].endswith("left out: red apple")


def test_no_texts_at_all_are_refused(loaded: Loaded, context: Context) -> None:
    with pytest.raises(ValueError, match="list of texts is empty"):
        CLIPEncode(clip=loaded.clip, text=()).run(context)


# guidance


def test_scale_1_is_the_positive_alone(
    loaded: Loaded, context: Context, red: Conditioning, dog: Conditioning, canvas: Latent
) -> None:
    plain = draw(loaded, context, guidance=red, latent=canvas)
    assert same(draw(loaded, context, guidance=CFG(red, dog, 1.0), latent=canvas), plain)
    assert same(draw(loaded, context, guidance=CFG(red, None, 1.0), latent=canvas), plain)


def test_scale_0_is_the_negative_alone(
    loaded: Loaded, context: Context, red: Conditioning, dog: Conditioning, canvas: Latent
) -> None:
    plain = draw(loaded, context, guidance=dog, latent=canvas)
    assert same(draw(loaded, context, guidance=CFG(red, dog, 0.0), latent=canvas), plain)


@pytest.mark.parametrize("near", [0.0, 1.0])
def test_guidance_is_continuous_at_its_edges(
    loaded: Loaded, context: Context, red: Conditioning, dog: Conditioning, canvas: Latent, near: float
) -> None:
    edge = draw(loaded, context, guidance=CFG(red, dog, near), latent=canvas)
    beside = draw(loaded, context, guidance=CFG(red, dog, near + 1e-6), latent=canvas)
    torch.testing.assert_close(edge.samples, beside.samples, atol=1e-4, rtol=0)


def test_guidance_is_a_line_through_both_predictions(loaded: Loaded, red: Conditioning, dog: Conditioning) -> None:
    x, t = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor(500)

    def predicted(guidance: Any) -> torch.Tensor:
        with torch.no_grad(), evaluating(loaded.model, guidance, 2, (32, 32)) as evaluate:
            return evaluate(x, t, Share(0, 1))

    positive, negative = predicted(red), predicted(dog)
    for scale in (-2.0, 0.5, 7.5):
        expected = scale * (positive - negative) + negative
        torch.testing.assert_close(predicted(CFG(red, dog, scale)), expected, atol=1e-5, rtol=0)


def test_a_missing_negative_is_asked_for(loaded: Loaded, context: Context, red: Conditioning, canvas: Latent) -> None:
    with pytest.raises(ValueError, match="no negative"):
        CFGCombine(positive=red, scale=5.0).run(context)
    with pytest.raises(ValueError, match="link a CLIPEncode"):
        draw(loaded, context, guidance=CFG(red, None, 5.0), latent=canvas)
    assert CFGCombine(positive=red, scale=1.0).run(context) == CFG(red, None, 1.0)


# seeds


@pytest.mark.parametrize("sampler", ["euler_ancestral", "ddpm", "dpmpp_sde", "dpmpp_2m_sde"])
@pytest.mark.parametrize("side", [32, 20])  # a latent of 20 pixels has 100 numbers, which 16 does not divide
def test_a_batch_is_the_same_pictures_as_single_runs(
    loaded: Loaded, context: Context, red: Conditioning, dog: Conditioning, sampler: str, side: int
) -> None:
    guidance = CFG(red, dog, 5.0)

    def decoded(seed: int | tuple[int, ...], count: int) -> torch.Tensor:
        canvas = EmptyLatent(model=loaded.model, width=side, height=side, batch_size=count).run(context)
        latent = draw(loaded, context, guidance=guidance, latent=canvas, seed=seed, sampler=sampler)
        return VAEDecode(vae=loaded.vae, latent=latent).run(context).pixels

    batch = decoded(7, 3)
    assert torch.equal(batch, decoded((7, 8, 9), 3))
    for index, picture in enumerate(batch):
        torch.testing.assert_close(picture[None], decoded(7 + index, 1), atol=1e-5, rtol=0)
        assert (picture - batch[index - 1]).abs().max() > 0.01


def test_the_same_seed_gives_the_same_bits_and_another_does_not(
    loaded: Loaded, context: Context, red: Conditioning, canvas: Latent
) -> None:
    first, again, other = (draw(loaded, context, guidance=red, latent=canvas, seed=seed) for seed in (5, 5, 6))
    assert digest(first) == digest(again) != digest(other)


def test_randomness_comes_from_the_seed_alone(
    loaded: Loaded, context: Context, red: Conditioning, canvas: Latent
) -> None:
    for sampler in SAMPLERS:
        drawn = []
        for unrelated in (1, 2):
            torch.manual_seed(unrelated)
            before = torch.get_rng_state()
            drawn.append(draw(loaded, context, guidance=red, latent=canvas, sampler=sampler))
            assert torch.equal(torch.get_rng_state(), before), f"{sampler} draws from the global generator"
        assert same(*drawn), sampler


def test_without_a_seed_the_latents_generators_go_on(
    loaded: Loaded, context: Context, red: Conditioning, canvas: Latent
) -> None:
    first = draw(loaded, context, guidance=red, latent=canvas, seed=5)
    assert first.generators is not None
    on = draw(loaded, context, guidance=red, latent=first, seed=None, strength=0.7)
    assert same(on, draw(loaded, context, guidance=red, latent=first, seed=None, strength=0.7))
    assert not same(on, draw(loaded, context, guidance=red, latent=first, seed=5, strength=0.7))
    assert on.generators != first.generators


def test_without_a_seed_anywhere_one_is_asked_for(
    loaded: Loaded, context: Context, red: Conditioning, canvas: Latent
) -> None:
    with pytest.raises(ValueError, match="there is no seed"):
        draw(loaded, context, guidance=red, latent=canvas, seed=None)


def test_encoding_without_a_seed_takes_the_mean(loaded: Loaded, context: Context) -> None:
    image = Image(torch.rand(1, 3, 32, 32))
    means = [VAEEncode(vae=loaded.vae, image=image).run(context) for _ in range(2)]
    drawn = VAEEncode(vae=loaded.vae, image=image, seed=1).run(context)
    assert same(*means)
    assert not same(means[0], drawn)
    assert means[0].generators is None
    assert drawn.generators is not None


# batches


def test_one_latent_and_one_seed_serve_several_texts(loaded: Loaded, context: Context, canvas: Latent) -> None:
    texts = CLIPEncode(clip=loaded.clip, text=("a red apple", "dog")).run(context)
    batch = draw(loaded, context, guidance=texts, latent=canvas, seed=3)
    for index, text in enumerate(("a red apple", "dog")):
        single = CLIPEncode(clip=loaded.clip, text=text).run(context)
        torch.testing.assert_close(
            batch.samples[index], draw(loaded, context, guidance=single, latent=canvas, seed=3 + index).samples[0]
        )


def test_counts_that_do_not_go_together_are_refused(loaded: Loaded, context: Context) -> None:
    texts = CLIPEncode(clip=loaded.clip, text=("red", "dog")).run(context)
    canvas = EmptyLatent(model=loaded.model, batch_size=3).run(context)
    with pytest.raises(ValueError, match="2 texts and 3 latents do not go together"):
        draw(loaded, context, guidance=texts, latent=canvas)
    with pytest.raises(ValueError, match="3 latents and 2 seeds"):
        draw(loaded, context, guidance=Conditioning((Cond(texts.conds[0].tokens[:1]),)), latent=canvas, seed=(1, 2))


def test_every_tensor_that_leaves_a_node_is_contiguous_float32(
    loaded: Loaded, context: Context, red: Conditioning, dog: Conditioning
) -> None:
    image = Image(torch.rand(2, 32, 32, 3).permute(0, 3, 1, 2))
    encoded = VAEEncode(vae=loaded.vae, image=image, seed=1).run(context)
    drawn = draw(loaded, context, guidance=CFG(red, dog, 3.0), latent=encoded, seed=None, strength=0.5)
    decoded = VAEDecode(vae=loaded.vae, latent=drawn).run(context)
    for tensor in (red.conds[0].tokens, image.pixels, encoded.samples, drawn.samples, decoded.pixels):
        assert tensor.is_contiguous()
        assert tensor.dtype == torch.float32
        assert not tensor.requires_grad


# samplers by name


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_short_name_draws(
    loaded: Loaded, context: Context, red: Conditioning, canvas: Latent, sampler: str
) -> None:
    latent = draw(loaded, context, guidance=red, latent=canvas, sampler=sampler, steps=4)
    assert torch.isfinite(latent.samples).all()
    assert 0.1 < latent.samples.std() < 100


@pytest.mark.parametrize("scheduler", [name for name in SCHEDULES if name != "model"])
def test_every_spacing_changes_the_picture(
    loaded: Loaded, context: Context, red: Conditioning, canvas: Latent, scheduler: str
) -> None:
    # What the model has is leading with an offset of 1, which is what ddim_uniform is of any model.
    usual = "linspace" if scheduler in ("leading", "ddim_uniform") else "leading"
    drawn = [
        draw(loaded, context, guidance=red, latent=canvas, sampler="euler", scheduler=name, steps=5)
        for name in (scheduler, usual)
    ]
    assert not same(*drawn)


def test_a_spacing_that_a_sampler_does_not_have_is_refused(
    loaded: Loaded, context: Context, red: Conditioning, canvas: Latent
) -> None:
    with pytest.raises(ValueError, match=r"`karras` does not go with sampler `pndm`; model, leading, linspace"):
        draw(loaded, context, guidance=red, latent=canvas, sampler="pndm", scheduler="karras")


def test_names_are_checked_before_the_run(loaded: Loaded, red: Conditioning, canvas: Latent) -> None:
    inputs = {"model": loaded.model, "guidance": red, "latent": canvas}
    with pytest.raises(ValidationError, match="no sampler is called `eulr`; did you mean `euler`"):
        KSampler(sampler="eulr", **inputs)
    with pytest.raises(ValidationError, match="asks for scheduler `karras`, not `beta`"):
        KSampler(sampler="DPM++ 2M Karras", scheduler="beta", **inputs)


def test_an_unknown_diffusers_scheduler_gets_the_nearest(loaded: Loaded) -> None:
    with pytest.raises(ValueError, match="did you mean `diffusers:EulerDiscreteScheduler`"):
        new_scheduler(loaded.model, "diffusers:EulerDiscretScheduler", "model")
    with pytest.raises(ValueError, match="diffusers has no scheduler AutoencoderKL"):
        new_scheduler(loaded.model, "diffusers:AutoencoderKL", "model")


def test_each_run_builds_its_own_scheduler(loaded: Loaded) -> None:
    assert new_scheduler(loaded.model, "pndm", "model") is not new_scheduler(loaded.model, "pndm", "model")


# progress


def test_progress_counts_to_the_steps_that_are_taken(
    loaded: Loaded, tmp_path: Path, red: Conditioning, canvas: Latent
) -> None:
    said: list[tuple[str, Any]] = []
    context = Context(report=lambda kind, content: said.append((kind, content)))
    for sampler, evaluations in {"euler": 4, "heun": 4, "diffusers:HeunDiscreteScheduler": 7, "pndm": 5}.items():
        said.clear()
        draw(loaded, context, guidance=red, latent=canvas, sampler=sampler, steps=4)
        steps = [content["step"] for kind, content in said if kind == "progress"]
        assert len(steps) == evaluations + 1
        assert steps == sorted(steps)
        assert (steps[0], steps[-1]) == (0, 4)
        previews = [content["image"] for kind, content in said if kind == "preview"]
        assert 2 <= len(previews) <= evaluations + 1
        assert all(image.shape == (3, 8, 8) and 0 <= image.min() <= image.max() <= 1 for image in previews)


def test_cancelling_takes_effect_within_a_step(
    loaded: Loaded, tmp_path: Path, red: Conditioning, canvas: Latent
) -> None:
    cancelled = threading.Event()
    steps = []

    def report(kind: str, content: dict[str, Any]) -> None:
        if kind == "progress":
            steps.append(content["step"])
            if content["step"] == 2:
                cancelled.set()

    with pytest.raises(Cancelled):
        draw(loaded, Context(report=report, cancelled=cancelled), guidance=red, latent=canvas, steps=50)
    assert steps == [0, 1, 2]


# what does not fit


def test_strength_0_changes_nothing(loaded: Loaded, context: Context, red: Conditioning) -> None:
    encoded = VAEEncode(vae=loaded.vae, image=Image(torch.rand(1, 3, 32, 32)), seed=1).run(context)
    assert digest(draw(loaded, context, guidance=red, latent=encoded, seed=None, strength=0.0)) == digest(encoded)


def test_strength_on_an_empty_latent_is_refused(
    loaded: Loaded, context: Context, red: Conditioning, canvas: Latent
) -> None:
    with pytest.raises(ValueError, match="on an empty latent"):
        draw(loaded, context, guidance=red, latent=canvas, strength=0.5)


def test_a_scheduler_that_cannot_add_noise_is_refused_for_pictures(
    loaded: Loaded, context: Context, red: Conditioning, canvas: Latent
) -> None:
    encoded = replace(canvas, empty=False)
    with pytest.raises(ValueError, match="IPNDMScheduler cannot add noise"):
        draw(loaded, context, guidance=red, latent=encoded, sampler="diffusers:IPNDMScheduler")


def test_a_size_that_the_factor_does_not_divide_is_refused(loaded: Loaded, context: Context) -> None:
    with pytest.raises(ValueError, match="width is 30, which the model's factor 4 does not divide; 32 is near"):
        EmptyLatent(model=loaded.model, width=30).run(context)
    with pytest.raises(
        ValueError, match="the picture is 35 by 33, which 4 does not divide: resize it, say to 32 by 32"
    ):
        VAEEncode(vae=loaded.vae, image=Image(torch.rand(1, 3, 33, 35)), seed=1).run(context)


def test_values_of_another_model_are_refused(
    loaded: Loaded, context: Context, red: Conditioning, canvas: Latent
) -> None:
    foreign = replace(canvas, space=Space(4, 8, 0.13025))
    with pytest.raises(ValueError, match=r"scaled by 0\.13025"):
        draw(loaded, context, guidance=red, latent=foreign)
    with pytest.raises(ValueError, match=r"scaled by 0\.13025"):
        VAEDecode(vae=loaded.vae, latent=foreign).run(context)
    with pytest.raises(ValueError, match="32 wide, the model takes 16"):
        draw(loaded, context, guidance=Conditioning((Cond(torch.zeros(1, 12, 32)),)), latent=canvas)


def test_an_empty_latent_has_the_models_own_size(loaded: Loaded, context: Context) -> None:
    assert EmptyLatent(model=loaded.model).run(context).pixels == (32, 32)
    canvas = EmptyLatent(model=loaded.model, width=64, height=16, batch_size=2).run(context)
    assert canvas.samples.shape == (2, 4, 4, 16)
    assert canvas.empty


def test_transparent_pictures_are_encoded_on_white(loaded: Loaded, context: Context) -> None:
    seen = VAEEncode(vae=loaded.vae, image=Image(torch.zeros(1, 4, 32, 32))).run(context)
    white = VAEEncode(vae=loaded.vae, image=Image(torch.ones(1, 3, 32, 32))).run(context)
    assert same(seen, white)
