"""Bad models, and what does not go with a model, as a user meets them: by the command line, in a graph of their own.

What can be known before the run is refused then, with the place in the graph (exit code 2); else the node fails that
needs it (exit code 1). Either way it is said where, what and what to do, and never as a traceback.
"""

import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import original_layouts
import pytest
import safetensors.torch
import tiny_families
import torch
from PIL import Image
from tiny_files import Built
from torch import Tensor

from latentgraph.engine import load
from latentgraph.engine.cli import main
from latentgraph.engine.node import Wrong
from latentgraph.nodes.models import LoadModel

Tensors = dict[str, Tensor]
Spoil = Callable[[Path], object]

UNET, VAE, CLIP = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer.text_model."
WEIGHTS = "diffusion_pytorch_model.safetensors"

DRAWN = """
  wanted: {type: CLIPEncode, inputs: {clip: $CLIP, text: "dog"}}
  guided: {type: CFGCombine, inputs: {positive: $wanted, negative: $wanted, scale: 2.0}}
  canvas: {type: EmptyLatent, inputs: {model: $MODEL, width: 32, height: 32}}
  sampled:
    type: KSampler
    inputs: {model: $MODEL, guidance: $GUIDED, latent: $canvas, sampler: euler, steps: 1, seed: 1}
  decoded: {type: VAEDecode, inputs: {vae: $VAE, latent: $sampled}}
outputs: {image: $decoded}
"""
LINKS = {"$MODEL": "$model.model", "$CLIP": "$model.clip", "$VAE": "$model.vae", "$GUIDED": "$guided"}


@dataclass(frozen=True)
class Models:
    """Whole models of three families, each as a file and as a folder, and ControlNets for two. Not to be written to."""

    sd1: Built
    sdxl: Built
    sd3: Built
    controlnet: Path
    sdxl_controlnet: Path


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    folder = tmp_path_factory.mktemp("whole")
    built = [Built(family, folder / family) for family in ("sd1", "sdxl", "sd3")]
    nets = [tiny_families.build_controlnet(made.folder, folder / f"controlnet{n}") for n, made in enumerate(built[:2])]
    return Models(*built, *nets)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LATENTGRAPH_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("LATENTGRAPH_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))


class Said:
    """What a run of a graph gave: its exit code, and what was said."""

    def __init__(self, graph: str, capsys: pytest.CaptureFixture[str]) -> None:
        Path("graph.yaml").write_text("latentgraph: 1\nnodes:\n" + graph.removeprefix("\n"))
        capsys.readouterr()
        self.code = main(["run", "graph.yaml"])
        self.text = capsys.readouterr().err
        assert "Traceback" not in self.text
        assert 'File "' not in self.text  # nor a part of one
        assert "mistake in the node type" not in self.text

    def refuses(self, *parts: object) -> None:
        """Whether nothing was run, the place is said, and these words are."""
        assert "nothing was run" in self.text, self.text
        assert self.code == 2
        assert "graph.yaml:" in self.text
        self._has(parts)

    def fails(self, node: str, *parts: object) -> None:
        """Whether a node failed with these words."""
        assert f"the node `{node}` failed: " in self.text, self.text
        assert self.code == 1
        self._has(parts)

    def _has(self, parts: tuple[object, ...]) -> None:
        for part in parts:
            assert str(part) in self.text, self.text


Draw = Callable[..., Said]


@pytest.fixture
def draw(capsys: pytest.CaptureFixture[str]) -> Draw:
    """Draws with a model, after nodes that change it; `links` say what is then linked instead."""

    def drawn(name: object, nodes: str = "", **links: str) -> Said:
        text = f"  model: {{type: LoadModel, inputs: {{name: {json.dumps(str(name))}}}}}\n{nodes}{DRAWN}"
        for place, link in (LINKS | {f"${what.upper()}": link for what, link in links.items()}).items():
            text = text.replace(place, link)
        return Said(text, capsys)

    return drawn


def put(name: str, tensors: Tensors) -> Path:
    return original_layouts.save(tensors, Path(name).absolute())


def write(name: str, content: bytes) -> Path:
    Path(name).write_bytes(content)
    return Path(name).absolute()


# files that are no safetensors files, or not whole

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935\nsize 4265380512\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty, so it is no safetensors file: copy or download it again"),
        (b"abc", "is no safetensors file, or a damaged one: copy or download it again"),
        (b"\xff" * 200, "is no safetensors file, or a damaged one"),
        (POINTER, "is only Git LFS's pointer to a file: fetch the file itself with `git lfs pull`"),
        (b"\n<!DOCTYPE html>\n<html><head><title>Sign in</title>", "is a web page under the name of a model"),
        (b'{"error":"Invalid credentials in Authorization header"}', "is JSON under the name of a model"),
        (b"PK\x03\x04" + bytes(500), "is a pickled file under another name"),
        (b"\x80\x02}q\x00(X\x05" + bytes(500), "is a pickled file under another name"),
        (b"GGUF\x03\0\0\0" + bytes(500), "is a GGUF file, which cannot be read"),
        (struct.pack("<Q", 2) + b"{}", "is no whole model"),
        (struct.pack("<Q", 2) + b"[]", "is no safetensors file, or a damaged one"),
        (struct.pack("<Q", 2**60) + b"{}", "it is cut off"),
    ],
    ids=["empty", "short", "bytes", "LFS", "page", "JSON", "zip", "pickle", "GGUF", "none", "list", "huge header"],
)
def test_a_file_that_is_something_else_is_called_what_it_is(draw: Draw, content: bytes, message: str) -> None:
    path = write("model.safetensors", content)
    draw(path).refuses(f"graph.yaml:3:43: error[cannot-work]: `name`: {path} ", message)


