"""Latents at other sizes, cut, turned, laid on each other, mixed, and several as one value.

Random generators stay with each picture, so that a KSampler without a seed goes on with them. What a picture is to keep
(`inpaint`) changes with it. Latents whose sampling is unfinished stay at their noise, but what its sampler remembered
is forgotten, because it belongs to other numbers.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from latentgraph.engine.context import Context
from latentgraph.engine.node import Field, Node

from .areas import all_known, check_area, check_same_size
from .facts import LatentFacts, check_index, check_side, fact
from .latents import Side
from .masks import Place
from .ports import Latent, Mask

Interpolation = Literal["nearest", "bilinear", "bicubic", "area"]

Shift = Annotated[int, Field(ge=-8192, le=8192)]


class ResizeLatent(Node, category="latents"):
    """Latents interpolated to another size, the proportions of which they take on; an inpainting mask by the nearest.

    Latents are no pictures: what is drawn between them is blurred or speckled until a KSampler goes over it, say at
    strength 0.5. Fails where the factor of the latent space does not divide a side, and for unfinished latents, because
    interpolated noise is none that a sampler could remove.
    """

    latent: Latent
    width: Side = Field(description="in pixels")
    height: Side = Field(description="in pixels")
    method: Interpolation = "bicubic"

    def run(self, context: Context) -> Latent:
        from .diffusion.latent_editing import interpolated

        space = self.latent.space
        check_side("width", self.width, space)
        check_side("height", self.height, space)
        return interpolated(self.latent, self.height // space.factor, self.width // space.factor, self.method)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        latent, given = fact(known, "latent", LatentFacts), all_known(known, "height", "width")
        if latent is None or given is None:
            return {}
        for name in ("width", "height"):
            check_side(name, known[name], latent.space)
        return {"latent": replace(latent, pixels=given)}


class UpscaleLatent(Node, category="latents"):
    """Latents interpolated to `factor` times as many along each side, to the nearest whole one, as ResizeLatent does.

    What is not there cannot be interpolated: a KSampler at a strength of about 0.5 draws it. Fails for unfinished
    latents.
    """

    latent: Latent
    factor: float = Field(2.0, gt=0, le=16, description="below 1 makes them smaller")
    method: Interpolation = "bicubic"

    def run(self, context: Context) -> Latent:
        from .diffusion.latent_editing import interpolated

        height, width = (max(1, round(side * self.factor)) for side in self.latent.samples.shape[2:])
        return interpolated(self.latent, height, width, self.method)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        latent = fact(known, "latent", LatentFacts)
        if latent is None:
            return {}
        pixels = None
        if latent.pixels is not None and "factor" in known:
            whole = (side // latent.space.factor * known["factor"] for side in latent.pixels)
            height, width = (max(1, round(side)) * latent.space.factor for side in whole)
            pixels = height, width
        return {"latent": replace(latent, pixels=pixels)}


class CropLatent(Node, category="latents"):
    """A rectangle out of latents. Fails where it is not wholly inside, or the factor does not divide its numbers."""

    latent: Latent
    left: Place = Field(0, description="where it begins, in pixels")
    top: Place = Field(0, description="where it begins, in pixels")
    width: Side = Field(description="in pixels")
    height: Side = Field(description="in pixels")

    def run(self, context: Context) -> Latent:
        from .diffusion.latent_editing import changed

        latent = self.latent
        for name in ("left", "top", "width", "height"):
            check_side(name, getattr(self, name), latent.space)
        check_area(self.left, self.top, self.width, self.height, latent.pixels)
        factor = latent.space.factor
        rows = slice(self.top // factor, (self.top + self.height) // factor)
        columns = slice(self.left // factor, (self.left + self.width) // factor)
        return changed(latent, lambda values: values[:, :, rows, columns])

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        latent, given = fact(known, "latent", LatentFacts), all_known(known, "left", "top", "width", "height")
        if latent is None or given is None:
            return {}
        for name in ("left", "top", "width", "height"):
            check_side(name, known[name], latent.space)
        if latent.pixels is not None:
            check_area(*given, latent.pixels)
        return {"latent": replace(latent, pixels=(given[3], given[2]))}


class FlipLatent(Node, category="latents"):
    """Latents in a mirror: `horizontal` swaps left and right. What they decode to is nearly the flipped picture."""

    latent: Latent
    direction: Literal["horizontal", "vertical"] = "horizontal"

    def run(self, context: Context) -> Latent:
        from .diffusion.latent_editing import changed

        side = 3 if self.direction == "horizontal" else 2
        return changed(self.latent, lambda values: values.flip(side))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        latent = fact(known, "latent", LatentFacts)
        return {} if latent is None else {"latent": latent}


class LatentComposite(Node, category="latents"):
    """Latents laid on latents: `over` at `left` and `top`, where its mask says, on `latent`. What sticks out is cut.

    The mask has the size of the picture that `over` decodes to; each latent pixel takes the mean of what it covers.
    Generators and what is to be kept are those of `latent`. Fails for other latent spaces, for a mask of another size,
    where the factor does not divide `left` or `top`, and where one is unfinished at another noise than the other.
    """

    latent: Latent
    over: Latent
    mask: Mask | None = None
    left: Shift = Field(0, description="where `over` begins, in pixels")
    top: Shift = Field(0, description="where `over` begins, in pixels")

    def run(self, context: Context) -> Latent:
        from .diffusion.latent_editing import composed

        factor = self.latent.space.factor
        for name in ("left", "top"):
            check_side(name, getattr(self, name), self.latent.space)
        if self.mask is not None:
            check_same_size("mask", tuple(self.mask.pixels.shape[2:]), "picture of `over`", self.over.pixels)
        mask = None if self.mask is None else self.mask.pixels
        return composed(self.latent, self.over, mask, self.left // factor, self.top // factor)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        latent = fact(known, "latent", LatentFacts)
        if latent is None:
            return {}
        for name in ("left", "top"):
            check_side(name, known.get(name, 0), latent.space)
        return {"latent": replace(latent, count=None)}


class LatentBlend(Node, category="latents"):
    """Two latents mixed: `(1 - weight) * latent + weight * other`, or along the arc between them.

    `spherical` turns one into the other about the origin, for each picture as one vector (Shoemake 1985): unlike a
    mean of two noises, what is between them is as strong as they are. Generators and what is to be kept are those of
    `latent`. Fails for other latent spaces and sizes, and where one is unfinished at another noise than the other.
    """

    latent: Latent
    other: Latent
    weight: float = Field(0.5, ge=0, le=1, description="of the other")
    how: Literal["linear", "spherical"] = "linear"

    def run(self, context: Context) -> Latent:
        from .diffusion.latent_editing import blended

        return blended(self.latent, self.other, self.weight, spherical=self.how == "spherical")

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        latent, other = fact(known, "latent", LatentFacts), fact(known, "other", LatentFacts)
        if latent is None or other is None:
            return {}
        if latent.pixels is not None and other.pixels is not None:
            check_same_size("other", other.pixels, "latent", latent.pixels)
        return {"latent": replace(latent, count=None, empty=latent.empty and other.empty)}


class LatentBatch(Node, category="latents"):
    """Several latents as one batch, in their order. Fails where their spaces or sizes differ.

    It has random generators where all have them, and what is to be kept where all say so. Fails where some are empty
    canvases and others are not, and where some are unfinished.
    """

    latents: tuple[Latent, ...]

    def run(self, context: Context) -> Latent:
        from .diffusion.latent_editing import batched

        return batched(self.latents)


class LatentFromBatch(Node, category="latents"):
    """Some of the latents of a batch, from `index` on. Fails where there are not as many."""

    latent: Latent
    index: int = Field(0, ge=0, description="the first to take, from 0")
    count: int = Field(1, ge=1, description="how many")

    def run(self, context: Context) -> Latent:
        from .diffusion.latent_editing import taken

        check_index(self.index + self.count - 1, len(self.latent.samples))
        return taken(self.latent, self.index, self.count)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        latent, given = fact(known, "latent", LatentFacts), all_known(known, "index", "count")
        if latent is None or given is None:
            return {}
        if latent.count is not None:
            check_index(sum(given) - 1, latent.count)
        return {"latent": replace(latent, count=given[1])}
