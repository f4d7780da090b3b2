"""How a picture was made: written by the nodes and read by the engine, in every format that pictures are saved in."""

from pathlib import Path
from typing import Any

import pytest
import torch

from latentgraph.engine.cli import main
from latentgraph.engine.context import Context
from latentgraph.engine.picture import Making, NoMaking, is_picture, read_making
from latentgraph.nodes.images import SaveImage
from latentgraph.nodes.ports import Image, PictureFile

FORMATS = ("png", "jpeg", "webp")
ABOUT = {
    "graph": "latentgraph: 1  # ✓\n",
    "name": "drawn",
    "params": {"seed": 7, "text": "é"},
    "models": {"unet": "ab"},
}

GRAPH = """latentgraph: 1
params:
  width: {type: int, default: 24, min: 1}
nodes:
  given: {type: LoadImage, inputs: {image: photo.png}}
  small: {type: ResizeImage, inputs: {image: $given, width: $params.width, height: 16}}
  saved: {type: SaveImage, inputs: {image: $small, format: FORMAT}}
outputs: {picture: $saved}
"""


def saved(format: Any, about: dict[str, Any], path: Path) -> Path:
    pixels = torch.rand(1, 3, 20, 24, generator=torch.Generator().manual_seed(1))
    (file,) = SaveImage(image=Image(pixels), format=format).run(Context()).written()
    path.write_bytes(PictureFile.described(file, about).content)
    return path


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_written_is_read_again(format: str, tmp_path: Path) -> None:
    path = saved(format, ABOUT, tmp_path / "picture")
    assert is_picture(path)
    assert read_making(path) == Making(ABOUT["graph"], ABOUT["name"], ABOUT["params"], ABOUT["models"])
    with pytest.raises(NoMaking, match="does not say how it was made"):
        read_making(saved(format, {}, tmp_path / "other"))


def test_what_a_jpeg_has_no_place_for_is_left_out(tmp_path: Path) -> None:
    with pytest.raises(NoMaking, match="does not say how it was made"):
        read_making(saved("jpeg", ABOUT | {"graph": "#" * 70_000}, tmp_path / "picture.jpg"))
    assert len(read_making(saved("webp", ABOUT | {"graph": "#" * 70_000}, tmp_path / "picture.webp")).graph) == 70_000


@pytest.mark.parametrize("format", FORMATS)
def test_run_makes_the_same_picture_again(
    format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    saved("png", {}, Path("photo.png"))
    Path("graph.yaml").write_text(GRAPH.replace("FORMAT", format))

    def run(*arguments: str) -> Path:
        assert main(["run", *arguments, "--store", "store"]) == 0
        return Path(capsys.readouterr().out.strip().removeprefix("picture: "))

    first = run("graph.yaml", "--set", "width=20")
    assert first.suffix == {"jpeg": ".jpg"}.get(format, f".{format}")
    content = first.read_bytes()
    first = first.rename("kept" + first.suffix)
    Path("graph.yaml").unlink()
    assert run(str(first), "--trust").read_bytes() == content
    assert run(str(first), "--trust", "--set", "width=21").read_bytes() != content
