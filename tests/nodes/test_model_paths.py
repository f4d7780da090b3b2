"""Models by name: in one's own folders, other programs' trees, Hugging Face's cache; pickled ones converted."""

import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from latentgraph.engine import ports, remembered, roots
from latentgraph.engine.cli import main
from latentgraph.engine.digest import digest_of_file
from latentgraph.nodes.diffusion.conversion import convert
from latentgraph.nodes.model_paths import FOLDERS, KINDS, find_model, model_folders, models

ONE = torch.ones(2)

TENSORS: dict[str, dict[str, torch.Tensor]] = {
    "checkpoint": {"model.diffusion_model.input_blocks.0.0.weight": torch.ones(2)},
    "lora": {"lora_unet_down_blocks_0_attentions_0_attn2_to_k.lora_down.weight": torch.ones(4, 768).half()},
    "vae": {"decoder.conv_in.weight": torch.ones(2)},
    "controlnet": {"control_model.input_hint_block.0.weight": torch.ones(2)},
    "embedding": {"clip_l": torch.ones(1, 768), "clip_g": torch.ones(1, 1280)},
    "text_encoder": {"encoder.block.0.layer.0.SelfAttention.q.weight": torch.ones(2)},
    "image_encoder": {"vision_model.embeddings.class_embedding": torch.ones(2)},
    "image_adapter": {"ip_adapter.1.to_k_ip.weight": torch.ones(4, 768)},
}


