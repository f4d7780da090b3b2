"""LoRA: low-rank changes to the weights of networks (Hu et al. 2021, arXiv:2106.09685).

Files are read and converted by diffusers, and computed with by peft, beside the base weights rather than in them.
"""

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import transformers
from diffusers.loaders import (
    SD3LoraLoaderMixin,
    StableDiffusionLoraLoaderMixin,
    StableDiffusionXLLoraLoaderMixin,
)
from diffusers.loaders.lora_base import set_adapters_for_text_encoder
from diffusers.utils import (
    convert_state_dict_to_diffusers,
    convert_state_dict_to_peft,
    convert_unet_state_dict_to_peft,
    recurse_remove_peft_layers,
)
from torch import Tensor, nn

from latentgraph.engine.ports import File

from ..references import Patch, Weights
from .finite import check_finite
from .numerics import seeded, torch

warnings.filterwarnings("ignore", module="peft")  # about what `unmatched` says, and several adapters

Content = tuple[dict[str, Tensor], dict[str, float] | None, dict[str, Any] | None]
"""Tensors by diffusers' names, the alphas of files that keep them apart, and the settings of files that have them."""


def inject(network: Any, patches: Sequence[Patch]) -> None:
    """Let a network compute with LoRAs, each at its strength, until `remove`.

    It then is what diffusers' pipelines have after `load_lora_weights` and `set_adapters`. Raises ValueError for a file
    that is no LoRA for this network.
    """
    names = [f"lora_{index}" for index in range(len(patches))]
    strengths = [patch.strength for patch in patches]
    for name, patch in zip(names, patches, strict=True):
        try:
            with seeded(0):  # peft draws first weights, which are then replaced
                _load(network, patch, name)
        except (AttributeError, IndexError, KeyError, RuntimeError, ValueError) as error:
            reason = str(error).strip().split("\n")[0]
            raise ValueError(f"{_where(patch.file)} is no LoRA for this {patch.part}: {reason}") from error
    if isinstance(network, transformers.PreTrainedModel):
        set_adapters_for_text_encoder(names, network, strengths)
    else:
        network.set_adapters(names, strengths)
    # Their weights stay trainable, as in diffusers' pipelines: torch multiplies otherwise by what is not, even where it
    # records nothing.


def remove(network: Any) -> None:
    """Take all LoRAs out of a network again: its own layers come back in their places, never having changed."""
    if not isinstance(network, transformers.PreTrainedModel):
        network.unload_lora()
        return
    recurse_remove_peft_layers(network)
    if getattr(network, "peft_config", None) is not None:
        del network.peft_config
    network._hf_peft_config_loaded = False


def _load(network: Any, patch: Patch, name: str) -> None:
    tensors, alphas, settings = read(patch.file, patch.part, network)
    options = {"network_alphas": alphas, "metadata": settings, "adapter_name": name, "low_cpu_mem_usage": True}
    if isinstance(network, transformers.PreTrainedModel):
        StableDiffusionXLLoraLoaderMixin.load_lora_into_text_encoder(
            tensors, text_encoder=network, prefix=patch.part, **options
        )
    else:
        network.load_lora_adapter(tensors, prefix=patch.part, **options)


def read(file: File, part: str, network: Any) -> Content:
    """What a LoRA file has for a network, by diffusers' names: `unet.down_blocks…`, `text_encoder_2.…`.

    Raises ValueError for names that diffusers does not know.
    """
    with tempfile.TemporaryDirectory(prefix="latentgraph-") as folder:
        path = file.path
        if path is None:
            path = Path(folder, "lora.safetensors")
            path.write_bytes(file.read())
        options: dict[str, Any] = {"use_safetensors": True, "local_files_only": True, "return_lora_metadata": True}
        if isinstance(network, diffusers.SD3Transformer2DModel):
            tensors, settings = SD3LoraLoaderMixin.lora_state_dict(str(path), **options)
            alphas = None
        else:
            config = network.config if part == "unet" else None
            mixin = StableDiffusionLoraLoaderMixin
            tensors, alphas, settings = mixin.lora_state_dict(str(path), unet_config=config, **options)
    foreign = next((name for name in tensors if "lora" not in name), None)
    if foreign is not None:
        raise ValueError(f"it has {foreign}, which belongs to no LoRA that diffusers knows")
    tensors = {name: tensor for name, tensor in tensors.items() if name.startswith(f"{part}.")}
    return tensors, _alphas(alphas, part, network), settings


