"""The port types that flow between nodes as data: latents, pictures, masks, and the pieces of a sampling.

Values are frozen plain data. Tensors are float32, on the CPU and contiguous, because other strides would change the
last bits of what is computed from them. Nothing here imports torch before a value is written. Models are in
`references`, what a picture is to show in `guides`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from latentgraph.engine.ports import File, PortType, Written

from .codec import TENSORS
from .metadata import described
from .references import Space
from .tensors import plain

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Inpaint:
    """What stays of a picture: `mask` f32[N, 1, h, w], 1 is drawn anew; `original` the picture's latents [N, C, h, w].

    `masked` are the latents of the picture with the masked part grayed out, for models that take it. `original` is None
    where such a model draws all of it anew.
    """

    mask: Tensor
    original: Tensor | None = None
    masked: Tensor | None = None

    def __post_init__(self) -> None:
        for field in ("mask", "original", "masked"):
            plain(self, field, 4)


@dataclass(frozen=True, eq=False)
class Unfinished:
    """Where a sampling left a latent: after `step` of its steps, at noise level `sigma`.

    Its samples are pictures with that noise, times `scale`. `solver` is the digest of model, sampler and schedule, and
    `state` what is remembered: the same sampling goes on from it to the same bits.
    """

    step: int
    sigma: float
    scale: float
    solver: str
    state: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Latent(PortType, codec=TENSORS):
    """Pictures as latents: `samples` f32[N, C, h, w], scaled as the model takes them.

    `empty` marks a canvas without a picture, which sampling fills from noise alone. `generators` has the state of each
    picture's random generator, for the node that continues it; None where no number was drawn yet. `inpaint` says what
    is to stay, `unfinished` that noise is left.
    """

    samples: Tensor
    space: Space
    empty: bool = False
    generators: tuple[bytes, ...] | None = None
    inpaint: Inpaint | None = None
    unfinished: Unfinished | None = None

    def __post_init__(self) -> None:
        plain(self, "samples", 4)
        if self.generators is not None and len(self.generators) != len(self.samples):
            raise ValueError(f"a latent of {len(self.samples)} pictures has {len(self.generators)} generators")

    @property
    def pixels(self) -> tuple[int, int]:
        """Height and width of the pictures that these latents decode to."""
        return self.samples.shape[2] * self.space.factor, self.samples.shape[3] * self.space.factor

    def written(self) -> Iterable[Written]:
        from safetensors.torch import save

        yield Written(".safetensors", save({"samples": self.samples}))


@dataclass(frozen=True, eq=False)
class Image(PortType, codec=TENSORS, reader="LoadImage"):
    """Pictures: `pixels` f32[N, 3 or 4, H, W] in 0..1, the fourth channel opacity."""

    pixels: Tensor

    def __post_init__(self) -> None:
        plain(self, "pixels", 4)
        if self.pixels.shape[1] not in (3, 4):
            raise ValueError(f"pixels of shape {tuple(self.pixels.shape)} are no pictures [N, 3 or 4, H, W]")

    def written(self) -> Iterable[Written]:
        """PNG files."""
        from .diffusion.pixels import encoded

        for index, picture in enumerate(self.pixels):
            yield Written(".png" if len(self.pixels) == 1 else f"-{index}.png", encoded(picture, "png"))

    @classmethod
    def described(cls, file: Written, about: Mapping[str, Any]) -> Written:
        """The PNG file with `about` in text chunks, each under `latentgraph.` and its name."""
        return Written(file.suffix, described(file.content, about))


@dataclass(frozen=True, eq=False)
class PictureFile(File):
    """A picture file that a node made: unlike any other file it says how, where it is written as an output."""

    @classmethod
    def described(cls, file: Written, about: Mapping[str, Any]) -> Written:
        """The PNG, JPEG or WebP file with `about` in it."""
        return Written(file.suffix, described(file.content, about))


@dataclass(frozen=True, eq=False)
class Mask(PortType, codec=TENSORS, reader="LoadMask"):
    """Where to change a picture: `pixels` f32[N, 1, H, W] in 0..1, 1 is changed and 0 stays."""

    pixels: Tensor

    def __post_init__(self) -> None:
        plain(self, "pixels", 4)
        if self.pixels.shape[1] != 1:
            raise ValueError(f"pixels of shape {tuple(self.pixels.shape)} are no mask [N, 1, H, W]")

    def written(self) -> Iterable[Written]:
        """PNG files in gray, white where it is 1."""
        return Image(self.pixels.expand(-1, 3, -1, -1)).written()


@dataclass(frozen=True)
class Sigmas(PortType, codec=TENSORS):
    """Noise levels that a sampling walks down, the largest first; 0, a picture without noise, at most as the last."""

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        later = self.values[1:]
        if not later or any(b >= a for a, b in zip(self.values, later, strict=False)) or later[-1] < 0:
            raise ValueError(f"sigmas are two or more falling numbers, 0 or above; {list(self.values)[:8]} are not")


@dataclass(frozen=True)
class Sampler(PortType, codec=TENSORS):
    """How the steps are made: a sampler by its name, and what is set of its options, sorted by name."""

    name: str
    options: tuple[tuple[str, bool | int | float | str], ...] = ()


@dataclass(frozen=True, eq=False)
class Noise(PortType, codec=TENSORS):
    """The noise that a sampling begins with: `samples` f32[N, C, h, w], and where the generators stood after it."""

    samples: Tensor
    generators: tuple[bytes, ...]

    def __post_init__(self) -> None:
        plain(self, "samples", 4)
