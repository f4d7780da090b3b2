"""Models as values: which files, how configured, how changed. References, never modules.

Weights are read by the node that needs them. Nothing here imports torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

from latentgraph.engine.ports import File, Folder, PortType, Written

from .codec import TENSORS

Kind = Literal["unet", "transformer", "text_encoder", "vae", "controlnet", "image_encoder", "image_adapter", "upscaler"]
"""Which network of a pipeline it is."""

Family = Literal["sd1", "sd2", "sdxl", "sdxl_refiner", "sd3"]
"""Whose conventions hold: Stable Diffusion 1 (and what is built like it), 2, XL, XL's refiner, 3."""

FAMILIES: dict[Family, str] = {
    "sd1": "Stable Diffusion 1",
    "sd2": "Stable Diffusion 2",
    "sdxl": "Stable Diffusion XL",
    "sdxl_refiner": "Stable Diffusion XL's refiner",
    "sd3": "Stable Diffusion 3",
}
"""What they are called in messages."""


@dataclass(frozen=True)
class Space:
    """A latent space: which latents fit which model. Two are the same where all numbers are.

    Latents as a model takes them are `(encoded - shift) * scaling`.
    """

    channels: int
    factor: int
    """Pixels to one latent pixel, along each side."""
    scaling: float
    shift: float = 0.0

    def __str__(self) -> str:
        shifted = f", shifted by {self.shift:g}" if self.shift else ""
        return f"{self.channels} channels at 1/{self.factor} of the size, scaled by {self.scaling:g}{shifted}"


@dataclass(frozen=True)
class Patch:
    """A change to a network's weights that lives only while it computes: a LoRA file, at a strength.

    `part` is the network's place in a pipeline, as diffusers calls it (`unet`, `text_encoder_2`): a file has several.
    """

    file: File
    part: str
    strength: float


@dataclass(frozen=True)
class Weights:
    """One network by its files: `config.json`, and safetensors files as diffusers and transformers name them.

    Or `config.json` and `checkpoint.safetensors`, one file in the layout of the original authors, which may hold other
    networks too. `patches` are applied in their order.
    """

    kind: Kind
    family: Family
    folder: Folder
    patches: tuple[Patch, ...] = ()

    @cached_property
    def config(self) -> dict[str, Any]:
        return dict(json.loads(self.folder["config.json"].read()))

    def sources(self) -> Mapping[str, str]:
        """The digest of its files, under the name of the model's folder and the kind: `builtin/unet`."""
        patches = {f"{patch.file.name} at {patch.strength:g}": patch.file.digest for patch in self.patches}
        return {source(self.kind, self.folder): self.folder.digest, **patches}


