"""What goes through a U-Net: the shape of every layer's result, and which results are given again on the way up."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import diffusers
from torch import nn

from latentgraph.engine.node import Wrong

from ..references import Model
from .numerics import torch


class Layer(NamedTuple):
    """One layer by its path in the network, with the shape of its result."""

    path: str
    kind: str
    """convolution, residual, downsample, upsample, or embedding."""
    channels_in: int
    channels: int
    height: int
    width: int
    parameters: int
    attention: int
    """How many transformer layers, each of which attends to the picture and then to the text; 0 for none."""
    time: bool
    """Whether it is told the timestep."""
    skip: str
    """The layer whose result stands beside its input; empty for none."""


def layers_of(model: Model, height: int, width: int) -> list[Layer]:
    """All layers of a model's U-Net for latents of a height and width. Raises Wrong for another network.

    The network is made without weights: torch's meta device goes through one evaluation by shapes alone.
    """
    if model.weights.kind != "unet":
        raise Wrong("model", "the model's denoiser is a transformer, not a U-Net")
    with torch.device("meta"):
        network: Any = diffusers.UNet2DConditionModel.from_config(model.weights.config)
    if not all(hasattr(block, "resnets") for block in (*network.down_blocks, *network.up_blocks)):
        raise Wrong("model", "the model's U-Net has other blocks than those of Stable Diffusion")
    return traced(network, height, width)


@torch.no_grad()
def traced(network: Any, height: int, width: int) -> list[Layer]:
    """All layers of a U-Net of diffusers, by one evaluation on latents [1, C, height, width]."""
    shapes: dict[nn.Module, tuple[torch.Size, torch.Size]] = {}

    def remember(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any], result: Any) -> None:
        taken = given[0] if given else named["hidden_states"]
        shapes[module] = taken.shape, (result[0] if isinstance(result, tuple) else result).shape

    parts = list(_parts(network))
    seen = {module for _, _, modules, _ in parts for module in modules}
    hooks = [module.register_forward_hook(remember, with_kwargs=True) for module in seen]
    try:
        _evaluate(network, height, width)
    finally:
        for hook in hooks:
            hook.remove()
    names = {id(module): name for name, module in network.named_modules()}
    kept: list[str] = []
    layers = []
    for kind, way, modules, transformers in parts:
        block = next((module for module in modules if getattr(module, "time_emb_proj", None) is not None), None)
        path = names[id(block or modules[0])]
        skip = kept.pop() if way == "up" and kind == "residual" else ""
        if way == "down":
            kept.append(path)
        taken, result = shapes[modules[0]][0], shapes[modules[-1]][1]
        counted = sum(each.numel() for module in modules for each in module.parameters())
        high, wide = (int(result[2]), int(result[3])) if len(result) == 4 else (1, 1)
        layers.append(
            Layer(path, kind, int(taken[1]), int(result[1]), high, wide, counted, transformers, block is not None, skip)
        )
    return layers


def _parts(network: Any) -> Iterator[tuple[str, str, list[Any], int]]:
    """The layers in their order: kind, on which way, the modules one after the other, and how many transformers."""
    for name in ("time_embedding", "add_embedding"):
        if getattr(network, name, None) is not None:
            yield "embedding", "", [getattr(network, name)], 0
    yield "convolution", "down", [network.conv_in], 0
    for way, blocks in (("down", network.down_blocks), ("middle", [network.mid_block]), ("up", network.up_blocks)):
        for block in filter(None, blocks):
            attentions = list(getattr(block, "attentions", None) or [])
            residuals = list(block.resnets)
            if way == "middle":
                yield "residual", way, [residuals.pop(0)], 0
            for index, residual in enumerate(residuals):
                attention = attentions[index] if index < len(attentions) else None
                if way == "middle" and attention is not None:
                    yield "residual", way, [attention, residual], _transformers(attention)
                elif attention is not None:
                    yield "residual", way, [residual, attention], _transformers(attention)
                else:
                    yield "residual", way, [residual], 0
            for kind in ("downsample", "upsample"):
                for sampler in getattr(block, f"{kind}rs", None) or []:
                    yield kind, way, [sampler], 0
    yield "convolution", "", [part for part in (network.conv_norm_out, network.conv_out) if part is not None], 0


def _transformers(attention: Any) -> int:
    return len(getattr(attention, "transformer_blocks", None) or [attention])


def _evaluate(network: Any, height: int, width: int) -> None:
    config = network.config
    device = next(network.parameters()).device
    added = {}
    if config.addition_embed_type == "text_time":
        # How many of the numbers are the pooled text's and how many the size's makes no difference to any shape.
        sizes = 5
        pooled = config.projection_class_embeddings_input_dim - sizes * config.addition_time_embed_dim
        added = {
            "text_embeds": torch.zeros(1, pooled, device=device),
            "time_ids": torch.zeros(1, sizes, device=device),
        }
    network(
        torch.zeros(1, config.in_channels, height, width, device=device, dtype=network.dtype),
        torch.tensor(1, device=device),
        encoder_hidden_states=torch.zeros(1, 8, config.cross_attention_dim, device=device, dtype=network.dtype),
        added_cond_kwargs=added,
    )
