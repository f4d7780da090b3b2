"""Pipeline folders in the layout of diffusers: what is in them, found without reading any weights."""

import json
from pathlib import Path
from typing import Any

from latentgraph.engine.ports import File, Folder
from latentgraph.engine.roots import readable

from ..ports import Clip, Model, Space, Vae, Weights

PIPELINES = ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline")
CLASSES = {
    "unet": ("UNet2DConditionModel",),
    "vae": ("AutoencoderKL",),
    "text_encoder": ("CLIPTextModel",),
    "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
}
"""The classes that a component of a pipeline may have."""

SETTINGS = {
    "unet": ("cross_attention_dim",),
    "vae": ("block_out_channels",),
    "text_encoder": ("hidden_size", "max_position_embeddings"),
}
"""What nodes ask of the configuration of a network."""

EXTRAS = ("addition_embed_type", "class_embed_type", "encoder_hid_dim_type", "time_cond_proj_dim")
"""Settings of a U-Net that need inputs which Stable Diffusion 1 and 2 do not have."""


def components(path: Path) -> tuple[Model, Clip, Vae]:
    """The parts of the Stable Diffusion 1 or 2 pipeline in a folder, by reference.

    Only JSON files and the headers of safetensors files are read. Raises ValueError where the folder holds no such
    pipeline, or one with files missing or cut off.
    """
    if path.is_file():
        raise ValueError(f"{path} is a file: a model is a folder in the layout of diffusers, with a model_index.json")
    if not path.is_dir():
        raise ValueError(f"there is no folder {path}: give `builtin`, or the path of a diffusers model folder")
    index = path / "model_index.json"
    if not (index.is_file() and readable(index, path)):
        raise ValueError(f"{path} has no model_index.json, so it is no diffusers model folder")
    _check_classes(path)
    folder = Folder.at(path)
    vae = Vae(_network(folder, "vae"))
    unet = _network(folder, "unet")
    _check_unet(path, unet, vae.space)
    scheduler = folder.below("scheduler")
    if "scheduler_config.json" not in scheduler:
        raise ValueError(f"{path} is incomplete: it has no scheduler/scheduler_config.json")
    tokenizer = folder.below("tokenizer")
    if not tokenizer.files:
        raise ValueError(f"{path} is incomplete: it has no tokenizer/")
    model = Model(unet, scheduler["scheduler_config.json"], vae.space)
    return model, Clip(_network(folder, "text_encoder"), tokenizer), vae


def _check_classes(path: Path) -> None:
    index = _json(File.at(path / "model_index.json"))
    pipeline = index.get("_class_name")
    if pipeline not in PIPELINES:
        raise ValueError(f"{path} holds a {pipeline}: only Stable Diffusion 1 and 2 ({PIPELINES[0]}) can be loaded")
    for part, classes in CLASSES.items():
        given = (index.get(part) or [None, None])[1]
        if given not in classes:
            raise ValueError(f"{path}: its {part} is {given or 'missing'}, but should be a {classes[0]}")


def _check_unet(path: Path, unet: Weights, space: Space) -> None:
    channels = unet.config.get("in_channels", 4)
    if channels != space.channels:
        raise ValueError(
            f"{path}: the U-Net takes {channels} channels, the VAE gives {space.channels}: models for inpainting, depth"
            " or editing cannot be loaded"
        )
    for setting in EXTRAS:
        if unet.config.get(setting) is not None:
            raise ValueError(f"{path}: the U-Net has {setting} {unet.config[setting]!r}, which is not supported")


def _network(folder: Folder, kind: Any) -> Weights:
    """One network's `config.json` and weights: one safetensors file, several with an index, or the fp16 variant."""
    inside = folder.below(kind)
    stem = "model" if kind == "text_encoder" else "diffusion_pytorch_model"
    single, index, half = f"{stem}.safetensors", f"{stem}.safetensors.index.json", f"{stem}.fp16.safetensors"
    if "config.json" not in inside:
        raise ValueError(f"{folder.path} is incomplete: it has no {kind}/config.json")
    files = [inside["config.json"]]
    config = _json(files[0])
    for setting in SETTINGS[kind]:
        if setting not in config:
            raise ValueError(f"{folder.path} is incomplete: its {kind}/config.json has no {setting}")
    if single in inside:
        weights = [inside[single]]
    elif index in inside:
        files.append(inside[index])
        shards = sorted(set(_json(inside[index])["weight_map"].values()))
        missing = [name for name in shards if name not in inside]
        if missing:
            raise ValueError(f"{folder.path} is incomplete: it has no {kind}/{missing[0]}, which {index} names")
        weights = [inside[name] for name in shards]
    elif half in inside:
        # Under the usual name, by which the libraries find it.
        weights = [File(single, inside[half].path, inside[half].content)]
    else:
        others = [file.name for file in inside.files if file.name.startswith(stem)]
        hint = f" (only {', '.join(others)}; pickled weights are never read)" if others else ""
        raise ValueError(f"{folder.path} is incomplete: it has no {kind}/{single}{hint}")
    for file in weights:
        check_safetensors(file)
    return Weights(kind, "sd", Folder(tuple(sorted(files + weights, key=lambda file: file.name)), inside.path))


def check_safetensors(file: File) -> None:
    """Whether a safetensors file is whole, by its header alone: ValueError where it is not.

    The format: 8 bytes with the header's length, the header (JSON, with the place of every tensor), the tensors.
    """
    if file.path is not None:
        size = file.path.stat().st_size
        with file.path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            text = stream.read(length) if length <= size else b""
    else:
        content = file.read()
        size, length = len(content), int.from_bytes(content[:8], "little")
        text = content[8 : 8 + length]
    where = file.path or file.name
    try:
        tensors = json.loads(text)
        wanted = (
            8 + length + max((entry["data_offsets"][1] for key, entry in tensors.items() if key[0] != "_"), default=0)
        )
    except (ValueError, LookupError, TypeError, AttributeError):
        raise ValueError(f"{where} is no safetensors file, or a damaged one: copy or download it again") from None
    if size != wanted:
        raise ValueError(f"{where} has {size:,} bytes instead of {wanted:,}, it is cut off: copy or download it again")


def _json(file: File) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read()))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file.path or file.name} is not the JSON object it should be: {error}") from None
