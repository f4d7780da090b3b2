"""Masks: where to change a picture. 1 is changed, 0 stays."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

from latentgraph.engine.context import Context
from latentgraph.engine.node import Field, Node, Wrong
from latentgraph.engine.ports import File

from .areas import Fit, all_known, check_area, check_same_size
from .facts import ImageFacts, fact, together
from .images import Method, facts_of, resized_facts
from .latents import Side
from .plots.data import Table, table
from .ports import Image, Mask

Place = Annotated[int, Field(ge=0, le=8192)]

Colour = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]


class LoadMask(Node, category="masks"):
    """A mask from one channel of a picture file: f32[1, 1, H, W] in 0..1. White is 1, and changed.

    The file is read as LoadImage does it, with the same limits. `alpha` is 1 where the picture is opaque; where what
    was erased is to be drawn anew, invert it. Fails for alpha where the picture has no opacity.
    """

    mask: File
    channel: Literal["gray", "red", "green", "blue", "alpha"] = "gray"
    invert: bool = Field(False, description="black is 1 instead")

    def run(self, context: Context) -> Mask:
        from .diffusion.pixels import decoded_channel

        pixels = decoded_channel(self.mask, self.channel)
        return Mask(1 - pixels if self.invert else pixels)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        return _same(facts_of(known, "mask"))


class MaskFromAlpha(Node, category="masks"):
    """The opacity of pictures as masks: 1 where they are opaque, or, inverted, where they are transparent.

    A picture without opacity is opaque everywhere.
    """

    image: Image
    invert: bool = Field(False, description="1 where the picture is transparent")

    def run(self, context: Context) -> Mask:
        from .diffusion.editing import with_opacity

        opacity = with_opacity(self.image.pixels)[:, 3:]
        return Mask(1 - opacity if self.invert else opacity)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        return _same(fact(known, "image", ImageFacts))


class MaskFromColour(Node, category="masks"):
    """1 where pictures have a colour, 0 elsewhere: where no channel differs from it by more than the tolerance."""

    image: Image
    colour: Colour = Field(description="such as #00ff00")
    tolerance: float = Field(0.1, ge=0, le=1, description="of each channel in 0..1")

    def run(self, context: Context) -> Mask:
        from .diffusion.masks import coloured

        return Mask(coloured(self.image.pixels, self.colour, self.tolerance))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        return _same(fact(known, "image", ImageFacts))


class MaskFromEdges(Node, category="masks"):
    """0 where pictures have the colour of their edges, 1 elsewhere: what stands before a plain background.

    That colour is the median of a picture's outermost pixels; another one differs in some channel by more than the
    tolerance.
    """

    image: Image
    tolerance: float = Field(0.15, ge=0, le=1, description="of each channel in 0..1")

    def run(self, context: Context) -> Mask:
        from .diffusion.masks import unlike_edges

        return Mask(unlike_edges(self.image.pixels, self.tolerance))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        return _same(fact(known, "image", ImageFacts))


class MaskFromBrightness(Node, category="masks"):
    """The brightness of pictures as masks: luma of ITU-R BT.601, 1 where they are white."""

    image: Image

    def run(self, context: Context) -> Mask:
        from .diffusion.pixels import gray

        return Mask(gray(self.image.pixels))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        return _same(fact(known, "image", ImageFacts))


class ThresholdMask(Node, category="masks"):
    """Masks without half tones: 1 where they are at least the threshold, 0 elsewhere."""

    mask: Mask
    threshold: float = Field(0.5, ge=0, le=1, description="the least that becomes 1")

    def run(self, context: Context) -> Mask:
        return Mask((self.mask.pixels >= self.threshold).float())

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        return _same(fact(known, "mask", ImageFacts))


class RectangleMask(Node, category="masks"):
    """A mask f32[1, 1, height, width] that is 1 in a rectangle. Fails where the rectangle is not wholly inside."""

    width: Side = Field(description="of the mask, in pixels")
    height: Side = Field(description="of the mask, in pixels")
    left: Place = Field(description="where the rectangle begins, in pixels")
    top: Place = Field(description="where the rectangle begins, in pixels")
    right: Place = Field(description="where it ends: the first column behind it")
    bottom: Place = Field(description="where it ends: the first row below it")

    def run(self, context: Context) -> Mask:
        from .diffusion.numerics import torch

        self._check(self.left, self.top, self.right, self.bottom, self.height, self.width)
        pixels = torch.zeros(1, 1, self.height, self.width)
        pixels[:, :, self.top : self.bottom, self.left : self.right] = 1
        return Mask(pixels)

    @staticmethod
    def _check(left: int, top: int, right: int, bottom: int, height: int, width: int) -> None:
        for name, start, end in (("right", left, right), ("bottom", top, bottom)):
            if end <= start:
                raise Wrong(name, f"{name} is {end}, where the rectangle begins at {start}: it has nothing inside")
        check_area(left, top, right - left, bottom - top, (height, width))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        given = all_known(known, "left", "top", "right", "bottom", "height", "width")
        if given is not None:
            cls._check(*given)
        sides = all_known(known, "height", "width")
        return {} if sides is None else {"mask": ImageFacts((sides[0], sides[1]), 1)}


class InvertMask(Node, category="masks"):
    """Masks the other way round: 1 less their value."""

    mask: Mask

    def run(self, context: Context) -> Mask:
        return Mask(1 - self.mask.pixels)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        return _same(fact(known, "mask", ImageFacts))


class GrowMask(Node, category="masks"):
    """Masks with their areas grown by some pixels on all sides, or shrunk: dilation and erosion, half tones kept.

    What touches the border of the picture does not shrink from there.
    """

    mask: Mask
    pixels: int = Field(ge=-1024, le=1024, description="by how much; below 0 areas shrink")
    corners: Literal["round", "square"] = "round"

    def run(self, context: Context) -> Mask:
        from .diffusion.masks import grown

        return Mask(grown(self.mask.pixels, self.pixels, round_corners=self.corners == "round"))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        return _same(fact(known, "mask", ImageFacts))


class FeatherMask(Node, category="masks"):
    """Masks with soft edges, which reach about `pixels` to both sides: a Gaussian of half as many standard deviations.

    At the border of the picture they stay as they are.
    """

    mask: Mask
    pixels: float = Field(gt=0, le=1024, description="how far edges become soft on each side")

    def run(self, context: Context) -> Mask:
        from .diffusion.editing import blurred

        return Mask(blurred(self.mask.pixels, self.pixels / 2).clamp(0, 1))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        return _same(fact(known, "mask", ImageFacts))


class CombineMasks(Node, category="masks"):
    """Two masks as one: where either is (the larger value), where both are (the smaller), where only the first is.

    Fails where their sizes differ.
    """

    mask: Mask
    other: Mask
    how: Literal["union", "intersection", "difference"] = "union"

    def run(self, context: Context) -> Mask:
        from .diffusion.numerics import torch

        first, second = self.mask.pixels, self.other.pixels
        check_same_size("other", tuple(second.shape[2:]), "mask", tuple(first.shape[2:]))
        together({"masks": len(first), "others": len(second)})
        if self.how == "union":
            return Mask(torch.maximum(first, second))
        return Mask(torch.minimum(first, second if self.how == "intersection" else 1 - second))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        first, second = fact(known, "mask", ImageFacts), fact(known, "other", ImageFacts)
        if first is None or second is None:
            return {}
        check_same_size("other", second.pixels, "mask", first.pixels)
        if first.count is None or second.count is None:
            return _same(ImageFacts(first.pixels, None))
        return _same(ImageFacts(first.pixels, together({"masks": first.count, "others": second.count})))


class ResizeMask(Node, category="masks"):
    """Masks at another size, as ResizeImage does it: by default scaled to cover it and cropped around the middle."""

    mask: Mask
    width: Side = Field(description="in pixels")
    height: Side = Field(description="in pixels")
    fit: Fit = Field("cover", description="what happens where the proportions differ")
    method: Method = Field("bilinear", description="how pixels between pixels are computed")

    def run(self, context: Context) -> Mask:
        from .diffusion.pixels import resized

        return Mask(resized(self.mask.pixels, self.width, self.height, self.method, self.fit))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        return _same(resized_facts(known, "mask"))


class CropMask(Node, category="masks"):
    """A rectangle out of masks. Fails where it is not wholly inside."""

    mask: Mask
    left: Place = Field(0, description="where it begins, in pixels")
    top: Place = Field(0, description="where it begins, in pixels")
    width: Side = Field(description="in pixels")
    height: Side = Field(description="in pixels")

    def run(self, context: Context) -> Mask:
        check_area(self.left, self.top, self.width, self.height, tuple(self.mask.pixels.shape[2:]))
        return Mask(self.mask.pixels[:, :, self.top : self.top + self.height, self.left : self.left + self.width])

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        return _same(cropped_facts(known, "mask"))


class FlipMask(Node, category="masks"):
    """Masks in a mirror: `horizontal` swaps left and right, `vertical` top and bottom."""

    mask: Mask
    direction: Literal["horizontal", "vertical"] = "horizontal"

    def run(self, context: Context) -> Mask:
        return Mask(self.mask.pixels.flip(3 if self.direction == "horizontal" else 2))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        return _same(fact(known, "mask", ImageFacts))


class MaskToImage(Node, category="masks"):
    """Masks as gray pictures f32[N, 3, H, W], white where they are 1."""

    mask: Mask

    def run(self, context: Context) -> Image:
        return Image(self.mask.pixels.expand(-1, 3, -1, -1))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        facts = fact(known, "mask", ImageFacts)
        return {} if facts is None else {"image": facts}


class ShadeImage(Node, category="masks"):
    """Pictures f32[N, 3, H, W] in the light of masks: bright where a mask is highest, dark where it is 0.

    Each mask is scaled to its own largest value. One picture serves all masks. Fails for a mask of another size.
    """

    image: Image
    mask: Mask
    dark: float = Field(0.12, ge=0, le=1, description="the share of the light that is left where a mask is 0")

    def run(self, context: Context) -> Image:
        from .diffusion.masks import shaded

        check_same_size("mask", tuple(self.mask.pixels.shape[2:]), "picture", tuple(self.image.pixels.shape[2:]))
        together({"pictures": len(self.image.pixels), "masks": len(self.mask.pixels)})
        return Image(shaded(self.image.pixels, self.mask.pixels, self.dark))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        image, mask = fact(known, "image", ImageFacts), fact(known, "mask", ImageFacts)
        if image is None or mask is None:
            return {}
        check_same_size("mask", mask.pixels, "picture", image.pixels)
        if image.count is None or mask.count is None:
            return {"image": ImageFacts(image.pixels, None)}
        return {"image": ImageFacts(image.pixels, together({"pictures": image.count, "masks": mask.count}))}


class Insides(NamedTuple):
    table: Table
    ratios: tuple[float, ...]
    centres: tuple[float, ...]


class MeasureMask(Node, category="masks", primary="table"):
    """How much of masks is inside a region, compared with what is outside of it.

    `table` has for each mask its mean inside and outside, and `ratios` the one by the other; `centres` says where the
    mask's centre of mass is from left to right, 0 to 1. Fails where the region has no inside or no outside, and for one
    of another size.
    """

    mask: Mask
    region: Mask = Field(description="one, or one for each mask; 0.5 and more is inside")
    names: tuple[str, ...] = Field((), description="what each mask is called; numbers without")
    value: str = Field("mean", description="what the masks hold, as an axis of a plot should be called")
    what: str = Field("mask", description="what a mask is of, as an axis of a plot should be called")

    def run(self, context: Context) -> Insides:
        from .diffusion.masks import insides

        masks, region = self.mask.pixels, self.region.pixels
        check_same_size("region", tuple(region.shape[2:]), "mask", tuple(masks.shape[2:]))
        if len(region) not in (1, len(masks)):
            raise Wrong("region", f"there are {len(masks)} masks and {len(region)} regions: give one, or one for each")
        if self.names and len(self.names) != len(masks):
            raise Wrong("names", f"there are {len(masks)} masks and {len(self.names)} names: give one for each")
        whole = region >= 0.5
        if not all(0 < float(each.float().mean()) < 1 for each in whole):
            raise Wrong("region", "a region covers all of the picture, or nothing: there is nothing to compare")
        inside, outside, centres = insides(masks, whole.float())
        names = self.names or tuple(map(str, range(1, len(masks) + 1)))
        ratios = tuple(one / max(other, 1e-12) for one, other in zip(inside, outside, strict=True))
        columns = {f"{self.value} inside": inside, f"{self.value} outside": outside, "ratio": ratios}
        if self.what in columns:
            raise Wrong("what", f"`{self.what}` is the name of another column: call it something else")
        return Insides(table({self.what: names, **columns}), ratios, tuple(centres))


def cropped_facts(known: Mapping[str, Any], name: str) -> ImageFacts | None:
    """What is known of a rectangle out of pictures or masks. Raises Wrong where it is not wholly inside."""
    image, given = fact(known, name, ImageFacts), all_known(known, "left", "top", "width", "height")
    if image is not None and given is not None:
        check_area(*given, image.pixels)
    return None if given is None else ImageFacts((given[3], given[2]), None if image is None else image.count)


def _same(facts: ImageFacts | None) -> Mapping[str, Any]:
    return {} if facts is None else {"mask": facts}
