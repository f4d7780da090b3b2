"""DPM-Solver with steps as long as their error allows."""

import math
from collections.abc import Mapping

from torch import Tensor

from ..numerics import torch
from .contract import Denoiser, Walk, solver
from .levels import from_relative, is_finite, log_snr, noise_in, toward

SHORT = 1e-3
"""How far from the pure noise of a flow model lambda is first used."""


@solver(evaluations=None, rtol=0.05, atol=0.0078, h_init=0.05, pcoeff=0.0, icoeff=1.0, dcoeff=0.0, accept_safety=0.81)
def dpm_adaptive(denoiser: Denoiser, x: Tensor, walk: Walk, index: int) -> Tensor:
    """DPM-Solver-23: Lu et al. 2022 (arXiv:2206.00927), appendix C, with the step control of Crowson's k-diffusion.

    It goes from sigma to sigma in steps of its own, whose length and error history it remembers. A step of order 3 is
    accepted where it differs from that of order 2, in units of `atol + rtol |x|`, by less than `accept_safety` says;
    the next length follows from the last three errors (a PID controller). To sigma 0, and a thousandth away from the
    pure noise of a flow model, it makes a step of order 1. All pictures of a batch take the same steps, so that here
    a batch is not, to the bit, what single runs are.
    """
    sigma, lower = walk.sigmas[index : index + 2]
    if not is_finite(denoiser, sigma):
        near = max(lower, sigma - SHORT)
        x, sigma = toward(x, denoiser(x, sigma), sigma, near), near
    if lower == 0:
        return toward(x, denoiser(x, sigma), sigma, lower)
    options, memory = walk.options, walk.memory
    at, end = log_snr(denoiser, sigma), log_snr(denoiser, lower)
    h: float = memory.get("h", options["h_init"])
    errors: list[float] = memory.get("errors", [])
    before: Tensor = memory.get("before", x)
    while at < end - 1e-9:
        taken = min(h, end - at)
        second, third = _both(denoiser, x, at, taken)
        scale = torch.maximum(second.abs(), before.abs()).mul(options["rtol"]).clamp(min=options["atol"])
        error = float(((second - third) / scale).square().mean().sqrt())
        factor, inverse = _controlled(error, errors, options)
        accepted = factor >= options["accept_safety"]
        if accepted:
            x, before, at, errors = third, second, at + taken, [inverse, *errors[:1]]
        if taken == h or not accepted:  # a step cut short by the end of the way says little of how long others may be
            h = taken * factor
    memory |= {"h": h, "errors": errors, "before": before}
    return x


def _both(denoiser: Denoiser, x: Tensor, at: float, h: float) -> tuple[Tensor, Tensor]:
    """A step of length h in lambda by DPM-Solver-2 with r = 1/3, and by DPM-Solver-3: algorithms 4 and 2 there."""
    levels = [from_relative(denoiser, math.exp(-at - h * part)) for part in (0, 1 / 3, 2 / 3, 1)]
    alphas = [denoiser.alpha(level) for level in levels]

    def straight(to: int) -> Tensor:
        part = math.expm1(h * to / 3)
        return x * (alphas[to] / alphas[0]) - noise * (levels[to] * part)

    def seen(there: Tensor, where: int) -> Tensor:
        return noise_in(denoiser, there, denoiser(there, levels[where]), levels[where])

    noise = seen(x, 0)
    change = seen(straight(1), 1) - noise
    second = straight(3) - change * (levels[3] * math.expm1(h) * 3 / 2)
    inner = straight(2) - change * (levels[2] * 2 * (math.expm1(h * 2 / 3) / (h * 2 / 3) - 1))
    third = straight(3) - (seen(inner, 2) - noise) * (levels[3] * 3 / 2 * (math.expm1(h) / h - 1))
    return second, third


def _controlled(error: float, errors: list[float], options: Mapping[str, float]) -> tuple[float, float]:
    """By what factor to change the length of the step, and the inverse of the error (of the last two: `errors`)."""
    p, i, d = options["pcoeff"], options["icoeff"], options["dcoeff"]
    inverse = 1 / (error + 1e-8)
    last, older = [*errors, inverse, inverse][:2]
    factor = (inverse ** (p + i + d) * last ** -(p + 2 * d) * older**d) ** (1 / 3)
    return 1 + math.atan(factor - 1), inverse
