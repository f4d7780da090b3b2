"""Euler's and Heun's methods for the probability flow ODE."""

import math

from torch import Tensor

from .contract import Denoiser, Walk, solver
from .levels import from_relative, relative, slope, toward

CHURN = {"s_churn": 0.0, "s_tmin": 0.0, "s_tmax": math.inf, "s_noise": 1.0}


@solver(random="gaussian", **CHURN)
def euler(denoiser: Denoiser, x: Tensor, walk: Walk, index: int) -> Tensor:
    """Euler's method: Karras et al. 2022 (arXiv:2206.00364), algorithm 2 without its lines 6 to 8."""
    x, sigma = churned(denoiser, x, walk, index)
    return toward(x, denoiser(x, sigma), sigma, walk.sigmas[index + 1])


@solver(evaluations=2, random="gaussian", **CHURN)
def heun(denoiser: Denoiser, x: Tensor, walk: Walk, index: int) -> Tensor:
    """Heun's method, of second order: Karras et al. 2022 (arXiv:2206.00364), algorithm 2. Euler's at sigma 0."""
    lower = walk.sigmas[index + 1]
    x, sigma = churned(denoiser, x, walk, index)
    clean = denoiser(x, sigma)
    there = toward(x, clean, sigma, lower)
    if lower == 0:
        return there
    mean = (slope(x, clean, sigma) + slope(there, denoiser(there, lower), lower)) / 2
    return x + mean * (lower - sigma)


def churned(denoiser: Denoiser, x: Tensor, walk: Walk, index: int) -> tuple[Tensor, float]:
    """The samples with noise added, and their sigma: lines 4 to 6 of the same algorithm.

    Noise is relative to the picture, so that for a flow model alpha falls as sigma rises; its pure noise stays as it
    is.
    """
    sigma, options = walk.sigmas[index], walk.options
    level = relative(denoiser, sigma)
    gamma = min(options["s_churn"] / (len(walk.sigmas) - 1), math.sqrt(2) - 1)
    if gamma <= 0 or not options["s_tmin"] <= sigma <= options["s_tmax"] or math.isinf(level):
        return x, sigma
    higher = from_relative(denoiser, level * (1 + gamma))
    alpha = denoiser.alpha(higher)
    added = walk.drawn(x, higher, sigma) * (alpha * level * math.sqrt((1 + gamma) ** 2 - 1))
    return x * (alpha / denoiser.alpha(sigma)) + added, higher