@pytest.mark.parametrize("place", ["in the length", "in the header", "behind the header", "in the data", "at the end"])
def test_a_single_file_that_is_cut_off_anywhere_is_refused(draw: Draw, models: Models, place: str) -> None:
    content = models.sd1.file.read_bytes()
    header = int.from_bytes(content[:8], "little")
    lengths = {
        "in the length": 5,
        "in the header": header // 2,
        "behind the header": 8 + header,
        "in the data": len(content) // 2,
        "at the end": len(content) - 1,
    }
    path = write("cut.safetensors", content[: lengths[place]])
    message = "is no safetensors file, or a damaged one" if place == "in the length" else "it is cut off"
    draw(path).refuses(path, message, "copy or download it again")


def test_a_file_with_more_than_its_header_says_is_refused(draw: Draw, models: Models) -> None:
    path = write("long.safetensors", models.sd1.file.read_bytes() + b"12")
    draw(path).refuses("bytes instead of", "too many: copy or download it again")


@pytest.mark.parametrize(
    "changed",
    [
        {"dtype": "F32"},
        {"dtype": ["F16"]},
        {"shape": [128, 31]},
        {"shape": [-128, -32]},
        {"shape": [128.0, 32]},
        {"shape": "ab"},
        {"data_offsets": [0, 8192]},
        {"data_offsets": ["a", "b"]},
        {"data_offsets": None},
    ],
    ids=str,
)
def test_a_header_that_contradicts_itself_is_refused(draw: Draw, models: Models, changed: dict[str, Any]) -> None:
    content = models.sd1.file.read_bytes()
    data = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:data])
    header[f"{UNET}time_embed.0.weight"] |= changed
    text = json.dumps(header).encode()
    path = write("lie.safetensors", struct.pack("<Q", len(text)) + text + content[data:])
    draw(path).refuses(f"{path} is no safetensors file, or a damaged one: copy or download it again")


@pytest.mark.parametrize("suffix", [".ckpt", ".pt", ".pth", ".bin"])
def test_a_pickled_file_is_refused_with_the_command_that_converts_it(draw: Draw, models: Models, suffix: str) -> None:
    path = write(f"old{suffix}", b"PK\x03\x04")
    convert = f"convert it once with `latentgraph models convert {path}`"
    draw(path).refuses("is a pickled file, which could run any program", convert)
    draw(models.sd1.file, lora(path), **WITH_LORA).refuses("`file`", convert)
    draw(models.sd1.file, vae(path), vae="$vae").refuses("`source`", convert)


