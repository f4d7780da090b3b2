"""The latent representation: few numbers from which a picture is made again."""

import math
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL

import latentgraph.nodes
from latentgraph.engine import Context
from latentgraph.nodes.images import CompareImages
from latentgraph.nodes.latents import LatentChannels
from latentgraph.nodes.ports import Image, Latent
from latentgraph.nodes.references import Space

BUILTIN = Path(latentgraph.nodes.__file__).parent / "builtin"
GRAPH = "latent-representation"


@pytest.fixture(scope="module")
def network() -> AutoencoderKL:
    return AutoencoderKL.from_pretrained(BUILTIN / "vae", torch_dtype=torch.float32).eval()


def test_a_latent_has_a_sixth_of_the_numbers_and_nearly_the_picture_is_made_of_it(ran):
    outputs = ran(GRAPH)
    assert outputs["picture_numbers"] == 3 * 64 * 64
    assert outputs["numbers"] == 8 * 16 * 16
    assert outputs["psnr"] > 26
    assert outputs["psnr"] > outputs["small_psnr"]


def test_latents_over_many_pictures_have_mean_0_and_deviation_1(ran):
    outputs = ran(GRAPH)
    samples = outputs["latents"].samples
    assert outputs["mean"] == pytest.approx(float(samples.mean()), abs=1e-5)
    assert outputs["deviation"] == pytest.approx(float(samples.std()), abs=1e-3)
    assert abs(outputs["mean"]) < 0.15
    assert abs(outputs["deviation"] - 1) < 0.15


def test_latents_and_what_is_decoded_are_exactly_those_of_diffusers_autoencoder(ran, network):
    outputs = ran(GRAPH)
    for index, pixels in enumerate(outputs["pictures"].pixels[:3]):
        with torch.no_grad():
            latent = network.encode(2 * pixels[None] - 1).latent_dist.mode() * network.config.scaling_factor
            decoded = network.decode(latent / network.config.scaling_factor).sample
        torch.testing.assert_close(outputs["latents"].samples[index : index + 1], latent, atol=2e-5, rtol=0)
        wanted = (decoded / 2 + 0.5).clamp(0, 1)
        torch.testing.assert_close(outputs["decoded"].pixels[index : index + 1], wanted, atol=2e-5, rtol=0)


def test_one_picture_is_encoded_and_decoded_to_the_bits_of_diffusers(ran, network):
    from latentgraph.nodes.latents import VAEDecode, VAEEncode
    from latentgraph.nodes.models import LoadModel

    vae, pixels = LoadModel().run(Context()).vae, ran(GRAPH)["pictures"].pixels[:1]
    latent = VAEEncode(vae=vae, image=Image(pixels)).run(Context())
    decoded = VAEDecode(vae=vae, latent=latent).run(Context())
    with torch.no_grad():
        mode = network.encode(2 * pixels - 1).latent_dist.mode()
        wanted = network.decode(mode).sample
    assert torch.equal(latent.samples, mode)
    assert torch.equal(decoded.pixels, (wanted / 2 + 0.5).clamp(0, 1))


def test_the_ratio_is_that_of_the_formula_in_plain_pytorch(ran):
    outputs = ran(GRAPH)
    errors = (outputs["decoded"].pixels - outputs["pictures"].pixels).double().square().mean((1, 2, 3))
    assert outputs["psnr"] == pytest.approx(float((10 * (1 / errors).log10()).mean()), abs=1e-4)


def test_the_ratio_of_known_differences_and_of_equal_pictures():
    gray = Image(torch.full((2, 3, 4, 4), 0.5))
    lighter = Image(torch.stack([torch.full((3, 4, 4), 0.6), torch.full((3, 4, 4), 0.51)]))
    assert CompareImages(images=lighter, reference=gray).run(Context()).psnr == pytest.approx((20 + 40) / 2, abs=1e-3)
    assert CompareImages(images=gray, reference=gray).run(Context()).psnr == pytest.approx(100)


def test_each_number_of_a_channel_is_a_gray_square_as_large_as_its_pixels():
    samples = torch.tensor([[[[0.0, 2.0]], [[-1.0, 9.0]]]])
    shown = LatentChannels(latent=Latent(samples, Space(2, 4, 1.0)), reach=2.0).run(Context())
    assert shown.images.pixels.shape == (2, 3, 4, 8)
    assert shown.images.pixels[0, 0, 0].tolist() == [0.5] * 4 + [1.0] * 4
    assert shown.images.pixels[1, 2, 3].tolist() == [0.25] * 4 + [1.0] * 4
    assert (shown.numbers, shown.picture_numbers) == (4, 3 * 4 * 8)
    assert math.isclose(shown.picture_numbers / shown.numbers, 3 * 4**2 / 2)
