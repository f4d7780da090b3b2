"""How an autoencoder is built, by the names and shapes of its tensors. Nothing here imports torch."""

import re
from collections.abc import Mapping
from typing import Any

from ..references import Family, Space

Shapes = Mapping[str, tuple[int, ...]]

PREFIX = "first_stage_model."
"""How the names begin in a file with a whole model, in the layout of the original authors."""

ORIGINAL = r"encoder\.down\.(\d+)\.block\.(\d+)\.conv2\.weight"
DIFFUSERS = r"encoder\.down_blocks\.(\d+)\.resnets\.(\d+)\.conv2\.weight"


def family_of(config: Mapping[str, Any]) -> Family:
    """Whose latents an autoencoder has: those of version 3 have more channels, those of XL are scaled otherwise."""
    if config.get("latent_channels", 4) > 4:
        return "sd3"
    return "sdxl" if config.get("scaling_factor") == 0.13025 else "sd1"


def is_original(shapes: Shapes) -> bool:
    """Whether the names are those of the original authors, rather than diffusers'."""
    return any(re.fullmatch(ORIGINAL, name.removeprefix(PREFIX)) for name in shapes)


def configuration(shapes: Shapes, space: Space) -> dict[str, Any]:
    """diffusers' configuration of an autoencoder whose latents are scaled and shifted as those of `space`.

    Raises ValueError where these are not the names of an autoencoder.
    """
    plain = {name.removeprefix(PREFIX): shape for name, shape in shapes.items()}
    pattern = ORIGINAL if is_original(shapes) else DIFFUSERS
    found = {
        (int(match[1]), int(match[2])): shape for name, shape in plain.items() if (match := re.fullmatch(pattern, name))
    }
    first, latent = plain.get("encoder.conv_in.weight"), plain.get("decoder.conv_in.weight")
    if not found or first is None or latent is None:
        raise ValueError("it has no encoder and decoder, as autoencoders have")
    levels = 1 + max(level for level, _ in found)
    if any(len(shape) != 4 or 0 in shape for shape in (first, latent, *found.values())):
        raise ValueError("its convolutions are not shaped as those of autoencoders")
    if any((level, 0) not in found for level in range(levels)):
        raise ValueError("its encoder lacks layers")
    return {
        "_class_name": "AutoencoderKL",
        "in_channels": first[1],
        "out_channels": first[1],
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "block_out_channels": [found[level, 0][0] for level in range(levels)],
        "layers_per_block": sum(level == 0 for level, _ in found),
        "latent_channels": latent[1],
        "use_quant_conv": "quant_conv.weight" in plain,
        "use_post_quant_conv": "post_quant_conv.weight" in plain,
        "scaling_factor": space.scaling,
        "shift_factor": space.shift or None,
    }
