"""Sampling: from noise to a picture."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ValidationInfo, field_validator

from latentgraph.engine.context import Context
from latentgraph.engine.node import Field, Node

from .diffusion.samplers import PREFIX, known_sampler
from .facts import (
    LatentFacts,
    TextFacts,
    check_drawn_by,
    check_seeded,
    check_strength,
    check_width,
    fact,
    together,
)
from .latents import Seed
from .ports import Conditioning, Guidance, Latent, Model


class KSampler(Node, category="sampling", resource="device"):
    """Draw a picture in a latent: remove noise step by step, under guidance.

    An empty latent is filled from noise alone. To a latent with a picture noise is added first, as much as `strength`
    says, and only that share of the steps is taken (SDEdit, Meng et al. 2021, arXiv:2108.01073); strength 0 gives the
    latent back.

    Each picture has a random generator of its own: a batch with seed s is the same pictures as single runs with seeds
    s, s + 1, …. Without a seed the latent's generators go on, which is how an image to image run is made: seed
    VAEEncode, and leave this one out. One text, or one latent, serves all pictures of a batch.

    `sampler` is a short name or `diffusers:ClassName`, which is that diffusers scheduler with the model's own
    configuration, bit for bit.

    Fails where the latent, the conditioning and the model do not belong together, and for a spacing of the steps that
    the sampler does not have.
    """

    model: Model
    guidance: Guidance | Conditioning
    latent: Latent
    sampler: Annotated[str, AfterValidator(known_sampler)] = Field(
        "euler", description="euler, dpmpp_2m, ddim, …, or diffusers:ClassName"
    )
    scheduler: Literal["model", "karras", "exponential", "beta", "leading", "linspace", "trailing"] = Field(
        "model", description="how the steps are spaced; `model` leaves it to the model's configuration"
    )
    steps: int = Field(20, ge=1, le=1000, description="how many steps the whole way from noise to picture has")
    seed: Seed | tuple[Seed, ...] | None = Field(
        None, description="starts the random generators; none goes on with the latent's"
    )
    strength: float = Field(1.0, ge=0, le=1, description="how much of a picture may change; 1 nearly everything")

    @field_validator("scheduler")
    @classmethod
    def _model_beside_diffusers(cls, scheduler: str, info: ValidationInfo) -> str:
        sampler = info.data.get("sampler", "")
        if scheduler != "model" and sampler.startswith(PREFIX):
            raise ValueError(f"beside `{sampler}` only `model` is possible: it is used as the model is configured")
        return scheduler

    def run(self, context: Context) -> Latent:
        from .diffusion.denoise import batch_size, sample
        from .diffusion.noise import generators, restored
        from .diffusion.schedulers import new_scheduler

        count = batch_size(self.guidance, self.latent, len(self.seed) if isinstance(self.seed, tuple) else 1)
        if self.seed is not None:
            sources = generators(self.seed, count)
        else:
            check_seeded(self.latent.generators is not None)
            sources = restored(self.latent.generators)
            if len(sources) != count:
                raise ValueError(
                    f"there is no seed, and the latent has random generators for {len(sources)} of {count} pictures:"
                    " give a number"
                )

        return sample(
            self.model,
            self.guidance,
            self.latent,
            new_scheduler(self.model, self.sampler, self.scheduler),
            sources,
            steps=self.steps,
            strength=self.strength,
            context=context,
        )

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
        check_strength(latent.empty, known.get("strength", 1.0))
        seed = known.get("seed", 0)
        check_seeded(latent.generators or seed is not None)
        count = None
        if texts is not None and texts.count is not None and latent.count is not None and "seed" in known:
            seeds = len(seed) if isinstance(seed, tuple) else 1
            count = together({"texts": texts.count, "latents": latent.count, "seeds": seeds})
        return {"latent": LatentFacts(latent.space, latent.pixels, count, empty=False, generators=True)}
