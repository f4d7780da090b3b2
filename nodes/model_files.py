"""What a model file is, by the names and shapes in its header. Nothing here imports torch."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from latentgraph.engine.ports import File

from .diffusion.headers import Header, header
from .references import Family

ModelKind = Literal[
    "checkpoint",
    "lora",
    "vae",
    "controlnet",
    "embedding",
    "upscaler",
    "text_encoder",
    "image_encoder",
    "image_adapter",
    "tiny_vae",
]
"""What a model is for. A checkpoint is a whole pipeline: one file, or a folder in the layout of diffusers."""

WIDTHS: dict[int, Family] = {768: "sd1", 1024: "sd2", 2048: "sdxl", 1280: "sdxl_refiner"}
"""Whose denoisers take tokens of this width."""

CLASSES: dict[str, ModelKind] = {
    "AutoencoderKL": "vae",
    "ControlNetModel": "controlnet",
    "CLIPTextModel": "text_encoder",
    "CLIPTextModelWithProjection": "text_encoder",
    "T5EncoderModel": "text_encoder",
    "CLIPVisionModelWithProjection": "image_encoder",
    "AutoencoderTiny": "tiny_vae",
}
"""What a folder is for by the class in its `config.json`."""


@dataclass(frozen=True)
class About:
    """What the headers of a model's files say: bytes on disk, the type of most of its numbers, whose it is or ''."""

    size: int
    dtype: str
    family: str


def kind_of_file(path: Path) -> ModelKind | None:
    """What a safetensors file is for, None where its tensors' names do not tell. Raises OSError."""
    try:
        names = header(File.at(path)).shapes.keys()
    except ValueError:
        return None
    return next((kind for kind, told in _TOLD.items() if told(names)), None)


def kind_of_folder(path: Path) -> ModelKind | None:
    if (path / "model_index.json").is_file():
        return "checkpoint"
    return CLASSES.get(_class_in(path))


def about(path: Path, kind: ModelKind | None) -> About:
    """Raises OSError and ValueError for files that cannot be read."""
    files = sorted(path.rglob("*.safetensors")) if path.is_dir() else [path]
    headers = [header(File.at(file)) for file in files]
    counts: Counter[str] = Counter()
    for found in headers:
        for name, shape in found.shapes.items():
            counts[found.types[name]] += math.prod(shape)
    dtype = counts.most_common(1)[0][0] if counts else ""
    size = sum(file.stat().st_size for file in (path.rglob("*") if path.is_dir() else files) if file.is_file())
    return About(size, dtype, _family(path, kind, headers))


def _family(path: Path, kind: ModelKind | None, headers: list[Header]) -> str:
    if kind == "checkpoint":
        from .diffusion.layout import components

        return components(path)[0].family
    shapes = {name: shape for found in headers for name, shape in found.shapes.items()}
    if kind == "embedding":
        widths = {shape[-1] for shape in shapes.values() if shape}
        return "sdxl" if {"clip_l", "clip_g"} <= shapes.keys() else WIDTHS.get(max(widths), "") if widths else ""
    if kind in ("lora", "controlnet", "image_adapter"):
        return next((WIDTHS[width] for width in _token_widths(shapes) if width in WIDTHS), "")
    return ""


def _token_widths(shapes: Mapping[str, tuple[int, ...]]) -> list[int]:
    """How wide the tokens are that a change to a denoiser takes, by the layers that read them."""
    return [
        shape[1]
        for name, shape in shapes.items()
        if len(shape) > 1
        and ("attn2.to_k" in name or "attn2_to_k" in name or "to_k_ip" in name)
        and not name.endswith(("lora_up.weight", "lora_B.weight", "lora.up.weight"))
    ]


def _starts(*beginnings: str) -> Any:
    return lambda names: any(name.startswith(beginnings) for name in names)


_TOLD: dict[ModelKind, Any] = {
    "checkpoint": _starts("model.diffusion_model."),
    "lora": lambda names: any(".lora" in name or "lora_" in name for name in names),
    "controlnet": _starts("control_model.", "controlnet_cond_embedding.", "input_hint_block."),
    "image_adapter": _starts("image_proj.", "ip_adapter."),
    "vae": _starts("first_stage_model.", "decoder.conv_in.", "decoder.up_blocks."),
    "image_encoder": _starts("vision_model."),
    "text_encoder": _starts("text_model.", "encoder.block."),
    "tiny_vae": lambda names: "3.conv.0.weight" in names,
    "embedding": lambda names: bool(names) and set(names) <= {"emb_params", "clip_l", "clip_g"},
}
"""Whether the names of a file's tensors are those of a kind; the first that says so is right."""


def _class_in(folder: Path) -> str:
    try:
        config = json.loads((folder / "config.json").read_bytes())
        return str(config.get("_class_name") or next(iter(config.get("architectures") or ()), ""))
    except (OSError, ValueError, AttributeError):
        return ""
