"""What a guidance asks of the denoiser at a step, and how it combines the answers.

The formulas are diffusers' own, which are imported where they are used: plain guidance need not wait for them.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from torch import Tensor

from ..guides import (
    APG,
    CFG,
    CFGZeroStar,
    Classified,
    Conditioning,
    Guidance,
    Interval,
    Perturbation,
    Perturbed,
    Rescaled,
    TangentialCFG,
)
from .numerics import torch

BASES = (CFG, APG, CFGZeroStar, TangentialCFG)
"""Guidances that compare a positive with a negative."""

CHANGES = (Rescaled, Perturbed, Classified)
"""Guidances that change another one."""


Pull = Callable[[Classified], Tensor]
"""What a classifier adds to a prediction f32[N, C, h, w] at a step, scaled as the guidance has it."""


class Leaf(NamedTuple):
    """One thing to predict: under a conditioning, which is None for a text of zeros, by a perturbed denoiser or not."""

    conditioning: Conditioning | None
    role: Literal["positive", "negative"]
    perturbation: Perturbation | None = None


class Share(NamedTuple):
    """Which step, from 0, of how many."""

    index: int
    count: int

    def within(self, start: float, end: float) -> bool:
        """Whether it is in a part of the steps, 0..1, by the rule of diffusers' guiders."""
        return int(start * self.count) <= self.index < int(end * self.count)


def leaves(guidance: Guidance | Conditioning, share: Share) -> tuple[Leaf, ...]:
    """What is to be predicted at a step, each once: the negative, the positive, then what perturbed denoisers see."""
    return tuple(dict.fromkeys(_leaves(_at(guidance, share), share)))


def combine(
    guidance: Guidance | Conditioning,
    predictions: Mapping[Leaf, Tensor],
    share: Share,
    memory: dict[str, Any],
    pull: Pull | None = None,
) -> Tensor:
    """The guided prediction f32[N, C, h, w] at a step, of what is predicted for each of the leaves.

    It is of the same kind, noise or velocity or picture. `memory` is what the guidance remembers from one evaluation to
    the next: plain data. `pull` is for guidances with a classifier.
    """
    return _combined(_at(guidance, share), predictions, share, memory, pull)


def unconditional(guidance: Guidance | Conditioning, predictions: Mapping[Leaf, Tensor]) -> Tensor | None:
    """What is predicted under the negative; None where that is not among the predictions."""
    return next((found for leaf, found in predictions.items() if leaf.role == "negative"), None)


def _at(guidance: Guidance | Conditioning, share: Share) -> Guidance | Conditioning:
    """The guidance of one step: without intervals, and without what changes nothing."""
    if isinstance(guidance, Interval):
        held = guidance.guidance if share.within(guidance.start, guidance.end) else _without(guidance.guidance)
        return _at(held, share)
    if isinstance(guidance, CHANGES):
        inner = _at(guidance.guidance, share)
        # The positive alone has its own standard deviation already.
        idle = isinstance(inner, Conditioning) if isinstance(guidance, Rescaled) else guidance.scale == 0
        if idle or (isinstance(guidance, Rescaled) and guidance.phi == 0):
            return inner
        return replace(guidance, guidance=inner)
    if isinstance(guidance, CFGZeroStar) and share.index < guidance.zero_steps:
        return guidance
    if isinstance(guidance, BASES) and guidance.scale == 1:
        return guidance.positive
    return guidance


def _without(guidance: Guidance | Conditioning) -> Guidance | Conditioning:
    """What a guidance changes."""
    if isinstance(guidance, Interval):
        return replace(guidance, guidance=_without(guidance.guidance))
    if isinstance(guidance, CHANGES):
        return guidance.guidance
    return _positive(guidance).conditioning or guidance


def _positive(guidance: Guidance | Conditioning) -> Leaf:
    if isinstance(guidance, Conditioning):
        return Leaf(guidance, "positive")
    if isinstance(guidance, BASES):
        return Leaf(guidance.positive, "positive")
    if isinstance(guidance, (*CHANGES, Interval)):
        return _positive(guidance.guidance)
    raise TypeError(f"{type(guidance).__name__} is no guidance that the sampler knows")


def _leaves(guidance: Guidance | Conditioning, share: Share) -> tuple[Leaf, ...]:
    positive = _positive(guidance)
    if isinstance(guidance, Perturbed):
        perturbed = positive._replace(perturbation=guidance.perturbation)
        return (*_leaves(guidance.guidance, share), positive, perturbed)
    if isinstance(guidance, Rescaled):
        return (*_leaves(guidance.guidance, share), positive)
    if isinstance(guidance, Classified):
        return _leaves(guidance.guidance, share)
    if isinstance(guidance, CFGZeroStar) and share.index < guidance.zero_steps:
        return (positive,)
    if isinstance(guidance, BASES):
        negative = Leaf(guidance.negative, "negative")
        return (negative,) if isinstance(guidance, CFG) and guidance.scale == 0 else (negative, positive)
    return (positive,)


def _combined(
    guidance: Guidance | Conditioning,
    predictions: Mapping[Leaf, Tensor],
    share: Share,
    memory: dict[str, Any],
    pull: Pull | None,
) -> Tensor:
    positive = _positive(guidance)
    if isinstance(guidance, Classified):
        inner = _combined(guidance.guidance, predictions, share, memory, pull)
        assert pull is not None
        return inner + pull(guidance)
    if isinstance(guidance, Perturbed):
        inner = _combined(guidance.guidance, predictions, share, memory, pull)
        perturbed = predictions[positive._replace(perturbation=guidance.perturbation)]
        return inner + guidance.scale * (predictions[positive] - perturbed)
    if isinstance(guidance, Rescaled):
        from diffusers.guiders.guider_utils import rescale_noise_cfg

        inner = _combined(guidance.guidance, predictions, share, memory, pull)
        return rescale_noise_cfg(inner, predictions[positive], guidance.phi)
    if isinstance(guidance, CFGZeroStar) and share.index < guidance.zero_steps:
        return torch.zeros_like(predictions[positive])
    if isinstance(guidance, BASES):
        negative = predictions[Leaf(guidance.negative, "negative")]
        if isinstance(guidance, CFG) and guidance.scale == 0:
            return negative
        return _guided(guidance, predictions[positive], negative, memory)
    return predictions[positive]


def _guided(
    guidance: CFG | APG | CFGZeroStar | TangentialCFG, positive: Tensor, negative: Tensor, memory: dict[str, Any]
) -> Tensor:
    if isinstance(guidance, APG):
        return _projected(guidance, positive, negative, memory)
    if isinstance(guidance, TangentialCFG):
        from diffusers.guiders.tangential_classifier_free_guidance import normalized_guidance

        return normalized_guidance(positive, negative, guidance.scale)
    if isinstance(guidance, CFGZeroStar):
        from diffusers.guiders.classifier_free_zero_star_guidance import cfg_zero_star_scale

        negative = negative * cfg_zero_star_scale(positive.flatten(1), negative.flatten(1)).view(-1, 1, 1, 1)
    return guidance.scale * (positive - negative) + negative


def _projected(guidance: APG, positive: Tensor, negative: Tensor, memory: dict[str, Any]) -> Tensor:
    from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer, normalized_guidance

    momentum = MomentumBuffer(guidance.momentum) if guidance.momentum else None
    if momentum is not None and "momentum" in memory:
        momentum.running_average = memory["momentum"].to(positive)
    guided = normalized_guidance(positive, negative, guidance.scale, momentum, guidance.eta, guidance.threshold)
    if momentum is not None:
        memory["momentum"] = momentum.running_average
    return guided
