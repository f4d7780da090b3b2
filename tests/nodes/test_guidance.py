"""Guidance combines what the model predicts as diffusers' guiders and pipelines do, to the last bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from latentgraph.engine.context import Context
from latentgraph.engine.node import Wrong
from latentgraph.nodes.codec import TENSORS
from latentgraph.nodes.conditioning import CLIPEncode
from latentgraph.nodes.diffusion.guiding import Leaf, Share, combine, leaves, unconditional
from latentgraph.nodes.diffusion.perturbed import perturbed
from latentgraph.nodes.facts import TextFacts
from latentgraph.nodes.guidance import (
    AdaptiveProjectedGuidance,
    CFGCombine,
    CFGZeroStarGuidance,
    GuidanceInterval,
    PerturbedAttentionGuidance,
    RescaleGuidance,
    SkipLayerGuidance,
    TangentialGuidance,
)
from latentgraph.nodes.guides import Cond, Conditioning, Guidance, Perturbation, mapped
from latentgraph.nodes.latents import EmptyLatent, VAEDecode
from latentgraph.nodes.models import Loaded, LoadModel
from latentgraph.nodes.ports import Latent
from latentgraph.nodes.sampling import KSampler

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

PROMPT, NEGATIVE = "a red apple on blue", "dog"
STEPS = 4


def conditioning() -> Conditioning:
    return Conditioning((Cond(torch.zeros(1, 3, 4)),))


POSITIVE, OTHER = conditioning(), conditioning()
CONTEXT = Context()
COMPARED = {"positive": POSITIVE, "negative": OTHER, "scale": 5.0}
CFG = CFGCombine(**COMPARED).run(CONTEXT)
COND, UNCOND = Leaf(POSITIVE, "positive"), Leaf(OTHER, "negative")


def predictions(step: int = 0) -> dict[Leaf, Tensor]:
    """What a model could predict for two pictures; anew at each step."""
    source = torch.Generator().manual_seed(step)
    return {leaf: torch.randn(2, 4, 8, 8, generator=source) for leaf in (UNCOND, COND)}


def steps_by_us(guidance: Guidance, count: int = STEPS) -> list[Tensor]:
    memory: dict[str, Any] = {}
    return [combine(guidance, predictions(step), Share(step, count), memory) for step in range(count)]


def steps_by_guider(guider: Any, count: int = STEPS) -> list[Tensor]:
    found = []
    for step in range(count):
        guider.set_state(step, count, torch.tensor(0))
        given = predictions(step)
        guider.prepare_inputs({"x": (given[COND], given[UNCOND])})
        found.append(guider.forward(given[COND], given[UNCOND]).pred)
    return found


PAIRS: dict[str, tuple[Callable[[], Guidance], Callable[[], Any]]] = {
    "cfg": (lambda: CFG, lambda: diffusers.ClassifierFreeGuidance(guidance_scale=5.0)),
    "cfg in an interval": (
        lambda: GuidanceInterval(guidance=CFG, start=0.3, end=0.9).run(CONTEXT),
        lambda: diffusers.ClassifierFreeGuidance(guidance_scale=5.0, start=0.3, stop=0.9),
    ),
    "rescaled": (
        lambda: RescaleGuidance(guidance=CFG, phi=0.7).run(CONTEXT),
        lambda: diffusers.ClassifierFreeGuidance(guidance_scale=5.0, guidance_rescale=0.7),
    ),
    "apg": (
        lambda: AdaptiveProjectedGuidance(**COMPARED, eta=0.2, threshold=7.0, momentum=-0.5).run(CONTEXT),
        lambda: diffusers.AdaptiveProjectedGuidance(5.0, -0.5, 7.0, eta=0.2),
    ),
    "apg without momentum": (
        lambda: AdaptiveProjectedGuidance(**COMPARED, eta=0.2, threshold=0.0, momentum=0.0).run(CONTEXT),
        lambda: diffusers.AdaptiveProjectedGuidance(5.0, None, 0.0, eta=0.2),
    ),
    "cfg zero star": (
        lambda: CFGZeroStarGuidance(**COMPARED, zero_steps=2).run(CONTEXT),
        lambda: diffusers.ClassifierFreeZeroStarGuidance(5.0, zero_init_steps=2),
    ),
    "tangential": (
        lambda: TangentialGuidance(**COMPARED).run(CONTEXT),
        lambda: diffusers.TangentialClassifierFreeGuidance(5.0),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_each_guidance_is_what_its_guider_of_diffusers_computes(name: str) -> None:
    ours, theirs = PAIRS[name]
    for one, other in zip(steps_by_us(ours()), steps_by_guider(theirs()), strict=True):
        assert (one - other).abs().max().item() == 0.0


def test_each_scale_evaluates_only_what_it_needs() -> None:
    def evaluated(scale: float) -> tuple[Leaf, ...]:
        return leaves(CFGCombine(positive=POSITIVE, negative=OTHER, scale=scale).run(CONTEXT), Share(0, 1))

    assert evaluated(1.0) == (COND,)
    assert evaluated(0.0) == (UNCOND,)
    assert evaluated(5.0) == (UNCOND, COND)
    assert leaves(POSITIVE, Share(0, 1)) == (COND,)


def test_a_guidance_at_scale_one_needs_no_negative() -> None:
    for kind in (CFGCombine, AdaptiveProjectedGuidance, CFGZeroStarGuidance, TangentialGuidance):
        alone = kind(positive=POSITIVE, scale=1.0).run(CONTEXT)
        assert leaves(alone, Share(0, 1)) == (COND,)
        with pytest.raises(Wrong, match="there is no negative"):
            kind(positive=POSITIVE, scale=2.0).run(CONTEXT)


def test_outside_its_interval_a_guidance_is_what_it_was_put_around() -> None:
    perturbing = PerturbedAttentionGuidance(guidance=CFG).run(CONTEXT)
    late = GuidanceInterval(guidance=perturbing, start=0.5).run(CONTEXT)
    both = GuidanceInterval(guidance=late, end=0.75).run(CONTEXT)
    third = COND._replace(perturbation=Perturbation("attention", ("mid_block",)))
    wanted = [(UNCOND, COND), (UNCOND, COND), (UNCOND, COND, third), (UNCOND, COND)]
    assert [leaves(both, Share(step, 4)) for step in range(4)] == wanted
    inside = PerturbedAttentionGuidance(guidance=GuidanceInterval(guidance=CFG, end=0.5).run(CONTEXT)).run(CONTEXT)
    assert [len(leaves(inside, Share(step, 4))) for step in range(4)] == [3, 3, 2, 2]


def test_the_negative_alone_is_known_beside_what_is_guided() -> None:
    given = predictions()
    assert unconditional(RescaleGuidance(guidance=CFG).run(CONTEXT), given) is given[UNCOND]
    assert unconditional(POSITIVE, {COND: given[COND]}) is None


def test_a_perturbed_guidance_is_the_guiders_sum() -> None:
    guidance = SkipLayerGuidance(guidance=CFG, layers=(7,), scale=2.8).run(CONTEXT)
    skipped = COND._replace(perturbation=Perturbation("block", ("transformer_blocks.7",)))
    given = {**predictions(), skipped: predictions(1)[COND]}
    assert leaves(guidance, Share(1, 4)) == (UNCOND, COND, skipped)
    guider = diffusers.SkipLayerGuidance(5.0, 2.8, 0.0, 1.0, skip_layer_guidance_layers=7)
    guider.set_state(1, 4, torch.tensor(0))
    theirs = guider.forward(given[COND], given[UNCOND], given[skipped]).pred
    assert torch.equal(combine(guidance, given, Share(1, 4), {}), theirs)


def test_guidance_goes_through_files_and_changes_of_its_conditionings() -> None:
    guidance = CFG
    for change in (RescaleGuidance, GuidanceInterval, PerturbedAttentionGuidance):
        guidance = change(guidance=guidance).run(CONTEXT)
    back = TENSORS.decode(type(guidance), TENSORS.encode(guidance))
    assert repr(back) == repr(guidance)
    zeroed = conditioning()
    changed = leaves(mapped(guidance, lambda _: zeroed), Share(0, 1))
    assert [leaf.conditioning for leaf in changed] == [zeroed] * 3


# What networks compute


def unet(folder: Path) -> Any:
    return diffusers.UNet2DConditionModel.from_pretrained(folder / "unet")


def predicted(network: Any, count: int = 1, **options: Any) -> Tensor:
    source = torch.Generator().manual_seed(0)
    samples, tokens = torch.randn(1, 4, 8, 8, generator=source), torch.randn(1, 5, 16, generator=source)
    repeated = samples.repeat(count, 1, 1, 1), 500, tokens.repeat(count, 1, 1)
    with torch.no_grad():
        return network(*repeated, return_dict=False, **options)[0]


@pytest.mark.parametrize("part", ["attention", "block"])
@pytest.mark.parametrize(
    "stack", ["mid_block.attentions.0.transformer_blocks", "up_blocks.1.attentions.1.transformer_blocks"]
)
def test_a_perturbed_u_net_is_what_diffusers_hooks_make_of_it(tiny: Path, part: Any, stack: str) -> None:
    network = unet(tiny)
    plain = predicted(network)
    with perturbed(network, Perturbation(part, (stack,))):
        ours = predicted(network)
    assert torch.equal(predicted(network), plain)
    attention = part == "attention"
    diffusers.apply_layer_skip(
        network,
        diffusers.LayerSkipConfig(
            [0], stack, skip_attention=not attention, skip_attention_scores=attention, skip_ff=not attention
        ),
    )
    assert torch.equal(predicted(network), ours)
    assert not torch.equal(ours, plain)


def test_a_network_is_as_before_after_a_failure(tiny: Path) -> None:
    def forwards() -> dict[str, Any]:
        return {name: vars(part).get("forward") for name, part in network.named_modules()}

    def failing() -> None:
        with perturbed(network, Perturbation("attention", ("mid_block", "up_blocks"))):
            assert not torch.equal(predicted(network), plain)
            raise ZeroDivisionError

    network = unet(tiny)
    plain, before = predicted(network), forwards()
    with pytest.raises(ZeroDivisionError):
        failing()
    assert torch.equal(predicted(network), plain)
    assert forwards() == before


# What is drawn


def encoded(loaded: Loaded) -> dict[str, Conditioning]:
    texts = {"positive": PROMPT, "negative": NEGATIVE}
    return {name: CLIPEncode(clip=loaded.clip, text=text).run(CONTEXT) for name, text in texts.items()}


def sampled(loaded: Loaded, guidance: Guidance, latent: Latent | None = None, **inputs: Any) -> Latent:
    canvas = EmptyLatent(model=loaded.model, height=32, width=32).run(CONTEXT) if latent is None else latent
    options = {"sampler": "diffusers:DDIMScheduler", "steps": STEPS, "seed": 3, **inputs}
    return KSampler(model=loaded.model, guidance=guidance, latent=canvas, **options).run(CONTEXT)


def drawn(loaded: Loaded, guidance: Guidance, **inputs: Any) -> Tensor:
    return VAEDecode(vae=loaded.vae, latent=sampled(loaded, guidance, **inputs)).run(CONTEXT).pixels


def pipeline(kind: str, folder: Path, scheduler: str, **options: Any) -> Callable[..., Tensor]:
    made = getattr(diffusers, kind).from_pretrained(folder, torch_dtype=torch.float32, **options)
    made.set_progress_bar_config(disable=True)
    made.scheduler = getattr(diffusers, scheduler).from_config(made.scheduler.config)
    where = {"height": 32, "width": 32, "num_inference_steps": STEPS, "output_type": "pt"}

    def draw(**inputs: Any) -> Tensor:
        source = [torch.Generator().manual_seed(3)]
        images: Tensor = made(PROMPT, negative_prompt=NEGATIVE, generator=source, **where, **inputs).images
        return images

    return draw


@pytest.mark.parametrize(
    ("family", "kind"), [("tiny", "StableDiffusionPipeline"), ("tiny_sdxl", "StableDiffusionXLPipeline")]
)
def test_rescaled_pictures_are_those_of_the_pipeline(family: str, kind: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(family)
    loaded = LoadModel(name=str(folder)).run(CONTEXT)
    theirs = pipeline(kind, folder, "DDIMScheduler")(guidance_scale=5.0, guidance_rescale=0.7)
    guidance = CFGCombine(**encoded(loaded), scale=5.0).run(CONTEXT)
    ours = drawn(loaded, RescaleGuidance(guidance=guidance, phi=0.7).run(CONTEXT))
    assert (ours - theirs).abs().max().item() == 0.0
    assert not torch.equal(drawn(loaded, guidance), ours)


def test_layers_are_skipped_as_in_the_pipeline_of_stable_diffusion_3(tiny_sd3_t5: Path) -> None:
    loaded = LoadModel(name=str(tiny_sd3_t5)).run(CONTEXT)
    scheduler = "FlowMatchEulerDiscreteScheduler"
    theirs = pipeline("StableDiffusion3Pipeline", tiny_sd3_t5, scheduler)(
        guidance_scale=5.0,
        skip_guidance_layers=[1],
        skip_layer_guidance_scale=2.8,
        skip_layer_guidance_start=0.01,
        skip_layer_guidance_stop=0.75,
    )
    guidance = CFGCombine(**encoded(loaded), scale=5.0).run(CONTEXT)
    skipping = SkipLayerGuidance(guidance=guidance, layers=(1,), scale=2.8).run(CONTEXT)
    limited = GuidanceInterval(guidance=skipping, start=0.25, end=0.75).run(CONTEXT)
    ours = drawn(loaded, limited, sampler=f"diffusers:{scheduler}")
    assert (ours - theirs).abs().max().item() == 0.0
    assert not torch.equal(drawn(loaded, guidance, sampler=f"diffusers:{scheduler}"), ours)


@pytest.mark.parametrize("scale", [5.0, 1.0])
def test_perturbed_attention_draws_what_its_pipeline_draws(tiny: Path, loaded: Loaded, scale: float) -> None:
    """But for the size of a batch: the pipeline predicts all at once, which changes the last bits."""
    draw = pipeline("StableDiffusionPAGPipeline", tiny, "DDIMScheduler", pag_applied_layers=["mid", "up_blocks.1"])
    theirs = draw(guidance_scale=scale, pag_scale=3.0)
    guidance = CFGCombine(**encoded(loaded), scale=scale).run(CONTEXT)
    layers = ("mid_block", "up_blocks.1")
    ours = drawn(loaded, PerturbedAttentionGuidance(guidance=guidance, scale=3.0, layers=layers).run(CONTEXT))
    assert (ours - theirs).abs().max().item() < 5e-5
    assert (drawn(loaded, guidance) - ours).abs().max().item() > 1e-3


def test_perturbed_attention_in_stable_diffusion_3_draws_what_its_pipeline_draws(tiny_sd3_t5: Path) -> None:
    loaded = LoadModel(name=str(tiny_sd3_t5)).run(CONTEXT)
    scheduler = "FlowMatchEulerDiscreteScheduler"
    draw = pipeline(
        "StableDiffusion3PAGPipeline",
        tiny_sd3_t5,
        scheduler,
        pag_applied_layers=["blocks.1"],
    )
    theirs = draw(guidance_scale=5.0, pag_scale=3.0)
    guidance = CFGCombine(**encoded(loaded), scale=5.0).run(CONTEXT)
    perturbing = PerturbedAttentionGuidance(guidance=guidance, scale=3.0, layers=(1,)).run(CONTEXT)
    ours = drawn(loaded, perturbing, sampler=f"diffusers:{scheduler}")
    assert (ours - theirs).abs().max().item() < 5e-5


def test_momentum_goes_on_where_a_sampling_was_split(loaded: Loaded) -> None:
    guidance = AdaptiveProjectedGuidance(**encoded(loaded), scale=5.0, momentum=-0.5).run(CONTEXT)
    whole = sampled(loaded, guidance)
    for step in range(1, STEPS):
        first = sampled(loaded, guidance, end=step)
        assert torch.equal(sampled(loaded, guidance, first, seed=None).samples, whole.samples)
    without = AdaptiveProjectedGuidance(**encoded(loaded), scale=5.0, momentum=0.0).run(CONTEXT)
    assert not torch.equal(sampled(loaded, without).samples, whole.samples)


def test_a_layer_that_the_model_has_not_is_told_with_those_that_it_has(loaded: Loaded) -> None:
    guidance = CFGCombine(**encoded(loaded), scale=5.0).run(CONTEXT)
    skipping = SkipLayerGuidance(guidance=guidance, layers=(9,)).run(CONTEXT)
    with pytest.raises(ValueError, match=r"no layer 'transformer_blocks\.9' .*: down_blocks\.0\.attentions\.0\."):
        sampled(loaded, skipping)


# What is known before


def test_guidance_around_guidance_is_as_wide_as_that() -> None:
    facts = TextFacts(16, 2)
    for kind in (RescaleGuidance, PerturbedAttentionGuidance, SkipLayerGuidance, GuidanceInterval):
        assert kind.describe({"guidance": facts}) == {"guidance": facts}
    for kind in (AdaptiveProjectedGuidance, CFGZeroStarGuidance, TangentialGuidance):
        assert kind.describe({"positive": facts, "negative": TextFacts(16, 1), "scale": 5.0}) == {"guidance": facts}
        with pytest.raises(Wrong, match="encode both with one CLIP"):
            kind.describe({"positive": facts, "negative": TextFacts(8, 1)})


def test_what_cannot_work_is_said_before() -> None:
    with pytest.raises(Wrong, match="nothing is between them"):
        GuidanceInterval.describe({"start": 0.5, "end": 0.5})
    with pytest.raises(Wrong, match="no layer is named"):
        SkipLayerGuidance.describe({"layers": ()})
