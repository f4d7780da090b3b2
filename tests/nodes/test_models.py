"""Model folders: what is taken from them, and what is wrong with broken ones."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import diffusers
import pytest
import safetensors.torch
import torch

from latentgraph.engine.context import Context
from latentgraph.engine.digest import digest
from latentgraph.engine.ports import Folder
from latentgraph.nodes.conditioning import CLIPEncode
from latentgraph.nodes.diffusion.weights import load_text_encoder, load_unet, load_vae
from latentgraph.nodes.models import Loaded, LoadModel
from latentgraph.nodes.references import Clip, Model, Space, Vae, Weights

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


def load(folder: Path, context: Context) -> Loaded:
    return LoadModel(name=str(folder)).run(context)


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_is_loaded_is_described_without_reading_weights(tiny: Path, context: Context) -> None:
    model, clip, vae = load(tiny, context)
    assert model.space == vae.space == Space(4, 4, 0.18215)
    assert model.size == (32, 32)
    assert [file.name for file in model.weights.folder.files] == ["config.json", "diffusion_pytorch_model.safetensors"]
    assert model.scheduler_config["_class_name"] == "PNDMScheduler"
    assert clip.width == 16


def test_a_copy_elsewhere_is_the_same_model(tiny: Path, copy: Path, context: Context) -> None:
    (copy / "README.md").write_text("about this copy")
    for ours, theirs in zip(load(tiny, context), load(copy, context), strict=True):
        assert digest(ours) == digest(theirs)
        assert ours == theirs


def test_the_scheduler_and_the_tokenizer_count(tiny: Path, copy: Path, context: Context) -> None:
    before = load(tiny, context)
    edit(copy / "scheduler" / "scheduler_config.json", prediction_type="v_prediction")
    edit(copy / "tokenizer" / "tokenizer_config.json", model_max_length=10)
    after = load(copy, context)
    changed = [digest(a) != digest(b) for a, b in zip(before, after, strict=True)]
    assert changed == [True, True, False]


def test_what_lies_in_the_folder_decides_whether_a_model_is_the_same(tiny: Path, copy: Path) -> None:
    def fingerprint(folder: Path) -> list[str]:
        return LoadModel(name=str(folder)).fingerprint()

    assert fingerprint(copy) == fingerprint(tiny)
    (copy / "README.md").write_text("about this copy")
    (copy / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"never read")
    assert fingerprint(copy) == fingerprint(tiny)
    for name in ("scheduler/scheduler_config.json", "tokenizer/tokenizer_config.json", "vae/config.json", UNET):
        path, before = copy / name, fingerprint(copy)
        content = path.read_bytes()
        if path.suffix == ".json":
            edit(path, changed=True)
        else:
            path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert fingerprint(copy) != before, name


def test_weights_are_loaded_once_a_process(tiny: Path, copy: Path, context: Context) -> None:
    assert load_unet(load(tiny, context).model) is load_unet(load(copy, context).model)


def test_weights_in_memory_are_as_good_as_on_disk(loaded: Loaded, context: Context) -> None:
    files = {file.name: file.read() for file in loaded.vae.weights.folder.files}
    memory = Vae(Weights("vae", "sd1", Folder.of(files)))
    assert memory == loaded.vae
    assert digest(memory) == digest(loaded.vae)
    other = safetensors.torch.load(files["diffusion_pytorch_model.safetensors"])
    files["diffusion_pytorch_model.safetensors"] = safetensors.torch.save({k: v * 2 for k, v in other.items()})
    doubled = load_vae(Vae(Weights("vae", "sd1", Folder.of(files))))
    assert torch.equal(doubled.decoder.conv_in.weight, 2 * load_vae(loaded.vae).decoder.conv_in.weight)


def test_the_half_precision_variant_computes_in_single(tiny: Path, copy: Path, context: Context) -> None:
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(tiny, torch_dtype=torch.float16)
    shutil.rmtree(copy)
    pipeline.save_pretrained(copy, variant="fp16")
    model, clip, vae = load(copy, context)
    assert (copy / "unet" / "diffusion_pytorch_model.fp16.safetensors").exists()
    for network in (load_unet(model), load_text_encoder(clip.encoders[0]), load_vae(vae)):
        assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_several_files_of_weights_are_one_model(tiny: Path, copy: Path, context: Context) -> None:
    unet = diffusers.UNet2DConditionModel.from_pretrained(tiny, subfolder="unet")
    shutil.rmtree(copy / "unet")
    unet.save_pretrained(copy / "unet", max_shard_size="100KB")
    shards = sorted((copy / "unet").glob("*-of-*.safetensors"))
    assert len(shards) > 1
    loaded_unet = load_unet(load(copy, context).model)
    assert torch.equal(loaded_unet.conv_in.weight, unet.conv_in.weight)
    shards[0].unlink()
    with pytest.raises(ValueError, match=f"has no unet/{shards[0].name}"):
        load(copy, context)


def test_text_longer_than_the_tokenizer_says_is_cut_at_what_the_encoder_has(copy: Path, context: Context) -> None:
    edit(copy / "tokenizer" / "tokenizer_config.json", model_max_length=10**30)
    conditioning = CLIPEncode(clip=load(copy, context).clip, text="dog " * 50, long="cut").run(context)
    assert conditioning.conds[0].tokens.shape == (1, 12, 16)


def test_models_are_written_as_the_folder_they_came_from(loaded: Loaded, tiny: Path, tmp_path: Path) -> None:
    for value in loaded:
        for file in value.written():
            target = tmp_path / f"out{file.suffix}"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.content)
    shutil.copy(tiny / "model_index.json", tmp_path / "out")
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(tmp_path / "out", torch_dtype=torch.float32)
    assert torch.equal(pipeline.unet.conv_in.weight, load_unet(loaded.model).conv_in.weight)


# what is wrong


def cut(folder: Path) -> None:
    path = folder / UNET
    path.write_bytes(path.read_bytes()[:-100])


def cut_header(folder: Path) -> None:
    path = folder / UNET
    path.write_bytes(path.read_bytes()[:500])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (cut, r"diffusion_pytorch_model\.safetensors has [\d,]+ bytes instead of [\d,]+, it is cut off"),
        (cut_header, r"has 500 bytes, its header alone [\d,]+: it is cut off"),
        (lambda folder: (folder / UNET).write_bytes(b""), "is no safetensors file"),
        (lambda folder: (folder / UNET).write_bytes(b"\xff" * 100), "is no safetensors file"),
        (
            lambda folder: (folder / UNET).rename(folder / "unet/diffusion_pytorch_model.bin"),
            "pickled weights are never",
        ),
        (lambda folder: (folder / "vae" / "config.json").unlink(), "has no vae/config.json"),
        (lambda folder: (folder / "vae" / "config.json").write_text("{"), "is not the JSON object it should be"),
        (
            lambda folder: (folder / "vae" / "config.json").write_text("{}"),
            "vae/config.json has no block_out_channels",
        ),
        (lambda folder: (folder / "model_index.json").write_text("[1]"), "is not the JSON object it should be"),
        (lambda folder: (folder / "model_index.json").unlink(), "has no model_index.json"),
        (lambda folder: shutil.rmtree(folder / "tokenizer"), "has no tokenizer/"),
        (lambda folder: shutil.rmtree(folder / "scheduler"), "has no scheduler/scheduler_config.json"),
        (lambda folder: edit(folder / "model_index.json", _class_name="FluxPipeline"), "holds a FluxPipeline: only"),
        (
            lambda folder: edit(folder / "model_index.json", vae=["diffusers", "AutoencoderTiny"]),
            "its vae is Autoencoder",
        ),
        (lambda folder: edit(folder / "unet" / "config.json", in_channels=5), "takes 5 channels, the VAE gives 4"),
        (lambda folder: edit(folder / "unet" / "config.json", time_cond_proj_dim=256), "has time_cond_proj_dim 256"),
    ],
)
def test_a_broken_folder_is_refused_by_LoadModel(
    copy: Path, context: Context, spoil: Callable[[Path], object], message: str
) -> None:
    spoil(copy)
    with pytest.raises(ValueError, match=message) as raised:
        load(copy, context)
    assert str(copy) in str(raised.value)


def test_tensors_that_are_missing_are_said_when_loading(copy: Path, context: Context) -> None:
    tensors = safetensors.torch.load_file(copy / UNET)
    del tensors["conv_in.weight"]
    safetensors.torch.save_file(tensors, copy / UNET)
    with pytest.raises(ValueError, match=r"copy/unet.*conv_in\.weight"):
        load_unet(load(copy, context).model)


def test_tensors_of_another_shape_are_said_when_loading(copy: Path, context: Context) -> None:
    edit(copy / "unet" / "config.json", block_out_channels=[16, 16])
    with pytest.raises(ValueError, match=r"copy/unet"):
        load_unet(load(copy, context).model)


def test_a_name_that_is_no_folder_is_refused(tmp_path: Path, context: Context) -> None:
    with pytest.raises(ValueError, match=r"there is no file or folder .*nowhere"):
        load(tmp_path / "nowhere", context)
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"")
    with pytest.raises(ValueError, match="is no safetensors file"):
        load(file, context)


def test_references_are_plain_values(loaded: Loaded) -> None:
    model, clip, vae = loaded
    assert isinstance(model, Model)
    assert isinstance(clip, Clip)
    assert isinstance(vae, Vae)
    assert {hash(model), hash(clip), hash(vae)}
