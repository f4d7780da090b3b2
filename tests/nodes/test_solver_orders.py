"""How fast the samplers' error falls on a mixture of Gaussians, whose score is known: the order of each.

Run as a program, it draws docs/samplers.png.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from mixture import COVARIANCE, MEAN, Exact, Spacing, evenly, geometrically, noisy, solution
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from latentgraph.nodes.diffusion.noise import Brownian, Gaussian
from latentgraph.nodes.diffusion.solvers import SOLVERS, Walk

FIRST, LAST = 3.0, 0.5
STEPS, MORE = (24, 48, 96), (96, 192, 384)
HISTORY = 3
"""How many steps before the first are known exactly; as many follow the last one, where orders would fall."""


@dataclass(frozen=True)
class Claim:
    """The order of a sampler: with exact history what its paper claims, and from a start without."""

    sampler: str
    exact: float
    warm: float
    options: dict[str, Any] = field(default_factory=dict)
    spacing: Spacing = geometrically
    steps: tuple[int, ...] = STEPS

    def __str__(self) -> str:
        said = "".join(f", {name} {value}" for name, value in self.options.items())
        return f"{self.sampler}{said}{'' if self.spacing is geometrically else ', even steps'}"


ODE = {"eta": 0.0}
CLAIMS = [
    Claim("euler", 1, 1),
    Claim("ddim", 1, 1),
    Claim("euler_ancestral", 1, 1, ODE),
    Claim("euler_cfg_pp", 1, 1),
    Claim("euler_ancestral_cfg_pp", 1, 1, ODE),
    Claim("gradient_estimation", 1, 1),
    Claim("gradient_estimation", 2, 2, {"gamma": 1.5}, evenly),  # the weights of Adams and Bashforth
    Claim("heun", 2, 2),
    Claim("dpm_2", 2, 2),
    Claim("dpm_2_ancestral", 2, 2, ODE),
    Claim("dpmpp_2s_ancestral", 2, 2, ODE),
    Claim("dpmpp_sde", 2, 2, ODE),
    Claim("dpmpp_2m", 2, 2),
    Claim("dpmpp_2m_cfg_pp", 2, 2),
    Claim("dpmpp_2m_sde", 2, 2, ODE),
    Claim("dpmpp_3m_sde", 2, 2, ODE),  # its quadratic term has half the weight of order 3
    Claim("res_multistep", 2, 2),
    Claim("dpm_fast", 3, 2),  # the last two steps are of order 2 and 1
    Claim("deis", 3, 2),  # multistep methods begin with a step of order 1
    Claim("ipndm", 4, 2, {}, evenly, MORE),
    Claim("ipndm", 2, 2),  # the weights are those of even steps
    Claim("lms", 4, 2),
    Claim("uni_pc", 3, 2, {"order": 2}),  # the last step is of order 1
    Claim("uni_pc_bh2", 3, 2, {"order": 2}),
    Claim("uni_pc", 4, 2),
    Claim("uni_pc_bh2", 4, 2),
]


@cache
def way(spacing: Spacing, steps: int, around: int) -> tuple[list[float], list[Tensor]]:
    """The noise levels, `around` of them before the first and after the last, and the true samples at each."""
    step = spacing(0.0, 1.0, steps)[1] if spacing is evenly else None
    if step is None:
        sigmas = [FIRST * (LAST / FIRST) ** (at / steps) for at in range(-around, steps + around + 1)]
    else:
        sigmas = [FIRST + (LAST - FIRST) * step * at for at in range(-around, steps + around + 1)]
    return sigmas, solution(noisy(8, sigmas[0]), sigmas)


def errors(claim: Claim, exact_history: bool) -> list[float]:
    """The mean error at the end of walks with more and more steps."""
    solver, around, found = SOLVERS[claim.sampler], HISTORY if exact_history else 0, []
    for steps in claim.steps:
        sigmas, truth = way(claim.spacing, steps, around)
        walk, denoiser = Walk(tuple(sigmas), None, {}, {**solver.defaults, **claim.options}), Exact()
        for index in range(around):
            solver.step(denoiser, truth[index], walk, index)  # for what it remembers
            if claim.sampler.startswith("uni_pc"):
                walk.memory["x"] = truth[index]  # it would go on from what it corrected
        x = truth[around]
        for index in range(around, around + steps):
            x = solver.step(denoiser, x, walk, index)
        found.append(float((x - truth[around + steps]).square().mean().sqrt()))
    return found


def order(steps: Sequence[int], found: Sequence[float]) -> float:
    """The slope of the error over the length of the steps, both as logarithms."""
    return math.log(found[-2] / found[-1]) / math.log(steps[-1] / steps[-2])


@pytest.mark.parametrize("claim", CLAIMS, ids=str)
def test_errors_fall_as_fast_as_claimed(claim: Claim) -> None:
    with_history, without = (order(claim.steps, errors(claim, known)) for known in (True, False))
    assert with_history == pytest.approx(claim.exact, abs=0.35)
    # At least: the error of the one step that is worse may be too small to be seen yet.
    assert claim.warm - 0.3 < without < claim.exact + 0.35


def test_every_sampler_without_noise_is_measured() -> None:
    stochastic = {"ddpm", "lcm", "er_sde"}
    assert {claim.sampler for claim in CLAIMS} | stochastic | {"dpm_adaptive"} == SOLVERS.keys()


def test_adaptive_steps_meet_the_tolerance() -> None:
    sigmas = geometrically(FIRST, LAST, 4)
    truth = solution(noisy(8, FIRST), sigmas)
    found, calls = [], []
    tolerances = (1e-2, 1e-3, 1e-4, 1e-5)
    for tolerance in tolerances:
        denoiser = Exact()
        x = SOLVERS["dpm_adaptive"](denoiser, truth[0], sigmas, rtol=tolerance, atol=tolerance / 5)
        found.append(float((x - truth[-1]).abs().max()))
        calls.append(denoiser.calls)
    assert all(error < tolerance for error, tolerance in zip(found, tolerances, strict=True))
    assert calls == sorted(set(calls))
    # Of third order: ten times the accuracy for little more than twice the work.
    assert calls[-1] < 3 * calls[-2]


@pytest.mark.parametrize("sampler", sorted({claim.sampler for claim in CLAIMS} | {"dpm_adaptive"}))
@pytest.mark.parametrize("flow", [False, True], ids=["noise", "flow"])
def test_all_come_near_the_solution_down_to_the_picture(sampler: str, flow: bool) -> None:
    first = 1.0 if flow else 40.0
    start = noisy(8, first, flow)
    ends = evenly(first, 1e-6, 4) if flow else geometrically(first, 1e-6, 4)
    truth = solution(start, ends, flow)[-1]
    options = ODE if "eta" in SOLVERS[sampler].defaults else {}
    found = []
    for steps in (16, 48):
        sigmas = evenly(first, 0.02, steps - 1) if flow else geometrically(first, 0.02, steps - 1)
        x = SOLVERS[sampler](Exact(flow), start, [*sigmas, 0.0], **options)
        found.append(float((x - truth).square().mean().sqrt()))
    assert found[-1] < 0.1
    assert found[-1] < found[0] + 1e-3


@pytest.mark.parametrize("sampler", SOLVERS)
@pytest.mark.parametrize("flow", [False, True], ids=["noise", "flow"])
def test_a_batch_is_its_single_pictures_but_for_adaptive_steps(sampler: str, flow: bool) -> None:
    first, solver, seeds = 1.0 if flow else 20.0, SOLVERS[sampler], (4, 5, 6)
    sigmas = [*(evenly(first, 0.05, 8) if flow else geometrically(first, 0.05, 8)), 0.0]

    def drawn(*seeds: int) -> Tensor:
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        brownian = solver.random == "brownian"
        noise = Brownian(generators, (2, 1, 8), sigmas, {}) if brownian else Gaussian(generators, (2, 1, 8))
        return solver(Exact(flow), torch.cat([noisy(8, first, flow, seed) for seed in seeds]), sigmas, noise)

    apart = float((drawn(*seeds) - torch.cat([drawn(seed) for seed in seeds])).abs().max())
    if sampler == "dpm_adaptive":  # all pictures of a batch take the same steps
        assert 1e-9 < apart < solver.defaults["rtol"]
    else:
        assert apart < 1e-12


@dataclass(frozen=True)
class Drawn:
    """A sampler that adds noise."""

    sampler: str
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.sampler + "".join(f", {name} {value}" for name, value in self.options.items())


STOCHASTIC = [
    Drawn("euler", {"s_churn": 20.0}),
    Drawn("heun", {"s_churn": 20.0}),
    Drawn("dpm_2", {"s_churn": 20.0}),
    *(Drawn(name) for name in ("euler_ancestral", "dpm_2_ancestral", "dpmpp_2s_ancestral", "euler_ancestral_cfg_pp")),
    *(Drawn(name) for name in ("dpmpp_sde", "dpmpp_2m_sde", "dpmpp_3m_sde", "ddpm", "er_sde")),
    Drawn("dpmpp_2m_sde", {"solver_type": "heun"}),
    Drawn("dpmpp_2m_sde", {"eta": 0.5}),
    Drawn("ddim", {"eta": 0.6}),
]


@pytest.mark.parametrize("drawn", STOCHASTIC, ids=str)
@pytest.mark.parametrize("flow", [False, True], ids=["noise", "flow"])
def test_noise_leads_to_the_right_distribution(drawn: Drawn, flow: bool) -> None:
    brownian = SOLVERS[drawn.sampler].random == "brownian"
    count, steps = (15_000, 60) if brownian else (10_000, 240)
    first = 1.0 if flow else 20.0
    sigmas = [*(evenly(first, 0.02, steps - 1) if flow else geometrically(first, 0.02, steps - 1)), 0.0]
    generators = [torch.Generator().manual_seed(4)]
    solver, shape = SOLVERS[drawn.sampler], (2, 1, count)
    noise = Brownian(generators, shape, sigmas, {}) if brownian else Gaussian(generators, shape)
    points = solver(Exact(flow), noisy(count, first, flow), sigmas, noise, **drawn.options)[0, :, 0].T
    assert points.mean(0).tolist() == pytest.approx(MEAN.tolist(), abs=0.04)
    assert points.T.cov().flatten().tolist() == pytest.approx(COVARIANCE.flatten().tolist(), abs=0.05)


def test_consistency_models_lead_to_the_right_distribution() -> None:
    """With the function that takes samples of one Gaussian to the picture at the end of their path."""

    class Consistent(Exact):
        def __call__(self, x: Tensor, sigma: float) -> Tensor:
            spread, mean = 0.7, 0.3
            return (
                mean + (x - self.alpha(sigma) * mean) * spread / (self.alpha(sigma) ** 2 * spread**2 + sigma**2) ** 0.5
            )

    for flow, first in ((False, 20.0), (True, 1.0)):
        start = first * torch.randn(1, 2, 1, 20_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        noise = Gaussian([torch.Generator().manual_seed(4)], (2, 1, 20_000))
        found = SOLVERS["lcm"](Consistent(flow), start, [first, first / 2, first / 4, 0.0], noise)
        assert float(found.mean()) == pytest.approx(0.3, abs=0.02)
        assert float(found.std()) == pytest.approx(0.7, abs=0.02)


COLOURS = {
    "euler": "#1f77b4",
    "heun": "#ff7f0e",
    "dpmpp_2m": "#2ca02c",
    "deis": "#d62728",
    "dpm_fast": "#9467bd",
    "lms": "#8c564b",
    "uni_pc_bh2": "#e377c2",
}
"""What the picture shows."""


def draw(path: Path) -> None:
    """Errors over numbers of steps, both as logarithms; left with exact history, right without."""
    picture = Image.new("RGB", (1200, 640), "white")
    plot(picture, 90, True, "with exact history")
    plot(picture, 690, False, "with the usual start")
    picture.save(path, optimize=True)


def plot(picture: Image.Image, left: int, known: bool, title: str) -> None:
    """One plot of 480 by 440 pixels with its legend below."""
    pen, steps, top, decades = ImageDraw.Draw(picture), (12, 24, 48, 96, 192), 50, range(-9, 0)
    small, large = ImageFont.load_default(14), ImageFont.load_default(18)

    def place(count: float, error: float) -> tuple[float, float]:
        across = math.log(count / steps[0]) / math.log(steps[-1] / steps[0])
        down = (decades[-1] - math.log10(error)) / (decades[-1] - decades[0])
        return left + 20 + 440 * across, top + 440 * down

    pen.text((left + 240, 25), title, "black", large, "mm")
    for power in decades:
        height = place(steps[0], 10.0**power)[1]
        pen.line([left, height, left + 480, height], "#e0e0e0")
        pen.text((left - 8, height), f"1e{power}", "black", small, "rm")
    for count in steps:
        along = place(count, 1.0)[0]
        pen.line([along, top, along, top + 440], "#e0e0e0")
        pen.text((along, top + 455), str(count), "black", small, "mm")
    pen.rectangle([left, top, left + 480, top + 440], outline="black")
    pen.text((left + 240, top + 475), "across: steps; up: error at the end (root of mean square)", "black", small, "mm")
    for number, (name, colour) in enumerate(COLOURS.items()):
        found = errors(Claim(name, 0, 0, steps=steps), known)
        points = [place(count, error) for count, error in zip(steps, found, strict=True)]
        pen.line(points, colour, 3, "curve")
        for across, down in points:
            pen.ellipse([across - 5, down - 5, across + 5, down + 5], colour)
        across, down = left + number % 3 * 165, top + 505 + number // 3 * 25
        pen.ellipse([across, down - 5, across + 10, down + 5], colour)
        pen.text((across + 18, down), f"{name}: {order(steps, found):.1f}", "black", small, "lm")


if __name__ == "__main__":
    draw(Path(__file__).parents[2] / "docs" / "samplers.png")
