"""A joint distribution of points and signal: the model draws both together, and points for a signal that is held."""

import numpy as np
import pytest
from fixtures import Ran
from point_sets import apart, largest_by_chance, mixture_of, numbers

from latentgraph.engine.context import Context
from latentgraph.nodes.plots.data import Column, Table
from latentgraph.nodes.training.data import Mixture
from latentgraph.nodes.training.distributions import DrawPoints, KeepPoints, SamplePoints, TrainPoints

SIGNALS = (1.0, 2.0, 3.0, 2.5)


@pytest.fixture(scope="module")
def joint() -> Mixture:
    """What the graph's data are drawn from."""
    return mixture_of("joint-signal", "joint")


def near(points: np.ndarray, joint: Mixture, signal: float) -> np.ndarray:
    """Which points [N, 2] lie within 3.5 deviations of clusters [K] with a signal, or next to it where none has it."""
    means = np.array(joint.means)
    means = means[abs(means[:, 2] - signal) < 0.7]
    return np.linalg.norm(points[:, None] - means[:, :2], axis=2) < 0.875


def test_points_and_signals_that_are_drawn_together_are_distributed_like_the_data(ran: Ran, joint: Mixture):
    outputs = ran("joint-signal")
    assert outputs["distance"] < 2 * largest_by_chance(joint, count=1500)


def test_points_drawn_for_a_held_signal_lie_where_the_data_with_it_do(ran: Ran, joint: Mixture):
    outputs = ran("joint-signal")
    held = outputs["held"]
    assert set(held.column("signal").values) == set(SIGNALS)
    for signal in SIGNALS:
        points = numbers(KeepPoints(points=held, column="signal", value=signal).run(Context()), "x", "y")
        there = near(points, joint, signal)
        assert len(points) == 500
        assert there.any(1).mean() > 0.96
        shares = there.mean(0)  # all clusters with this signal are equally likely
        assert abs(shares - 1 / len(shares)).max() < 0.18
    everywhere = numbers(outputs["data"], "x", "y")
    assert near(everywhere, joint, 1.0).any(1).mean() < 0.4


def test_they_are_distributed_nearly_as_the_formula_says_and_not_as_all_points(ran: Ran, joint: Mixture):
    outputs = ran("joint-signal")
    assert outputs["held_distance"] < 0.05
    exact = DrawPoints(mixture=joint, count=500, given="signal", values=SIGNALS, seed=9).run(Context())
    # Points of all signals, which say that they have the one or the other.
    anyone = DrawPoints(mixture=joint, count=2000, seed=9).run(Context())
    anyone = Table((*anyone.columns[:2], Column("signal", exact.column("signal").values)))
    assert apart(anyone, exact, by="signal") > 5 * outputs["held_distance"]


def test_without_noise_added_anew_in_between_a_held_signal_counts_for_less(ran: Ran, joint: Mixture):
    once = KeepPoints(points=ran("joint-signal", repeats=1)["held"], column="signal", value=2.0).run(Context())
    assert near(numbers(once, "x", "y"), joint, 2.0).any(1).mean() < 0.85


def test_the_held_number_is_exactly_what_was_said_and_the_others_are_free(joint: Mixture):
    data = DrawPoints(mixture=joint, count=100).run(Context())
    model = TrainPoints(points=data, steps=2).run(Context()).model
    drawn = SamplePoints(model=model, count=4, steps=3, held="x", values=(0.1, -7.3)).run(Context()).points
    assert drawn.column("x").values == (0.1,) * 4 + (-7.3,) * 4
    assert len(set(drawn.column("signal").values)) == 8


def test_at_each_step_the_held_number_has_as_much_noise_as_the_others(joint: Mixture, monkeypatch: pytest.MonkeyPatch):
    from latentgraph.nodes.training.points import PointDenoiser, new_schedule

    data = DrawPoints(mixture=joint, count=100).run(Context())
    model = TrainPoints(points=data, steps=2).run(Context()).model
    seen = []
    forward = PointDenoiser.forward

    def watched(self, points, timesteps, signal):
        seen.append((int(timesteps[0]), points))
        return forward(self, points, timesteps, signal)

    monkeypatch.setattr(PointDenoiser, "forward", watched)
    signals = np.array(data.column("signal").values)
    wanted = (4.0 - signals.mean()) / signals.std(ddof=1)  # as the network takes it
    SamplePoints(model=model, count=5000, steps=4, held="signal", values=(4.0,), repeats=2).run(Context())
    assert [timestep for timestep, _ in seen] == [999, 999, 749, 749, 499, 499, 249, 249]
    for timestep, points in seen:
        held = points[:, 2]
        kept = float(new_schedule().alphas_cumprod[timestep])
        error = ((1 - kept) / 5000) ** 0.5
        assert held.mean().item() == pytest.approx(kept**0.5 * wanted, abs=4 * error)
        assert held.std().item() == pytest.approx((1 - kept) ** 0.5, abs=3 * error)
    first, again = seen[0][1], seen[1][1]
    assert (first[:, 2] != again[:, 2]).all()  # drawn anew each time
    # From only noise the others went a step back, and then to only noise again: nothing of the first is left.
    assert abs(np.corrcoef(first[:, 0], again[:, 0])[0, 1]) < 4 / 5000**0.5
