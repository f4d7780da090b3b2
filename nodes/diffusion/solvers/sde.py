"""Solvers of the reverse SDE."""

import math

import numpy
from torch import Tensor

from .contract import Denoiser, Walk, solver
from .levels import is_finite, relative, toward

POINTS = 200
"""Into how many parts the integrals of a step are cut."""


def scaler(level: float) -> float:
    """How much noise is added at a noise level: the function of Cui et al. 2023, that the paper recommends."""
    return level * (math.exp(level**0.3) + 10)


@solver(random="gaussian", s_noise=1.0, order=3)
def er_sde(denoiser: Denoiser, x: Tensor, walk: Walk, index: int) -> Tensor:
    """ER-SDE-Solver: Cui et al. 2023 (arXiv:2309.06169), algorithms 1 to 3, of up to third order.

    In the picture plus noise sigma / alpha. Of first order to sigma 0, and without noise from the pure noise of a flow
    model.
    """
    sigma, lower = walk.sigmas[index : index + 2]
    clean, memory = denoiser(x, sigma), walk.memory
    before, difference = memory.get("clean"), memory.get("difference")
    memory["clean"], memory["difference"] = clean, None
    if lower == 0 or not is_finite(denoiser, sigma):
        memory["clean"] = None
        return toward(x, clean, sigma, lower)
    here, there = relative(denoiser, sigma), relative(denoiser, lower)
    ratio = scaler(there) / scaler(here)
    found = x * (ratio / denoiser.alpha(sigma)) + clean * (1 - ratio)
    if before is not None and walk.options["order"] > 1:
        levels = there + (here - there) * (numpy.arange(POINTS) + 0.5) / POINTS
        inverse = numpy.array([1 / scaler(level) for level in levels]) * ((here - there) / POINTS)
        last = relative(denoiser, walk.sigmas[index - 1])
        first = (clean - before) / (here - last)
        memory["difference"] = first
        found = found + first * (there - here + float(inverse.sum()) * scaler(there))
        if difference is not None and walk.options["order"] > 2:
            earlier = relative(denoiser, walk.sigmas[index - 2])
            second = (first - difference) / ((here - earlier) / 2)
            weight = (there - here) ** 2 / 2 + float((inverse * (levels - here)).sum()) * scaler(there)
            found = found + second * weight
    up = math.sqrt(max(0.0, there**2 - here**2 * ratio**2))
    return (found + walk.drawn(x, sigma, lower) * up) * denoiser.alpha(lower)
