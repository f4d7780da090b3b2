"""How much memory networks may take, and which are kept between their uses.

`LATENTGRAPH_MODEL_MEMORY` is a size such as `12GB`; without it networks take half of the computer's memory, or eight
tenths of a GPU's where they lie on one. `0` keeps nothing.
"""

import gc
import os
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

from torch import nn

from latentgraph.engine.store import bytes_meant

from .numerics import DEVICE, torch

_CGROUP = Path("/sys/fs/cgroup/memory.max")
"""Where Linux says how much memory a container may take."""


class Kept:
    """Networks by what they are, shared by all that use them and kept for the next use within a budget of bytes.

    Where room is needed, those that were used the longest ago go first. What is in use never goes: whoever else wants
    it shares it, even where it exceeds the budget. Weights that are mapped from a file go cheaply: the system still
    has the file's pages, so that reading it again is quick. Not safe to use from several threads at once.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._kept: OrderedDict[Hashable, nn.Module] = OrderedDict()
        """The one used last is at the end."""
        self._alive: weakref.WeakValueDictionary[Hashable, nn.Module] = weakref.WeakValueDictionary()
        """Also those that somebody uses and that are not kept."""

    def take(self, what: Hashable, size: int, read: Callable[[], nn.Module]) -> nn.Module:
        """The network, read unless it is there; `size` is about how many bytes it will have."""
        network = self._alive.get(what)
        if network is None:
            self.make_room(size)
            network = self._alive[what] = read()
        self._kept[what] = network
        self._kept.move_to_end(what)
        self.make_room(0)
        return network

    def make_room(self, size: int) -> None:
        """Let go of what nobody uses, as long as `size` bytes more are too much."""
        if self.bytes + size <= self.budget:
            return
        used: OrderedDict[Hashable, nn.Module] = OrderedDict()
        while self._kept and self.bytes + size > self.budget:
            what, network = self._kept.popitem(last=False)
            seen = weakref.ref(network)
            del network
            if seen() is not None:
                gc.collect()  # hooks and the networks that have them refer to each other
            network_in_use = seen()
            if network_in_use is not None:
                used[what] = network_in_use
        self._kept = used | self._kept
        if DEVICE.type == "cuda":
            torch.cuda.empty_cache()

    def clear(self) -> None:
        """Keep nothing of what was kept so far."""
        self._kept.clear()

    @property
    def bytes(self) -> int:
        """What all networks take that are in memory."""
        return sum(map(size_of, list(self._alive.values())))


def size_of(network: nn.Module) -> int:
    """The bytes of a network's weights."""
    tensors: list[Any] = [*network.parameters(), *network.buffers()]
    return sum(tensor.nbytes for tensor in tensors)


def budget() -> int:
    """How many bytes networks may take together. Raises UserError for a LATENTGRAPH_MODEL_MEMORY of no sense."""
    said = os.environ.get("LATENTGRAPH_MODEL_MEMORY")
    if said:
        return bytes_meant(said)
    if DEVICE.type == "cuda":
        return int(torch.cuda.mem_get_info(DEVICE)[1] * 0.8)
    return memory_of_computer() // 2


def memory_of_computer() -> int:
    """In bytes; in a container, what it may take."""
    try:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError):  # Windows
        there = 16 * 2**30
    try:
        return min(there, int(_CGROUP.read_text()))
    except (OSError, ValueError):  # no container, or one without a limit
        return there


def free_on_device() -> int | None:
    """How many bytes a GPU has left, with what torch holds without using it; None where there is no GPU."""
    if DEVICE.type != "cuda":
        return None
    unused = torch.cuda.memory_reserved(DEVICE) - torch.cuda.memory_allocated(DEVICE)
    return int(torch.cuda.mem_get_info(DEVICE)[0]) + unused
