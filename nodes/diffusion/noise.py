"""Random numbers: one CPU generator to each picture, so that a batch holds the same pictures as single runs."""

from collections.abc import Sequence
from typing import Any

import torchsde
from torch import Tensor

from .numerics import torch

Seed = int | tuple[int, ...]


def generators(seed: Seed, count: int) -> list[torch.Generator]:
    """New generators for `count` pictures: seeded `seed`, `seed + 1`, …, or each with its own of several seeds.

    Raises ValueError where there are several seeds, but not `count`.
    """
    seeds = tuple(range(seed, seed + count)) if isinstance(seed, int) else seed
    if len(seeds) != count:
        raise ValueError(
            f"{len(seeds)} seeds for {count} pictures: give one for each, or a single number to count from"
        )
    return [torch.Generator().manual_seed(value) for value in seeds]


def restored(states: Sequence[bytes]) -> list[torch.Generator]:
    """Generators that go on where those of `saved` stood."""
    restored = []
    for state in states:
        generator = torch.Generator()
        set_state(generator, state)
        restored.append(generator)
    return restored


def set_state(generator: torch.Generator, state: bytes) -> None:
    """Let a generator go on where one of `saved` stood."""
    generator.set_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))


def saved(generators: Sequence[torch.Generator]) -> tuple[bytes, ...]:
    """Where the generators stand, as plain data."""
    return tuple(generator.get_state().numpy().tobytes() for generator in generators)


def noise(generators: Sequence[torch.Generator], shape: Sequence[int]) -> Tensor:
    """Standard normal f32[N, *shape] on the CPU, one draw from each generator.

    Never one draw for all: a draw of several pictures is not, in general, the draws of each.
    """
    return torch.stack([torch.randn(tuple(shape), generator=generator) for generator in generators])


def spherical(first: Tensor, second: Tensor, amount: float) -> Tensor:
    """From `first` (amount 0) to `second` (1) along a great circle, each f32[1 or N, C, h, w]; the ends are exact."""
    count = max(len(first), len(second))
    if amount in (0, 1):
        return (second if amount else first).expand(count, -1, -1, -1).contiguous()
    one, other = first.double(), second.double()
    dot = torch.nn.functional.cosine_similarity(one.flatten(1), other.flatten(1)).clamp(-1, 1)
    angle = torch.acos(dot).view(-1, 1, 1, 1)
    whole = torch.sin(angle)
    near = whole < 1e-6  # the same noise, or its opposite: no circle is the shortest
    ratios = [
        torch.where(near, torch.full_like(angle, share), torch.sin(share * angle) / whole.clamp(min=1e-6))
        for share in (1 - amount, amount)
    ]
    return (ratios[0] * one + ratios[1] * other).float()


class Gaussian:
    """Fresh standard normal noise f32[N, *shape] at every call, one draw from each picture's generator."""

    def __init__(self, generators: Sequence[torch.Generator], shape: Sequence[int]) -> None:
        self.generators, self.shape = generators, tuple(shape)

    def __call__(self, sigma: float, lower: float) -> Tensor:
        return noise(self.generators, self.shape)


DIGITS = 8
"""To how many digits sigmas are told apart, as parts of the highest."""


class Brownian:
    """The increments f32[N, *shape] of one Brownian path for each picture, with sigma as time, scaled to variance 1.

    So a step that is made in two parts gets noise that adds up, in whatever order it is asked for. The seeds of the
    paths are drawn from the pictures' generators once, at the first call, and kept in `memory`, from which the paths
    grow again elsewhere.
    """

    def __init__(
        self,
        generators: Sequence[torch.Generator],
        shape: Sequence[int],
        sigmas: Sequence[float],
        memory: dict[str, Any],
    ) -> None:
        self.generators, self.shape, self.highest, self.memory = generators, tuple(shape), max(sigmas), memory
        self.paths: dict[int, torchsde.BrownianInterval] = {}

    def __call__(self, sigma: float, lower: float) -> Tensor:
        if "paths" not in self.memory:
            self.memory["paths"] = [
                int(torch.randint(0, 2**63 - 1, [], generator=generator)) for generator in self.generators
            ]
        late, early = round(sigma / self.highest, DIGITS), round(lower / self.highest, DIGITS)
        grown = torch.stack([self._path(seed)(early, late) for seed in self.memory["paths"]])
        return grown / (late - early) ** 0.5

    def _path(self, seed: int) -> torchsde.BrownianInterval:
        """The path from time 0 to 1 of a seed. Its tree of halves makes it the same in whatever order it is cut."""
        if seed not in self.paths:
            self.paths[seed] = torchsde.BrownianInterval(
                0.0, 1.0, self.shape, entropy=seed, tol=10**-DIGITS, halfway_tree=True
            )
        return self.paths[seed]
