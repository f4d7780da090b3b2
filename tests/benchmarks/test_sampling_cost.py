"""What sampling costs beside the U-Net calls that it makes, and what a batch saves. Ratios of one run, printed."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel

sys.path.append(str(Path(__file__).parents[1] / "nodes"))
import tiny_families

from latentgraph.engine import load
from latentgraph.engine.context import Context
from latentgraph.engine.store import open_store
from latentgraph.nodes.conditioning import CLIPEncode
from latentgraph.nodes.diffusion.weights import load_unet
from latentgraph.nodes.guidance import CFGCombine
from latentgraph.nodes.latents import EmptyLatent
from latentgraph.nodes.models import Loaded, LoadModel
from latentgraph.nodes.sampling import KSampler

STEPS, PIXELS = 8, 64
ROUNDS = 5

OUTSIDE = 1.03
"""The most that a sampling may take, as a multiple of the time within its own U-Net calls."""

LOOP = 1.15
"""The same of as many bare calls, which are made at other moments: noisy machines differ from one to the next."""


@pytest.fixture(scope="module")
def medium(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """A random Stable Diffusion 1 with a U-Net of 50 million parameters."""
    folder = tiny_families.build("sd1", tmp_path_factory.mktemp("models") / "medium")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = UNet2DConditionModel(
            sample_size=PIXELS // 4,
            block_out_channels=(112, 224, 448),
            layers_per_block=2,
            cross_attention_dim=64,
            attention_head_dim=8,
            norm_num_groups=16,
            down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        )
    unet.save_pretrained(folder / "unet")
    assert 40e6 < unet.num_parameters() < 60e6, unet.num_parameters()
    return LoadModel(name=str(folder)).run(Context())


def seconds(action: Callable[[], Any]) -> float:
    before = time.perf_counter()
    action()
    return time.perf_counter() - before


def least(*actions: Callable[[], Any]) -> list[float]:
    """The least time of each, in rounds in which they take turns; the first round is not counted."""
    rounds = [[seconds(action) for action in actions] for _ in range(ROUNDS + 1)][1:]
    return [min(times) for times in zip(*rounds, strict=True)]


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", "diffusers:EulerDiscreteScheduler"])
def test_the_sampling_loop_adds_little_to_the_calls_of_the_unet(
    benchmark: Any, medium: Loaded, sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = Context()
    wanted, unwanted = (CLIPEncode(clip=medium.clip, text=text).run(context) for text in ("a red apple", ""))
    guided = CFGCombine(positive=wanted, negative=unwanted, scale=5.0).run(context)
    canvas = EmptyLatent(model=medium.model, width=PIXELS, height=PIXELS).run(context)
    node = KSampler(model=medium.model, guidance=guided, latent=canvas, sampler=sampler, steps=STEPS, seed=1)
    unet = load_unet(medium.model)
    samples = torch.randn(2, *canvas.samples.shape[1:])
    tokens = torch.cat([unwanted.conds[0].tokens, wanted.conds[0].tokens])
    shapes, within, outside = set(), [0.0], []
    forward = unet.forward

    def timed(inputs: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        before = time.perf_counter()
        predicted = forward(inputs, *arguments, **options)
        within[0] += time.perf_counter() - before
        shapes.add(inputs.shape)
        return predicted

    monkeypatch.setattr(unet, "forward", timed)

    @torch.no_grad()
    def bare() -> None:
        for step in range(STEPS):
            unet(samples, torch.tensor(1000 - 100 * step), encoder_hidden_states=tokens, return_dict=False)

    def sampled() -> None:
        within[0] = 0.0
        whole = seconds(lambda: node.run(context))
        outside.append(whole / within[0])

    floor, whole = benchmark.pedantic(lambda: least(bare, sampled), rounds=1)
    figures = {"a call": floor / STEPS, "to its own calls": median(outside[1:]), "to bare calls": whole / floor}
    print(json.dumps({"sampler": sampler, **{name: round(figure, 4) for name, figure in figures.items()}}))
    assert shapes == {samples.shape}
    assert figures["to its own calls"] < OUTSIDE
    assert figures["to bare calls"] < LOOP


def test_two_prompts_in_one_batch_take_less_time_than_two_runs(benchmark: Any) -> None:
    prompts = ["a cat face on a red background", "a red apple on a blue background"]
    single, several = (
        load(name, store=open_store(None, memory_bytes=0)) for name in ("txt2img", "gallery")
    )  # so that nothing is reused

    def apart() -> None:
        for prompt in prompts:
            single.run(prompt=prompt, steps=10)

    two, one = benchmark.pedantic(lambda: least(apart, lambda: several.run(prompts=prompts, steps=10)), rounds=1)
    print(json.dumps({"two runs": round(two, 3), "one batch": round(one, 3), "ratio": round(one / two, 3)}))
    assert one < two
