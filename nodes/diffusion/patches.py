"""Changes to networks that last no longer than one use of them."""

import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from ..references import Patch
from .lora import inject, remove

_locks: weakref.WeakKeyDictionary[nn.Module, threading.RLock] = weakref.WeakKeyDictionary()
_looking = threading.Lock()


@contextmanager
def patched(network: Any, patches: Sequence[Patch]) -> Iterator[Any]:
    """In it, the network computes with these patches; afterwards it is what it was, bit for bit.

    Networks are shared by all that use them. Whoever computes with one that can have patches does so in here, without
    patches, too: one use at a time is let in, so nobody meets the patches of another.

    Raises ValueError for a patch that does not fit the network.
    """
    with _lock(network):
        wanted = [patch for patch in patches if patch.strength]
        try:
            if wanted:
                inject(network, wanted)
            yield network
        finally:
            if wanted:
                remove(network)


def _lock(network: nn.Module) -> threading.RLock:
    with _looking:
        return _locks.setdefault(network, threading.RLock())
