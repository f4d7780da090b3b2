"""Pictures made larger by networks (ESRGAN, Wang et al. 2018, arXiv:1809.00219, and many later ones), by spandrel."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from safetensors.torch import load
from torch import Tensor

from latentgraph.engine.ports import File

from .finite import check_finite
from .numerics import DEVICE, torch
from .shapes import shapes

OVERLAP = 16
"""Pixels of a picture that tiles have in common with their neighbours, over which one fades into the other."""


def scale_of(file: File) -> int:
    """By how much an upscaler enlarges. Raises ValueError for a file that is none."""
    return int(_network(file).scale)


@torch.no_grad()
def upscaled(file: File, pictures: Tensor, tile: int | None, done: Callable[[int, int], None]) -> Tensor:
    """Pictures f32[N, 3 or 4, H, W] in 0..1, larger by the upscaler's factor; opacity is enlarged by interpolation.

    Computed in squares of at most `tile` pixels, or as a whole where it is None. Calls `done` after each, with how many
    of how many.
    """
    network = _network(file)
    shape = (pictures.shape[0], 3, pictures.shape[2] * network.scale, pictures.shape[3] * network.scale)
    places = list(_places(*pictures.shape[2:], tile))
    result, weights = torch.zeros(shape), torch.zeros(1, 1, *shape[2:])
    for index, (rows, columns) in enumerate(places):
        for number, picture in enumerate(pictures[:, :3]):
            part = network(picture[None, :, rows, columns].contiguous().to(DEVICE)).cpu()
            if len(places) == 1:
                result[number] = part[0]
                continue
            weight = _fading(part.shape[2], network.scale)[:, None] * _fading(part.shape[3], network.scale)
            where = (_enlarged(rows, network.scale), _enlarged(columns, network.scale))
            result[number][:, *where] += part[0] * weight
            if number == 0:
                weights[0, 0][*where] += weight
        done(index + 1, len(places))
    if len(places) > 1:
        result /= weights
    if pictures.shape[1] == 4:
        opacity = torch.nn.functional.interpolate(pictures[:, 3:], shape[2:], mode="bilinear")
        result = torch.cat([result, opacity], dim=1)
    return result.clamp(0, 1)


@lru_cache(maxsize=1)
def _network(file: File) -> Any:
    try:
        from spandrel import ImageModelDescriptor, ModelLoader
    except ImportError as error:
        raise ValueError(
            "upscalers need spandrel, which is not installed: pip install 'latentgraph[upscale]'"
        ) from error
    where = file.path or file.name
    shapes(file)
    tensors = load(file.read())
    check_finite(tensors, where)
    try:
        found = ModelLoader(device=DEVICE).load_from_state_dict(tensors)
    except Exception as error:  # which it is depends on the architecture that it was taken for
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise ValueError(f"{where} is no upscaler that spandrel knows: {reason}") from error
    if not isinstance(found, ImageModelDescriptor) or found.input_channels != 3 or found.output_channels != 3:
        raise ValueError(f"{where} is a {found.architecture.name}, which does not make pictures of pictures")
    found.model.requires_grad_(False)
    return found.float().eval()


def _places(height: int, width: int, tile: int | None) -> Iterator[tuple[slice, slice]]:
    for top in _starts(height, tile):
        for left in _starts(width, tile):
            yield slice(top, min(height, top + (tile or height))), slice(left, min(width, left + (tile or width)))


def _starts(side: int, tile: int | None) -> list[int]:
    """Where tiles begin that cover a side; the last ends where it ends."""
    if tile is None or side <= tile:
        return [0]
    return [*range(0, side - tile, tile - OVERLAP), side - tile]


def _enlarged(part: slice, scale: int) -> slice:
    return slice(part.start * scale, part.stop * scale)


def _fading(length: int, scale: int) -> Tensor:
    """How much each pixel of a tile counts along one side: less towards its ends."""
    place = torch.arange(length) + 0.5
    return torch.minimum(place, length - place).div(OVERLAP * scale).clamp(max=1)
