"""Latents: an empty canvas, and pictures to latents and back."""

from typing import Annotated

from latentgraph.engine.context import Context
from latentgraph.engine.node import Field, Node

from .ports import Image, Latent, Model, Vae

Seed = Annotated[int, Field(ge=0, lt=2**53)]  # exact as a JSON number everywhere

Side = Annotated[int, Field(gt=0, le=8192)]


class EmptyLatent(Node, category="latents"):
    """A canvas without a picture, for a model to draw on: samples f32[N, C, height / factor, width / factor] of zeros.

    The factor is that of the model's VAE, 8 for Stable Diffusion; fails where it does not divide a side.
    """

    model: Model
    width: Side | None = Field(None, description="in pixels; by default what the model learned from")
    height: Side | None = Field(None, description="in pixels; by default what the model learned from")
    batch_size: int = Field(1, ge=1, le=256, description="how many pictures")

    def run(self, context: Context) -> Latent:
        from .diffusion.numerics import torch

        factor, (usual_height, usual_width) = self.model.space.factor, self.model.size
        height, width = self.height or usual_height, self.width or usual_width
        for name, side in {"width": width, "height": height}.items():
            if side % factor:
                near = max(1, round(side / factor)) * factor
                raise ValueError(f"{name} is {side}, which the model's factor {factor} does not divide; {near} is near")
        shape = (self.batch_size, self.model.space.channels, height // factor, width // factor)
        return Latent(torch.zeros(shape), self.model.space, empty=True)


class VAEEncode(Node, category="latents", resource="device"):
    """Pictures as latents: a sample of the VAE's posterior, scaled as the model takes it.

    With a seed each picture has a random generator (`seed`, `seed + 1`, …, or those of a list), which stays with the
    latent: a KSampler without a seed goes on with it, as diffusers' StableDiffusionImg2ImgPipeline does. Without a seed
    the latent is the posterior's mean. One picture with a list of seeds gives that many latents.

    Takes images [N, 3 or 4, H, W], transparent ones laid on white; gives samples f32[N, C, H / factor, W / factor].
    Fails where the factor does not divide a side.
    """

    vae: Vae
    image: Image
    seed: Seed | tuple[Seed, ...] | None = Field(None, description="starts the random generators; none takes the mean")

    def run(self, context: Context) -> Latent:
        from .diffusion.pictures import to_latent

        return to_latent(self.vae, self.image, self.seed)


class VAEDecode(Node, category="latents", resource="device"):
    """Latents as pictures: f32[N, 3, h * factor, w * factor] in 0..1. Fails for latents of another latent space."""

    vae: Vae
    latent: Latent

    def run(self, context: Context) -> Image:
        from .diffusion.pictures import to_image

        return to_image(self.vae, self.latent)