def test_a_file_that_may_not_be_read_says_so(draw: Draw, models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("locked.safetensors", models.sd1.file.read_bytes())
    path.chmod(0)
    if os.access(path, os.R_OK):  # as root, who may read everything
        opened = Path.open

        def locked(self: Path, *arguments: Any, **options: Any) -> Any:
            if self.name == path.name:
                raise PermissionError(13, "Permission denied", str(self))
            return opened(self, *arguments, **options)

        monkeypatch.setattr(Path, "open", locked)
    draw(path).refuses(f"{path} cannot be read: Permission denied")


def test_folders_and_names_that_lead_to_no_model_say_what_to_do(draw: Draw, models: Models) -> None:
    Path("some.safetensors").mkdir()
    draw("some.safetensors").refuses("some.safetensors has no model_index.json, so it is no diffusers model folder")
    draw(models.sd1.file.parent).refuses("of single files, name one (model.safetensors)")
    draw("/nowhere/model.safetensors").refuses("there is no file or folder /nowhere/model.safetensors")
    os.mkfifo("pipe")  # who opens it waits for somebody who writes
    draw("pipe").refuses("pipe is neither a file nor a folder")
    draw("my-model").refuses("there is no checkpoint `my-model` among the models", "`latentgraph models` lists")
    draw("").refuses("`name`: it is empty: give the name or the path of a checkpoint")
    draw(models.sd1.file, lora(models.sd1.folder), **WITH_LORA).refuses("is a folder, a safetensors file is wanted")


def test_a_damaged_file_in_the_model_folders_says_what_is_wrong_with_it(draw: Draw) -> None:
    Path("models").mkdir()
    path = write("models/mine.safetensors", POINTER)
    draw("mine").refuses(path, "Git LFS's pointer")


def test_a_model_at_the_hub_is_not_fetched_unless_allowed(draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("it looks for the network")

    monkeypatch.delenv("LATENTGRAPH_ALLOW_DOWNLOAD", raising=False)
    monkeypatch.setattr("socket.socket.connect", never)
    monkeypatch.setattr("socket.getaddrinfo", never)
    draw("owner/model").refuses("there is no checkpoint `owner/model`", "Hugging Face's cache", "--allow-download")


# single files with other tensors than they should have


def without(*prefixes: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name: tensor for name, tensor in tensors.items() if not name.startswith(prefixes)}


def including(**more: Tensor) -> Callable[[Tensors], Tensors]:
    return lambda tensors: tensors | {name.replace("__", "."): tensor for name, tensor in more.items()}


FLUX = {f"double_blocks.{number}.img_attn.qkv.weight": torch.ones(3, 1) for number in range(3)}
TIME = f"{UNET}time_embed.0.weight"


@pytest.mark.parametrize(
    ("change", "messages"),
    [
        (without(TIME), ("1 tensors are missing", TIME)),
        (without(f"{CLIP}final_layer_norm"), ("2 tensors are missing", "final_layer_norm.weight first")),
        (without(VAE), ("it has no encoder and decoder",)),
        (lambda tensors: tensors | {TIME: torch.ones(7, 9)}, (f"{TIME} is [7, 9], but should be [128, 32]",)),
        (lambda tensors: tensors | {f"{UNET}more": torch.ones(2)}, ("1 tensors belong to no known family", "more")),
        (lambda _: FLUX, ("is no whole model", "double_blocks.0", "Single files can be of Stable Diffusion 1")),
        (
            lambda _: original_layouts.prefixed(UNET, FLUX),
            ("is of no known family", "Known are Stable Diffusion 1"),
        ),
    ],
    ids=["missing", "missing of a CLIP", "no VAE", "shape", "more", "Flux", "Flux in a checkpoint"],
)
def test_a_single_file_with_other_tensors_is_refused_by_their_names(
    draw: Draw, models: Models, change: Callable[[Tensors], Tensors], messages: tuple[str, ...]
) -> None:
    path = put("other.safetensors", change(models.sd1.tensors))
    draw(path).refuses(f"`name`: {path}", *messages)


def test_tensors_beside_a_model_do_not_matter(draw: Draw, models: Models) -> None:
    assert draw(put("more.safetensors", models.sd1.tensors | {"model_ema.decay": torch.ones(1)})).code == 0


@pytest.mark.parametrize("family", ["sd1", "sdxl", "sd3"])
@pytest.mark.parametrize("shape", [[], [7], [0, 0, 0, 0]], ids=str)
def test_any_tensor_of_any_other_shape_is_refused(models: Models, family: str, shape: list[int]) -> None:
    content = getattr(models, family).file.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    own = (UNET, VAE, "cond_stage_model.", "conditioner.", "text_encoders.")
    names = [name for name in header if name.startswith(own) and not name.endswith("position_ids")]
    for name in names[:: 1 if shape == [] else 10]:
        path = Path("shapes.safetensors").absolute()
        _write_header(path, header | {name: header[name] | {"shape": shape}})
        with pytest.raises(Wrong) as wrong:
            LoadModel.describe({"name": str(path)})
        assert str(path) in str(wrong.value)


def _write_header(path: Path, header: dict[str, Any]) -> None:
    """A file with these tensors, all of them zeros that take up no space on disk."""
    sizes = {"F16": 2, "I64": 8, "F32": 4}
    place, entries = 0, {}
    for name, entry in header.items():
        if name != "__metadata__":
            size = sizes[entry["dtype"]] * int(torch.Size(entry["shape"]).numel())
            entries[name] = entry | {"data_offsets": [place, place + size]}
            place += size
    text = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    os.truncate(path, 8 + len(text) + place)


@pytest.mark.parametrize(
    ("name", "node"),
    [
        (f"{UNET}time_embed.0.bias", "sampled"),
        (f"{VAE}decoder.conv_in.bias", "decoded"),
        (f"{CLIP}final_layer_norm.bias", "wanted"),
    ],
)
@pytest.mark.parametrize("number", [float("nan"), float("inf")], ids=str)
def test_weights_that_are_no_numbers_fail_the_node_that_needs_them(
    draw: Draw, models: Models, name: str, node: str, number: float
) -> None:
    path = put("nan.safetensors", models.sd1.tensors | {name: torch.full_like(models.sd1.tensors[name], number)})
    draw(path).fails(node, f"the weights in {path} are damaged", "holds NaN or infinity; get them anew")


# folders


def cut(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def with_tensors(path: Path, change: Callable[[Tensors], Tensors]) -> None:
    safetensors.torch.save_file(change(safetensors.torch.load(path.read_bytes())), path, metadata={"format": "pt"})


def with_index(path: Path, content: object) -> None:
    path.unlink()
    path.with_name(f"{path.name}.index.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("part", "spoil", "messages"),
    [
        (f"unet/{WEIGHTS}", lambda path: cut(path, 1000), ("1,000 bytes", "cut off")),
        (f"vae/{WEIGHTS}", lambda path: cut(path, -5), ("bytes instead of", "it is cut off")),
        ("text_encoder/model.safetensors", lambda path: path.write_bytes(POINTER), ("Git LFS's pointer",)),
        (f"unet/{WEIGHTS}", Path.unlink, (f"is incomplete: it has no unet/{WEIGHTS}",)),
        (
            "text_encoder/model.safetensors",
            lambda path: path.rename(path.with_name("pytorch_model.bin")),
            ("pickled weights are never read", "models convert", "pytorch_model.bin --to", "/model.safetensors`"),
        ),
        (f"unet/{WEIGHTS}", lambda path: with_index(path, {}), ("does not say in `weight_map`",)),
        (f"unet/{WEIGHTS}", lambda path: with_index(path, {"weight_map": [1]}), ("does not say in `weight_map`",)),
        (f"unet/{WEIGHTS}", lambda path: with_index(path, {"weight_map": {"a": "b.x"}}), ("has no unet/b.x, which",)),
        ("unet/config.json", lambda path: path.write_text("<html>"), ("is not the JSON object it should be",)),
        ("vae/config.json", lambda path: path.write_text("[1]"), ("is not the JSON object", "it is a list")),
        ("unet/config.json", lambda path: path.write_text("[" * 100_000), ("is not the JSON object",)),
        ("unet/config.json", lambda path: edit(path, cross_attention_dim="x"), ("cross_attention_dim 'x'", "number")),
        ("vae/config.json", lambda path: edit(path, block_out_channels=None), ("block_out_channels None", "a list")),
        ("text_encoder/config.json", lambda path: edit(path, hidden_size=None), ("hidden_size None",)),
        ("scheduler/scheduler_config.json", lambda path: path.write_text("{"), ("is not the JSON object",)),
        (
            "tokenizer/tokenizer.json",
            Path.unlink,
            ("tokenizer is incomplete: it has no tokenizer.json, or vocab.json",),
        ),
        ("model_index.json", lambda path: edit(path, _class_name="FluxPipeline"), ("holds a FluxPipeline: only",)),
    ],
    ids=range(17),
)
def test_a_folder_with_a_bad_file_is_refused(
    draw: Draw, models: Models, part: str, spoil: Spoil, messages: tuple[str, ...]
) -> None:
    shutil.copytree(models.sd1.folder, "folder")
    spoil(Path("folder", part))
    draw("folder").refuses("`name`: folder", *messages)


@pytest.mark.parametrize(
    ("part", "change", "node", "messages"),
    [
        (f"unet/{WEIGHTS}", without("conv_in.weight"), "sampled", ("1 tensors are missing, conv_in.weight first",)),
        (f"vae/{WEIGHTS}", without("decoder.conv_in.weight"), "decoded", ("decoder.conv_in.weight first",)),
        ("text_encoder/model.safetensors", without("text_model.f", "f"), "wanted", ("2 tensors are missing",)),
        (
            f"unet/{WEIGHTS}",
            including(conv_in__weight=torch.ones(3, 4, 5, 6)),
            "sampled",
            ("are not those of its config.json: conv_in.weight is [3, 4, 5, 6], not [32, 4, 3, 3]",),
        ),
        (
            "text_encoder/model.safetensors",
            lambda tensors: {n: torch.ones(3) if n.endswith("norm.bias") else t for n, t in tensors.items()},
            "wanted",
            ("are not those of its config.json: ", "final_layer_norm.bias is [3], not [64]"),
        ),
    ],
    ids=["missing", "missing of a VAE", "missing of a CLIP", "shape", "shape of a CLIP"],
)
def test_a_folder_with_other_tensors_fails_the_node_that_needs_them(
    draw: Draw,
    models: Models,
    part: str,
    change: Callable[[Tensors], Tensors],
    node: str,
    messages: tuple[str, ...],
) -> None:
    shutil.copytree(models.sd1.folder, "folder")
    with_tensors(Path("folder", part), change)
    draw("folder").fails(node, f"the weights in folder/{Path(part).parent} ", *messages)


# what is added to a model

WITH_LORA = {"model": "$lora.model", "clip": "$lora.clip"}


def lora(path: Path) -> str:
    return f"  lora: {{type: LoadLoRA, inputs: {{model: $model.model, clip: $model.clip, file: {path}}}}}\n"


def vae(path: Path) -> str:
    return f"  vae: {{type: LoadVAE, inputs: {{source: {path}, model: $model.model}}}}\n"


def embedding(path: Path) -> str:
    return f"  words: {{type: LoadEmbedding, inputs: {{clip: $model.clip, file: {path}, name: word}}}}\n"


def controlnet(path: Path) -> str:
    Image.new("RGB", (32, 32)).save("edges.png")
    return (
        f"  net: {{type: LoadControlNet, inputs: {{source: {path}}}}}\n"
        "  edges: {type: LoadImage, inputs: {image: edges.png}}\n"
        "  steered: {type: ApplyControlNet, inputs: {guidance: $guided, control_net: $net, image: $edges}}\n"
    )


def lora_tensors(width: int = 64, inner: int = 32, block: str = "down_blocks_0_attentions_0") -> Tensors:
    """A LoRA for one layer, which reads texts of this width."""
    name = f"lora_unet_{block}_transformer_blocks_0_attn2_to_k"
    return {
        f"{name}.lora_down.weight": torch.ones(2, width),
        f"{name}.lora_up.weight": torch.ones(inner, 2),
        f"{name}.alpha": torch.tensor(1.0),
    }


def test_a_lora_that_fits_draws(draw: Draw, models: Models) -> None:
    assert draw(models.sd1.file, lora(put("lora.safetensors", lora_tensors())), **WITH_LORA).code == 0


def test_a_lora_of_another_family_is_refused(draw: Draw, models: Models) -> None:
    def refused(tensors: Tensors) -> Said:
        return draw(models.sd1.file, lora(put("lora.safetensors", tensors)), **WITH_LORA)

    refused(lora_tensors(2048)).refuses("`file`: ", "is a LoRA for Stable Diffusion XL", "2048 wide")
    name = "transformer.single_transformer_blocks.0.attn.to_k.lora_"
    flux = {f"{name}A.weight": torch.ones(2, 3), f"{name}B.weight": torch.ones(3, 2)}
    refused(flux).refuses("is a LoRA for another family: it changes a transformer", "Stable Diffusion 1 model has a")
    refused(models.sd1.tensors).refuses("is no LoRA: its tensors are called")
    refused({"blocks.0.lora_A.weight": torch.ones(2, 3)}).refuses("known are names that begin with lora_unet_")


def test_a_lora_whose_layers_do_not_fit_fails(draw: Draw, models: Models) -> None:
    def failed(tensors: Tensors, *parts: str) -> None:
        path = put("lora.safetensors", tensors)
        draw(models.sd1.file, lora(path), **WITH_LORA).fails("lora", path, *parts)

    other = lora_tensors(block="down_blocks_3_attentions_0")
    failed(other, "1 of 1 layers are not in the unet", "none of its layers is in this one")
    failed(lora_tensors(inner=33), "is a LoRA for another model: at down_blocks.0", "33 by 64, the unet has 32 by 64")
    failed({name: tensor * float("nan") for name, tensor in lora_tensors().items()}, "are damaged", "NaN or infinity")
    failed(
        without("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_up")(lora_tensors()), "lacks"
    )
    both = draw(models.sd1.file, lora(put("lora.safetensors", lora_tensors() | other)), **WITH_LORA)
    assert both.code == 0
    assert "lora.safetensors: 1 of 2 layers are not in the unet: down_blocks.3" in both.text


def test_a_vae_of_another_family_is_refused(draw: Draw, models: Models) -> None:
    for path in (models.sdxl.folder / "vae", models.sd3.folder / "vae", models.sd3.file):
        said = draw(models.sd1.file, vae(path), vae="$vae")
        said.refuses(f"`source`: {path} is for another model", "scaled by 0.18215: take one of Stable Diffusion 1")
    unet = models.sd1.folder / "unet"
    draw(models.sd1.file, vae(unet), vae="$vae").refuses("holds a UNet2DConditionModel, only an AutoencoderKL")


def test_a_vae_with_other_tensors_is_refused_or_fails(draw: Draw, models: Models) -> None:
    tensors = {name.removeprefix(VAE): t for name, t in models.sd1.tensors.items() if name.startswith(VAE)}

    def said(change: Tensors) -> Said:
        return draw(models.sd1.file, vae(put("vae.safetensors", tensors | change)), vae="$vae")

    assert said({}).code == 0
    said({"decoder.conv_in.weight": torch.tensor(1.0)}).refuses("its convolutions are not shaped as those")
    said({"decoder.conv_in.bias": torch.ones(3)}).fails("decoded", "size mismatch for decoder.conv_in.bias")
    said({"decoder.conv_in.bias": torch.full((64,), float("nan"))}).fails("decoded", "holds NaN or infinity")
    del tensors["decoder.conv_out.weight"]
    said({}).fails("decoded", "1 tensors are missing, decoder.conv_out.weight first")


def test_a_controlnet_of_another_family_is_refused(draw: Draw, models: Models) -> None:
    assert draw(models.sd1.file, controlnet(models.controlnet), guided="$steered").code == 0
    for path in (models.sdxl_controlnet, models.sdxl_controlnet / WEIGHTS):
        said = draw(models.sd1.file, controlnet(path), guided="$steered")
        said.refuses("`control_net`: ", "takes texts 128 wide (Stable Diffusion XL), this text is 64 wide")
    said = draw(models.sd1.file, controlnet(models.sd1.file), guided="$steered")
    said.refuses("`source`: ", "cannot be used as a ControlNet: it has neither")


def test_a_controlnet_with_missing_parts_is_refused_or_fails(draw: Draw, models: Models) -> None:
    tensors = safetensors.torch.load((models.controlnet / WEIGHTS).read_bytes())

    def said(*prefixes: str) -> Said:
        path = put("net.safetensors", without(*prefixes)(tensors))
        return draw(models.sd1.file, controlnet(path), guided="$steered")

    said("conv_in.weight").refuses("cannot be used as a ControlNet: it lacks conv_in.weight")
    said("mid_block.resnets.0.conv1.weight").fails("sampled", "mid_block.resnets.0.conv1.weight first")
    shutil.copytree(models.controlnet, "net")
    Path("net", "config.json").write_text("<html>")
    draw(models.sd1.file, controlnet(Path("net")), guided="$steered").refuses("net/config.json is not the JSON object")
    Path("net", "config.json").unlink()
    draw(models.sd1.file, controlnet(Path("net")), guided="$steered").refuses("net has no config.json")


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"emb_params": torch.ones(2, 768)}, "it has vectors 768 wide for text encoder 1, that of Stable Diffusion 1"),
        ({"emb_params": torch.ones(0, 64)}, "has no vectors in emb_params"),
        ({"a": torch.ones(64), "b": torch.ones(64)}, "is no textual inversion: it has 2 tensors: a, b"),
        ({}, "is no textual inversion: it has 0 tensors"),
    ],
    ids=["width", "none", "two", "nothing"],
)
def test_an_embedding_for_something_else_is_refused(draw: Draw, models: Models, tensors: Tensors, message: str) -> None:
    path = put("words.safetensors", tensors)
    draw(models.sd1.file, embedding(path), clip="$words").refuses(f"`file`: {path} ", message)


