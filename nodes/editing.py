"""Pictures cut, enlarged, laid on each other, blurred, turned."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

from latentgraph.engine.context import Context
from latentgraph.engine.node import Field, Node

from .areas import check_area, check_same_size
from .facts import ImageFacts, fact
from .latents import Side
from .masks import Colour, Place, cropped_facts
from .ports import Image, Mask

Margin = Annotated[int, Field(ge=0, le=4096)]


class CropImage(Node, category="images"):
    """A rectangle out of pictures. Fails where it is not wholly inside."""

    image: Image
    left: Place = Field(0, description="where it begins, in pixels")
    top: Place = Field(0, description="where it begins, in pixels")
    width: Side = Field(description="in pixels")
    height: Side = Field(description="in pixels")

    def run(self, context: Context) -> Image:
        check_area(self.left, self.top, self.width, self.height, tuple(self.image.pixels.shape[2:]))
        return Image(self.image.pixels[:, :, self.top : self.top + self.height, self.left : self.left + self.width])

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        return _same(cropped_facts(known, "image"))


class Cropped(NamedTuple):
    """A part of a picture and of its mask, and where in the picture it lies, in pixels."""

    image: Image
    mask: Mask
    left: int
    top: int


class CropToMask(Node, category="images", primary="image"):
    """The part of a picture around what its mask covers, to be drawn anew at a size of its own.

    Its sides are what the mask covers (where it is above 0), the margin on all sides, and what it takes to divide by
    `multiple`; it is moved into the picture, and smaller only where the picture ends. CompositeImage lays the result
    back at `left` and `top`. A batch of masks counts together. Fails for a mask of another size than the picture, and
    for one that covers nothing.
    """

    image: Image
    mask: Mask
    margin: Margin = Field(32, description="in pixels")
    multiple: int = Field(8, ge=1, le=256, description="what the sides are to be divisible by")

    def run(self, context: Context) -> Cropped:
        from .diffusion.editing import area_of

        size = tuple(self.image.pixels.shape[2:])
        check_same_size("mask", tuple(self.mask.pixels.shape[2:]), "picture", size)
        left, top, width, height = area_of(self.mask.pixels, self.margin, self.multiple)
        rows, columns = slice(top, top + height), slice(left, left + width)
        image, mask = self.image.pixels[:, :, rows, columns], self.mask.pixels[:, :, rows, columns]
        return Cropped(Image(image), Mask(mask), left, top)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        check_mask(known)
        return {}


class Padded(NamedTuple):
    """Pictures with more around them, and where that is: 1 is new, and to be drawn."""

    image: Image
    mask: Mask


class PadImage(Node, category="images", primary="image"):
    """Pictures with more around them, and the mask f32[1, 1, H, W] of what is new, for outpainting.

    What is new continues the outermost pixels, mirrors the picture, or has one colour. The mask reaches `overlap`
    pixels into the picture, so that the seam is drawn anew, too.
    """

    image: Image
    left: Margin = Field(0, description="how much more, in pixels")
    top: Margin = Field(0, description="how much more, in pixels")
    right: Margin = Field(0, description="how much more, in pixels")
    bottom: Margin = Field(0, description="how much more, in pixels")
    fill: Literal["edge", "mirror", "colour"] = "edge"
    colour: Colour = Field("#808080", description="of what is new, where `fill` says so")
    overlap: Margin = Field(0, description="how far the mask reaches into the picture, in pixels")

    def run(self, context: Context) -> Padded:
        from .diffusion.editing import padded

        margins = (self.left, self.top, self.right, self.bottom)
        image, mask = padded(self.image.pixels, margins, self.fill, self.colour, self.overlap)
        return Padded(Image(image), Mask(mask))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        image = fact(known, "image", ImageFacts)
        if image is None or not {"left", "top", "right", "bottom"} <= known.keys():
            return {}
        height, width = image.pixels
        pixels = height + known["top"] + known["bottom"], width + known["left"] + known["right"]
        return {"image": ImageFacts(pixels, image.count), "mask": ImageFacts(pixels, 1)}


class CompositeImage(Node, category="images"):
    """Pictures laid on pictures: `over` at `left` and `top`, where its mask and its opacity say, on `image`.

    Where the mask is 0 the picture below stays, where it is 1 it is covered, bit for bit. What sticks out is cut off.
    One picture or mask serves a batch. Fails for a mask of another size than `over`, and where `over` lies wholly
    outside.
    """

    image: Image
    over: Image
    mask: Mask | None = None
    left: int = Field(0, ge=-8192, le=8192, description="where `over` begins, in pixels")
    top: int = Field(0, ge=-8192, le=8192, description="where `over` begins, in pixels")
    opacity: float = Field(1.0, ge=0, le=1, description="of what is laid on it")

    def run(self, context: Context) -> Image:
        from .diffusion.editing import composed

        mask = None if self.mask is None else self.mask.pixels
        if mask is not None:
            check_same_size("mask", tuple(mask.shape[2:]), "picture `over`", tuple(self.over.pixels.shape[2:]))
        return Image(composed(self.image.pixels, self.over.pixels, mask, self.left, self.top, self.opacity))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        image, over, mask = (fact(known, name, ImageFacts) for name in ("image", "over", "mask"))
        if over is not None and mask is not None:
            check_same_size("mask", mask.pixels, "picture `over`", over.pixels)
        return {} if image is None else {"image": ImageFacts(image.pixels, None)}


class BlurImage(Node, category="images"):
    """Pictures out of focus: a Gaussian of `sigma` pixels, where a mask says if there is one.

    The outermost pixels are continued beyond the border. Fails for a mask of another size than the picture.
    """

    image: Image
    sigma: float = Field(gt=0, le=512, description="the standard deviation, in pixels")
    mask: Mask | None = None

    def run(self, context: Context) -> Image:
        from .diffusion.editing import blurred

        pixels = self.image.pixels
        made = blurred(pixels, self.sigma).clamp(0, 1)
        if self.mask is None:
            return Image(made)
        check_same_size("mask", tuple(self.mask.pixels.shape[2:]), "picture", tuple(pixels.shape[2:]))
        return Image(pixels + self.mask.pixels * (made - pixels))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        check_mask(known)
        return _same(fact(known, "image", ImageFacts))


class FlipImage(Node, category="images"):
    """Pictures in a mirror: `horizontal` swaps left and right, `vertical` top and bottom."""

    image: Image
    direction: Literal["horizontal", "vertical"] = "horizontal"

    def run(self, context: Context) -> Image:
        return Image(self.image.pixels.flip(3 if self.direction == "horizontal" else 2))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        return _same(fact(known, "image", ImageFacts))


class RotateImage(Node, category="images"):
    """Pictures turned by quarters of a circle."""

    image: Image
    quarters: int = Field(1, ge=-3, le=3, description="clockwise; below 0 the other way round")

    def run(self, context: Context) -> Image:
        return Image(self.image.pixels.rot90(-self.quarters, (2, 3)))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        image = fact(known, "image", ImageFacts)
        if image is None or "quarters" not in known:
            return {}
        height, width = image.pixels
        return _same(ImageFacts((width, height) if known["quarters"] % 2 else (height, width), image.count))


class SetOpacity(Node, category="images"):
    """Pictures f32[N, 4, H, W] that are opaque where a mask is 1. Fails for a mask of another size."""

    image: Image
    mask: Mask

    def run(self, context: Context) -> Image:
        from .diffusion.editing import with_opacity

        check_same_size("mask", tuple(self.mask.pixels.shape[2:]), "picture", tuple(self.image.pixels.shape[2:]))
        return Image(with_opacity(self.image.pixels[:, :3], self.mask.pixels))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        check_mask(known)
        image = fact(known, "image", ImageFacts)
        return {} if image is None else {"image": ImageFacts(image.pixels, None)}


class FlattenImage(Node, category="images"):
    """Pictures f32[N, 3, H, W] without opacity: transparent ones laid on a colour."""

    image: Image
    colour: Colour = Field("#ffffff", description="what shows through")

    def run(self, context: Context) -> Image:
        from .diffusion.editing import flattened

        return Image(flattened(self.image.pixels, self.colour))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        return _same(fact(known, "image", ImageFacts))


def check_mask(known: Mapping[str, Any]) -> None:
    """Raises Wrong where the mask of a picture is known to have another size."""
    image, mask = fact(known, "image", ImageFacts), fact(known, "mask", ImageFacts)
    if image is not None and mask is not None:
        check_same_size("mask", mask.pixels, "picture", image.pixels)


def _same(facts: ImageFacts | None) -> Mapping[str, Any]:
    return {} if facts is None else {"image": facts}
