"""The native samplers are what diffusers' schedulers are, on the same sigmas and with the same noise."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from latentgraph.nodes.diffusion.noise import Brownian, Gaussian
from latentgraph.nodes.diffusion.solvers import SOLVERS

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

CLOSE = 1e-4
SHAPE = (4, 6, 6)
STEPS = 7

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


@dataclass(frozen=True, eq=False)
class Twin:
    """A sampler with options, and the scheduler of diffusers that does the same."""

    sampler: str
    scheduler: str
    options: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    every: int = 1
    """Which of the scheduler's noise levels are those of the sampler: a scheduler may need several for a step."""
    step: dict[str, Any] = field(default_factory=dict)
    steps: int = STEPS

    @property
    def flow(self) -> bool:
        return "Flow" in self.scheduler or self.config.get("use_flow_sigmas", False)

    @property
    def left(self) -> str:
        return f"`{self.sampler}`" + _said(self.options)

    @property
    def right(self) -> str:
        flow = {"use_flow_sigmas": True} if "use_flow_sigmas" in self.config else {}
        return f"`{self.scheduler}`" + _said(
            {name: value for name, value in self.config.items() if name not in HIDDEN} | flow | self.step
        )


def _said(options: dict[str, Any]) -> str:
    return ", " + ", ".join(f"{name} {value}" for name, value in options.items()) if options else ""


PRESERVING = {
    "DDIMScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "IPNDMScheduler",
    "LCMScheduler",
    "UniPCMultistepScheduler",
}
"""Those whose samples are scaled to one variance, a picture with noise over sqrt(1 + sigma^2)."""

HIDDEN = {"clip_sample", "lower_order_final", "prediction_type", "trained_betas", "timestep_scaling", "use_flow_sigmas"}
"""What only makes the comparison possible, or is said by other words."""

MULTI, SINGLE = "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler"
FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
EXPONENTIAL = {"use_exponential_sigmas": True}

FAST = {
    "algorithm_type": "dpmsolver",
    "solver_order": 3,
    "final_sigmas_type": "sigma_min",
    "lower_order_final": True,
}
BH1 = {"solver_order": 3, "solver_type": "bh1", "final_sigmas_type": "sigma_min"}

TWINS = [
    Twin("euler", "EulerDiscreteScheduler"),
    Twin("euler", "FlowMatchEulerDiscreteScheduler"),
    Twin("euler_ancestral", "EulerAncestralDiscreteScheduler"),
    Twin("heun", "HeunDiscreteScheduler"),
    Twin("heun", "FlowMatchHeunDiscreteScheduler"),
    Twin("dpm_2", "KDPM2DiscreteScheduler"),
    Twin("dpm_2_ancestral", "KDPM2AncestralDiscreteScheduler"),
    Twin("lms", "LMSDiscreteScheduler"),
    Twin("dpm_fast", SINGLE, {}, FAST, steps=3),
    Twin("dpmpp_2s_ancestral", SINGLE, {"eta": 0.0}, {"solver_order": 2, **EXPONENTIAL}, every=2, steps=13),
    Twin("dpmpp_sde", "DPMSolverSDEScheduler"),
    Twin("dpmpp_2m", MULTI),
    Twin("dpmpp_2m", MULTI, {}, FLOW),
    Twin("dpmpp_2m_sde", MULTI, {}, {"algorithm_type": "sde-dpmsolver++"}),
    Twin("dpmpp_2m_sde", MULTI, {}, {"algorithm_type": "sde-dpmsolver++", **FLOW}),
    Twin(
        "dpmpp_2m_sde",
        MULTI,
        {"solver_type": "heun"},
        {"algorithm_type": "sde-dpmsolver++", "solver_type": "heun"},
    ),
    Twin("dpmpp_3m_sde", MULTI, {"eta": 0.0}, {"solver_order": 3, "solver_type": "heun", "lower_order_final": False}),
    Twin("ddim", "DDIMScheduler", {}, {"clip_sample": False}),
    Twin("ddim", "DDIMScheduler", {"eta": 0.7}, {"clip_sample": False}, step={"eta": 0.7}),
    Twin("ddpm", "DDPMScheduler", {}, {"clip_sample": False}),
    Twin("lcm", "LCMScheduler", {}, {"clip_sample": False, "timestep_scaling": 1e4}, steps=4),
    Twin(
        "uni_pc",
        "UniPCMultistepScheduler",
        {},
        {"solver_order": 3, "solver_type": "bh1", "final_sigmas_type": "sigma_min"},
    ),
    Twin("uni_pc_bh2", "UniPCMultistepScheduler", {}, {"solver_order": 3, "solver_type": "bh2"}),
    Twin("uni_pc_bh2", "UniPCMultistepScheduler", {"order": 2}, {"solver_order": 2, **FLOW}),
    Twin("deis", "DEISMultistepScheduler", {}, {"solver_order": 3, "lower_order_final": False}),
    Twin("ipndm", "IPNDMScheduler"),
    Twin("res_multistep", MULTI, {}, {"solver_type": "heun"}),
]

