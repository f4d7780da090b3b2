"""Loading networks: which class, in which type, shared and kept within a budget, and never changed by use."""

import gc
import json
import shutil
import sys
import weakref
from pathlib import Path
from typing import Any

import diffusers
import original_layouts
import pytest
import safetensors.torch
import tiny_families
import torch
import transformers
from torch import nn

from latentgraph.engine.context import Context
from latentgraph.engine.ports import Folder
from latentgraph.engine.problems import UserError
from latentgraph.nodes.conditioning import CLIPEncode
from latentgraph.nodes.diffusion import memory, weights
from latentgraph.nodes.diffusion.loading import elements, read
from latentgraph.nodes.diffusion.memory import Kept, size_of
from latentgraph.nodes.diffusion.original_texts import clip_tokenizer
from latentgraph.nodes.diffusion.weights import load_text_encoder, load_unet, load_vae, tokenizer_in
from latentgraph.nodes.guidance import CFGCombine
from latentgraph.nodes.latents import EmptyLatent
from latentgraph.nodes.models import Loaded, LoadModel
from latentgraph.nodes.references import Kind, Weights
from latentgraph.nodes.sampling import KSampler


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Kept:
    """What a process keeps that has loaded nothing yet, with room for all."""
    fresh = Kept(2**30)
    monkeypatch.setattr(weights, "kept", lambda: fresh)
    return fresh


def layer(kilobytes: int) -> nn.Module:
    return nn.Linear(256, kilobytes, bias=False)


def bits(network: nn.Module) -> dict[str, bytes]:
    """The bytes of each weight."""
    return {
        name: bytes(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy())
        for name, tensor in network.state_dict().items()
    }


def draw(loaded: Loaded, context: Context) -> torch.Tensor:
    texts = [CLIPEncode(clip=loaded.clip, text=text).run(context) for text in ("red apple", "")]
    guidance = CFGCombine(positive=texts[0], negative=texts[1], scale=3.0).run(context)
    canvas = EmptyLatent(model=loaded.model, width=32, height=32).run(context)
    node = KSampler(
        model=loaded.model,
        guidance=guidance,
        latent=canvas,
        sampler="diffusers:EulerDiscreteScheduler",
        steps=2,
        seed=1,
    )
    return node.run(context).samples


# keeping


def test_a_network_is_read_once_and_shared() -> None:
    kept = Kept(2**20)
    first = kept.take("a", 0, lambda: layer(1))
    assert kept.take("a", 0, lambda: layer(1)) is first
    assert kept.take("b", 0, lambda: layer(1)) is not first


def test_what_was_used_the_longest_ago_goes_first() -> None:
    kept, read = Kept(3 * 1024), []

    def use(name: str) -> None:
        kept.take(name, 1024, lambda: (read.append(name), layer(1))[1])

    for name in "abcabdca":
        use(name)
    assert "".join(read) == "abcdca"
    assert kept.bytes == 3 * 1024


def test_room_is_made_before_a_network_is_read() -> None:
    kept = Kept(3 * 1024)
    kept.take("a", 1024, lambda: layer(1))
    kept.take("b", 1024, lambda: layer(1))

    def read() -> nn.Module:
        assert kept.bytes == 1024
        return layer(2)

    kept.take("c", 2048, read)
    assert kept.bytes == 3 * 1024


def test_what_is_in_use_stays_shared_when_there_is_no_room_for_it() -> None:
    kept = Kept(1024)
    used = kept.take("a", 4096, lambda: layer(4))
    kept.take("b", 512, lambda: layer(1))
    assert kept.take("a", 4096, lambda: layer(4)) is used


def test_what_is_not_in_use_goes_before_what_is() -> None:
    kept = Kept(3 * 1024)
    used = kept.take("a", 1024, lambda: layer(1))
    kept.take("b", 1024, lambda: layer(1))
    kept.take("c", 2048, lambda: layer(2))
    assert kept.bytes == 3 * 1024
    seen = weakref.ref(used)
    del used
    assert seen() is not None  # kept for its next use


def test_networks_that_refer_to_themselves_go_too() -> None:
    kept = Kept(1024)

    def read() -> nn.Module:
        made = layer(1)
        made.itself = [made]
        return made

    gc.disable()
    try:
        kept.take("a", 1024, read)
        kept.take("b", 1024, lambda: layer(1))
        assert kept.bytes == 1024
    finally:
        gc.enable()


def test_a_budget_of_nothing_keeps_nothing() -> None:
    kept = Kept(0)
    kept.take("a", 1024, lambda: layer(1))
    kept.take("b", 1024, lambda: layer(1))
    assert kept.bytes <= 1024


