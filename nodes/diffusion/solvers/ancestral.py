"""Ancestral sampling: go below the next noise level along the ODE, and add noise up to it."""

import math

from torch import Tensor

from .contract import Denoiser, Walk, solver
from .levels import from_relative, relative, shrink, toward


def below(denoiser: Denoiser, sigma: float, lower: float, eta: float) -> tuple[float, float, float]:
    """Where to go along the ODE (a sigma), what to multiply the samples there by, and the noise to add, for `lower`.

    In noise relative to the picture, k = sigma / alpha: the share of noise that is new is eta sqrt(1 - (k' / k)^2),
    that of DDPM for eta 1, as in Song et al. 2020 (DDIM, arXiv:2010.02502), equation 16. For alpha 1 this is
    k-diffusion's ancestral step. For a flow model the sample with less noise has more of the picture in it, so it is
    scaled back by alpha' / alpha.
    """
    new = min(1.0, eta * math.sqrt(1 - min(1.0, shrink(denoiser, sigma, lower)) ** 2))
    down = from_relative(denoiser, relative(denoiser, lower) * math.sqrt(1 - new**2))
    return down, denoiser.alpha(lower) / denoiser.alpha(down), new * lower


def renoised(x: Tensor, walk: Walk, sigma: float, lower: float, scale: float, up: float) -> Tensor:
    """The samples at `lower`, from those that went below it: scaled, with noise of deviation `up` added."""
    return x * scale + walk.drawn(x, sigma, lower) * up if up > 0 else x * scale


def descended(denoiser: Denoiser, x: Tensor, walk: Walk, index: int, eta: float) -> Tensor:
    """The samples after step `index`: by Euler's method to below the next noise level, with noise added up to it."""
    sigma, lower = walk.sigmas[index : index + 2]
    down, scale, up = below(denoiser, sigma, lower, eta)
    return renoised(toward(x, denoiser(x, sigma), sigma, down), walk, sigma, lower, scale, up)


@solver(random="gaussian", eta=1.0, s_noise=1.0)
def euler_ancestral(denoiser: Denoiser, x: Tensor, walk: Walk, index: int) -> Tensor:
    """Euler's method with ancestral steps (Crowson's k-diffusion); for eta 1 the same as DDPM, for eta 0 as Euler."""
    return descended(denoiser, x, walk, index, walk.options["eta"])
