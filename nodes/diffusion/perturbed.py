"""Denoisers that compute less for a while, to be steered away from what they then predict."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ..guides import Perturbation
from .numerics import torch


@contextmanager
def perturbed(network: torch.nn.Module, perturbation: Perturbation | None) -> Iterator[None]:
    """A denoiser that computes all pictures with a perturbation, for as long as this is open; afterwards as before.

    Raises ValueError for layers that it has not.
    """
    if perturbation is None:
        yield
        return
    from diffusers import LayerSkipConfig, apply_layer_skip
    from diffusers.hooks import HookRegistry
    from diffusers.hooks.layer_skip import _LAYER_SKIP_HOOK

    attention = perturbation.part == "attention"
    chosen = _chosen(network, perturbation.layers)
    try:
        for stack, indices in chosen.items():
            skipped = LayerSkipConfig(
                list(indices),
                fqn=stack,
                skip_attention=not attention,
                skip_attention_scores=attention,
                skip_ff=not attention,
            )
            apply_layer_skip(network, skipped)
        yield
    finally:
        HookRegistry.check_if_exists_or_initialize(network).remove_hook(_LAYER_SKIP_HOOK, recurse=True)


def _chosen(network: torch.nn.Module, layers: Sequence[str]) -> Mapping[str, Sequence[int]]:
    """The transformer blocks that layers name: their numbers, by the path of the list that they are in."""
    blocks = list(_blocks(network))
    chosen: dict[str, list[int]] = defaultdict(list)
    for layer in layers:
        if not any(f".{layer}." in f".{block}." for block in blocks):
            listed = ", ".join(blocks) or "none"
            raise ValueError(
                f"the model has no layer {layer!r} with transformer blocks to perturb: name one of these, or a piece"
                f" of its path: {listed}"
            )
    for block in blocks:
        if any(f".{layer}." in f".{block}." for layer in layers):
            stack, _, index = block.rpartition(".")
            chosen[stack].append(int(index))
    return chosen


def _blocks(network: Any) -> Iterator[str]:
    """The paths of all transformer blocks."""
    for name, _ in network.named_modules():
        if name.rpartition(".")[0].endswith("transformer_blocks"):
            yield name
