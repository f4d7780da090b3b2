"""Picture files."""

from collections.abc import Mapping
from typing import Any, Literal

from latentgraph.engine.context import Context
from latentgraph.engine.node import Field, Node
from latentgraph.engine.ports import File

from .facts import ImageFacts, check_index, fact
from .latents import Side
from .png import size_of
from .ports import Image


class LoadImage(Node, category="images"):
    """A picture from a file (PNG, JPEG, WebP, BMP, GIF, TIFF): f32[1, 3, H, W] in 0..1, [1, 4, H, W] with opacity.

    Turned upright as its EXIF data says. Of an animation, the first picture. Fails for what is no picture, for a broken
    or cut off one, and for one of more than 64 megapixels, before decoding it.
    """

    image: File

    def run(self, context: Context) -> Image:
        from .diffusion.pixels import decoded

        return Image(decoded(self.image))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        file = fact(known, "image", File)
        pixels = None if file is None else size_of(file)
        return {} if pixels is None else {"image": ImageFacts(pixels, 1)}


class ResizeImage(Node, category="images"):
    """Pictures at another size: scaled to cover `width` by `height`, and cropped around the middle (Lanczos)."""

    image: Image
    width: Side = Field(description="in pixels")
    height: Side = Field(description="in pixels")

    def run(self, context: Context) -> Image:
        from .diffusion.numerics import torch
        from .diffusion.pixels import resized

        return Image(torch.stack([resized(picture, self.width, self.height) for picture in self.image.pixels]))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        if not {"width", "height"} <= known.keys():
            return {}
        image = fact(known, "image", ImageFacts)
        return {"image": ImageFacts((known["height"], known["width"]), None if image is None else image.count)}


class SaveImage(Node, category="images"):
    """A picture as a file, in a format of choice: the file is a value, which the run writes where it is an output.

    Equal pictures give equal bytes. JPEG has no opacity: transparent pictures are laid on white.
    """

    image: Image
    format: Literal["png", "jpeg", "webp"] = "png"
    quality: int = Field(90, ge=1, le=100, description="of JPEG and WebP: smaller files at lower numbers")
    index: int | None = Field(None, ge=0, description="which picture of a batch, from 0; needed where it has several")

    def run(self, context: Context) -> File:
        from .diffusion.pixels import encoded

        check_index(self.index, len(self.image.pixels))
        picture = self.image.pixels[self.index or 0]
        suffix = "jpg" if self.format == "jpeg" else self.format
        return File(f"image.{suffix}", content=encoded(picture, self.format, quality=self.quality))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        image = fact(known, "image", ImageFacts)
        if image is not None and image.count is not None and "index" in known:
            check_index(known["index"], image.count)
        return {}
