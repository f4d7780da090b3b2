"""Denoisers and autoencoders in the layout of the original authors: configurations, and the tensors they must have.

A configuration is diffusers', taken from the shapes of tensors; the other way round it gives the names and shapes that
a complete file has. Names are without what comes before a network's own (`model.diffusion_model.`). No torch here.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]

HEAD = 64
"""Numbers to an attention head, unless a configuration says how many heads there are."""


class Layer(NamedTuple):
    """One resnet of a U-Net: the channels it gives, and the blocks of the transformer after it, 0 where none is."""

    channels: int
    depth: int


def unet_config(shapes: Shapes) -> dict[str, Any]:
    """Raises ValueError where the U-Net is not built as Stable Diffusion's are."""
    first, last = shape_of(shapes, "input_blocks.0.0.weight", 4), shape_of(shapes, "out.2.weight", 4)
    levels = _levels(shapes)
    keys = [shape_of(shapes, name, 2) for name in shapes if name.endswith("attn2.to_k.weight")]
    depths = [level[0].depth for level in levels]
    middle = count(shapes, "middle_block.1.transformer_blocks")
    if not keys or not middle or any(set(level) != {level[0]} or len(level) != len(levels[0]) for level in levels):
        raise ValueError("its U-Net is not built as Stable Diffusion's: the layers of a level differ, or read no text")
    if depths[-1] not in (0, middle):
        raise ValueError(f"its U-Net has {middle} blocks in the middle and {depths[-1]} beside it, as no known family")
    linear = len(shape_of(shapes, "middle_block.1.proj_in.weight", 2, 4)) == 2
    config: dict[str, Any] = {
        "_class_name": "UNet2DConditionModel",
        "in_channels": first[1],
        "out_channels": last[0],
        "block_out_channels": [level[0].channels for level in levels],
        "layers_per_block": len(levels[0]),
        "down_block_types": ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths],
        "up_block_types": ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(depths)],
        "transformer_layers_per_block": [*(depth or 1 for depth in depths[:-1]), middle],
        "attention_head_dim": [max(1, level[0].channels // HEAD) for level in levels],
        "cross_attention_dim": keys[0][1],
        "use_linear_projection": linear,
    }
    if "label_emb.0.0.weight" in shapes:
        config["projection_class_embeddings_input_dim"] = shape_of(shapes, "label_emb.0.0.weight", 2)[1]
    return config


def unet_tensors(config: Mapping[str, Any]) -> dict[str, Shape]:
    """The names and shapes of a U-Net's tensors."""
    channels, layers = config["block_out_channels"], config["layers_per_block"]
    width, time = config["cross_attention_dim"], 4 * channels[0]
    depths = [
        depth if "Cross" in kind else 0
        for kind, depth in zip(config["down_block_types"], config["transformer_layers_per_block"], strict=True)
    ]

    def transformer(name: str, inner: int, depth: int) -> Iterator[tuple[str, Shape]]:
        ones: Shape = () if config["use_linear_projection"] else (1, 1)
        yield from pair(f"{name}.norm", inner)
        yield from pair(f"{name}.proj_in", inner, inner, *ones)
        yield from pair(f"{name}.proj_out", inner, inner, *ones)
        for block in (f"{name}.transformer_blocks.{number}" for number in range(depth)):
            for attention, read in (("attn1", inner), ("attn2", width)):
                yield f"{block}.{attention}.to_q.weight", (inner, inner)
                yield f"{block}.{attention}.to_k.weight", (inner, read)
                yield f"{block}.{attention}.to_v.weight", (inner, read)
                yield from pair(f"{block}.{attention}.to_out.0", inner, inner)
            yield from pair(f"{block}.ff.net.0.proj", 8 * inner, inner)
            yield from pair(f"{block}.ff.net.2", inner, 4 * inner)
            for norm in ("norm1", "norm2", "norm3"):
                yield from pair(f"{block}.{norm}", inner)

    def resnet(name: str, before: int, after: int) -> Iterator[tuple[str, Shape]]:
        yield from pair(f"{name}.in_layers.0", before)
        yield from pair(f"{name}.in_layers.2", after, before, 3, 3)
        yield from pair(f"{name}.emb_layers.1", after, time)
        yield from pair(f"{name}.out_layers.0", after)
        yield from pair(f"{name}.out_layers.3", after, after, 3, 3)
        if before != after:
            yield from pair(f"{name}.skip_connection", after, before, 1, 1)

    def tensors() -> Iterator[tuple[str, Shape]]:
        yield from pair("time_embed.0", time, channels[0])
        yield from pair("time_embed.2", time, time)
        told = config.get("projection_class_embeddings_input_dim")
        if told is not None:
            yield from pair("label_emb.0.0", time, told)
            yield from pair("label_emb.0.2", time, time)
        yield from pair("input_blocks.0.0", channels[0], config["in_channels"], 3, 3)
        kept, now, number = [channels[0]], channels[0], 1
        for level, (after, depth) in enumerate(zip(channels, depths, strict=True)):
            for _ in range(layers):
                yield from resnet(f"input_blocks.{number}.0", now, after)
                if depth:
                    yield from transformer(f"input_blocks.{number}.1", after, depth)
                now, number = after, number + 1
                kept.append(now)
            if level < len(channels) - 1:
                yield from pair(f"input_blocks.{number}.0.op", now, now, 3, 3)
                number += 1
                kept.append(now)
        yield from resnet("middle_block.0", now, now)
        yield from transformer("middle_block.1", now, config["transformer_layers_per_block"][-1])
        yield from resnet("middle_block.2", now, now)
        number = 0
        for level in reversed(range(len(channels))):
            after, depth = channels[level], depths[level]
            for layer in range(layers + 1):
                yield from resnet(f"output_blocks.{number}.0", now + kept.pop(), after)
                if depth:
                    yield from transformer(f"output_blocks.{number}.1", after, depth)
                now = after
                if layer == layers and level:
                    yield from pair(f"output_blocks.{number}.{2 if depth else 1}.conv", now, now, 3, 3)
                number += 1
        yield from pair("out.0", now)
        yield from pair("out.2", config["out_channels"], now, 3, 3)

    return dict(tensors())


def transformer_config(shapes: Shapes) -> dict[str, Any]:
    """Raises ValueError where the transformer is not built as Stable Diffusion 3's are."""
    patch, text = shape_of(shapes, "x_embedder.proj.weight", 4), shape_of(shapes, "context_embedder.weight", 2)
    places = shape_of(shapes, "pos_embed", 3)
    return {
        "_class_name": "SD3Transformer2DModel",
        "patch_size": patch[2],
        "in_channels": patch[1],
        "out_channels": shape_of(shapes, "final_layer.linear.weight", 2)[0] // patch[2] ** 2,
        "num_layers": count(shapes, "joint_blocks"),
        "attention_head_dim": HEAD,
        "num_attention_heads": patch[0] // HEAD,
        "joint_attention_dim": text[1],
        "caption_projection_dim": text[0],
        "pooled_projection_dim": shape_of(shapes, "y_embedder.mlp.0.weight", 2)[1],
        "pos_embed_max_size": math.isqrt(places[1]),
        "qk_norm": "rms_norm" if "joint_blocks.0.x_block.attn.ln_q.weight" in shapes else None,
        "dual_attention_layers": sorted(
            {int(name.split(".")[1]) for name in shapes if re.match(r"joint_blocks\.\d+\.x_block\.attn2\.", name)}
        ),
    }


def transformer_tensors(config: Mapping[str, Any]) -> dict[str, Shape]:
    """The names and shapes of a transformer's tensors."""
    inner, patch = config["num_attention_heads"] * config["attention_head_dim"], config["patch_size"]
    layers, dual = config["num_layers"], config["dual_attention_layers"]

    def attention(name: str, gives: bool) -> Iterator[tuple[str, Shape]]:
        yield from pair(f"{name}.qkv", 3 * inner, inner)
        if gives:
            yield from pair(f"{name}.proj", inner, inner)
        if config["qk_norm"]:
            yield f"{name}.ln_q.weight", (config["attention_head_dim"],)
            yield f"{name}.ln_k.weight", (config["attention_head_dim"],)

    def tensors() -> Iterator[tuple[str, Shape]]:
        yield "pos_embed", (1, config["pos_embed_max_size"] ** 2, inner)
        yield from pair("x_embedder.proj", inner, config["in_channels"], patch, patch)
        yield from pair("context_embedder", config["caption_projection_dim"], config["joint_attention_dim"])
        for name, before in (("t_embedder", 256), ("y_embedder", config["pooled_projection_dim"])):
            yield from pair(f"{name}.mlp.0", inner, before)
            yield from pair(f"{name}.mlp.2", inner, inner)
        for number in range(layers):
            for side in ("x_block", "context_block"):
                block, gives = f"joint_blocks.{number}.{side}", side == "x_block" or number < layers - 1
                yield from attention(f"{block}.attn", gives)
                if side == "x_block" and number in dual:
                    yield from attention(f"{block}.attn2", True)
                changes = 9 if side == "x_block" and number in dual else 6 if gives else 2
                yield from pair(f"{block}.adaLN_modulation.1", changes * inner, inner)
                if gives:
                    yield from pair(f"{block}.mlp.fc1", 4 * inner, inner)
                    yield from pair(f"{block}.mlp.fc2", inner, 4 * inner)
        yield from pair("final_layer.adaLN_modulation.1", 2 * inner, inner)
        yield from pair("final_layer.linear", config["out_channels"] * patch**2, inner)

    return dict(tensors())


def vae_tensors(config: Mapping[str, Any]) -> dict[str, Shape]:
    """The names and shapes of an autoencoder's tensors; 1 by 1 convolutions may be without their last two sides."""
    channels, layers, latent = config["block_out_channels"], config["layers_per_block"], config["latent_channels"]

    def resnet(name: str, before: int, after: int) -> Iterator[tuple[str, Shape]]:
        yield from pair(f"{name}.norm1", before)
        yield from pair(f"{name}.conv1", after, before, 3, 3)
        yield from pair(f"{name}.norm2", after)
        yield from pair(f"{name}.conv2", after, after, 3, 3)
        if before != after:
            yield from pair(f"{name}.nin_shortcut", after, before, 1, 1)

    def middle(name: str, inner: int) -> Iterator[tuple[str, Shape]]:
        yield from resnet(f"{name}.block_1", inner, inner)
        yield from pair(f"{name}.attn_1.norm", inner)
        for part in ("q", "k", "v", "proj_out"):
            yield from pair(f"{name}.attn_1.{part}", inner, inner, 1, 1)
        yield from resnet(f"{name}.block_2", inner, inner)

    def tensors() -> Iterator[tuple[str, Shape]]:
        yield from pair("encoder.conv_in", channels[0], config["in_channels"], 3, 3)
        now = channels[0]
        for level, after in enumerate(channels):
            for layer in range(layers):
                yield from resnet(f"encoder.down.{level}.block.{layer}", now, after)
                now = after
            if level < len(channels) - 1:
                yield from pair(f"encoder.down.{level}.downsample.conv", now, now, 3, 3)
        yield from middle("encoder.mid", now)
        yield from pair("encoder.norm_out", now)
        yield from pair("encoder.conv_out", 2 * latent, now, 3, 3)
        if config["use_quant_conv"]:
            yield from pair("quant_conv", 2 * latent, 2 * latent, 1, 1)
        if config["use_post_quant_conv"]:
            yield from pair("post_quant_conv", latent, latent, 1, 1)
        yield from pair("decoder.conv_in", now, latent, 3, 3)
        yield from middle("decoder.mid", now)
        for level in reversed(range(len(channels))):
            for layer in range(layers + 1):
                yield from resnet(f"decoder.up.{level}.block.{layer}", now, channels[level])
                now = channels[level]
            if level:
                yield from pair(f"decoder.up.{level}.upsample.conv", now, now, 3, 3)
        yield from pair("decoder.norm_out", now)
        yield from pair("decoder.conv_out", config["out_channels"], now, 3, 3)

    return dict(tensors())


def count(shapes: Shapes, name: str) -> int:
    """How many there are of what is numbered after `name`."""
    numbers = [int(match[1]) for key in shapes if (match := re.match(rf"{re.escape(name)}\.(\d+)\.", key))]
    return max(numbers, default=-1) + 1


def shape_of(shapes: Shapes, name: str, *sides: int) -> Shape:
    """The shape of a tensor with one of these numbers of sides, none of them 0. Raises ValueError for another one."""
    if name not in shapes:
        raise ValueError(f"it lacks {name}")
    if len(shapes[name]) not in sides or 0 in shapes[name]:
        wanted = " or ".join(map(str, sides))
        raise ValueError(f"{name} is {list(shapes[name])}, where {wanted} sides are wanted, none of them 0")
    return shapes[name]


def pair(name: str, *shape: int) -> Iterator[tuple[str, Shape]]:
    """A weight of this shape, and its bias."""
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


def _levels(shapes: Shapes) -> list[list[Layer]]:
    levels: list[list[Layer]] = [[]]
    for number in range(1, count(shapes, "input_blocks")):
        convolution = f"input_blocks.{number}.0.out_layers.3.weight"
        if convolution in shapes:
            depth = count(shapes, f"input_blocks.{number}.1.transformer_blocks")
            levels[-1].append(Layer(shape_of(shapes, convolution, 4)[0], depth))
        elif f"input_blocks.{number}.0.op.weight" in shapes:
            levels.append([])
        else:
            raise ValueError(f"its tensors input_blocks.{number} are missing")
    if not all(levels):
        raise ValueError("its U-Net is not built as Stable Diffusion's: a level has no layers")
    return levels
