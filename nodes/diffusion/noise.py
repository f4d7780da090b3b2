"""Random numbers: one CPU generator to each picture, so that a batch holds the same pictures as single runs."""

from collections.abc import Sequence

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
