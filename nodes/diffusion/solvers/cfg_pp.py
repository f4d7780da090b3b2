"""CFG++: the guided picture, with the noise that the model sees without guidance (Chung et al. 2024, arXiv:2406.08070).

Its scale is to be between 0 and 1. Where guidance evaluates no negative, the positive stands for it.
"""

from torch import Tensor

from .ancestral import below, renoised
from .contract import Denoiser, Walk, solver
from .dpmpp import rise
from .levels import noise_in, shrink


def unguided(denoiser: Denoiser, clean: Tensor) -> Tensor:
    """What the last call saw without guidance."""
    return clean if denoiser.unconditional is None else denoiser.unconditional


@solver(unconditional=True)
def euler_cfg_pp(denoiser: Denoiser, x: Tensor, walk: Walk, index: int) -> Tensor:
    """DDIM with CFG++: Chung et al. 2024 (arXiv:2406.08070), algorithm 1."""
    sigma, lower = walk.sigmas[index : index + 2]
    return renoised_by(denoiser, x, denoiser(x, sigma), sigma, lower)


@solver(random="gaussian", unconditional=True, eta=1.0, s_noise=1.0)
def euler_ancestral_cfg_pp(denoiser: Denoiser, x: Tensor, walk: Walk, index: int) -> Tensor:
    """`euler_ancestral` with CFG++: Chung et al. 2024 (arXiv:2406.08070), appendix C."""
    sigma, lower = walk.sigmas[index : index + 2]
    down, scale, up = below(denoiser, sigma, lower, walk.options["eta"])
    there = renoised_by(denoiser, x, denoiser(x, sigma), sigma, down)
    return renoised(there, walk, sigma, lower, scale, up)


@solver(unconditional=True)
def dpmpp_2m_cfg_pp(denoiser: Denoiser, x: Tensor, walk: Walk, index: int) -> Tensor:
    """`dpmpp_2m` with CFG++: Chung et al. 2024 (arXiv:2406.08070), appendix C.

    The slope of the picture is that of what is seen without guidance, too.
    """
    sigma, lower = walk.sigmas[index : index + 2]
    clean, before = denoiser(x, sigma), walk.memory.get("unguided")
    without = unguided(denoiser, clean)
    walk.memory["unguided"] = without
    there = renoised_by(denoiser, x, clean, sigma, lower)
    if before is None or lower == 0:
        return there
    ratio = rise(denoiser, walk, index) / rise(denoiser, walk, index - 1)
    share = denoiser.alpha(lower) * (1 - shrink(denoiser, sigma, lower))
    return there + (without - before) * (share * ratio / 2)


def renoised_by(denoiser: Denoiser, x: Tensor, clean: Tensor, sigma: float, lower: float) -> Tensor:
    """The guided picture with the noise that is seen without guidance, at `lower`."""
    noise = noise_in(denoiser, x, unguided(denoiser, clean), sigma)
    return clean * denoiser.alpha(lower) + noise * lower