def _alphas(alphas: dict[str, float] | None, part: str, network: Any) -> dict[str, float] | None:
    """The alphas by the names of the layers.

    diffusers names those of attention otherwise, and then takes the most frequent alpha for all of them: right where
    all have the same, and nowhere else.
    """
    if not alphas:
        return None
    layers = _by_layer({name.removesuffix(".alpha"): alpha for name, alpha in alphas.items()}, part, network)
    return {f"{part}.{name.split('.lora_')[0]}.alpha": alpha for name, alpha in layers.items()}


def unmatched(file: File, part: str, weights: Weights) -> tuple[int, list[str]]:
    """How many layers of a network a LoRA changes, and the names of those that it would change but that are not there.

    Nothing but the LoRA is read. Raises ValueError for a LoRA whose layers have other sizes.
    """
    network = _blank(weights)
    layers = {name: module.weight.shape for name, module in network.named_modules() if hasattr(module, "weight")}
    try:
        tensors = _by_layer(read(file, part, network)[0], part, network)
    except (AttributeError, IndexError, KeyError, ValueError) as error:
        lacks = "it lacks " if isinstance(error, KeyError) else ""
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"{_where(file)} cannot be read as a LoRA: {lacks}{reason}") from error
    check_finite(tensors, _where(file))
    matched, left = 0, []
    for name in sorted({name.split(".lora_")[0] for name in tensors}):
        if name not in layers:
            left.append(name)
            continue
        down, up = tensors.get(f"{name}.lora_A.weight"), tensors.get(f"{name}.lora_B.weight")
        if any(tensor is not None and tensor.ndim < 2 for tensor in (down, up)):
            raise ValueError(f"{_where(file)} is no LoRA: at {name} it has no matrices")
        if down is None or up is None or (up.shape[0], down.shape[1]) != tuple(layers[name][:2]):
            sizes = "a part missing" if down is None or up is None else f"{up.shape[0]} by {down.shape[1]}"
            raise ValueError(
                f"{_where(file)} is a LoRA for another model: at {name} it has {sizes}, the {part} has"
                f" {layers[name][0]} by {layers[name][1]}"
            )
        matched += 1
    return matched, left


def _by_layer(tensors: dict[str, Any], part: str, network: nn.Module) -> dict[str, Any]:
    """What a file has for one network by its own layers' names and peft's endings, as diffusers makes them."""
    own = {name.removeprefix(f"{part}."): value for name, value in tensors.items() if name.startswith(f"{part}.")}
    if not isinstance(network, transformers.PreTrainedModel):
        return own if any("lora_A" in name for name in own) else convert_unet_state_dict_to_peft(own)
    own = convert_state_dict_to_peft(convert_state_dict_to_diffusers(own)) if own else {}
    flat = not hasattr(network, "text_model")  # newer CLIPTextModels have their layers without it
    return {name.removeprefix("text_model.") if flat else name: value for name, value in own.items()}


def _blank(weights: Weights) -> Any:
    """A network without weights."""
    with torch.device("meta"):
        if weights.kind == "unet":
            return diffusers.UNet2DConditionModel.from_config(weights.config)
        if weights.kind == "transformer":
            return diffusers.SD3Transformer2DModel.from_config(weights.config)
        projects = "CLIPTextModelWithProjection" in weights.config.get("architectures", ())
        kind = transformers.CLIPTextModelWithProjection if projects else transformers.CLIPTextModel
        return kind(transformers.CLIPTextConfig(**weights.config))


def _where(file: File) -> str:
    return str(file.path or file.name)