DIFFERENT = {
    Twin(
        "dpmpp_3m_sde",
        MULTI,
        {},
        {"algorithm_type": "sde-dpmsolver++", "solver_order": 3, "solver_type": "heun", "lower_order_final": False},
    ): "diffusers weighs the second difference by (1 - exp(-2h) - 2h) / (2h)² - 1/2, which does not vanish;"
    " with + 1/2 it would be, as in k-diffusion and in diffusers' own `dpmsolver++` of that order (above)",
    Twin("dpm_fast", SINGLE, {}, FAST, steps=7): "diffusers takes the second inner point of a step of order 3 by the"
    " formula of order 2, (exp(h) - 1) / 2, where the paper has (exp(h) - 1) / h - 1; up to order 2 they are the same"
    " (above)",
    Twin(
        "euler", "EulerDiscreteScheduler", {"s_churn": 2.0}, step={"s_churn": 2.0}
    ): "diffusers evaluates the model before it adds the noise, the paper after",
}
"""Pairs of one name that are different algorithms, and why."""

ALONE = {
    "dpm_adaptive": "diffusers has no adaptive steps",
    "er_sde": "not in diffusers",
    "gradient_estimation": "not in diffusers",
    "euler_cfg_pp": "not in diffusers",
    "euler_ancestral_cfg_pp": "not in diffusers",
    "dpmpp_2m_cfg_pp": "not in diffusers",
}


class Seen:
    """A smooth denoiser, not linear in what it is given: a small random convolution."""

    unconditional = None

    def __init__(self, flow: bool) -> None:
        self.flow = flow
        generator = torch.Generator().manual_seed(0)
        self.kernel = torch.randn(4, 4, 3, 3, generator=generator, dtype=torch.float64) / 6

    def alpha(self, sigma: float) -> float:
        return 1 - sigma if self.flow else 1.0

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        x = x.double() / (self.alpha(sigma) ** 2 + sigma**2) ** 0.5
        return torch.nn.functional.conv2d(x, self.kernel, padding=1).tanh()


def level(scheduler: Any, move: int) -> float:
    """The sigma at which a scheduler wants the model evaluated."""
    if not hasattr(scheduler, "sigmas"):
        if isinstance(scheduler, diffusers.IPNDMScheduler):
            return float(scheduler.betas[move].double() / scheduler.alphas[move].double())
        cumulated = scheduler.alphas_cumprod[int(scheduler.timesteps[move])].double()
        return float(((1 - cumulated) / cumulated) ** 0.5)
    if not getattr(scheduler, "state_in_first_order", True):
        if getattr(scheduler, "mid_point_sigma", None) is not None:
            return float(scheduler.mid_point_sigma)
        if isinstance(scheduler, diffusers.KDPM2AncestralDiscreteScheduler):
            return float(scheduler.sigmas_interpol[move - 1])
        if isinstance(scheduler, diffusers.KDPM2DiscreteScheduler):
            return float(scheduler.sigmas_interpol[move])
    return float(scheduler.sigmas[move])


def made(twin: Twin) -> Any:
    """The scheduler of a pair, with its timesteps."""
    kind = getattr(diffusers, twin.scheduler)
    if twin.scheduler == "IPNDMScheduler":  # its own noise levels begin at infinity
        betas = torch.linspace(0.99, 0.05, twin.steps + 1).tolist()
        scheduler = kind(trained_betas=betas)
    else:
        scheduler = kind(**({} if "FlowMatch" in twin.scheduler else BETAS) | twin.config)
    scheduler.set_timesteps(twin.steps)
    return scheduler


