"""Previews: the linear ones, and those of tiny decoders that lie in the model folders."""

import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderTiny
from safetensors.torch import save_file
from torch import Tensor

from latentgraph.engine.context import Context
from latentgraph.nodes.diffusion import tiny_vae
from latentgraph.nodes.diffusion.previews import SHARE, SIDE, Teller, preview
from latentgraph.nodes.references import Space

SD1, SDXL, SD3 = Space(4, 8, 0.18215), Space(4, 8, 0.13025), Space(16, 8, 1.5305, 0.0609)
SPACES = {"taesd": SD1, "taesdxl": SDXL, "taesd3": SD3}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for tiny decoders in the model folders."""
    monkeypatch.setenv("LATENTGRAPH_MODELS", str(tmp_path))
    tiny_vae.find_decoder.cache_clear()
    yield tmp_path / "vae_approx"
    tiny_vae.find_decoder.cache_clear()


def made(space: Space) -> AutoencoderTiny:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoencoderTiny(latent_channels=space.channels).eval()


def save_as_author(network: AutoencoderTiny, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {}
    for name, tensor in network.decoder.state_dict().items():
        _, number, rest = name.split(".", 2)
        weights[f"{int(number) + 1}.{rest}"] = tensor
    save_file(weights, path)


def save_as_diffusers(network: AutoencoderTiny, path: Path) -> None:
    network.save_pretrained(path.parent / path.stem.removesuffix("_decoder"))


def told(space: Space, latents: Tensor) -> tuple[list[Tensor], list[str]]:
    """The previews and the log of one step."""
    pictures, log = [], []

    def hear(kind: str, content: dict[str, Any]) -> None:
        if kind == "preview":
            pictures.append(content["image"])
        if kind == "log":
            log.append(content["message"])

    Teller(Context(report=hear), space, 1)(1, latents)
    return pictures, log


@pytest.mark.parametrize("save", [save_as_author, save_as_diffusers])
@pytest.mark.parametrize("name", SPACES)
def test_a_tiny_decoder_of_the_latent_space_is_used(folder: Path, name: str, save: Callable[..., None]) -> None:
    space = SPACES[name]
    network = made(space)
    save(network, folder / f"{name}_decoder.safetensors")
    latents = torch.randn(1, space.channels, 6, 5, generator=torch.Generator().manual_seed(1))
    (picture,), log = told(space, latents)
    with torch.no_grad():
        wanted = (network.decoder(latents / latents.std()) / 2 + 0.5).clamp(0, 1)[0]
    assert picture.shape == (3, 48, 40)
    assert torch.equal(picture, wanted)
    assert log == []


def test_a_decoder_of_another_latent_space_is_not_used(folder: Path) -> None:
    save_as_author(made(SDXL), folder / "taesdxl_decoder.safetensors")
    latents = torch.randn(1, 4, 6, 5)
    (picture,), _ = told(SD1, latents)
    assert torch.equal(picture, preview(latents[0], SD1))


@pytest.mark.parametrize("content", [b"", b"no weights at all, but long enough to be a file", None])
def test_a_broken_decoder_is_said_and_previews_go_on_without_it(folder: Path, content: bytes | None) -> None:
    path = folder / "taesd_decoder.safetensors"
    save_as_author(made(SD3), path)  # which is for other latents
    if content is not None:
        path.write_bytes(content)
    latents = torch.randn(1, 4, 6, 5)
    (picture,), (message,) = told(SD1, latents)
    assert torch.equal(picture, preview(latents[0], SD1))
    assert str(path) in message


def test_large_previews_are_made_smaller(folder: Path) -> None:
    save_as_author(made(SD1), folder / "taesd_decoder.safetensors")
    (picture,), _ = told(SD1, torch.randn(1, 4, 40, 20))
    assert picture.shape == (3, SIDE, SIDE // 2)


def test_slow_previews_become_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    shown: list[float] = []

    def hear(kind: str, content: dict[str, Any]) -> None:
        nonlocal now
        if kind == "preview":
            shown.append(now)
            now += 2.0  # what it took

    teller = Teller(Context(report=hear), SD1, 1000)
    for step in range(200):
        teller(step, torch.zeros(1, 4, 2, 2))
        now += 1.0
    assert 4 <= len(shown) <= 6
    assert all(later - sooner >= 2.0 / SHARE for sooner, later in pairwise(shown))


@pytest.mark.parametrize("space", [SD1, SDXL])
def test_linear_previews_are_brighter_where_latents_are(space: Space) -> None:
    latents = torch.zeros(4, 2, 2)
    latents[0, 0] = 1.0
    picture = preview(latents, space)
    assert (picture[:, 0] > picture[:, 1]).all()