@dataclass(frozen=True)
class Model(PortType, codec=TENSORS):
    """A denoiser: a U-Net or a transformer, the noise schedule it learned with (`scheduler_config.json`), its space."""

    weights: Weights
    scheduler: File
    space: Space

    @cached_property
    def scheduler_config(self) -> dict[str, Any]:
        return dict(json.loads(self.scheduler.read()))

    @property
    def family(self) -> Family:
        return self.weights.family

    @property
    def prediction(self) -> str:
        """What it predicts: `epsilon` (the noise), `v_prediction`, `sample` (the picture) or `flow`."""
        if self.weights.kind == "transformer":
            return "flow"
        return str(self.scheduler_config.get("prediction_type", "epsilon"))

    @property
    def width(self) -> int:
        """How wide the tokens are that it takes."""
        name = "joint_attention_dim" if self.weights.kind == "transformer" else "cross_attention_dim"
        return int(self.weights.config[name])

    @property
    def channels(self) -> int:
        """The channels of its input: those of the latents, and for inpainting the mask and the masked latents."""
        return int(self.weights.config.get("in_channels", self.space.channels))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels of the pictures it learned from."""
        given = self.weights.config.get("sample_size") or 64
        height, width = given if isinstance(given, (list, tuple)) else (given, given)
        return height * self.space.factor, width * self.space.factor

    def sources(self) -> Mapping[str, str]:
        return {**self.weights.sources(), source("scheduler", self.weights.folder): self.scheduler.digest}

    def written(self) -> Iterable[Written]:
        yield from _inside(self.weights.kind, self.weights.folder)
        yield Written("/scheduler/scheduler_config.json", self.scheduler.read())


@dataclass(frozen=True)
class Encoder:
    """One text encoder, and the tokenizer that goes with it."""

    weights: Weights
    tokenizer: Folder


@dataclass(frozen=True)
class Clip(PortType, codec=TENSORS):
    """What turns text into conditioning: one CLIP text encoder; two for SDXL; two or three, the last a T5, for SD 3.

    `skip` leaves out that many of a CLIP's last layers. `embeddings` are words with vectors of their own (textual
    inversion), by their names.
    """

    encoders: tuple[Encoder, ...]
    skip: int = 0
    embeddings: tuple[tuple[str, File], ...] = ()
    joint_width: int | None = None
    """How wide Stable Diffusion 3 takes tokens (its `joint_attention_dim`), which without the T5 nothing else says."""

    @property
    def family(self) -> Family:
        return self.encoders[0].weights.family

    @property
    def width(self) -> int:
        """How wide its tokens are. Those of several CLIPs stand beside each other, those of a T5 after them."""
        configs = [encoder.weights.config for encoder in self.encoders]
        side_by_side = sum(config["hidden_size"] for config in configs if "hidden_size" in config)
        return max(side_by_side, self.joint_width or 0, *(config.get("d_model", 0) for config in configs))

    def sources(self) -> Mapping[str, str]:
        found: dict[str, str] = {}
        for index, encoder in enumerate(self.encoders):
            number = f"_{index + 1}" if index else ""
            folder = encoder.weights.folder
            found[source(f"text_encoder{number}", folder)] = folder.digest
            found[source(f"tokenizer{number}", encoder.tokenizer)] = encoder.tokenizer.digest
            for patch in encoder.weights.patches:
                found[f"{patch.file.name} at {patch.strength:g}"] = patch.file.digest
        return {**found, **{f"{name} (embedding)": file.digest for name, file in self.embeddings}}

    def written(self) -> Iterable[Written]:
        for index, encoder in enumerate(self.encoders):
            number = f"_{index + 1}" if index else ""
            yield from _inside(f"text_encoder{number}", encoder.weights.folder)
            yield from _inside(f"tokenizer{number}", encoder.tokenizer)


@dataclass(frozen=True)
class Vae(PortType, codec=TENSORS):
    """What turns pictures into latents and back: a variational autoencoder."""

    weights: Weights

    @property
    def space(self) -> Space:
        config = self.weights.config
        factor = 2 ** (len(config["block_out_channels"]) - 1)
        scaling, shift = config.get("scaling_factor", 0.18215), config.get("shift_factor") or 0.0
        return Space(config.get("latent_channels", 4), factor, scaling, shift)

    def sources(self) -> Mapping[str, str]:
        return self.weights.sources()

    def written(self) -> Iterable[Written]:
        yield from _inside("vae", self.weights.folder)


@dataclass(frozen=True)
class ControlNet(PortType, codec=TENSORS):
    """What steers a denoiser by a picture (Zhang et al. 2023, arXiv:2302.05543)."""

    weights: Weights

    @property
    def width(self) -> int:
        """How wide the tokens are that it takes, which are those of the denoiser."""
        return int(self.weights.config["cross_attention_dim"])

    def sources(self) -> Mapping[str, str]:
        return self.weights.sources()

    def written(self) -> Iterable[Written]:
        return (Written(f"/{file.name}", file.read()) for file in self.weights.folder.files)


@dataclass(frozen=True)
class ImageAdapter(PortType, codec=TENSORS):
    """What lets a denoiser take pictures as prompts, and their encoder.

    IP-Adapter (Ye et al. 2023, arXiv:2308.06721).
    """

    file: File
    family: Family
    encoder: Weights

    def sources(self) -> Mapping[str, str]:
        return {self.file.name: self.file.digest, **self.encoder.sources()}


@dataclass(frozen=True)
class Upscaler(PortType, codec=TENSORS):
    """A network that makes pictures larger by a whole factor, by its file."""

    file: File
    scale: int

    def sources(self) -> Mapping[str, str]:
        return {self.file.name: self.file.digest}


@dataclass(frozen=True)
class Classifier(PortType, codec=TENSORS):
    """A network that tells what noisy latents of a space show, one of its `labels`, by its files.

    `attribute` is what the labels are of: `background`, say.
    """

    folder: Folder
    attribute: str
    labels: tuple[str, ...]
    space: Space

    FILES: ClassVar[tuple[str, ...]] = ("config.json", "classifier.safetensors")

    def written(self) -> Iterable[Written]:
        return self.folder.written()

    def sources(self) -> Mapping[str, str]:
        return {f"classifier of {self.attribute}": self.folder.digest}


def source(kind: str, folder: Folder) -> str:
    """What a part of a model is called in the record of how a picture was made; never by where it lies."""
    return f"{folder.path.parent.name}/{kind}" if folder.path else kind


def _inside(name: str, folder: Folder) -> Iterable[Written]:
    return (Written(f"/{name}/{file.name}", file.read()) for file in folder.files)
