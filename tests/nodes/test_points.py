"""Points at their bounds: steps of any number, signals that are empty, numbers that are none, and too much work."""

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from latentgraph.engine.context import Context
from latentgraph.engine.node import Wrong
from latentgraph.nodes.plots.data import Table, table
from latentgraph.nodes.training.distributions import (
    CompareDenoiser,
    CompareDensity,
    ComparePoints,
    CorrelatePoints,
    DrawPoints,
    MarkUnlikely,
    NormalMixture,
    SamplePoints,
    TrainPoints,
)
from latentgraph.nodes.training.vectors import InterpolatePoints, TrainAutoencoder

PAIRS = table({"x": [0.0, 1.0, 2.0, 5.0], "y": [1.0, 3.0, 2.0, 8.0], "kind": ["a", "b", "a", ""]})
CONSTANT = table({"x": [0.0, 1.0, 2.0], "y": [0.1, 0.1, 0.1]})
NONE = table({"x": [], "y": []})


def normal(**inputs: Any) -> Any:
    return NormalMixture(**{"means": ((0.0, 0.0),), "deviations": ((1.0, 1.0),)} | inputs).run(Context())


def few(points: Table = PAIRS, **inputs: Any) -> Any:
    return TrainPoints(points=points, steps=2, batch_size=8, **inputs).run(Context()).model


@pytest.mark.parametrize("steps", [7, 50, 600, 999, 1000])
def test_after_each_step_points_have_the_noise_that_the_next_is_told(steps: int, monkeypatch: pytest.MonkeyPatch):
    """All data are the point (1, 1): then the best v leads along `sqrt(kept) + sqrt(1 - kept) * noise`."""
    from latentgraph.nodes.training import points

    kept = points.new_schedule().alphas_cumprod.double()
    told = []

    def best(denoiser: Any, noisy: torch.Tensor, timestep: int, *_: Any) -> torch.Tensor:
        told.append(timestep)
        noise = (noisy.double() - kept[timestep].sqrt()) / (1 - kept[timestep]).sqrt()
        return (kept[timestep].sqrt() * noise - (1 - kept[timestep]).sqrt()).float()

    model = few(table({"x": [-1.0, 1.0], "y": [-1.0, 1.0]}))  # mean 0
    monkeypatch.setattr(points, "predicted", best)
    way = SamplePoints(model=model, count=3, steps=steps, shown=steps).run(Context()).way
    assert len(told) == steps
    deviation = 2**0.5
    states = [torch.tensor([state.column(name).values for name in ("x", "y")]).double() / deviation for state in way]
    noise = (states[0] - kept[999].sqrt()) / (1 - kept[999]).sqrt()
    for state, left in zip(states, [*kept[told], torch.tensor(1.0)], strict=True):
        assert torch.allclose(state, left.sqrt() + (1 - left).sqrt() * noise, rtol=0, atol=2e-4)


@pytest.mark.parametrize("eta", [0.0, 0.7, 1.0])
def test_where_the_number_of_steps_divides_1000_they_are_those_of_diffusers_to_the_bit(eta: float):
    from latentgraph.nodes.training.points import loaded, new_schedule, predicted

    model = few()
    drawn = SamplePoints(model=model, count=20, steps=50, eta=eta, seed=3).run(Context()).points
    denoiser, schedule = loaded(model), new_schedule()
    schedule.set_timesteps(50)
    generator = torch.Generator().manual_seed(3)
    points, nothing = torch.randn(20, 2, generator=generator), torch.zeros(20, 0)
    for timestep in schedule.timesteps.tolist():
        given = predicted(denoiser, points, timestep, nothing)
        points = schedule.step(given, timestep, points, eta=eta, generator=generator).prev_sample
    wanted = denoiser.config.unscaled(points)
    assert [drawn.column(name).values for name in ("x", "y")] == [tuple(each) for each in wanted.T.tolist()]


def test_an_empty_text_is_no_signal_of_its_own():
    from latentgraph.nodes.training.points import loaded

    denoiser = loaded(few(signal="kind"))
    assert denoiser.config.signals == ("a", "b")
    assert denoiser.signal_of(["", "b"]).tolist() == [[0, 0], [0, 1]]
    with pytest.raises(Wrong, match="not told ``; it knows a, b"):
        SamplePoints(model=few(signal="kind"), signals=("",)).run(Context())


def test_a_constant_number_of_the_reference_counts_as_it_is():
    moved = table({"x": [0.0, 1.0, 2.0], "y": [2.1, 2.1, 2.1]})
    found = ComparePoints(points=CONSTANT, reference=CONSTANT).run(Context())
    assert found.distance == pytest.approx(0, abs=1e-12)
    assert found.nearest == 0
    assert ComparePoints(points=moved, reference=CONSTANT).run(Context()).nearest == pytest.approx(2)


