"""Every family draws what its own pipelines of diffusers draw: the difference is 0.0."""

import json
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from latentgraph.engine.context import Context
from latentgraph.nodes.conditioning import CLIPEncode
from latentgraph.nodes.guidance import CFGCombine
from latentgraph.nodes.latents import EmptyLatent, VAEDecode, VAEEncode, VAEEncodeInpaint
from latentgraph.nodes.models import Loaded, LoadModel
from latentgraph.nodes.ports import Image, Latent, Mask
from latentgraph.nodes.sampling import KSampler

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

PROMPT, NEGATIVE = "a red apple on blue", "dog"
SCHEDULERS = {
    "leading": ("EulerDiscreteScheduler", {}),
    "ancestral": ("EulerAncestralDiscreteScheduler", {}),
    "multistep": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "heun": ("HeunDiscreteScheduler", {}),
    "ddim": ("DDIMScheduler", {}),
}
SIZE = {"height": 32, "width": 32}


def generator(seed: int = 3) -> Any:
    return [torch.Generator().manual_seed(seed)]


def picture(seed: int = 0) -> Tensor:
    return torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def pipeline(kind: str, folder: Path) -> Any:
    """A pipeline over the folder, whatever parts it does without."""
    index = json.loads((folder / "model_index.json").read_text())
    optional = ("text_encoder_3", "tokenizer_3", "image_encoder", "feature_extractor")
    without = kind.startswith("StableDiffusion3")
    absent = {name: None for name in optional if without and not (index.get(name) or [0])[0]}
    made = getattr(diffusers, kind).from_pretrained(folder, torch_dtype=torch.float32, **absent)
    made.set_progress_bar_config(disable=True)
    return made


def scheduled(made: Any, scheduler: str) -> str:
    """Gives the pipeline a scheduler, and the name by which a KSampler has the same."""
    name, options = SCHEDULERS[scheduler]
    made.scheduler = getattr(diffusers, name).from_config(made.scheduler.config, **options)
    listed = ", ".join(f"{key}={str(value).lower()}" for key, value in options.items())
    return f"diffusers:{name}({listed})" if options else f"diffusers:{name}"


def guided(loaded: Loaded, scale: float, negative: str | None = NEGATIVE) -> Any:
    context = Context()
    wanted = CLIPEncode(clip=loaded.clip, text=PROMPT).run(context)
    unwanted = None if negative is None else CLIPEncode(clip=loaded.clip, text=negative).run(context)
    return CFGCombine(positive=wanted, negative=unwanted, scale=scale).run(context)


def sampled(loaded: Loaded, guidance: Any, latent: Latent, sampler: str, **inputs: Any) -> Tensor:
    drawn = KSampler(model=loaded.model, guidance=guidance, latent=latent, sampler=sampler, steps=4, **inputs)
    return VAEDecode(vae=loaded.vae, latent=drawn.run(Context())).run(Context()).pixels


def difference(theirs: Tensor, ours: Tensor) -> float:
    assert theirs.shape == ours.shape
    assert torch.isfinite(theirs).all()
    assert theirs.std() > 0.01
    return (theirs - ours).abs().max().item()


def canvas(loaded: Loaded) -> Latent:
    return EmptyLatent(model=loaded.model, **SIZE).run(Context())


def load(folder: Path) -> Loaded:
    return LoadModel(name=str(folder)).run(Context())


# Stable Diffusion 2, which predicts v


@pytest.mark.parametrize("scheduler", ["leading", "ddim", "multistep"])
def test_stable_diffusion_2(tiny_sd2: Path, scheduler: str) -> None:
    made, loaded = pipeline("StableDiffusionPipeline", tiny_sd2), load(tiny_sd2)
    sampler = scheduled(made, scheduler)
    asked = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "num_inference_steps": 4, "output_type": "pt"}
    theirs = made(**asked, guidance_scale=5.0, generator=generator(), **SIZE).images
    assert difference(theirs, sampled(loaded, guided(loaded, 5.0), canvas(loaded), sampler, seed=3)) == 0.0


# Stable Diffusion XL


@pytest.mark.parametrize("negative", [None, "", NEGATIVE])
@pytest.mark.parametrize("scheduler", ["leading", "ancestral", "multistep", "heun"])
def test_stable_diffusion_xl(tiny_sdxl: Path, scheduler: str, negative: str | None) -> None:
    made, loaded = pipeline("StableDiffusionXLPipeline", tiny_sdxl), load(tiny_sdxl)
    sampler = scheduled(made, scheduler)
    asked = {"prompt": PROMPT, "negative_prompt": negative, "num_inference_steps": 4, "output_type": "pt"}
    theirs = made(**asked, guidance_scale=5.0, generator=generator(), **SIZE).images
    assert difference(theirs, sampled(loaded, guided(loaded, 5.0, negative), canvas(loaded), sampler, seed=3)) == 0.0