def put(path: Path, kind: str = "lora") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(TENSORS.get(kind, {"weight": torch.ones(2)}), path)
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one folder in which models are looked for."""
    monkeypatch.setenv("LATENTGRAPH_MODELS", str(tmp_path / "mine"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LATENTGRAPH_ALLOW_DOWNLOAD", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "mine").mkdir()
    return tmp_path / "mine"


# where they lie


def test_folders_are_those_of_the_variable_or_the_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LATENTGRAPH_MODELS", os.pathsep.join(["/a", "~/b"]))
    assert model_folders() == (Path("/a"), Path.home() / "b")
    monkeypatch.delenv("LATENTGRAPH_MODELS")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    if sys.platform == "linux":
        assert model_folders() == (tmp_path / "latentgraph" / "models",)


COMFYUI = {
    "checkpoints/sd/real.safetensors": ("checkpoint", "sd/real.safetensors"),
    "loras/ink.safetensors": ("lora", "ink.safetensors"),
    "vae/mse.safetensors": ("vae", "mse.safetensors"),
    "controlnet/canny.safetensors": ("controlnet", "canny.safetensors"),
    "embeddings/bad.safetensors": ("embedding", "bad.safetensors"),
    "upscale_models/x4.safetensors": ("upscaler", "x4.safetensors"),
    "text_encoders/t5.safetensors": ("text_encoder", "t5.safetensors"),
    "clip_vision/h.safetensors": ("image_encoder", "h.safetensors"),
    "ipadapter/plus.safetensors": ("image_adapter", "plus.safetensors"),
}
A1111 = {
    "models/Stable-diffusion/real.safetensors": ("checkpoint", "real.safetensors"),
    "models/Lora/style/ink.safetensors": ("lora", "style/ink.safetensors"),
    "models/VAE/mse.safetensors": ("vae", "mse.safetensors"),
    "models/ControlNet/canny.safetensors": ("controlnet", "canny.safetensors"),
    "embeddings/bad.safetensors": ("embedding", "bad.safetensors"),
    "models/ESRGAN/x4.safetensors": ("upscaler", "x4.safetensors"),
}
INVOKEAI = {
    "models/sdxl/main/real.safetensors": ("checkpoint", "real.safetensors"),
    "models/sd-1/lora/ink.safetensors": ("lora", "ink.safetensors"),
}


@pytest.mark.parametrize("tree", [COMFYUI, {f"models/{name}": kind for name, kind in COMFYUI.items()}, A1111, INVOKEAI])
def test_trees_of_other_programs_are_understood(folder: Path, tree: dict[str, tuple[str, str]]) -> None:
    for name in tree:
        put(folder / name, "unknown")
    put(folder / "venv" / "lib" / "loras" / "test-data.safetensors") if (folder / "models").exists() else None
    assert {found.path: (found.kind, found.name) for found in models()} == {
        folder / name: kind for name, kind in tree.items()
    }
    for name, (kind, called) in tree.items():
        assert find_model(called, kind) == folder / name  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", TENSORS)
def test_in_a_folder_without_order_the_header_tells_the_kind(folder: Path, kind: str) -> None:
    put(folder / "some.safetensors", kind)
    assert find_model("some", kind) == folder / "some.safetensors"  # type: ignore[arg-type]
    other = next(other for other in KINDS if other != kind)
    with pytest.raises(ValueError, match=r"`some` is a .*, where a .* is wanted"):
        find_model("some", other)


def test_every_kind_has_a_folder() -> None:
    assert set(FOLDERS.values()) == set(KINDS)


def test_a_pipeline_in_folders_is_one_model(folder: Path, tiny: Path) -> None:
    shutil.copytree(tiny, folder / "diffusers" / "tiny")
    assert [(found.name, found.kind) for found in models()] == [("tiny", "checkpoint")]
    assert find_model("tiny", "checkpoint") == folder / "diffusers" / "tiny"


def test_links_that_lead_in_a_circle_are_followed_once(folder: Path) -> None:
    put(folder / "loras" / "ink.safetensors")
    (folder / "loras" / "again").symlink_to(folder / "loras")
    (folder / "loras" / "same.safetensors").symlink_to(folder / "loras" / "ink.safetensors")
    assert [found.name for found in models()] == ["ink.safetensors"]


# by name


@pytest.mark.parametrize(
    "name", ["style/ink.safetensors", "style/ink", "ink.safetensors", "ink", "style\\ink.safetensors"]
)
def test_a_name_may_leave_out_folders_and_the_suffix(folder: Path, name: str) -> None:
    path = put(folder / "loras" / "style" / "ink.safetensors")
    assert find_model(name, "lora") == path


def test_a_path_that_is_there_is_meant_rather_than_a_name(folder: Path) -> None:
    put(folder / "loras" / "ink.safetensors")
    here = put(folder.parent / "ink.safetensors")
    assert find_model("ink.safetensors", "lora").resolve() == here
    assert find_model(str(here), "lora") == here


def test_a_name_that_several_have_is_refused_with_their_paths(folder: Path) -> None:
    both = [put(folder / "loras" / name / "ink.safetensors") for name in ("a", "b")]
    with pytest.raises(ValueError, match="several are called `ink`") as error:
        find_model("ink", "lora")
    assert all(str(path) in str(error.value) for path in both)
    assert find_model("b/ink", "lora") == both[1]


def test_the_whole_name_goes_before_its_end(folder: Path) -> None:
    put(folder / "loras" / "old" / "ink.safetensors")
    path = put(folder / "loras" / "ink.safetensors")
    assert find_model("ink.safetensors", "lora") == path


def test_the_same_name_for_two_kinds_is_no_trouble(folder: Path) -> None:
    lora, vae = put(folder / "loras" / "ink.safetensors"), put(folder / "vae" / "ink.safetensors", "vae")
    assert (find_model("ink", "lora"), find_model("ink", "vae")) == (lora, vae)


def test_a_name_that_nothing_has_comes_with_the_nearest(folder: Path) -> None:
    put(folder / "loras" / "watercolour.safetensors")
    with pytest.raises(ValueError, match=r"there is no LoRA `watercolor` .*did you mean `watercolour\.safetensors`"):
        find_model("watercolor", "lora")
    with pytest.raises(ValueError, match=r"there is no file or folder \./ink"):
        find_model("./ink", "lora")
    for odd in ("x" * 5000, "a\0b"):
        with pytest.raises(ValueError, match="there is no VAE"):
            find_model(odd, "vae")


# where graphs may not read everywhere


@pytest.fixture
def confined(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that graphs may read, in a process that reads nothing else. The models' folder is beside it."""
    allowed = folder.parent / "allowed"
    allowed.mkdir()
    monkeypatch.setattr(roots, "_roots", roots._roots)
    roots.confine([allowed])
    return allowed


