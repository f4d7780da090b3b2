"""A joint distribution: people drawn from it are as its formulas say, and drawn number by number they are not."""

from typing import Any

import numpy as np
import pytest
from fixtures import Ran
from point_sets import mixture_of, numbers
from scipy.integrate import simpson
from scipy.stats import multivariate_normal

from latentgraph.engine.context import Context
from latentgraph.engine.node import Wrong
from latentgraph.nodes.plots.data import Table, table
from latentgraph.nodes.training.data import Mixture
from latentgraph.nodes.training.distributions import (
    CompareDensity,
    CorrelatePoints,
    DrawPoints,
    KeepPoints,
    MarkUnlikely,
    NormalMixture,
)

PEOPLE = 30_000
AGES, HEIGHTS = np.linspace(-40, 130, 1701), np.linspace(0, 260, 1301)


@pytest.fixture(scope="module")
def population() -> Mixture:
    """The people of the graph."""
    return mixture_of("joint-distribution", "population")


def density(population: Mixture, ages: Any, heights: Any) -> Any:
    """The joint density, by SciPy."""
    points = np.stack(np.broadcast_arrays(ages, heights), -1)
    parts = zip(population.weights, population.means, population.covariances, strict=True)
    return sum(weight * multivariate_normal(mean, covariance).pdf(points) for weight, mean, covariance in parts)


def moments(population: Mixture) -> tuple[Any, Any]:
    """Mean [2] and covariance [2, 2]: the law of total covariance."""
    weights, means = np.array(population.weights), np.array(population.means)
    mean = weights @ means
    between = np.einsum("k,ki,kj->ij", weights, means - mean, means - mean)
    return mean, between + np.einsum("k,kij->ij", weights, np.array(population.covariances))


def people(population: Mixture, **inputs: Any) -> Any:
    return numbers(DrawPoints(mixture=population, count=PEOPLE, **inputs).run(Context()), "age", "height")


def errors(values: Any) -> Any:
    """By how many standard errors the mean of values is off 0."""
    return abs(values.mean(0)) / (values.std(0) / len(values) ** 0.5)


@pytest.mark.parametrize("seed", [1, 2])
def test_people_drawn_together_have_the_means_variances_and_covariance_of_the_formula(population: Mixture, seed: int):
    drawn = people(population, seed=seed)
    mean, covariance = moments(population)
    away = drawn - mean
    assert errors(away).max() < 4
    assert errors(away**2 - covariance.diagonal()).max() < 4
    assert errors(away[:, 0] * away[:, 1] - covariance[0, 1]) < 4


def test_drawn_each_on_its_own_both_numbers_are_distributed_as_before_and_have_no_covariance(population: Mixture):
    drawn = people(population, independent=True, seed=1)
    mean, covariance = moments(population)
    away = drawn - mean
    assert errors(away).max() < 4
    assert errors(away**2 - covariance.diagonal()).max() < 4
    assert errors(away[:, 0] * away[:, 1]) < 4
    assert errors(away[:, 0] * away[:, 1] - covariance[0, 1]) > 40


def test_nearly_nobody_drawn_together_is_impossible_and_every_third_drawn_apart_is(ran: Ran):
    outputs = ran("joint-distribution")
    error = (0.001 / PEOPLE + 0.001 / 100_000) ** 0.5  # of the share, and of the bound, which is measured, too
    assert outputs["nobody_like_this"] == pytest.approx(0.001, abs=4 * error)
    assert outputs["nobody_like_this_alone"] > 0.25
    assert outputs["correlation"] > 0.6
    assert abs(outputs["correlation_alone"]) < 4 / PEOPLE**0.5
    assert outputs["plot"].light.startswith(b"\x89PNG")
    assert outputs["heights"].dark.startswith(b"\x89PNG")


def test_a_baby_of_180_cm_is_unlikely_and_a_child_of_128_cm_is_not(population: Mixture):
    some = table({"age": [1.0, 8.0, 40.0, 40.0], "height": [180.0, 128.0, 170.0, 90.0]})
    marked = MarkUnlikely(points=some, mixture=population).run(Context())
    assert marked.points.column("likelihood").values == ("unlikely", "likely", "likely", "unlikely")
    assert marked.share == 0.5


def test_unlikely_is_what_has_less_density_than_all_but_a_share_of_the_people(population: Mixture):
    drawn = DrawPoints(mixture=population, count=2000, seed=5).run(Context())
    marked = MarkUnlikely(points=drawn, mixture=population, coverage=0.9).run(Context())
    unlikely = np.array([each == "unlikely" for each in marked.points.column("likelihood").values])
    densities = density(population, *numbers(drawn, "age", "height").T)
    assert densities[unlikely].max() < densities[~unlikely].min()
    assert marked.share == pytest.approx(0.1, abs=4 * (0.09 / 2000) ** 0.5)


def compared(population: Mixture, **inputs: Any) -> tuple[Table, int]:
    drawn = DrawPoints(mixture=population, count=PEOPLE, seed=3).run(Context())
    found = CompareDensity(points=drawn, mixture=population, **inputs).run(Context())
    return found.table, found.used


