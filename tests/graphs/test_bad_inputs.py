"""Bad files and values given to graphs that ship: each is refused, or fails its node, in words."""

import shutil
import struct
import zlib
from pathlib import Path

import pytest

from latentgraph.engine.cli import main
from latentgraph.nodes.models import BUILTIN


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_claiming(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return shutil.copytree(BUILTIN, tmp_path / "model")


def answer(capsys, *arguments: str) -> tuple[int, str]:
    code = main(["run", *arguments])
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return code, said


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_picture_that_is_not_there_is_refused_before_anything_runs(capsys):
    Path("photo.png").write_bytes(b"")
    code, said = answer(capsys, "img2img", "--set", "image=foto.png")
    assert code == 2
    assert "there is no file `foto.png`" in said
    assert "there is `photo.png`" in said
    assert "started" not in said


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "no picture that can be read"),
        (b"just some words\n", "no picture that can be read"),
        (png_claiming(64, 64), "broken or cut off"),
    ],
    ids=["empty", "text", "without its pixels"],
)
def test_a_bad_picture_fails_the_node_that_loads_it(capsys, content: bytes, expected: str):
    Path("bad.png").write_bytes(content)
    code, said = answer(capsys, "img2img", "--set", "image=bad.png")
    assert code == 1
    assert "the node `given` failed: " in said
    assert "bad.png" in said
    assert expected in said


@pytest.mark.parametrize("side", [14_200, 30_000, 2_000_000])
def test_a_picture_of_too_many_pixels_is_refused_before_anything_runs(capsys, side: int):
    Path("bad.png").write_bytes(png_claiming(side, side))
    code, said = answer(capsys, "img2img", "--set", "image=bad.png")
    assert code == 2
    assert "bad.png" in said
    assert "pixels" in said
    assert "started" not in said


def test_a_cut_off_picture_fails_the_node_that_loads_it(capsys):
    from PIL import Image

    Image.effect_noise((64, 64), 60).convert("RGB").save("whole.png")
    Path("half.png").write_bytes(Path("whole.png").read_bytes()[:3000])
    code, said = answer(capsys, "img2img", "--set", "image=half.png")
    assert code == 1
    assert "half.png is broken or cut off" in said


def test_a_cut_off_safetensors_file_is_refused(capsys, model: Path):
    weights = model / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100_000])
    code, said = answer(capsys, "txt2img", "--set", f"model={model}")
    assert code == 2
    assert "started" not in said
    assert "diffusion_pytorch_model.safetensors" in said
    assert "cut off" in said


def test_a_safetensors_file_that_is_none_is_refused(capsys, model: Path):
    (model / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"not tensors at all")
    code, said = answer(capsys, "txt2img", "--set", f"model={model}")
    assert code == 2
    assert "started" not in said
    assert "is no safetensors file, or a damaged one" in said


def test_pickled_weights_are_not_read(capsys, model: Path):
    weights = model / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    code, said = answer(capsys, "txt2img", "--set", f"model={model}")
    assert code == 2
    assert "started" not in said
    assert "pickled weights are never read" in said


@pytest.mark.parametrize("part", ["model_index.json", "unet/config.json", "scheduler/scheduler_config.json"])
def test_a_model_folder_that_lacks_a_file_says_which(capsys, model: Path, part: str):
    (model / part).unlink()
    code, said = answer(capsys, "txt2img", "--set", f"model={model}")
    assert code == 2
    assert "started" not in said
    assert part in said


def test_a_model_folder_that_is_not_there_says_so(capsys):
    code, said = answer(capsys, "txt2img", "--set", "model=models/sd15")
    assert code == 2
    assert "started" not in said
    assert "there is no checkpoint `models/sd15`" in said


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("steps=0", "`steps` is 0, the least is 1"),
        ("steps=many", "int is wanted, `many` is text"),
        ("seed=-1", "`seed` is -1, the least is 0"),
        ("sampler=eulr", "did you mean `euler`?"),
        ("scheduler=karas", "did you mean `karras`?"),
        ("promt=a dog", "did you mean `prompt`?"),
    ],
)
def test_a_wrong_value_is_refused_before_anything_runs(capsys, assignment: str, expected: str):
    code, said = answer(capsys, "txt2img", "--set", assignment)
    assert code == 2
    assert expected in said
    assert "started" not in said


def test_a_size_that_the_model_cannot_draw_is_refused_with_one_that_it_can(capsys):
    code, said = answer(capsys, "txt2img", "--set", "width=66")
    assert code == 2
    assert "width is 66" in said
    assert "64 is near" in said


def test_a_diffusers_class_that_there_is_not_fails_with_the_nearest(capsys):
    code, said = answer(capsys, "txt2img", "--set", "sampler=diffusers:EulerDiscretScheduler")
    assert code == 1
    assert "diffusers:EulerDiscreteScheduler" in said


def test_outputs_cannot_be_written_below_a_file(capsys):
    Path("taken").write_text("")
    code, said = answer(capsys, "txt2img", "--output", "taken/pictures")
    assert code == 2
    assert "taken is a file, not a folder" in said
