"""The normal numbers that torch draws on an NVIDIA card, computed on the CPU: the same everywhere, card or not.

Philox 4x32 with 10 rounds (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") and the Box-Muller
transform as cuRAND does it. The last digits may differ from the card's, whose logarithm and sine are its own.
"""

import math
from collections.abc import Sequence

import numpy
from torch import Tensor

from .numerics import torch

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
"""What the key grows by from round to round."""

_WORD = 0xFFFFFFFF


def philox(counter: Sequence[numpy.ndarray], key: tuple[int, int]) -> list[numpy.ndarray]:
    """Four random words u64 below 2^32 for each counter of four such words, under a key of two."""
    c0, c1, c2, c3 = (word.astype(numpy.uint64) for word in counter)
    k0, k1 = key
    for _ in range(ROUNDS):
        high0, low0 = _product(c0, MULTIPLIERS[0])
        high1, low1 = _product(c2, MULTIPLIERS[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ numpy.uint64(k0), low1, high0 ^ c3 ^ numpy.uint64(k1), low0
        k0, k1 = (k0 + WEYL[0]) & _WORD, (k1 + WEYL[1]) & _WORD
    return [c0, c1, c2, c3]


def card_noise(seeds: Sequence[int], shape: Sequence[int]) -> Tensor:
    """Standard normal f32[N, *shape]: what `torch.randn(shape, device="cuda")` begins with after each of the seeds.

    For up to as many numbers to a picture as a card has threads; more would depend on the card.
    """
    return torch.stack([torch.from_numpy(_normal(seed, math.prod(shape)).reshape(tuple(shape))) for seed in seeds])


def _normal(seed: int, count: int) -> numpy.ndarray:
    """The first number that each of `count` threads draws."""
    thread, zero = numpy.arange(count), numpy.zeros(count)
    first, second, _, _ = philox([zero, zero, thread, zero], (seed & _WORD, seed >> 32))
    part = 2.0**-32
    radius = numpy.sqrt(-2 * numpy.log(first * part + part / 2))
    return (radius * numpy.sin((second * part + part / 2) * (2 * math.pi))).astype(numpy.float32)


def _product(words: numpy.ndarray, factor: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """The upper and the lower 32 bits of products."""
    whole = words * numpy.uint64(factor)
    return whole >> numpy.uint64(32), whole & numpy.uint64(_WORD)