def test_stable_diffusion_xl_from_a_picture(tiny_sdxl: Path) -> None:
    made, loaded = pipeline("StableDiffusionXLImg2ImgPipeline", tiny_sdxl), load(tiny_sdxl)
    sampler = scheduled(made, "leading")
    asked = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "num_inference_steps": 4, "output_type": "pt"}
    theirs = made(**asked, image=picture(), strength=0.5, guidance_scale=5.0, generator=generator()).images
    encoded = VAEEncode(vae=loaded.vae, image=Image(picture()), seed=3).run(Context())
    assert difference(theirs, sampled(loaded, guided(loaded, 5.0), encoded, sampler, strength=0.5)) == 0.0


@pytest.mark.parametrize("scheduler", ["leading", "multistep"])
def test_the_base_hands_over_to_the_refiner(tiny_sdxl: Path, tiny_refiner: Path, scheduler: str) -> None:
    base, refiner = (
        pipeline("StableDiffusionXLPipeline", tiny_sdxl),
        pipeline("StableDiffusionXLImg2ImgPipeline", tiny_refiner),
    )
    sampler = scheduled(base, scheduler)
    scheduled(refiner, scheduler)
    asked = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "num_inference_steps": 5, "guidance_scale": 5.0}
    timesteps = base.scheduler
    timesteps.set_timesteps(5)
    cutoff = 1 - (float(timesteps.timesteps[3]) + 1) / 1000  # so that three steps are the base's
    left = base(**asked, denoising_end=cutoff, generator=generator(), output_type="latent", **SIZE).images
    source = torch.Generator().manual_seed(5)
    theirs = refiner(**asked, image=left, denoising_start=cutoff, generator=[source], output_type="pt", **SIZE).images
    first, second = load(tiny_sdxl), load(tiny_refiner)
    shared = {"sampler": sampler, "steps": 5}
    begun = KSampler(model=first.model, guidance=guided(first, 5.0), latent=canvas(first), seed=3, end=3, **shared).run(
        Context()
    )
    assert (begun.samples - left).abs().max().item() == 0.0
    ended = KSampler(model=second.model, guidance=guided(second, 5.0), latent=begun, seed=5, start=3, **shared).run(
        Context()
    )
    ours = VAEDecode(vae=second.vae, latent=ended).run(Context()).pixels
    assert difference(theirs, ours) == 0.0


# Stable Diffusion 3, a flow model


@pytest.mark.parametrize("scale", [1.0, 5.0])
@pytest.mark.parametrize("family", ["tiny_sd3", "tiny_sd3_t5"])
def test_stable_diffusion_3(family: str, scale: float, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(family)
    made, loaded = pipeline("StableDiffusion3Pipeline", folder), load(folder)
    asked = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "num_inference_steps": 4, "output_type": "pt"}
    theirs = made(**asked, guidance_scale=scale, generator=generator(), **SIZE).images
    sampler = "diffusers:FlowMatchEulerDiscreteScheduler"
    assert difference(theirs, sampled(loaded, guided(loaded, scale), canvas(loaded), sampler, seed=3)) == 0.0


@pytest.mark.parametrize("strength", [0.5, 0.6, 1.0])
def test_stable_diffusion_3_from_a_picture(tiny_sd3: Path, strength: float) -> None:
    made, loaded = pipeline("StableDiffusion3Img2ImgPipeline", tiny_sd3), load(tiny_sd3)
    asked = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "num_inference_steps": 4, "output_type": "pt"}
    theirs = made(**asked, image=picture(), strength=strength, guidance_scale=5.0, generator=generator(), **SIZE).images
    encoded = VAEEncode(vae=loaded.vae, image=Image(picture()), seed=3).run(Context())
    sampler = "diffusers:FlowMatchEulerDiscreteScheduler"
    assert difference(theirs, sampled(loaded, guided(loaded, 5.0), encoded, sampler, strength=strength)) == 0.0


# Inpainting

HALF = torch.zeros(1, 1, 32, 32)
HALF[:, :, :, 12:] = 1


@pytest.mark.parametrize("strength", [0.5, 1.0])
@pytest.mark.parametrize("scheduler", ["leading", "ancestral", "multistep", "heun", "ddim"])
@pytest.mark.parametrize("family", ["tiny", "tiny_inpaint", "tiny_sdxl", "tiny_sdxl_inpaint"])
def test_inpainting(family: str, scheduler: str, strength: float, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(family)
    kind = "StableDiffusionXLInpaintPipeline" if "sdxl" in family else "StableDiffusionInpaintPipeline"
    made, loaded = pipeline(kind, folder), load(folder)
    sampler = scheduled(made, scheduler)
    asked = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "num_inference_steps": 4, "output_type": "pt"}
    theirs = made(
        **asked, image=picture(), mask_image=HALF, strength=strength, guidance_scale=5.0, generator=generator(), **SIZE
    ).images
    whole = loaded.model.channels == 9 and strength == 1.0
    encoded = VAEEncodeInpaint(vae=loaded.vae, image=Image(picture()), mask=Mask(HALF), seed=3, whole=whole)
    ours = sampled(loaded, guided(loaded, 5.0), encoded.run(Context()), sampler, strength=strength)
    assert difference(theirs, ours) == 0.0