@pytest.mark.parametrize(("said", "wanted"), [("3GB", 3 * 10**9), ("0", 0), ("1.5 GiB", 3 * 2**29)])
def test_the_budget_is_what_is_said(monkeypatch: pytest.MonkeyPatch, said: str, wanted: int) -> None:
    monkeypatch.setenv("LATENTGRAPH_MODEL_MEMORY", said)
    assert memory.budget() == wanted


def test_a_budget_of_no_sense_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTGRAPH_MODEL_MEMORY", "plenty")
    with pytest.raises(UserError, match="`plenty` is no size"):
        memory.budget()


def test_a_container_has_the_memory_that_it_may_take(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "_CGROUP", tmp_path / "memory.max")
    whole = memory.memory_of_computer()
    for said, wanted in {"max\n": whole, "1000000\n": 1000000, str(10**18): whole}.items():
        (tmp_path / "memory.max").write_text(said)
        assert memory.memory_of_computer() == wanted


def test_small_memory_draws_the_same_picture(loaded: Loaded, context: Context, kept: Kept) -> None:
    wanted = draw(loaded, context)
    network = weakref.ref(load_unet(loaded.model))
    kept.budget = 0
    assert torch.equal(draw(loaded, context), wanted)
    load_text_encoder(loaded.clip.encoders[0])
    assert network() is None


# reading


