"""What a step costs: on latents as much as on a picture that small, on pixels more than there are more of them."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from fixtures import Ran
from torch import nn

from latentgraph.engine.context import Cancelled, Context
from latentgraph.engine.node import Wrong
from latentgraph.nodes.diffusion.weights import load_unet
from latentgraph.nodes.models import LoadModel
from latentgraph.nodes.plots.data import Table
from latentgraph.nodes.references import Model
from latentgraph.nodes.tracing import CountFLOPs, TimeSteps, TraceUNet

PIXELS, LATENTS = "pixel space", "latent space"


@pytest.fixture(scope="module")
def model() -> Model:
    return LoadModel(name="builtin").run(Context()).model


@pytest.fixture(scope="module")
def full_size() -> Table:
    """Of Stable Diffusion 1.5."""
    return CountFLOPs(sides=(64, 128, 512)).run(Context())


@pytest.fixture(scope="module")
def small(model: Model) -> Table:
    return CountFLOPs(model=model, sides=(32, 64, 128, 256, 512)).run(Context())


def test_on_pixels_a_step_of_512_costs_hundreds_of_times_what_it_costs_on_latents(ran: Ran) -> None:
    outputs = ran("latent-space-cost")
    assert outputs["ratio"] == outputs["pixel_flops"] / outputs["latent_flops"]
    assert 600 < outputs["ratio"] < 750
    assert outputs["latent_flops"] == pytest.approx(803e9, rel=0.01)


def test_a_latent_costs_what_a_picture_of_its_size_costs_but_for_the_ends(full_size: Table) -> None:
    """The two networks differ in the first and the last convolution of 3 by 3, from or to 320 channels."""
    one = 2 * 64**2 * 320 * 9 * 2
    assert full_size.column(PIXELS).values[0] - 3 * one == full_size.column(LATENTS).values[-1] - 4 * one


def test_the_ratio_is_at_least_that_of_the_places_where_pictures_are_as_large_as_the_model_learned(
    full_size: Table, small: Table
) -> None:
    assert full_size.column("ratio").values[-1] >= 8**2
    assert all(ratio >= 4**2 for ratio in small.column("ratio").values[1:])  # below, the words are much of the work
    for found in (full_size, small):
        ratios = found.column("ratio").values
        assert all(later > sooner for sooner, later in pairwise(ratios))  # because of self-attention


def test_twice_the_side_is_at_least_four_times_the_work_and_at_most_sixteen(small: Table) -> None:
    for sooner, later in pairwise(small.column(PIXELS).values):
        assert 4 <= later / sooner <= 16
    growth = [later / sooner for sooner, later in pairwise(small.column(PIXELS).values)]
    assert growth == sorted(growth)
    assert growth[-1] > 10  # where attention is nearly all of it


def test_what_is_counted_is_what_the_layers_do(model: Model) -> None:
    """Convolutions and linear layers by hand, from what the network itself is given; attention is the rest."""
    counted, tokens, places = CountFLOPs(model=model, sides=(64,), tokens=24).run(Context()), 24, []
    by_hand = 0
    network = load_unet(model)

    def count(module: Any, taken: tuple[torch.Tensor, ...], given: torch.Tensor) -> None:
        nonlocal by_hand
        by_hand += 2 * given.numel() * module.weight[0].numel()

    def attention(module: Any, taken: tuple[torch.Tensor, ...], given: torch.Tensor) -> None:
        nonlocal by_hand
        queries, width = taken[0].shape[1:]
        keys = queries if module.to_k.in_features == width and not module.is_cross_attention else tokens
        places.append(queries)
        by_hand += 2 * 2 * queries * keys * width  # queries by keys, and the weights by the values

    hooks = [
        module.register_forward_hook(attention if type(module).__name__ == "Attention" else count)
        for module in network.modules()
        if isinstance(module, (nn.Conv2d, nn.Linear)) or type(module).__name__ == "Attention"
    ]
    try:
        with torch.no_grad():
            network(torch.zeros(1, 8, 16, 16), 500, torch.zeros(1, tokens, 128))
    finally:
        for hook in hooks:
            hook.remove()
    assert set(places) == {64, 16}
    assert counted.column(LATENTS).values == (by_hand,)


def test_a_step_on_pixels_takes_longer(ran: Ran, model: Model) -> None:
    assert ran("latent-space-cost")["time_ratio"] > 3
    timed = TimeSteps(model=model, sides=(16, 96), repeats=2).run(Context())
    assert timed.column("ratio").values[-1] > 3
    assert all(each > 0 for name in (PIXELS, LATENTS) for each in timed.column(name).values)


def test_what_cannot_be_counted_is_refused(model: Model) -> None:
    with pytest.raises(Wrong, match="100 is no multiple of 8, which a latent needs") as refused:
        CountFLOPs(sides=(64, 100)).run(Context())
    assert refused.value.input == "sides"
    with pytest.raises(Wrong, match="there are none"):
        TimeSteps(model=model, sides=()).run(Context())
    weights = type(model.weights)("transformer", "sd3", model.weights.folder)
    with pytest.raises(Wrong, match="only known of Stable Diffusion 1 and 2") as refused:
        CountFLOPs(model=Model(weights, model.scheduler, model.space)).run(Context())
    assert refused.value.input == "model"


@pytest.mark.parametrize(("node", "largest"), [(CountFLOPs, 1024), (TimeSteps, 512)])
def test_measuring_is_bounded_and_can_be_stopped(node: Any, largest: int, model: Model) -> None:
    for inputs in ({"sides": (largest + 8,)}, {"sides": (8,) * 17}):
        with pytest.raises(ValueError, match="sides"):
            node(**inputs)
    told: list[int] = []
    context = Context(report=lambda _, content: told.append(content["step"]), cancelled=lambda: len(told) == 3)
    with pytest.raises(Cancelled):
        node(model=model, sides=(8, 16)).run(context)
    assert told == [1, 2, 3]
    with pytest.raises(ValueError, match="repeats"):
        TimeSteps(repeats=21)


def test_what_counts_by_hooks_on_all_modules_and_what_is_hooked_do_not_run_together() -> None:
    assert CountFLOPs.resource == TraceUNet.resource == "device"
