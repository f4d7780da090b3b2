"""Latents at other sizes, laid on each other, mixed and put together."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor
from torch.nn.functional import interpolate

from ..facts import together
from ..ports import Inpaint, Latent, Unfinished
from .numerics import torch

Change = Callable[[Tensor], Tensor]


def changed(latent: Latent, change: Change, change_mask: Change | None = None) -> Latent:
    """The latent with all its tensors [N, C, h, w] changed, the inpainting mask in its own way where that differs."""
    kept = latent.inpaint
    if kept is not None:
        original, masked = (None if part is None else change(part) for part in (kept.original, kept.masked))
        kept = Inpaint((change_mask or change)(kept.mask), original, masked)
    return replace(latent, samples=change(latent.samples), inpaint=kept, unfinished=_forgotten(latent.unfinished))


def interpolated(latent: Latent, height: int, width: int, method: str) -> Latent:
    """The latent at another size in latent pixels. Raises ValueError where noise is left in it."""
    if latent.unfinished is not None:
        raise ValueError(
            f"noise is left in this latent, at sigma {latent.unfinished.sigma:g}, and interpolated noise is none that a"
            " sampler could remove: let a KSampler finish it first"
        )

    def change(values: Tensor) -> Tensor:
        if method in ("bilinear", "bicubic"):
            return interpolate(values, (height, width), mode=method, align_corners=False, antialias=True)
        return interpolate(values, (height, width), mode="nearest-exact" if method == "nearest" else method)

    return changed(latent, change, lambda mask: interpolate(mask, (height, width), mode="nearest-exact"))


def composed(latent: Latent, over: Latent, mask: Tensor | None, left: int, top: int) -> Latent:
    """`over` laid on the latent at a place in latent pixels, as a mask [N, 1, H, W] of its picture says."""
    _check_alike(latent, over)
    amount = (
        torch.ones_like(over.samples[:, :1]) if mask is None else interpolate(mask, over.samples.shape[2:], mode="area")
    )
    count = together({"latents": len(latent.samples), "latents over them": len(over.samples), "masks": len(amount)})
    height, width = latent.samples.shape[2:]
    first_row, last_row = max(top, 0), min(top + over.samples.shape[2], height)
    first_column, last_column = max(left, 0), min(left + over.samples.shape[3], width)
    if first_row >= last_row or first_column >= last_column:
        raise ValueError("what is laid over the latent lies wholly outside of it: change left or top")
    inside = (..., slice(first_row - top, last_row - top), slice(first_column - left, last_column - left))
    made = latent.samples.expand(count, -1, -1, -1).clone()
    part, amount = made[:, :, first_row:last_row, first_column:last_column], amount[inside]
    part[:] = part * (1 - amount) + over.samples[inside] * amount
    return _like(latent, made, empty=latent.empty and over.empty)


def blended(latent: Latent, other: Latent, weight: float, spherical: bool) -> Latent:
    """Two latents mixed, in the share `weight` of the other, on a line or on the arc between them."""
    _check_alike(latent, other)
    first, second = latent.samples, other.samples
    if first.shape[2:] != second.shape[2:]:
        raise ValueError(f"the latents are of the sizes {latent.pixels} and {other.pixels}: resize one of them first")
    together({"latents": len(first), "others": len(second)})
    if spherical:
        mixed = _on_arc(first, second, weight)
    else:
        mixed = first * (1 - weight) + second * weight
    return _like(latent, mixed, empty=latent.empty and other.empty)


def _on_arc(first: Tensor, second: Tensor, weight: float) -> Tensor:
    """Spherical interpolation of each picture as one vector; where two point the same way, on the line."""
    sides = (1, 2, 3)
    lengths = [torch.linalg.vector_norm(each, dim=sides, keepdim=True) for each in (first, second)]
    product = (first * second).sum(dim=sides, keepdim=True)
    cosine = (product / (lengths[0] * lengths[1]).clamp(min=1e-12)).clamp(-1, 1)
    angle = cosine.arccos()
    sine = angle.sin()
    on_arc = (((1 - weight) * angle).sin() * first + (weight * angle).sin() * second) / sine.clamp(min=1e-12)
    return torch.where(sine.abs() < 1e-4, first * (1 - weight) + second * weight, on_arc)


def batched(latents: Sequence[Latent]) -> Latent:
    """One latent of several. Raises ValueError where they do not go together."""
    if not latents:
        raise ValueError("there are no latents")
    first = latents[0]
    for latent in latents:
        _check_alike(first, latent)
        if latent.unfinished is not None:
            raise ValueError("noise is left in one of the latents: let a KSampler finish it first")
        if latent.empty != first.empty:
            raise ValueError("some of the latents are empty canvases, and others hold pictures")
        if latent.pixels != first.pixels:
            raise ValueError(f"the latents of a batch have one size, not {first.pixels} and {latent.pixels}")
    states = [latent.generators for latent in latents if latent.generators is not None]
    kept = [latent.inpaint for latent in latents if latent.inpaint is not None]
    return Latent(
        torch.cat([latent.samples for latent in latents]),
        first.space,
        empty=first.empty,
        generators=tuple(state for each in states for state in each) if len(states) == len(latents) else None,
        inpaint=_all_kept(kept, latents) if len(kept) == len(latents) else None,
    )


def taken(latent: Latent, index: int, count: int) -> Latent:
    """`count` latents of a batch, from `index` on."""
    chosen = slice(index, index + count)

    def part(values: Tensor) -> Tensor:
        return values if len(values) == 1 else values[chosen]

    made = changed(replace(latent, generators=None), lambda values: part(values))
    return replace(made, generators=None if latent.generators is None else latent.generators[chosen])


def _all_kept(kept: Sequence[Inpaint], latents: Sequence[Latent]) -> Inpaint:
    def each(name: str) -> Tensor | None:
        parts = [(getattr(inpaint, name), len(latent.samples)) for inpaint, latent in zip(kept, latents, strict=True)]
        if any(part is None for part, _ in parts):
            return None
        return torch.cat([part.expand(count, -1, -1, -1) for part, count in parts])

    mask = each("mask")
    assert mask is not None
    return Inpaint(mask, each("original"), each("masked"))


def _like(latent: Latent, samples: Tensor, empty: bool) -> Latent:
    """Other samples with what belongs to the pictures of a latent; generators only where there are as many."""
    states = latent.generators if len(samples) == len(latent.samples) else None
    unfinished = _forgotten(latent.unfinished)
    return Latent(samples, latent.space, empty=empty, generators=states, inpaint=latent.inpaint, unfinished=unfinished)


def _forgotten(unfinished: Unfinished | None) -> Unfinished | None:
    """Where a sampling stood, for another sampler: one that remembers nothing."""
    return None if unfinished is None else replace(unfinished, solver="", state={})


def _check_alike(latent: Latent, other: Latent) -> None:
    """Raises ValueError for two latents of other spaces, or at other noise."""
    if latent.space != other.space:
        raise ValueError(f"the latents have {latent.space}, and {other.space}: encode both with one VAE")
    noises = [0.0 if each.unfinished is None else each.unfinished.sigma for each in (latent, other)]
    if noises[0] != noises[1]:
        raise ValueError(f"the noise that is left in the latents is at sigma {noises[0]:g} and {noises[1]:g}")
