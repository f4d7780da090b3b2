"""Pipeline folders in the layout of diffusers: what is in them, found without reading any weights."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from latentgraph.engine.ports import File, Folder
from latentgraph.engine.roots import readable

from ..references import FAMILIES, Clip, Encoder, Family, Kind, Model, Vae, Weights
from .networks import check_settings, json_object, network_at


@dataclass(frozen=True)
class Parts:
    """What pipelines of a kind are made of: the denoiser's place, and by place the class of each text encoder."""

    denoiser: Kind
    encoders: dict[str, str]


ONE = Parts("unet", {"text_encoder": "CLIPTextModel"})
TWO = Parts("unet", {"text_encoder": "CLIPTextModel", "text_encoder_2": "CLIPTextModelWithProjection"})
THREE = Parts(
    "transformer",
    {
        "text_encoder": "CLIPTextModelWithProjection",
        "text_encoder_2": "CLIPTextModelWithProjection",
        "text_encoder_3": "T5EncoderModel",
    },
)

PIPELINES = {
    f"{name}{task}Pipeline": parts
    for name, parts in (("StableDiffusion", ONE), ("StableDiffusionXL", TWO), ("StableDiffusion3", THREE))
    for task in ("", "Img2Img", "Inpaint")
}
"""The pipelines that can be loaded, by diffusers' names."""

CLASSES = {
    "unet": ("UNet2DConditionModel",),
    "transformer": ("SD3Transformer2DModel",),
    "vae": ("AutoencoderKL",),
    "CLIPTextModel": ("CLIPTokenizer", "CLIPTokenizerFast"),
    "CLIPTextModelWithProjection": ("CLIPTokenizer", "CLIPTokenizerFast"),
    "T5EncoderModel": ("T5Tokenizer", "T5TokenizerFast"),
}
"""The classes that a network may have, and by the class of a text encoder those of its tokenizer."""

OPTIONAL = {"StableDiffusionXL": "text_encoder", "StableDiffusion3": "text_encoder_3"}
"""What pipelines may lack: the refiner of XL has only the second text encoder, and 3 can do without its T5."""

SETTINGS: dict[str, tuple[str, ...]] = {
    "unet": ("cross_attention_dim",),
    "transformer": ("joint_attention_dim", "in_channels"),
    "vae": ("block_out_channels",),
}
"""What nodes ask of the configuration of a network."""

WORDS = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("spiece.model",))
"""The files of which a tokenizer needs one set, to know any words."""

CLIP_SETTINGS, T5_SETTINGS = ("hidden_size", "max_position_embeddings"), ("d_model",)

EXTRAS = ("addition_embed_type", "class_embed_type", "encoder_hid_dim_type", "time_cond_proj_dim")
"""Settings of a U-Net that need inputs which not every Stable Diffusion has."""

SIZES = {6: "sdxl", 5: "sdxl_refiner"}
"""Whose U-Net is told so many numbers of a picture: sizes and place, or for the refiner sizes, place and a score."""


def from_folder(path: Path, t5: Folder | None = None) -> tuple[Model, Clip, Vae]:
    """The parts of the pipeline in a folder, by reference. `t5` is the third text encoder, instead of its own.

    Only JSON files and the headers of safetensors files are read. Raises ValueError where the folder holds no pipeline
    of a known family, or one with files missing or cut off.
    """
    index_file = path / "model_index.json"
    if not (index_file.is_file() and readable(index_file, path)):
        files = sorted(file.name for file in path.glob("*.safetensors") if readable(file, path))
        hint = f": of single files, name one ({', '.join(files[:3])}{', …' if len(files) > 3 else ''})" if files else ""
        raise ValueError(f"{path} has no model_index.json, so it is no diffusers model folder{hint}")
    index = json_object(File.at(index_file))
    parts = PIPELINES.get(str(index.get("_class_name")))
    if parts is None:
        known = ", ".join(name for name in PIPELINES if name.endswith(("nPipeline", "XLPipeline", "3Pipeline")))
        raise ValueError(f"{path} holds a {index.get('_class_name')}: only pipelines of {known} can be loaded")
    places = _encoders(path, index, parts)
    folder = Folder.at(path)
    denoiser = _network(folder, parts.denoiser, parts.denoiser, "sd1")
    encoders = {place: _network(folder, place, "text_encoder", "sd1") for place in places}
    family = _family(path, parts, denoiser, encoders)
    vae = Vae(_network(folder, "vae", "vae", family))
    check_channels(path, replace(denoiser, family=family), vae)
    scheduler = folder.below("scheduler")
    if "scheduler_config.json" not in scheduler:
        raise ValueError(f"{path} is incomplete: it has no scheduler/scheduler_config.json")
    json_object(scheduler["scheduler_config.json"])
    model = Model(replace(denoiser, family=family), scheduler["scheduler_config.json"], vae.space)
    found = [
        Encoder(replace(weights, family=family), _tokenizer(folder, place))
        for place, weights in encoders.items()
        if t5 is None or place != "text_encoder_3"
    ]
    joint_width = model.width if family == "sd3" else None
    return model, Clip((*found, *t5_encoder(t5, family)), joint_width=joint_width), vae