def test_an_embedding_that_is_no_numbers_fails(draw: Draw, models: Models) -> None:
    path = put("words.safetensors", {"emb_params": torch.full((1, 64), float("nan"))})
    draw(models.sd1.file, embedding(path), clip="$words").fails("wanted", f"the weights in {path} are damaged", "anew")


def test_a_t5_goes_with_a_family_that_has_one(draw: Draw, models: Models) -> None:
    other = f"  other: {{type: LoadModel, inputs: {{name: {models.sd1.file}, t5: {models.sd3.folder}}}}}\n"
    said = draw(models.sd1.file, other, vae="$other.vae")
    said.refuses("a T5 goes with Stable Diffusion 3, and this is Stable Diffusion 1: leave t5 out")


# pictures, masks and numbers that a model cannot take


def png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


Repaint = Callable[..., Said]


@pytest.fixture
def repaint(capsys: pytest.CaptureFixture[str], models: Models) -> Repaint:
    """Draws a part of `picture.png` anew, where `mask.png` is white."""

    def repainted(picture: bytes | tuple[int, int], mask: bytes | tuple[int, int], **inputs: object) -> Said:
        for name, given in (("picture.png", picture), ("mask.png", mask)):
            if isinstance(given, bytes):
                write(name, given)
            else:
                Image.new("RGB", given, "white").save(name)
        more = "".join(f", {name}: {value}" for name, value in ({"steps": 2} | inputs).items())
        return Said(REPAINTED.replace("MODEL", str(models.sd1.file)).replace(", MORE", more), capsys)

    return repainted


