"""The forward process: one jump adds as much noise as all steps, and some of the picture is left at the end."""

from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler
from fixtures import Ran

from latentgraph.engine.context import Cancelled, Context
from latentgraph.engine.node import Wrong
from latentgraph.nodes.noising import ForwardStatistics, NoiseImage, NoiseSchedule
from latentgraph.nodes.plots.data import Table, table
from latentgraph.nodes.ports import Image

SAMPLES = 10_000

OF_DIFFUSERS = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")


def schedule(**inputs: Any) -> Table:
    return NoiseSchedule(**inputs).run(Context()).schedule


def statistics(way: str, **inputs: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """The means and the variances f64[1000] of x_t."""
    found = ForwardStatistics(schedule=schedule(), way=way, **{"samples": SAMPLES} | inputs).run(Context())
    mean, variance = (torch.tensor(found.column(name).values, dtype=torch.float64) for name in ("mean", "variance"))
    return mean, variance


def deviations(found: tuple[torch.Tensor, torch.Tensor], wanted: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """By how many standard errors estimates of SAMPLES draws are off: of normal draws both errors are known."""
    variance = wanted[1]
    errors = (variance / SAMPLES).sqrt(), variance * (2 / (SAMPLES - 1)) ** 0.5
    return torch.stack([(one - other) / error for one, other, error in zip(found, wanted, errors, strict=True)])


@pytest.mark.parametrize("way", ["step by step", "in one jump"])
@pytest.mark.parametrize("start", [1.0, -0.4])
def test_mean_and_variance_are_those_of_the_closed_form_at_every_step(way: str, start: float) -> None:
    off = deviations(statistics(way, start=start), statistics("closed form", start=start))
    assert off.shape == (2, 1000)
    assert off.abs().max() < 4.5  # of 1,000 independent draws one is off by 4.5 in a hundred tries
    assert off.square().mean() < 3


def test_step_by_step_and_in_one_jump_agree_at_every_step() -> None:
    mean, variance = statistics("in one jump", seed=1)
    off = deviations(statistics("step by step"), statistics("closed form"))
    other = deviations((mean, variance), statistics("closed form"))
    assert (off - other).abs().max() < 4.5 * 2**0.5


def test_the_closed_form_is_that_of_ddpm() -> None:
    mean, variance = statistics("closed form", start=0.5)
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64).square()
    kept = (1 - betas).cumprod(0)
    assert torch.allclose(mean, 0.5 * kept.sqrt(), atol=1e-6)
    assert torch.allclose(variance, 1 - kept, atol=1e-6)


def test_a_jump_is_the_noise_that_diffusers_adds() -> None:
    picture = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    times = (0, 250, 999)
    given = NoiseImage(image=Image(picture), schedule=schedule(), timesteps=times, seed=4).run(Context())
    generator = torch.Generator().manual_seed(4)
    noise = torch.stack([torch.randn(3, 8, 8, generator=generator) for _ in times])
    pixels = (picture * 2 - 1).expand(3, -1, -1, -1)
    wanted = OF_DIFFUSERS.add_noise(pixels, noise, torch.tensor(times))
    assert (given.image.pixels - (wanted / 2 + 0.5).clamp(0, 1)).abs().max() == 0.0
    assert given.labels == ("0", "250", "999")


def test_every_step_makes_the_picture_fainter_and_adds_noise() -> None:
    """A chain written out, of a schedule of three large steps."""
    betas, picture = [0.1, 0.4, 0.7], torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(5))
    own = table({"beta": betas, "alpha bar": torch.tensor(betas).neg().add(1).cumprod(0).tolist()})
    given = NoiseImage(image=Image(picture), schedule=own, timesteps=(0, 2), way="step by step", seed=9).run(Context())
    generator, x, wanted = torch.Generator().manual_seed(9), picture[0] * 2 - 1, []
    for beta in betas:
        x = (1 - beta) ** 0.5 * x + beta**0.5 * torch.randn(3, 4, 4, generator=generator)
        wanted.append((x / 2 + 0.5).clamp(0, 1))
    assert torch.allclose(given.image.pixels, torch.stack([wanted[0], wanted[2]]), atol=1e-6)


def test_some_of_the_picture_is_left_at_the_end_unless_the_terminal_snr_is_zero(ran: Ran) -> None:
    outputs = ran("forward-process")
    assert outputs["signal_left"] == pytest.approx(0.0682649, abs=1e-6)
    assert outputs["signal_left"] == pytest.approx(float(OF_DIFFUSERS.alphas_cumprod[-1] ** 0.5), abs=1e-7)
    assert outputs["zero_signal_left"] == 0.0


def test_the_picture_drowns_more_at_every_step(ran: Ran) -> None:
    for zero in (False, True):
        ratio = torch.tensor(schedule(zero_terminal_snr=zero).column("SNR").values)
        assert (ratio.diff() < 0).all()
    assert schedule().column("SNR").values[ran("forward-process")["drowned"] - 1] >= 1
    assert schedule().column("SNR").values[ran("forward-process")["drowned"]] < 1


@pytest.mark.parametrize("times", [(), (5, 5), (5, 3), (-1, 3), (0, 1000)])
def test_timesteps_that_are_not_there_are_refused(times: tuple[int, ...]) -> None:
    picture = Image(torch.zeros(1, 3, 4, 4))
    with pytest.raises(Wrong, match="are no rising timesteps from 0 to 999") as refused:
        NoiseImage(image=picture, schedule=schedule(), timesteps=times).run(Context())
    assert refused.value.input == "timesteps"


def test_what_is_no_schedule_and_no_picture_is_refused() -> None:
    with pytest.raises(Wrong, match="no column `beta`, but `step`: link a NoiseSchedule"):
        ForwardStatistics(schedule=table({"step": [1]})).run(Context())
    with pytest.raises(Wrong, match="link a NoiseSchedule"):
        ForwardStatistics(schedule=table({"beta": ["a"], "alpha bar": ["b"]})).run(Context())
    for wrong in (-0.1, 1.1, float("nan"), float("inf")):
        with pytest.raises(Wrong, match="column `alpha bar` has to have numbers from 0 to 1: link"):
            ForwardStatistics(schedule=table({"beta": [0.1], "alpha bar": [wrong]})).run(Context())
    with pytest.raises(Wrong, match="there are 2 pictures: give one"):
        NoiseImage(image=Image(torch.zeros(2, 3, 4, 4)), schedule=schedule(), timesteps=(0,)).run(Context())


def test_the_forward_process_is_bounded_and_can_be_stopped() -> None:
    picture = Image(torch.zeros(1, 3, 4, 4))
    with pytest.raises(ValueError, match="timesteps"):
        NoiseImage(image=picture, schedule=schedule(), timesteps=tuple(range(65)))
    with pytest.raises(ValueError, match="samples"):
        ForwardStatistics(schedule=schedule(), samples=20_001)
    with pytest.raises(Cancelled):
        ForwardStatistics(schedule=schedule(), samples=2).run(Context(cancelled=lambda: True))
