"""Latents: an empty canvas, pictures to latents and back, and what latents look like."""

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

from latentgraph.engine.context import Context
from latentgraph.engine.node import Field, Node

from .areas import Tiles, check_same_size, check_tile
from .facts import ImageFacts, LatentFacts, check_decoded_by, check_picture, check_side, fact, together
from .ports import Image, Latent, Mask
from .references import Model, Vae

Seed = Annotated[int, Field(ge=0, lt=2**53)]  # exact as a JSON number everywhere

Side = Annotated[int, Field(gt=0, le=8192)]

TileSize = Annotated[int, Field(ge=64, le=4096)]


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

        space, (usual_height, usual_width) = self.model.space, self.model.size
        height, width = self.height or usual_height, self.width or usual_width
        check_side("width", width, space)
        check_side("height", height, space)
        shape = (self.batch_size, space.channels, height // space.factor, width // space.factor)
        return Latent(torch.zeros(shape), space, empty=True)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        model = fact(known, "model", Model)
        if model is None:
            return {}
        usual = dict(zip(("height", "width"), model.size, strict=True))
        sides = {name: known[name] or usual[name] for name in ("width", "height") if name in known}
        for name, side in sides.items():
            check_side(name, side, model.space)
        pixels = (sides["height"], sides["width"]) if len(sides) == 2 else None
        facts = LatentFacts(model.space, pixels, known.get("batch_size"), empty=True, generators=False)
        return {"latent": facts}


class VAEEncode(Node, category="latents", resource="device"):
    """Pictures as latents: a sample of the VAE's posterior, scaled as the model takes it.

    With a seed each picture has a random generator (`seed`, `seed + 1`, …, or those of a list), which stays with the
    latent: a KSampler without a seed goes on with it, as diffusers' StableDiffusionImg2ImgPipeline does. Without a seed
    the latent is the posterior's mean. One picture with a list of seeds gives that many latents.

    Takes images [N, 3 or 4, H, W], transparent ones laid on white; gives samples f32[N, C, H / factor, W / factor].
    Fails where the factor does not divide a side.

    In tiles it takes less memory, but each tile knows nothing of the others, and the result differs a little. With
    `auto` that is done, and said, where the memory that is free would not do, and the result is used once and not kept:
    at another time it would be another one. `off` never does it.
    """

    vae: Vae
    image: Image
    seed: Seed | tuple[Seed, ...] | None = Field(None, description="starts the random generators; none takes the mean")
    tiles: Tiles = Field("auto", description="whether to compute in overlapping tiles")
    tile_size: TileSize = Field(512, description="the side of a tile, in pixels")

    def run(self, context: Context) -> Latent:
        from .diffusion.pictures import to_latent
        from .diffusion.tiles import Tiling

        check_tile(self.tile_size, self.vae.space.factor)
        return to_latent(self.vae, self.image, self.seed, Tiling(self.tiles, self.tile_size, context))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        _check_tile(known)
        vae, image = fact(known, "vae", Vae), fact(known, "image", ImageFacts)
        if vae is None or image is None:
            return {}
        check_picture(*image.pixels, vae)
        if "seed" not in known:
            return {}
        seeds = known["seed"] if isinstance(known["seed"], tuple) else (known["seed"],)
        count = len(seeds) if image.count == 1 else image.count
        seeded = known["seed"] is not None
        return {"latent": LatentFacts(vae.space, image.pixels, count, empty=False, generators=seeded)}


class VAEEncodeInpaint(Node, category="latents", resource="device"):
    """Pictures as latents of which only a part is drawn anew: where the mask is 0.5 or more.

    Around it a KSampler keeps the picture: a model with 4 input channels by putting it back after each step, a model
    made for inpainting (9 channels) by looking at the mask and at the picture without what is masked. `whole` leaves
    out the picture's own latent, for such a model at strength 1: it begins from noise alone, on a canvas that is empty.

    Seeds are as in VAEEncode. With one, a KSampler without a seed goes on as diffusers' StableDiffusionInpaintPipeline
    does, which at strength 1 and 9 channels is what `whole` is for. Fails for a mask of another size than the picture,
    and where the VAE's factor does not divide a side.
    """

    vae: Vae
    image: Image
    mask: Mask
    seed: Seed | tuple[Seed, ...] | None = Field(None, description="starts the random generators; none takes the mean")
    whole: bool = Field(False, description="draw all of it anew, for models made for inpainting")
    tiles: Tiles = Field("auto", description="whether to compute in overlapping tiles")
    tile_size: TileSize = Field(512, description="the side of a tile, in pixels")

    def run(self, context: Context) -> Latent:
        from .diffusion.pictures import to_inpaint
        from .diffusion.tiles import Tiling

        check_tile(self.tile_size, self.vae.space.factor)
        tiling = Tiling(self.tiles, self.tile_size, context)
        return to_inpaint(self.vae, self.image, self.mask, self.seed, self.whole, tiling)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        _check_tile(known)
        vae, image, mask = fact(known, "vae", Vae), fact(known, "image", ImageFacts), fact(known, "mask", ImageFacts)
        if image is not None and mask is not None:
            check_same_size("mask", mask.pixels, "picture", image.pixels)
        if vae is None or image is None:
            return {}
        check_picture(*image.pixels, vae)
        if not {"seed", "whole"} <= known.keys():
            return {}
        count = None
        if mask is not None and None not in (image.count, mask.count):
            seeds = len(known["seed"]) if isinstance(known["seed"], tuple) else 1
            count = together({"pictures": image.count, "masks": mask.count, "seeds": seeds})
        seeded = known["seed"] is not None
        return {"latent": LatentFacts(vae.space, image.pixels, count, empty=known["whole"], generators=seeded)}


class VAEDecode(Node, category="latents", resource="device"):
    """Latents as pictures: f32[N, 3, h * factor, w * factor] in 0..1. Fails for latents of another latent space.

    In tiles it takes less memory, but each tile knows nothing of the others, and the result differs a little. With
    `auto` pictures are decoded one by one where the memory that is free would not do for all of them, and in tiles
    where it would not do for one, which is said, and the result is used once and not kept: at another time it would be
    another one. `off` never does either.
    """

    vae: Vae
    latent: Latent
    tiles: Tiles = Field("auto", description="whether to compute in overlapping tiles")
    tile_size: TileSize = Field(512, description="the side of a tile, in pixels")

    def run(self, context: Context) -> Image:
        from .diffusion.pictures import to_image
        from .diffusion.tiles import Tiling

        check_tile(self.tile_size, self.vae.space.factor)
        return to_image(self.vae, self.latent, Tiling(self.tiles, self.tile_size, context))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        _check_tile(known)
        vae, latent = fact(known, "vae", Vae), fact(known, "latent", LatentFacts)
        if vae is not None and latent is not None:
            check_decoded_by(latent.space, vae.space)
        return {} if latent is None or latent.pixels is None else {"image": ImageFacts(latent.pixels, latent.count)}


class Channels(NamedTuple):
    images: Image
    numbers: int
    picture_numbers: int


class LatentChannels(Node, category="latents", primary="images"):
    """The channels of latents as gray pictures, one after the other: f32[N * C, 3, h * factor, w * factor] in 0..1.

    0 is middle gray, `-reach` black and `reach` white; what is beyond is cut off. Each number is a square as large as
    the pixels that it stands for. `numbers` is how many numbers the latents of one picture have, and `picture_numbers`
    how many the picture has that they decode to, red, green and blue.
    """

    latent: Latent
    reach: float = Field(2.5, gt=0, description="the number that is white; models have deviations near 1")

    def run(self, context: Context) -> Channels:
        samples, factor = self.latent.samples, self.latent.space.factor
        gray = (samples.flatten(0, 1)[:, None] / (2 * self.reach) + 0.5).clamp(0, 1)
        large = gray.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
        height, width = self.latent.pixels
        return Channels(Image(large.repeat(1, 3, 1, 1)), samples[0].numel(), 3 * height * width)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        latent = fact(known, "latent", LatentFacts)
        if latent is None or latent.pixels is None:
            return {}
        count = None if latent.count is None else latent.count * latent.space.channels
        return {"images": ImageFacts(latent.pixels, count)}


def _check_tile(known: Mapping[str, Any]) -> None:
    vae = fact(known, "vae", Vae)
    if vae is not None and "tile_size" in known:
        check_tile(known["tile_size"], vae.space.factor)
