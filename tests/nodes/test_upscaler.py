import importlib
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from latentgraph.engine.context import Cancelled, Context
from latentgraph.engine.node import Wrong
from latentgraph.engine.ports import File
from latentgraph.nodes.diffusion import upscaling
from latentgraph.nodes.facts import ImageFacts
from latentgraph.nodes.ports import Image
from latentgraph.nodes.references import Upscaler
from latentgraph.nodes.upscaling import LoadUpscaler, UpscaleImage


@pytest.fixture(scope="module")
def spandrel() -> Any:
    """The library; where its torchvision does not go with this torch, without the two networks that need that."""
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError):
        functional: Any = ModuleType("torchvision.transforms.functional")
        functional.InterpolationMode = functional.rotate = functional.normalize = None
        transforms: Any = ModuleType("torchvision.transforms")
        names = {"torchvision": ModuleType("torchvision"), "torchvision.transforms": transforms}
        names["torchvision.transforms.functional"] = functional
        sys.modules.update(names)
        try:
            return importlib.import_module("spandrel")
        finally:
            for name in names:
                sys.modules.pop(name, None)
    return importlib.import_module("spandrel")


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    yield
    upscaling._network.cache_clear()


def picture(count: int = 1, height: int = 40, width: int = 56, channels: int = 3) -> Tensor:
    return torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(0))


def network(scale: int = 2) -> Any:
    from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SRVGGNetCompact(num_feat=8, num_conv=2, upscale=scale).eval()


def saved(path: Path, scale: int = 2) -> File:
    save_file(network(scale).state_dict(), path)
    return File.at(path)


@pytest.mark.spandrel
@pytest.mark.parametrize("scale", [2, 4])
def test_pictures_are_what_the_network_makes_of_them(spandrel: Any, scale: int, tmp_path: Path) -> None:
    upscaler = LoadUpscaler(file=saved(tmp_path / "a.safetensors", scale)).run(Context())
    assert upscaler.scale == scale
    pictures = picture(2)
    image = UpscaleImage(upscaler=upscaler, image=Image(pictures)).run(Context())
    with torch.no_grad():
        expected = torch.cat([network(scale)(each[None]) for each in pictures]).clamp(0, 1)
    assert image.pixels.shape == (2, 3, 40 * scale, 56 * scale)
    assert (image.pixels - expected).abs().max() == 0.0


@pytest.mark.spandrel
def test_tiles_leave_no_seams(spandrel: Any, tmp_path: Path) -> None:
    upscaler = LoadUpscaler(file=saved(tmp_path / "a.safetensors")).run(Context())
    image = Image(picture(2, 150, 170))
    whole = UpscaleImage(upscaler=upscaler, image=image, tile=None).run(Context()).pixels
    said: list[tuple[int, int]] = []
    context = Context(report=lambda kind, content: said.append((content["step"], content["steps"])))
    tiles = UpscaleImage(upscaler=upscaler, image=image, tile=64).run(context).pixels
    assert said == [(step, 12) for step in range(1, 13)]
    # Only near the edges of tiles, where they hardly count, do they see less than the whole.
    assert (whole - tiles).abs().max() < 0.1 * (whole.max() - whole.min())
    assert (whole - tiles).abs().mean() < 0.001


@pytest.mark.spandrel
def test_opacity_stays(spandrel: Any, tmp_path: Path) -> None:
    upscaler = LoadUpscaler(file=saved(tmp_path / "a.safetensors")).run(Context())
    clear = picture(channels=4)
    clear[:, 3] = 0.25
    image = UpscaleImage(upscaler=upscaler, image=Image(clear)).run(Context())
    assert image.pixels.shape == (1, 4, 80, 112)
    assert (image.pixels[:, 3] - 0.25).abs().max() < 1e-6


@pytest.mark.spandrel
def test_it_can_be_cancelled_between_tiles(spandrel: Any, tmp_path: Path) -> None:
    upscaler = LoadUpscaler(file=saved(tmp_path / "a.safetensors")).run(Context())
    with pytest.raises(Cancelled):
        UpscaleImage(upscaler=upscaler, image=Image(picture()), tile=64).run(Context(cancelled=lambda: True))


@pytest.mark.spandrel
def test_what_is_no_upscaler_is_refused(spandrel: Any, tmp_path: Path) -> None:
    save_file({"a.weight": torch.ones(2, 2)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"a\.safetensors is no upscaler that spandrel knows"):
        LoadUpscaler(file=File.at(tmp_path / "a.safetensors")).run(Context())


@pytest.mark.spandrel
def test_weights_that_are_no_numbers_are_said(spandrel: Any, tmp_path: Path) -> None:
    tensors = {name: tensor * float("nan") for name, tensor in network().state_dict().items()}
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"a\.safetensors are damaged: .* holds NaN or infinity"):
        LoadUpscaler(file=File.at(tmp_path / "a.safetensors")).run(Context())


def test_without_spandrel_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spandrel", None)
    save_file({"a.weight": torch.ones(2, 2)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"pip install 'latentgraph\[upscale\]'"):
        LoadUpscaler(file=File.at(tmp_path / "a.safetensors")).run(Context())


def test_damaged_and_pickled_files_are_refused_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(b"x")
    with pytest.raises(Wrong, match="latentgraph models convert"):
        LoadUpscaler.describe({"file": File.at(tmp_path / "a.pth")})
    (tmp_path / "a.safetensors").write_bytes(b"x")
    with pytest.raises(Wrong, match="damaged"):
        LoadUpscaler.describe({"file": File.at(tmp_path / "a.safetensors")})


def test_the_size_is_known_before_the_run() -> None:
    known = {"image": ImageFacts((40, 56), 3), "upscaler": Upscaler(File("a", content=b""), 4)}
    assert UpscaleImage.describe(known) == {"image": ImageFacts((160, 224), 3)}


def test_tiles_cover_every_pixel() -> None:
    for side in (64, 65, 100, 111, 113, 640, 1000):
        starts = upscaling._starts(side, 64)
        assert starts[0] == 0
        assert starts[-1] + min(64, side) == side
        assert all(second - first <= 64 - upscaling.OVERLAP for first, second in itertools.pairwise(starts))
