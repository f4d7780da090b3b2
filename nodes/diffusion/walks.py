"""Which way a sampling takes: latentgraph's own samplers down a list of sigmas, or a scheduler of diffusers."""

from collections.abc import Sequence

from ..ports import Sampler
from ..references import Model
from .denoise import Walk
from .native import SigmaWalk
from .numerics import torch
from .samplers import PREFIX, resolved
from .scheduled import SchedulerWalk
from .schedulers import new_scheduler
from .sigmas import sigmas_for
from .solvers import SOLVERS


def new_walk(
    model: Model,
    sampler: str,
    scheduler: str,
    steps: int,
    begin: int,
    generators: Sequence[torch.Generator],
    shape: Sequence[int],
) -> Walk:
    """The way in `steps` steps without the first `begin`, for samples [N, *shape].

    Raises ValueError for names that are not there, or do not go together.
    """
    name, spacing = resolved(sampler, scheduler)
    if name in SOLVERS:
        sigmas = sigmas_for(model, spacing, steps)
        return SigmaWalk(model, Sampler(name), sigmas, begin, generators, shape)
    return SchedulerWalk(model, new_scheduler(model, name, spacing), steps, begin, generators)


def walk_down(
    model: Model,
    sampler: Sampler,
    sigmas: tuple[float, ...],
    generators: Sequence[torch.Generator],
    shape: Sequence[int],
) -> Walk:
    """The way down a list of sigmas. Raises ValueError for a scheduler of diffusers, which has sigmas of its own."""
    if sampler.name not in SOLVERS:
        raise ValueError(
            f"{sampler.name} makes its own sigmas: with KSampler it can be used, or choose one of"
            f" {', '.join(SOLVERS)}; {PREFIX} names are schedulers of diffusers"
        )
    return SigmaWalk(model, sampler, sigmas, 0, generators, shape)
