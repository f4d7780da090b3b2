"""DPM-Solver++: exponential integrators of the clean picture (Lu et al. 2022, arXiv:2211.01095), and as SDEs."""

import math

from torch import Tensor

from .ancestral import below, renoised
from .contract import Denoiser, Walk, solver
from .levels import between, is_finite, log_snr, shrink, toward


def rise(denoiser: Denoiser, walk: Walk, index: int) -> float:
    """h: by how much lambda rises in a step; infinite at the pure noise of a flow model and to sigma 0."""
    return log_snr(denoiser, walk.sigmas[index + 1]) - log_snr(denoiser, walk.sigmas[index])


@solver()
def dpmpp_2m(denoiser: Denoiser, x: Tensor, walk: Walk, index: int) -> Tensor:
    """DPM-Solver++(2M): Lu et al. 2022 (arXiv:2211.01095), algorithm 2. Of first order at the start and at sigma 0."""
    sigma, lower = walk.sigmas[index : index + 2]
    clean, before = denoiser(x, sigma), walk.memory.get("clean")
    walk.memory["clean"] = clean
    if before is None or lower == 0:
        return toward(x, clean, sigma, lower)
    ratio = rise(denoiser, walk, index) / rise(denoiser, walk, index - 1)
    return toward(x, clean + (clean - before) * (ratio / 2), sigma, lower)


@solver(evaluations=2, random="gaussian", eta=1.0, s_noise=1.0)
def dpmpp_2s_ancestral(denoiser: Denoiser, x: Tensor, walk: Walk, index: int) -> Tensor:
    """DPM-Solver++(2S): Lu et al. 2022 (arXiv:2211.01095), algorithm 1 with r = 1/2, with ancestral steps.

    Of first order where lambda is infinite: to sigma 0 and from the pure noise of a flow model.
    """
    sigma, lower = walk.sigmas[index : index + 2]
    down, scale, up = below(denoiser, sigma, lower, walk.options["eta"])
    clean = denoiser(x, sigma)
    if is_finite(denoiser, sigma) and is_finite(denoiser, down):
        middle = between(denoiser, sigma, down, 0.5)
        clean = denoiser(toward(x, clean, sigma, middle), middle)
    return renoised(toward(x, clean, sigma, down), walk, sigma, lower, scale, up)


@solver(evaluations=2, random="brownian", eta=1.0, s_noise=1.0, r=0.5)
def dpmpp_sde(denoiser: Denoiser, x: Tensor, walk: Walk, index: int) -> Tensor:
    """DPM-Solver++(2S) as an SDE (Crowson's k-diffusion): noise is added at the inner point, too.

    The inner point is at the part `r` of the way in lambda. Of first order where lambda is infinite: to sigma 0 and
    from the pure noise of a flow model.
    """
    sigma, lower = walk.sigmas[index : index + 2]
    eta, part = walk.options["eta"], walk.options["r"]
    clean = denoiser(x, sigma)
    if is_finite(denoiser, sigma) and is_finite(denoiser, lower):
        middle = between(denoiser, sigma, lower, part)
        down, scale, up = below(denoiser, sigma, middle, eta)
        inner = renoised(toward(x, clean, sigma, down), walk, sigma, middle, scale, up)
        clean = clean + (denoiser(inner, middle) - clean) / (2 * part)
    down, scale, up = below(denoiser, sigma, lower, eta)
    return renoised(toward(x, clean, sigma, down), walk, sigma, lower, scale, up)


@solver(random="brownian", eta=1.0, s_noise=1.0, solver_type="midpoint")
def dpmpp_2m_sde(denoiser: Denoiser, x: Tensor, walk: Walk, index: int) -> Tensor:
    """SDE-DPM-Solver++(2M): Lu et al. 2022 (arXiv:2211.01095), appendix D.6; with eta between the ODE (0) and it (1).

    `solver_type` is how the slope of the clean picture is weighed: `midpoint` as in the paper, `heun` exactly.
    """
    sigma, lower = walk.sigmas[index : index + 2]
    clean, before = denoiser(x, sigma), walk.memory.get("clean")
    walk.memory["clean"] = clean
    drift = _Drift(denoiser, walk, index)
    there = drift.kept * x + drift.gained * clean
    if before is not None and lower > 0:
        weight = {"midpoint": drift.gained / 2, "heun": drift.second}[walk.options["solver_type"]]
        there = there + (clean - before) * (weight * drift.h / rise(denoiser, walk, index - 1))
    return there + walk.drawn(x, sigma, lower) * drift.up if drift.up > 0 else there


@solver(random="brownian", eta=1.0, s_noise=1.0)
def dpmpp_3m_sde(denoiser: Denoiser, x: Tensor, walk: Walk, index: int) -> Tensor:
    """SDE-DPM-Solver++(3M) (Crowson's k-diffusion), with three pictures instead of the two of `dpmpp_2m_sde`.

    The quadratic term is weighed as DPM-Solver's authors weigh it in their code, which is half of what interpolation
    gives: the error falls with the second power of the step, if with a smaller constant.
    """
    sigma, lower = walk.sigmas[index : index + 2]
    before = walk.memory.get("cleans", [])
    clean = denoiser(x, sigma)
    walk.memory["cleans"] = [clean, *before[:1]]
    drift = _Drift(denoiser, walk, index)
    there = drift.kept * x + drift.gained * clean
    if before and lower > 0:
        inverse = drift.h / rise(denoiser, walk, index - 1)
        first = (clean - before[0]) * inverse
        if len(before) > 1 and inverse > 0:
            near, far = 1 / inverse, rise(denoiser, walk, index - 2) / drift.h
            second = (first - (before[0] - before[1]) / far) / (near + far)
            there = there + second * drift.third
            first = first + second * near
        there = there + first * drift.second
    return there + walk.drawn(x, sigma, lower) * drift.up if drift.up > 0 else there


class _Drift:
    """What a step of the SDE in lambda does: x' = kept x + gained picture + noise of deviation `up`.

    `second` and `third` weigh the picture's first and second difference. All are finite even where h is not.
    """

    def __init__(self, denoiser: Denoiser, walk: Walk, index: int) -> None:
        sigma, lower = walk.sigmas[index : index + 2]
        eta, alpha, ratio = walk.options["eta"], denoiser.alpha(lower), shrink(denoiser, sigma, lower)
        self.h = rise(denoiser, walk, index)
        self.kept = lower / sigma * ratio**eta
        self.gained = alpha * (1 - ratio ** (1 + eta))
        self.up = lower * math.sqrt(1 - ratio ** (2 * eta))
        whole = self.h * (1 + eta)
        self.second = alpha - self.gained / whole
        self.third = alpha / 2 - self.second / whole