def levels(twin: Twin) -> list[float]:
    """The noise levels of the sampler's steps."""
    scheduler = made(twin)
    if twin.scheduler == "IPNDMScheduler":
        return [level(scheduler, move) for move in range(twin.steps + 1)]
    if hasattr(scheduler, "sigmas"):
        sigmas = list(map(float, scheduler.sigmas))
        once = [sigma for place, sigma in enumerate(sigmas) if place == 0 or sigma != sigmas[place - 1]]
        return [*once[:-1][:: twin.every], once[-1]]
    return [*(level(scheduler, move) for move in range(twin.steps)), 0.0]


def by_diffusers(twin: Twin, start: Tensor, noise: Callable[[list[float]], Any]) -> Tensor:
    """The samples at the end, by the scheduler; as the sampler has them, not scaled to one variance."""
    scheduler, seen = made(twin), Seen(twin.flow)
    if isinstance(scheduler, diffusers.DPMSolverSDEScheduler):
        scheduler.noise_sampler = noise(levels(twin))
    preserving = twin.scheduler in PRESERVING and not twin.flow

    def scale(sigma: float) -> float:
        return 1 / (1 + sigma**2) ** 0.5 if preserving else 1.0

    samples = (start * scale(level(scheduler, 0))).float()
    taken = inspect.signature(scheduler.step).parameters
    options = dict(twin.step)
    if "generator" in taken:
        options["generator"] = torch.Generator().manual_seed(5)
    for move, timestep in enumerate(scheduler.timesteps):
        if hasattr(scheduler, "scale_model_input"):
            scheduler.scale_model_input(samples, timestep)  # or it warns
        sigma = level(scheduler, move)
        x = samples.double() / scale(sigma)
        clean = seen(x, sigma)
        predicted = (x - clean) / sigma
        if isinstance(scheduler, diffusers.IPNDMScheduler):  # which takes velocities
            alpha = 1 / (1 + sigma**2) ** 0.5
            predicted = alpha * predicted - alpha * sigma * clean
        samples = scheduler.step(predicted.float(), timestep, samples, **options, return_dict=False)[0]
    return samples.double() / scale(levels(twin)[-1])


def difference(twin: Twin) -> float:
    """The largest between the sampler's samples and the scheduler's, of pictures that are within -1..1."""
    sigmas, shape = levels(twin), (1, *SHAPE)
    start = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * sigmas[0]
    generators = [torch.Generator().manual_seed(5)]
    random = SOLVERS[twin.sampler].random
    paths = isinstance(made(twin), diffusers.DPMSolverSDEScheduler)

    def path(sigmas: list[float]) -> Callable[[float, float], Tensor]:
        brownian = Brownian([torch.Generator().manual_seed(5)], SHAPE, sigmas, {})
        # A path is so rough that it tells apart sigmas that single and double precision round differently.
        return lambda sigma, lower: brownian(round(float(sigma), 4), round(float(lower), 4))

    noise = path(sigmas) if paths else Gaussian(generators, SHAPE) if random else None
    native = SOLVERS[twin.sampler](Seen(twin.flow), start, sigmas, noise, **twin.options)
    return float((native - by_diffusers(twin, start, path)).abs().max())


def tables() -> list[list[str]]:
    """The lines of the document's tables, measured: twins, different algorithms of one name, those without a twin."""
    same = [f"| {twin.left} | {twin.right} | {difference(twin):.0e} |" for twin in TWINS]
    different = [
        f"| {twin.left} | {twin.right} | {difference(twin):.0e} | {reason} |" for twin, reason in DIFFERENT.items()
    ]
    alone = [f"| `{name}` | {reason} |" for name, reason in ALONE.items()]
    return [
        ["| sampler | twin in diffusers | largest difference |", "| --- | --- | --- |", *same],
        ["| sampler | of the same name in diffusers | difference | why |", "| --- | --- | --- | --- |", *different],
        ["| sampler | why it has no twin |", "| --- | --- |", *alone],
    ]


@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: f"{twin.left} {twin.right}".replace("`", ""))
def test_samplers_are_what_their_twins_are(twin: Twin) -> None:
    assert difference(twin) < CLOSE


@pytest.mark.parametrize("twin", DIFFERENT, ids=lambda twin: twin.sampler)
def test_different_algorithms_of_one_name_differ(twin: Twin) -> None:
    assert difference(twin) > 10 * CLOSE


def test_every_sampler_has_a_twin_or_a_reason() -> None:
    assert {twin.sampler for twin in TWINS} | ALONE.keys() == SOLVERS.keys()
