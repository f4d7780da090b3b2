"""The autoencoder in tiles, and pictures of which a part is drawn anew: as diffusers has both, to the last bit."""

from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionInpaintPipeline

from latentgraph.engine import load as load_graph
from latentgraph.engine import open_store
from latentgraph.engine.context import Context
from latentgraph.engine.node import Wrong
from latentgraph.nodes.diffusion import tiles
from latentgraph.nodes.diffusion.noise import noise, restored
from latentgraph.nodes.diffusion.weights import load_vae
from latentgraph.nodes.facts import ImageFacts
from latentgraph.nodes.latents import VAEDecode, VAEEncode, VAEEncodeInpaint
from latentgraph.nodes.models import Loaded
from latentgraph.nodes.ports import Image, Latent, Mask


def picture(height: int = 96, width: int = 112, count: int = 1) -> Image:
    return Image(torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1)))


def some_mask(height: int = 32, width: int = 40, count: int = 1) -> Mask:
    return Mask(torch.rand(count, 1, height, width, generator=torch.Generator().manual_seed(2)))


def latent_of(loaded: Loaded, height: int = 24, width: int = 28, count: int = 1) -> Latent:
    samples = torch.randn(count, 4, height, width, generator=torch.Generator().manual_seed(3))
    return Latent(samples, loaded.vae.space)


@pytest.fixture
def tiling_vae(tiny: Path) -> AutoencoderKL:
    """diffusers' own, with tiles of 64 pixels."""
    vae = AutoencoderKL.from_pretrained(tiny / "vae").eval()
    vae.enable_tiling()
    vae.tile_sample_min_size, vae.tile_latent_min_size = 64, 16
    return vae


# tiles


@torch.no_grad()
def test_tiles_are_those_of_diffusers(loaded: Loaded, context: Context, tiling_vae: AutoencoderKL) -> None:
    latent = latent_of(loaded, count=2)
    decoded = VAEDecode(vae=loaded.vae, latent=latent, tiles="on", tile_size=64).run(context).pixels
    expected = tiling_vae.decode(latent.samples / loaded.vae.space.scaling).sample
    assert torch.equal(decoded, (expected / 2 + 0.5).clamp(0, 1))
    image = picture()
    encoded = VAEEncode(vae=loaded.vae, image=image, tiles="on", tile_size=64).run(context).samples
    expected = tiling_vae.encode(2 * image.pixels - 1).latent_dist.mode() * loaded.vae.space.scaling
    assert torch.equal(encoded, expected)


@torch.no_grad()
def test_without_tiles_it_is_the_autoencoder_as_it_is(loaded: Loaded, context: Context, tiny: Path) -> None:
    vae, latent, image = AutoencoderKL.from_pretrained(tiny / "vae").eval(), latent_of(loaded, count=2), picture()
    whole = vae.decode(latent.samples / loaded.vae.space.scaling).sample
    for choice in ("off", "auto"):
        decoded = VAEDecode(vae=loaded.vae, latent=latent, tiles=choice).run(context).pixels
        assert torch.equal(decoded, (whole / 2 + 0.5).clamp(0, 1))
        encoded = VAEEncode(vae=loaded.vae, image=image, tiles=choice).run(context).samples
        assert torch.equal(encoded, vae.encode(2 * image.pixels - 1).latent_dist.mode() * loaded.vae.space.scaling)


def test_tiles_change_little_and_leave_the_network_as_it_was(loaded: Loaded, context: Context) -> None:
    latent = latent_of(loaded)
    whole = VAEDecode(vae=loaded.vae, latent=latent, tiles="off").run(context).pixels
    in_tiles = VAEDecode(vae=loaded.vae, latent=latent, tiles="on", tile_size=64).run(context).pixels
    assert 0 < (whole - in_tiles).abs().mean() < 0.1
    small = latent_of(loaded, 16, 16)
    alike = [VAEDecode(vae=loaded.vae, latent=small, tiles=c, tile_size=64).run(context).pixels for c in ("on", "off")]
    assert torch.equal(*alike)
    network = load_vae(loaded.vae)
    assert not network.use_tiling
    before = {name: getattr(network, name) for name in ("tile_sample_min_size", "tile_latent_min_size")}
    with pytest.raises(RuntimeError, match="stopped"), tiles.tiled(network, 64):
        raise RuntimeError("stopped")
    assert not network.use_tiling
    assert {name: getattr(network, name) for name in before} == before


