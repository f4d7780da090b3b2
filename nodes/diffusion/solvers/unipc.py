"""UniPC, a predictor and a corrector of any order (Zhao et al. 2023, arXiv:2302.04867)."""

import math
from typing import Literal

import numpy
from torch import Tensor

from .contract import Denoiser, Walk, solver
from .levels import is_finite, log_snr, toward


@solver(order=3)
def uni_pc(denoiser: Denoiser, x: Tensor, walk: Walk, index: int) -> Tensor:
    """UniPC of clean pictures with B1(h) = h: Zhao et al. 2023 (arXiv:2302.04867), algorithms 5 and 6."""
    return unified(denoiser, x, walk, index, "bh1")


@solver(order=3)
def uni_pc_bh2(denoiser: Denoiser, x: Tensor, walk: Walk, index: int) -> Tensor:
    """UniPC of clean pictures with B2(h) = exp(h) - 1: Zhao et al. 2023 (arXiv:2302.04867), algorithms 5 and 6."""
    return unified(denoiser, x, walk, index, "bh2")


def unified(denoiser: Denoiser, x: Tensor, walk: Walk, index: int, kind: Literal["bh1", "bh2"]) -> Tensor:
    """Corrects the samples that were predicted by what the model sees in them, then predicts the next.

    Of lower order where there is too little before, near the end, and where lambda is infinite.
    """
    sigma, lower = walk.sigmas[index : index + 2]
    memory, highest = walk.memory, walk.options["order"]
    clean = denoiser(x, sigma)
    before = memory.get("cleans", [])  # the newest first, with the sample and the order of the last prediction
    if before and memory["order"]:
        x = _moved(denoiser, walk, index - 1, memory["x"], before, clean, memory["order"], kind)
    cleans = [clean, *before][:highest]
    steps_left = len(walk.sigmas) - 1 - index
    order = min(highest, len(cleans), steps_left)
    while order > 1 and not is_finite(denoiser, walk.sigmas[index - order + 1]):
        order -= 1
    if lower == 0 or not is_finite(denoiser, sigma):
        order = 0
    memory.update(cleans=cleans, x=x, order=order)
    if order == 0:
        return toward(x, clean, sigma, lower)
    return _moved(denoiser, walk, index, x, cleans, None, order, kind)


def _moved(
    denoiser: Denoiser,
    walk: Walk,
    index: int,
    x: Tensor,
    cleans: list[Tensor],
    seen: Tensor | None,
    order: int,
    kind: Literal["bh1", "bh2"],
) -> Tensor:
    """The samples after step `index`: predicted, or with the clean picture `seen` there, corrected."""
    sigma, lower = walk.sigmas[index : index + 2]
    now = log_snr(denoiser, sigma)
    h = log_snr(denoiser, lower) - now
    places = [(log_snr(denoiser, walk.sigmas[index - back]) - now) / h for back in range(1, order)]
    differences = [(clean - cleans[0]) / place for clean, place in zip(cleans[1:order], places, strict=True)]
    if seen is not None:
        places, differences = [*places, 1.0], [*differences, seen - cleans[0]]
    scale = -h if kind == "bh1" else math.expm1(-h)
    moved = x * (lower / sigma) - cleans[0] * (denoiser.alpha(lower) * math.expm1(-h))
    for weight, difference in zip(_weights(places, h, scale), differences, strict=True):
        moved = moved - difference * (denoiser.alpha(lower) * scale * weight)
    return moved


def _weights(places: list[float], h: float, scale: float) -> list[float]:
    """The weights of the differences: those by which all polynomials up to that degree are met (equation 10).

    One alone is a half, as in the paper.
    """
    if len(places) < 2:
        return [0.5] * len(places)
    phi, wanted = math.expm1(-h) / -h - 1, []
    for power in range(1, len(places) + 1):
        wanted.append(phi * math.factorial(power) / scale)
        phi = phi / -h - 1 / math.factorial(power + 1)
    rows = numpy.array([[place ** (power - 1) for place in places] for power in range(1, len(places) + 1)])
    return [float(weight) for weight in numpy.linalg.solve(rows, numpy.array(wanted))]
