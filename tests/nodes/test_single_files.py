"""Single files in the layouts of the original authors: what is in them, what becomes of it, and what is wrong."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import original_layouts
import psutil
import pytest
import torch
from tiny_files import Built
from torch import Tensor

from latentgraph.engine.context import Context
from latentgraph.engine.node import Wrong
from latentgraph.engine.ports import Folder
from latentgraph.nodes.conditioning import CLIPEncode
from latentgraph.nodes.diffusion.weights import load_text_encoder, load_tokenizer, load_unet, load_vae
from latentgraph.nodes.guidance import CFGCombine
from latentgraph.nodes.latents import EmptyLatent, VAEDecode
from latentgraph.nodes.models import Loaded, LoadModel
from latentgraph.nodes.sampling import KSampler

Spoil = Callable[[dict[str, Tensor]], object]

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

DRAWN = ("sd1", "sd2", "sdxl", "refiner", "sd3", "sd3_t5")

UNET, VAE = "model.diffusion_model.", "first_stage_model."


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Built]:
    known: dict[str, Built] = {}

    def get(family: str) -> Built:
        if family not in known:
            known[family] = Built(family, tmp_path_factory.mktemp(family))
        return known[family]

    return get


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


@pytest.mark.parametrize("family", DRAWN)
def test_it_draws_the_same_picture(built: Callable[[str], Built], family: str) -> None:
    made = built(family)
    ours, theirs = drawn(load(made.file, **t5_of(made))), drawn(load(made.folder))
    assert theirs.std() > 0.01
    assert torch.equal(ours, theirs)


def t5_of(made: Built) -> dict[str, Folder]:
    """The T5 that single files never have, from where a user would keep it."""
    return {"t5": Folder.at(made.folder)} if (made.folder / "text_encoder_3").is_dir() else {}


OFFLINE = """
import sys

asked = []

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        asked.append((event, arguments))
        raise OSError("there is no network")

sys.addaudithook(refuse)

import json
from pathlib import Path
import torch
from latentgraph.engine.ports import Folder
from test_single_files import drawn, load

for file, t5, target in json.loads(sys.argv[1]):
    torch.save(drawn(load(Path(file), **({"t5": Folder.at(Path(t5))} if t5 else {}))), target)
