"""The port types of diffusion: what flows over links between its nodes.

Values are frozen plain data. Models are references (which files, how configured), never modules: weights are read by
the node that needs them. Tensors are float32, on the CPU and contiguous, because other strides would change the last
bits of what is computed from them. Nothing here imports torch before a value is written.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from latentgraph.engine.ports import File, Folder, PortType, Written

from .codec import TENSORS
from .png import SIGNATURE, with_texts

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Space:
    """A latent space: which latents fit which model. Two are the same where all three numbers are."""

    channels: int
    factor: int
    """Pixels to one latent pixel, along each side."""
    scaling: float
    """What the encoder's latents are multiplied by."""

    def __str__(self) -> str:
        return f"{self.channels} channels at 1/{self.factor} of the size, scaled by {self.scaling:g}"


@dataclass(frozen=True)
class Weights:
    """One network by its files: `config.json` and safetensors, in the layout of diffusers or transformers.

    `kind` is which network of a pipeline it is. `family` says which pipeline's conventions hold: `sd` is Stable
    Diffusion 1 and 2.
    """

    kind: Literal["unet", "text_encoder", "vae"]
    family: str
    folder: Folder

    @cached_property
    def config(self) -> dict[str, Any]:
        return dict(json.loads(self.folder["config.json"].read()))

    def sources(self) -> Mapping[str, str]:
        """The digest of its files, under the name of the model's folder and the kind: `builtin/unet`."""
        return {_source(self.kind, self.folder): self.folder.digest}


@dataclass(frozen=True)
class Model(PortType, codec=TENSORS):
    """A denoiser: a U-Net, the noise schedule it learned with (`scheduler_config.json`), and its latent space."""

    weights: Weights
    scheduler: File
    space: Space

    @cached_property
    def scheduler_config(self) -> dict[str, Any]:
        return dict(json.loads(self.scheduler.read()))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels of the pictures it learned from."""
        given = self.weights.config.get("sample_size") or 64
        height, width = given if isinstance(given, (list, tuple)) else (given, given)
        return height * self.space.factor, width * self.space.factor

    def sources(self) -> Mapping[str, str]:
        return {**self.weights.sources(), _source("scheduler", self.weights.folder): self.scheduler.digest}

    def written(self) -> Iterable[Written]:
        yield from _inside("unet", self.weights.folder)
        yield Written("/scheduler/scheduler_config.json", self.scheduler.read())


@dataclass(frozen=True)
class Clip(PortType, codec=TENSORS):
    """What turns text into conditioning: CLIP's text encoder and its tokenizer."""

    weights: Weights
    tokenizer: Folder

    def sources(self) -> Mapping[str, str]:
        return {**self.weights.sources(), _source("tokenizer", self.tokenizer): self.tokenizer.digest}

    def written(self) -> Iterable[Written]:
        yield from _inside("text_encoder", self.weights.folder)
        yield from _inside("tokenizer", self.tokenizer)


@dataclass(frozen=True)
class Vae(PortType, codec=TENSORS):
    """What turns pictures into latents and back: a variational autoencoder."""

    weights: Weights

    @property
    def space(self) -> Space:
        config = self.weights.config
        factor = 2 ** (len(config["block_out_channels"]) - 1)
        return Space(config.get("latent_channels", 4), factor, config.get("scaling_factor", 0.18215))

    def sources(self) -> Mapping[str, str]:
        return self.weights.sources()

    def written(self) -> Iterable[Written]:
        yield from _inside("vae", self.weights.folder)


@dataclass(frozen=True, eq=False)
class Cond:
    """One condition. `tokens` is f32[N, T, D]: T vectors of a text for each of N pictures, N being 1 or the batch."""

    tokens: Tensor

    def __post_init__(self) -> None:
        _plain(self, "tokens", 3)


@dataclass(frozen=True)
class Conditioning(PortType, codec=TENSORS):
    """What a picture is to show: conditions that hold together."""

    conds: tuple[Cond, ...]


class Guidance(PortType, codec=TENSORS):
    """How the sampler combines what the model predicts under several conditionings: a recipe that it follows."""


@dataclass(frozen=True)
class CFG(Guidance):
    """Classifier-free guidance (Ho and Salimans 2022, arXiv:2207.12598): `scale * (positive - negative) + negative`.

    At scale 1 only the positive is evaluated, at 0 only the negative, which is None only where nothing evaluates it.
    """

    positive: Conditioning
    negative: Conditioning | None
    scale: float


@dataclass(frozen=True, eq=False)
class Latent(PortType, codec=TENSORS):
    """Pictures as latents: `samples` f32[N, C, h, w], scaled as the model takes them.

    `empty` marks a canvas without a picture, which sampling fills from noise alone. `generators` has the state of each
    picture's random generator, for the node that continues it; None where no number was drawn yet.
    """

    samples: Tensor
    space: Space
    empty: bool = False
    generators: tuple[bytes, ...] | None = None

    def __post_init__(self) -> None:
        _plain(self, "samples", 4)
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
        _plain(self, "pixels", 4)
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
        if not file.content.startswith(SIGNATURE):
            return file
        texts = {f"latentgraph.{name}": _text(value) for name, value in about.items()}
        return Written(file.suffix, with_texts(file.content, texts))


def _plain(value: Any, field: str, dimensions: int) -> None:
    """Bring a tensor field to the form that all nodes count on; ValueError where it has another shape."""
    tensor: Tensor = getattr(value, field)
    if tensor.ndim != dimensions:
        kind = type(value).__name__
        raise ValueError(f"{kind}.{field} has shape {tuple(tensor.shape)}, but should have {dimensions} dimensions")
    object.__setattr__(value, field, tensor.detach().cpu().float().contiguous())


def _source(kind: str, folder: Folder) -> str:
    """What a part of a model is called in the record of how a picture was made; never by where it lies."""
    return f"{folder.path.parent.name}/{kind}" if folder.path else kind


def _inside(name: str, folder: Folder) -> Iterable[Written]:
    return (Written(f"/{name}/{file.name}", file.read()) for file in folder.files)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
