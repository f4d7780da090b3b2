"""How much memory loading takes at its peak, against the size of the files: processes of their own, on Linux.

The peak is the largest resident set, mapped pages of the files included, above what the libraries took before.
"""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import pytest
import torch
import transformers

sys.path.append(str(Path(__file__).parents[1] / "nodes"))
import original_layouts

LOAD = """
import sys
from pathlib import Path
from latentgraph.engine.ports import Folder
from latentgraph.nodes.diffusion.layout import components
from latentgraph.nodes.diffusion.loading import read
from latentgraph.nodes.diffusion.numerics import torch
from latentgraph.nodes.references import Weights

def resident(what):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) * 1024

def forget_peak():
    Path("/proc/self/clear_refs").write_text("5")

read(Weights("vae", "sd1", Folder.at(Path(sys.argv[1]))), torch.float32)  # what is imported late
components(Path(sys.argv[1]) / "single.safetensors")
for name in sys.argv[2:]:
    path, dtype = Path(name), getattr(torch, Path(name).stem)
    if path.is_file():
        model, clip, vae = components(path)
        parts = [model.weights, clip.encoders[0].weights, vae.weights]
        size = path.stat().st_size
    else:
        parts = [Weights("unet", "sd1", Folder.at(path))]
        size = sum(file.stat().st_size for file in path.glob("*.safetensors"))
    forget_peak()
    before = resident("VmRSS")
    networks = [read(part, dtype) for part in parts]
    for network in networks:
        total = sum(float(parameter.sum()) for parameter in network.parameters())  # every page is looked at
    print((resident("VmHWM") - before) / size)
    del networks, network
"""


def peaks(small: Path, *paths: Path) -> list[float]:
    """The peak of loading each in the type that it is called after, as a multiple of its files."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD, small, *paths],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert not done.returncode, done.stderr
    return list(map(float, done.stdout.split()))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A U-Net of 30 million parameters in folders, `float32` and `float16`, and with its pipeline in files called so.

    In `small`, what imports all that loading needs.
    """
    folder = tmp_path_factory.mktemp("models")
    small = pipeline((32, 32), 64)
    small.vae.save_pretrained(folder / "small")
    original_layouts.save(original_layouts.single_file(small, "sd1"), folder / "small" / "single.safetensors")
    large = pipeline((64, 128, 256, 256), 512)
    for dtype in ("float32", "float16"):
        for part in (large.unet, large.vae, large.text_encoder):
            part.to(getattr(torch, dtype))
        large.unet.save_pretrained(folder / dtype)
        original_layouts.save(original_layouts.single_file(large, "sd1"), folder / f"{dtype}.safetensors")
    return folder


def pipeline(channels: tuple[int, ...], width: int) -> Any:
    """A Stable Diffusion 1 with a U-Net of these channels, and a text encoder of this width."""
    down = ("CrossAttnDownBlock2D",) * (len(channels) - 1) + ("DownBlock2D",)
    up = ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * (len(channels) - 1)
    return SimpleNamespace(
        unet=diffusers.UNet2DConditionModel(
            block_out_channels=channels, down_block_types=down, up_block_types=up, cross_attention_dim=width
        ),
        vae=diffusers.AutoencoderKL(
            block_out_channels=(32, 64),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
        ),
        text_encoder=transformers.CLIPTextModel(
            transformers.CLIPTextConfig(
                hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2, num_attention_heads=width // 64
            )
        ),
    )


def test_loading_takes_hardly_more_than_the_files(models: Path) -> None:
    if sys.platform == "linux":
        names = ("float32", "float16", "float32.safetensors", "float16.safetensors")
        found = dict(zip(names, peaks(models / "small", *(models / name for name in names)), strict=True))
        print(found)
        assert max(found.values()) <= 1.15, found
        assert min(found.values()) > 0.85, found  # it was measured
