"""What a sampler is given and what it is: the denoiser, the walk down the noise levels, the table of all samplers.

A sample is `alpha * picture + sigma * noise`. For models that predict noise or velocity alpha is 1 (variance
exploding: Karras et al. 2022, arXiv:2206.00364), for flow models it is `1 - sigma`. In both, the probability flow ODE
is dx/dsigma = (x - picture) / sigma.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from torch import Tensor

from ..numerics import torch


class Denoiser(Protocol):
    """The model with its guidance, as samplers see it."""

    unconditional: Tensor | None
    """What the last call saw without the positive conditioning, [N, C, h, w]; None where guidance does not ask."""

    def alpha(self, sigma: float) -> float:
        """What a picture is multiplied by in a sample with noise `sigma`: 1, or 1 - sigma for flow models."""

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        """The clean picture that it sees in the samples `x` [N, C, h, w], whose noise has standard deviation sigma."""


Noise = Callable[[float, float], Tensor]
"""Standard normal noise [N, C, h, w] for the way from one sigma to a lower one."""


@dataclass
class Walk:
    """The way down: where the steps begin and end, where noise comes from, what is remembered between steps."""

    sigmas: tuple[float, ...]
    """The whole schedule, falling; the last may be 0. Step i goes from sigmas[i] to sigmas[i + 1]."""
    noise: Noise | None = None
    memory: dict[str, Any] = field(default_factory=dict)
    """Tensors, numbers, text, None, and lists of these."""
    options: Mapping[str, Any] = field(default_factory=dict)

    def drawn(self, x: Tensor, sigma: float, lower: float) -> Tensor:
        """Noise like `x`, times the option `s_noise`. Raises ValueError for a walk without noise."""
        if self.noise is None:
            raise ValueError("this sampler adds noise at every step: give it a source of noise")
        return self.noise(sigma, lower).to(x) * self.options.get("s_noise", 1.0)


Step = Callable[[Denoiser, Tensor, Walk, int], Tensor]


@dataclass(frozen=True)
class Solver:
    """A sampler: its step, and what can be said of it beforehand. The name is that of the step's function."""

    name: str
    step: Step
    """From sigmas[index] to sigmas[index + 1], with `(denoiser, x, walk, index)`. Never changes `x` in place."""
    defaults: Mapping[str, Any]
    """Its options with their defaults."""
    evaluations: int | None
    """How often a step calls the model, at most; None where that depends on the picture."""
    random: Literal[False, "gaussian", "brownian"]
    """The noise it takes: fresh at every draw, or increments of one path; drawn only where its options ask for it."""
    unconditional: bool
    """Whether it needs what the model sees without the positive conditioning."""

    def __call__(
        self, denoiser: Denoiser, x: Tensor, sigmas: Sequence[float], noise: Noise | None = None, **options: Any
    ) -> Tensor:
        """All steps down `sigmas`. Raises ValueError for options that it does not have."""
        unknown = sorted(options.keys() - self.defaults.keys())
        if unknown:
            has = ", ".join(self.defaults) or "none"
            raise ValueError(f"{self.name} has no option {', '.join(unknown)}; it has {has}")
        walk = Walk(tuple(map(float, sigmas)), noise, {}, {**self.defaults, **options})
        with torch.no_grad():
            for index in range(len(walk.sigmas) - 1):
                x = self.step(denoiser, x, walk, index)
        return x


SOLVERS: dict[str, Solver] = {}
"""All samplers by name."""


def solver(
    evaluations: int | None = 1,
    random: Literal[False, "gaussian", "brownian"] = False,
    unconditional: bool = False,
    **defaults: Any,
) -> Callable[[Step], Solver]:
    """Make a sampler of a function that makes one step, and enter it in the table under the function's name."""

    def entered(step: Step) -> Solver:
        name = str(getattr(step, "__name__", ""))
        SOLVERS[name] = Solver(name, step, defaults, evaluations, random, unconditional)
        return SOLVERS[name]

    return entered
