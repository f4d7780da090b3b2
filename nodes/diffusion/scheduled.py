"""Sampling by one of diffusers' schedulers, exactly as its pipelines use it."""

import inspect
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy
from torch import Tensor

from ..references import Model
from .evaluate import Evaluator
from .guiding import Share
from .noise_table import NoiseTable
from .numerics import DEVICE, torch

REMADE = {"_internal_dict", "noise_sampler", "tau_func"}
"""Attributes of schedulers that are no data: the configuration, Brownian paths, which grow again from their seed, and
a function that the configuration makes."""


class SchedulerWalk:
    """The way from noise to a picture in the steps of a scheduler; a move is one evaluation of the model.

    Samples are as the scheduler has them: for some a picture with noise added, for others that scaled to one variance.
    """

    def __init__(
        self, model: Model, scheduler: Any, steps: int, begin: int, generators: Sequence[torch.Generator]
    ) -> None:
        self.scheduler, self.steps, self.generators = scheduler, steps, generators
        if not hasattr(scheduler, "config"):
            raise TypeError(f"{type(scheduler).__name__} is no scheduler of diffusers")
        scheduler.set_timesteps(steps, device=DEVICE)
        self.timesteps = scheduler.timesteps
        self.begin, self.model = begin, model
        self._options: dict[str, Any] | None = None

    @cached_property
    def table(self) -> NoiseTable:
        return NoiseTable(self.model)

    @property
    def schedule(self) -> object:
        """What decides all that it does, but for the samples and the random numbers."""
        config = {name: value for name, value in self.scheduler.config.items() if not name.startswith("_")}
        return [type(self.scheduler).__name__, config, self.timesteps.cpu(), self.steps, self.begin]

    def move(self, step: int) -> int:
        """How many evaluations are made before a step: a scheduler may need several a step, or one more than steps."""
        return len(self.timesteps) if step >= self.steps else min(step * self.scheduler.order, len(self.timesteps))

    def sigma(self, move: int) -> float:
        """The noise level before an evaluation."""
        return 0.0 if move >= len(self.timesteps) else self.table.sigma(float(self.timesteps[move]))

    def scale(self, move: int) -> float:
        """What a picture with noise added is multiplied by to be a sample."""
        if self.model.prediction == "flow" or getattr(self.scheduler, "init_noise_sigma", 1.0) != 1.0:
            return 1.0
        return 1 / (1 + self.sigma(move) ** 2) ** 0.5

    def from_noise(self, noise: Tensor) -> Tensor:
        """The samples that a picture is drawn from, where there is none yet."""
        return noise * getattr(self.scheduler, "init_noise_sigma", 1.0)

    def noised(self, picture: Tensor, noise: Tensor, move: int) -> Tensor:
        """The samples of a picture before an evaluation; without noise after the last."""
        if move >= len(self.timesteps):
            return picture
        times = self.timesteps[move : move + 1].repeat(len(picture))
        if hasattr(self.scheduler, "scale_noise"):
            scaled: Tensor = self.scheduler.scale_noise(picture, times[:1], noise)
            return scaled
        if not hasattr(self.scheduler, "add_noise"):
            name = type(self.scheduler).__name__
            raise ValueError(f"{name} cannot add noise to a picture, it only starts from an empty latent")
        added: Tensor = self.scheduler.add_noise(picture, noise, times)
        return added

    def enter(self, move: int) -> None:
        """Begin at another evaluation than the first."""
        if hasattr(self.scheduler, "set_begin_index"):
            self.scheduler.set_begin_index(move)

    def __call__(self, evaluate: Evaluator, samples: Tensor, move: int) -> Tensor:
        if self._options is None:
            self._options = _step_options(self.scheduler, self.generators)
        timestep = self.timesteps[move]
        first = self.move(self.begin)
        share = Share(move - first, len(self.timesteps) - first)
        scaled = samples
        if hasattr(self.scheduler, "scale_model_input"):
            scaled = self.scheduler.scale_model_input(samples, timestep)
        prediction = evaluate(scaled, timestep, share)
        taken: Tensor = self.scheduler.step(prediction, timestep, samples, **self._options, return_dict=False)[0]
        return taken

    def state(self) -> Mapping[str, Any] | None:
        """What the scheduler remembers, on the CPU; None where it is no data, so nobody could take it up again."""
        attributes = {name: value for name, value in vars(self.scheduler).items() if name not in REMADE}
        if not all(map(_is_data, attributes.values())):
            return None
        return {
            "attributes": {name: _moved(value, torch.device("cpu")) for name, value in attributes.items()},
            "on_device": tuple(name for name, value in attributes.items() if _is_on_device(value)),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on as the scheduler would have whose `state` this is."""
        for name, value in state["attributes"].items():
            device = DEVICE if name in state["on_device"] else torch.device("cpu")
            setattr(self.scheduler, name, _moved(value, device))


def _step_options(scheduler: Any, generators: Sequence[torch.Generator]) -> dict[str, Any]:
    """What the scheduler's `step` takes besides: its share of the randomness, and eta (only DDIM's noise; none)."""
    if getattr(scheduler, "noise_sampler_seed", 0) is None:
        # This scheduler would seed its Brownian paths from torch's global generator. A pipeline that is given that
        # generator (`generator=torch.manual_seed(1)`) draws the path's seed from it after the noise, just as here.
        scheduler.noise_sampler_seed = [
            int(torch.randint(0, 2**63 - 1, [], generator=generator)) for generator in generators
        ]
    taken = inspect.signature(scheduler.step).parameters
    offered = {"eta": 0.0, "generator": generators[0] if len(generators) == 1 else list(generators)}
    return {name: value for name, value in offered.items() if name in taken}


def _is_data(value: Any) -> bool:
    """Whether an attribute comes back as it is, down to how its numbers lie in memory."""
    if type(value) in (list, tuple):
        return all(map(_is_data, value))
    if type(value) is Tensor:
        return value.is_contiguous()
    return value is None or type(value) in (bool, int, float, str, numpy.ndarray)


def _is_on_device(value: Any) -> bool:
    if type(value) in (list, tuple):
        return any(map(_is_on_device, value))
    return type(value) is Tensor and value.device.type != "cpu"


def _moved(value: Any, device: torch.device) -> Any:
    """A copy of an attribute that nothing else changes, its tensors on a device."""
    if type(value) in (list, tuple):
        return type(value)(_moved(item, device) for item in value)
    if type(value) is Tensor:
        return value.detach().to(device, copy=True)
    return value.copy() if type(value) is numpy.ndarray else value
