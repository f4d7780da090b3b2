"""Masks from colours, and masks with their areas grown."""

import math

import numpy
from scipy import ndimage
from torch import Tensor

from .numerics import torch


def rgb(colour: str) -> Tensor:
    """The colour `#rrggbb` as f32[3, 1, 1] in 0..1."""
    return torch.tensor(list(bytes.fromhex(colour[1:]))).reshape(3, 1, 1) / 255


def coloured(pixels: Tensor, colour: str, tolerance: float) -> Tensor:
    """f32[N, 1, H, W]: 1 where no channel of the pictures differs from the colour by more than the tolerance."""
    difference = (pixels[:, :3] - rgb(colour)).abs().amax(dim=1, keepdim=True)
    return (difference <= tolerance + 1e-6).float()  # values of 8 bits are not exact in float32


def unlike_edges(pixels: Tensor, tolerance: float) -> Tensor:
    """f32[N, 1, H, W]: 1 where a channel of a picture differs by more than the tolerance from the colour of its edges.

    That colour is the median of the outermost pixels, channel by channel.
    """
    colours = pixels[:, :3]
    sides = [colours[:, :, 0], colours[:, :, -1], colours[:, :, :, 0], colours[:, :, :, -1]]
    edges = torch.cat(sides, dim=2).median(2).values[:, :, None, None]
    difference = (colours - edges).abs().amax(dim=1, keepdim=True)
    return (difference > tolerance + 1e-6).float()  # values of 8 bits are not exact in float32


def shaded(pixels: Tensor, mask: Tensor, dark: float) -> Tensor:
    """Pictures f32[N, 3, H, W] that keep `dark` of their light where a mask is 0, and all where it has its largest."""
    light = mask / mask.amax((2, 3), keepdim=True).clamp(min=1e-12)
    return pixels[:, :3] * (dark + (1 - dark) * light)


def insides(mask: Tensor, region: Tensor) -> tuple[list[float], list[float], list[float]]:
    """Of masks [N, 1, H, W]: the mean where the region is 1, the mean where it is 0, the centre from left to right."""
    region = region.expand_as(mask).double()
    mask = mask.double()
    inside = (mask * region).sum((1, 2, 3)) / region.sum((1, 2, 3))
    outside = (mask * (1 - region)).sum((1, 2, 3)) / (1 - region).sum((1, 2, 3))
    across = (torch.arange(mask.shape[3], dtype=torch.float64) + 0.5) / mask.shape[3]
    centres = (mask.sum((1, 2)) * across).sum(1) / mask.sum((1, 2, 3)).clamp(min=1e-12)
    return inside.tolist(), outside.tolist(), centres.tolist()


def grown(mask: Tensor, by: int, round_corners: bool) -> Tensor:
    """Masks [N, 1, H, W] dilated by a disc or square of this radius in pixels, or eroded where it is below 0.

    Gray morphology: each pixel becomes the largest (or smallest) one that the disc, laid on it, covers in the picture.
    A disc is the union of its rows, so the largest of a disc is the largest of the rows' largest.
    """
    if by < 0:
        return 1 - grown(1 - mask, -by, round_corners)
    values = mask.numpy()
    if not round_corners:
        size = (1, 1, 2 * by + 1, 2 * by + 1)
        return torch.from_numpy(ndimage.maximum_filter(values, size=size, mode="nearest"))
    height, made = values.shape[2], values.copy()
    for offset in range(-min(by, height - 1), min(by, height - 1) + 1):
        half = math.isqrt(by * by - offset * offset)
        rows = values[:, :, max(offset, 0) : height + min(offset, 0)]
        wide = ndimage.maximum_filter1d(rows, 2 * half + 1, axis=3, mode="nearest")
        reached = made[:, :, max(-offset, 0) : height - max(offset, 0)]
        numpy.maximum(reached, wide, out=reached)
    return torch.from_numpy(made)
