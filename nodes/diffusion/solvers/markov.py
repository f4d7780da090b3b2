"""Samplers of the diffusion as a Markov chain, and of models that see the picture at once."""

from torch import Tensor

from .ancestral import descended
from .contract import Denoiser, Walk, solver


@solver(random="gaussian", eta=0.0, s_noise=1.0)
def ddim(denoiser: Denoiser, x: Tensor, walk: Walk, index: int) -> Tensor:
    """DDIM: Song et al. 2020 (arXiv:2010.02502), equation 12 with the deviation of equation 16."""
    return descended(denoiser, x, walk, index, walk.options["eta"])


@solver(random="gaussian", s_noise=1.0)
def ddpm(denoiser: Denoiser, x: Tensor, walk: Walk, index: int) -> Tensor:
    """Ancestral sampling: Ho et al. 2020 (arXiv:2006.11239), algorithm 2, with the variance of equation 7."""
    return descended(denoiser, x, walk, index, 1.0)


@solver(random="gaussian", s_noise=1.0)
def lcm(denoiser: Denoiser, x: Tensor, walk: Walk, index: int) -> Tensor:
    """Multistep consistency sampling: Luo et al. 2023 (arXiv:2310.04378), algorithm 3, after Song et al. 2023."""
    sigma, lower = walk.sigmas[index : index + 2]
    clean = denoiser(x, sigma)
    return clean * denoiser.alpha(lower) + walk.drawn(x, sigma, lower) * lower if lower > 0 else clean
