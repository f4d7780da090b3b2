"""A generative model: what it draws is distributed like the data it learned from, and is none of them."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from fixtures import Ran
from point_sets import apart, largest_by_chance, mixture_of, numbers
from scipy.stats import energy_distance

from latentgraph.engine.context import Context
from latentgraph.engine.node import Wrong
from latentgraph.nodes.plots.data import Table, table
from latentgraph.nodes.training.data import Mixture
from latentgraph.nodes.training.distributions import (
    CompareDenoiser,
    ComparePoints,
    DrawPoints,
    NormalMixture,
    SamplePoints,
    TrainPoints,
)


@pytest.fixture(scope="module")
def ring() -> Mixture:
    """What the graph's data are drawn from."""
    return mixture_of("generative-model", "ring")


def few(steps: int = 3, **inputs: Any) -> Any:
    """A model that learned for some steps only."""
    return TrainPoints(points=PAIRS, steps=steps, batch_size=8, **inputs).run(Context())


PAIRS = table({"x": [0.0, 1.0, 2.0, 5.0], "y": [1.0, 3.0, 2.0, 8.0], "kind": ["a", "b", "a", "b"]}, {"x": "m"})


def test_what_is_drawn_is_distributed_like_the_data(ran: Ran, ring: Mixture):
    outputs = ran("generative-model")
    chance = largest_by_chance(ring, count=1500)
    assert outputs["distance_of_data"] < 2 * chance
    assert outputs["distance"] < 2 * chance
    assert outputs["distance_of_noise"] > 6 * chance


def test_every_cluster_gets_its_share_of_what_is_drawn(ran: Ran, ring: Mixture):
    drawn = numbers(ran("generative-model")["drawn"], "x", "y")
    away = np.linalg.norm(drawn[:, None] - np.array(ring.means), axis=2)
    assert (away.min(1) < 0.8).mean() > 0.98  # 4 deviations
    shares = np.bincount(away.argmin(1), minlength=8) / len(drawn)
    assert shares.min() > 0.09
    assert shares.max() < 0.165


def test_what_is_drawn_is_no_copy_of_the_data(ran: Ran):
    outputs = ran("generative-model")
    assert outputs["nearest"] == pytest.approx(outputs["nearest_of_data"], rel=0.25)
    assert not set(outputs["drawn"].column("x").values) & set(outputs["data"].column("x").values)
    assert ComparePoints(points=outputs["data"], reference=outputs["data"]).run(Context()).nearest == 0


def test_the_network_predicts_nearly_the_best_noise_that_there_is(ran: Ran):
    outputs = ran("generative-model")
    assert outputs["correlation"] > 0.99
    assert outputs["error"] < 0.02


def test_a_network_that_learned_little_is_far_from_the_best(ring: Mixture):
    data = DrawPoints(mixture=ring, count=500).run(Context())
    model = TrainPoints(points=data, steps=30).run(Context()).model
    found = CompareDenoiser(model=model, mixture=ring).run(Context())
    assert found.error > 0.05
    network, best = (np.array(found.table.column(name).values) for name in ("network", "best possible"))
    assert network.mean() > best.mean() + 0.02


def test_the_best_prediction_is_the_mean_noise_of_all_points_that_may_be_behind_a_noisy_one():
    """Against a sum over all places on a grid, for a mixture whose normals are correlated."""
    from latentgraph.nodes.training.points import Config, exact_noise

    mixture = NormalMixture(
        means=((-1.0, 0.5), (1.5, -1.0)),
        deviations=((0.5, 0.7), (0.6, 0.3)),
        correlations=((0.6,), (-0.4,)),
        weights=(1.0, 2.0),
    ).run(Context())
    config = Config(("x", "y"), ("", ""), (0.3, -0.2), (1.4, 0.9), "", (), 8)
    line = torch.linspace(-6, 6, 601, dtype=torch.float64)
    clean = torch.cartesian_prod(line, line)
    from scipy.stats import multivariate_normal

    prior = sum(
        weight * multivariate_normal(mean, covariance).pdf(clean.numpy())
        for weight, mean, covariance in zip(mixture.weights, mixture.means, mixture.covariances, strict=True)
    )
    scaled = (clean - torch.tensor(config.means).double()) / torch.tensor(config.deviations).double()
    noisy = torch.tensor([[0.2, -0.7], [-1.0, 1.0], [2.0, 0.1]], dtype=torch.float64)
    for kept in (0.9, 0.5, 0.05):
        noise = (noisy[:, None] - math.sqrt(kept) * scaled) / math.sqrt(1 - kept)
        chance = torch.tensor(prior) * (-noise.square().sum(2) / 2).exp()
        wanted = (chance[..., None] * noise).sum(1) / chance.sum(1, keepdim=True)
        assert torch.allclose(exact_noise(mixture, config, noisy, kept), wanted, rtol=0, atol=1e-6)


