"""Conditions made of others: joined, mixed, emptied; and the part of a picture in which one holds."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from ..facts import together
from ..guides import Cond, Conditioning
from .numerics import torch
from .text import matched

GRID = 512
"""The sides of a region that is made of fractions: finer than the latents of pictures of 4096 pixels."""


def averaged(first: Conditioning, second: Conditioning, amount: float) -> Conditioning:
    """`first + amount * (second - first)` of the tokens, and of what says the text as one vector; else as the first.

    Raises ValueError where one of the two has several conditions, or their texts do not go together.
    """
    a, b = _only(first, "first"), _only(second, "second")
    _check_counts([a, b])
    if a.tokens.shape[2] != b.tokens.shape[2]:
        raise ValueError(f"the texts are {a.tokens.shape[2]} and {b.tokens.shape[2]} wide: encode both with one CLIP")
    start, end = (cond.tokens for cond in matched([a, b]))
    if start.shape[1] != end.shape[1]:
        raise ValueError(
            f"the texts have {start.shape[1]} and {end.shape[1]} tokens, which cannot be averaged one by one:"
            " let CLIPEncode cut them (`long: cut`)"
        )
    pooled = a.pooled if a.pooled is None or b.pooled is None else torch.lerp(a.pooled, b.pooled, amount)
    return Conditioning((replace(a, tokens=torch.lerp(start, end, amount), pooled=pooled),))


def joined(conditionings: Sequence[Conditioning]) -> Conditioning:
    """The tokens of all, one after the other; else as the first. Raises ValueError as `averaged`."""
    conds = [_only(conditioning, f"{index + 1}.") for index, conditioning in enumerate(conditionings)]
    count = _check_counts(conds)
    widths = dict.fromkeys(cond.tokens.shape[2] for cond in conds)
    if len(widths) > 1:
        raise ValueError(f"the texts are {' and '.join(map(str, widths))} wide: encode all with one CLIP")
    tokens = torch.cat([cond.tokens.expand(count, -1, -1) for cond in conds], dim=1)
    return Conditioning((replace(conds[0], tokens=tokens),))


def zeroed(conditioning: Conditioning) -> Conditioning:
    return Conditioning(
        tuple(
            replace(
                cond,
                tokens=torch.zeros_like(cond.tokens),
                pooled=None if cond.pooled is None else torch.zeros_like(cond.pooled),
            )
            for cond in conditioning.conds
        )
    )


def rectangle(left: float, top: float, width: float, height: float) -> Tensor:
    """A region f32[1, 1, GRID, GRID] that is 1 in a rectangle of fractions; at its edges the part that is inside."""

    def inside(start: float, length: float) -> Tensor:
        cells = torch.arange(GRID, dtype=torch.float64)
        ends = torch.minimum(cells + 1, torch.tensor((start + length) * GRID, dtype=torch.float64))
        return (ends - torch.maximum(cells, torch.tensor(start * GRID, dtype=torch.float64))).clamp(min=0)

    return (inside(top, height)[:, None] * inside(left, width)[None, :]).float()[None, None]


def _only(conditioning: Conditioning, which: str) -> Cond:
    if len(conditioning.conds) != 1:
        raise ValueError(f"the {which} conditioning has {len(conditioning.conds)} conditions: do this before combining")
    return conditioning.conds[0]


def _check_counts(conds: Sequence[Cond]) -> int:
    names = {f"texts of the {index + 1}. conditioning": len(cond.tokens) for index, cond in enumerate(conds)}
    return together(names)
