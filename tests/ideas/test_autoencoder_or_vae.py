"""An autoencoder puts its codes anywhere, a variational one near N(0, I), so that one can draw from there."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from latentgraph.engine import Context, Folder
from latentgraph.engine.node import Wrong
from latentgraph.nodes.plots.data import table
from latentgraph.nodes.training.data import Dataset
from latentgraph.nodes.training.datasets import EmojiScenes, ResizeDataset
from latentgraph.nodes.training.vectors import (
    AutoencoderDecode,
    AutoencoderEncode,
    InterpolatePoints,
    TrainAutoencoder,
)

ARTWORK = Folder.at(Path(__file__).parents[2] / "graphs" / "train" / "emoji")
GRAPH = "autoencoder-or-vae"


def scenes(**inputs) -> Dataset:
    usual = {"artwork": ARTWORK, "count": 24, "single": 1, "pair": 0, "dressed": 0}
    return EmojiScenes(**usual | inputs).run(Context())


@pytest.fixture(scope="module")
def data() -> Dataset:
    return ResizeDataset(data=scenes(things=("dog", "heart"), backgrounds=("white",)), size=8).run(Context())


def trained(data: Dataset, **inputs):
    return TrainAutoencoder(**{"data": data, "hidden": 16, "steps": 30, "batch_size": 8} | inputs).run(Context())


def values(codes) -> torch.Tensor:
    return torch.tensor([column.values for column in codes.columns if column.name != "shown"], dtype=torch.float64).T


def test_a_variational_autoencoders_codes_are_near_the_normal_distribution_and_a_plain_ones_are_not(ran):
    outputs = ran(GRAPH)
    assert outputs["distance"] < 0.3
    assert outputs["plain_distance"] > 10 * outputs["distance"]
    assert outputs["fitted_kl"] < 1
    assert outputs["plain_fitted_kl"] > 10


def test_what_is_drawn_from_the_normal_distribution_is_near_a_picture_only_with_the_variational_one(ran):
    outputs = ran(GRAPH)
    assert outputs["nearest"] < 0.12
    assert outputs["plain_nearest"] > 1.4 * outputs["nearest"]


def test_both_give_the_pictures_back_that_they_learned_from(data):
    pictures = data.images.float() / 255
    guess = float((pictures - pictures.mean(0)).square().mean())
    for weight in (0.0, 0.02):
        network = trained(data, kl_weight=weight, steps=300, hidden=32, learning_rate=1e-2).autoencoder
        means = AutoencoderEncode(autoencoder=network, data=data, count=24).run(Context()).means
        again = AutoencoderDecode(autoencoder=network, codes=means).run(Context()).pixels
        assert float((again - pictures).square().mean()) < 0.4 * guess


def test_the_divergence_is_that_of_torchs_distributions_and_of_samples():
    from latentgraph.nodes.training.bottleneck import kl_divergence as by_formula

    generator = torch.Generator().manual_seed(0)
    mean, log_variance = torch.randn(2, 50, 3, generator=generator, dtype=torch.float64)
    posterior, prior = Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)
    wanted = kl_divergence(posterior, prior).sum(1)
    torch.testing.assert_close(by_formula(mean, log_variance), wanted, atol=1e-12, rtol=0)
    drawn = mean + (log_variance / 2).exp() * torch.randn(4000, 50, 3, generator=generator, dtype=torch.float64)
    ratio = (posterior.log_prob(drawn) - prior.log_prob(drawn)).sum(2)
    error = ratio.std(0) / math.sqrt(len(ratio))
    assert ((ratio.mean(0) - wanted).abs() < 5 * error).all()


def test_the_divergence_of_the_codes_own_normal_distribution_is_that_of_torchs_distributions():
    from latentgraph.nodes.training.bottleneck import fitted_divergence

    codes = torch.randn(40, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3 + 1
    own = MultivariateNormal(codes.mean(0), codes.T.cov())
    prior = MultivariateNormal(torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64))
    assert fitted_divergence(codes) == pytest.approx(float(kl_divergence(own, prior)), abs=1e-9)


def test_the_first_loss_is_the_squared_error_plus_the_weighted_divergence(data):
    from latentgraph.nodes.training.bottleneck import Bottleneck

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        network = Bottleneck((3, 8, 8), 2, 16)
    generator = torch.Generator().manual_seed(5)
    wanted = (data.images.float() / 255)[torch.randint(len(data.images), (8,), generator=generator)]
    with torch.no_grad():
        mean, log_variance = network.encoder(wanted).chunk(2, 1)
        plain = (network.decoder(mean) - wanted).square().flatten(1).sum(1).mean()
        code = mean + (log_variance / 2).exp() * torch.randn(mean.shape, generator=generator)
        error = (network.decoder(code) - wanted).square().flatten(1).sum(1).mean()
        kl = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum(1).mean()
    assert trained(data, seed=4, steps=1).losses[0] == pytest.approx(float(plain), rel=1e-5)
    assert trained(data, seed=4, steps=1, kl_weight=3.0).losses[0] == pytest.approx(float(error + 3 * kl), rel=1e-5)


def test_codes_of_a_plain_one_are_its_means_and_of_a_variational_one_drawn_by_the_seed(data):
    def codes(network, **inputs):
        return AutoencoderEncode(autoencoder=network, data=data, count=24, **inputs).run(Context())

    plain, variational = (trained(data, kl_weight=weight).autoencoder for weight in (0.0, 1.0))
    assert codes(plain).codes == codes(plain).means == codes(plain, seed=1).codes
    assert codes(plain).kl == 0
    one, again, other = codes(variational), codes(variational), codes(variational, seed=1)
    assert one.codes == again.codes != other.codes
    assert one.means == other.means
    assert one.kl > 0
    assert set(one.codes.column("shown").values) == {"dog", "heart"}


def test_a_line_between_two_codes_has_both_at_its_ends():
    points = table({"x": [0.0, 9.0, 1.0], "y": [2.0, 9.0, 4.0], "shown": ["a", "b", "c"]})
    line = InterpolatePoints(points=points, start=0, end=2, count=5).run(Context())
    assert line.names == ["x", "y"]
    assert values(line).tolist() == [[0, 2], [0.25, 2.5], [0.5, 3], [0.75, 3.5], [1, 4]]
    with pytest.raises(Wrong, match="row is 3, but the table has 3 rows"):
        InterpolatePoints(points=points, end=3).run(Context())


def test_scenes_are_limited_to_the_things_and_backgrounds_that_are_named():
    data = scenes(things=("dog", "heart"), backgrounds=("white", "blue"))
    assert {(shown["first"], shown["background"]) for shown in data.shown} == {
        (thing, background) for thing in ("dog", "heart") for background in ("white", "blue")
    }
    with pytest.raises(Wrong, match="there is no `dragon`"):
        scenes(things=("dragon",))


def test_smaller_pictures_of_a_data_set_are_means_of_their_pixels(data):
    whole = scenes(things=("dog",))
    small = ResizeDataset(data=whole, size=16).run(Context())
    wanted = whole.images.double().reshape(24, 3, 16, 4, 16, 4).mean((3, 5))
    assert (small.images - wanted).abs().max() <= 0.5
    assert small.captions == whole.captions
    with pytest.raises(Wrong, match="they are made smaller only"):
        ResizeDataset(data=whole, size=65).run(Context())


def test_codes_and_pictures_that_do_not_fit_are_refused(data):
    network = trained(data, steps=1).autoencoder
    assert json.loads(network.folder["config.json"].read())["variational"] is False
    with pytest.raises(Wrong, match="a code has 2 numbers, and the points have 1: x"):
        AutoencoderDecode(autoencoder=network, codes=table({"x": [1.0]})).run(Context())
    with pytest.raises(Wrong, match="there are 4097 codes, but at most 4096"):
        AutoencoderDecode(autoencoder=network, codes=table({"x": [0.0] * 4097, "y": [0.0] * 4097})).run(Context())
    with pytest.raises(Wrong, match="those learned from of"):
        AutoencoderEncode(autoencoder=network, data=scenes()).run(Context())
    with pytest.raises(Wrong, match="no attribute `colour`"):
        AutoencoderEncode(autoencoder=network, data=data, shown="colour").run(Context())
