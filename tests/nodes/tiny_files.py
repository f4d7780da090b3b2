"""Small random pipelines both as folders and as single files, with the vocabulary that single files go with."""

import json
from pathlib import Path

import original_layouts
import tiny_families
import torch
from transformers import CLIPTokenizer

from latentgraph.nodes.diffusion.original_texts import clip_tokenizer


def words(pad_token: str = "<|endoftext|>") -> CLIPTokenizer:
    """CLIP's whole vocabulary, which single files go with."""
    files = {file.name: file.read().decode() for file in clip_tokenizer(pad_token).files}
    merges = [tuple(line.split(" ")) for line in files["merges.txt"].splitlines()[1:]]
    return CLIPTokenizer(vocab=json.loads(files["vocab.json"]), merges=merges, model_max_length=77, pad_token=pad_token)


class Built:
    """A tiny pipeline in half precision, in the layout of diffusers and as a single file.

    Weights in single precision would be used where they lie in the files, which can change the last bits of a picture.
    """

    def __init__(self, family: str, folder: Path) -> None:
        pipeline = tiny_families.pipeline(family, words)
        if family.startswith("sd3"):
            torch.nn.init.eye_(pipeline.text_encoder.text_projection.weight.data)
        for part in pipeline.components.values():
            if isinstance(part, torch.nn.Module):
                part.half()
        self.folder, self.file = folder / "folder", folder / "model.safetensors"
        pipeline.save_pretrained(self.folder)
        self.tensors = original_layouts.single_file(pipeline, family.removesuffix("_t5"))  # it is never in the file
        original_layouts.save(self.tensors, self.file)
