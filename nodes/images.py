"""Picture files, pictures at other sizes, and several pictures as one value."""

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from latentgraph.engine.context import Context
from latentgraph.engine.node import Field, Node, Wrong
from latentgraph.engine.ports import File

from .areas import MAX_PIXELS, Fit, all_known, check_same_size, size_of_fit, size_of_scale
from .facts import ImageFacts, check_index, fact
from .latents import Side
from .png import size_of
from .ports import Image, Mask, PictureFile

Method = Literal["nearest", "box", "bilinear", "bicubic", "lanczos"]


class LoadImage(Node, category="images"):
    """A picture from a file (PNG, JPEG, WebP, BMP, GIF, TIFF): f32[1, 3, H, W] in 0..1, [1, 4, H, W] with opacity.

    Turned upright as its EXIF data says. Palettes are looked up, and gray of 16 bits keeps them all. Of an animation,
    the first picture. Fails for what is no picture, for a broken or cut off one, and for one of more than 64
    megapixels, before decoding it.
    """

    image: File

    def run(self, context: Context) -> Image:
        from .diffusion.pixels import decoded

        return Image(decoded(self.image))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        facts = facts_of(known, "image")
        return {} if facts is None else {"image": facts}


class ResizeImage(Node, category="images"):
    """Pictures at another size.

    By default scaled to cover `width` by `height`, and cropped around the middle (Lanczos). `contain` makes them as
    large as fits inside and cuts nothing off, so one side may be smaller; `stretch` changes the proportions.
    """

    image: Image
    width: Side = Field(description="in pixels")
    height: Side = Field(description="in pixels")
    fit: Fit = Field("cover", description="what happens where the proportions differ")
    method: Method = Field("lanczos", description="how pixels between pixels are computed")

    def run(self, context: Context) -> Image:
        from .diffusion.pixels import resized

        return Image(resized(self.image.pixels, self.width, self.height, self.method, self.fit))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        facts = resized_facts(known, "image")
        return {} if facts is None else {"image": facts}


class ScaleImage(Node, category="images"):
    """Pictures `factor` times as large along each side, the sides rounded to a multiple. Fails above 64 megapixels."""

    image: Image
    factor: float = Field(2.0, gt=0, le=16, description="below 1 makes them smaller")
    multiple: int = Field(1, ge=1, le=256, description="both sides get divisible by it: 8 for a Stable Diffusion")
    method: Method = Field("lanczos", description="how pixels between pixels are computed")

    def run(self, context: Context) -> Image:
        from .diffusion.pixels import resized

        height, width = size_of_scale(tuple(self.image.pixels.shape[2:]), self.factor, self.multiple)
        return Image(resized(self.image.pixels, width, height, self.method, "stretch"))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        image, given = fact(known, "image", ImageFacts), all_known(known, "factor", "multiple")
        if image is None or given is None:
            return {}
        return {"image": ImageFacts(size_of_scale(image.pixels, *given), image.count)}


class ImageBatch(Node, category="images"):
    """Several pictures as one batch [N, 3 or 4, H, W], in their order. Fails where their sizes differ.

    Where some have opacity, the others become opaque ones.
    """

    images: tuple[Image, ...]

    def run(self, context: Context) -> Image:
        from .diffusion.editing import with_opacity
        from .diffusion.numerics import torch

        if not self.images:
            raise ValueError("there are no pictures")
        pictures = [image.pixels for image in self.images]
        sizes = dict.fromkeys(f"{picture.shape[3]} by {picture.shape[2]}" for picture in pictures)
        if len(sizes) > 1:
            raise ValueError(f"the pictures of a batch have one size, these are {', '.join(sizes)}: resize them first")
        if len({picture.shape[1] for picture in pictures}) > 1:
            pictures = [with_opacity(picture) for picture in pictures]
        return Image(torch.cat(pictures))


class ImageFromBatch(Node, category="images"):
    """Some of the pictures of a batch, from `index` on. Fails where there are not as many."""

    image: Image
    index: int = Field(0, ge=0, description="the first to take, from 0")
    count: int = Field(1, ge=1, description="how many")

    def run(self, context: Context) -> Image:
        check_index(self.index + self.count - 1, len(self.image.pixels))
        return Image(self.image.pixels[self.index : self.index + self.count])

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        image, given = fact(known, "image", ImageFacts), all_known(known, "index", "count")
        if image is None or given is None:
            return {}
        if image.count is not None:
            check_index(sum(given) - 1, image.count)
        return {"image": ImageFacts(image.pixels, given[1])}


