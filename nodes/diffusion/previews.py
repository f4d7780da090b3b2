"""Rough pictures of latents, to be shown while they are drawn."""

import time

from torch import Tensor

from latentgraph.engine.context import Context

from ..references import Space
from .numerics import torch

PAUSE = 0.1
"""Seconds from one preview to the next, at least."""

RGB = {
    Space(4, 8, 0.18215): (  # fitted by least squares to Stable Diffusion 1's VAE
        (0.3512, 0.2297, 0.3227),
        (0.3250, 0.4974, 0.2350),
        (-0.2829, 0.1762, 0.2721),
        (-0.2120, -0.2616, -0.7177),
    )
}
"""Linear approximations of decoders: one row of red, green and blue for each latent channel."""


class Teller:
    """Says how far a sampling is, with a preview now and then; `steps` are those it makes."""

    def __init__(self, context: Context, space: Space, steps: int) -> None:
        self.context, self.space, self.steps = context, space, steps
        self.next = 0.0

    def __call__(self, step: int, samples: Tensor) -> None:
        self.context.progress(step, self.steps)
        now = time.monotonic()
        if now >= self.next or step == self.steps:
            self.next = now + PAUSE
            self.context.preview(preview(samples[0], self.space))


def preview(samples: Tensor, space: Space) -> Tensor:
    """A rough picture f32[3, h, w] in 0..1 of latents [C, h, w]: linear, so one pixel for each latent pixel.

    Of a latent space that is not known, the first three channels.
    """
    colours = torch.tensor(RGB[space]) if space in RGB else torch.eye(space.channels, 3) / 2
    even = samples.float().cpu() / samples.float().cpu().std().clamp(min=1e-5)  # noise is far larger than a picture
    return (torch.einsum("chw,cr->rhw", even, colours) / 2 + 0.5).clamp(0, 1)
