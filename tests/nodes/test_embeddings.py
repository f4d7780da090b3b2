from pathlib import Path
from typing import Any

import diffusers
import pytest
import tiny_families
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from latentgraph.engine.context import Context
from latentgraph.engine.node import Wrong
from latentgraph.engine.ports import File
from latentgraph.nodes.adapters import LoadEmbedding
from latentgraph.nodes.conditioning import CLIPEncode
from latentgraph.nodes.diffusion.embeddings import vectors
from latentgraph.nodes.models import Loaded, LoadModel
from latentgraph.nodes.references import Clip


def rows(count: int, width: int, seed: int = 0) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def saved(path: Path, **tensors: Tensor) -> File:
    save_file(tensors, path)
    return File.at(path)


def difference(a: Tensor, b: Tensor) -> float:
    return (a - b).abs().max().item()


@pytest.fixture
def pipeline(tiny: Path) -> Any:
    return diffusers.StableDiffusionPipeline.from_pretrained(tiny, torch_dtype=torch.float32)


@pytest.mark.parametrize("count", [1, 3])
def test_a_word_of_ones_own_gives_what_diffusers_gives(
    count: int, loaded: Loaded, pipeline: Any, context: Context, tmp_path: Path
) -> None:
    table = rows(count, 16)
    file = saved(tmp_path / "a.safetensors", **{"<mine>": table[0] if count == 1 else table})
    pipeline.load_textual_inversion(str(file.path))
    text = "a red <mine> on blue"
    theirs, _ = pipeline.encode_prompt(text, "cpu", 1, False)
    clip = LoadEmbedding(clip=loaded.clip, file=file).run(context)
    ours = CLIPEncode(clip=clip, text=text).run(context).conds[0].tokens
    assert difference(ours, theirs) == 0.0
    assert difference(ours, CLIPEncode(clip=loaded.clip, text=text).run(context).conds[0].tokens) > 0.01


def test_a1111s_files_go_by_their_own_name(loaded: Loaded, pipeline: Any, context: Context, tmp_path: Path) -> None:
    file = saved(tmp_path / "mine.safetensors", emb_params=rows(2, 16))
    pipeline.load_textual_inversion(str(file.path), token="mine")
    theirs, _ = pipeline.encode_prompt("a mine dog", "cpu", 1, False)
    clip = LoadEmbedding(clip=loaded.clip, file=file).run(context)
    assert clip.embeddings == (("mine", file),)
    for text in ("a mine dog", "a embedding:mine dog"):
        ours = CLIPEncode(clip=clip, text=text).run(context).conds[0].tokens
        assert difference(ours, theirs) == 0.0


def test_two_text_encoders_have_vectors_each(context: Context, tmp_path: Path) -> None:
    folder = tiny_families.build("sdxl", tmp_path / "sdxl")
    pipeline = diffusers.StableDiffusionXLPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    file = saved(tmp_path / "mine.safetensors", clip_l=rows(2, 64), clip_g=rows(2, 64, seed=1))
    tables = load_file(file.path)
    for name, number in (("clip_l", ""), ("clip_g", "_2")):
        pipeline.load_textual_inversion(
            tables[name],
            token="mine",
            text_encoder=getattr(pipeline, f"text_encoder{number}"),
            tokenizer=getattr(pipeline, f"tokenizer{number}"),
        )
    theirs = pipeline.encode_prompt("a red mine", device="cpu", do_classifier_free_guidance=False)
    clip = LoadEmbedding(clip=LoadModel(name=str(folder)).run(context).clip, file=file).run(context)
    cond = CLIPEncode(clip=clip, text="a red mine").run(context).conds[0]
    assert difference(cond.tokens, theirs[0]) == 0.0
    assert difference(cond.pooled, theirs[2]) == 0.0


def test_the_vectors_of_each_text_encoder(tmp_path: Path) -> None:
    first, second = rows(2, 8), rows(2, 12)
    for names in (("clip_l", "clip_g"), ("text_encoders_0", "text_encoders_1")):
        file = saved(tmp_path / f"{names[0]}.safetensors", **{names[1]: second.half(), names[0]: first.half()})
        assert torch.equal(vectors(file, 0), first.half().float())
        assert torch.equal(vectors(file, 1), second.half().float())
    single = saved(tmp_path / "a.safetensors", word=first[0])
    assert torch.equal(vectors(single, 0), first[:1])
    with pytest.raises(ValueError, match="none for number 2"):
        vectors(single, 1)


def refused(clip: Clip, file: File, name: str | None = None) -> Wrong:
    with pytest.raises(Wrong) as raised:
        LoadEmbedding.describe({"clip": clip, "file": file, "name": name})
    return raised.value


def test_what_fits_no_text_encoder_is_refused_before_the_run(loaded: Loaded, tmp_path: Path) -> None:
    wide = refused(loaded.clip, saved(tmp_path / "wide.safetensors", word=rows(1, 24)))
    assert wide.input == "file"
    assert "vectors 24 wide for text encoder 1, that of Stable Diffusion 1 takes 16" in str(wide)
    many = saved(tmp_path / "many.safetensors", a=rows(1, 2), b=rows(1, 2), c=rows(1, 2))
    assert "is no textual inversion" in str(refused(loaded.clip, many))
    (tmp_path / "old.pt").write_bytes(b"x")
    assert "latentgraph models convert" in str(refused(loaded.clip, File.at(tmp_path / "old.pt")))
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "wide.safetensors").read_bytes()[:-4])
    assert "cut off" in str(refused(loaded.clip, File.at(tmp_path / "cut.safetensors")))


def test_a_name_that_is_taken_or_no_word_is_refused(loaded: Loaded, context: Context, tmp_path: Path) -> None:
    file = saved(tmp_path / "a.safetensors", mine=rows(1, 16))
    clip = LoadEmbedding(clip=loaded.clip, file=file).run(context)
    assert refused(clip, file).input == "name"
    assert refused(loaded.clip, saved(tmp_path / "two words.safetensors", emb_params=rows(1, 16))).input == "name"
    assert LoadEmbedding(clip=clip, file=file, name="other").run(context).embeddings[1] == ("other", file)


def test_before_the_run_the_clip_is_known(loaded: Loaded, context: Context, tmp_path: Path) -> None:
    file = saved(tmp_path / "a.safetensors", mine=rows(1, 16))
    known = {"clip": loaded.clip, "file": file, "name": None}
    assert LoadEmbedding.describe(known) == {"clip": LoadEmbedding(**known).run(context)}
