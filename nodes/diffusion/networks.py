"""Networks that come by themselves, in a folder or as one file: what is in them, without reading any weights."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from latentgraph.engine.ports import File, Folder

from ..references import Family, Kind, Weights
from .headers import header

Shapes = Mapping[str, tuple[int, ...]]

STEMS = {"image_encoder": "model", "text_encoder": "model"}
"""What the files of weights are called, without their suffix; those of diffusers otherwise."""

LISTS = ("block_out_channels",)
"""Settings of a `config.json` that are several numbers."""


def in_folder(kind: Kind, family: Family, folder: Folder, *settings: str) -> Weights:
    """The network in a folder as diffusers and transformers save it; in a pipeline's folder, the one of that kind.

    Raises ValueError where files are missing or damaged, or the configuration lacks one of `settings`.
    """
    alone = "config.json" in folder
    if not alone and f"{kind}/config.json" not in folder:
        raise ValueError(f"{folder.path or 'the folder'} has no config.json, so it is no {kind} as diffusers saves it")
    return network_at("" if alone else kind, kind, family, folder, *settings)


def network_at(place: str, kind: Kind, family: Family, folder: Folder, *settings: str) -> Weights:
    """The network at a place in a folder: one safetensors file, several with an index, or the fp16 variant.

    Raises ValueError where files are missing or damaged, or the configuration lacks one of `settings`.
    """
    whole, folder, inside = folder.path or "the folder", folder.below(place) if place else folder, place and f"{place}/"
    if "config.json" not in folder:
        raise ValueError(f"{whole} is incomplete: it has no {inside}config.json")
    check_settings(folder["config.json"], *settings)
    stem = STEMS.get(kind, "diffusion_pytorch_model")
    single, index, half = f"{stem}.safetensors", f"{stem}.safetensors.index.json", f"{stem}.fp16.safetensors"
    files = [folder["config.json"]]
    if single in folder:
        weights = [folder[single]]
    elif index in folder:
        files.append(folder[index])
        names = _shards(folder[index])
        missing = next((name for name in names if name not in folder), None)
        if missing:
            raise ValueError(f"{whole} is incomplete: it has no {inside}{missing}, which {index} names")
        weights = [folder[name] for name in names]
    elif half in folder:
        weights = [File(single, folder[half].path, folder[half].content)]  # the name by which the libraries find it
    else:
        pickled = next((file for file in folder.files if file.name in (f"{stem}.bin", "pytorch_model.bin")), None)
        hint = f" ({_converted(pickled, single)})" if pickled else ""
        raise ValueError(f"{whole} is incomplete: it has no {inside}{single}{hint}")
    for file in weights:
        header(file)
    return Weights(kind, family, Folder(tuple(sorted(files + weights, key=lambda file: file.name)), folder.path))


def check_settings(file: File, *settings: str) -> None:
    """Raises ValueError where a `config.json` lacks one of these settings, or it is no number from 1 on."""
    config = json_object(file)
    for setting in settings:
        if setting not in config:
            raise ValueError(f"{file.path or file.name} has no {setting}: copy or download it again")
        value = config[setting]
        numbers = (isinstance(value, list) and value) if setting in LISTS else [value]
        if not numbers or any(type(number) is not int or number < 1 for number in numbers):
            wanted = "a list of whole numbers" if setting in LISTS else "a whole number"
            raise ValueError(f"{file.path or file.name} has {setting} {value!r}, where {wanted} from 1 on is wanted")


def json_object(file: File) -> dict[str, Any]:
    """What is in a JSON file. Raises ValueError where that is no object."""
    where = file.path or file.name
    try:
        found = json.loads(file.read())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is not the JSON object it should be: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{where} is not the JSON object it should be: it is a {type(found).__name__}")
    return found


def alone(kind: Kind, family: Family, file: File, config: Mapping[str, Any], *, original: bool = False) -> Weights:
    """A network whose weights are one file, and whose configuration is known from elsewhere.

    `original` says that the names in it are those of the original authors, rather than diffusers'.
    """
    name = "checkpoint.safetensors" if original else "diffusion_pytorch_model.safetensors"
    settings = File("config.json", content=json.dumps(dict(config)).encode())
    files = sorted([settings, File(name, file.path, file.content)], key=lambda file: file.name)
    return Weights(kind, family, Folder(tuple(files), file.path))


def _shards(index: File) -> list[str]:
    """The names of the files that an index says the weights are in."""
    named = json_object(index).get("weight_map")
    if not isinstance(named, dict) or not named or not all(isinstance(name, str) for name in named.values()):
        raise ValueError(f"{index.path or index.name} does not say in `weight_map` in which files the weights are")
    return sorted(set(named.values()))


def _converted(pickled: File, wanted: str) -> str:
    """What to do with pickled weights."""
    said = f"only {pickled.name}; pickled weights are never read"
    if pickled.path is None:
        return said
    target = pickled.path.with_name(wanted)
    return f"{said}, convert them with `latentgraph models convert {shlex.quote(str(pickled.path))}" + (
        f" --to {shlex.quote(str(target))}`" if target.stem != pickled.path.stem else "`"
    )
