"""What is found wrong before anything runs, and that finding it loads nothing heavy."""

import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from latentgraph.engine.diagnostics import GraphWrong
from latentgraph.engine.node import Wrong
from latentgraph.engine.ports import File
from latentgraph.engine.registry import load_registry
from latentgraph.engine.session import load_text
from latentgraph.nodes.conditioning import CLIPEncode
from latentgraph.nodes.facts import ImageFacts, LatentFacts, TextFacts
from latentgraph.nodes.guidance import CFGCombine
from latentgraph.nodes.images import LoadImage, ResizeImage, SaveImage
from latentgraph.nodes.latents import EmptyLatent, VAEDecode, VAEEncode
from latentgraph.nodes.models import Loaded, LoadModel
from latentgraph.nodes.references import Space
from latentgraph.nodes.sampling import KSampler

OTHER = Space(4, 8, 0.13025)

GRAPH = """
latentgraph: 1
nodes:
  model: {{type: LoadModel, inputs: {{name: {model}}}}}
  other: {{type: LoadModel, inputs: {{name: {other}}}}}
  wanted: {{type: CLIPEncode, inputs: {{clip: {clip}, text: ""}}}}
  guided: {{type: CFGCombine, inputs: {{positive: $wanted, negative: $wanted, scale: 5.0}}}}
  canvas: {{type: EmptyLatent, inputs: {{model: {drawn}, width: {width}}}}}
  sampled: {{type: KSampler, inputs: {{model: $model.model, guidance: $guided, latent: $canvas, seed: 1}}}}
  decoded: {{type: VAEDecode, inputs: {{vae: {vae}, latent: $sampled}}}}
outputs:
  image: $decoded
"""


