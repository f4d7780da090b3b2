"""Noise is drawn in latent space: encoded noise is no N(0, I), and what is drawn from it is no good picture."""

import pytest
import torch
from fixtures import Ran

from latentgraph.engine.context import Context
from latentgraph.engine.node import Wrong
from latentgraph.nodes.latents import EmptyLatent, VAEEncode
from latentgraph.nodes.models import Loaded, LoadModel
from latentgraph.nodes.noising import MeasuredNoise, MeasureNoise, NoiseFromLatent, PixelNoise
from latentgraph.nodes.pieces import MakeNoise
from latentgraph.nodes.ports import Latent, Noise

COUNT = 32


@pytest.fixture(scope="module")
def builtin() -> Loaded:
    return LoadModel(name="builtin").run(Context())


def measured(noise: Noise | Latent) -> MeasuredNoise:
    return MeasureNoise(noise=noise).run(Context())


@pytest.mark.parametrize("seed", [1, 101, 201])
def test_noise_in_latent_space_is_standard_normal_within_its_error(builtin: Loaded, seed: int) -> None:
    canvas = EmptyLatent(model=builtin.model, batch_size=COUNT).run(Context())
    found = measured(MakeNoise(latent=canvas, seed=seed).run(Context()))
    places = COUNT * 16 * 16
    assert abs(found.mean) < 4 / (8 * places) ** 0.5
    assert abs(found.deviation - 1) < 4 / (2 * 8 * places) ** 0.5
    assert found.correlation < 4.5 / places**0.5  # the largest of 28
    for name, middle, error in (
        ("mean", 0, 1 / places**0.5),
        ("standard deviation", 1, 1 / (2 * places) ** 0.5),
        ("correlation of neighbours", 0, 1 / places**0.5),
    ):
        assert all(abs(each - middle) < 4 * error for each in found.channels.column(name).values), name


@pytest.mark.parametrize("seed", [1, 101, 201])
def test_encoded_noise_is_not(builtin: Loaded, seed: int) -> None:
    pixels = PixelNoise(seed=seed, count=COUNT).run(Context())
    found = measured(VAEEncode(vae=builtin.vae, image=pixels, seed=seed).run(Context()))
    deviations = found.channels.column("standard deviation").values
    assert found.deviation > 1.8
    assert min(deviations) < 0.65
    assert max(deviations) > 2.4
    assert found.correlation > 0.8


def test_what_is_drawn_from_encoded_noise_is_no_good_picture(ran: Ran) -> None:
    outputs = ran("noise-in-latent-space")
    assert outputs["deviation"] == pytest.approx(1, abs=0.03)
    assert outputs["correlation"] < 0.12
    assert outputs["encoded_deviation"] > 1.8
    assert outputs["encoded_correlation"] > 0.8
    assert outputs["right"] >= 5 / 6
    assert outputs["encoded_right"] <= 0.5


def test_pixel_noise_is_standard_normal_but_for_what_is_cut_off() -> None:
    pixels = PixelNoise(seed=(4, 9), width=48, height=32).run(Context()).pixels
    assert pixels.shape == (2, 3, 32, 48)
    wanted = torch.randn(3, 32, 48, generator=torch.Generator().manual_seed(9))
    assert torch.equal(pixels[1], (wanted / 2 + 0.5).clamp(0, 1))
    assert torch.equal(PixelNoise(seed=8, count=2, width=48, height=32).run(Context()).pixels[1], pixels[1])


def test_what_is_measured_is_what_was_put_in(builtin: Loaded) -> None:
    numbers = torch.randn(64, 3, 16, 16, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    numbers[:, 1] = 0.6 * numbers[:, 0] + 0.8 * numbers[:, 1]  # correlated by 0.6
    numbers[:, 2, :, 1:] = 0.5**0.5 * (numbers[:, 2, :, 1:] + numbers[:, 2, :, :-1])  # neighbours by a half
    numbers = numbers * torch.tensor([1.0, 2.0, 0.5]).view(3, 1, 1) + torch.tensor([0.0, 1.0, -1.0]).view(3, 1, 1)
    found = measured(Latent(numbers.float(), builtin.model.space))
    columns = {column.name: torch.tensor(column.values) for column in found.channels.columns}
    assert columns["channel"].tolist() == [1, 2, 3]
    assert torch.allclose(columns["mean"], torch.tensor([0.0, 1.0, -1.0]), atol=0.06)
    assert torch.allclose(columns["standard deviation"], torch.tensor([1.0, 2.0, 0.5]), rtol=0.03)
    assert columns["correlation of neighbours"].tolist() == pytest.approx([0, 0, 0.5], abs=0.05)
    assert found.correlation == pytest.approx(0.6, abs=0.03)
    assert found.mean == pytest.approx(float(numbers.mean()), abs=1e-6)
    assert found.deviation == pytest.approx(float(numbers.std()), abs=1e-6)
    assert found.values.names == ["channel 1", "channel 2", "channel 3"]
    assert found.values.column("channel 2").values[0] == pytest.approx(float(numbers[0, 1, 0, 0]), rel=1e-6)
    assert len(found.values.column("channel 1").values) == 1500


def test_latents_taken_for_noise_are_those_latents(builtin: Loaded) -> None:
    pixels = PixelNoise(seed=3).run(Context())
    latent = VAEEncode(vae=builtin.vae, image=pixels, seed=3).run(Context())
    noise = NoiseFromLatent(latent=latent).run(Context())
    assert torch.equal(noise.samples, latent.samples)
    assert noise.generators == latent.generators


def test_latents_without_generators_and_single_places_are_refused(builtin: Loaded) -> None:
    space = builtin.model.space
    with pytest.raises(Wrong, match="the latent has no random generators to go on with"):
        NoiseFromLatent(latent=Latent(torch.zeros(1, 8, 4, 4), space)).run(Context())
    with pytest.raises(Wrong, match=r"\[2, 8, 1, 1\] are too few: no place has a neighbour"):
        measured(Latent(torch.zeros(2, 8, 1, 1), space))


def test_noise_of_no_seeds_is_refused() -> None:
    with pytest.raises(Wrong, match="there are no seeds") as refused:
        PixelNoise(seed=()).run(Context())
    assert refused.value.input == "seed"
