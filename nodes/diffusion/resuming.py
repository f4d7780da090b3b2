"""Sampling that was stopped goes on where it stood, to the same bits."""

import time
from collections.abc import Sequence
from typing import Any

import numpy
from torch import Tensor

from latentgraph.engine.context import Context
from latentgraph.engine.digest import digest

from ..states import SamplingState
from .noise import saved, set_state
from .numerics import DEVICE, torch

PAUSE = 2.0
"""Seconds from one state that is kept to the next, at least."""

SHARE = 0.02
"""The share of the time that keeping states may take, at most."""

REMADE = {"_internal_dict", "noise_sampler", "tau_func"}
"""Attributes of schedulers that are no data: the configuration, Brownian paths, which grow again from their seed, and
a function that the configuration makes."""


class Resuming:
    """Keeps the state of one sampling now and then, and gives back the one that was kept.

    `covered` is everything that decides the state but how many evaluations were made: the whole schedule too, because
    solvers look ahead to the last steps.
    """

    def __init__(
        self, context: Context, scheduler: Any, generators: Sequence[torch.Generator], covered: object
    ) -> None:
        self.context, self.scheduler, self.generators = context, scheduler, generators
        self.key = digest(covered)
        self.next = time.monotonic() + PAUSE

    def resumed(self) -> tuple[int, Tensor] | None:
        """How many evaluations were made, and the samples then; scheduler and generators stand as they did.

        None where nothing was kept.
        """
        state = self.context.resume([self.key])
        if not isinstance(state, SamplingState):
            return None
        for name, value in state.scheduler.items():
            setattr(self.scheduler, name, _moved(value, DEVICE if name in state.on_device else torch.device("cpu")))
        for generator, content in zip(self.generators, state.generators, strict=True):
            set_state(generator, content)
        return state.evaluations, state.samples.to(DEVICE)

    def reached(self, evaluations: int, samples: Tensor) -> None:
        """Say how far it is; kept where it is time to, and before a cancelled run ends."""
        started = time.monotonic()
        if started < self.next and not self.context.cancelled:
            return
        attributes = {name: value for name, value in vars(self.scheduler).items() if name not in REMADE}
        if all(map(_is_data, [samples, *attributes.values()])):  # else nobody could take the scheduler up again
            cpu = torch.device("cpu")
            state = SamplingState(
                evaluations,
                _moved(samples, cpu),
                {name: _moved(value, cpu) for name, value in attributes.items()},
                tuple(name for name, value in attributes.items() if _is_on_device(value)),
                saved(self.generators),
            )
            self.context.save(self.key, state)
        finished = time.monotonic()
        self.next = finished + max(PAUSE, (finished - started) / SHARE)


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
