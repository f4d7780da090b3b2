"""Models on disk, folders of diffusers and single files: their parts, found without reading any weights."""

import json
from dataclasses import replace
from pathlib import Path

from latentgraph.engine.ports import File, Folder

from ..references import Clip, Model, Vae
from .checkpoints import from_file
from .folders import from_folder


def components(path: Path, t5: Folder | None = None, prediction: str | None = None) -> tuple[Model, Clip, Vae]:
    """The parts of the model in a folder or file, by reference.

    `t5` is the third text encoder of Stable Diffusion 3; `prediction` says what the denoiser predicts, where the files
    do not, or not rightly. Raises ValueError where there is no model of a known family, or a damaged one.
    """
    if path.is_dir():
        model, clip, vae = from_folder(path, t5)
    else:
        model, clip, vae = from_file(path, t5, prediction)
    return _predicting(model, prediction), clip, vae


def _predicting(model: Model, prediction: str | None) -> Model:
    if prediction is None or prediction == model.prediction:
        return model
    if model.prediction == "flow":
        raise ValueError("a model of flow matching predicts nothing else: leave prediction out")
    config = model.scheduler_config | {"prediction_type": prediction}
    return replace(model, scheduler=File(model.scheduler.name, content=json.dumps(config, indent=2).encode()))
