"""Sampling that was stopped goes on where it stood, to the same bits."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from latentgraph.engine.context import Context
from latentgraph.engine.digest import digest

from ..states import SamplingState
from .noise import saved, set_state
from .numerics import torch

PAUSE = 2.0
"""Seconds from one state that is kept to the next, at least."""

SHARE = 0.02
"""The share of the time that keeping states may take, at most."""


class Resuming:
    """Keeps the state of one sampling now and then, and gives back the one that was kept.

    `covered` is everything that decides the state but how many moves were made: the whole schedule too, because
    solvers look ahead to the last steps.
    """

    def __init__(self, context: Context, generators: Sequence[torch.Generator], covered: object) -> None:
        self.context, self.generators = context, generators
        self.key = digest(covered)
        self.next = time.monotonic() + PAUSE

    def resumed(self, moves: int) -> SamplingState | None:
        """What was kept after at most so many moves; the generators stand as they did. None where nothing was.

        A longer sampling of the same keeps its states in the same place, and may have come further.
        """
        state = self.context.resume([self.key])
        if not isinstance(state, SamplingState) or state.moves > moves:
            return None
        for generator, content in zip(self.generators, state.generators, strict=True):
            set_state(generator, content)
        return state

    def reached(self, moves: int, samples: Tensor, state: Callable[[], Mapping[str, Any] | None]) -> None:
        """Say how far it is; kept where it is time to, and before a cancelled run ends.

        Where `state` is None, or the samples lie otherwise in memory than they would come back, nothing is kept.
        """
        started = time.monotonic()
        if started < self.next and not self.context.cancelled:
            return
        remembered = state()
        if remembered is not None and samples.is_contiguous():
            kept = SamplingState(moves, samples.detach().to("cpu", copy=True), remembered, saved(self.generators))
            self.context.save(self.key, kept)
        finished = time.monotonic()
        self.next = finished + max(PAUSE, (finished - started) / SHARE)
