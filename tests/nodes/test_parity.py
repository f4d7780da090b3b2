"""The nodes draw what the Stable Diffusion pipelines of diffusers draw: the difference is 0.0, not nearly so."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diffusers
import pytest
import tiny_model
import torch
from torch import Tensor

from latentgraph.engine.context import Context
from latentgraph.nodes.conditioning import CLIPEncode
from latentgraph.nodes.guidance import CFGCombine
from latentgraph.nodes.latents import EmptyLatent, VAEDecode, VAEEncode
from latentgraph.nodes.models import Loaded, LoadModel
from latentgraph.nodes.ports import Image
from latentgraph.nodes.sampling import KSampler

BOTH_WAYS = [
    "CMStochasticIterativeScheduler",
    "CogVideoXDDIMScheduler",
    "CosineDPMSolverMultistepScheduler",
    "DDIMParallelScheduler",
    "DDIMScheduler",
    "DDPMParallelScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepInverseScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSDEScheduler",
    "DPMSolverSinglestepScheduler",
    "EDMDPMSolverMultistepScheduler",
    "EDMEulerScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LCMScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "SASolverScheduler",
    "TCDScheduler",
    "UniPCMultistepScheduler",
]
NO_ADD_NOISE = ["DDIMInverseScheduler", "IPNDMScheduler"]
"""Taken by StableDiffusionPipeline only."""

REJECTED = {
    "AmusedScheduler": "masked tokens, needs mask_token_id",
    "BlockRefinementScheduler": "tokens, no init_noise_sigma",
    "CogVideoXDPMScheduler": "its step takes two more arguments",
    "DDPMWuerstchenScheduler": "no order",
    "DiscreteDDIMScheduler": "tokens, no init_noise_sigma",
    "EntropyBoundScheduler": "tokens, no init_noise_sigma",
    "FlowMapEulerDiscreteScheduler": "flow matching, no init_noise_sigma",
    "FlowMatchEulerDiscreteScheduler": "flow matching, no init_noise_sigma",
    "FlowMatchHeunDiscreteScheduler": "flow matching, no init_noise_sigma",
    "FlowMatchLCMScheduler": "flow matching, no init_noise_sigma",
    "HeliosDMDScheduler": "flow matching, not made from such a configuration",
    "HeliosScheduler": "flow matching, not made from such a configuration",
    "KarrasVeScheduler": "its step takes sigmas",
    "LTXEulerAncestralRFScheduler": "flow matching, no init_noise_sigma",
    "MiniMaxH3Scheduler": "flow matching, no init_noise_sigma",
    "PiflowScheduler": "flow matching, no init_noise_sigma",
    "RFD4ProteinaScheduler": "proteins, needs modes",
    "RePaintScheduler": "its step takes a picture and a mask",
    "SCMScheduler": "its own prediction type and timesteps",
    "ScoreSdeVeScheduler": "has no step",
    "UnCLIPScheduler": "no such noise schedule",
    "VQDiffusionScheduler": "tokens, needs num_vec_classes",
}
"""What the pipelines reject with an error of their own, and why."""

# Tens of thousands, about NumPy and old configurations, out of diffusers.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

PROMPT, NEGATIVE = "a red apple on blue", "dog"


class Pair:
    """The same picture by diffusers and by the nodes."""

    def __init__(self, folder: Path, tmp_path: Path) -> None:
        # float32 and loaded by diffusers itself, so that loading is compared as well.
        self.pipeline = diffusers.StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32)
        self.image_pipeline = diffusers.StableDiffusionImg2ImgPipeline(
            **self.pipeline.components, requires_safety_checker=False
        )
        self.configuration = self.pipeline.scheduler.config
        self.context = Context()
        self.loaded: Loaded = LoadModel(name=str(folder)).run(self.context)

    def difference(
        self,
        name: str,
        *,
        seeds: tuple[int, ...] = (3,),
        steps: int = 4,
        scale: float = 7.5,
        size: tuple[int, int] = (32, 32),
        image: Tensor | None = None,
        strength: float = 1.0,
    ) -> float:
        theirs = self._by_pipeline(name, seeds, steps, scale, size, image, strength)
        ours = self._by_nodes(name, seeds, steps, scale, size, image, strength)
        assert theirs.shape == ours.shape
        assert torch.isfinite(theirs).all()
        assert theirs.std() > 0.01
        return (theirs - ours).abs().max().item()

    def _by_pipeline(
        self,
        name: str,
        seeds: tuple[int, ...],
        steps: int,
        scale: float,
        size: tuple[int, int],
        image: Tensor | None,
        strength: float,
    ) -> Tensor:
        pipeline = self.pipeline if image is None else self.image_pipeline
        pipeline.set_progress_bar_config(disable=True)
        pipeline.scheduler = getattr(diffusers, name).from_config(self.configuration)
        if name == "DPMSolverSDEScheduler":  # takes its randomness from the global generator
            assert len(seeds) == 1
            generators: Any = torch.manual_seed(seeds[0])
        else:
            generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        where = {"height": size[0], "width": size[1]} if image is None else {"image": image, "strength": strength}
        count = len(seeds)
        drawn: Tensor = pipeline(
            [PROMPT] * count,
            negative_prompt=[NEGATIVE] * count,
            num_inference_steps=steps,
            guidance_scale=scale,
            generator=generators,
            output_type="pt",
            **where,
        ).images
        return drawn

    def _by_nodes(
        self,
        name: str,
        seeds: tuple[int, ...],
        steps: int,
        scale: float,
        size: tuple[int, int],
        image: Tensor | None,
        strength: float,
    ) -> Tensor:
        model, clip, vae = self.loaded
        # As many texts as the pipeline encodes at once: the bits of a product may be others where its shape is another.
        guidance = CFGCombine(
            positive=CLIPEncode(clip=clip, text=(PROMPT,) * len(seeds)).run(self.context),
            negative=CLIPEncode(clip=clip, text=(NEGATIVE,) * len(seeds)).run(self.context),
            scale=scale,
        ).run(self.context)
        if image is None:
            start = EmptyLatent(model=model, height=size[0], width=size[1], batch_size=len(seeds)).run(self.context)
            seed: tuple[int, ...] | None = seeds
        else:
            start = VAEEncode(vae=vae, image=Image(image), seed=seeds).run(self.context)
            seed = None
        sampled = KSampler(
            model=model,
            guidance=guidance,
            latent=start,
            sampler=f"diffusers:{name}",
            steps=steps,
            seed=seed,
            strength=strength,
        ).run(self.context)
        return VAEDecode(vae=vae, latent=sampled).run(self.context).pixels


@pytest.fixture(scope="module")
def pair(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(tiny, tmp_path_factory.mktemp("parity"))


def picture(count: int = 1) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("scale", [1.0, 7.5])
@pytest.mark.parametrize("name", BOTH_WAYS + NO_ADD_NOISE)
def test_text_to_image(pair: Pair, name: str, scale: float) -> None:
    assert pair.difference(name, scale=scale) == 0.0


@pytest.mark.parametrize("strength", [0.5, 1.0])
@pytest.mark.parametrize("name", BOTH_WAYS)
def test_image_to_image(pair: Pair, name: str, strength: float) -> None:
    assert pair.difference(name, image=picture(), strength=strength) == 0.0


@pytest.mark.parametrize("name", [name for name in BOTH_WAYS if name != "DPMSolverSDEScheduler"])
def test_a_batch_is_the_pipelines_with_a_list_of_generators(pair: Pair, name: str) -> None:
    assert pair.difference(name, seeds=(5, 9)) == 0.0
    assert pair.difference(name, seeds=(5, 9), image=picture(2), strength=0.75) == 0.0


@pytest.mark.parametrize("strength", [0.25, 0.3, 0.6, 0.99])
@pytest.mark.parametrize("name", ["DDIMScheduler", "EulerDiscreteScheduler", "HeunDiscreteScheduler"])
def test_more_strengths(pair: Pair, name: str, strength: float) -> None:
    assert pair.difference(name, image=picture(), strength=strength, steps=7, scale=1.0) == 0.0


def test_one_picture_for_several_seeds(pair: Pair) -> None:
    assert pair.difference("EulerAncestralDiscreteScheduler", seeds=(5, 9), image=picture(1), strength=0.75) == 0.0


def test_a_size_that_is_not_square_and_no_multiple_of_anything(pair: Pair) -> None:
    assert pair.difference("EulerAncestralDiscreteScheduler", size=(24, 40)) == 0.0
    assert pair.difference("DDIMScheduler", seeds=(1, 2), size=(8, 56)) == 0.0


OLD_DDIM = {"_class_name": "DDIMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


@pytest.mark.parametrize(
    "scheduler",
    [
        pytest.param(OLD_DDIM, id="settings that the pipelines correct"),
        pytest.param(OLD_DDIM | {"clip_sample": True, "steps_offset": 0}, id="the same written out"),
        pytest.param(
            {
                "_class_name": "EulerDiscreteScheduler",
                "prediction_type": "v_prediction",
                "timestep_spacing": "trailing",
            },
            id="v-prediction",
        ),
    ],
)
def test_other_configurations(scheduler: dict[str, Any], tmp_path: Path) -> None:
    pair = Pair(tiny_model.build(tmp_path / "model", scheduler), tmp_path)
    for name in ("DDIMScheduler", "DDPMScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler"):
        assert pair.difference(name) == 0.0
        assert pair.difference(name, image=picture(), strength=0.5) == 0.0


KARRAS = {"_class_name": "DPMSolverMultistepScheduler", "beta_schedule": "scaled_linear", "use_karras_sigmas": True}


def test_where_to_begin_among_equal_timesteps(tmp_path: Path) -> None:
    # Rounded to whole timesteps, the dense end of this schedule has the same one several times.
    pair = Pair(tiny_model.build(tmp_path / "model", KARRAS), tmp_path)
    for name in ("DPMSolverMultistepScheduler", "DEISMultistepScheduler", "SASolverScheduler"):
        assert pair.difference(name, image=picture(), steps=200, strength=0.025) == 0.0


def schedulers() -> Iterator[str]:
    for name in dir(diffusers):
        if name.endswith("Scheduler") and hasattr(getattr(diffusers, name), "from_config"):
            yield name


def test_every_scheduler_of_diffusers_is_accounted_for() -> None:
    assert set(schedulers()) == {*BOTH_WAYS, *NO_ADD_NOISE, *REJECTED}
    accepted = {member.name for member in diffusers.schedulers.scheduling_utils.KarrasDiffusionSchedulers}
    assert accepted <= {*BOTH_WAYS}


@pytest.mark.parametrize("name", REJECTED)
def test_what_the_pipelines_reject_is_refused_by_name(pair: Pair, name: str) -> None:
    with pytest.raises(ValueError, match=name.removesuffix("Scheduler")):
        pair._by_nodes(name, (1,), 4, 7.5, (32, 32), None, 1.0)
    with pytest.raises((AttributeError, TypeError, KeyError, ValueError, NotImplementedError)):
        pair._by_pipeline(name, (1,), 4, 7.5, (32, 32), None, 1.0)


def test_the_configuration_of_the_tiny_model_is_what_version_1_5_has(tiny: Path) -> None:
    scheduler = json.loads((tiny / "scheduler" / "scheduler_config.json").read_text())
    assert scheduler["_class_name"] == "PNDMScheduler"
    assert scheduler["steps_offset"] == 1