def test_points_compared_in_blocks_are_as_far_apart_as_at_once(monkeypatch: pytest.MonkeyPatch):
    from latentgraph.nodes.training import tables

    mine, theirs = (DrawPoints(mixture=normal(), count=count).run(Context()) for count in (70, 90))
    wanted = ComparePoints(points=mine, reference=theirs).run(Context())
    sizes = []
    cdist = torch.cdist

    def watched(*pair: torch.Tensor, **inputs: Any) -> torch.Tensor:
        distances = cdist(*pair, **inputs)
        sizes.append(distances.numel())
        return distances

    monkeypatch.setattr(tables, "BLOCK", 400)
    monkeypatch.setattr(torch, "cdist", watched)
    assert ComparePoints(points=mine, reference=theirs).run(Context()) == pytest.approx(wanted, rel=1e-9)
    assert max(sizes) <= 400


def test_only_the_states_that_are_shown_become_tables(monkeypatch: pytest.MonkeyPatch):
    from latentgraph.nodes.training import points

    made = []
    points_of = points.points_of
    monkeypatch.setattr(points, "points_of", lambda *inputs: made.append(1) or points_of(*inputs))
    drawn = SamplePoints(model=few(), count=3, steps=100, shown=4).run(Context())
    assert len(drawn.way) == 5
    assert len(made) == 5


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e200])
def test_numbers_that_nothing_can_be_computed_with_are_refused(value: float):
    broken = table({"x": [0.0, value, 2.0], "y": [1.0, 3.0, 2.0]})
    for node in (
        TrainPoints(points=broken, steps=1),
        CorrelatePoints(points=broken),
        ComparePoints(points=broken, reference=CONSTANT),
        MarkUnlikely(points=broken, mixture=normal()),
    ):
        with pytest.raises(ValueError, match="`x` has a number that is not finite, or beyond 1e"):
            node.run(Context())


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"deviations": ((1e200, 1.0),)}, "too large, too small"),
        ({"deviations": ((1e-200, 1.0),)}, "too large, too small"),
        ({"means": ((1e200, 0.0),)}, "a mean is not beyond"),
        ({"means": ((0.0, 0.0),) * 2, "weights": (1e308, 1e308)}, "weight greater than 0"),
        ({"names": ("x", "label"), "labels": ("a",)}, "no number can be called `label`"),
    ],
)
def test_a_mixture_that_cannot_be_computed_with_says_why(inputs: dict[str, Any], message: str):
    with pytest.raises(Wrong, match=message):
        normal(**inputs)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CorrelatePoints(points=CONSTANT), "`y` is the same in all points"),
        (lambda: TrainPoints(points=CONSTANT), "`y` is the same in all points"),
        (lambda: MarkUnlikely(points=NONE, mixture=normal()), "there are no points"),
        (lambda: CompareDensity(points=NONE, mixture=normal(), column="x"), "there are no points"),
        (lambda: DrawPoints(mixture=normal(), given="x", values=(1e200,)), "no density where `x` is 1e.200"),
        (
            lambda: CompareDensity(points=PAIRS, mixture=normal(), column="y", given="x", value=1e200),
            "no density where `x` is 1e.200",
        ),
        (
            lambda: DrawPoints(mixture=normal(), given="x", values=(0.0, 1.0), count=500_001),
            "500001 points for each of 2 values are more than",
        ),
        (
            lambda: SamplePoints(model=few(signal="kind"), signals=("a", "b"), count=100_000, held="x", values=(0, 1)),
            "that are 400000 points",
        ),
        (lambda: SamplePoints(model=few(), count=50_000, shown=50), "50000 points in 51 states"),
        (lambda: CompareDenoiser(model=few(), mixture=normal(), count=5000, levels=1000), "5000 points at 1000"),
        (lambda: InterpolatePoints(points=table({"kind": ["a", "b"]})), "no column of numbers"),
    ],
)
def test_what_cannot_be_done_and_what_is_too_much_says_why(make: Any, message: str):
    with pytest.raises(Wrong, match=message):
        make().run(Context())


def test_the_divergence_of_fewer_codes_than_they_have_numbers_is_refused():
    from latentgraph.nodes.training.bottleneck import fitted_divergence

    with pytest.raises(Wrong, match="2 pictures are too few for codes of 2 numbers: at least 3"):
        fitted_divergence(torch.randn(2, 2, dtype=torch.float64))
    assert math.isfinite(fitted_divergence(torch.randn(3, 2, dtype=torch.float64)))


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        (DrawPoints, {"mixture": normal(), "seed": 2**53}),
        (TrainPoints, {"points": PAIRS, "seed": 2**53}),
        (TrainPoints, {"points": PAIRS, "batch_size": 65_537}),
        (CompareDenoiser, {"count": 65_537}),
        (TrainAutoencoder, {"batch_size": 65_537}),
        (TrainAutoencoder, {"seed": 2**53}),
    ],
)
def test_seeds_and_sizes_have_bounds(kind: Any, inputs: dict[str, Any]):
    with pytest.raises(ValidationError, match=rf"{next(reversed(inputs))}\n.*less than"):
        kind(**inputs)
