"""Denoisers that compute less for a while, to be steered away from what they then predict."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..guides import Perturbation
from .numerics import torch

attend = torch.nn.functional.scaled_dot_product_attention


@contextmanager
def perturbed(network: torch.nn.Module, perturbation: Perturbation | None) -> Iterator[None]:
    """A denoiser that computes all pictures with a perturbation, for as long as this is open; afterwards as before.

    Raises ValueError for layers that it has not.
    """
    with ExitStack() as stack:
        for block in [] if perturbation is None else _chosen(network, perturbation.layers):
            if perturbation is not None and perturbation.part == "block":
                stack.enter_context(_replaced(block, partial(_skipped, block)))
                continue
            for module in block.modules():
                if getattr(module, "is_cross_attention", True) is False:
                    stack.enter_context(_replaced(module, partial(_alone, module.forward)))
        yield


@contextmanager
def _replaced(module: torch.nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """A module that computes something else."""
    before = vars(module).get("forward")  # such as an offloading hook
    module.forward = forward
    try:
        yield
    finally:
        del module.forward
        if before is not None:
            module.forward = before


def _skipped(block: torch.nn.Module, hidden_states: Tensor, encoder_hidden_states: Tensor, **_: Any) -> Any:
    """What comes out of a transformer block that does nothing."""
    from diffusers.models.attention import JointTransformerBlock

    return (encoder_hidden_states, hidden_states) if isinstance(block, JointTransformerBlock) else hidden_states


def _alone(forward: Callable[..., Any], hidden_states: Tensor, *given: Any, **named: Any) -> Any:
    """What comes out of a self-attention where each of the pixels f32[N, pixels, D] attends to itself alone."""
    with _Alone(hidden_states.shape[1]):
        return forward(hidden_states, *given, **named)


class _Alone(TorchFunctionMode):
    """Attention in which the first `pixels` tokens do not attend to each other, only to themselves.

    What comes after them is text: everything attends to that, and it to everything.
    """

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.pixels = pixels

    def __torch_function__(
        self, function: Any, types: Any, given: Sequence[Any] = (), named: Mapping[str, Any] | None = None
    ) -> Any:
        named = dict(named or {})
        if function is not attend:
            return function(*given, **named)
        query, _, value = given[:3]
        if value.shape[2] == self.pixels:
            return value
        mask = torch.zeros(query.shape[2], value.shape[2], dtype=query.dtype, device=query.device)
        mask[: self.pixels, : self.pixels] = float("-inf")
        return function(*given, **{**named, "attn_mask": mask.fill_diagonal_(0)})


def _chosen(network: torch.nn.Module, layers: Sequence[str]) -> Sequence[torch.nn.Module]:
    """The transformer blocks that layers name."""
    blocks = {
        name: module
        for name, module in network.named_modules()
        if name.rpartition(".")[0].split(".")[-1] == "transformer_blocks"
    }
    for layer in layers:
        if not any(_names(layer, path) for path in blocks):
            raise ValueError(
                f"the model has no layer {layer!r} with transformer blocks to perturb: name one of these, or a piece"
                f" of its path: {', '.join(blocks)}"
            )
    return [block for path, block in blocks.items() if any(_names(layer, path) for layer in layers)]


def _names(layer: str, path: str) -> bool:
    """Whether a layer's name is a piece of a block's path, from dot to dot."""
    return f".{layer}." in f".{path}."
