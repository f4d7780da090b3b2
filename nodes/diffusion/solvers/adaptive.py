"""DPM-Solver with steps as long as their error allows."""

import math

from torch import Tensor

from .contract import Denoiser, Walk, solver
from .levels import from_relative, is_finite, log_snr, toward

SHORT = 1e-3
"""How far from the pure noise of a flow model lambda is first used."""


@solver(evaluations=None, rtol=0.05, atol=0.0078, h_init=0.05, pcoeff=0.0, icoeff=1.0, dcoeff=0.0, accept_safety=0.81)
def dpm_adaptive(denoiser: Denoiser, x: Tensor, walk: Walk, index: int) -> Tensor:
    """DPM-Solver-23: Lu et al. 2022 (arXiv:2206.00927), appendix C, with the step control of Crowson's k-diffusion.

    It goes from sigma to sigma in steps of its own, whose length and error history it remembers. A step of order 3 is
    accepted where it differs from that of order 2, in units of `atol + rtol |x|`, by less than `accept_safety` says;
    the next length follows from the last three errors (a PID controller). To sigma 0, and a thousandth away from the
    pure noise of a flow model, it makes a step of order 1.
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
        low, high = _steps(denoiser, x, at, taken)
        tolerance = (options["rtol"] * _maximum(low, before)).clamp(min=options["atol"])
        error = float(((low - high) / tolerance).square().mean().sqrt())
        factor, errors_if = _controlled(error, errors, options)
        accepted = factor >= options["accept_safety"]
        if accepted:
            x, before, at, errors = high, low, at + taken, errors_if
        if not accepted or taken == h:  # one cut short by the end of the way says little of how long steps may be
            h = taken * factor
        elif factor * taken > h:
            h = taken * factor
    memory |= {"h": h, "errors": errors, "before": before}
    return x
