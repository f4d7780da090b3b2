"""The U-Net: maps get smaller and large again, and each layer on the way up is given what one on the way down saw."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import diffusers
import pytest
import torch
from fixtures import Ran

from latentgraph.engine.context import Context
from latentgraph.engine.node import Wrong
from latentgraph.nodes.diffusion.unet_shapes import Layer, traced
from latentgraph.nodes.diffusion.weights import load_unet
from latentgraph.nodes.models import Loaded, LoadModel
from latentgraph.nodes.plots.data import table
from latentgraph.nodes.plots.nodes import PlotUNet
from latentgraph.nodes.tracing import TraceUNet

SD_1_5 = 859_520_964
"""Parameters of Stable Diffusion 1.5's U-Net."""


@pytest.fixture(scope="module")
def builtin() -> Loaded:
    return LoadModel(name="builtin").run(Context())


def network(**changes: Any) -> Any:
    """A U-Net by its shapes alone; without changes Stable Diffusion 1.5's."""
    with torch.device("meta"):
        return diffusers.UNet2DConditionModel(**{"cross_attention_dim": 768, **changes})


SDXL = {
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
SMALL = {
    "block_out_channels": (32, 64),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 1,
}


def expected(config: Any, size: int) -> list[tuple[str, int, int]]:
    """The kind, the channels and the height of each layer's result, as the configuration says."""
    channels, layers, last = config.block_out_channels, config.layers_per_block, len(config.block_out_channels) - 1
    shapes = [("convolution", channels[0], size)]
    for level, out in enumerate(channels):
        shapes += [("residual", out, size >> level)] * layers
        shapes += [("downsample", out, size >> (level + 1))] * (level < last)
    shapes += [("residual", channels[-1], size >> last)] * 2
    for level, out in reversed(list(enumerate(channels))):
        shapes += [("residual", out, size >> level)] * (layers + 1)
        shapes += [("upsample", out, 2 * (size >> level))] * (level > 0)
    return [*shapes, ("convolution", config.out_channels, size)]


def attending(config: Any) -> list[int]:
    """How many transformers each layer has, as the configuration says; those of residual layers alone."""
    each, levels = config.transformer_layers_per_block, len(config.block_out_channels)
    counts = [each] * levels if isinstance(each, int) else list(each)
    down = [
        count if kind.startswith("CrossAttn") else 0
        for kind, count in zip(config.down_block_types, counts, strict=True)
    ]
    up = [
        count if kind.startswith("CrossAttn") else 0
        for kind, count in zip(config.up_block_types, reversed(counts), strict=True)
    ]
    layers = config.layers_per_block
    return [
        *(count for count in down for _ in range(layers)),
        *(0, counts[-1]),
        *(count for count in up for _ in range(layers + 1)),
    ]


@pytest.mark.parametrize("changes", [{}, SDXL, SMALL], ids=["1.5", "xl", "small"])
@pytest.mark.parametrize("size", [64, 96])
def test_shapes_are_what_the_configuration_says(changes: dict[str, Any], size: int):
    unet = network(**changes)
    layers = traced(unet, size, size // 2)
    inside = [layer for layer in layers if layer.kind != "embedding"]
    assert [(each.kind, each.channels, each.height) for each in inside] == expected(unet.config, size)
    assert all(each.width * 2 == each.height for each in inside)
    assert [each.attention for each in inside if each.kind == "residual"] == attending(unet.config)
    assert all(each.time == (each.kind == "residual") for each in layers)


def assert_skips(layers: list[Layer]) -> None:
    """Each layer on the way up takes what comes from below and its skip, beside each other and of one size."""
    known = {each.path: each for each in layers}
    for before, each in pairwise(layers):
        if each.skip:
            skip = known[each.skip]
            assert each.channels_in == before.channels + skip.channels
            assert (skip.height, skip.width) == (before.height, before.width) == (each.height, each.width)


@pytest.mark.parametrize("changes", [{}, SDXL, SMALL], ids=["1.5", "xl", "small"])
def test_each_layer_on_the_way_up_is_given_what_one_on_the_way_down_saw(changes: dict[str, Any]):
    layers = traced(network(**changes), 64, 64)
    assert_skips(layers)
    given = [each.skip for each in layers if each.skip]
    saw = [each.path for each in layers if each.path == "conv_in" or each.path.startswith("down_blocks")]
    assert given == saw[::-1]


@pytest.mark.parametrize("changes", [{}, SDXL, SMALL], ids=["1.5", "xl", "small"])
def test_every_parameter_is_in_one_layer(changes: dict[str, Any]):
    unet = network(**changes)
    assert sum(each.parameters for each in traced(unet, 64, 64)) == unet.num_parameters()


def test_stable_diffusion_has_as_many_parameters_and_skips_as_is_known():
    layers = traced(network(), 64, 64)
    assert sum(each.parameters for each in layers) == SD_1_5
    assert sum(1 for each in layers if each.skip) == 12
    assert min(each.height for each in layers if each.kind != "embedding") == 8


def test_the_graph_says_of_the_model_what_an_evaluation_of_it_shows(ran: Ran, builtin: Loaded):
    given = ran("unet")
    unet = load_unet(builtin.model)
    layers = traced(unet, 16, 16)
    assert given["parameters"] == unet.num_parameters()
    assert (given["skips"], given["smallest"]) == (6, 4)
    rows = list(zip(*(column.values for column in given["layers"].columns), strict=True))
    assert rows == [(each.path, each.kind, *each[2:8], int(each.time), each.skip) for each in layers]
    attending = sum(each.parameters for each in layers if each.attention)
    assert given["attending"] == pytest.approx(attending / unet.num_parameters())


def test_what_is_concatenated_is_the_skip_itself(builtin: Loaded):
    """In an evaluation of the built-in model, the last channels of a layer's input are those that the skip gave."""
    unet = load_unet(builtin.model)
    modules = dict(unet.named_modules())
    layers = traced(unet, 16, 16)
    results, inputs = {}, {}
    hooks = []
    for each in layers:
        if each.skip:
            block, _, index = each.skip.partition(".resnets.")
            # What leaves a layer on the way down is what its attention gave, where it has one.
            last = f"{block}.attentions.{index}" if f"{block}.attentions.{index}" in modules else each.skip
            hooks.append(
                modules[last].register_forward_hook(
                    lambda _, given, result, name=each.skip: results.update(
                        {name: result[0] if isinstance(result, tuple) else result}
                    )
                )
            )
            hooks.append(
                modules[each.path].register_forward_pre_hook(
                    lambda _, given, name=each.path: inputs.update({name: given[0]})
                )
            )
    try:
        with torch.no_grad():
            latent = torch.randn(1, 8, 16, 16, generator=torch.Generator().manual_seed(0))
            unet(latent, 500, torch.zeros(1, 24, 128))
    finally:
        for hook in hooks:
            hook.remove()
    assert len(inputs) == 6
    for each in layers:
        if each.skip:
            skip = results[each.skip]
            assert torch.equal(inputs[each.path][:, -skip.shape[1] :], skip)


def test_another_size_changes_the_maps_and_not_the_parameters(ran: Ran):
    usual, wide = ran("unet"), ran("unet", width=128)
    assert wide["parameters"] == usual["parameters"]
    assert wide["layers"].column("width").values[1:] == tuple(2 * w for w in usual["layers"].column("width").values[1:])


def test_what_is_no_unet_is_said(builtin: Loaded):
    other = replace(builtin.model, weights=replace(builtin.model.weights, kind="transformer"))
    with pytest.raises(Wrong, match="transformer, not a U-Net"):
        TraceUNet(model=other).run(Context())
    with pytest.raises(Wrong, match="no column `kind`"):
        PlotUNet(layers=table({"layer": ["a"]})).run(Context())
