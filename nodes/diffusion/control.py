"""What ControlNets add to a denoiser (Zhang et al. 2023, arXiv:2302.05543)."""

from collections.abc import Sequence

from torch import Tensor

from ..guides import Control
from .numerics import torch
from .weights import load_controlnet

Residuals = tuple[list[Tensor] | None, Tensor | None]
"""What is added to the skip connections of a U-Net, and to its middle; None where nothing is."""


def residuals(
    controls: Sequence[Control],
    sample: Tensor,
    timestep: Tensor,
    tokens: Tensor,
    added: dict[str, Tensor] | None,
    index: int,
    count: int,
    dtype: torch.dtype,
) -> Residuals:
    """The sum of what several ControlNets add to one evaluation, number `index` of `count`.

    `sample` [B, C, h, w] is what the denoiser takes, scaled; `tokens` [B, T, D] and `added` (of Stable Diffusion XL)
    are as for the denoiser; the picture of each control is [B, 3, H, W] on the same device. A ControlNet takes part
    where its range covers the whole of the evaluation's share of the steps, as in diffusers' pipelines.

    Raises ValueError where a picture is not as large as the picture that is drawn.
    """
    down: list[Tensor] | None = None
    middle: Tensor | None = None
    for control in controls:
        if index / count < control.start or (index + 1) / count > control.end:
            continue
        network = load_controlnet(control.net)
        factor = 2 ** (len(network.config.conditioning_embedding_out_channels) - 1)
        wanted = (sample.shape[2] * factor, sample.shape[3] * factor)
        if tuple(control.image.shape[2:]) != wanted:
            raise ValueError(
                f"the ControlNet's picture is {control.image.shape[3]} by {control.image.shape[2]}, the picture that is"
                f" drawn {wanted[1]} by {wanted[0]}: bring it to that size with ResizeImage"
            )
        more, more_middle = network(
            sample.to(network.dtype),
            timestep,
            encoder_hidden_states=tokens.to(network.dtype),
            controlnet_cond=control.image.to(network.dtype),
            conditioning_scale=control.strength,
            added_cond_kwargs=added,
            return_dict=False,
        )
        if down is None or middle is None:
            down, middle = list(more), more_middle
        else:
            down = [mine + other for mine, other in zip(down, more, strict=True)]
            middle = middle + more_middle
    if down is None or middle is None:
        return None, None
    return [each.to(dtype) for each in down], middle.to(dtype)
