"""Reading networks and tokenizers from their files, by the classes of diffusers and transformers."""

import math
import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import transformers
from torch import nn

from latentgraph.engine.ports import Folder

from ..references import Kind, Weights
from .finite import check_finite
from .headers import header
from .networks import json_object
from .numerics import seeded, torch
from .single_files import PREFIXES, read_checkpoint

# What these libraries would say concerns their own callers; what matters here is raised as an error.
diffusers.logging.set_verbosity_error()
transformers.logging.set_verbosity_error()
diffusers.logging.disable_progress_bar()
transformers.logging.disable_progress_bar()
warnings.filterwarnings("ignore", module="torchsde")  # about the last digit of a time

CLASSES: dict[Kind, dict[str, Any]] = {
    "unet": {"UNet2DConditionModel": diffusers.UNet2DConditionModel},
    "transformer": {"SD3Transformer2DModel": diffusers.SD3Transformer2DModel},
    "vae": {"AutoencoderKL": diffusers.AutoencoderKL},
    "text_encoder": {
        "CLIPTextModel": transformers.CLIPTextModel,
        "CLIPTextModelWithProjection": transformers.CLIPTextModelWithProjection,
        "T5EncoderModel": transformers.T5EncoderModel,
        "T5ForConditionalGeneration": transformers.T5EncoderModel,  # of which only the encoder is wanted
    },
    "controlnet": {"ControlNetModel": diffusers.ControlNetModel},
    "image_encoder": {"CLIPVisionModelWithProjection": transformers.CLIPVisionModelWithProjection},
}
"""The classes of networks, by what a `config.json` calls them; the first is meant where it says nothing."""

TOKENIZERS: dict[str, Any] = {
    "CLIPTokenizer": transformers.CLIPTokenizer,
    "CLIPTokenizerFast": transformers.CLIPTokenizer,
    "T5Tokenizer": transformers.T5Tokenizer,
    "T5TokenizerFast": transformers.T5Tokenizer,
}

MISSHAPEN = re.compile(r"(\S+) expected shape torch\.Size\((\[.*?\])\), but got torch\.Size\((\[.*?\])\)")
"""In diffusers' message: a tensor's name, its shape by the configuration, and its shape in the file."""

CHECKPOINT = "checkpoint.safetensors"
"""What a file in the layout of the original authors is called among a network's files."""


def elements(weights: Weights) -> int:
    """About how many numbers a network has, by the headers of its files; 0 where they cannot be read."""
    count = 0
    for file in weights.folder.files:
        if file.name.endswith(".safetensors"):
            try:
                shapes = header(file).shapes
            except (OSError, ValueError):
                continue
            inside = _prefix(weights) if file.name == CHECKPOINT else ""
            wanted = [shape for name, shape in shapes.items() if name.startswith(inside)]
            count += sum(map(math.prod, wanted or shapes.values()))
    return count


def read(weights: Weights, dtype: torch.dtype) -> nn.Module:
    """A network without its patches, on the CPU, in `dtype`; mapped from its files where they have this type.

    Raises ValueError where the files do not make the network, and where a weight is no number.
    """
    with seeded(0):
        network = read_checkpoint(weights).to(dtype) if CHECKPOINT in weights.folder else _from_folder(weights, dtype)
    check_finite(network.state_dict(), _where(weights))
    return network.eval().requires_grad_(False)


def read_tokenizer(folder: Folder) -> Any:
    """The tokenizer whose files are in a folder. Raises ValueError where they are none."""
    name = "CLIPTokenizer"
    if "tokenizer_config.json" in folder:
        name = json_object(folder["tokenizer_config.json"]).get("tokenizer_class") or name
    where = folder.path or "the tokenizer"
    if name not in TOKENIZERS:
        raise ValueError(f"the tokenizer in {where} is a {name}; known are {', '.join(TOKENIZERS)}")
    with _on_disk(folder) as path:
        try:
            return TOKENIZERS[name].from_pretrained(path, local_files_only=True)
        except Exception as error:
            raise ValueError(f"the tokenizer in {where} cannot be loaded: {error}") from error


def _prefix(weights: Weights) -> str:
    """How the names of a network's tensors begin in a file of the original authors."""
    return weights.config.get("checkpoint_prefix") or PREFIXES.get(weights.kind, "")


def _from_folder(weights: Weights, dtype: torch.dtype) -> nn.Module:
    where = _where(weights)
    network_class = _class(weights)
    if issubclass(network_class, transformers.PreTrainedModel):
        options: dict[str, Any] = {"dtype": dtype, "ignore_mismatched_sizes": True}  # they are in the report then
    else:
        options = {"torch_dtype": dtype, "use_safetensors": True}
    with _on_disk(weights.folder) as path:
        try:
            network, report = network_class.from_pretrained(
                path, local_files_only=True, output_loading_info=True, **options
            )
        except Exception as error:
            # Which exception it is depends on the library and on what is wrong; the cause keeps the details.
            shapes = MISSHAPEN.search(str(error))
            if shapes is not None:
                raise _misshapen(where, *shapes.groups()) from error
            reason = str(error).replace(str(path), str(where)).strip().split("\n")[0]
            raise ValueError(f"the weights in {where} cannot be loaded: {reason}") from error
    for name, found, wanted in sorted(report["mismatched_keys"]):
        raise _misshapen(where, name, list(wanted), list(found))
    missing = sorted(report["missing_keys"])
    if missing:
        raise ValueError(
            f"the weights in {where} are incomplete: {len(missing)} tensors are missing, {missing[0]} first"
        )
    return network.to(dtype)  # also what a class would rather keep in float32


def _misshapen(where: object, name: str, wanted: object, found: object) -> ValueError:
    return ValueError(f"the weights in {where} are not those of its config.json: {name} is {found}, not {wanted}")


def _class(weights: Weights) -> Any:
    known = CLASSES.get(weights.kind)
    if known is None:
        raise ValueError(f"{_where(weights)} holds an {weights.kind}, which is no network of its own")
    said = weights.config.get("_class_name") or next(iter(weights.config.get("architectures") or ()), None)
    if said is None:
        if "d_model" in weights.config and weights.kind == "text_encoder":
            return known["T5EncoderModel"]
        return next(iter(known.values()))
    if said not in known:
        raise ValueError(f"{_where(weights)} holds a {said}; the {weights.kind} can be a {', '.join(known)}")
    return known[said]


def _where(weights: Weights) -> object:
    if CHECKPOINT in weights.folder and weights.folder[CHECKPOINT].path:
        return weights.folder[CHECKPOINT].path
    return weights.folder.path or f"the {weights.kind}"


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
