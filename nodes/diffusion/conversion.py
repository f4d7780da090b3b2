"""Pickled weights to safetensors: `python -m latentgraph.nodes.diffusion.conversion FROM TO`.

A pickled file is a program that builds what is in it. torch runs it here with nothing but what builds tensors and plain
data (`weights_only`), and this in a process that does nothing else.
"""

import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from .numerics import torch

INSIDE = ("state_dict", "params_ema", "params")
"""Under which names the weights are, where a file has other things as well: those of a training; an upscaler's."""

LEFTOVERS = ("pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",)
"""What trainings left in checkpoints by name alone."""


class Leftover:
    """Stands for a class of a training, of which nothing is wanted."""


def convert(source: Path, target: Path) -> None:
    """Write the tensors in a pickled file as a safetensors file. Raises ValueError for one that holds anything else."""
    found: dict[str, Tensor] = {}
    storages = set()
    for name, tensor in tensors_in(_read(source)):
        plain = tensor.detach().contiguous()
        if plain.untyped_storage().data_ptr() in storages:
            plain = plain.clone()  # safetensors holds every tensor by itself
        storages.add(plain.untyped_storage().data_ptr())
        found[name] = plain
    if not found:
        raise ValueError("there is no tensor in it")
    handle, unfinished = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
    os.close(handle)
    try:
        safetensors.torch.save_file(found, unfinished, metadata={"format": "pt"})
        os.replace(unfinished, target)
    except BaseException:
        os.unlink(unfinished)
        raise


def tensors_in(content: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors by name, `.` between the names of what is nested."""
    if isinstance(content, Tensor):
        yield name or "weight", content
    elif isinstance(content, Mapping):
        weights = next((content[key] for key in INSIDE if isinstance(content.get(key), Mapping)), None)
        if weights is not None and not name:
            yield from tensors_in(weights)
        elif not name and isinstance(content.get("string_to_param"), Mapping):  # a textual inversion
            for vectors in content["string_to_param"].values():
                yield "emb_params", vectors
        else:
            for key, value in content.items():
                yield from tensors_in(value, f"{name}.{key}" if name else str(key))


def _read(source: Path) -> Any:
    torch.serialization.add_safe_globals([(Leftover, name) for name in LEFTOVERS])
    try:
        try:
            return torch.load(source, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # an older format, which cannot be mapped
            return torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:
        asked = re.search(r"GLOBAL (\S+)", str(error))
        if asked:
            raise ValueError(f"it asks for {asked[1]}, which is no part of weights; nothing in it was run") from None
        raise ValueError("it is damaged, or holds more than weights; nothing in it was run") from None


if __name__ == "__main__":
    try:
        convert(Path(sys.argv[1]), Path(sys.argv[2]))
    except (OSError, ValueError) as wrong:
        sys.exit(str(wrong))
