"""Loading networks and tokenizers: the real diffusers and transformers classes, in float32, once a process."""

import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import diffusers
import transformers
from torch import nn

from latentgraph.engine.ports import Folder

from ..ports import Clip, Model, Vae, Weights
from .numerics import DEVICE

# What these libraries would say concerns their own callers; what matters here is raised as an error.
diffusers.logging.set_verbosity_error()
transformers.logging.set_verbosity_error()
diffusers.logging.disable_progress_bar()
transformers.logging.disable_progress_bar()
warnings.filterwarnings("ignore", module="torchsde")  # about the last digit of a time

_CLASSES: dict[str, Any] = {
    "unet": diffusers.UNet2DConditionModel,
    "vae": diffusers.AutoencoderKL,
    "text_encoder": transformers.CLIPTextModel,
}
_loading = threading.Lock()


def load_unet(model: Model) -> diffusers.UNet2DConditionModel:
    """The denoiser; `unet(sample [N, C, h, w], timestep, tokens [N, T, D])` predicts as the schedule says."""
    return _load(model.weights)


def load_vae(vae: Vae) -> diffusers.AutoencoderKL:
    """The autoencoder: pictures f32[N, 3, H, W] in -1..1, latents before scaling."""
    return _load(vae.weights)


def load_text_encoder(clip: Clip) -> transformers.CLIPTextModel:
    return _load(clip.weights)


def load_tokenizer(clip: Clip) -> transformers.CLIPTokenizer:
    return tokenizer_in(clip.tokenizer)


def tokenizer_in(folder: Folder) -> transformers.CLIPTokenizer:
    """The tokenizer whose files are in a folder. Raises ValueError where they are none."""
    with _loading:
        return _tokenizer(folder)


def _load(weights: Weights) -> Any:
    with _loading:  # so that two branches that need the same weights read them once
        return _network(weights)


@lru_cache(maxsize=6)  # two models; a Weights equals another by the digest of its files
def _network(weights: Weights) -> nn.Module:
    where = weights.folder.path or f"the {weights.kind}"
    extra = {} if weights.kind == "text_encoder" else {"use_safetensors": True}
    with _on_disk(weights.folder) as path:
        try:
            network, report = _CLASSES[weights.kind].from_pretrained(
                path, local_files_only=True, output_loading_info=True, **extra
            )
        except Exception as error:
            # Which exception it is depends on the library and on what is wrong; the cause keeps the details.
            reason = str(error).replace(str(path), str(where)).strip().split("\n")[0]
            raise ValueError(f"the weights in {where} cannot be loaded: {reason}") from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise ValueError(
            f"the weights in {where} are incomplete: {len(missing)} tensors are missing, {missing[0]} first"
        )
    return network.float().to(DEVICE).eval().requires_grad_(False)


@lru_cache(maxsize=2)
def _tokenizer(folder: Folder) -> transformers.CLIPTokenizer:
    with _on_disk(folder) as path:
        try:
            return transformers.CLIPTokenizer.from_pretrained(path, local_files_only=True)
        except Exception as error:
            where = folder.path or "the tokenizer"
            raise ValueError(f"the tokenizer in {where} cannot be loaded: {error}") from error


@contextmanager
def _on_disk(folder: Folder) -> Iterator[Path]:
    """A folder with exactly these files under their names, wherever they are: the libraries load only from disk."""
    with tempfile.TemporaryDirectory(prefix="latentgraph-") as name:
        for file in folder.files:
            target = Path(name, file.name)
            target.parent.mkdir(parents=True, exist_ok=True)
            if file.path is not None:
                target.symlink_to(file.path.resolve())
            else:
                target.write_bytes(file.read())
        yield Path(name)