class SaveImage(Node, category="images"):
    """A picture as a file, in a format of choice: the file is a value, which the run writes where it is an output.

    The file then says how it was made: PNG in text chunks, JPEG and WebP in the comment of their EXIF data, which in a
    JPEG holds at most 64 KiB. Equal pictures give equal bytes before that. JPEG has no opacity: transparent pictures
    are laid on white.
    """

    image: Image
    format: Literal["png", "jpeg", "webp"] = "png"
    quality: int = Field(90, ge=1, le=100, description="of JPEG and WebP: smaller files at lower numbers")
    index: int | None = Field(None, ge=0, description="which picture of a batch, from 0; needed where it has several")

    def run(self, context: Context) -> PictureFile:
        from .diffusion.pixels import encoded

        check_index(self.index, len(self.image.pixels))
        picture = self.image.pixels[self.index or 0]
        suffix = "jpg" if self.format == "jpeg" else self.format
        return PictureFile(f"image.{suffix}", content=encoded(picture, self.format, quality=self.quality))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        image = fact(known, "image", ImageFacts)
        if image is not None and image.count is not None and "index" in known:
            check_index(known["index"], image.count)
        return {}


def facts_of(known: Mapping[str, Any], name: str) -> ImageFacts | None:
    """What a picture file's header tells, where the input `name` is one. Raises Wrong for too large a picture."""
    file = fact(known, name, File)
    if file is None:
        return None
    try:
        pixels = size_of(file)
    except OSError as error:
        raise Wrong(name, f"{file.path or file.name} cannot be read: {error.strerror}") from None
    if pixels is None:
        return None
    height, width = pixels
    if height * width > MAX_PIXELS:
        claimed = f"{file.path or file.name} claims {width:,} by {height:,} pixels"
        raise Wrong(name, f"{claimed}; at most {MAX_PIXELS:,} are read: make the picture smaller")
    return ImageFacts(pixels, 1)


def resized_facts(known: Mapping[str, Any], name: str) -> ImageFacts | None:
    """What is known of pictures, or masks, after ResizeImage or ResizeMask."""
    image, given = fact(known, name, ImageFacts), all_known(known, "width", "height", "fit")
    if given is None or (image is None and given[2] == "contain"):
        return None
    pixels = size_of_fit(image.pixels if image is not None else (1, 1), *given)
    return ImageFacts(pixels, None if image is None else image.count)


class Compared(NamedTuple):
    differences: tuple[float, ...]
    mean: float
    psnr: float


class CompareImages(Node, category="images", primary="differences"):
    """How far pictures are from another one: the root of the mean squared difference of each, 0..1, and their mean.

    `reference` is one picture for all, or one for each, of the same size; opacity does not count. With a mask only that
    part counts where it is 1; where it is between 0 and 1, it counts as much. `psnr` is the mean peak signal-to-noise
    ratio in dB, -20 log10 of the difference: higher is nearer, and 100 is as good as equal.
    """

    images: Image
    reference: Image = Field(description="what each is compared with")
    mask: Mask | None = Field(None, description="where to compare; everywhere without")

    def run(self, context: Context) -> Compared:
        pixels, wanted = self.images.pixels[:, :3], self.reference.pixels[:, :3]
        height, width = pixels.shape[2:]
        check_same_size("reference", tuple(wanted.shape[2:]), "pictures", (height, width))
        if len(wanted) not in (1, len(pixels)):
            raise Wrong("reference", f"there are {len(wanted)} for {len(pixels)} pictures: give one, or one for each")
        weights = pixels.new_ones(1, 1, height, width) if self.mask is None else self.mask.pixels
        check_same_size("mask", tuple(weights.shape[2:]), "pictures", (height, width))
        if len(weights) not in (1, len(pixels)):
            raise Wrong("mask", f"there are {len(weights)} for {len(pixels)} pictures: give one, or one for each")
        if not (weights.sum((1, 2, 3)) > 0).all():
            raise Wrong("mask", "it is 0 everywhere, so nothing is left to compare")
        squares = (pixels - wanted).square().mean(1, keepdim=True)
        differences = ((squares * weights).sum((1, 2, 3)) / weights.sum((1, 2, 3))).sqrt().tolist()
        ratios = [-20 * math.log10(max(difference, 1e-5)) for difference in differences]
        return Compared(tuple(differences), sum(differences) / len(differences), sum(ratios) / len(ratios))


class MeasureDiversity(Node, category="images"):
    """How much pictures differ: the root mean squared difference of two of them, 0..1, the mean over all pairs.

    Pictures of one prompt by several seeds, say: guidance makes them more alike. Opacity does not count. Fails for one
    picture alone.
    """

    images: Image

    def run(self, context: Context) -> float:
        pixels = self.images.pixels[:, :3].double().flatten(1)
        if len(pixels) == 1:
            raise Wrong("images", "one picture alone differs from no other: give two or more")
        distances = [
            (pixels[index + 1 :] - pixels[index]).square().mean(1).sqrt().sum() for index in range(len(pixels) - 1)
        ]
        return float(sum(distances)) / (len(pixels) * (len(pixels) - 1) / 2)
