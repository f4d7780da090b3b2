"""Networks and tokenizers for the nodes that use them: read once, shared, kept within the memory's budget.

They are never changed: patches and hooks are laid over them by who uses them, and taken off again.
"""

import threading
from dataclasses import replace
from functools import cache, lru_cache
from typing import Any

import diffusers
import transformers
from diffusers.hooks import apply_group_offloading
from torch import nn

from latentgraph.engine.ports import Folder

from ..environment import offload
from ..references import ControlNet, Encoder, ImageAdapter, Model, Vae, Weights
from .loading import elements, read, read_tokenizer
from .memory import Kept, budget, free_on_device, size_of
from .numerics import DEVICE, DTYPE, VAE_DTYPE, torch

DENOISERS = ("unet", "transformer", "controlnet")
"""What has most of the weights, and is evaluated at every step."""

_loading = threading.Lock()


def load_unet(model: Model, dtype: torch.dtype = DTYPE) -> Any:
    """The denoiser, a U-Net or a transformer, which predicts as the schedule says; without the patches.

    Its `dtype` is what it computes in, and takes and gives.
    """
    return load(model.weights, dtype)


def load_vae(vae: Vae, dtype: torch.dtype = VAE_DTYPE) -> diffusers.AutoencoderKL:
    """The autoencoder: pictures [N, 3, H, W] in -1..1, latents before scaling, both in its `dtype`."""
    return load(vae.weights, dtype)


def load_text_encoder(encoder: Encoder, dtype: torch.dtype = DTYPE) -> Any:
    """A CLIP text encoder, with a projection or without, or the encoder of a T5; without the patches."""
    return load(encoder.weights, dtype)


def load_controlnet(net: ControlNet, dtype: torch.dtype = DTYPE) -> diffusers.ControlNetModel:
    """What gives a denoiser's residuals; the picture [N, 3, H, W] is in 0..1."""
    return load(net.weights, dtype)


def load_image_encoder(adapter: ImageAdapter, dtype: torch.dtype = DTYPE) -> transformers.CLIPVisionModelWithProjection:
    """What turns pictures [N, 3, H, W], normalised as CLIP was trained, into embeddings."""
    return load(adapter.encoder, dtype)


def load_tokenizer(encoder: Encoder) -> Any:
    return tokenizer_in(encoder.tokenizer)


def tokenizer_in(folder: Folder) -> Any:
    """The tokenizer whose files are in a folder. Raises ValueError where they are none."""
    with _loading:
        return _tokenizer(folder)


def load(weights: Weights, dtype: torch.dtype) -> Any:
    """A network on the device, without its patches; the same object for all that want it in the same type.

    Raises ValueError where the files do not make it.
    """
    plain = replace(weights, patches=())
    with _loading:  # so that two branches that need the same weights read them once
        size = elements(plain) * dtype.itemsize
        return kept().take((plain, dtype), size, lambda: _placed(read(plain, dtype), plain.kind))


@cache
def kept() -> Kept:
    """The networks that this process keeps."""
    return Kept(budget())


def _placed(network: nn.Module, kind: str) -> nn.Module:
    """The network where it computes, or hooked so that its parts come there when they are needed."""
    wanted = offload()
    if wanted == "auto":
        free = free_on_device()
        wanted = "none" if free is None or size_of(network) < 0.9 * free else "group"
    if wanted == "group":
        there, stream = torch.device("cpu"), DEVICE.type == "cuda"
        apply_group_offloading(network, DEVICE, there, offload_type="leaf_level", use_stream=stream)
        return network
    if wanted == "layerwise" and kind in DENOISERS:
        network.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=network.dtype)
    return network.to(DEVICE)


@lru_cache(maxsize=8)  # two models with three text encoders; a Folder equals another by the digest of its files
def _tokenizer(folder: Folder) -> Any:
    return read_tokenizer(folder)