def t5_encoder(folder: Folder | None, family: Family) -> tuple[Encoder, ...]:
    """The T5 in a folder that the user names, none where there is no folder.

    It has the files of network and tokenizer side by side, or in `text_encoder_3` and `tokenizer_3`. Raises ValueError
    where the family has no T5, or the folder.
    """
    if folder is None:
        return ()
    if family != "sd3":
        raise ValueError(f"a T5 goes with {FAMILIES['sd3']}, and this is {FAMILIES[family]}: leave t5 out")
    whole = "config.json" not in folder
    weights = _network(folder, "text_encoder_3" if whole else "", "text_encoder", family)
    if "d_model" not in weights.config:
        raise ValueError(f"{folder.path or 'the folder'} holds no T5: its config.json has no d_model")
    tokenizer = folder.below("tokenizer_3") if whole else folder
    names = [file for file in tokenizer.files if file.name.startswith(("tokenizer", "spiece", "special_tokens"))]
    if not names:
        raise ValueError(f"{folder.path or 'the folder'} has no tokenizer for its T5")
    return (Encoder(weights, _with_words(Folder(tuple(names), tokenizer.path))),)


def check_channels(path: Path, denoiser: Weights, vae: Vae) -> None:
    """Raises ValueError for a denoiser that needs more than latents, text and, for inpainting, a mask and a picture."""
    taken, given = denoiser.config.get("in_channels", 4), vae.space.channels
    if taken not in (given, 2 * given + 1):
        raise ValueError(
            f"{path}: the denoiser takes {taken} channels, the VAE gives {given}: models for depth, editing or"
            " upscaling cannot be loaded"
        )
    allowed = ("text_time",) if denoiser.family in ("sdxl", "sdxl_refiner") else ()
    for setting in EXTRAS:
        if denoiser.config.get(setting) not in (None, *allowed):
            raise ValueError(f"{path}: the U-Net has {setting} {denoiser.config[setting]!r}, which is not supported")


def _encoders(path: Path, index: dict[str, Any], parts: Parts) -> list[str]:
    """The places of the text encoders that there are, after checking the class of everything."""

    def given(place: str) -> Any:
        entry = index.get(place)
        return entry[1] if isinstance(entry, list) and len(entry) == 2 else None

    def check(place: str, allowed: tuple[str, ...]) -> None:
        if given(place) not in allowed:
            raise ValueError(f"{path}: its {place} is {given(place) or 'missing'}, but should be a {allowed[0]}")

    pipeline = str(index["_class_name"])
    optional = {place for name, place in OPTIONAL.items() if pipeline.startswith(name)}
    check(parts.denoiser, CLASSES[parts.denoiser])
    check("vae", CLASSES["vae"])
    places = [place for place in parts.encoders if place not in optional or given(place) is not None]
    for place in places:
        check(place, (parts.encoders[place],))
        check(place.replace("text_encoder", "tokenizer"), CLASSES[parts.encoders[place]])
    return places


def _family(path: Path, parts: Parts, denoiser: Weights, encoders: dict[str, Weights]) -> Family:
    config = denoiser.config
    if parts is THREE:
        return "sd3"
    if parts is ONE:
        return "sd2" if config.get("use_linear_projection") else "sd1"
    told, each = config.get("projection_class_embeddings_input_dim"), config.get("addition_time_embed_dim")
    if config.get("addition_embed_type") != "text_time" or not told or not each:
        raise ValueError(f"{path}: the U-Net is not told the sizes of pictures, so it is no {FAMILIES['sdxl']}")
    text = encoders["text_encoder_2"].config.get("projection_dim", 0)
    family = SIZES.get((told - text) // each)
    if family is None or (family == "sdxl") != ("text_encoder" in encoders):
        raise ValueError(
            f"{path} is neither {FAMILIES['sdxl']} nor its refiner: the U-Net is told {(told - text) / each:g} numbers"
            f" of a picture, and there are {len(encoders)} text encoders"
        )
    return family  # type: ignore[return-value]


def _tokenizer(folder: Folder, encoder: str) -> Folder:
    place = encoder.replace("text_encoder", "tokenizer")
    found = folder.below(place)
    if not found.files:
        raise ValueError(f"{folder.path} is incomplete: it has no {place}/")
    return _with_words(found)


def _with_words(tokenizer: Folder) -> Folder:
    """The tokenizer. Raises ValueError where it knows no words: the libraries would take it for one that knows none."""
    if not any(all(name in tokenizer for name in names) for names in WORDS):
        listed = ", or ".join(" and ".join(names) for names in WORDS)
        raise ValueError(f"{tokenizer.path or 'the tokenizer'} is incomplete: it has no {listed}")
    return tokenizer


def _network(folder: Folder, place: str, kind: Kind, family: Family) -> Weights:
    weights = network_at(place, kind, family, folder, *SETTINGS.get(kind, ()))
    if kind == "text_encoder":
        check_settings(weights.folder["config.json"], *(T5_SETTINGS if "d_model" in weights.config else CLIP_SETTINGS))
    return weights
