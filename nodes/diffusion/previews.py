"""Rough pictures of latents, to be shown while they are drawn."""

import time

from torch import Tensor

from latentgraph.engine.context import Context

from ..references import Space
from . import tiny_vae
from .numerics import torch

PAUSE, SHARE = 0.1, 0.05
"""From one preview to the next pass so many seconds at least, and so much time that making the one is this share."""

SIDE = 256
"""Of a preview, at most, in pixels."""

RGB = {
    Space(4, 8, 0.18215): (  # fitted by least squares to Stable Diffusion 1's VAE
        (0.3512, 0.2297, 0.3227),
        (0.3250, 0.4974, 0.2350),
        (-0.2829, 0.1762, 0.2721),
        (-0.2120, -0.2616, -0.7177),
    ),
    # Vass 2023, huggingface.co/blog/TimothyAlexisVass/explaining-the-sdxl-latent-space, without its constant part
    Space(4, 8, 0.13025): (
        (0.4706, 0.4706, 0.4706),
        (-0.4706, -0.0392, 0.0784),
        (0.1961, 0.1176, -0.0392),
        (-0.5490, -0.3922, -0.2745),
    ),
}
"""Linear approximations of decoders: one row of red, green and blue for each latent channel."""


class Teller:
    """Says how far a sampling is, with a preview now and then; `steps` are those it makes."""

    def __init__(self, context: Context, space: Space, steps: int) -> None:
        self.context, self.space, self.steps = context, space, steps
        self.next = 0.0
        self.decoder = tiny_vae.find_decoder(space)

    def __call__(self, step: int, samples: Tensor) -> None:
        self.context.progress(step, self.steps)
        now = time.monotonic()
        if now >= self.next or step == self.steps:
            self.context.preview(self._preview(samples[0]))
            done = time.monotonic()
            self.next = done + max(PAUSE, (done - now) / SHARE)

    def _preview(self, samples: Tensor) -> Tensor:
        if self.decoder is not None:
            try:
                return _small(tiny_vae.decoded(self.decoder, _even(samples)))
            except Exception as error:  # a preview is worth no sampling
                self.context.log(f"previews are made without {self.decoder}, which cannot be used: {error}")
                self.decoder = None
        return preview(samples, self.space)


def preview(samples: Tensor, space: Space) -> Tensor:
    """A rough picture f32[3, h, w] in 0..1 of latents [C, h, w]: linear, so one pixel for each latent pixel.

    Of a latent space that is not known, the first three channels.
    """
    colours = torch.tensor(RGB[space]) if space in RGB else torch.eye(space.channels, 3) / 2
    return (torch.einsum("chw,cr->rhw", _even(samples), colours) / 2 + 0.5).clamp(0, 1)


def _even(samples: Tensor) -> Tensor:
    """Latents of the spread that pictures have: noise is far larger."""
    spread = samples.float().cpu()
    return spread / spread.std().clamp(min=1e-5)


def _small(picture: Tensor) -> Tensor:
    factor = SIDE / max(picture.shape[1:])
    if factor >= 1:
        return picture
    return torch.nn.functional.interpolate(picture[None], scale_factor=factor, mode="area")[0]