@pytest.mark.parametrize(("free", "chosen"), [(1.3, "together"), (1.2, "one by one"), (0.6, "in tiles")])
def test_short_memory_is_noticed_and_said(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch, free: float, chosen: str
) -> None:
    """`free` is the share that is free of what two pictures take at once."""
    heard: list[str] = []
    context = Context(report=lambda kind, content: heard.append(content["message"]) if kind == "log" else None)
    latent, network = latent_of(loaded, count=2), load_vae(loaded.vae)
    needed = tiles.bytes_needed(network, 2 * 96 * 112, "decoder")
    monkeypatch.setattr(tiles, "free_memory", lambda: int(needed * free))
    made = VAEDecode(vae=loaded.vae, latent=latent, tile_size=64).run(context).pixels
    each = [Latent(latent.samples[index : index + 1], latent.space) for index in range(2)]

    def decoded(given: Latent, choice: str) -> torch.Tensor:
        return VAEDecode(vae=loaded.vae, latent=given, tiles=choice, tile_size=64).run(Context()).pixels

    expected = {
        "together": lambda: decoded(latent, "off"),
        "one by one": lambda: torch.cat([decoded(one, "off") for one in each]),
        "in tiles": lambda: torch.cat([decoded(one, "on") for one in each]),
    }
    assert torch.equal(made, expected[chosen]())
    assert [f"decoder works {chosen}" in message for message in heard] == ([] if chosen == "together" else [True])


