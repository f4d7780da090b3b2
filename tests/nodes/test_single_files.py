"""Single files in the layouts of the original authors: what is in them, what becomes of it, and what is wrong."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import original_layouts
import pytest
import tiny_families
import torch
from torch import Tensor
from transformers import CLIPTokenizer

from latentgraph.engine.context import Context
from latentgraph.nodes.conditioning import CLIPEncode
from latentgraph.nodes.diffusion.original_texts import clip_tokenizer
from latentgraph.nodes.diffusion.weights import load_text_encoder, load_unet, load_vae
from latentgraph.nodes.guidance import CFGCombine
from latentgraph.nodes.latents import EmptyLatent, VAEDecode
from latentgraph.nodes.models import Loaded, LoadModel
from latentgraph.nodes.sampling import KSampler

FAMILIES = {
    "sd1": "sd1",
    "inpaint": "sd1",
    "sd2": "sd2",
    "sdxl": "sdxl",
    "sdxl_inpaint": "sdxl",
    "refiner": "sdxl_refiner",
    "sd3": "sd3",
}
"""What latentgraph calls the families of the tiny pipelines."""

UNET, VAE = "model.diffusion_model.", "first_stage_model."


def words(pad_token: str = "<|endoftext|>") -> CLIPTokenizer:
    """CLIP's whole vocabulary, which single files go with."""
    files = {file.name: file.read().decode() for file in clip_tokenizer(pad_token).files}
    merges = [tuple(line.split(" ")) for line in files["merges.txt"].splitlines()[1:]]
    import json

    return CLIPTokenizer(vocab=json.loads(files["vocab.json"]), merges=merges, model_max_length=77, pad_token=pad_token)


class Built:
    """A tiny pipeline, in the layout of diffusers and as a single file."""

    def __init__(self, family: str, folder: Path) -> None:
        pipeline = tiny_families.pipeline(family, words)
        if family == "sd3":
            torch.nn.init.eye_(pipeline.text_encoder.text_projection.weight.data)
        self.folder, self.file = folder / "folder", folder / "model.safetensors"
        pipeline.save_pretrained(self.folder)
        self.tensors = original_layouts.single_file(pipeline, family)
        original_layouts.save(self.tensors, self.file)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Built]]:
    known: dict[str, Built] = {}

    def get(family: str) -> Built:
        if family not in known:
            known[family] = Built(family, tmp_path_factory.mktemp(family))
        return known[family]

    yield get


def load(path: Path, **inputs: Any) -> Loaded:
    return LoadModel(name=str(path), **inputs).run(Context())


def networks(loaded: Loaded) -> list[Any]:
    encoders = [load_text_encoder(encoder) for encoder in loaded.clip.encoders]
    return [load_unet(loaded.model), load_vae(loaded.vae), *encoders]


def drawn(loaded: Loaded) -> Tensor:
    context = Context()
    guidance = CFGCombine(
        positive=CLIPEncode(clip=loaded.clip, text="a red apple").run(context),
        negative=CLIPEncode(clip=loaded.clip, text="a dog").run(context),
        scale=4.0,
    ).run(context)
    canvas = EmptyLatent(model=loaded.model, width=32, height=32).run(context)
    latent = KSampler(model=loaded.model, guidance=guidance, latent=canvas, sampler="euler", steps=2, seed=1).run(
        context
    )
    return VAEDecode(vae=loaded.vae, latent=latent).run(context).pixels


@pytest.mark.parametrize("family", FAMILIES)
def test_a_single_file_is_the_same_model_as_the_folder(built: Callable[[str], Built], family: str) -> None:
    made = built(family)
    ours, theirs = load(made.file), load(made.folder)
    assert ours.model.family == theirs.model.family == FAMILIES[family]
    assert ours.model.prediction == theirs.model.prediction
    assert ours.model.space == ours.vae.space == theirs.vae.space
    assert ours.model.channels == theirs.model.channels
    assert (ours.model.width, ours.clip.width) == (theirs.model.width, theirs.clip.width)
    for one, other in zip(networks(ours), networks(theirs), strict=True):
        assert type(one) is type(other)
        assert one.state_dict().keys() == other.state_dict().keys()
        for name, tensor in other.state_dict().items():
            assert torch.equal(one.state_dict()[name], tensor), name
