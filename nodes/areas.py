"""Rectangles in pictures, and the sizes that pictures get: worked out before anything runs, without torch."""

from collections.abc import Mapping
from typing import Any, Literal

from latentgraph.engine.node import Wrong

MAX_PIXELS = 64 * 2**20
"""Of a picture that is read from a file."""

Fit = Literal["cover", "contain", "stretch"]
"""Fill the size and cut off what is too much; stay inside it; take no care of the proportions."""

Tiles = Literal["auto", "on", "off"]
"""Whether an autoencoder computes in tiles: `auto` where memory is short."""


def check_area(left: int, top: int, width: int, height: int, pixels: tuple[int, int]) -> None:
    """Raises Wrong where a rectangle is not wholly in a picture of this height and width."""
    for name, other, start, length, whole in (
        ("width", "left", left, width, pixels[1]),
        ("height", "top", top, height, pixels[0]),
    ):
        if start + length > whole:
            raise Wrong(name, f"{other} {start} and {name} {length} reach to {start + length}, the picture to {whole}")


def check_same_size(name: str, pixels: tuple[int, int], what: str, other: tuple[int, int]) -> None:
    """Raises Wrong where the input `name`, a mask or a picture, has another height and width than another one."""
    if pixels != other:
        raise Wrong(
            name,
            f"the {name} is {pixels[1]} by {pixels[0]}, the {what} {other[1]} by {other[0]}: resize one of them first",
        )


def size_of_fit(pixels: tuple[int, int], width: int, height: int, fit: Fit) -> tuple[int, int]:
    """The height and width that pictures of a height and width have after they were resized."""
    if fit != "contain":
        return height, width
    factor = min(height / pixels[0], width / pixels[1])
    return max(1, round(pixels[0] * factor)), max(1, round(pixels[1] * factor))


def size_of_scale(pixels: tuple[int, int], factor: float, multiple: int = 1) -> tuple[int, int]:
    """A height and width times a factor, each to the nearest multiple. Raises Wrong for more than files may have."""
    height, width = (max(1, round(side * factor / multiple)) * multiple for side in pixels)
    if height * width > MAX_PIXELS:
        raise Wrong("factor", f"{factor:g} gives {width:,} by {height:,} pixels, at most {MAX_PIXELS:,} are possible")
    return height, width


def all_known(known: Mapping[str, Any], *names: str) -> tuple[Any, ...] | None:
    """The values of these inputs; None where one of them is not known."""
    return tuple(known[name] for name in names) if set(names) <= known.keys() else None


def check_tile(side: int, factor: int) -> None:
    """Raises Wrong for a side that tiles cannot have: a quarter of it is the overlap, in whole latent pixels."""
    if side % (4 * factor):
        near = max(1, round(side / (4 * factor))) * 4 * factor
        raise Wrong("tile_size", f"tile_size is {side}, which {4 * factor} does not divide; {near} is near")
