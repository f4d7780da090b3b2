"""The signal left out in training: only then a network knows what to draw when nothing is said."""

import numpy as np
import pytest
import torch
from fixtures import Ran
from point_sets import largest_by_chance, mixture_of, numbers

from latentgraph.engine.context import Context
from latentgraph.nodes.training.data import Mixture
from latentgraph.nodes.training.distributions import DrawPoints, TrainPoints


@pytest.fixture(scope="module")
def groups() -> Mixture:
    """What the graph's data are drawn from."""
    return mixture_of("dropped-captions", "groups")


@pytest.fixture(scope="module")
def learner(groups: Mixture):
    """A network that learned a little, with signals left out at times, and points for it."""
    from latentgraph.nodes.training.points import loaded

    data = DrawPoints(mixture=groups, count=200).run(Context())
    denoiser = loaded(TrainPoints(points=data, signal="label", steps=40, unconditional=0.3).run(Context()).model)
    return denoiser, torch.randn(50, 2, generator=torch.Generator().manual_seed(3)), denoiser.signal_of(["top"] * 50)


def test_only_the_network_that_saw_the_signal_left_out_draws_all_of_the_data_when_nothing_is_said(
    ran: Ran, groups: Mixture
):
    outputs = ran("dropped-captions")
    assert outputs["distance_at_times"] < 2 * largest_by_chance(groups, count=1500)
    assert outputs["distance_never"] > 20 * outputs["distance_at_times"]


def test_both_draw_what_they_are_asked_for(ran: Ran, groups: Mixture):
    outputs = ran("dropped-captions")
    chance = largest_by_chance(groups, by="label", count=1500)
    assert outputs["asked_distance_never"] < 2 * chance
    assert outputs["asked_distance_at_times"] < 2 * chance


def test_nearly_all_points_that_are_asked_for_are_of_their_group(ran: Ran, groups: Mixture):
    asked = ran("dropped-captions")["asked"]
    away = np.linalg.norm(numbers(asked, "x", "y")[:, None] - np.array(groups.means), axis=2)
    found = np.array(groups.labels)[away.argmin(1)]
    assert (found == np.array(asked.column("label").values)).mean() > 0.98


def test_all_groups_have_their_shares_of_what_is_drawn_when_nothing_is_said(ran: Ran, groups: Mixture):
    drawn = numbers(ran("dropped-captions")["unasked"], "x", "y")
    away = np.linalg.norm(drawn[:, None] - np.array(groups.means), axis=2)
    shares = np.bincount(away.argmin(1), minlength=5) / len(drawn)
    assert shares == pytest.approx(0.2, abs=0.05)


def test_at_scale_0_nothing_that_is_said_counts(ran: Ran):
    for name in ("x", "y"):
        values = ran("dropped-captions", guidance_scale=0.0)["asked"].column(name).values
        assert values == ran("dropped-captions")["unasked"].column(name).values


def test_at_scale_3_groups_are_farther_apart_than_at_1(ran: Ran):
    def away(scale: float) -> float:
        asked = ran("dropped-captions", guidance_scale=scale)["asked"]
        labels, points = np.array(asked.column("label").values), numbers(asked, "x", "y")
        middles = np.array([points[labels == label].mean(0) for label in ("left", "right", "top")])
        return float(np.linalg.norm(middles - middles.mean(0), axis=1).mean())

    assert away(3.0) > 1.12 * away(1.0)


@torch.no_grad()
def test_scale_1_is_the_network_told_the_signal_and_0_the_one_told_none_to_the_bit(learner):
    from latentgraph.nodes.training.points import predicted

    denoiser, points, signal = learner
    times = torch.full((50,), 300)
    told, nothing = denoiser(points, times, signal), denoiser(points, times, torch.zeros_like(signal))
    assert torch.equal(predicted(denoiser, points, 300, signal, scale=1.0), told)
    assert torch.equal(predicted(denoiser, points, 300, signal, scale=0.0), nothing)
    for scale in (-1.0, 0.5, 3.0):
        wanted = scale * (told - nothing) + nothing
        assert torch.allclose(predicted(denoiser, points, 300, signal, scale=scale), wanted, rtol=0, atol=1e-6)
    assert not torch.allclose(told, nothing)


def test_a_signal_is_a_one_and_nothing_said_is_zeros(learner):
    denoiser, _, _ = learner
    assert denoiser.config.signals == ("left", "right", "top")
    assert denoiser.signal_of(["top", "", "left"]).tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]


def test_the_share_that_is_left_out_is_the_one_that_was_asked_for(groups: Mixture, monkeypatch: pytest.MonkeyPatch):
    from latentgraph.nodes.training.points import PointDenoiser

    seen = []
    forward = PointDenoiser.forward

    def watched(self, points, timesteps, signal):
        seen.append(signal.sum(1))
        return forward(self, points, timesteps, signal)

    monkeypatch.setattr(PointDenoiser, "forward", watched)
    data = DrawPoints(mixture=groups, count=200).run(Context())
    for share in (0.0, 0.15, 1.0):
        seen.clear()
        TrainPoints(points=data, signal="label", unconditional=share, steps=10, batch_size=1000).run(Context())
        empty = (torch.cat(seen) == 0).double().mean().item()
        assert empty == pytest.approx(share, abs=4 * (share * (1 - share) / 10_000) ** 0.5)
