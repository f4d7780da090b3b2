"""Tiny decoders, for previews: TAESD (Ollin Boer Bohan 2023) and its kin for other latent spaces.

One in the model folders is used where its name says whose it is: `taesd`, `taesdxl`, `taesd3`; as a folder in the
layout of diffusers, or as the file of the author, `taesd_decoder.safetensors`.
"""

from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from diffusers import AutoencoderTiny
from safetensors.torch import load_file

from ..model_paths import models
from ..references import Space
from .numerics import DEVICE, seeded, torch

NAMES = {(4, 0.18215): "taesd", (4, 0.13025): "taesdxl", (16, 1.5305): "taesd3"}
"""What the tiny decoder of a latent space is called, by channels and scaling."""


@cache  # a walk through all model folders
def find_decoder(space: Space) -> Path | None:
    """Where the tiny decoder of a latent space lies in the model folders; None where there is none. Looked for once."""
    name = NAMES.get((space.channels, space.scaling))
    wanted = (name, f"{name}_decoder")
    found = (one for one in models() if one.kind == "tiny_vae" and not one.pickled)
    return next((one.path for one in found if name and any(map(one.goes_by, wanted))), None)


@torch.no_grad()
def decoded(path: Path, latents: torch.Tensor) -> torch.Tensor:
    """A small picture f32[3, H, W] in 0..1 of latents [C, h, w], by the tiny decoder at a path.

    Raises OSError and ValueError where it cannot be read, or is for other latents.
    """
    decoder = _decoder(path, len(latents), path.stat().st_mtime_ns)
    return (decoder(latents[None].float().to(DEVICE))[0] / 2 + 0.5).clamp(0, 1).cpu()


@lru_cache(maxsize=2)
def _decoder(path: Path, channels: int, changed: int) -> Any:
    with seeded(0):
        if path.is_dir():
            whole = AutoencoderTiny.from_pretrained(
                path, local_files_only=True, use_safetensors=True, torch_dtype=torch.float32
            )
        else:
            whole = AutoencoderTiny(latent_channels=channels)
    if not path.is_dir():
        weights = {}
        for name, tensor in load_file(path).items():  # its layer 0 has no weights, and none stands for it in diffusers
            number, _, rest = name.removeprefix("decoder.").partition(".")
            weights[f"layers.{int(number) - 1}.{rest}"] = tensor
        try:
            whole.decoder.load_state_dict(weights)
        except RuntimeError as error:
            raise ValueError(f"{path} is no tiny decoder for {channels} channels: {error}") from error
    return whole.decoder.requires_grad_(False).eval().to(DEVICE)
