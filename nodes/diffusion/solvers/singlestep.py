"""DPM-Solver of the noise that is predicted: Lu et al. 2022 (arXiv:2206.00927)."""

import math

from torch import Tensor

from .ancestral import below, renoised
from .contract import Denoiser, Walk, solver
from .euler import CHURN, churned
from .levels import is_finite, log_snr, noise_in, slope, toward


@solver(evaluations=2, random="gaussian", **CHURN)
def dpm_2(denoiser: Denoiser, x: Tensor, walk: Walk, index: int) -> Tensor:
    """A midpoint method, of second order, after DPM-Solver-2: Lu et al. 2022 (arXiv:2206.00927), algorithm 1.

    As Crowson's k-diffusion has it: the slope in sigma is taken in the middle of log sigma. Euler's method to sigma 0.
    """
    x, sigma = churned(denoiser, x, walk, index)
    return midpoint(denoiser, x, sigma, walk.sigmas[index + 1])


@solver(evaluations=2, random="gaussian", eta=1.0, s_noise=1.0)
def dpm_2_ancestral(denoiser: Denoiser, x: Tensor, walk: Walk, index: int) -> Tensor:
    """`dpm_2` down to where an ancestral step adds noise (Crowson's k-diffusion)."""
    sigma, lower = walk.sigmas[index : index + 2]
    down, scale, up = below(denoiser, sigma, lower, walk.options["eta"])
    return renoised(midpoint(denoiser, x, sigma, down), walk, sigma, lower, scale, up)


def midpoint(denoiser: Denoiser, x: Tensor, sigma: float, lower: float) -> Tensor:
    """The samples at `lower` by the slope in the middle of log sigma."""
    clean = denoiser(x, sigma)
    if lower == 0:
        return clean
    middle = math.sqrt(sigma * lower)
    there = toward(x, clean, sigma, middle)
    return x + slope(there, denoiser(there, middle), middle) * (lower - sigma)


@solver()
def dpm_fast(denoiser: Denoiser, x: Tensor, walk: Walk, index: int) -> Tensor:
    """DPM-Solver-fast: Lu et al. 2022 (arXiv:2206.00927), algorithm 2 and section 3.4 (one evaluation a step).

    Its steps of order 3 span three of the walk's, and what the paper computes at their inner points is the sample
    there. As many are taken as fit, and one of order 2 or 1, or both, at the end. Order 3 asks for inner points at one
    and two thirds in lambda, as exponential sigmas have them (for alpha 1). A step from pure noise of a flow model, and
    the last to sigma 0, is of order 1.
    """
    memory = walk.memory
    if "begin" not in memory or index >= memory["begin"] + memory["order"]:
        memory |= {"begin": index, "order": _order(denoiser, walk, index), "x": x, "noises": []}
    sigma, lower = walk.sigmas[index : index + 2]
    clean = denoiser(x, sigma)
    if memory["order"] == 1:
        return toward(x, clean, sigma, lower)
    noise = noise_in(denoiser, x, clean, sigma)
    memory["noises"] = [*memory["noises"], noise]
    start, first = walk.sigmas[memory["begin"]], memory["noises"][0]
    h = log_snr(denoiser, lower) - log_snr(denoiser, start)
    there = memory["x"] * (denoiser.alpha(lower) / denoiser.alpha(start)) - first * (lower * math.expm1(h))
    if index == memory["begin"]:
        return there
    part = (log_snr(denoiser, sigma) - log_snr(denoiser, start)) / h
    weight = math.expm1(h) / 2 if memory["order"] == 2 else math.expm1(h) / h - 1
    return there - (noise - first) * (lower * weight / part)


def _order(denoiser: Denoiser, walk: Walk, index: int) -> int:
    """The order of a step that begins here, by how many evaluations are left."""
    ends = len(walk.sigmas) - (2 if walk.sigmas[-1] == 0 else 1)
    left = ends - index
    if left < 1 or not is_finite(denoiser, walk.sigmas[index]):
        return 1
    return 3 if left > 3 else min(left, 2)
