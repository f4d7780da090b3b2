"""The forward process: what noise makes of data, step by step or in one jump."""

from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING

import diffusers
from torch import Tensor

from latentgraph.engine.node import Wrong

from ..plots.data import Table, table
from .numerics import torch
from .schedulers import own_scheduler

if TYPE_CHECKING:
    from latentgraph.engine.context import Context

    from ..noising import ForwardStatistics, NoiseImage, NoiseSchedule


def schedule(node: "NoiseSchedule") -> tuple[Table, float, int]:
    """What the node NoiseSchedule gives. Raises Wrong for a model whose scheduler has no betas."""
    if node.model is None:
        scheduler = diffusers.DDPMScheduler(
            num_train_timesteps=node.steps,
            beta_start=node.beta_start,
            beta_end=node.beta_end,
            beta_schedule=node.kind,
            rescale_betas_zero_snr=node.zero_terminal_snr,
        )
    else:
        scheduler = own_scheduler(node.model)
        if getattr(scheduler, "betas", None) is None:
            raise Wrong("model", f"the model's {type(scheduler).__name__} has no betas: its noise is of another kind")
        if node.zero_terminal_snr:
            scheduler = diffusers.DDPMScheduler.from_config(scheduler.config, rescale_betas_zero_snr=True)
    betas, kept = scheduler.betas, scheduler.alphas_cumprod
    ratio = kept / (1 - kept)
    columns = {
        "timestep": list(range(len(betas))),
        "beta": betas.tolist(),
        "alpha bar": kept.tolist(),
        "SNR": ratio.tolist(),
        "sigma": (ratio**-0.5).tolist(),
    }
    return table(columns), float(kept[-1] ** 0.5), int((ratio >= 1).sum())


def noised(node: "NoiseImage") -> Tensor:
    """What the node NoiseImage gives. Raises Wrong for timesteps that do not rise or are not there."""
    betas, kept = _read(node.schedule)
    times = node.timesteps
    if not times or list(times) != sorted(set(times)) or times[0] < 0 or times[-1] >= len(betas):
        raise Wrong("timesteps", f"{list(times)} are no rising timesteps from 0 to {len(betas) - 1}")
    start = node.image.pixels[0, :3] * 2 - 1
    if node.way == "in one jump":
        generator = torch.Generator().manual_seed(node.seed)
        found = [jump(start, kept[time], generator) for time in times]
    else:
        found = [x for time, x in enumerate(chain(start, betas[: times[-1] + 1], node.seed)) if time in times]
    return (torch.stack(found) / 2 + 0.5).clamp(0, 1)


def statistics(node: "ForwardStatistics", context: "Context") -> Table:
    """What the node ForwardStatistics gives."""
    betas, kept = _read(node.schedule)
    start = torch.full((node.samples,), node.start)
    if node.way == "closed form":
        means, variances = (kept.sqrt() * node.start).tolist(), (1 - kept).tolist()
    else:
        generator = torch.Generator().manual_seed(node.seed)
        jumps = (jump(start, each, generator) for each in kept)
        means, variances = [], []
        for x in jumps if node.way == "in one jump" else chain(start, betas, node.seed):
            context.check_cancelled()
            means.append(float(x.mean()))
            variances.append(float(x.var()))
    return table({"timestep": list(range(len(betas))), "mean": means, "variance": variances})


def jump(start: Tensor, kept: Tensor, generator: torch.Generator) -> Tensor:
    """x_t where `kept` (alpha bar) is left of the variance of x_0, to the bits of diffusers' `add_noise`."""
    noise = torch.randn(start.shape, generator=generator)
    return kept**0.5 * start + (1 - kept) ** 0.5 * noise


def chain(start: Tensor, betas: Tensor, seed: int) -> Iterator[Tensor]:
    """x_t after each of the steps, in the same shape as x_0."""
    generator = torch.Generator().manual_seed(seed)
    x = start
    for beta in betas:
        x = (1 - beta) ** 0.5 * x + beta**0.5 * torch.randn(x.shape, generator=generator)
        yield x


def measured(samples: Tensor, places: int) -> tuple[Table, Table, float, float, float]:
    """What the node MeasureNoise gives of f32[N, C, h, w]. Raises Wrong where no place has a neighbour."""
    if samples.shape[3] < 2:
        raise Wrong("noise", f"samples of shape {list(samples.shape)} are too few: no place has a neighbour")
    by_channel = samples.double().transpose(0, 1)
    here, beside = (part.flatten(1) for part in (by_channel[..., :-1], by_channel[..., 1:]))
    numbers = by_channel.flatten(1)
    names = list(range(1, len(numbers) + 1))
    channels = table(
        {
            "channel": names,
            "mean": numbers.mean(1).tolist(),
            "standard deviation": numbers.std(1).tolist(),
            "correlation of neighbours": [_correlation(*each) for each in zip(here, beside, strict=True)],
        }
    )
    spread = torch.linspace(0, numbers.shape[1] - 1, min(places, numbers.shape[1])).round().long()
    values = table({f"channel {name}": each[spread].tolist() for name, each in zip(names, numbers, strict=True)})
    pairs = [_correlation(one, other) for one, other in combinations(numbers, 2)]
    return channels, values, float(numbers.mean()), float(numbers.std()), max(map(abs, pairs), default=0.0)


def _correlation(one: Tensor, other: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([one, other]))[0, 1])


def _read(schedule: Table) -> tuple[Tensor, Tensor]:
    """The betas and the alpha bars f32[T] of a schedule. Raises Wrong where it is none."""
    found = []
    for name in ("beta", "alpha bar"):
        try:
            values = schedule.column(name).values
        except ValueError as error:
            raise Wrong("schedule", f"{error}: link a NoiseSchedule") from None
        if not values or not all(isinstance(value, int | float) and 0 <= value <= 1 for value in values):
            raise Wrong("schedule", f"column `{name}` has to have numbers from 0 to 1: link a NoiseSchedule")
        found.append(torch.tensor(values, dtype=torch.float32))
    return found[0], found[1]
