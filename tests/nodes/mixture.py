"""A distribution of pictures of which everything is known: a mixture of Gaussians, and the denoiser that is exact."""

from collections.abc import Callable, Sequence

import torch
from scipy.integrate import solve_ivp
from torch import Tensor

WEIGHTS = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
MEANS = torch.tensor([[0.8, 0.5], [-0.9, 0.4], [0.2, -1.0]], dtype=torch.float64)
SPREADS = torch.tensor([0.5, 0.4, 0.6], dtype=torch.float64)

MEAN = WEIGHTS @ MEANS
COVARIANCE = torch.einsum("k,ki,kj->ij", WEIGHTS, MEANS - MEAN, MEANS - MEAN) + (
    WEIGHTS * SPREADS**2
).sum() * torch.eye(2)


class Exact:
    """The mean of all pictures that may be behind a sample. Pictures are points: f64[N, 2, h, w] has N h w of them."""

    def __init__(self, flow: bool = False) -> None:
        self.flow, self.calls = flow, 0
        self.unconditional: Tensor | None = None

    def alpha(self, sigma: float) -> float:
        return 1 - sigma if self.flow else 1.0

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        self.calls += 1
        alpha = self.alpha(sigma)
        away = x[:, None] - alpha * MEANS[:, :, None, None]
        variance = (alpha**2 * SPREADS**2 + sigma**2)[:, None, None]
        logs = WEIGHTS.log()[:, None, None] - variance.log() - away.square().sum(2) / (2 * variance)
        share = logs.softmax(1)[:, :, None]
        gain = (alpha * SPREADS**2)[:, None, None] / variance
        self.unconditional = (share * (MEANS[:, :, None, None] + gain[:, None] * away)).sum(1)
        return self.unconditional


def noisy(count: int, sigma: float, flow: bool = False, seed: int = 0) -> Tensor:
    """Points with noise sigma, f64[1, 2, 1, count]."""
    generator = torch.Generator().manual_seed(seed)
    which = torch.multinomial(WEIGHTS, count, replacement=True, generator=generator)
    draw = torch.randn(2, count, 2, generator=generator, dtype=torch.float64)
    points = MEANS[which] + SPREADS[which, None] * draw[0]
    return ((1 - sigma if flow else 1) * points + sigma * draw[1]).T.reshape(1, 2, 1, count)


def solution(x: Tensor, sigmas: Sequence[float], flow: bool = False) -> list[Tensor]:
    """Where the probability flow ODE takes `x` at each of the noise levels, to 12 digits."""
    exact = Exact(flow)

    def slope(sigma: float, flat: object) -> object:
        there = torch.tensor(flat, dtype=torch.float64).reshape(x.shape)
        return ((there - exact(there, sigma)) / sigma).flatten().numpy()

    found = solve_ivp(
        slope, (sigmas[0], sigmas[-1]), x.flatten().numpy(), method="DOP853", t_eval=sigmas, rtol=1e-12, atol=1e-13
    )
    return [torch.tensor(column).reshape(x.shape) for column in found.y.T]


Spacing = Callable[[float, float, int], list[float]]


def evenly(first: float, last: float, steps: int) -> list[float]:
    return [first + (last - first) * step / steps for step in range(steps + 1)]


def geometrically(first: float, last: float, steps: int) -> list[float]:
    return [float(first * (last / first) ** (step / steps)) for step in range(steps + 1)]
