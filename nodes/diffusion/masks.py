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
