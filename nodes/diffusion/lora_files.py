"""What a LoRA file is for, by the names and shapes in its header. Nothing here imports torch."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from latentgraph.engine.ports import File

from ..model_files import WIDTHS
from ..references import FAMILIES, Clip, Model, Weights
from .shapes import shapes

Shapes = Mapping[str, tuple[int, ...]]

PARTS = {
    "lora_unet_": "unet",
    "unet.": "unet",
    "transformer.": "transformer",
    "lora_te_": "text_encoder",
    "lora_te1_": "text_encoder",
    "lora_te2_": "text_encoder_2",
    "text_encoder.": "text_encoder",
    "text_encoder_2.": "text_encoder_2",
}
"""The network of a pipeline that a tensor is for, by how its name begins: in kohya's files, and in diffusers'."""

DOWN = re.compile(r"lora[._](down|A)[._]|lora\.down\.|_lora\.down\.")
"""In names of the first of two factors, [rank, inputs, …]."""

OTHERS = {"hada_": "a LoHa", "lokr_": "a LoKr", "oft_": "an OFT", ".on_input": "an IA3"}
"""Changes to models that are no LoRAs, by what is in the names of their tensors."""


@dataclass(frozen=True)
class Contents:
    """What is in a LoRA file: the networks that it changes, and how wide their texts are, where it tells."""

    parts: frozenset[str]
    widths: Mapping[str, int]
    dora: bool


def contents(file: File) -> Contents:
    """Raises ValueError for a file that is no LoRA, or damaged."""
    found = shapes(file)
    where = file.path or file.name
    other = next((kind for name in found for piece, kind in OTHERS.items() if piece in name), None)
    if other is not None:
        raise ValueError(f"{where} is {other}, another kind of change to a model, which is not read: LoRAs are")
    parts = {name: part for name in found for prefix, part in PARTS.items() if name.startswith(prefix)}
    if not any("lora" in name for name in found):
        raise ValueError(f"{where} is no LoRA: its tensors are called {_some(found)}")
    if not parts:
        raise ValueError(
            f"{where} is a LoRA whose tensors are called {_some(found)}: known are names that begin with"
            f" {', '.join(PARTS)}"
        )
    widths: dict[str, int] = {}
    for name, part in parts.items():
        text = name.replace("_", ".")
        telling = "attn2.to.k" in text or "attn2.processor.to.k" in text if part == "unet" else "q.proj" in text
        if telling and DOWN.search(name) and len(found[name]) > 1:
            widths.setdefault(part, found[name][1])
    return Contents(frozenset(parts.values()), widths, any("dora_scale" in name for name in found))


def parts_of(clip: Clip) -> list[str]:
    """What diffusers calls the text encoders of a clip. Of Stable Diffusion XL's two, its refiner has the second."""
    first = 2 if clip.family == "sdxl_refiner" else 1
    return [
        "text_encoder" + ("" if number == 1 else f"_{number}") for number in range(first, first + len(clip.encoders))
    ]


def check_fits(file: File, model: Model, clip: Clip | None) -> None:
    """Raises ValueError for a file that is no LoRA for this model or, where there is one, its text encoders."""
    found = contents(file)
    where = file.path or file.name
    networks = {model.weights.kind: model.weights}
    if clip is not None:
        networks |= dict(zip(parts_of(clip), (encoder.weights for encoder in clip.encoders), strict=True))
    if not found.parts & set(networks):
        raise ValueError(
            f"{where} is a LoRA for another family: it changes a {' and a '.join(sorted(found.parts))}, the"
            f" {FAMILIES[model.family]} model has a {' and a '.join(sorted(networks))}"
        )
    for part in sorted(found.parts & set(networks)):
        width, wanted = found.widths.get(part), _width(networks[part], model if part == "unet" else None)
        if width is not None and width != wanted:
            family = f" for {FAMILIES[WIDTHS[width]]}" if part == "unet" and width in WIDTHS else " for another model"
            raise ValueError(
                f"{where} is a LoRA{family}: its {part} takes texts {width} wide, that of the {FAMILIES[model.family]}"
                f" model {wanted}"
            )


def _width(weights: Weights, model: Model | None) -> int | None:
    return model.width if model is not None else weights.config.get("hidden_size")


def _some(names: Mapping[str, object]) -> str:
    return ", ".join(sorted(names)[:3]) + (", …" if len(names) > 3 else "")