@pytest.fixture(scope="module")
def other(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with another latent space and another width of text than the tiny one, as far as its files say."""
    folder = Path(shutil.copytree(tiny, tmp_path_factory.mktemp("models") / "other"))
    changes: dict[str, dict[str, Any]] = {
        "vae": {"scaling_factor": OTHER.scaling, "block_out_channels": [8, 8, 8, 16]},
        "unet": {"cross_attention_dim": 32},
        "text_encoder": {"hidden_size": 32},
    }
    for part, change in changes.items():
        path = folder / part / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
    return folder


def wrongs(tiny: Path, other: Path, **changes: object) -> list[str]:
    """What is wrong with a graph, as `input: message` of each error."""
    usual = {"clip": "$model.clip", "drawn": "$model.model", "vae": "$model.vae", "width": 32, "model": tiny}
    text = GRAPH.format(**usual | {"other": other} | changes)
    try:
        load_text(text, "test", "test.yaml", Path(), load_registry()).check()
    except GraphWrong as wrong:
        return [f"{d.path}: {d.message}" for d in wrong.diagnostics if d.severity == "error"]
    return []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        (
            {"clip": "$other.clip"},
            "sampled.inputs.guidance: `guidance`: the conditioning is 32 wide, the model takes 16",
        ),
        ({"drawn": "$other.model"}, "sampled.inputs.latent: `latent`: the latent has 4 channels at 1/8 of the size"),
        ({"vae": "$other.vae"}, "decoded.inputs.latent: `latent`: the latent has 4 channels at 1/4 of the size"),
        ({"width": 30}, "canvas.inputs.width: `width`: width is 30, which the model's factor 4 does not divide; 32 is"),
        ({"model": "nowhere"}, "model.inputs.name: `name`: there is no checkpoint `nowhere`"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused_before_the_run(
    tiny: Path, other: Path, changes: dict[str, object], expected: str | None
) -> None:
    found = wrongs(tiny, other, **changes)
    if expected is None:
        assert found == []
    else:
        (only,) = found
        assert only.startswith(f"nodes.{expected}")


def test_checking_loads_nothing_heavy(tiny: Path) -> None:
    code = (
        "import sys\n"
        "from latentgraph.engine import load\n"
        f"load('txt2img').check(model={str(tiny)!r})\n"
        "print([name for name in ('torch', 'numpy', 'PIL', 'diffusers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_model_is_described_by_what_it_is(tiny: Path, loaded: Loaded) -> None:
    assert LoadModel.describe({"name": str(tiny)}) == loaded._asdict()
    assert LoadModel.describe({}) == {}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "has no unet/diffusion_pytorch_model.safetensors"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "it is cut off"),
        (lambda path: path.write_bytes(b"pickle"), "is no safetensors file"),
    ],
)
def test_a_broken_model_is_refused_as_the_run_would(tiny: Path, tmp_path: Path, spoil: Any, message: str) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "broken"))
    spoil(folder / "unet" / "diffusion_pytorch_model.safetensors")
    with pytest.raises(Wrong, match=message) as wrong:
        LoadModel.describe({"name": str(folder)})
    assert wrong.value.input == "name"


# sizes


def test_a_canvas_is_as_large_as_it_is_asked_for_or_as_the_model_learned(loaded: Loaded) -> None:
    model, nothing = loaded.model, {"width": None, "height": None, "batch_size": 1}
    usual = LatentFacts(model.space, (32, 32), 1, empty=True, generators=False)
    assert EmptyLatent.describe({"model": model} | nothing) == {"latent": usual}
    (wide,) = EmptyLatent.describe({"model": model, "width": 64, "height": 16, "batch_size": 2}).values()
    assert (wide.pixels, wide.count) == ((16, 64), 2)
    (unknown,) = EmptyLatent.describe({"model": model, "height": 16, "batch_size": 2}).values()
    assert unknown.pixels is None
    with pytest.raises(Wrong, match="height is 18") as wrong:
        EmptyLatent.describe({"model": model, "height": 18})
    assert wrong.value.input == "height"
    assert EmptyLatent.describe({"width": 30}) == {}


def png(width: int, height: int, *chunks: bytes) -> bytes:
    return (
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height) + b"\x08\x02\0\0\0crc " + b"".join(chunks)
    )


def test_a_picture_is_as_large_as_its_header_says(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(20, 12))
    for file in (File.at(path), File("a.png", content=png(20, 12))):
        assert LoadImage.describe({"image": file}) == {"image": ImageFacts((12, 20), 1)}
    for content in (b"", b"\xff\xd8\xff", png(20, 12, b"eXIf"), png(20, 12)[:15]):
        assert LoadImage.describe({"image": File("a", content=content)}) == {}


def test_a_picture_that_the_factor_does_not_divide_is_refused(loaded: Loaded) -> None:
    known = {"vae": loaded.vae, "image": ImageFacts((33, 35), 1), "seed": None}
    with pytest.raises(Wrong, match="the picture is 35 by 33, which 4 does not divide: resize it, say to 32 by 32"):
        VAEEncode.describe(known)
    (resized,) = ResizeImage.describe({"image": known["image"], "width": 32, "height": 16, "fit": "cover"}).values()
    assert resized == ImageFacts((16, 32), 1)
    encoded = VAEEncode.describe(known | {"image": resized, "seed": (1, 2)})
    assert encoded == {"latent": LatentFacts(loaded.vae.space, (16, 32), 2, empty=False, generators=True)}
    assert VAEDecode.describe({"vae": loaded.vae, **encoded}) == {"image": ImageFacts((16, 32), 2)}
    (seedless,) = VAEEncode.describe(known | {"image": resized}).values()
    assert not seedless.generators
    assert VAEEncode.describe({"vae": loaded.vae}) == ResizeImage.describe({"width": 30}) == {}


def test_which_picture_is_meant_is_asked_for() -> None:
    for index, count in ((None, 3), (3, 3)):
        with pytest.raises(Wrong, match="3 pictures"):
            SaveImage.describe({"image": ImageFacts((8, 8), count), "index": index})
    SaveImage.describe({"image": ImageFacts((8, 8), None), "index": None})
    SaveImage.describe({"image": ImageFacts((8, 8), 3), "index": 2})


# text and sampling


def test_texts_are_counted_and_as_wide_as_the_text_encoder(loaded: Loaded) -> None:
    for text, count in (("a", 1), (("a", "b"), 2)):
        assert CLIPEncode.describe({"clip": loaded.clip, "text": text}) == {"conditioning": TextFacts(16, count)}
    assert CLIPEncode.describe({"clip": loaded.clip}) == {"conditioning": TextFacts(16, None)}
    with pytest.raises(Wrong, match="list of texts is empty"):
        CLIPEncode.describe({"text": ()})


def test_guidance_needs_two_texts_of_one_width() -> None:
    one, two, wide = TextFacts(16, 1), TextFacts(16, 2), TextFacts(32, 1)
    assert CFGCombine.describe({"positive": one, "negative": two, "scale": 5.0}) == {"guidance": two}
    assert CFGCombine.describe({"positive": one, "negative": None, "scale": 1.0}) == {"guidance": one}
    assert CFGCombine.describe({"positive": one, "scale": 5.0}) == {"guidance": one}
    with pytest.raises(Wrong, match="there is no negative"):
        CFGCombine.describe({"positive": one, "negative": None, "scale": 5.0})
    with pytest.raises(Wrong, match="the negative is 32 wide, the positive 16"):
        CFGCombine.describe({"positive": one, "negative": wide, "scale": 5.0})


def test_sampling_needs_what_belongs_together(loaded: Loaded) -> None:
    canvas = LatentFacts(loaded.model.space, (32, 32), 1, empty=True, generators=False)
    known = {"model": loaded.model, "guidance": TextFacts(16, 2), "latent": canvas, "seed": 1, "strength": 1.0}
    drawn = LatentFacts(canvas.space, (32, 32), 2, empty=False, generators=True)
    assert KSampler.describe(known) == {"latent": drawn}
    assert KSampler.describe({"latent": drawn, "seed": None}) == {
        "latent": LatentFacts(canvas.space, (32, 32), None, empty=False, generators=True)
    }
    (unknown,) = KSampler.describe({name: value for name, value in known.items() if name != "seed"}).values()
    assert unknown.count is None
    wrong: list[tuple[dict[str, Any], str, str | None]] = [
        ({"seed": None}, "there is no seed", "seed"),
        ({"strength": 0.5}, "on an empty latent", "strength"),
        ({"guidance": TextFacts(32, 1)}, "32 wide, the model takes 16", "guidance"),
        ({"latent": LatentFacts(OTHER, None, 1, False, True)}, r"scaled by 0\.13025", "latent"),
        ({"seed": (1, 2, 3)}, "2 texts and 3 seeds do not go together", None),
    ]
    for change, message, name in wrong:
        with pytest.raises(ValueError, match=message) as raised:
            KSampler.describe(known | change)
        assert getattr(raised.value, "input", None) == name
