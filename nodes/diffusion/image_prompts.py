"""Pictures as prompts: IP-Adapter (Ye et al. 2023, arXiv:2308.06721), by diffusers' attention processors."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy
import PIL.Image
from safetensors import safe_open
from torch import Tensor
from transformers import CLIPImageProcessorPil

from latentgraph.engine.ports import File

from ..guides import ImagePrompt
from ..references import ImageAdapter
from .adapter_files import looks_at_places
from .finite import check_finite
from .numerics import DEVICE, seeded, torch
from .weights import load_image_encoder


@torch.no_grad()
def encoded(adapter: ImageAdapter, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """The embeddings f32[N, K, E] of pictures [N, 3, H, W] in 0..1, and what stands for no picture, of that shape.

    Either one vector for a whole picture, or one for each of its places. The pictures are scaled and cut to the square
    that the encoder takes, in 8 bits, as diffusers does.
    """
    network = load_image_encoder(adapter)
    side = network.config.image_size
    processor = CLIPImageProcessorPil(size=side, crop_size=side)
    values = (pixels.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    pictures = [PIL.Image.fromarray(numpy.ascontiguousarray(each)) for each in values]
    given = processor(pictures, return_tensors="pt").pixel_values.to(DEVICE, network.dtype)
    if not looks_at_places(adapter.file):
        embedding = network(given).image_embeds[:, None]
        return embedding, torch.zeros_like(embedding)
    return tuple(
        network(each, output_hidden_states=True).hidden_states[-2] for each in (given, torch.zeros_like(given))
    )


class Prompting:
    """A U-Net for the time of a sampling, which takes picture prompts inside of `taking` and is itself outside."""

    def __init__(self, network: Any) -> None:
        self.network = network
        self.prepared: dict[tuple[File, ...], tuple[dict[str, Any], Any]] = {}

    @contextmanager
    def taking(self, prompts: Sequence[ImagePrompt]) -> Iterator[None]:
        """In it, the network takes `image_embeds` for adapters in this order, each as strong as its prompt."""
        if not prompts:
            yield
            return
        processors, projection = self._prepare(tuple(prompt.adapter.file for prompt in prompts))
        for processor in processors.values():
            if hasattr(processor, "to_k_ip"):
                processor.scale = [prompt.strength for prompt in prompts]
        before = _state(self.network)
        try:
            _set(self.network, (processors, projection, "ip_image_proj"))
            yield
        finally:
            _set(self.network, before)

    def _prepare(self, files: tuple[File, ...]) -> tuple[dict[str, Any], Any]:
        """What diffusers puts into the network for these adapters, read once."""
        if files not in self.prepared:
            before = _state(self.network)
            try:
                with seeded(0):
                    self.network._load_ip_adapter_weights([_tensors(file) for file in files])
                processors, projection, _ = _state(self.network)
                self.prepared[files] = processors, projection
            except (KeyError, RuntimeError, ValueError) as error:
                named = ", ".join(str(file.path or file.name) for file in files)
                reason = str(error).strip().split("\n")[0]
                raise ValueError(f"{named}: an IP-Adapter for another model, or parts are missing: {reason}") from error
            finally:
                _set(self.network, before)
        return self.prepared[files]


def embeddings(prompt: ImagePrompt, role: str) -> Tensor:
    """The embeddings of one picture each as diffusers' projections take them: [N, 1, E], with places [N, 1, K, E]."""
    values = prompt.nothing if role == "negative" else prompt.embedding
    return values[:, None] if looks_at_places(prompt.adapter.file) else values


def _tensors(file: File) -> dict[str, dict[str, Tensor]]:
    """What diffusers makes of an adapter's file, mapped as it does: where memory begins can change what is computed."""
    parts: dict[str, dict[str, Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    with tempfile.TemporaryDirectory(prefix="latentgraph-") as folder:
        path = file.path
        if path is None:
            path = Path(folder, "adapter.safetensors")
            path.write_bytes(file.read())
        with safe_open(path, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118
                part, _, inner = name.partition(".")
                parts[part][inner] = tensors.get_tensor(name)
    for part in parts.values():
        check_finite(part, file.path or file.name)
    return parts


def _state(network: Any) -> tuple[dict[str, Any], Any, Any]:
    processors = network.attn_processors.items()
    own = {name: processor for name, processor in processors if not name.startswith("encoder_hid_proj.")}
    return own, network.encoder_hid_proj, network.config.encoder_hid_dim_type


def _set(network: Any, state: tuple[dict[str, Any], Any, Any]) -> None:
    processors, projection, kind = state
    network.encoder_hid_proj = None  # it may have processors, too, which are to stay
    network.set_attn_processor(dict(processors))
    network.encoder_hid_proj = projection
    network.config.encoder_hid_dim_type = kind