def mapped_from(tensor: torch.Tensor) -> str:
    """The file that the memory of a tensor is mapped from; empty where it is none."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(address, 16) for address in line.split()[0].split("-"))
        if start <= tensor.data_ptr() < end:
            return line.partition("/")[2] and "/" + line.partition("/")[2]
    return ""


def test_weights_are_mapped_from_their_files(loaded: Loaded, kept: Kept) -> None:
    if sys.platform != "linux":
        return
    for network, part in (
        (load_unet(loaded.model), loaded.model.weights),
        (load_vae(loaded.vae), loaded.vae.weights),
        (load_text_encoder(loaded.clip.encoders[0]), loaded.clip.encoders[0].weights),
    ):
        (file,) = (str(file.path) for file in part.folder.files if file.name.endswith(".safetensors"))
        assert {mapped_from(parameter) for parameter in network.parameters()} == {file}


def test_drawing_changes_no_weight(loaded: Loaded, context: Context) -> None:
    networks = [load_unet(loaded.model), load_text_encoder(loaded.clip.encoders[0]), load_vae(loaded.vae)]
    before = list(map(bits, networks))
    draw(loaded, context)
    assert list(map(bits, networks)) == before


def test_the_size_is_known_from_the_headers(loaded: Loaded) -> None:
    assert elements(loaded.model.weights) * 4 == size_of(load_unet(loaded.model))


def test_of_a_file_with_several_networks_only_the_one_that_is_meant_counts(tmp_path: Path, context: Context) -> None:
    pipeline = tiny_families.pipeline("sdxl", lambda pad_token="<|endoftext|>": tokenizer_in(clip_tokenizer(pad_token)))
    tensors = original_layouts.single_file(pipeline, "sdxl")
    path = original_layouts.save(tensors, tmp_path / "single.safetensors")
    loaded = LoadModel(name=str(path)).run(context)
    for part in (loaded.model.weights, loaded.vae.weights, loaded.clip.encoders[0].weights):
        assert elements(part) == pytest.approx(size_of(read(part, torch.float32)) / 4, rel=0.01)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_networks_come_in_the_type_that_is_asked_for(loaded: Loaded, kept: Kept, dtype: torch.dtype) -> None:
    single, half = load_unet(loaded.model), load_unet(loaded.model, dtype)
    assert single.dtype == torch.float32
    assert half.dtype == dtype
    assert torch.equal(half.conv_in.weight, single.conv_in.weight.to(dtype))
    assert load_unet(loaded.model) is single
    assert load_text_encoder(loaded.clip.encoders[0], dtype).dtype == dtype


def saved(folder: Path, network: Any, kind: Kind) -> Weights:
    network.save_pretrained(folder)
    return Weights(kind, "sdxl", Folder.at(folder))


CLIP = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "projection_dim": 8,
    "vocab_size": 50,
    "max_position_embeddings": 12,
    "bos_token_id": 48,
    "eos_token_id": 49,
}
T5 = transformers.T5Config(vocab_size=50, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
VISION = {name: CLIP[name] for name in list(CLIP)[:5]}


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        (lambda: transformers.CLIPTextModel(transformers.CLIPTextConfig(**CLIP)), "text_encoder"),
        (lambda: transformers.CLIPTextModelWithProjection(transformers.CLIPTextConfig(**CLIP)), "text_encoder"),
        (lambda: transformers.T5EncoderModel(T5), "text_encoder"),
        (
            lambda: transformers.CLIPVisionModelWithProjection(
                transformers.CLIPVisionConfig(**VISION, image_size=32, patch_size=16)
            ),
            "image_encoder",
        ),
    ],
)
def test_the_class_is_the_one_that_the_configuration_names(made: Any, kind: Kind, tmp_path: Path) -> None:
    network = made()
    found = read(saved(tmp_path / "saved", network, kind), torch.float32)
    assert type(found) is type(network)
    assert bits(found) == bits(network)


PARTS: dict[str, Kind] = {
    "unet": "unet",
    "transformer": "transformer",
    "vae": "vae",
    "text_encoder": "text_encoder",
    "text_encoder_2": "text_encoder",
    "text_encoder_3": "text_encoder",
}


@pytest.mark.parametrize("family", ["tiny_sd2", "tiny_inpaint", "tiny_sdxl", "tiny_refiner", "tiny_sd3_t5"])
def test_all_networks_of_a_family_are_those_that_diffusers_loads(
    family: str, request: pytest.FixtureRequest, kept: Kept
) -> None:
    folder: Path = request.getfixturevalue(family)
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    parts = [name for name in PARTS if getattr(pipeline, name, None) is not None]
    assert len(parts) >= 3
    for name in parts:
        wanted = getattr(pipeline, name)
        found = weights.load(Weights(PARTS[name], "sd1", Folder.at(folder / name)), torch.float32)
        assert type(found) is type(wanted), name
        assert bits(found) == bits(wanted), name
        if name.startswith("text_encoder"):
            tokenizer = name.replace("text_encoder", "tokenizer")
            theirs, ours = getattr(pipeline, tokenizer), tokenizer_in(Folder.at(folder / tokenizer))
            assert type(ours) is type(theirs)
            assert ours("red apple on a").input_ids == theirs("red apple on a").input_ids


def test_a_controlnet_is_the_one_that_diffusers_loads(tiny_controlnet: Path) -> None:
    found = read(Weights("controlnet", "sd1", Folder.at(tiny_controlnet)), torch.float32)
    assert bits(found) == bits(diffusers.ControlNetModel.from_pretrained(tiny_controlnet, torch_dtype=torch.float32))


def test_a_tokenizer_of_another_kind_is_said(tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny / "tokenizer", tmp_path / "tokenizer")
    path = tmp_path / "tokenizer" / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tokenizer_class": "LlamaTokenizer"}))
    with pytest.raises(ValueError, match="is a LlamaTokenizer; known are CLIPTokenizer"):
        tokenizer_in(Folder.at(tmp_path / "tokenizer"))


def test_a_t5_is_known_where_the_configuration_names_no_class(tmp_path: Path) -> None:
    transformers.T5EncoderModel(T5).save_pretrained(tmp_path / "saved")
    path = tmp_path / "saved" / "config.json"
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "architectures"}))
    found = read(Weights("text_encoder", "sd3", Folder.at(tmp_path / "saved")), torch.bfloat16)
    assert type(found) is transformers.T5EncoderModel
    assert {parameter.dtype for parameter in found.parameters()} == {torch.bfloat16}


def test_a_class_that_does_not_belong_there_is_said(loaded: Loaded) -> None:
    folder = loaded.model.weights.folder
    with pytest.raises(ValueError, match="holds a UNet2DConditionModel; the vae can be a AutoencoderKL"):
        read(Weights("vae", "sd1", folder), torch.float32)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_no_numbers_are_said_by_name(tiny: Path, tmp_path: Path, value: float) -> None:
    shutil.copytree(tiny / "vae", tmp_path / "vae")
    path = tmp_path / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = safetensors.torch.load_file(path)
    tensors["encoder.conv_out.weight"][1, 2, 0, 1] = value
    safetensors.torch.save_file(tensors, path)
    with pytest.raises(ValueError, match=r"are damaged: encoder\.conv_out\.weight holds NaN or infinity"):
        read(Weights("vae", "sd1", Folder.at(tmp_path / "vae")), torch.float32)


# small devices


def test_parts_that_come_when_they_are_needed_change_no_bit(
    loaded: Loaded, context: Context, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = draw(loaded, context)
    plain = bits(load_unet(loaded.model))
    kept.clear()
    monkeypatch.setenv("LATENTGRAPH_OFFLOAD", "group")
    assert torch.equal(draw(loaded, context), wanted)
    network = load_unet(loaded.model)
    assert any(hasattr(module, "_diffusers_hook") for module in network.modules())
    assert bits(network) == plain


def test_layers_held_in_eight_bits_compute_in_the_usual_type(
    loaded: Loaded, context: Context, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, whole = draw(loaded, context), size_of(load_unet(loaded.model))
    kept.clear()
    monkeypatch.setenv("LATENTGRAPH_OFFLOAD", "layerwise")
    network = load_unet(loaded.model)
    before = bits(network)
    assert network.dtype == torch.float32
    assert size_of(network) < 0.6 * whole
    found = draw(loaded, context)
    assert 0 < (found - wanted).abs().max() < 0.5 * wanted.abs().max()
    assert bits(network) == before
