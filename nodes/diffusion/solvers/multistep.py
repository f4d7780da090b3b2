"""Multistep samplers, which remember what the model saw at earlier steps."""

import math
from collections.abc import Callable, Sequence

import numpy
from torch import Tensor

from .contract import Denoiser, Walk, solver
from .levels import is_finite, log_snr, slope, toward

ADAMS_BASHFORTH = ((1,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))
"""The weights of the newest slope and those before it, for equal steps."""

NODES, WEIGHTS = numpy.polynomial.legendre.leggauss(16)


@solver(order=4)
def lms(denoiser: Denoiser, x: Tensor, walk: Walk, index: int) -> Tensor:
    """The linear multistep method of Adams and Bashforth for steps in sigma that are not equal (Crowson's k-diffusion).

    The slope is extrapolated by a polynomial in sigma through the newest `order` ones.
    """
    return extrapolated(denoiser, x, walk, index, lambda sigma: sigma, lambda sigma: True)


@solver(order=3)
def deis(denoiser: Denoiser, x: Tensor, walk: Walk, index: int) -> Tensor:
    """DEIS: Zhang and Chen 2022 (arXiv:2204.13902), equation 15, with the polynomial in log sigma / alpha.

    Of first order where that is infinite: to sigma 0 and from the pure noise of a flow model.
    """
    return extrapolated(
        denoiser, x, walk, index, lambda sigma: -log_snr(denoiser, sigma), lambda sigma: is_finite(denoiser, sigma)
    )


def extrapolated(
    denoiser: Denoiser,
    x: Tensor,
    walk: Walk,
    index: int,
    time: Callable[[float], float],
    finite: Callable[[float], bool],
) -> Tensor:
    """A step along a slope that is a polynomial in `time` through the newest slopes, integrated over sigma."""
    sigma, lower = walk.sigmas[index : index + 2]
    slopes = [slope(x, denoiser(x, sigma), sigma), *walk.memory.get("slopes", [])][: walk.options["order"]]
    walk.memory["slopes"] = slopes[: walk.options["order"] - 1]
    levels = [walk.sigmas[index - back] for back in range(len(slopes))]
    if not (finite(lower) and all(map(finite, levels))):
        levels = levels[:1]
    middle, half = (sigma + lower) / 2, (lower - sigma) / 2
    places = [time(middle + half * node) for node in NODES] if len(levels) > 1 else [0.0] * len(NODES)
    times = [time(level) for level in levels] if len(levels) > 1 else [0.0]
    for number, (own, seen) in enumerate(zip(times, slopes, strict=False)):
        others = [other for place, other in enumerate(times) if place != number]
        basis = [math.prod((at - other) / (own - other) for other in others) for at in places]
        x = x + seen * (half * sum(float(weight) * value for weight, value in zip(WEIGHTS, basis, strict=True)))
    return x


@solver()
def ipndm(denoiser: Denoiser, x: Tensor, walk: Walk, index: int) -> Tensor:
    """iPNDM: Zhang and Chen 2022 (arXiv:2204.13902), appendix H.2: Adams and Bashforth's weights for equal steps."""
    sigma, lower = walk.sigmas[index : index + 2]
    slopes = [slope(x, denoiser(x, sigma), sigma), *walk.memory.get("slopes", [])][:4]
    walk.memory["slopes"] = slopes[:3]
    return x + weighed(slopes) * (lower - sigma)


def weighed(slopes: Sequence[Tensor]) -> Tensor:
    weights = ADAMS_BASHFORTH[len(slopes) - 1]
    total = slopes[0] * weights[0]
    for weight, seen in zip(weights[1:], slopes[1:], strict=True):
        total = total + seen * weight
    return total


@solver(gamma=2.0)
def gradient_estimation(denoiser: Denoiser, x: Tensor, walk: Walk, index: int) -> Tensor:
    """Gradient estimation: Permenter and Yuan 2023 (arXiv:2306.04848), algorithm 2."""
    sigma, lower = walk.sigmas[index : index + 2]
    seen, before = slope(x, denoiser(x, sigma), sigma), walk.memory.get("slope")
    walk.memory["slope"] = seen
    if before is not None:
        seen = before + (seen - before) * walk.options["gamma"]
    return x + seen * (lower - sigma)


@solver()
def res_multistep(denoiser: Denoiser, x: Tensor, walk: Walk, index: int) -> Tensor:
    """The multistep solver of second order with phi functions: Zhang et al. 2023 (arXiv:2308.02157), algorithm 2.

    Of first order at the start, at sigma 0, and where lambda was infinite before.
    """
    sigma, lower = walk.sigmas[index : index + 2]
    clean, before = denoiser(x, sigma), walk.memory.get("clean")
    walk.memory["clean"] = clean
    if before is None or lower == 0 or not is_finite(denoiser, walk.sigmas[index - 1]):
        return toward(x, clean, sigma, lower)
    now = log_snr(denoiser, sigma)
    h = log_snr(denoiser, lower) - now
    c2 = (log_snr(denoiser, walk.sigmas[index - 1]) - now) / h
    phi1 = -math.expm1(-h) / h
    phi2 = (1 - phi1) / h
    there = x * (lower / sigma) + clean * (denoiser.alpha(lower) * h * (phi1 - phi2 / c2))
    return there + before * (denoiser.alpha(lower) * h * phi2 / c2)
