"""Sampling by latentgraph's own samplers: one short function to each published algorithm, on a list of sigmas."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ..ports import Sampler
from ..references import Model
from .evaluate import Evaluator
from .guiding import Share
from .noise import Brownian, Gaussian
from .noise_table import NoiseTable
from .numerics import DEVICE, torch
from .solvers import SOLVERS, Walk


class SigmaWalk:
    """The way from noise to a picture down a list of sigmas; a move is a step.

    Samples are a picture with noise of standard deviation sigma added, or for a flow model `(1 - sigma) * picture +
    sigma * noise`.
    """

    def __init__(
        self,
        model: Model,
        sampler: Sampler,
        sigmas: tuple[float, ...],
        begin: int,
        generators: Sequence[torch.Generator],
        shape: Sequence[int],
    ) -> None:
        self.sampler, self.begin, self.steps = sampler, begin, len(sigmas) - 1
        self.table = NoiseTable(model)
        self.solver = SOLVERS[sampler.name]
        memory: dict[str, Any] = {}
        noise = {
            False: None,
            "gaussian": lambda: Gaussian(generators, shape),
            "brownian": lambda: Brownian(generators, shape, sigmas, memory),
        }[self.solver.random]
        options = {**self.solver.defaults, **dict(sampler.options)}
        self.walk = Walk(sigmas, noise() if noise else None, memory, options)

    @property
    def schedule(self) -> object:
        """What decides all that it does, but for the samples and the random numbers."""
        return [self.sampler, self.walk.sigmas, self.begin]

    def move(self, step: int) -> int:
        return step

    def sigma(self, move: int) -> float:
        """The noise level before a step."""
        return self.walk.sigmas[move]

    def scale(self, move: int) -> float:
        """What a picture with noise added is multiplied by to be a sample."""
        return 1.0

    def from_noise(self, noise: Tensor) -> Tensor:
        """The samples that a picture is drawn from, where there is none yet: of the variance that pictures add."""
        sigma = self.sigma(self.begin)
        return noise * (sigma if self.table.flow else (1 + sigma**2) ** 0.5)

    def noised(self, picture: Tensor, noise: Tensor, move: int) -> Tensor:
        """The samples of a picture before a step; without noise after the last."""
        sigma = self.sigma(move)
        return self.table.alpha(sigma) * picture + sigma * noise

    def enter(self, move: int) -> None:
        """Begin at another step than the first."""

    def __call__(self, evaluate: Evaluator, samples: Tensor, move: int) -> Tensor:
        denoiser = Denoiser(self.table, evaluate, Share(move - self.begin, self.steps - self.begin))
        return self.solver.step(denoiser, samples, self.walk, move)

    def state(self) -> Mapping[str, Any]:
        """What the sampler remembers, on the CPU."""
        return dict(_moved(self.walk.memory, torch.device("cpu")))

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on as the sampler would have whose `state` this is."""
        self.walk.memory.clear()
        self.walk.memory.update(_moved(state, DEVICE))


class Denoiser:
    """The clean picture that a guided model sees in samples; what samplers call."""

    def __init__(self, table: NoiseTable, evaluate: Evaluator, share: Share) -> None:
        self.table, self.evaluate, self.share = table, evaluate, share
        self.unconditional: Tensor | None = None

    def alpha(self, sigma: float) -> float:
        return self.table.alpha(sigma)

    def __call__(self, samples: Tensor, sigma: float) -> Tensor:
        timestep = torch.tensor(self.table.timestep(sigma), device=samples.device)
        predicted = self.evaluate(self.table.scaled_input(samples, sigma), timestep, self.share)
        beside = self.evaluate.unconditional
        self.unconditional = None if beside is None else self.table.from_prediction(samples, sigma, beside)
        return self.table.from_prediction(samples, sigma, predicted)


def _moved(value: Any, device: torch.device) -> Any:
    """A copy of what a sampler remembers, its tensors on a device."""
    if isinstance(value, Mapping):
        return {name: _moved(item, device) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_moved(item, device) for item in value)
    return value.detach().to(device, copy=True).contiguous() if isinstance(value, Tensor) else value
