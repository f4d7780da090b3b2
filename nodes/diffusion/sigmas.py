"""Noise schedules: which noise levels a sampling of so many steps walks down. One short function to each.

Each takes a model's noise levels and a number of steps, and gives steps + 1 falling numbers that end in 0, rounded to
float32.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy

from ..references import FAMILIES, Model
from .noise_table import NoiseTable
from .samplers import SCHEDULES, check_options, part
from .schedulers import new_scheduler

Sigmas = tuple[float, ...]

LEAST_OF_ALIGNED = 0.029
"""What the published tables of align_your_steps end with, and interpolate to; 0 is put in its place afterwards."""


def sigmas_for(
    model: Model,
    scheduler: str,
    steps: int,
    strength: float | None = None,
    denoise: float | None = None,
    **options: float,
) -> Sigmas:
    """The noise levels of `steps` steps by the schedule of that name.

    `strength` leaves the last int(steps * strength) of them (diffusers' convention); `denoise` makes int(steps /
    denoise), and leaves the last `steps` (ComfyUI's). Only one of the two is given. No step is left of strength 0.

    Raises ValueError for an option that the schedule does not have, and for more steps than there are noise levels.
    """
    whole, left = part(model, steps, strength, denoise)
    check_options(f"scheduler `{scheduler}`", options, SCHEDULES[scheduler])
    values = of_model(model, whole) if scheduler == "model" else SPACED[scheduler](NoiseTable(model), whole, **options)
    if any(later >= sooner for sooner, later in pairwise(values)):
        raise ValueError(
            f"the model has no {whole} different noise levels by scheduler `{scheduler}`: take fewer steps"
        )
    return values[whole - left :]


def of_model(model: Model, steps: int) -> Sigmas:
    """What diffusers' Euler scheduler makes of the model's own scheduler_config.json."""
    name = "FlowMatchEulerDiscreteScheduler" if model.prediction == "flow" else "EulerDiscreteScheduler"
    scheduler = new_scheduler(model, f"diffusers:{name}", "model")
    scheduler.set_timesteps(steps)
    return _ended(scheduler.sigmas[:steps])


def leading(table: NoiseTable, steps: int) -> Sigmas:
    """Every (N // steps)-th timestep, from the model's `steps_offset` (Lin et al. 2023, arXiv:2305.08891, table 2)."""
    return _ended(table.at(_every(table, steps, table.steps_offset), linear=True))


def linspace(table: NoiseTable, steps: int) -> Sigmas:
    """Evenly from the last timestep to the first, sigma linear between two (Lin et al. 2023, table 2).

    As diffusers has it; but one step begins at the last timestep.
    """
    times = _times(table, steps)
    return _ended(table.at(times if table.flow else times.astype(numpy.float32), linear=True))


def trailing(table: NoiseTable, steps: int) -> Sigmas:
    """Every (N / steps)-th timestep back from the last (Lin et al. 2023, table 2)."""
    times = numpy.round(table.count - numpy.arange(steps) * (table.count / steps)) - 1
    return _ended(table.at(table.first + times, linear=True))


def normal(table: NoiseTable, steps: int) -> Sigmas:
    """Evenly from the last timestep to the first (Karras et al. 2022, arXiv:2206.00364, table 1, iDDPM's column)."""
    return _ended(table.at(_times(table, steps)))


def sgm_uniform(table: NoiseTable, steps: int) -> Sigmas:
    """As `normal`, without the first timestep: the last step is as long as the others (Podell et al. 2023, SDXL)."""
    return _ended(table.at(_times(table, steps + 1)[:-1]))


def simple(table: NoiseTable, steps: int) -> Sigmas:
    """Every (N / steps)-th of the levels that the model learned, back from the last, rounded up."""
    back = numpy.floor(numpy.arange(steps) * (table.count / steps))
    return _ended(table.at(table.first + table.count - 1 - back))


def ddim_uniform(table: NoiseTable, steps: int) -> Sigmas:
    """Every (N // steps)-th timestep from the second on (DDIM, Song et al. 2021, arXiv:2010.02502, appendix D.2)."""
    return _ended(table.at(_every(table, steps, 1)))


def beta(table: NoiseTable, steps: int, alpha: float = 0.6, beta: float = 0.6) -> Sigmas:
    """Timesteps at the quantiles of a Beta distribution, more at both ends (Lee et al. 2024, arXiv:2407.12173).

    diffusers' `use_beta_sigmas` takes the quantiles of sigma instead.
    """
    from scipy.stats import beta as distribution

    quantiles = distribution.ppf(1 - numpy.arange(steps) / steps, alpha, beta)
    return _ended(table.at(table.first + quantiles * (table.count - 1)))


def karras(table: NoiseTable, steps: int, rho: float = 7.0) -> Sigmas:
    """Evenly in sigma^(1 / rho) (Karras et al. 2022, arXiv:2206.00364, equation 5)."""
    least, most = table.sigma_min ** (1 / rho), table.sigma_max ** (1 / rho)
    return _ended((most + numpy.linspace(0, 1, steps) * (least - most)) ** rho)


def exponential(table: NoiseTable, steps: int) -> Sigmas:
    """Evenly in log sigma, which is the limit of `karras` for large rho."""
    return _ended(numpy.exp(numpy.linspace(math.log(table.sigma_max), math.log(table.sigma_min), steps)))


def polyexponential(table: NoiseTable, steps: int, rho: float = 1.0) -> Sigmas:
    """log sigma falls as a power `rho` of the steps left; with rho 1 it is `exponential` (k-diffusion)."""
    least, most = math.log(table.sigma_min), math.log(table.sigma_max)
    return _ended(numpy.exp(numpy.linspace(1, 0, steps) ** rho * (most - least) + least))


def linear_quadratic(table: NoiseTable, steps: int, threshold_noise: float = 0.025) -> Sigmas:
    """The first half of the steps removes the share `threshold_noise` evenly, the others ever more.

    Polyak et al. 2024 (arXiv:2410.13720, 3.4), with the smooth passage that Mochi's authors gave it.
    """
    linear = max(1, steps // 2)
    index = numpy.arange(steps)
    removed = threshold_noise / linear * index
    if steps > linear:
        rest = (1 - threshold_noise * steps / linear) / (steps - linear) ** 2
        removed = removed + rest * numpy.maximum(index - linear, 0) ** 2
    return _ended(table.sigma_max * (1 - removed))


def kl_optimal(table: NoiseTable, steps: int) -> Sigmas:
    """Evenly in arctan sigma: optimal for normally distributed pictures (Sabour et al. 2024, arXiv:2404.14507, 3.1)."""
    return _ended(numpy.tan(numpy.linspace(math.atan(table.sigma_max), math.atan(table.sigma_min), steps)))


def align_your_steps(table: NoiseTable, steps: int) -> Sigmas:
    """Optimised for Stable Diffusion 1 or XL (Sabour et al. 2024, arXiv:2404.14507), as published for 10 steps.

    For another number of steps log sigma is interpolated, as the authors advise. Raises ValueError for other families.
    """
    from diffusers.schedulers import AysSchedules

    names = {
        "sd1": "StableDiffusionSigmas",
        "sdxl": "StableDiffusionXLSigmas",
        "sdxl_refiner": "StableDiffusionXLSigmas",
    }
    if table.family not in names:
        raise ValueError(
            f"align_your_steps is published for Stable Diffusion 1 and XL, not for {FAMILIES[table.family]}"
        )
    logs = numpy.log([*AysSchedules[names[table.family]][:-1], LEAST_OF_ALIGNED])
    wanted = numpy.exp(numpy.interp(numpy.linspace(0, len(logs) - 1, steps + 1)[:-1], numpy.arange(len(logs)), logs))
    return _ended(numpy.clip(wanted, table.sigma_min, table.sigma_max))


def laplace(table: NoiseTable, steps: int, mu: float = 0.0, beta: float = 0.5) -> Sigmas:
    """log sigma at the quantiles of a Laplace distribution (Hang et al. 2024, arXiv:2407.03297, table 1).

    The distribution is cut off at the least and the most noise that the model learned.
    """
    from scipy.stats import laplace as distribution

    ends = distribution.cdf(numpy.log([table.sigma_max, table.sigma_min]), mu, beta)
    return _ended(numpy.exp(distribution.ppf(numpy.linspace(*ends, steps), mu, beta)))


SPACED: dict[str, Callable[..., Sigmas]] = {
    made.__name__: made
    for made in (
        normal,
        karras,
        exponential,
        polyexponential,
        sgm_uniform,
        simple,
        ddim_uniform,
        beta,
        linear_quadratic,
        kl_optimal,
        align_your_steps,
        laplace,
        leading,
        linspace,
        trailing,
    )
}


def _times(table: NoiseTable, steps: int) -> numpy.ndarray:
    """Evenly from the last timestep to the first, which for a flow model is the one of its least noise."""
    last, first = table.timestep(table.sigma_max), table.timestep(table.sigma_min)
    return numpy.linspace(last, first, 1) if steps == 1 else numpy.linspace(first, last, steps)[::-1]


def _every(table: NoiseTable, steps: int, offset: int) -> numpy.ndarray:
    """Falling times at equal whole distances, the last of them `offset` after the first that the model learned."""
    return table.first + numpy.arange(steps)[::-1] * (table.count // steps) + offset


def _ended(values: Any) -> Sigmas:
    """Rounded to float32, and 0 behind them."""
    return (*numpy.asarray(values, dtype=numpy.float32).tolist(), 0.0)
