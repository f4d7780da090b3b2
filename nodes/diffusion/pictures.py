"""Pictures to latents and back, by the autoencoder."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..areas import check_same_size
from ..facts import check_decoded_by, check_picture, together
from ..ports import Image, Inpaint, Latent, Mask
from ..references import Space, Vae
from .editing import flattened
from .noise import Seed, generators, noise, saved
from .tiles import Tiling, computed
from .weights import load_vae

WHITE = "#ffffff"


@torch.no_grad()
def to_latent(vae: Vae, image: Image, seed: Seed | None, tiling: Tiling) -> Latent:
    """Latents of pictures, drawn from the posterior with `seed`, or its mean without one.

    Transparent pictures are laid on white. One picture with several seeds gives as many latents. Raises ValueError
    where the size does not divide by the VAE's factor.
    """
    pixels = flattened(image.pixels, WHITE)
    check_picture(*pixels.shape[2:], vae)
    posteriors = _posteriors(vae, 2 * pixels - 1, tiling)
    if seed == ():
        raise ValueError("the list of seeds is empty: give a number, or one for each latent")
    if isinstance(seed, tuple) and len(pixels) == 1:
        posteriors = posteriors * len(seed)
    if seed is None:
        return Latent(_scaled([posterior.mode() for posterior in posteriors], vae.space), vae.space)
    sources = generators(seed, len(posteriors))
    return Latent(_scaled(_drawn(posteriors, sources), vae.space), vae.space, generators=saved(sources))


@torch.no_grad()
def to_inpaint(vae: Vae, image: Image, mask: Mask, seed: Seed | None, whole: bool, tiling: Tiling) -> Latent:
    """Latents of pictures of which a part is drawn anew; with `whole` all of it is, from noise alone.

    As diffusers' StableDiffusionInpaintPipeline makes them: the mask without half tones, the nearest pixel of it for
    each latent pixel, the picture gray where it is masked. That pipeline draws the picture's latent, then the noise
    that the sampling begins with, then the masked picture's latent, all from one generator. The noise is the sampler's
    to draw: here it is passed over, and the generators stay where it begins.

    Raises ValueError for a mask of another size than the picture, and as `to_latent` does.
    """
    pixels = 2 * flattened(image.pixels, WHITE) - 1
    check_picture(*pixels.shape[2:], vae)
    check_same_size("mask", tuple(mask.pixels.shape[2:]), "picture", tuple(pixels.shape[2:]))
    seeds = len(seed) if isinstance(seed, tuple) else 1
    count = together({"pictures": len(pixels), "masks": len(mask.pixels), "seeds": seeds})
    binary = (mask.pixels >= 0.5).float()
    originals = [] if whole else _each(_posteriors(vae, pixels, tiling), count)
    grayed = _each(_posteriors(vae, pixels * (binary < 0.5), tiling), count)
    if seed is None:
        states = None
        original, masked = ([posterior.mode() for posterior in posteriors] for posteriors in (originals, grayed))
    else:
        sources = generators(seed, count)
        original = _drawn(originals, sources[: len(originals)])
        states = saved(sources)
        noise(sources, grayed[0].mean.shape[1:])
        masked = _drawn(grayed, sources)
    seen = _scaled(masked, vae.space)
    kept = None if whole else _scaled(original, vae.space)
    small = torch.nn.functional.interpolate(binary, size=seen.shape[2:])
    inpaint = Inpaint(small.expand(count, -1, -1, -1), kept, seen)
    samples = torch.zeros_like(seen) if kept is None else kept
    return Latent(samples, vae.space, empty=whole, generators=states, inpaint=inpaint)


@torch.no_grad()
def to_image(vae: Vae, latent: Latent, tiling: Tiling) -> Image:
    """Pictures f32[N, 3, H, W] in 0..1. Raises ValueError for latents of another latent space."""
    check_decoded_by(latent.space, vae.space)
    network = load_vae(vae)
    height, width = latent.pixels

    def decode(samples: Tensor) -> Tensor:
        decoded: Tensor = network.decode(samples, return_dict=False)[0]
        return decoded.float().cpu()

    samples = latent.samples / vae.space.scaling + vae.space.shift
    decoded = torch.cat(computed(network, "decoder", decode, samples, height * width, tiling))
    return Image((decoded * 0.5 + 0.5).clamp(0, 1))


def _posteriors(vae: Vae, pixels: Tensor, tiling: Tiling) -> list[Any]:
    """What the autoencoder says of each picture [N, 3, H, W] in -1..1: a Gaussian for each latent pixel."""
    network = load_vae(vae)
    size = pixels.shape[2] * pixels.shape[3]
    return computed(network, "encoder", lambda part: network.encode(part).latent_dist, pixels, size, tiling)


def _each(posteriors: list[Any], count: int) -> list[Any]:
    """One for each of `count` pictures."""
    return posteriors * count if len(posteriors) == 1 else posteriors


def _drawn(posteriors: Sequence[Any], sources: Sequence[torch.Generator]) -> list[Tensor]:
    return [posterior.sample(source) for posterior, source in zip(posteriors, sources, strict=True)]


def _scaled(samples: Sequence[Tensor], space: Space) -> Tensor:
    """Latents as a model takes them."""
    return space.scaling * (torch.cat(list(samples)).float().cpu() - space.shift)
