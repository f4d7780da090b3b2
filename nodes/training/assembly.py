"""A whole pipeline as files: diffusers' folder layout."""

import json

import diffusers
from safetensors.torch import load, save

from latentgraph.engine.ports import Folder

from ..diffusion.numerics import torch
from ..references import Clip, Model, Vae, Weights


def weights_of(kind: str, network: diffusers.ModelMixin, config: str) -> Weights:
    """A trained network as the files that diffusers and transformers load: its configuration and its weights."""
    name = "model" if kind == "text_encoder" else "diffusion_pytorch_model"
    state = {key: value.detach().float().cpu().contiguous() for key, value in network.state_dict().items()}
    # Where a network was loaded from is none of its configuration.
    settings = {key: value for key, value in json.loads(config).items() if key != "_name_or_path"}
    text = json.dumps(settings, indent=2, sort_keys=True) + "\n"
    files = {"config.json": text.encode(), f"{name}.safetensors": save(state, metadata={"format": "pt"})}
    return Weights(kind, "sd1", Folder.of(files))  # type: ignore[arg-type]


def halved(weights: Weights) -> dict[str, bytes]:
    """The files of a network with its weights in float16."""
    files = {}
    for file in weights.folder.files:
        content = file.read()
        if file.name.endswith(".safetensors"):
            state = {key: value.to(torch.float16) for key, value in load(content).items()}
            content = save(state, metadata={"format": "pt"})
        files[file.name] = content
    return files


def pipeline_folder(model: Model, clip: Clip, vae: Vae) -> Folder:
    """The folder of a StableDiffusionPipeline, without a safety checker, that diffusers loads as it is."""
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": diffusers.__version__,
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", json.loads(model.scheduler.read())["_class_name"]],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    files = {
        "model_index.json": (json.dumps(index, indent=2) + "\n").encode(),
        "scheduler/scheduler_config.json": model.scheduler.read(),
    }
    for part, weights in (("unet", model.weights), ("text_encoder", clip.encoders[0].weights), ("vae", vae.weights)):
        files |= {f"{part}/{name}": content for name, content in halved(weights).items()}
    files |= {f"tokenizer/{file.name}": file.read() for file in clip.encoders[0].tokenizer.files}
    return Folder.of(files)
