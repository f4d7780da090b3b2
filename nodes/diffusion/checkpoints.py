"""Single files with a whole model, in the layout of the original authors: what is in them, by their header alone.

The family follows from the names of tensors, the configuration from their shapes and what `configs` has of the family.
Every part is compared with what it must have, so that nothing is found missing only when it is wanted.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latentgraph.engine.ports import File, Folder

from ..model_files import kind_of_file
from ..references import FAMILIES, Clip, Encoder, Family, Kind, Model, Space, Vae, Weights
from .folders import SIZES, check_channels, t5_encoder
from .headers import Header, header
from .original_texts import PLACES, Place, clip_config, clip_tensors, clip_tokenizer
from .originals import Shapes, transformer_config, transformer_tensors, unet_config, unet_tensors, vae_tensors
from .vae_files import configuration as vae_config

CONFIGS = Path(__file__).parent / "configs"
DENOISER, VAE = "model.diffusion_model.", "first_stage_model."
FLOATING = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
"""The types of numbers that weights can have, as safetensors calls them."""

LOADERS = {
    "lora": "a LoRA: load it with LoadLoRA",
    "vae": "an autoencoder: load it with LoadVAE",
    "controlnet": "a ControlNet: load it with LoadControlNet",
    "embedding": "an embedding: load it with LoadEmbedding",
    "image_adapter": "an IP-Adapter: load it with LoadIPAdapter",
    "upscaler": "an upscaler: load it with LoadUpscaler",
    "text_encoder": "a text encoder",
    "image_encoder": "an image encoder",
}
"""What a file is that is no whole model."""


def from_file(path: Path, t5: Folder | None = None, prediction: str | None = None) -> tuple[Model, Clip, Vae]:
    """The parts of the model in a safetensors file, by reference; see `components`.

    Raises ValueError where it is no model of a known family, or damaged, or lacks a part or tensors.
    """
    file = File("checkpoint.safetensors", path)
    found = header(file)
    family = _family(path, found.shapes)
    shipped = json.loads((CONFIGS / f"{family}.json").read_bytes())
    try:
        kind, denoiser = _denoiser(found.shapes, family, shipped)
        space = Space(0, 0, shipped["vae"]["scaling_factor"], shipped["vae"].get("shift_factor", 0.0))
        autoencoder = vae_config(_inside(found.shapes, VAE), space) | shipped["vae"]
        _check(_inside(found.shapes, VAE), vae_tensors(autoencoder), VAE)
        clips = [
            _clip(_clip_shapes(found.shapes, place), place) | told
            for place, told in zip(PLACES[family], shipped["encoders"], strict=True)
        ]
        _check_types(found)
    except ValueError as error:
        raise ValueError(
            f"{path}, a file of {FAMILIES[family]}, cannot be loaded: {error}; download it again, or take another"
        ) from None
    scheduler = shipped["scheduler"]
    if kind == "unet":
        scheduler["prediction_type"] = prediction or _prediction(found, family, denoiser)
        if "ztsnr" in found.shapes:  # a mark of models that were trained down to no signal at all
            scheduler |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
        if family == "sd2" and scheduler["prediction_type"] == "epsilon":
            denoiser["sample_size"] = 64

    def weights(kind: Kind, name: str, config: Mapping[str, Any]) -> Weights:
        return Weights(kind, family, Folder((file, _json("config.json", config)), path / name))

    if family in SIZES.values():
        told = denoiser["projection_class_embeddings_input_dim"] - clips[-1]["projection_dim"]
        numbers = told / denoiser["addition_time_embed_dim"]
        if SIZES.get(int(numbers)) != family or numbers % 1:
            raise ValueError(
                f"{path}: the U-Net is told {numbers:g} numbers of a picture, which is no {FAMILIES[family]}"
            )
    vae = Vae(weights("vae", "vae", autoencoder))
    model = Model(weights(kind, kind, denoiser), _json("scheduler_config.json", scheduler), vae.space)
    check_channels(path, model.weights, vae)
    encoders = [
        Encoder(weights("text_encoder", f"text_encoder{number}", clip), clip_tokenizer(place.fill))
        for number, place, clip in zip(("", "_2"), PLACES[family], clips, strict=False)
    ]
    joint_width = model.width if family == "sd3" else None
    return model, Clip((*encoders, *t5_encoder(t5, family)), joint_width=joint_width), vae


def _family(path: Path, shapes: Shapes) -> Family:
    """Whose file it is, by names alone."""
    known = ", ".join(FAMILIES.values())
    if not any(name.startswith(DENOISER) for name in shapes):
        kind = kind_of_file(path)
        said = f"is {LOADERS[kind]}" if kind in LOADERS else f"has no tensors {DENOISER}… (but {_some(shapes)})"
        raise ValueError(f"{path} is no whole model, it {said}. Single files can be of {known}")
    if any(name.startswith(f"{DENOISER}joint_blocks.") for name in shapes):
        family: Family = "sd3"
        wanted = [place.prefix for place in PLACES["sd3"]]
        if not all(any(name.startswith(prefix) for name in shapes) for prefix in wanted):
            raise ValueError(
                f"{path}, a file of {FAMILIES['sd3']}, has not both text encoders ({', '.join(wanted)}…): take the file"
                " that includes the CLIPs"
            )
        return family
    if f"{DENOISER}input_blocks.0.0.weight" not in shapes:
        raise ValueError(f"{path} is of no known family: its tensors are called {_some(shapes)}. Known are {known}")
    for family in ("sdxl", "sdxl_refiner", "sd2", "sd1"):
        if all(any(name.startswith(place.prefix) for name in shapes) for place in PLACES[family]):
            return family
    prefixes = sorted({place.prefix for family in ("sd1", "sd2", "sdxl") for place in PLACES[family]})
    raise ValueError(f"{path} has no text encoder of a known family: none of its tensors begins with one of {prefixes}")


def _denoiser(shapes: Shapes, family: Family, shipped: Mapping[str, Any]) -> tuple[Kind, dict[str, Any]]:
    inside = _inside(shapes, DENOISER)
    if family == "sd3":
        config = transformer_config(inside) | shipped["transformer"]
        _check(inside, transformer_tensors(config), DENOISER, only=True)
        return "transformer", config
    config = unet_config(inside) | shipped["unet"]
    told = "projection_class_embeddings_input_dim" in config
    if told != (family in SIZES.values()) or config["use_linear_projection"] == (family == "sd1"):
        raise ValueError("its U-Net does not go with its text encoders")
    _check(inside, unet_tensors(config), DENOISER, only=True)
    return "unet", config


def _prediction(found: Header, family: Family, denoiser: Mapping[str, Any]) -> str:
    """What a U-Net predicts, by what the file says of it, and else as its family was released."""
    said = found.about.get("modelspec.prediction_type", "").lower()
    if said.startswith("v") or "v_pred" in found.shapes:
        return "v_prediction"
    if said.startswith("eps"):
        return "epsilon"
    return "v_prediction" if family == "sd2" and denoiser["in_channels"] == 4 else "epsilon"


def _clip(shapes: Shapes, place: Place) -> dict[str, Any]:
    config = clip_config(shapes, place)
    _check(shapes, clip_tensors(config, place), place.prefix)
    return config | {"checkpoint_prefix": place.prefix}


def _clip_shapes(shapes: Shapes, place: Place) -> dict[str, tuple[int, ...]]:
    """The tensors of a text encoder, those of transformers without `text_model.`, which not all files have."""
    inside = _inside(shapes, place.prefix)
    return inside if place.open else {name.removeprefix("text_model."): shape for name, shape in inside.items()}


def _check(found: Shapes, wanted: Shapes, prefix: str, only: bool = False) -> None:
    """Raises ValueError for tensors that are missing, or of another shape, or, with `only`, that do not belong."""
    missing = [name for name in wanted if name not in found]
    if missing:
        raise ValueError(f"{len(missing)} tensors are missing, {prefix}{missing[0]} first")
    for name, shape in wanted.items():
        # What a linear layer can do is in some files a convolution of one pixel.
        if tuple(found[name]) != shape and [*found[name], 1, 1] != [*shape]:
            raise ValueError(f"{prefix}{name} is {list(found[name])}, but should be {list(shape)} beside the rest")
    extra = [name for name in found if name not in wanted] if only else []
    if extra:
        raise ValueError(f"{len(extra)} tensors belong to no known family, {prefix}{extra[0]} first")


def _check_types(found: Header) -> None:
    prefixes = (DENOISER, VAE, "cond_stage_model.", "conditioner.", "text_encoders.")
    for name, kind in found.types.items():
        if kind not in FLOATING and name.startswith(prefixes) and not name.endswith("position_ids"):
            raise ValueError(f"{name} has the type {kind}; weights are floating point numbers ({', '.join(FLOATING)})")


def _inside(shapes: Shapes, prefix: str) -> dict[str, tuple[int, ...]]:
    return {name[len(prefix) :]: shape for name, shape in shapes.items() if name.startswith(prefix)}


def _some(shapes: Shapes) -> str:
    return ", ".join(sorted({".".join(name.split(".")[:2]) for name in shapes})[:4]) or "nothing"


def _json(name: str, content: Mapping[str, Any]) -> File:
    return File(name, content=json.dumps(content, indent=2).encode())
