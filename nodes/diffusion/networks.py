"""Networks that come by themselves, in a folder or as one file: what is in them, without reading any weights."""

import json
from collections.abc import Mapping
from typing import Any

from latentgraph.engine.ports import File, Folder

from ..references import Family, Kind, Weights
from .shapes import shapes

Shapes = Mapping[str, tuple[int, ...]]

STEMS = {"image_encoder": "model", "text_encoder": "model"}
"""What the files of weights are called, without their suffix; those of diffusers otherwise."""


def in_folder(kind: Kind, family: Family, folder: Folder, *settings: str) -> Weights:
    """The network in a folder as diffusers and transformers save it; in a pipeline's folder, the one of that kind.

    Raises ValueError where files are missing or damaged, or the configuration lacks one of `settings`.
    """
    if "config.json" not in folder:
        folder = folder.below(kind)
    where = folder.path or f"the {kind}"
    if "config.json" not in folder:
        raise ValueError(f"{where} has no config.json, so it is no {kind} as diffusers saves it")
    config = json.loads(folder["config.json"].read())
    missing = next((setting for setting in settings if setting not in config), None)
    if missing is not None:
        raise ValueError(f"{where}/config.json has no {missing}, so it is no {kind}")
    stem = STEMS.get(kind, "diffusion_pytorch_model")
    single, index, half = f"{stem}.safetensors", f"{stem}.safetensors.index.json", f"{stem}.fp16.safetensors"
    files = [folder["config.json"]]
    if single in folder:
        weights = [folder[single]]
    elif index in folder:
        files.append(folder[index])
        weights = [folder[name] for name in sorted(set(json.loads(folder[index].read())["weight_map"].values()))]
    elif half in folder:
        weights = [File(single, folder[half].path, folder[half].content)]  # the name by which the libraries find it
    else:
        raise ValueError(f"{where} has no {single}")
    for file in weights:
        shapes(file)
    return Weights(kind, family, Folder(tuple(sorted(files + weights, key=lambda file: file.name)), folder.path))


def alone(kind: Kind, family: Family, file: File, config: Mapping[str, Any], *, original: bool = False) -> Weights:
    """A network whose weights are one file, and whose configuration is known from elsewhere.

    `original` says that the names in it are those of the original authors, rather than diffusers'.
    """
    name = "checkpoint.safetensors" if original else "diffusion_pytorch_model.safetensors"
    settings = File("config.json", content=json.dumps(dict(config)).encode())
    files = sorted([settings, File(name, file.path, file.content)], key=lambda file: file.name)
    return Weights(kind, family, Folder(tuple(files), file.path))
