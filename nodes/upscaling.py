"""Larger pictures by networks of their own."""

from collections.abc import Mapping
from typing import Any

from latentgraph.engine.context import Context
from latentgraph.engine.node import Field, Node
from latentgraph.engine.ports import File

from .adapters import concerning, located_file
from .diffusion.shapes import shapes
from .facts import ImageFacts, fact
from .ports import Image
from .references import Upscaler


class LoadUpscaler(Node, category="models"):
    """A network that makes pictures larger (Real-ESRGAN, SwinIR, DAT and others), from a safetensors file.

    Needs spandrel: `pip install 'latentgraph[upscale]'`. Fails for what spandrel does not know.
    """

    file: File | str = Field(description="a safetensors file, or the name of one in the model folders")

    def run(self, context: Context) -> Upscaler:
        from .diffusion.upscaling import scale_of

        file = located_file(self.file, "upscaler")
        return Upscaler(file, scale_of(file))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        if "file" in known:
            with concerning("file"):
                shapes(located_file(known["file"], "upscaler"))
        return {}

    def fingerprint(self) -> str:
        return located_file(self.file, "upscaler").digest


class UpscaleImage(Node, category="images", resource="device"):
    """Pictures larger by the upscaler's factor: f32[N, 3 or 4, H * factor, W * factor] in 0..1.

    Large pictures are computed in tiles, which overlap and fade into each other, so that memory suffices. Opacity is
    enlarged by interpolation.
    """

    upscaler: Upscaler
    image: Image
    tile: int | None = Field(512, ge=64, le=8192, description="a tile's side in pixels; none for the whole at once")

    def run(self, context: Context) -> Image:
        from .diffusion.upscaling import upscaled

        return Image(upscaled(self.upscaler.file, self.image.pixels, self.tile, context.progress))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        image, upscaler = fact(known, "image", ImageFacts), fact(known, "upscaler", Upscaler)
        if image is None or upscaler is None:
            return {}
        height, width = image.pixels
        return {"image": ImageFacts((height * upscaler.scale, width * upscaler.scale), image.count)}