def test_models_outside_of_what_graphs_may_read_are_not_there(folder: Path, confined: Path) -> None:
    path = put(folder / "loras" / "ink.safetensors")
    for name in ("ink", "ink.safetensors"):
        with pytest.raises(ValueError, match="there is no LoRA") as error:
            find_model(name, "lora")
        assert str(folder) not in str(error.value)
    for name in (str(path), "../mine/loras/ink.safetensors"):
        with pytest.raises(roots.NotAllowed):
            find_model(name, "lora")


def test_models_that_graphs_may_read_are_found(folder: Path, confined: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(confined / "loras" / "ink.safetensors")
    outside = put(folder / "ink.safetensors")
    (confined / "loras" / "out.safetensors").symlink_to(outside)
    monkeypatch.setenv("LATENTGRAPH_MODELS", str(confined))
    assert find_model("ink", "lora") == path
    with pytest.raises(ValueError, match="there is no LoRA"):
        find_model("out", "lora")


def test_the_hubs_cache_is_read_only_where_graphs_may(folder: Path, confined: Path, tiny: Path) -> None:
    cached(folder.parent / "hub", tiny)
    for name in ("owner/tiny", "owner/none"):  # whether it is there is not told
        with pytest.raises(roots.NotAllowed, match=f"`{name}` is not in a folder that graphs may read"):
            find_model(name, "checkpoint")


# the hub


def cached(cache: Path, folder: Path) -> Path:
    """A folder as Hugging Face's cache would have it, called `owner/tiny`."""
    snapshot = cache / "models--owner--tiny" / "snapshots" / ("5" * 40)
    shutil.copytree(folder, snapshot)
    (cache / "models--owner--tiny" / "refs").mkdir()
    (cache / "models--owner--tiny" / "refs" / "main").write_text("5" * 40)
    return snapshot


def test_what_the_hubs_cache_has_goes_by_owner_and_name(folder: Path, tiny: Path) -> None:
    snapshot = cached(folder.parent / "hub", tiny)
    assert find_model("owner/tiny", "checkpoint") == snapshot
    file = find_model("owner/tiny/vae/diffusion_pytorch_model.safetensors", "vae")
    assert file == snapshot / "vae" / "diffusion_pytorch_model.safetensors"


def test_nothing_is_fetched_from_the_hub_without_being_told(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"neither among the models .*run with --allow-download, or set LATENTGRAPH_A"):
        find_model("owner/other", "checkpoint")


def test_a_hub_that_cannot_be_reached_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTGRAPH_ALLOW_DOWNLOAD", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="owner/other cannot be fetched from the hub"):
        find_model("owner/other", "checkpoint")


GRAPH = """
latentgraph: 1
nodes:
  asked: {type: Asked, inputs: {name: owner/other}}
outputs:
  path: $asked
"""
NODES = """
from latentgraph.engine import Context, Node
from latentgraph.nodes.model_paths import find_model

class Asked(Node):
    '''A model's place.'''

    name: str

    def run(self, context: Context) -> str:
        return str(find_model(self.name, "checkpoint"))
"""


def test_a_run_may_be_told_to_fetch_models(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("graph.yaml").write_text(GRAPH)
    Path("asked.py").write_text(NODES)
    monkeypatch.setenv("LATENTGRAPH_ALLOW_DOWNLOAD", "0")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert main(["run", "graph.yaml", "--nodes", "asked.py"]) == 1
    assert "run with --allow-download" in capsys.readouterr().err
    assert main(["run", "graph.yaml", "--nodes", "asked.py", "--allow-download"]) == 1
    assert "cannot be fetched from the hub" in capsys.readouterr().err
    assert main(["run", "graph.yaml", "--server", "http://127.0.0.1:1", "--allow-download"]) == 2
    assert "a server decides itself" in capsys.readouterr().err


# the command


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    assert main(["models", "--json", *arguments]) == 0
    return {model["name"]: model for model in json.loads(capsys.readouterr().out)}


def test_the_list_has_name_family_size_type_and_digest(
    folder: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lora = put(folder / "loras" / "ink.safetensors")
    put(folder / "embeddings" / "bad.safetensors", "embedding")
    shutil.copytree(tiny, folder / "checkpoints" / "tiny")
    cached(folder.parent / "hub", tiny)
    (folder / "loras" / "broken.safetensors").write_bytes(b"nothing")
    found = listed(capsys)
    assert found["ink.safetensors"] == {
        "name": "ink.safetensors",
        "kind": "lora",
        "path": str(lora),
        "family": "sd1",
        "bytes": lora.stat().st_size,
        "dtype": "F16",
        "digest": digest_of_file(lora),
        "problem": "",
    }
    assert found["bad.safetensors"]["family"] == "sdxl"
    assert [found["tiny"][name] for name in ("kind", "family", "dtype")] == ["checkpoint", "sd1", "F32"]
    assert found["owner/tiny"]["digest"] == found["tiny"]["digest"]
    assert "is no safetensors file, or a damaged one" in found["broken.safetensors"]["problem"]
    assert {model["digest"] for model in listed(capsys, "--no-digests").values()} == {None}
    assert main(["models"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0].split() == ["KIND", "NAME", "FAMILY", "SIZE", "TYPE", "DIGEST"]
    assert any(line.split()[:3] == ["lora", "ink.safetensors", "sd1"] for line in out.splitlines())
    assert "damaged" in err


def test_an_empty_list_says_where_models_belong(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    assert f"no models in {folder}" in capsys.readouterr().err


def test_the_digest_of_a_file_is_computed_once(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(folder / "loras" / "ink.safetensors")
    monkeypatch.setattr(remembered, "SETTLED", 0)
    wanted = listed(capsys)["ink.safetensors"]["digest"]
    monkeypatch.setattr(remembered, "_known", {})  # as in another process
    monkeypatch.setattr(ports, "digest_of_file", lambda path: pytest.fail("it was computed again"))
    assert listed(capsys)["ink.safetensors"]["digest"] == wanted == digest_of_file(path)


def test_listing_imports_no_torch(folder: Path, tiny: Path) -> None:
    shutil.copytree(tiny, folder / "checkpoints" / "tiny")
    put(folder / "loras" / "ink.safetensors")
    code = (
        "import sys; from latentgraph.engine.cli import main; main(['models']);"
        " sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, "tiny" in done.stdout) == (0, True), done.stderr


# pickled files


class Hostile:
    """Pickled, it runs a program when it is read."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch '{self.marker}'",)


@pytest.mark.parametrize("suffix", [".ckpt", ".pt", ".pth", ".bin"])
def test_a_pickled_file_is_refused_with_the_command_that_converts_it(
    folder: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "loras" / f"old one{suffix}"
    path.parent.mkdir()
    torch.save({"weight": torch.ones(2)}, path)
    for name in ("old one", f"old one{suffix}", str(path)):
        with pytest.raises(ValueError, match="is a pickled file") as error:
            find_model(name, "lora")
        assert f"`latentgraph models convert '{path}'`" in str(error.value)
    assert "is a pickled file" in listed(capsys)[path.name]["problem"]
    convert(path, path.with_suffix(".safetensors"))
    assert find_model("old one", "lora") == path.with_suffix(".safetensors")


def test_a_converted_file_has_the_same_tensors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generator = torch.Generator().manual_seed(1)
    whole = torch.randn(4, 6, generator=generator)
    inside = {"a.weight": whole, "b.weight": whole, "c.weight": whole.t(), "d": whole.half()[1:3], "e": torch.arange(3)}
    torch.save({"epoch": 3, "state_dict": inside, "optimizer": {"x": torch.ones(2)}}, tmp_path / "model.ckpt")
    assert main(["models", "convert", str(tmp_path / "model.ckpt")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "model.safetensors")
    found = safetensors.torch.load_file(tmp_path / "model.safetensors")
    assert found.keys() == inside.keys()
    assert all(
        torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype for name, tensor in inside.items()
    )
    assert main(["models", "convert", str(tmp_path / "model.ckpt")]) == 2
    assert "is there already" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.ckpt", "model.safetensors"]


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ({"string_to_token": {"*": 265}, "string_to_param": {"*": torch.ones(2, 8)}, "name": "x"}, {"emb_params"}),
        ({"params_ema": {"conv.weight": torch.ones(2)}, "params": {"other": torch.ones(1)}}, {"conv.weight"}),
        (
            {"image_proj": {"a": torch.ones(2)}, "ip_adapter": {"1.b": torch.ones(2)}},
            {"image_proj.a", "ip_adapter.1.b"},
        ),
    ],
)
def test_weights_are_found_where_programs_put_them(tmp_path: Path, content: Any, names: set[str]) -> None:
    torch.save(content, tmp_path / "file.pt", _use_new_zipfile_serialization=False)
    convert(tmp_path / "file.pt", tmp_path / "file.safetensors")
    assert safetensors.torch.load_file(tmp_path / "file.safetensors").keys() == names


def test_what_a_training_left_behind_is_no_hindrance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "pytorch_lightning.callbacks.model_checkpoint"
    module = types.ModuleType(name)
    module.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": name})  # type: ignore[attr-defined]
    for part in ("pytorch_lightning", "pytorch_lightning.callbacks", name):
        monkeypatch.setitem(sys.modules, part, module)
    content = {"callbacks": {module.ModelCheckpoint: {"best": ONE}}, "state_dict": {"weight": ONE}}
    torch.save(content, tmp_path / "file.ckpt")
    convert(tmp_path / "file.ckpt", tmp_path / "file.safetensors")
    assert safetensors.torch.load_file(tmp_path / "file.safetensors").keys() == {"weight"}


def hostile_zip(path: Path, marker: Path) -> None:
    torch.save({"state_dict": {"weight": torch.ones(2)}, "more": Hostile(marker)}, path)


def hostile_pickle(path: Path, marker: Path) -> None:
    path.write_bytes(pickle.dumps({"weight": Hostile(marker)}))


def hostile_legacy(path: Path, marker: Path) -> None:
    torch.save(Hostile(marker), path, _use_new_zipfile_serialization=False)


def cut_off(path: Path, marker: Path) -> None:
    torch.save({"weight": torch.ones(100)}, path)
    path.write_bytes(path.read_bytes()[:-200])


def no_tensor(path: Path, marker: Path) -> None:
    torch.save({"epoch": 3}, path)


def other_zip(path: Path, marker: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", io.BytesIO(pickle.dumps(Hostile(marker))).getvalue())


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (hostile_zip, rf"it asks for {os.name}\.system, which is no part of weights; nothing in it was run"),
        (hostile_pickle, r"nothing in it was run"),
        (hostile_legacy, rf"it asks for {os.name}\.system"),
        (cut_off, "it is damaged, or holds more than weights"),
        (other_zip, "it is damaged, or holds more than weights"),
        (no_tensor, "there is no tensor in it"),
    ],
)
def test_a_file_with_anything_else_in_it_is_refused_and_runs_nothing(tmp_path: Path, make: Any, said: str) -> None:
    path, marker = tmp_path / "file.ckpt", tmp_path / "ran"
    make(path, marker)
    with pytest.raises(ValueError, match=said):
        convert(path, tmp_path / "file.safetensors")
    assert [other.name for other in tmp_path.iterdir()] == ["file.ckpt"]


def test_the_hostile_files_would_run_a_program_elsewhere(tmp_path: Path) -> None:
    for make in (hostile_zip, hostile_legacy):
        make(tmp_path / "file.ckpt", tmp_path / make.__name__)
        torch.load(tmp_path / "file.ckpt", weights_only=False)
        assert (tmp_path / make.__name__).exists()


def test_the_command_refuses_what_it_cannot_convert(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "torch.py").write_text("open('ran', 'w')")  # what lies beside the file is no part of the program
    hostile_zip(tmp_path / "file.ckpt", tmp_path / "ran")
    assert main(["models", "convert", str(tmp_path / "file.ckpt"), "--to", str(tmp_path / "b.safetensors")]) == 2
    said = capsys.readouterr().err
    assert f"was not converted: it asks for {os.name}.system" in said
    assert sorted(other.name for other in tmp_path.iterdir()) == ["file.ckpt", "torch.py"]


def test_what_convert_is_asked_wrongly_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in {
        ("convert",): "needs a file",
        ("convert", str(tmp_path / "none.ckpt")): "there is no file",
        ("list", "x"): "takes no further argument",
    }.items():
        assert main(["models", *arguments]) == 2
        assert said in capsys.readouterr().err
