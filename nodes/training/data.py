"""The port types of training: data sets, distributions and what learned them, the scenes of an evaluation, a judge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from latentgraph.engine.ports import Folder, PortType, Written

from ..codec import TENSORS

if TYPE_CHECKING:
    from torch import Tensor

    from .emoji import Scene


@dataclass(frozen=True, eq=False)
class Dataset(PortType, codec=TENSORS):
    """Pictures with captions: `images` uint8 [N, 3, H, W], and for each picture every wording that describes it.

    The first caption of a picture is the plain one. `shown` says what each picture shows, by attribute, in the terms of
    `attributes`, which has all values of each; both are empty where that is not known.
    """

    images: Tensor
    captions: tuple[tuple[str, ...], ...]
    attributes: Mapping[str, tuple[str, ...]]
    shown: tuple[Mapping[str, str], ...]


@dataclass(frozen=True)
class Towers(PortType, codec=TENSORS):
    """Both towers of a CLIP, for texts and for pictures, by the files that transformers' CLIPModel loads."""

    folder: Folder
    tokenizer: Folder

    def written(self) -> Iterable[Written]:
        yield from self.folder.written()
        yield from (Written(f"/tokenizer/{file.name}", file.read()) for file in self.tokenizer.files)


@dataclass(frozen=True)
class Scenes(PortType):
    """What the pictures of an evaluation should show, and to which group each belongs (`pairs`, say)."""

    scenes: tuple[Scene, ...]
    groups: tuple[str, ...]


@dataclass(frozen=True)
class Judge(PortType, codec=TENSORS):
    """A trained classifier that says what a picture shows, by its files: the values of its attributes, and weights."""

    folder: Folder

    FILES: ClassVar[tuple[str, ...]] = ("attributes.json", "judge.safetensors")

    def written(self) -> Iterable[Written]:
        return self.folder.written()


@dataclass(frozen=True)
class Mixture(PortType):
    """A mixture of K normal distributions of points with D numbers, of which everything is known.

    `weights` [K] add up to 1, `means` are [K, D], `covariances` [K, D, D]. `names` [D] and `units` [D] say what the
    numbers are; `labels` [K] name the normals, and are empty where they have no names.
    """

    weights: tuple[float, ...]
    means: tuple[tuple[float, ...], ...]
    covariances: tuple[tuple[tuple[float, ...], ...], ...]
    names: tuple[str, ...]
    units: tuple[str, ...]
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class PointModel(PortType, codec=TENSORS):
    """A trained denoiser of points, by its files: `config.json` and `denoiser.safetensors`."""

    folder: Folder

    def written(self) -> Iterable[Written]:
        return self.folder.written()
