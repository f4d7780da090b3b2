"""Noise levels: what algorithms need of sigma and alpha, without ever dividing by zero at their ends.

With lambda = log(alpha / sigma), half the log of the signal-to-noise ratio: it rises on the way down, from minus
infinity at the pure noise of a flow model (sigma 1) to infinity at sigma 0.
"""

import math

from torch import Tensor

from .contract import Denoiser


def toward(x: Tensor, clean: Tensor, sigma: float, lower: float) -> Tensor:
    """The samples at `lower`, going straight for the clean picture: an Euler step of the ODE, which is DDIM's too.

    Exact where the model sees the same picture all the way; the same for both kinds of model, since
    alpha' - alpha sigma' / sigma is 1 - sigma' / sigma for either alpha.
    """
    return clean + (x - clean) * (lower / sigma)


def slope(x: Tensor, clean: Tensor, sigma: float) -> Tensor:
    """dx/dsigma of the ODE: the noise that the model sees, or the velocity of a flow model."""
    return (x - clean) / sigma


def noise_in(denoiser: Denoiser, x: Tensor, clean: Tensor, sigma: float) -> Tensor:
    """The noise that is in the samples, where `clean` is the picture in them."""
    return (x - clean * denoiser.alpha(sigma)) / sigma


def log_snr(denoiser: Denoiser, sigma: float) -> float:
    """Half the log of the signal-to-noise ratio, lambda."""
    alpha = denoiser.alpha(sigma)
    if sigma <= 0:
        return math.inf
    return math.log(alpha / sigma) if alpha > 0 else -math.inf


def shrink(denoiser: Denoiser, sigma: float, lower: float) -> float:
    """exp(-h), where h is by how much lambda rises from `sigma` to `lower`: between 0 and 1."""
    return lower * denoiser.alpha(sigma) / (sigma * denoiser.alpha(lower))


def relative(denoiser: Denoiser, sigma: float) -> float:
    """The noise relative to the picture, sigma / alpha; infinite at the pure noise of a flow model."""
    alpha = denoiser.alpha(sigma)
    return sigma / alpha if alpha > 0 else math.inf


def from_relative(denoiser: Denoiser, level: float) -> float:
    """The sigma whose noise relative to the picture is `level`."""
    return level / (1 + level) if is_flow(denoiser) else level


def between(denoiser: Denoiser, sigma: float, lower: float, part: float) -> float:
    """The sigma at that part of the way from `sigma` to `lower` in lambda, both of them finite there."""
    level = relative(denoiser, sigma) ** (1 - part) * relative(denoiser, lower) ** part
    return from_relative(denoiser, level)


def is_finite(denoiser: Denoiser, sigma: float) -> bool:
    """Whether lambda is finite: neither pure noise of a flow model, nor a clean picture."""
    return math.isfinite(log_snr(denoiser, sigma))


def is_flow(denoiser: Denoiser) -> bool:
    """Whether alpha is 1 - sigma, rather than 1."""
    return denoiser.alpha(1.0) < 0.5