sys.exit(f"it asked for {asked}" if asked else 0)
"""


@pytest.mark.parametrize("offline", ["0", "1"])
def test_no_network_and_no_cache_is_needed(built: Callable[[str], Built], tmp_path: Path, offline: str) -> None:
    """Neither where that is said, nor where it is not: then nothing even tries."""
    home = tmp_path / "hub"
    home.mkdir()
    away = {"HF_HUB_OFFLINE": offline, "HF_HOME": str(home), "PYTHONPATH": str(Path(__file__).parent)}
    away |= {"LATENTGRAPH_THREADS": str(torch.get_num_threads())}
    families = {family: built(family) for family in DRAWN}
    asked = [
        (str(made.file), str(made.folder) if t5_of(made) else "", str(tmp_path / f"{family}.pt"))
        for family, made in families.items()
    ]
    command = [sys.executable, "-c", OFFLINE, json.dumps(asked)]
    done = subprocess.run(command, env=os.environ | away, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not list(home.iterdir())
    for family, made in families.items():
        torch.testing.assert_close(torch.load(tmp_path / f"{family}.pt"), drawn(load(made.folder)), atol=1e-4, rtol=0)


def test_checking_reads_only_the_header(built: Callable[[str], Built]) -> None:
    code = (
        "import sys; from latentgraph.nodes.models import LoadModel;"
        f"LoadModel.describe({{'name': {str(built('sdxl').file)!r}}});"
        "print([name for name in ('torch', 'numpy', 'diffusers', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_all_parts_share_one_file(built: Callable[[str], Built]) -> None:
    model, clip, vae = load(built("sdxl").file)
    parts = [model.weights, vae.weights, *(encoder.weights for encoder in clip.encoders)]
    assert len({id(part.folder["checkpoint.safetensors"]) for part in parts}) == 1
    assert len({part.folder.digest for part in parts}) == 4
    assert set(model.sources()) == {"model.safetensors/unet", "model.safetensors/scheduler"}


def test_half_precision_computes_in_single(built: Callable[[str], Built]) -> None:
    loaded = load(built("sd1").file)
    for network in networks(loaded):
        assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    wanted = built("sd1").tensors[f"{UNET}input_blocks.0.0.weight"]
    assert wanted.dtype == torch.float16
    assert torch.equal(load_unet(loaded.model).conv_in.weight, wanted.float())


def test_weights_in_the_wanted_type_are_mapped_from_the_file(built: Callable[[str], Built], tmp_path: Path) -> None:
    single = {name: tensor.float() for name, tensor in built("sd1").tensors.items()}
    network = load_unet(load(original_layouts.save(single, tmp_path / "single.safetensors")).model)
    place = network.conv_in.weight.data_ptr()
    mapped = [entry for entry in psutil.Process().memory_maps(grouped=False) if "single.safetensors" in entry.path]
    spans = [[int(part, 16) for part in entry.addr.split("-")] for entry in mapped]
    assert any(start <= place < end for start, end in spans)


# CLIP's vocabulary


def test_the_vocabulary_is_CLIPs(built: Callable[[str], Built]) -> None:
    first, second = (load_tokenizer(encoder) for encoder in load(built("sdxl").file).clip.encoders)
    text = "a photo of an astronaut riding a horse on mars"
    ids = [49406, 320, 1125, 539, 550, 18376, 6765, 320, 4558, 525, 7496, 49407]
    assert first(text).input_ids == second(text).input_ids == ids
    assert (first.model_max_length, len(first)) == (77, 49408)
    padded = [tokenizer("a", padding="max_length").input_ids[-1] for tokenizer in (first, second)]
    assert padded == [49407, 0]


# what a file says of itself, and what it does not


def scheduler(loaded: Loaded) -> dict[str, Any]:
    return loaded.model.scheduler_config


def test_what_a_model_predicts_is_said_by_the_file_or_the_user(built: Callable[[str], Built], tmp_path: Path) -> None:
    two, xl = built("sd2"), built("sdxl")
    assert load(two.file).model.prediction == "v_prediction"
    assert load(two.file).model.size == (96 * 4, 96 * 4)
    epsilon = load(two.file, prediction="epsilon").model
    assert (epsilon.prediction, epsilon.size) == ("epsilon", (64 * 4, 64 * 4))
    said = original_layouts.save(two.tensors, tmp_path / "said.safetensors", **{"modelspec.prediction_type": "epsilon"})
    assert load(said).model.prediction == "epsilon"
    marks = {"v_pred": torch.zeros(1), "ztsnr": torch.zeros(1)}
    marked = load(original_layouts.save(xl.tensors | marks, tmp_path / "marked.safetensors"))
    assert scheduler(marked)["prediction_type"] == "v_prediction"
    assert scheduler(marked)["rescale_betas_zero_snr"] is True
    assert load(xl.folder, prediction="v_prediction").model.prediction == "v_prediction"


def test_a_model_of_flow_matching_predicts_nothing_else(built: Callable[[str], Built]) -> None:
    for path in (built("sd3").file, built("sd3").folder):
        with pytest.raises(Wrong, match="predicts nothing else: leave prediction out"):
            LoadModel.describe({"name": str(path), "prediction": "epsilon"})


@pytest.mark.parametrize("whole", [True, False])
def test_a_T5_comes_from_a_folder(
    built: Callable[[str], Built], tiny_sd3_t5: Path, tmp_path: Path, whole: bool
) -> None:
    folder = tiny_sd3_t5
    if not whole:  # the network and the tokenizer side by side
        folder = tmp_path / "t5"
        folder.mkdir()
        for part in ("text_encoder_3", "tokenizer_3"):
            for file in (tiny_sd3_t5 / part).iterdir():
                (folder / file.name).symlink_to(file)
    loaded = load(built("sd3").file, t5=Folder.at(folder))
    assert [type(load_text_encoder(encoder)).__name__ for encoder in loaded.clip.encoders][2] == "T5EncoderModel"
    tokens = CLIPEncode(clip=loaded.clip, text="red apple").run(Context()).conds[0].tokens
    without = CLIPEncode(clip=load(built("sd3").file).clip, text="red apple").run(Context()).conds[0].tokens
    assert tokens.shape == (1, 77 + 256, 160)
    assert tokens[:, 77:].std() > 0.01
    assert torch.equal(tokens[:, :77, :128], without[:, :77, :128])
    with pytest.raises(ValueError, match="this is Stable Diffusion 1: leave t5 out"):
        load(built("sd1").file, t5=Folder.at(folder))


# what is wrong


def without(name: str) -> Spoil:
    return lambda tensors: tensors.pop(name)


def without_all(prefix: str) -> Spoil:
    return lambda tensors: [tensors.pop(name) for name in list(tensors) if name.startswith(prefix)]


def only(prefix: str) -> Spoil:
    return lambda tensors: [tensors.pop(name) for name in list(tensors) if not name.startswith(prefix)]


def put(name: str, tensor: Tensor) -> Spoil:
    return lambda tensors: tensors.update({name: tensor})


ATTENTION = f"{UNET}middle_block.1.transformer_blocks.0.attn2.to_q.weight"
CLIP = "cond_stage_model.transformer."


@pytest.mark.parametrize(
    ("family", "spoil", "message"),
    [
        ("sd1", without(ATTENTION), rf"1 tensors are missing, {ATTENTION} first"),
        ("sd1", without(f"{UNET}input_blocks.0.0.weight"), "is of no known family: its tensors are called"),
        ("sd1", without_all(f"{UNET}output_blocks.3."), rf"tensors are missing, {UNET}output_blocks.3.0.in_layers.0"),
        ("sd1", without_all(f"{UNET}input_blocks.1."), r"its tensors input_blocks\.1 are missing"),
        ("sd1", without_all(VAE), "it has no encoder and decoder"),
        ("sd1", without(f"{VAE}decoder.conv_out.bias"), rf"1 tensors are missing, {VAE}decoder\.conv_out\.bias"),
        ("sd1", without_all(CLIP), "has no text encoder of a known family"),
        (
            "sd1",
            without_all(f"{CLIP}text_model.encoder.layers.0.self_attn."),
            r"8 tensors are missing, .*layers\.0\.self_attn",
        ),
        ("sd1", only(VAE), "no whole model, it is an autoencoder: load it with LoadVAE"),
        ("sd1", only("betas"), r"has no tensors model\.diffusion_model\.… \(but betas\)"),
        ("sd1", put(ATTENTION, torch.ones(64, 63)), r"to_q\.weight is \[64, 63\], but should be \[64, 64\]"),
        ("sd1", put(f"{UNET}input_blocks.0.0.weight", torch.ones(32, 5, 3, 3)), "takes 5 channels, the VAE gives 4"),
        ("sd1", put(f"{UNET}more.weight", torch.ones(1)), r"1 tensors belong to no known family, .*more\.weight first"),
        ("sd1", put(ATTENTION, torch.ones(64, 64, dtype=torch.int32)), "has the type I32; weights are floating"),
        ("sd1", put(f"{UNET}label_emb.0.0.weight", torch.ones(128, 9)), "does not go with its text encoders"),
        ("sd2", put("cond_stage_model.model.token_embedding.weight", torch.ones(9, 64)), "knows 9 tokens, CLIP's"),
        ("sdxl", without_all("conditioner.embedders.1."), "has no text encoder of a known family"),
        ("sdxl", put(f"{UNET}label_emb.0.0.weight", torch.ones(128, 64 + 4 * 256)), "told 4 numbers of a picture"),
        ("sd3", without_all("text_encoders.clip_g."), "has not both text encoders"),
        (
            "sd3",
            without(f"{UNET}joint_blocks.1.x_block.mlp.fc1.bias"),
            r"joint_blocks\.1\.x_block\.mlp\.fc1\.bias first",
        ),
    ],
)
def test_what_is_no_model_is_refused_before_the_run(
    built: Callable[[str], Built],
    tmp_path: Path,
    family: str,
    spoil: Spoil,
    message: str,
) -> None:
    tensors = dict(built(family).tensors)
    spoil(tensors)
    path = original_layouts.save(tensors, tmp_path / "spoilt.safetensors")
    with pytest.raises(Wrong, match=message) as wrong:
        LoadModel.describe({"name": str(path)})
    assert wrong.value.input == "name"
    assert str(path) in str(wrong.value)


def test_a_LoRA_is_no_model(tmp_path: Path) -> None:
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight"
    path = original_layouts.save({name: torch.ones(1, 2)}, tmp_path / "lora.safetensors")
    with pytest.raises(Wrong, match="is a LoRA: load it with LoadLoRA"):
        LoadModel.describe({"name": str(path)})


@pytest.mark.parametrize(("length", "message"), [(-1, "it is cut off"), (1000, "it is cut off"), (0, "is empty")])
def test_a_file_that_is_cut_off_is_refused(
    built: Callable[[str], Built], tmp_path: Path, length: int, message: str
) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(built("sd1").file.read_bytes()[:length])
    with pytest.raises(Wrong, match=message):
        LoadModel.describe({"name": str(path)})


def test_a_pickled_file_is_refused_with_the_command_that_converts_it(tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    path.write_bytes(b"anything")
    with pytest.raises(Wrong, match=r"latentgraph models convert .*model\.ckpt"):
        LoadModel.describe({"name": str(path)})


def test_weights_that_are_no_numbers_are_said_when_loading(built: Callable[[str], Built], tmp_path: Path) -> None:
    tensors = dict(built("sd1").tensors)
    tensors[ATTENTION] = tensors[ATTENTION].clone()
    tensors[ATTENTION][3, 4] = float("nan")
    loaded = load(original_layouts.save(tensors, tmp_path / "nan.safetensors"))
    with pytest.raises(ValueError, match=r"nan\.safetensors are damaged: mid_block.*attn2\.to_q\.weight"):
        load_unet(loaded.model)
