"""Pictures [N, C, H, W] in 0..1 cut, enlarged, laid on each other and blurred."""

from collections.abc import Sequence

import numpy
from scipy import ndimage
from torch import Tensor

from ..facts import together
from .masks import rgb
from .numerics import torch


def with_opacity(pixels: Tensor, opacity: Tensor | None = None) -> Tensor:
    """Pictures with the opacity given, or their own; they are opaque where there is none."""
    if opacity is None and pixels.shape[1] == 4:
        return pixels
    opacity = torch.ones_like(pixels[:, :1]) if opacity is None else opacity
    count = together({"pictures": len(pixels), "masks": len(opacity)})
    return torch.cat([pixels.expand(count, -1, -1, -1), opacity.expand(count, -1, -1, -1)], dim=1)


def flattened(pixels: Tensor, colour: str) -> Tensor:
    """Pictures [N, 3, H, W] laid on a colour where they are transparent."""
    if pixels.shape[1] == 3:
        return pixels
    shown, opacity = pixels[:, :3], pixels[:, 3:]
    return shown * opacity + rgb(colour) * (1 - opacity)


def blurred(pixels: Tensor, sigma: float) -> Tensor:
    """Convolved with a Gaussian of `sigma` pixels; the outermost pixels go on beyond the border."""
    return torch.from_numpy(ndimage.gaussian_filter(pixels.numpy(), (0, 0, sigma, sigma), mode="nearest"))


def padded(
    pixels: Tensor, margins: tuple[int, int, int, int], fill: str, colour: str, overlap: int
) -> tuple[Tensor, Tensor]:
    """Pictures with margins (left, top, right, bottom), and the mask of what is new and of `overlap` pixels inside."""
    left, top, right, bottom = margins
    height, width = pixels.shape[2:]
    around = ((0, 0), (0, 0), (top, bottom), (left, right))
    if fill == "colour":
        plain = torch.cat([rgb(colour), torch.ones(pixels.shape[1] - 3, 1, 1)])
        made = plain.expand(len(pixels), -1, top + height + bottom, left + width + right).clone()
        made[:, :, top : top + height, left : left + width] = pixels
    else:
        how = "edge" if fill == "edge" else "symmetric"
        made = torch.from_numpy(numpy.pad(pixels.numpy(), around, mode=how))
    first_row, first_column = (margin + overlap if margin else 0 for margin in (top, left))
    last_row = top + height - (overlap if bottom else 0)
    last_column = left + width - (overlap if right else 0)
    mask = torch.ones(1, 1, *made.shape[2:])
    mask[:, :, first_row : max(last_row, first_row), first_column : max(last_column, first_column)] = 0
    return made, mask


def composed(below: Tensor, over: Tensor, mask: Tensor | None, left: int, top: int, opacity: float) -> Tensor:
    """Pictures with others laid on them at a place, as their mask [N, 1, h, w] and their opacity say.

    The operator `over` of Porter and Duff (1984). Raises ValueError where they do not touch.
    """
    amount = torch.full_like(over[:, :1], opacity)
    if mask is not None:
        amount = amount * mask
    if over.shape[1] == 4:
        amount = amount * over[:, 3:]
    count = together({"pictures": len(below), "pictures over them": len(over), "masks": len(amount)})
    height, width = below.shape[2:]
    first_row, last_row = max(top, 0), min(top + over.shape[2], height)
    first_column, last_column = max(left, 0), min(left + over.shape[3], width)
    if first_row >= last_row or first_column >= last_column:
        raise ValueError(
            f"what is laid over the picture begins at {left}, {top} and is {over.shape[3]} by {over.shape[2]}: it is"
            f" wholly outside of the picture of {width} by {height}"
        )
    inside = (..., slice(first_row - top, last_row - top), slice(first_column - left, last_column - left))
    colour, amount = over[:, :3][inside], amount[inside]
    made = below.expand(count, -1, -1, -1).clone()
    part = made[:, :, first_row:last_row, first_column:last_column]
    if below.shape[1] == 3:
        part[:] = part * (1 - amount) + colour * amount
        return made
    beneath = part[:, 3:] * (1 - amount)
    whole = beneath + amount
    mixed = torch.where(whole > 0, (part[:, :3] * beneath + colour * amount) / whole, part[:, :3])
    exact = torch.where(amount == 0, part[:, :3], torch.where(amount == 1, colour, mixed))
    part[:] = torch.cat([exact, torch.where(amount == 0, part[:, 3:], whole)], dim=1)
    return made


def area_of(mask: Tensor, margin: int, multiple: int) -> tuple[int, int, int, int]:
    """Left, top, width and height of what masks cover with a margin, the sides to a multiple, inside the picture.

    Raises ValueError where they cover nothing.
    """
    covered = (mask > 0).any(dim=0).any(dim=0)
    if not covered.any():
        raise ValueError("the mask is 0 everywhere: there is nothing around which to crop")
    left, width = _span(covered.any(dim=0).nonzero().flatten().tolist(), covered.shape[1], margin, multiple)
    top, height = _span(covered.any(dim=1).nonzero().flatten().tolist(), covered.shape[0], margin, multiple)
    return left, top, width, height


def _span(covered: Sequence[int], whole: int, margin: int, multiple: int) -> tuple[int, int]:
    """The start and the length of what holds these places along one side."""
    start, end = max(covered[0] - margin, 0), min(covered[-1] + 1 + margin, whole)
    length = -(-(end - start) // multiple) * multiple
    if length > whole:
        return 0, whole
    middle = (start + end) // 2
    return min(max(middle - length // 2, 0), whole - length), length
