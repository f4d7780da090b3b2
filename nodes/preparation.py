"""Pictures as ControlNets take them: lines, edges, brightness; what needs no weights of its own."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationInfo, field_validator

from latentgraph.engine.context import Context
from latentgraph.engine.node import Field, Node

from .facts import ImageFacts, fact
from .ports import Image


class CannyEdges(Node, category="preparation"):
    """Edges as white lines on black, one pixel wide, f32[N, 3, H, W] (Canny 1986), as Canny ControlNets learned them.

    The same as OpenCV's `Canny` on colour pictures of 8 bits, pixel for pixel. Thresholds are in its unit: the change
    of brightness across 3 by 3 pixels (Sobel), in both directions added up, where 255 is white. An edge is where it
    exceeds `high`, and what of more than `low` is connected with that. Opacity is left out.
    """

    image: Image
    low: int = Field(100, ge=0, le=4096, description="what is connected with an edge is one above it")
    high: int = Field(200, ge=0, le=4096, description="what is an edge in any case, at least `low`")

    @field_validator("high")
    @classmethod
    def _above_low(cls, high: int, info: ValidationInfo) -> int:
        if high < info.data.get("low", 0):
            raise ValueError(f"high is {high}, below low, which is {info.data['low']}")
        return high

    def run(self, context: Context) -> Image:
        from .diffusion.edges import canny

        return Image(canny(self.image.pixels, self.low, self.high).expand(-1, 3, -1, -1))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        return _same(known)


class SobelEdges(Node, category="preparation"):
    """How much brightness changes at each pixel, white where it changes most: soft edges, f32[N, 3, H, W].

    The length of the gradient by Sobel's operator, after a Gaussian, divided by the largest of each picture.
    """

    image: Image
    sigma: float = Field(1.0, ge=0, le=64, description="the Gaussian's standard deviation, in pixels: 0 is none")

    def run(self, context: Context) -> Image:
        from .diffusion.edges import sobel

        return Image(sobel(self.image.pixels, self.sigma).expand(-1, 3, -1, -1))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        return _same(known)


class ImageToGray(Node, category="preparation"):
    """Pictures in shades of gray, f32[N, 3 or 4, H, W]: luma of ITU-R BT.601. Opacity stays."""

    image: Image

    def run(self, context: Context) -> Image:
        from .diffusion.numerics import torch
        from .diffusion.pixels import gray

        pixels = self.image.pixels
        return Image(torch.cat([gray(pixels).expand(-1, 3, -1, -1), pixels[:, 3:]], dim=1))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        return _same(known)


class InvertImage(Node, category="preparation"):
    """Pictures as negatives: black lines on white become white ones on black. Opacity stays."""

    image: Image

    def run(self, context: Context) -> Image:
        from .diffusion.numerics import torch

        pixels = self.image.pixels
        return Image(torch.cat([1 - pixels[:, :3], pixels[:, 3:]], dim=1))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        return _same(known)


def _same(known: Mapping[str, Any]) -> Mapping[str, Any]:
    facts = fact(known, "image", ImageFacts)
    return {} if facts is None else {"image": facts}
