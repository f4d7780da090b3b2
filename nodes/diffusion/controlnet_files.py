"""How a ControlNet is built, by the names and shapes of its tensors. Nothing here imports torch."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..references import Family

Shapes = Mapping[str, tuple[int, ...]]

PREFIX = "control_model."
"""How all names begin in some files."""

HEAD = 64
"""Numbers to an attention head of Stable Diffusion 2 and XL; Stable Diffusion 1 has 8 heads, however wide they are."""


class Level(NamedTuple):
    """What is at one resolution: resnets and the transformers after them, each with `depth` blocks, 0 where none is."""

    channels: int
    resnets: int
    depth: int


def family_of(config: Mapping[str, Any]) -> Family:
    if config.get("addition_embed_type") == "text_time":
        return "sdxl"
    return "sd2" if config["cross_attention_dim"] == 1024 else "sd1"


def is_original(shapes: Shapes) -> bool:
    """Whether the names are those of the original authors, rather than diffusers'."""
    return any(name.removeprefix(PREFIX).startswith("input_hint_block.") for name in shapes)


def configuration(shapes: Shapes) -> dict[str, Any]:
    """diffusers' configuration of a ControlNet, from names of diffusers or of the original authors.

    Raises ValueError where these are not the names of a ControlNet.
    """
    shapes = {name.removeprefix(PREFIX): shape for name, shape in shapes.items()}
    if "controlnet_cond_embedding.conv_in.weight" in shapes:
        levels, hints = _levels(shapes), _by_number(shapes, r"controlnet_cond_embedding\.blocks\.(\d+)\.weight")
        hints = [shapes["controlnet_cond_embedding.conv_in.weight"], *hints[1::2]]
        first, added = "conv_in.weight", "add_embedding.linear_1.weight"
    elif "input_hint_block.0.weight" in shapes:
        levels, hints = _original_levels(shapes), _by_number(shapes, r"input_hint_block\.(\d+)\.weight")
        hints = [hints[0], *hints[2:-1:2]]
        first, added = "input_blocks.0.0.weight", "label_emb.0.0.weight"
    else:
        raise ValueError("it has neither controlnet_cond_embedding nor input_hint_block, as ControlNets have")
    if first not in shapes:
        raise ValueError(f"it lacks {first}")
    keys = [shape for name, shape in shapes.items() if name.endswith("attn2.to_k.weight")]
    linear = any(len(shape) == 2 for name, shape in shapes.items() if name.endswith("proj_in.weight"))
    if not keys or not levels:
        raise ValueError("it has no transformers that read text, as ControlNets have")
    width = keys[0][1]
    config: dict[str, Any] = {
        "_class_name": "ControlNetModel",
        "in_channels": shapes[first][1],
        "conditioning_embedding_out_channels": [shape[0] for shape in hints],
        "block_out_channels": [level.channels for level in levels],
        "layers_per_block": levels[0].resnets,
        "down_block_types": ["CrossAttnDownBlock2D" if level.depth else "DownBlock2D" for level in levels],
        "transformer_layers_per_block": [level.depth or 1 for level in levels],
        "attention_head_dim": 8 if not linear else [level.channels // HEAD for level in levels],
        "use_linear_projection": linear,
        "cross_attention_dim": width,
    }
    if added in shapes:
        channels = shapes[added][1]
        config |= {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": channels,
        }
    return config


def _by_number(shapes: Shapes, pattern: str) -> list[tuple[int, ...]]:
    found = {int(match[1]): shape for name, shape in shapes.items() if (match := re.fullmatch(pattern, name))}
    return [found[number] for number in sorted(found)]


def _levels(shapes: Shapes) -> list[Level]:
    levels = []
    while f"down_blocks.{len(levels)}.resnets.0.conv2.weight" in shapes:
        here = f"down_blocks.{len(levels)}"
        resnets = _by_number(shapes, rf"{re.escape(here)}\.resnets\.(\d+)\.conv2\.weight")
        depth = _by_number(shapes, rf"{re.escape(here)}\.attentions\.0\.transformer_blocks\.(\d+)\.norm1\.weight")
        levels.append(Level(resnets[0][0], len(resnets), len(depth)))
    return levels


def _original_levels(shapes: Shapes) -> list[Level]:
    levels, number, here = [], 1, Level(0, 0, 0)
    while True:
        convolution = shapes.get(f"input_blocks.{number}.0.out_layers.3.weight")
        if convolution is not None:
            depth = _by_number(shapes, rf"input_blocks\.{number}\.1\.transformer_blocks\.(\d+)\.norm1\.weight")
            here = Level(convolution[0], here.resnets + 1, len(depth))
        else:
            levels.append(here)
            if f"input_blocks.{number}.0.op.weight" not in shapes:
                return levels
            here = Level(0, 0, 0)
        number += 1
