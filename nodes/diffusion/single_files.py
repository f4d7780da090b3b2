"""Networks from single files in the layout of the original authors, with the names turned into those of the libraries.

The conversions are diffusers' own. Weights are mapped from the file, and only those of the network that is wanted.
"""

from collections.abc import Callable, Mapping
from typing import Any

import diffusers
import transformers
from accelerate import init_empty_weights
from diffusers.loaders import single_file_utils as conversions
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..references import Weights
from .numerics import torch

Tensors = dict[str, Tensor]
Converted = tuple[nn.Module, Mapping[str, Tensor]]

PREFIXES = {
    "unet": "model.diffusion_model.",
    "transformer": "model.diffusion_model.",
    "vae": "first_stage_model.",
    "controlnet": "control_model.",
}
"""How the names of a network's tensors begin in the file; not where the file has nothing else."""


def read_checkpoint(weights: Weights) -> nn.Module:
    """The network, on the CPU and in the type of the file, from its `checkpoint.safetensors`; without the patches.

    Raises ValueError where tensors are missing, or are not shaped as its configuration says.
    """
    file = weights.folder["checkpoint.safetensors"]
    where = file.path or file.name
    config = {name: value for name, value in weights.config.items() if name != "checkpoint_prefix"}
    prefix = weights.config.get("checkpoint_prefix") or PREFIXES[weights.kind]
    try:
        tensors = _tensors(file.path, prefix) if file.path is not None else _tensors_of(file.read(), prefix)
        network, converted = READERS[weights.kind](config, tensors, prefix)
    except LookupError as error:
        raise ValueError(f"the {weights.kind} in {where} cannot be read: {error} is missing") from error
    except SafetensorError as error:
        raise ValueError(f"{where} is damaged, copy or download it again: {error}") from error
    wanted = network.state_dict().keys()
    fitting = {name: tensor for name, tensor in converted.items() if name in wanted and tensor is not None}
    missing = sorted(wanted - fitting.keys())
    if missing:
        raise ValueError(
            f"the {weights.kind} in {where} is incomplete: {len(missing)} tensors are missing, {missing[0]} first"
        )
    try:
        network.load_state_dict(fitting, assign=True)
    except RuntimeError as error:
        reason = str(error).split("\n")[1:2] or [str(error)]  # under a heading, one line for each tensor
        raise ValueError(f"the {weights.kind} in {where} is not built as others: {reason[0].strip()}") from error
    return network


def _tensors(path: Any, prefix: str) -> Tensors:
    with safe_open(path, "pt") as opened:
        names = list(opened.keys())
        inside = [name for name in names if name.startswith(prefix)]
        return {(name if inside else prefix + name): opened.get_tensor(name) for name in inside or names}


def _tensors_of(content: bytes, prefix: str) -> Tensors:
    from safetensors.torch import load

    found = load(content)
    inside = {name: tensor for name, tensor in found.items() if name.startswith(prefix)}
    return inside or {prefix + name: tensor for name, tensor in found.items()}


def _empty(network_class: Any, config: Any) -> Any:
    """The network without memory for its weights."""
    with init_empty_weights():
        if issubclass(network_class, transformers.PreTrainedModel):
            return network_class(network_class.config_class(**config))
        return network_class.from_config(config)


def _unet(config: dict[str, Any], tensors: Tensors, prefix: str) -> Converted:
    network = _empty(diffusers.UNet2DConditionModel, config)
    return network, conversions.convert_ldm_unet_checkpoint(tensors, network.config)


def _transformer(config: dict[str, Any], tensors: Tensors, prefix: str) -> Converted:
    network = _empty(diffusers.SD3Transformer2DModel, config)
    return network, conversions.convert_sd3_transformer_checkpoint_to_diffusers(tensors)


def _vae(config: dict[str, Any], tensors: Tensors, prefix: str) -> Converted:
    network = _empty(diffusers.AutoencoderKL, config)
    return network, conversions.convert_ldm_vae_checkpoint(tensors, network.config)


def _controlnet(config: dict[str, Any], tensors: Tensors, prefix: str) -> Converted:
    network = _empty(diffusers.ControlNetModel, config)
    converted = conversions.convert_controlnet_checkpoint(tensors, network.config)
    for number, layer in ((0, "linear_1"), (2, "linear_2")):  # of Stable Diffusion XL, which diffusers leaves out
        for end in ("weight", "bias"):
            converted[f"add_embedding.{layer}.{end}"] = tensors.get(f"{prefix}label_emb.0.{number}.{end}")
    return network, converted


def _text_encoder(config: dict[str, Any], tensors: Tensors, prefix: str) -> Converted:
    network = _empty(getattr(transformers, config["architectures"][0]), config)
    if any(name.startswith(f"{prefix}transformer.resblocks.") for name in tensors):
        converted = conversions.convert_open_clip_checkpoint(network, tensors, prefix=prefix)
    else:
        converted = {name[len(prefix) :]: tensor for name, tensor in tensors.items()}
        if "clip_l" in prefix:  # Stable Diffusion 3 takes its vector as it is
            size, kind = config["hidden_size"], next(iter(tensors.values())).dtype
            converted["text_projection.weight"] = torch.eye(size, dtype=kind)
    # Some versions of transformers, and some files, have the layers in an inner module, some have not.
    inner = "text_model." if hasattr(network, "text_model") else ""
    plain = {name.removeprefix("text_model."): tensor for name, tensor in converted.items()}
    return network, {
        (name if name.startswith("text_projection.") else inner + name): tensor for name, tensor in plain.items()
    }


READERS: dict[str, Callable[[dict[str, Any], Tensors, str], Converted]] = {
    "unet": _unet,
    "transformer": _transformer,
    "vae": _vae,
    "controlnet": _controlnet,
    "text_encoder": _text_encoder,
}
"""Networks without weights, and their weights by the libraries' names; of prefixed tensors."""
