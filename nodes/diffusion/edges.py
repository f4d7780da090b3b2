"""Edges in pictures [N, 3 or 4, H, W] in 0..1, by their gradients."""

from typing import Any

import numpy
from scipy import ndimage
from torch import Tensor

from .editing import blurred
from .numerics import torch
from .pixels import gray

Array = numpy.ndarray[Any, Any]

BITS = 15
TANGENT = round((2**0.5 - 1) * 2**BITS)
"""tan 22.5°, where a gradient stops being horizontal, as OpenCV has it: a whole number of 1 / 2**15."""

EIGHT = numpy.ones((3, 3))
"""Pixels that touch at a corner are connected, too."""


def canny(pixels: Tensor, low: int, high: int) -> Tensor:
    """Edges f32[N, 1, H, W], 0 or 1, as OpenCV's `Canny` finds them in colour pictures of 8 bits (Canny 1986)."""
    levels = (pixels[:, :3] * 255).round().clamp(0, 255).to(torch.int32).numpy()
    return torch.from_numpy(numpy.stack([_canny(picture, low, high) for picture in levels]))[:, None].float()


def _canny(picture: Array, low: int, high: int) -> Array:
    """The edges bool[H, W] of a picture int[3, H, W]."""
    across, down = _sobel(picture, axis=-1), _sobel(picture, axis=-2)
    strengths = abs(across) + abs(down)
    strongest = strengths.argmax(axis=0)[None]  # the channel that changes most counts, at each pixel
    across, down, strength = (
        numpy.take_along_axis(values, strongest, axis=0)[0] for values in (across, down, strengths)
    )
    thin = (strength > low) & _is_ridge(across, down, strength)
    parts, count = ndimage.label(thin, EIGHT)
    with_edge = numpy.zeros(count + 1, dtype=bool)
    with_edge[parts[thin & (strength > high)]] = True
    return with_edge[parts]


def _sobel(values: Array, axis: int) -> Array:
    """The change along one of the last two axes; the outermost pixels go on beyond the border."""
    other = -3 - axis
    change = ndimage.correlate1d(values, [-1, 0, 1], axis=axis, mode="nearest")
    return ndimage.correlate1d(change, [1, 2, 1], axis=other, mode="nearest")


def _is_ridge(across: Array, down: Array, strength: Array) -> Array:
    """Where the gradient is the largest along its own direction, which is taken as one of four.

    Of two equal pixels the first counts across and down, and neither on a diagonal. Beyond the border there is nothing.
    """
    around = numpy.pad(strength, 1)
    height, width = strength.shape

    def at(row: int, column: int) -> Array:
        return around[1 + row : 1 + row + height, 1 + column : 1 + column + width]

    x, y = abs(across).astype(numpy.int64), abs(down).astype(numpy.int64) << BITS
    horizontal = y < x * TANGENT
    vertical = y > x * TANGENT + (x << (BITS + 1))
    falling = (across ^ down) >= 0  # right and down, or left and up
    one = numpy.where(falling, at(-1, -1), at(-1, 1))
    other = numpy.where(falling, at(1, 1), at(1, -1))
    diagonal = (strength > one) & (strength > other)
    along_row = (strength > at(0, -1)) & (strength >= at(0, 1))
    along_column = (strength > at(-1, 0)) & (strength >= at(1, 0))
    return numpy.where(horizontal, along_row, numpy.where(vertical, along_column, diagonal))


def sobel(pixels: Tensor, sigma: float) -> Tensor:
    """The length of the gradient of brightness f32[N, 1, H, W], the largest of each picture being 1."""
    brightness = gray(pixels)
    values = (blurred(brightness, sigma) if sigma else brightness).numpy()
    length = torch.from_numpy(numpy.hypot(_sobel(values, axis=-1), _sobel(values, axis=-2)))
    return length / length.amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-6)
