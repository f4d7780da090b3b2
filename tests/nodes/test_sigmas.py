"""Noise levels: what diffusers computes, where it has the schedule; what the papers say, where it has not."""

import json
import math
from itertools import pairwise
from typing import Any

import diffusers
import numpy
import pytest
import scipy.stats
import torch
from diffusers.schedulers import AysSchedules
from hypothesis import given, settings
from hypothesis import strategies as st

from latentgraph.engine.ports import File, Folder
from latentgraph.nodes.diffusion.noise_table import NoiseTable
from latentgraph.nodes.diffusion.samplers import SCHEDULES
from latentgraph.nodes.diffusion.schedulers import new_scheduler
from latentgraph.nodes.diffusion.sigmas import SPACED, sigmas_for
from latentgraph.nodes.references import Family, Model, Space, Weights

STABLE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
STEPS = (1, 2, 7, 20, 33, 50)


def model(family: Family = "sd1", **config: Any) -> Model:
    """A model as far as its noise goes: of this scheduler_config.json, without any weights."""
    kind = "transformer" if family == "sd3" else "unet"
    config = {
        "_class_name": "FlowMatchEulerDiscreteScheduler" if family == "sd3" else "EulerDiscreteScheduler",
        **config,
    }
    file = File("scheduler_config.json", content=json.dumps(config if family == "sd3" else STABLE | config).encode())
    return Model(Weights(kind, family, Folder.of({"config.json": b"{}"})), file, Space(4, 8, 0.18215))


def of_diffusers(steps: int, **config: Any) -> tuple[list[float], list[float]]:
    """Sigmas and timesteps of diffusers' own Euler."""
    scheduler = diffusers.EulerDiscreteScheduler(**STABLE, **config)
    scheduler.set_timesteps(steps)
    return scheduler.sigmas.tolist(), scheduler.timesteps.tolist()


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("spacing", ["leading", "linspace", "trailing"])
def test_spacings_are_those_of_diffusers_to_the_last_bit(spacing: str, steps: int) -> None:
    wanted, timesteps = of_diffusers(steps, timestep_spacing=spacing, steps_offset=1)
    own = model(timestep_spacing=spacing, steps_offset=1)
    assert list(sigmas_for(own, "model", steps)) == wanted
    if spacing == "linspace" and steps == 1:  # diffusers begins, and so ends, at the first timestep
        wanted = [NoiseTable(own).sigma_max, 0.0]
    found = sigmas_for(own, spacing, steps)
    assert list(found) == wanted
    if spacing != "linspace":
        assert [NoiseTable(own).timestep(sigma) for sigma in found[:-1]] == timesteps


@pytest.mark.parametrize("steps", STEPS[1:])
@pytest.mark.parametrize("spacing", ["karras", "exponential"])
def test_karras_and_exponential_are_those_of_diffusers_from_the_most_to_the_least_noise(
    spacing: str, steps: int
) -> None:
    wanted, timesteps = of_diffusers(steps, **{f"use_{spacing}_sigmas": True})
    found = sigmas_for(model(), spacing, steps)
    assert found == pytest.approx(wanted, rel=1e-6)
    assert [NoiseTable(model()).timestep(sigma) for sigma in found[:-1]] == pytest.approx(timesteps, abs=2e-3)


@pytest.mark.parametrize("spacing", ["karras", "exponential", "beta"])
def test_the_model_s_own_configuration_may_ask_for_a_schedule(spacing: str) -> None:
    option = {f"use_{spacing}_sigmas": True, "timestep_spacing": "leading", "steps_offset": 1}
    assert list(sigmas_for(model(**option), "model", 12)) == of_diffusers(12, **option)[0]


def test_a_configuration_that_ends_above_0_is_taken_to_the_end() -> None:
    assert sigmas_for(model(final_sigmas_type="sigma_min"), "model", 8) == sigmas_for(model(), "model", 8)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("spacing", ["leading", "linspace", "trailing"])
def test_inputs_and_predictions_are_those_of_diffusers_to_the_last_bit(prediction: str, spacing: str) -> None:
    table = NoiseTable(model(prediction_type=prediction))
    scheduler = diffusers.EulerDiscreteScheduler(**STABLE, prediction_type=prediction, timestep_spacing=spacing)
    scheduler.set_timesteps(9)
    chance = torch.Generator().manual_seed(1)
    samples, predicted = (torch.randn(2, 4, 8, 8, generator=chance) for _ in range(2))
    for timestep, sigma in zip(scheduler.timesteps, scheduler.sigmas.tolist(), strict=False):
        assert torch.equal(table.scaled_input(samples, sigma), scheduler.scale_model_input(samples, timestep))
        stepped = scheduler.step(predicted, timestep, samples)
        assert torch.equal(table.from_prediction(samples, sigma, predicted), stepped.pred_original_sample)