REPAINTED = """
  model: {type: LoadModel, inputs: {name: "MODEL"}}
  text: {type: CLIPEncode, inputs: {clip: $model.clip, text: "dog"}}
  picture: {type: LoadImage, inputs: {image: picture.png}}
  mask: {type: LoadMask, inputs: {mask: mask.png}}
  latent: {type: VAEEncodeInpaint, inputs: {vae: $model.vae, image: $picture, mask: $mask, seed: 1}}
  sampled: {type: KSampler, inputs: {model: $model.model, guidance: $text, latent: $latent, sampler: euler, MORE}}
  decoded: {type: VAEDecode, inputs: {vae: $model.vae, latent: $sampled}}
outputs: {image: $decoded}
"""


def test_pictures_and_masks_that_do_not_go_together_are_refused(repaint: Repaint) -> None:
    assert repaint((32, 40), (32, 40)).code == 0
    large = png_claiming(20_000, 10_000)
    repaint(large, (32, 32)).refuses("claims 20,000 by 10,000 pixels", "make the picture smaller")
    repaint((32, 32), large).refuses("claims 20,000 by 10,000 pixels")
    repaint((32, 32), (36, 32)).refuses("`mask`: the mask is 36 by 32, the picture 32 by 32: resize one of them first")
    repaint((35, 32), (35, 32)).refuses("the picture is 35 by 32, which 4 does not divide: resize it, say to 32 by 32")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"steps": 0}, "`steps` is 0; it should be greater than or equal to 1"),
        ({"steps": -3}, "`steps` is -3; it should be greater than or equal to 1"),
        ({"strength": 1.5}, "`strength` is 1.5; it should be less than or equal to 1"),
        ({"strength": -0.1}, "`strength` is -0.1; it should be greater than or equal to 0"),
        ({"strength": ".nan"}, "nan is not a finite number"),
    ],
    ids=str,
)
def test_numbers_of_no_sense_are_refused(repaint: Repaint, inputs: dict[str, object], message: str) -> None:
    repaint((32, 32), (32, 32), **inputs).refuses(message)