def test_an_encoder_turns_to_tiles_too(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []
    context = Context(report=lambda kind, content: heard.append(content["message"]) if kind == "log" else None)
    monkeypatch.setattr(tiles, "free_memory", lambda: 1000)
    made = VAEEncode(vae=loaded.vae, image=picture(), seed=1, tile_size=64).run(context)
    assert torch.equal(
        made.samples, VAEEncode(vae=loaded.vae, image=picture(), seed=1, tiles="on", tile_size=64).run(context).samples
    )
    assert len(heard) == 1
    assert "the VAE's encoder works in tiles" in heard[0]


def test_what_was_made_otherwise_for_lack_of_memory_is_not_reused(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a picture would depend on what else the computer did when it was first drawn."""
    PIL.Image.effect_noise((96, 96), 60).convert("RGB").save(tmp_path / "picture.png")
    (tmp_path / "graph.yaml").write_text(f"""latentgraph: 1
nodes:
  model: {{type: LoadModel, inputs: {{name: {tiny}}}}}
  given: {{type: LoadImage, inputs: {{image: picture.png}}}}
  encoded: {{type: VAEEncode, inputs: {{vae: $model.vae, image: $given, tile_size: 64}}}}
  decoded: {{type: VAEDecode, inputs: {{vae: $model.vae, latent: $encoded, tile_size: 64}}}}
  small: {{type: ResizeImage, inputs: {{image: $decoded, width: 16, height: 16}}}}
outputs: {{image: $decoded, small: $small}}
""")
    store = open_store(tmp_path / "store")

    def run() -> tuple[torch.Tensor, set[str], list[str]]:
        heard: list[str] = []

        def listen(event: Any) -> None:
            if event["event"] == "log":
                heard.append(event["message"])

        result = load_graph(tmp_path / "graph.yaml", store=store).run(on_event=listen)
        return result.outputs["image"].pixels, set(result.named("computed")), heard

    free = tiles.free_memory
    monkeypatch.setattr(tiles, "free_memory", lambda: 1000)
    first, computed, heard = run()
    assert {"encoded", "decoded", "small"} <= computed
    assert [message.partition(" works in tiles")[0] for message in heard] == [
        "its result is not kept: the VAE's encoder",
        "its result is not kept: the VAE's decoder",
    ]
    again, computed, _ = run()
    assert computed == {"encoded", "decoded"}  # what follows is the same for the same picture
    assert torch.equal(again, first)
    monkeypatch.setattr(tiles, "free_memory", free)
    whole, computed, heard = run()
    assert {"encoded", "decoded", "small"} <= computed
    assert not heard
    assert not torch.equal(whole, first)
    monkeypatch.setattr(tiles, "free_memory", lambda: 1000)
    reused, computed, heard = run()
    assert not computed
    assert not heard
    assert torch.equal(reused, whole)


def test_memory_that_is_free_is_known_and_needs_grow_with_pixels(loaded: Loaded) -> None:
    network = load_vae(loaded.vae)
    assert 0 < tiles.free_memory() < 2**50
    assert tiles.bytes_needed(network, 2000, "decoder") == 2 * tiles.bytes_needed(network, 1000, "decoder")
    assert tiles.bytes_needed(network, 1000, "encoder") == 5 * 8 * 1000 * 4  # 8 channels as large as the picture


def test_a_tile_whose_quarter_is_no_whole_latent_pixel_is_refused(loaded: Loaded, context: Context) -> None:
    with pytest.raises(Wrong, match="tile_size is 72, which 16 does not divide; 64 is near"):
        VAEDecode(vae=loaded.vae, latent=latent_of(loaded), tile_size=72).run(context)
    with pytest.raises(Wrong, match="tile_size is 72"):
        VAEEncode.describe({"vae": loaded.vae, "tile_size": 72})


# a part drawn anew


@pytest.mark.parametrize("count", [1, 2])
@torch.no_grad()
def test_what_is_drawn_from_the_generator_comes_in_the_order_of_the_pipeline(
    loaded: Loaded, context: Context, tiny: Path, count: int
) -> None:
    image, mask = picture(32, 40, count), some_mask(count=count)
    pipeline: Any = StableDiffusionInpaintPipeline.from_pretrained(tiny, safety_checker=None)
    sources = [torch.Generator().manual_seed(7 + index) for index in range(count)]
    given = pipeline.image_processor.preprocess(image.pixels, height=32, width=40)
    condition = pipeline.mask_processor.preprocess(mask.pixels, height=32, width=40)
    pipeline.scheduler.set_timesteps(4)
    _, drawn, original = pipeline.prepare_latents(
        count, 4, 32, 40, torch.float32, "cpu", sources, image=given, timestep=pipeline.scheduler.timesteps[:1],
        is_strength_max=False, return_noise=True, return_image_latents=True,
    )  # fmt: skip
    small, masked = pipeline.prepare_mask_latents(
        condition, given * (condition < 0.5), count, 32, 40, torch.float32, "cpu", sources, False
    )

    latent = VAEEncodeInpaint(vae=loaded.vae, image=image, mask=mask, seed=7).run(context)
    assert latent.inpaint is not None
    assert not latent.empty
    assert torch.equal(latent.samples, original)
    assert torch.equal(latent.inpaint.original, original)
    assert torch.equal(latent.inpaint.mask, small)
    assert torch.equal(latent.inpaint.masked, masked)
    going_on = restored(latent.generators or ())
    assert torch.equal(noise(going_on, latent.samples.shape[1:]), drawn)
    noise(going_on, latent.samples.shape[1:])  # as a sampler passes over the masked picture's
    assert torch.equal(noise(going_on, (3,)), noise(sources, (3,)))


@torch.no_grad()
def test_all_is_drawn_anew_without_the_pictures_own_latent(loaded: Loaded, context: Context, tiny: Path) -> None:
    image, mask = picture(32, 40), some_mask()
    latent = VAEEncodeInpaint(vae=loaded.vae, image=image, mask=mask, seed=7, whole=True).run(context)
    source = torch.Generator().manual_seed(7)
    assert latent.empty
    assert latent.inpaint is not None
    assert latent.inpaint.original is None
    assert latent.samples.abs().max() == 0
    drawn = noise([source], latent.samples.shape[1:])
    assert torch.equal(noise(restored(latent.generators or ()), latent.samples.shape[1:]), drawn)
    vae = AutoencoderKL.from_pretrained(tiny / "vae").eval()
    grayed = (2 * image.pixels - 1) * (mask.pixels < 0.5)
    expected = vae.config.scaling_factor * vae.encode(grayed).latent_dist.sample(source)
    assert torch.equal(latent.inpaint.masked, expected)


def test_without_a_seed_the_latents_are_the_means(loaded: Loaded, context: Context) -> None:
    image, mask = picture(32, 40), some_mask()
    latent = VAEEncodeInpaint(vae=loaded.vae, image=image, mask=mask).run(context)
    mean = VAEEncode(vae=loaded.vae, image=image).run(context)
    assert latent.generators is None
    assert torch.equal(latent.samples, mean.samples)
    grayed = Image((image.pixels - 0.5) * (mask.pixels < 0.5) + 0.5)
    assert latent.inpaint is not None
    expected = VAEEncode(vae=loaded.vae, image=grayed).run(context).samples
    assert (latent.inpaint.masked - expected).abs().max() < 1e-5


def test_one_picture_serves_several_masks_and_seeds(loaded: Loaded, context: Context) -> None:
    image, masks = picture(32, 40), some_mask(count=2)
    both = VAEEncodeInpaint(vae=loaded.vae, image=image, mask=masks, seed=(5, 9)).run(context)
    assert both.inpaint is not None
    assert both.samples.shape == both.inpaint.masked.shape == (2, 4, 8, 10)
    second = VAEEncodeInpaint(vae=loaded.vae, image=image, mask=Mask(masks.pixels[1:]), seed=9).run(context)
    assert second.inpaint is not None
    assert torch.equal(both.samples[1:], second.samples)
    assert torch.equal(both.inpaint.masked[1:], second.inpaint.masked)
    assert both.generators is not None
    assert second.generators is not None
    assert both.generators[1] == second.generators[0]
    with pytest.raises(ValueError, match="do not go together"):
        VAEEncodeInpaint(vae=loaded.vae, image=picture(32, 40, 3), mask=masks, seed=1).run(context)


def test_a_mask_of_another_size_is_refused(loaded: Loaded, context: Context) -> None:
    message = "the mask is 40 by 36, the picture 40 by 32: resize one of them first"
    with pytest.raises(Wrong, match=message):
        VAEEncodeInpaint(vae=loaded.vae, image=picture(32, 40), mask=some_mask(36)).run(context)
    known = {"vae": loaded.vae, "image": ImageFacts((32, 40), 1), "seed": 1, "whole": False}
    with pytest.raises(Wrong, match=message):
        VAEEncodeInpaint.describe(known | {"mask": ImageFacts((36, 40), 1)})
    with pytest.raises(Wrong, match="which 4 does not divide"):
        VAEEncodeInpaint.describe(known | {"image": ImageFacts((33, 40), 1)})
    facts = VAEEncodeInpaint.describe(known | {"mask": ImageFacts((32, 40), 3)})["latent"]
    assert (facts.count, facts.empty, facts.generators) == (3, False, True)
