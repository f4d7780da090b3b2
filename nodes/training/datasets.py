"""The node types of data sets: scenes drawn from artwork, and what is made of a data set."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from latentgraph.engine import Context, Field, File, Folder, Node
from latentgraph.engine.node import Wrong

from ..ports import Image
from .data import Dataset


class EmojiScenes(Node, category="training"):
    """Draw a captioned data set from emoji artwork: single things, pairs side by side, and animals with accessories.

    Gives pictures of 64 by 64 pixels on ten named background colours. The artwork is a folder in the layout of the npm
    package `emoji-datasource-google`. Raises FileNotFoundError where a picture is missing, ValueError for a kept-out
    list that names what there is not.
    """

    artwork: Folder = Field(description="a folder with emoji.json and img/google/64/*.png")
    kept_out: File | None = Field(None, description="lines `thing, background` and `animal, accessory` to leave out")
    things: tuple[str, ...] = Field((), description="what may be there, by short names of emoji; all without")
    backgrounds: tuple[str, ...] = Field((), description="which backgrounds may be there; all without")
    count: int = Field(12_000, ge=1, le=200_000, description="how many pictures")
    single: float = Field(0.5, ge=0, description="the share of pictures with one thing")
    pair: float = Field(0.25, ge=0, description="the share of pictures with two things")
    dressed: float = Field(0.25, ge=0, description="the share of pictures with an animal and an accessory")
    seed: int = Field(1, ge=0, description="seeds the choice of scenes, and sizes and places in them")

    def run(self, context: Context) -> Dataset:
        from .emoji import Allowed
        from .pictures import emoji_dataset

        shares = {"single": self.single, "pair": self.pair, "dressed": self.dressed}
        allowed = Allowed.checked(self.things, self.backgrounds)
        return emoji_dataset(self.artwork, self.kept_out, self.count, shares, self.seed, allowed)


class ShownPictures(NamedTuple):
    images: Image
    captions: tuple[str, ...]


class ShowDataset(Node, category="training"):
    """Pictures of a data set as images: `count` of them, evenly spread, with their plain captions."""

    data: Dataset
    count: int = Field(64, ge=1, description="how many pictures")

    def run(self, context: Context) -> ShownPictures:
        from .pictures import spread

        chosen = spread(len(self.data.images), self.count)
        images = Image(self.data.images[chosen].float().div(255))
        return ShownPictures(images, tuple(self.data.captions[index][0] for index in chosen))


class ResizeDataset(Node, category="training"):
    """A data set with smaller pictures: squares of `size` pixels, each of them the mean of those that it covers."""

    data: Dataset
    size: int = Field(32, ge=1, description="pixels along each side")

    def run(self, context: Context) -> Dataset:
        from .pictures import shrunk

        largest = min(self.data.images.shape[2:])
        if self.size > largest:
            raise Wrong(
                "size", f"size is {self.size}, and the pictures have {largest} pixels: they are made smaller only"
            )
        return replace(self.data, images=shrunk(self.data.images, self.size))


class SplitData(NamedTuple):
    data: Dataset
    held_back: Dataset


class SplitDataset(Node, category="training", primary="data"):
    """The pictures of a data set to learn from, and the last ones, held back to measure on what was never seen."""

    data: Dataset
    held_back: int = Field(256, ge=1, description="how many are held back")

    def run(self, context: Context) -> SplitData:
        from .pictures import split

        count = len(self.data.images)
        if self.held_back >= count:
            raise Wrong(
                "held_back", f"held_back is {self.held_back}, and there are {count} pictures: leave some to learn from"
            )
        return SplitData(*split(self.data, count - self.held_back))