@pytest.mark.parametrize("width", [30, 33])
def test_a_canvas_whose_size_does_not_divide_is_refused(
    models: Models, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    graph = f"""
  model: {{type: LoadModel, inputs: {{name: "{models.sd1.file}"}}}}
  canvas: {{type: EmptyLatent, inputs: {{model: $model.model, width: {width}, height: 32}}}}
  decoded: {{type: VAEDecode, inputs: {{vae: $model.vae, latent: $canvas}}}}
outputs: {{image: $decoded}}
"""
    Said(graph, capsys).refuses(f"`width`: width is {width}, which the model's factor 4 does not divide; 32 is near")


def test_strength_0_is_no_error_and_gives_the_encoded_picture_back(models: Models) -> None:
    Image.effect_noise((32, 32), 60).convert("RGB").save("picture.png")
    Path("graph.yaml").write_text(f"""latentgraph: 1
nodes:
  model: {{type: LoadModel, inputs: {{name: "{models.sd1.file}"}}}}
  text: {{type: CLIPEncode, inputs: {{clip: $model.clip, text: "dog"}}}}
  picture: {{type: LoadImage, inputs: {{image: picture.png}}}}
  latent: {{type: VAEEncode, inputs: {{vae: $model.vae, image: $picture, seed: 1}}}}
  sampled:
    type: KSampler
    inputs: {{model: $model.model, guidance: $text, latent: $latent, sampler: euler, steps: 3, strength: 0}}
  before: {{type: VAEDecode, inputs: {{vae: $model.vae, latent: $latent}}}}
  after: {{type: VAEDecode, inputs: {{vae: $model.vae, latent: $sampled}}}}
outputs: {{before: $before, after: $after}}
""")
    outputs = load("graph.yaml").run().outputs
    assert outputs["before"].pixels.std() > 0.01
    assert torch.equal(outputs["before"].pixels, outputs["after"].pixels)
