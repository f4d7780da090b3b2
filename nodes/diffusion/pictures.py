"""Pictures to latents and back, by the autoencoder."""

import torch

from ..facts import check_decoded_by, check_picture
from ..ports import Image, Latent, Vae
from .noise import Seed, generators, saved
from .numerics import DEVICE
from .weights import load_vae


@torch.no_grad()
def to_latent(vae: Vae, image: Image, seed: Seed | None) -> Latent:
    """Latents of pictures, drawn from the posterior with `seed`, or its mean without one.

    Transparent pictures are laid on white. One picture with several seeds gives as many latents. Raises ValueError
    where the size does not divide by the VAE's factor.
    """
    pixels = _on_white(image.pixels)
    check_picture(*pixels.shape[2:], vae)
    if isinstance(seed, tuple) and len(pixels) == 1:
        pixels = pixels.repeat(len(seed), 1, 1, 1)
    network = load_vae(vae)
    # One by one, as the pipelines do where each picture has its generator.
    posteriors = [network.encode(2 * picture[None].to(DEVICE) - 1).latent_dist for picture in pixels]
    if seed is None:
        return Latent(vae.space.scaling * torch.cat([posterior.mode() for posterior in posteriors]), vae.space)
    sources = generators(seed, len(pixels))
    samples = torch.cat([posterior.sample(source) for posterior, source in zip(posteriors, sources, strict=True)])
    return Latent(vae.space.scaling * samples, vae.space, generators=saved(sources))


@torch.no_grad()
def to_image(vae: Vae, latent: Latent) -> Image:
    """Pictures f32[N, 3, H, W] in 0..1. Raises ValueError for latents of another latent space."""
    check_decoded_by(latent.space, vae.space)
    decoded = load_vae(vae).decode(latent.samples.to(DEVICE) / vae.space.scaling, return_dict=False)[0]
    return Image((decoded * 0.5 + 0.5).clamp(0, 1))


def _on_white(pixels: torch.Tensor) -> torch.Tensor:
    if pixels.shape[1] == 3:
        return pixels
    colour, opacity = pixels[:, :3], pixels[:, 3:]
    return colour * opacity + (1 - opacity)
