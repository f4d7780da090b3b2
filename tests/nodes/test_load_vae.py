import re
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
from latentgraph.engine.ports import File, Folder
from latentgraph.nodes.adapters import LoadVAE
from latentgraph.nodes.latents import VAEDecode, VAEEncode
from latentgraph.nodes.models import Loaded, LoadModel
from latentgraph.nodes.ports import Image, Latent
from latentgraph.nodes.references import Model, Space, Vae

LEVELS = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_families.build("sd1", tmp_path_factory.mktemp("vae") / "sd1")


@pytest.fixture
def loaded(folder: Path) -> Loaded:
    return LoadModel(name=str(folder)).run(Context())


def pictures(vae: Vae) -> tuple[Tensor, Tensor]:
    """The latents of a picture, and what is decoded of them."""
    generator = torch.Generator().manual_seed(0)
    latent = VAEEncode(vae=vae, image=Image(torch.rand(1, 3, 32, 32, generator=generator))).run(Context())
    return latent.samples, VAEDecode(vae=vae, latent=latent).run(Context()).pixels


def difference(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> float:
    return max((one - other).abs().max().item() for one, other in zip(a, b, strict=True))


def original(name: str, tensor: Tensor) -> tuple[str, Tensor]:
    """A tensor of an autoencoder under the name that the original authors gave it."""
    for theirs, authors in (
        (r"encoder\.down_blocks\.(\d+)\.resnets\.(\d+)", r"encoder.down.\1.block.\2"),
        (r"encoder\.down_blocks\.(\d+)\.downsamplers\.0\.conv", r"encoder.down.\1.downsample.conv"),
        (r"mid_block\.resnets\.0", "mid.block_1"),
        (r"mid_block\.resnets\.1", "mid.block_2"),
        (r"mid_block\.attentions\.0\.group_norm", "mid.attn_1.norm"),
        (r"mid_block\.attentions\.0\.to_out\.0", "mid.attn_1.proj_out"),
        (r"mid_block\.attentions\.0\.to_([qkv])", r"mid.attn_1.\1"),
        (r"conv_norm_out", "norm_out"),
        (r"conv_shortcut", "nin_shortcut"),
    ):
        name = re.sub(theirs, authors, name)
    up = re.match(r"decoder\.up_blocks\.(\d+)\.(.*)", name)
    if up:
        rest = up[2].replace("resnets", "block").replace("upsamplers.0.conv", "upsample.conv")
        name = f"decoder.up.{LEVELS - 1 - int(up[1])}.{rest}"
    in_attention = re.search(r"attn_1\.(q|k|v|proj_out)\.weight", name)
    return name, tensor[:, :, None, None].contiguous() if in_attention else tensor


@pytest.fixture
def originals(folder: Path, tmp_path: Path) -> dict[str, File]:
    """The autoencoder as one file with the names of the original authors, alone and as a part of a whole model."""
    tensors = load_file(folder / "vae" / "diffusion_pytorch_model.safetensors")
    renamed = dict(original(name, tensor) for name, tensor in tensors.items())
    save_file(renamed, tmp_path / "alone.safetensors")
    whole = {f"first_stage_model.{name}": tensor for name, tensor in renamed.items()}
    save_file(whole | {"model.diffusion_model.x": torch.ones(1)}, tmp_path / "whole.safetensors")
    return {name: File.at(tmp_path / f"{name}.safetensors") for name in ("alone", "whole")}


def test_a_folder_is_the_models_own(folder: Path, loaded: Loaded) -> None:
    for source in (folder / "vae", folder):
        vae = LoadVAE(source=Folder.at(source)).run(Context())
        assert vae.space == loaded.vae.space
        assert difference(pictures(vae), pictures(loaded.vae)) == 0.0


def test_a_file_with_diffusers_names_is_the_same(folder: Path, loaded: Loaded) -> None:
    file = File.at(folder / "vae" / "diffusion_pytorch_model.safetensors")
    vae = LoadVAE(source=file, model=loaded.model).run(Context())
    assert vae.space == loaded.model.space
    assert difference(pictures(vae), pictures(loaded.vae)) == 0.0


@pytest.mark.parametrize("kind", ["alone", "whole"])
def test_a_file_with_the_authors_names_is_the_same(kind: str, originals: dict[str, File], loaded: Loaded) -> None:
    vae = LoadVAE(source=originals[kind], model=loaded.model).run(Context())
    assert vae.space == loaded.model.space
    assert difference(pictures(vae), pictures(loaded.vae)) < 1e-5


def test_it_decodes_as_diffusers_does(folder: Path, loaded: Loaded) -> None:
    vae = LoadVAE(source=Folder.at(folder / "vae"), model=loaded.model).run(Context())
    network: Any = diffusers.AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32)
    samples = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    ours = VAEDecode(vae=vae, latent=Latent(samples, vae.space)).run(Context()).pixels
    with torch.no_grad():
        theirs = network.decode(samples / vae.space.scaling, return_dict=False)[0] / 2 + 0.5
    assert (ours - theirs.clamp(0, 1)).abs().max() == 0.0


def refused(source: Any, model: Model | None) -> Wrong:
    with pytest.raises(Wrong) as raised:
        LoadVAE.describe({"source": source, "model": model})
    return raised.value


def test_a_vae_for_another_model_is_refused_before_the_run(folder: Path, loaded: Loaded) -> None:
    other = Model(loaded.model.weights, loaded.model.scheduler, Space(4, 4, 0.13025))
    wrong = refused(Folder.at(folder / "vae"), other)
    assert wrong.input == "source"
    assert "scaled by 0.18215, the model 4 channels at 1/4 of the size, scaled by 0.13025" in str(wrong)
    file = File.at(folder / "vae" / "diffusion_pytorch_model.safetensors")
    assert "for another model" in str(refused(file, Model(other.weights, other.scheduler, Space(16, 8, 1.5305))))


def test_a_file_needs_the_model_that_it_is_for(folder: Path) -> None:
    wrong = refused(File.at(folder / "vae" / "diffusion_pytorch_model.safetensors"), None)
    assert wrong.input == "model"
    assert "does not say how its latents are scaled" in str(wrong)


def test_what_is_no_vae_is_refused_before_the_run(folder: Path, loaded: Loaded, tmp_path: Path) -> None:
    unet = File.at(folder / "unet" / "diffusion_pytorch_model.safetensors")
    assert "cannot be used as a VAE" in str(refused(unet, loaded.model))
    assert "no config.json" in str(refused(Folder.at(folder / "tokenizer"), None))
    whole = (folder / "vae" / "diffusion_pytorch_model.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-10])
    assert "cut off" in str(refused(File.at(tmp_path / "cut.safetensors"), loaded.model))
    (tmp_path / "old.ckpt").write_bytes(b"x")
    assert "latentgraph models convert" in str(refused(File.at(tmp_path / "old.ckpt"), loaded.model))


def test_before_the_run_the_vae_is_known(folder: Path, loaded: Loaded) -> None:
    source = Folder.at(folder / "vae")
    vae = LoadVAE(source=source).run(Context())
    assert LoadVAE.describe({"source": source, "model": None}) == {"vae": vae}
    assert LoadVAE.describe({"source": source}) == {}
