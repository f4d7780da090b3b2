"""Noise schedules: what follows from a list of betas, and that the lists are those of their papers."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, EulerDiscreteScheduler
from fixtures import Ran

from latentgraph.engine.context import Context
from latentgraph.engine.node import Wrong
from latentgraph.engine.ports import File
from latentgraph.nodes.diffusion.noise_table import NoiseTable
from latentgraph.nodes.models import LoadModel
from latentgraph.nodes.noising import NoiseSchedule, Noising

DDPM = {"beta_start": 0.0001, "beta_end": 0.02}
EVERY: list[dict[str, Any]] = [
    {"kind": "linear", **DDPM},
    {"kind": "squaredcos_cap_v2"},
    {"kind": "sigmoid", **DDPM},
    {"kind": "scaled_linear"},
    {"kind": "scaled_linear", "zero_terminal_snr": True},
    {"kind": "linear", **DDPM, "zero_terminal_snr": True, "steps": 50},
]


def schedule(**inputs: Any) -> Noising:
    return NoiseSchedule(**inputs).run(Context())


def column(found: Noising, name: str) -> torch.Tensor:
    return torch.tensor(found.schedule.column(name).values)


@pytest.mark.parametrize("inputs", EVERY)
def test_the_numbers_are_those_of_diffusers(inputs: dict[str, Any]) -> None:
    found = schedule(**inputs)
    scheduler = DDPMScheduler(
        num_train_timesteps=inputs.get("steps", 1000),
        beta_start=inputs.get("beta_start", 0.00085),
        beta_end=inputs.get("beta_end", 0.012),
        beta_schedule=inputs["kind"],
        rescale_betas_zero_snr=inputs.get("zero_terminal_snr", False),
    )
    assert torch.equal(column(found, "beta"), scheduler.betas)
    assert torch.equal(column(found, "alpha bar"), scheduler.alphas_cumprod)
    assert column(found, "timestep").tolist() == list(range(len(scheduler.betas)))


@pytest.mark.parametrize("inputs", EVERY)
def test_everything_follows_from_the_betas(inputs: dict[str, Any]) -> None:
    found = schedule(**inputs)
    betas, kept = column(found, "beta").double(), column(found, "alpha bar").double()
    assert torch.allclose(kept, (1 - betas).cumprod(0), rtol=2e-3, atol=1e-6)  # diffusers multiplies in float32
    assert torch.allclose(column(found, "SNR").double(), kept / (1 - kept), rtol=1e-4)
    assert torch.allclose(column(found, "sigma").double(), ((1 - kept) / kept).sqrt(), rtol=1e-4)
    assert found.signal_left == pytest.approx(float(kept[-1].sqrt()), abs=1e-7)
    assert found.drowned == next(index for index, each in enumerate(kept) if each < 0.5)


@pytest.mark.parametrize("inputs", EVERY)
def test_noise_only_grows(inputs: dict[str, Any]) -> None:
    found = schedule(**inputs)
    for name, sign in (("alpha bar", -1), ("SNR", -1), ("sigma", 1)):
        assert all(sign * later > sign * sooner for sooner, later in pairwise(found.schedule.column(name).values)), name
    assert all(later >= sooner for sooner, later in pairwise(found.schedule.column("beta").values))


def test_betas_begin_and_end_where_their_papers_say() -> None:
    for inputs, first, last in (
        (EVERY[0], 0.0001, 0.02),
        (EVERY[2], 0.0001 + 0.0199 / (1 + math.exp(6)), 0.02 - 0.0199 / (1 + math.exp(6))),
        (EVERY[3], 0.00085, 0.012),
    ):
        betas = schedule(**inputs).schedule.column("beta").values
        assert betas[0] == pytest.approx(first, rel=1e-4)
        assert betas[-1] == pytest.approx(last, rel=1e-4)
    roots = column(schedule(), "beta").sqrt()
    assert torch.allclose(roots.diff(), torch.full((999,), (0.012**0.5 - 0.00085**0.5) / 999), atol=1e-7)


def test_the_cosine_is_a_cosine() -> None:
    """Nichol and Dhariwal 2021, equation 17, up to where beta is held at 0.999."""
    kept, times = column(schedule(kind="squaredcos_cap_v2"), "alpha bar").double(), torch.arange(1, 1000) / 1000
    wanted = torch.cos((times + 0.008) / 1.008 * math.pi / 2).square() / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    assert torch.allclose(kept[:-1], wanted.double(), rtol=1e-3, atol=1e-6)


def test_zero_terminal_snr_moves_and_stretches_the_root_of_what_is_left() -> None:
    """Lin et al. 2023, algorithm 1."""
    plain, rescaled = (column(schedule(zero_terminal_snr=zero), "alpha bar").double().sqrt() for zero in (False, True))
    wanted = (plain - plain[-1]) * plain[0] / (plain[0] - plain[-1])
    assert torch.allclose(rescaled, wanted, atol=1e-5)
    assert rescaled[-1] == 0.0
    assert rescaled[0] == pytest.approx(float(plain[0]), abs=1e-6)


def test_the_models_own_schedule_is_the_one_that_samplers_walk_down() -> None:
    model = LoadModel(name="builtin").run(Context()).model
    own = schedule(model=model)
    assert own == schedule(kind="scaled_linear")
    assert torch.allclose(column(own, "sigma"), torch.from_numpy(NoiseTable(model).sigmas), rtol=1e-5)
    euler = EulerDiscreteScheduler.from_config(model.scheduler_config)
    assert own.schedule.column("sigma").values[-1] == pytest.approx(float(euler.sigmas[0]), rel=1e-5)
    assert schedule(model=model, zero_terminal_snr=True) == schedule(zero_terminal_snr=True)


def test_what_the_graph_measures_tells_the_schedules_apart(ran: Ran) -> None:
    outputs = ran("noise-schedules")
    left = {name: outputs[f"{name}_signal_left"] for name in ("linear", "cosine", "sigmoid", "scaled", "zero")}
    assert left["zero"] == 0.0
    assert left["linear"] == pytest.approx(math.exp(0.5 * sum(math.log1p(-b) for b in _linear())), rel=1e-3)
    assert left["scaled"] > 10 * max(left["linear"], left["cosine"], left["sigmoid"])
    drowned = [outputs[f"{name}_drowned"] for name in ("linear", "zero", "scaled", "sigmoid", "cosine")]
    assert drowned == sorted(drowned)


def _linear() -> list[float]:
    return [0.0001 + index * (0.02 - 0.0001) / 999 for index in range(1000)]


def test_betas_that_fall_are_refused() -> None:
    with pytest.raises(Wrong, match=r"beta_end is 0.001, below beta_start 0.01: noise grows") as refused:
        schedule(beta_start=0.01, beta_end=0.001)
    assert refused.value.input == "beta_end"


def test_a_model_without_betas_is_refused() -> None:
    model = LoadModel(name="builtin").run(Context()).model
    flow = File("scheduler_config.json", content=b'{"_class_name": "FlowMatchEulerDiscreteScheduler"}')
    other = type(model)(model.weights, flow, model.space)
    with pytest.raises(Wrong, match="FlowMatchEulerDiscreteScheduler has no betas") as refused:
        schedule(model=other)
    assert refused.value.input == "model"


def test_betas_that_do_not_count_are_not_checked() -> None:
    unused = {"beta_start": 0.01, "beta_end": 0.001}
    assert schedule(kind="squaredcos_cap_v2", **unused) == schedule(kind="squaredcos_cap_v2")
    model = LoadModel(name="builtin").run(Context()).model
    assert schedule(model=model, **unused) == schedule(model=model)
