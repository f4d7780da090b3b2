"""Textual inversion: words with vectors of their own (Gal et al. 2022, arXiv:2208.01618), from the files people share.

A file has one table of K vectors, named by its word (diffusers) or `emb_params` (A1111); for Stable Diffusion XL one
for each text encoder. Only `vectors` imports torch.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from latentgraph.engine.ports import File

from ..references import FAMILIES, Clip
from .shapes import shapes

if TYPE_CHECKING:
    from torch import Tensor

PAIRS = (("clip_l", "clip_g"), ("text_encoders_0", "text_encoders_1"))
"""What the tables for two text encoders are called, by different trainers."""

NAMELESS = "emb_params"


def vectors(file: File, index: int) -> Tensor:
    """The vectors f32[K, D] for the text encoder number `index` of a pipeline, from 0.

    Raises ValueError where the file has none for it.
    """
    from safetensors.torch import load

    from .finite import check_finite
    from .numerics import torch

    names = tables(file, shapes(file))
    if index >= len(names):
        raise ValueError(f"{_where(file)} has vectors for {len(names)} text encoder, none for number {index + 1}")
    table = load(file.read())[names[index]].to(torch.float32)
    check_finite({names[index]: table}, _where(file))
    return table.reshape(-1, table.shape[-1]).contiguous()


def tables(file: File, names: Collection[str]) -> tuple[str, ...]:
    """Which tensors are the tables, in the order of the text encoders. Raises ValueError where none is."""
    pair = next((pair for pair in PAIRS if set(pair) <= set(names)), None)
    if pair is not None:
        return pair
    if NAMELESS in names:
        return (NAMELESS,)
    if len(names) == 1:
        return tuple(names)
    shown = ": " + ", ".join(sorted(names)[:3]) + (", …" if len(names) > 3 else "") if names else ""
    raise ValueError(f"{_where(file)} is no textual inversion: it has {len(names)} tensors{shown}")


def word(file: File) -> str:
    """What an embedding is called where nothing else is said: its word in the file, or else the file's own name."""
    names = tables(file, shapes(file))
    return file.name.rpartition(".")[0] if len(names) > 1 or names[0] == NAMELESS else names[0]


def first_place(clip: Clip) -> int:
    """Which text encoder of a pipeline a clip's first is: Stable Diffusion XL's refiner has the second alone."""
    return int(clip.family == "sdxl_refiner")


def check_fits(file: File, clip: Clip) -> None:
    """Raises ValueError where the vectors are not as wide as the words of the text encoders."""
    found = shapes(file)
    names = tables(file, found)
    wide = [encoder.weights.config for encoder in clip.encoders if "hidden_size" in encoder.weights.config]
    for place, config in enumerate(wide, first_place(clip)):
        width, wanted = None if place >= len(names) else found[names[place]][-1:], config["hidden_size"]
        if width and 0 in found[names[place]]:
            raise ValueError(f"{_where(file)} has no vectors in {names[place]}: get it anew")
        if width != (wanted,):
            has = "nothing" if not width else f"vectors {width[0]} wide"
            raise ValueError(
                f"{_where(file)} is an embedding for another model: it has {has} for text encoder {place + 1}, that of"
                f" {FAMILIES[clip.family]} takes {wanted}"
            )


def _where(file: File) -> str:
    return str(file.path or file.name)