@pytest.mark.parametrize("column", ["age", "height"])
def test_a_marginal_density_is_the_joint_one_integrated_over_the_other_number(population: Mixture, column: str):
    found, used = compared(population, column=column)
    at = np.array(found.column(column).values)
    if column == "age":
        wanted = simpson(density(population, at[:, None], HEIGHTS), x=HEIGHTS)
    else:
        wanted = simpson(density(population, AGES, at[:, None]), x=AGES)
    assert np.array(found.column("formula").values) == pytest.approx(wanted, rel=1e-6, abs=1e-12)
    assert used == PEOPLE


@pytest.mark.parametrize("age", [2.0, 8.0, 16.5, 50.0])
def test_a_conditional_density_is_a_slice_of_the_joint_one_divided_by_its_integral(population: Mixture, age: float):
    found, _ = compared(population, column="height", given="age", value=age)
    at = np.array(found.column("height").values)
    wanted = density(population, age, at) / simpson(density(population, age, HEIGHTS), x=HEIGHTS)
    assert np.array(found.column("formula").values) == pytest.approx(wanted, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("inputs", [{}, {"given": "age", "value": 8.0}], ids=["everybody", "of age 8"])
def test_histograms_of_people_follow_the_formulas(population: Mixture, inputs: dict[str, Any]):
    found, used = compared(population, column="height", bins=25, **inputs)
    at, formula, samples = (np.array(column.values) for column in found.columns)
    width = at[1] - at[0]
    expected = used * formula * width
    assert samples.sum() * width == pytest.approx(1)
    full = expected > 10  # where a count is nearly normal
    assert full.sum() > 8
    away = (used * samples * width - expected)[full] / expected[full] ** 0.5
    assert abs(away).max() < 4.5


def test_those_drawn_for_an_age_are_distributed_as_those_of_that_age(population: Mixture):
    drawn = DrawPoints(mixture=population, count=PEOPLE, given="age", values=(8.0,), seed=4).run(Context())
    assert set(drawn.column("age").values) == {8.0}
    chances = density(population, 8.0, HEIGHTS) / simpson(density(population, 8.0, HEIGHTS), x=HEIGHTS)
    mean = simpson(chances * HEIGHTS, x=HEIGHTS)
    variance = simpson(chances * (HEIGHTS - mean) ** 2, x=HEIGHTS)
    away = np.array(drawn.column("height").values) - mean
    assert errors(away) < 4
    assert errors(away**2 - variance) < 4


def test_correlations_are_those_of_numpy(population: Mixture):
    drawn = DrawPoints(mixture=population, count=500).run(Context())
    both = numbers(drawn, "age", "height").T
    found = CorrelatePoints(points=drawn).run(Context())
    assert found.correlation == pytest.approx(np.corrcoef(both)[0, 1])
    assert found.covariance == pytest.approx(np.cov(both)[0, 1])


def test_points_are_the_same_for_the_same_seed_and_others_for_another(population: Mixture):
    drawn = [DrawPoints(mixture=population, count=50, seed=seed).run(Context()) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]
    assert drawn[0].names == ["age", "height", "label"]
    assert drawn[0].column("age").unit == "years"


ONE = {"means": ((0.0, 0.0),), "deviations": ((1.0, 1.0),)}


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"means": ((0.0,),)}, "each mean needs 2 numbers"),
        ({"deviations": ((1.0, 0.0),)}, "greater than 0"),
        ({"deviations": ((1.0, 1.0),) * 3}, "1 means and 3 deviations"),
        ({"correlations": ((1.0,),)}, "not positive definite"),
        ({"correlations": ((0.5, 0.5),)}, "needs 1 correlations"),
        ({"weights": (1.0, 2.0)}, "give a weight greater than 0 for each"),
        ({"names": ("x", "x")}, "not all different"),
        ({"labels": ("a", "b")}, "2 labels"),
    ],
)
def test_a_mixture_that_cannot_be_says_why(inputs: dict[str, Any], message: str):
    with pytest.raises(Wrong, match=message):
        NormalMixture(**{**ONE, **inputs}).run(Context())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda of: DrawPoints(mixture=of, given="weight", values=(1.0,)), "no `weight`, but age, height"),
        (lambda of: DrawPoints(mixture=of, given="age"), "say which values `age` has"),
        (lambda of: CompareDensity(points=PAIR, mixture=of, column="weight"), "no `weight`"),
        (lambda of: CompareDensity(points=PAIR, mixture=of, column="age", given="age"), "its own density"),
        (lambda of: CompareDensity(points=PAIR, mixture=of, column="age", given="height", value=9.0), "no point has"),
        (lambda of: KeepPoints(points=PAIR, column="age", value=5.0), "no point has `age` within 0 of 5"),
        (lambda of: CorrelatePoints(points=table({"age": [1.0, 2.0]})), "two columns of numbers"),
    ],
)
def test_what_cannot_be_drawn_or_compared_says_why(population: Mixture, make: Any, message: str):
    with pytest.raises(Wrong, match=message):
        make(population).run(Context())


PAIR = table({"age": [1.0, 2.0], "height": [70.0, 80.0]})
