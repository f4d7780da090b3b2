"""Sampling: from noise to a picture."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, ValidationInfo, field_validator

from latentgraph.engine.context import Context
from latentgraph.engine.node import Field, Node, Wrong

from .diffusion.samplers import known_sampler, part, resolved
from .facts import (
    LatentFacts,
    TextFacts,
    check_drawn_by,
    check_parts,
    check_seeded,
    check_strength,
    check_width,
    fact,
    together,
)
from .guides import Conditioning, Guidance
from .latents import Seed
from .ports import Latent, Noise, Sampler, Sigmas
from .references import Model

if TYPE_CHECKING:
    import torch

    from .diffusion.denoise import Walk

Schedule = Literal[
    "model",
    "normal",
    "karras",
    "exponential",
    "polyexponential",
    "sgm_uniform",
    "simple",
    "ddim_uniform",
    "beta",
    "linear_quadratic",
    "kl_optimal",
    "align_your_steps",
    "laplace",
    "leading",
    "linspace",
    "trailing",
]
"""How the steps of a sampling may be spaced."""


class KSampler(Node, category="sampling", resource="device"):
    """Draw a picture in a latent: remove noise step by step, under guidance.

    An empty latent is filled from noise alone. To a latent with a picture noise is added first, as much as `strength`
    says, and only that share of the steps is taken (SDEdit, Meng et al. 2021, arXiv:2108.01073); strength 0 gives the
    latent back. `denoise` is the same by ComfyUI's convention: all `steps` are taken, of a longer way.

    `start` and `end` split a sampling: the first part leaves noise in the latent, and the second one, with the same
    inputs, goes on to the very bits of a sampling at one go. With another model or sampler it goes on as well: so does
    a refiner.

    Each picture has a random generator of its own: a batch with seed s is the same pictures as single runs with seeds
    s, s + 1, …. Without a seed the latent's generators go on, which is how an image to image run is made: seed
    VAEEncode, and leave this one out. One text, or one latent, serves all pictures of a batch.

    `sampler` is a short name, a name that ComfyUI, A1111 or InvokeAI have for it, or `diffusers:ClassName`, which is
    that diffusers scheduler with the model's own configuration, bit for bit.

    Fails where the latent, the conditioning and the model do not belong together, and for a spacing of the steps that
    the sampler does not have.
    """

    model: Model
    guidance: Guidance | Conditioning
    latent: Latent
    sampler: Annotated[str, AfterValidator(known_sampler)] = Field(
        "euler", description="euler, dpmpp_2m, ddim, …, or diffusers:ClassName"
    )
    scheduler: Schedule = Field(
        "model", description="how the steps are spaced; `model` leaves it to the model's configuration"
    )
    steps: int = Field(20, ge=1, le=1000, description="how many steps the whole way from noise to picture has")
    seed: Seed | tuple[Seed, ...] | None = Field(
        None, description="starts the random generators; none goes on with the latent's"
    )
    strength: float = Field(1.0, ge=0, le=1, description="how much of a picture may change; 1 nearly everything")
    denoise: float | None = Field(None, gt=0, le=1, description="the same by ComfyUI's convention, instead of strength")
    start: int | None = Field(None, ge=0, description="the step to begin at, from 0; none goes on where the latent is")
    end: int | None = Field(None, ge=1, description="the step to stop before; none samples to the end")

    @field_validator("scheduler")
    @classmethod
    def _goes_with_sampler(cls, scheduler: str, info: ValidationInfo) -> str:
        if "sampler" in info.data:
            resolved(info.data["sampler"], scheduler)
        return scheduler

    def run(self, context: Context) -> Latent:
        from .diffusion.denoise import sample

        walk, sources = self._way()
        return sample(self.model, self.guidance, self.latent, walk, sources, context, start=self.start, end=self.end)

    def _way(self) -> "tuple[Walk, list[torch.Generator]]":
        """The way that the samples go, and the random generator of each picture."""
        from .diffusion.denoise import batch_size
        from .diffusion.walks import new_walk

        check_parts(self.strength, self.denoise, self.start, self.end, self.steps)
        count = batch_size(self.guidance, self.latent, len(self.seed) if isinstance(self.seed, tuple) else 1)
        sources = random_sources(self.seed, self.latent, count)
        whole, taken = part(self.model, self.steps, self.strength, self.denoise)
        shape = self.latent.samples.shape[1:]
        walk = new_walk(self.model, self.sampler, self.scheduler, whole, whole - taken, sources, shape)
        return walk, sources

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        model, latent = fact(known, "model", Model), fact(known, "latent", LatentFacts)
        texts = fact(known, "guidance", TextFacts)
        if model is not None and texts is not None:
            check_width("guidance", texts.width, model)
        if {"strength", "denoise", "start", "end", "steps"} <= known.keys():
            check_parts(known["strength"], known["denoise"], known["start"], known["end"], known["steps"])
        if latent is None:
            return {}
        if model is not None:
            check_drawn_by(latent.space, model.space)
        check_strength(latent.empty, min(known.get("strength", 1.0), known.get("denoise") or 1.0))
        seed = known.get("seed", 0)
        check_seeded(latent.generators or seed is not None)
        count = None
        if texts is not None and texts.count is not None and latent.count is not None and "seed" in known:
            seeds = len(seed) if isinstance(seed, tuple) else 1
            count = together({"texts": texts.count, "latents": latent.count, "seeds": seeds})
        return {"latent": LatentFacts(latent.space, latent.pixels, count, empty=False, generators=True)}


class Sample(Node, category="sampling", resource="device"):
    """Draw a picture in a latent from pieces of one's own: the noise, the noise levels, and the sampler.

    The first of `sigmas` says how much of the noise is in the samples at the beginning. To a latent that another
    sampling left unfinished no noise is added; it goes on at the noise level that it has. Where the last of `sigmas` is
    above 0, the latent is left unfinished.
    """

    model: Model
    guidance: Guidance | Conditioning
    latent: Latent
    noise: Noise | None = Field(None, description="where to begin; none goes on with an unfinished latent")
    sigmas: Sigmas
    sampler: Sampler

    def run(self, context: Context) -> Latent:
        from .diffusion.denoise import batch_size, sample
        from .diffusion.noise import restored
        from .diffusion.walks import walk_down

        count = batch_size(self.guidance, self.latent, 1 if self.noise is None else len(self.noise.samples))
        if self.noise is None:
            if self.latent.unfinished is None:
                raise Wrong("noise", "the latent has no noise to go on with: link a MakeNoise")
            sources = random_sources(None, self.latent, count)
        else:
            sources = restored(self.noise.generators)
        shape = self.latent.samples.shape[1:]
        walk = walk_down(self.model, self.sampler, self.sigmas.values, sources, shape)
        drawn = None if self.noise is None else self.noise.samples
        return sample(self.model, self.guidance, self.latent, walk, sources, context, start=0, drawn=drawn)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        model, latent = fact(known, "model", Model), fact(known, "latent", LatentFacts)
        texts = fact(known, "guidance", TextFacts)
        if model is not None and texts is not None:
            check_width("guidance", texts.width, model)
        if latent is None:
            return {}
        if model is not None:
            check_drawn_by(latent.space, model.space)
        return {"latent": LatentFacts(latent.space, latent.pixels, None, empty=False, generators=True)}


def random_sources(seed: int | tuple[int, ...] | None, latent: Latent, count: int) -> "list[torch.Generator]":
    """The random generators of `count` pictures: new ones, or without a seed the latent's."""
    from .diffusion.noise import generators, restored

    if seed is not None:
        return generators(seed, count)
    check_seeded(latent.generators is not None)
    sources = restored(latent.generators or ())
    if len(sources) != count:
        raise ValueError(
            f"there is no seed, and the latent has random generators for {len(sources)} of {count} pictures: give a"
            " number"
        )
    return sources
