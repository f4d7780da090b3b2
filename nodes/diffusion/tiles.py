"""How an autoencoder stays within the memory there is: whole pictures, one after the other, or in tiles.

The tiles are diffusers' own: a quarter of each overlaps its neighbour, and is blended with it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import psutil
from torch import Tensor

from latentgraph.engine.context import Context

from ..areas import Tiles
from .memory import free_on_device
from .numerics import DEVICE

LAYERS = 5
"""How many times the output of its widest layer an autoencoder holds at once, as measured on the CPU in float32."""

SHARE = 0.8
"""Of the free memory that is counted on: other programs need some, too."""

OVERLAP = 0.25
"""The share of a tile's side that it has in common with its neighbour."""

_CGROUP = Path("/sys/fs/cgroup")

Coder = Literal["encoder", "decoder"]

Way = Literal["together", "one by one", "in tiles"]

Made = TypeVar("Made")


@dataclass(frozen=True)
class Tiling:
    """Whether pictures are computed in tiles, of how many pixels along each side, and who is told."""

    tiles: Tiles = "auto"
    side: int = 512
    context: Context = field(default_factory=Context)


def computed(
    network: Any, coder: Coder, compute: Callable[[Tensor], Made], given: Tensor, pixels: int, tiling: Tiling
) -> list[Made]:
    """What an autoencoder makes of pictures, or of latents of pictures, of so many pixels each: in one part or more.

    `compute` is given them on the device, in the type of the network. Pictures are encoded one by one, as the pipelines
    do where each has its generator.
    """
    together = 1 if coder == "encoder" else len(given)
    chosen = way(tiling.tiles, network, pixels, together, coder)
    at_once = 1 if coder == "encoder" or (chosen != "together" and tiling.tiles == "auto") else len(given)
    if tiling.tiles == "auto" and chosen != "together":
        needed, free = bytes_needed(network, pixels * together, coder) / 2**30, free_memory() / 2**30
        # What is free now is in no key, and the bits are others than those of the whole.
        tiling.context.do_not_keep(
            f"the VAE's {coder} works {chosen}, because it needs about {needed:.1f} GiB at once, and {free:.1f} GiB are"
            f" free; {'set tiles to `on`' if chosen == 'in tiles' else 'make batches smaller'} to have it kept"
        )
    parts = []
    with tiled(network, tiling.side if chosen == "in tiles" else None):
        for part in given.split(at_once):
            tiling.context.check_cancelled()
            parts.append(compute(part.to(DEVICE, network.dtype)))
    return parts


def way(tiles: Tiles, network: Any, pixels: int, count: int, coder: Coder) -> Way:
    """How `count` pictures of `pixels` pixels each are to be computed, by the memory that is free now."""
    if tiles != "auto":
        return "in tiles" if tiles == "on" else "together"
    free = free_memory() * SHARE
    if bytes_needed(network, pixels * count, coder) <= free:
        return "together"
    return "one by one" if bytes_needed(network, pixels, coder) <= free else "in tiles"


def bytes_needed(network: Any, pixels: int, coder: Coder) -> int:
    """About how much memory so many pixels take while they are encoded or decoded together.

    A decoder enlarges before it narrows, so that each size but the smallest has the channels of the next smaller one.
    """
    channels = list(network.config.block_out_channels)
    if coder == "decoder":
        channels = [*channels[1:], channels[-1]]
    widest = max(width / 4**level for level, width in enumerate(channels))
    return int(LAYERS * widest * pixels * network.dtype.itemsize)


def free_memory() -> int:
    """Bytes that are free where networks compute: on a GPU, or in the computer; in a container, what it may take."""
    on_device = free_on_device()
    if on_device is not None:
        return on_device
    free = int(psutil.virtual_memory().available)
    try:
        limit, used = (int((_CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):  # no container, or one without a limit
        return free
    return min(free, limit - used)


@contextmanager
def tiled(network: Any, side: int | None) -> Iterator[None]:
    """In it, an autoencoder computes in square tiles of `side` pixels, and what is no larger than one, as ever."""
    factor = 2 ** (len(network.config.block_out_channels) - 1)
    wanted = {"use_tiling": side is not None}
    if side is not None:
        wanted |= {
            "tile_sample_min_size": side,
            "tile_latent_min_size": side // factor,
            "tile_overlap_factor": OVERLAP,
        }
    before = {name: getattr(network, name) for name in wanted}
    try:
        for name, value in wanted.items():
            setattr(network, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(network, name, value)
