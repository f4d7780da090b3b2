"""Data sets as tensors."""

import random

import numpy

from latentgraph.engine.ports import File, Folder

from ..diffusion.numerics import torch
from .data import Dataset
from .emoji import ACCESSORIES, BACKGROUNDS, OBJECTS, Allowed, Artwork, KeptOut, Scene, captions, draw, training_scenes

ATTRIBUTES = {
    "background": tuple(BACKGROUNDS),
    "first": tuple(OBJECTS),
    "second": ("none", *OBJECTS),
    "accessory": ("none", *ACCESSORIES),
}


def shown_by(scene: Scene) -> dict[str, str]:
    """What a scene shows, by attribute."""
    second = scene.things[1] if len(scene.things) > 1 else "none"
    values = (scene.background, scene.things[0], second, scene.accessory or "none")
    return dict(zip(ATTRIBUTES, values, strict=True))


def emoji_dataset(
    artwork: Folder, kept_out: File | None, count: int, shares: dict[str, float], seed: int, allowed: Allowed
) -> Dataset:
    """`count` scenes with their captions, in an order and with variations that `seed` decides."""
    left_out = KeptOut.parse(kept_out.read().decode() if kept_out else "")
    scenes = training_scenes(left_out, count, shares, random.Random(seed), allowed)
    pictures, chance = Artwork(artwork), random.Random(seed + 1)
    drawn = numpy.stack([numpy.asarray(draw(scene, pictures, chance)) for scene in scenes])
    return Dataset(
        images=torch.from_numpy(drawn).permute(0, 3, 1, 2).contiguous(),
        captions=tuple(captions(scene) for scene in scenes),
        attributes=ATTRIBUTES,
        shown=tuple(shown_by(scene) for scene in scenes),
    )


def spread(length: int, count: int) -> list[int]:
    """`count` indices below `length`, evenly spread."""
    return torch.linspace(0, length - 1, min(count, length)).long().tolist()


def shrunk(images: torch.Tensor, size: int) -> torch.Tensor:
    """Pictures uint8 [N, 3, H, W] as uint8 [N, 3, size, size], each pixel the mean of those it covers."""
    return torch.nn.functional.interpolate(images.float(), size=size, mode="area").round().to(torch.uint8)


def split(data: Dataset, first: int) -> tuple[Dataset, Dataset]:
    """The first pictures of a data set, with all that is known of them, and the others."""

    def part(where: slice) -> Dataset:
        return Dataset(data.images[where].clone(), data.captions[where], data.attributes, data.shown[where])

    return part(slice(first)), part(slice(first, None))
