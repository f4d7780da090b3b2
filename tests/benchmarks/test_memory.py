"""How much memory loading takes at its peak, against the size of the files: processes of their own, on Linux.

The peak is the largest resident set, mapped pages of the files included, above what the libraries took before.
"""

import os
import subprocess
import sys
from pathlib import Path

import diffusers
import pytest
import torch

LOAD = """
import sys
from pathlib import Path
from latentgraph.engine.ports import Folder
from latentgraph.nodes.diffusion.loading import read
from latentgraph.nodes.diffusion.numerics import torch
from latentgraph.nodes.references import Weights

def resident(what):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) * 1024

def forget_peak():
    Path("/proc/self/clear_refs").write_text("5")

read(Weights("vae", "sd1", Folder.at(Path(sys.argv[1]))), torch.float32)  # what is imported late
for folder in sys.argv[2:]:
    forget_peak()
    before = resident("VmRSS")
    network = read(Weights("unet", "sd1", Folder.at(Path(folder))), getattr(torch, Path(folder).name))
    total = sum(float(parameter.sum()) for parameter in network.parameters())  # every page is looked at
    print((resident("VmHWM") - before) / sum(parameter.nbytes for parameter in network.parameters()))
    del network
"""


def peaks(small: Path, *folders: Path) -> list[float]:
    """The peak of loading each U-Net in the type that its folder is called after, as a multiple of its weights."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD, small, *folders],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert not done.returncode, done.stderr
    return list(map(float, done.stdout.split()))


@pytest.fixture(scope="module")
def unets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `small` with an autoencoder, and `float32` and `float16` with a U-Net of 30 million parameters."""
    folder = tmp_path_factory.mktemp("models")
    diffusers.AutoencoderKL(block_out_channels=(32,)).save_pretrained(folder / "small")
    unet = diffusers.UNet2DConditionModel(block_out_channels=(64, 128, 256, 256), cross_attention_dim=64)
    unet.save_pretrained(folder / "float32")
    unet.to(torch.float16).save_pretrained(folder / "float16")
    return folder


def test_loading_takes_hardly_more_than_the_weights(unets: Path) -> None:
    if sys.platform == "linux":
        found = peaks(unets / "small", unets / "float32", unets / "float16")
        assert max(found) <= 1.15, found
        assert min(found) > 0.9, found  # it was measured