def test_the_energy_distance_is_that_of_scipy():
    generator = np.random.default_rng(0)
    points, reference = generator.normal(size=50), generator.normal(1, 2, size=70)
    found = apart(table({"x": points.tolist()}), table({"x": reference.tolist()}))
    assert found == pytest.approx(energy_distance(points, reference) ** 2 / reference.std(ddof=1))
    assert apart(PAIRS, PAIRS) == pytest.approx(0, abs=1e-12)


def test_points_are_compared_for_each_value_on_its_own():
    swapped = Table((*PAIRS.columns[:2], table({"kind": ["b", "a", "b", "a"]}).columns[0]))
    assert apart(swapped, PAIRS) == pytest.approx(0, abs=1e-12)
    assert apart(swapped, PAIRS, by="kind") > 0.5


def test_a_drawing_begins_with_noise_and_ends_with_the_points():
    model = few().model
    drawn = SamplePoints(model=model, count=4000, steps=4, shown=2).run(Context())
    assert len(drawn.way) == 3
    assert drawn.way[-1] == drawn.points
    noise = (numbers(drawn.way[0], "x", "y") - [2.0, 3.5]) / numbers(PAIRS, "x", "y").std(0, ddof=1)
    assert abs(noise.mean(0)).max() < 4 / 4000**0.5
    assert noise.std(0) == pytest.approx(1, abs=4 / 8000**0.5)
    assert drawn.points.column("x").unit == "m"


def test_learning_and_drawing_give_the_same_bits_for_the_same_seed():
    first, again, other = few(), few(), few(seed=1)
    assert first == again
    assert first.losses != other.losses
    drawn = [SamplePoints(model=first.model, count=5, seed=seed).run(Context()).points for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TrainPoints(points=PAIRS, signal="colour"), "no column `colour`, but x, y, kind"),
        (lambda: TrainPoints(points=table({"kind": ["a", "b"]})), "nothing to learn"),
        (lambda: TrainPoints(points=table({"x": [1.0, 1.0]})), "`x` is the same in all points"),
        (lambda: SamplePoints(model=few().model, signals=("a",)), "it learned no signal"),
        (lambda: SamplePoints(model=few(signal="kind").model, signals=("c",)), "not told `c`; it knows a, b"),
        (lambda: SamplePoints(model=few().model, held="z", values=(1.0,)), "no number `z`, but x, y"),
        (lambda: SamplePoints(model=few().model, held="x"), "give both, or none"),
        (lambda: SamplePoints(model=few().model, values=(1.0,)), "give both, or none"),
        (lambda: ComparePoints(points=PAIRS, reference=table({"kind": ["a", "b"]})), "nothing to compare"),
        (
            lambda: ComparePoints(points=table({"x": [1.0], "y": [2.0], "kind": ["c"]}), reference=PAIRS, by="kind"),
            "other values",
        ),
        (lambda: CompareDenoiser(model=few().model, mixture=ONE), "of x, y, not of x"),
    ],
)
def test_what_cannot_be_learned_drawn_or_compared_says_why(make: Any, message: str):
    with pytest.raises(Wrong, match=message):
        make().run(Context())


ONE = NormalMixture(means=((0.0,),), deviations=((1.0,),), names=("x",)).run(Context())