def test_pure_noise_has_a_large_finite_level_as_in_diffusers() -> None:
    options = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "prediction_type": "v_prediction"}
    found = sigmas_for(model("sd2", _class_name="DDIMScheduler", **options), "trailing", 10)
    assert list(found) == of_diffusers(10, **options)[0]
    assert found[0] == pytest.approx(4096, rel=1e-3)


def test_a_timestep_and_its_noise_level_belong_together_between_trained_steps_too() -> None:
    table = NoiseTable(model())
    for timestep in (0.0, 0.3, 17.0, 500.5, 998.9, 999.0):
        assert table.timestep(table.sigma(timestep)) == pytest.approx(timestep, abs=1e-9)
    assert math.log(table.sigma(10.5)) == pytest.approx((math.log(table.sigma(10)) + math.log(table.sigma(11))) / 2)
    assert (table.timestep(1e9), table.timestep(0.0)) == (999, 0)


@pytest.mark.parametrize("steps", STEPS[1:])
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_models_have_the_levels_of_diffusers_flow_scheduler(shift: float, steps: int) -> None:
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(steps)
    flow = model("sd3", shift=shift)
    wanted = scheduler.sigmas.tolist()
    assert list(sigmas_for(flow, "model", steps)) == wanted
    assert list(sigmas_for(flow, "linspace", steps)) == wanted
    table = NoiseTable(flow)
    assert torch.tensor([table.timestep(sigma) for sigma in wanted[:-1]]).tolist() == scheduler.timesteps.tolist()


def test_flow_models_predict_the_way_from_picture_to_noise() -> None:
    table = NoiseTable(model("sd3", shift=3.0))
    chance = torch.Generator().manual_seed(2)
    picture, noise = (torch.randn(1, 4, 8, 8, generator=chance) for _ in range(2))
    samples = table.alpha(0.7) * picture + 0.7 * noise
    assert torch.allclose(table.from_prediction(samples, 0.7, noise - picture), picture, atol=1e-6)
    assert table.scaled_input(samples, 0.7) is samples


def test_diffusers_schedulers_for_both_kinds_are_told_of_a_flow_model() -> None:
    flow = model("sd3", shift=3.0)
    made = new_scheduler(flow, "diffusers:UniPCMultistepScheduler(solver_order=3)", "model")
    config = made.config
    assert (config.prediction_type, config.use_flow_sigmas, config.flow_shift) == ("flow_prediction", True, 3.0)
    with pytest.raises(ValueError, match="DDIMScheduler is not for flow models"):
        new_scheduler(flow, "diffusers:DDIMScheduler", "model")
    with pytest.raises(ValueError, match="PNDMScheduler is not for flow models"):
        new_scheduler(flow, "pndm", "model")


def test_a_shift_that_depends_on_the_size_is_refused() -> None:
    with pytest.raises(ValueError, match="use_dynamic_shifting"):
        NoiseTable(model("sd3", use_dynamic_shifting=True))


def test_a_noise_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="diffusers:EDMEulerScheduler"):
        NoiseTable(model(_class_name="EDMEulerScheduler"))


@settings(deadline=None, max_examples=40)
@given(
    scheduler=st.sampled_from(sorted(SCHEDULES)),
    steps=st.integers(1, 120),
    family=st.sampled_from(["sd1", "sdxl", "sd3"]),
)
def test_every_schedule_falls_from_at_most_the_most_noise_to_0(scheduler: str, steps: int, family: Family) -> None:
    own = model(family, **({"shift": 3.0} if family == "sd3" else {}))
    if scheduler == "align_your_steps" and family == "sd3":
        with pytest.raises(ValueError, match="Stable Diffusion 3"):
            sigmas_for(own, scheduler, steps)
        return
    found, table = sigmas_for(own, scheduler, steps), NoiseTable(own)
    assert len(found) == steps + 1
    assert found[-1] == 0
    assert all(later < sooner for sooner, later in pairwise(found))
    least = 0 if scheduler == "linear_quadratic" else table.sigma_min
    assert all(least <= sigma <= table.sigma_max for sigma in found[:-1])
    assert found == tuple(numpy.float32(found).tolist())


@pytest.mark.parametrize("scheduler", sorted(set(SCHEDULES) - {"model", "leading", "ddim_uniform"}))
def test_schedules_begin_with_the_most_noise(scheduler: str) -> None:
    own = model(timestep_spacing="leading")
    assert sigmas_for(own, scheduler, 10)[0] == NoiseTable(own).sigma_max


def test_schedules_by_timesteps_have_the_timesteps_that_they_promise() -> None:
    own = model(steps_offset=1)
    table = NoiseTable(own)

    def timesteps(scheduler: str, **options: float) -> list[float]:
        return [table.timestep(sigma) for sigma in sigmas_for(own, scheduler, 8, **options)[:-1]]

    quantiles = scipy.stats.beta.ppf(1 - numpy.arange(8) / 8, 0.6, 0.6) * 999
    assert timesteps("normal") == pytest.approx(list(numpy.linspace(999, 0, 8)), abs=1e-3)
    assert timesteps("sgm_uniform") == pytest.approx(list(numpy.linspace(999, 0, 9)[:-1]), abs=1e-3)
    assert timesteps("simple") == [999, 874, 749, 624, 499, 374, 249, 124]
    assert timesteps("ddim_uniform") == [876, 751, 626, 501, 376, 251, 126, 1]
    assert timesteps("beta") == pytest.approx(list(quantiles), abs=1e-3)
    assert timesteps("beta", alpha=2.0, beta=1.0) == pytest.approx(
        [999 * (k / 8) ** 0.5 for k in range(8, 0, -1)], abs=1e-3
    )


def test_schedules_by_sigma_are_even_where_they_promise() -> None:
    own = model()
    table = NoiseTable(own)

    def even(values: list[float]) -> bool:
        return numpy.allclose(numpy.diff(values), (values[-1] - values[0]) / (len(values) - 1), rtol=1e-4)

    assert even([sigma ** (1 / 5) for sigma in sigmas_for(own, "karras", 9, rho=5.0)[:-1]])
    assert even([math.log(sigma) for sigma in sigmas_for(own, "exponential", 9)[:-1]])
    assert even([math.atan(sigma) for sigma in sigmas_for(own, "kl_optimal", 9)[:-1]])
    assert sigmas_for(own, "polyexponential", 9) == sigmas_for(own, "exponential", 9)
    low = math.log(table.sigma_min)
    assert even([(math.log(s) - low) ** 0.5 for s in sigmas_for(own, "polyexponential", 9, rho=2.0)[:-2]])
    shares = scipy.stats.laplace.cdf(
        [math.log(s) for s in sigmas_for(own, "laplace", 9, mu=-1.0, beta=0.7)[:-1]], -1, 0.7
    )
    assert even(list(shares))
    removed = [1 - sigma / table.sigma_max for sigma in sigmas_for(own, "linear_quadratic", 20)]
    assert even(removed[:11])
    assert removed[10] == pytest.approx(0.025, abs=1e-6)
    assert numpy.allclose(numpy.diff(removed[10:], 2), numpy.diff(removed[10:], 2)[0], rtol=1e-3)


@pytest.mark.parametrize(("family", "name"), [("sd1", "StableDiffusionSigmas"), ("sdxl", "StableDiffusionXLSigmas")])
def test_align_your_steps_has_the_published_numbers_at_10_steps(family: Family, name: str) -> None:
    found = sigmas_for(model(family), "align_your_steps", 10)
    assert found == pytest.approx(AysSchedules[name], rel=1e-4)
    assert sigmas_for(model(family), "align_your_steps", 20)[2:20:2] == pytest.approx(
        AysSchedules[name][1:10], rel=1e-6
    )


def test_strength_takes_the_last_steps_and_denoise_makes_more() -> None:
    own = model()
    whole = sigmas_for(own, "karras", 10)
    assert sigmas_for(own, "karras", 10, strength=0.5) == whole[5:]
    assert sigmas_for(own, "karras", 10, strength=0.59) == whole[5:]
    assert sigmas_for(own, "karras", 10, strength=0.0) == (0.0,)
    assert sigmas_for(own, "karras", 10, denoise=0.5) == sigmas_for(own, "karras", 20)[10:]
    assert len(sigmas_for(own, "karras", 10, denoise=0.3)) == 11
    assert len(sigmas_for(model("sd3"), "karras", 10, strength=0.59)) == 7  # diffusers rounds the other way there


def test_more_steps_than_noise_levels_are_refused() -> None:
    with pytest.raises(ValueError, match="take fewer steps"):
        sigmas_for(model(), "simple", 1500)


def test_an_option_of_another_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="`exponential` has no option `rho`"):
        sigmas_for(model(), "exponential", 5, rho=3.0)


def test_the_table_of_options_is_that_of_the_functions() -> None:
    assert SCHEDULES.keys() == {"model", *SPACED}
    for name, made in SPACED.items():
        assert SCHEDULES[name] == made.__code__.co_varnames[2 : made.__code__.co_argcount]
