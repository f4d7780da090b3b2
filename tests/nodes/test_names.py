"""Samplers by all their names, with their options; the pieces of a sampling that nodes make of them."""

import math
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from latentgraph.engine.context import Context
from latentgraph.engine.node import Node, Wrong
from latentgraph.nodes.conditioning import CLIPEncode
from latentgraph.nodes.diffusion.philox import card_noise, philox
from latentgraph.nodes.diffusion.samplers import OF_DIFFUSERS, PREFIX, SAMPLERS, SCHEDULES, known_sampler, resolved
from latentgraph.nodes.diffusion.schedulers import new_scheduler
from latentgraph.nodes.diffusion.solvers import SOLVERS
from latentgraph.nodes.facts import LatentFacts
from latentgraph.nodes.latents import EmptyLatent
from latentgraph.nodes.models import Loaded
from latentgraph.nodes.pieces import ListSigmas, MakeNoise, MakeSampler, MakeSigmas, MixNoise, NoiseFacts, SplitSigmas
from latentgraph.nodes.ports import Latent, Sigmas
from latentgraph.nodes.references import Space
from latentgraph.nodes.sampling import KSampler, Sample, Schedule

MULTISTEP = f"{PREFIX}DPMSolverMultistepScheduler"


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("euler", ("euler", "model")),
        ("Euler a", ("euler_ancestral", "model")),
        ("k_euler_a", ("euler_ancestral", "model")),
        ("euler_k", ("euler", "karras")),
        ("DPM++ 2M Karras", ("dpmpp_2m", "karras")),
        ("DPM++ 2M", ("dpmpp_2m", "model")),
        ("dpmpp_2m_k", ("dpmpp_2m", "karras")),
        ("k_dpmpp_2m_ka", ("dpmpp_2m", "karras")),
        ("DPM++ 2M SDE Exponential", ("dpmpp_2m_sde", "exponential")),
        ("DPM++ 2M SGM Uniform", ("dpmpp_2m", "sgm_uniform")),
        ("DPM++ 3M SDE Align Your Steps", ("dpmpp_3m_sde", "align_your_steps")),
        ("DPM++ 2S a Karras", ("dpmpp_2s_ancestral", "karras")),
        ("DPM++ SDE Karras", ("dpmpp_sde", "karras")),
        ("dpmpp_sde_gpu", ("dpmpp_sde", "model")),
        ("DPM2 a Karras", ("dpm_2_ancestral", "karras")),
        ("kdpm_2_a_k", ("dpm_2_ancestral", "karras")),
        ("DPM fast", ("dpm_fast", "model")),
        ("k_dpm_ad", ("dpm_adaptive", "model")),
        ("LMS Karras", ("lms", "karras")),
        ("PLMS", ("pndm", "model")),
        ("UniPC", ("uni_pc", "model")),
        ("uni_pc_bh2", ("uni_pc_bh2", "model")),
        ("DDIM", ("ddim", "model")),
        ("dpmpp_3m_k", (f"{MULTISTEP}(solver_order=3)", "karras")),
        ("tcd", (f"{PREFIX}TCDScheduler", "model")),
    ],
)
def test_samplers_are_known_by_the_names_of_other_programs(name: str, wanted: tuple[str, str]) -> None:
    assert resolved(name, "model") == wanted
    assert resolved(name.upper() if not name.startswith(PREFIX) else name, "model") == wanted
    assert resolved(known_sampler(name), "model") == wanted
    assert known_sampler(known_sampler(name)) == known_sampler(name)


@pytest.mark.parametrize("name", SAMPLERS)
def test_own_names_stay_as_they_are(name: str) -> None:
    assert known_sampler(name) == name


def test_all_samplers_and_their_options_are_named() -> None:
    assert SAMPLERS.keys() == SOLVERS.keys() | OF_DIFFUSERS.keys()
    for name, solver in SOLVERS.items():
        assert set(SAMPLERS[name]) == set(solver.defaults), name
    assert get_args(Schedule) == tuple(SCHEDULES)


def test_a_name_that_asks_for_a_schedule_does_not_go_with_another() -> None:
    assert resolved("DPM++ 2M Karras", "karras") == ("dpmpp_2m", "karras")
    with pytest.raises(PydanticCustomError, match="asks for scheduler `karras`, not `beta`: write `dpmpp_2m`"):
        resolved("DPM++ 2M Karras", "beta")


def test_an_unknown_name_is_told_the_nearest() -> None:
    with pytest.raises(PydanticCustomError, match="did you mean `euler_ancestral`"):
        known_sampler("euler_ancestrl")
    with pytest.raises(PydanticCustomError, match="it is one of euler, "):
        known_sampler("Q")


def test_options_of_diffusers_schedulers_reach_them(loaded: Loaded) -> None:
    name = known_sampler(f'{MULTISTEP}( use_karras_sigmas=true,solver_order = 3, algorithm_type="sde-dpmsolver++")')
    assert name == f'{MULTISTEP}(algorithm_type="sde-dpmsolver++", solver_order=3, use_karras_sigmas=true)'
    config = new_scheduler(loaded.model, name, "model").config
    assert (config.algorithm_type, config.solver_order, config.use_karras_sigmas) == ("sde-dpmsolver++", 3, True)
    assert new_scheduler(loaded.model, MULTISTEP, "model").config.solver_order == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("(solver_order=3", "write it as ClassName"),
        ("(solver_order)", "does not begin with option="),
        ("(solver_order=three)", "solver_order is `three`, but takes"),
        ("(solver_order=NaN)", "solver_order is `NaN`, but takes"),
        ("(solver_order={})", "but takes"),
        ("(solver_order=3 use_karras_sigmas=true)", "a comma has to stand before `use_karras_sigmas=true`"),
        ("(solver_order=3, solver_order=2)", "said twice"),
        ("(solver_order=__import__('os'))", "but takes"),
    ],
)
def test_options_that_cannot_be_read_are_shown(options: str, message: str) -> None:
    with pytest.raises(PydanticCustomError, match=message.replace("(", r"\(")):
        known_sampler(MULTISTEP + options)


def test_options_that_a_scheduler_does_not_have_are_refused(loaded: Loaded) -> None:
    with pytest.raises(ValueError, match="has no option `solver_ordr`; did you mean `solver_order`"):
        new_scheduler(loaded.model, f"{MULTISTEP}(solver_ordr=3)", "model")
    with pytest.raises(ValueError, match="sets use_karras_sigmas, and so does"):
        new_scheduler(loaded.model, f"{MULTISTEP}(use_karras_sigmas=true)", "karras")


def test_schedulers_for_flow_models_are_refused_for_others(loaded: Loaded) -> None:
    with pytest.raises(ValueError, match="for flow models"):
        new_scheduler(loaded.model, f"{PREFIX}FlowMatchEulerDiscreteScheduler", "model")


@pytest.fixture
def canvas(loaded: Loaded, context: Context) -> Latent:
    return EmptyLatent(model=loaded.model, batch_size=2).run(context)


def test_a_sampling_from_pieces_is_that_of_ksampler(loaded: Loaded, canvas: Latent, context: Context) -> None:
    text = CLIPEncode(clip=loaded.clip, text="red apple").run(context)
    shared: dict[str, Any] = {"model": loaded.model, "guidance": text, "latent": canvas}
    at_once = KSampler(**shared, sampler="Euler a", scheduler="karras", steps=4, seed=5).run(context)
    noise = MakeNoise(latent=canvas, seed=5).run(context)
    sigmas = MakeSigmas(model=loaded.model, scheduler="karras", steps=4).run(context)
    sampler = MakeSampler(name="k_euler_a").run(context)
    pieces = Sample(**shared, noise=noise, sigmas=sigmas, sampler=sampler).run(context)
    assert torch.equal(pieces.samples, at_once.samples)
    split = SplitSigmas(sigmas=sigmas, step=2).run(context)
    first = Sample(**shared, noise=noise, sigmas=split.high, sampler=sampler).run(context)
    assert first.unfinished is not None
    assert first.unfinished.sigma == split.high.values[-1] == split.low.values[0]
    second = Sample(**shared | {"latent": first}, sigmas=split.low, sampler=sampler).run(context)
    assert torch.equal(second.samples, at_once.samples)
    without = MakeSampler(name="euler_ancestral", eta=0.0).run(context)
    still = Sample(**shared, noise=noise, sigmas=sigmas, sampler=without).run(context)
    plain = KSampler(**shared, sampler="euler", scheduler="karras", steps=4, seed=5).run(context)
    assert torch.allclose(still.samples, plain.samples, atol=1e-5)


def refused(node_type: type[Node], context: Context, **inputs: Any) -> Wrong:
    """What a node type says of inputs that cannot work: the same before the run and in it."""
    defaults = {name: port.default for name, port in node_type.inputs().items() if not port.required}
    with pytest.raises(Wrong) as before:
        node_type.describe(defaults | inputs)
    with pytest.raises(Wrong) as during:
        node_type(**inputs).run(context)
    assert (before.value.input, str(before.value)) == (during.value.input, str(during.value))
    return during.value


def test_sigmas_are_made_with_the_options_of_their_schedule(loaded: Loaded, context: Context) -> None:
    usual = MakeSigmas(model=loaded.model, scheduler="karras", steps=5).run(context)
    assert MakeSigmas(model=loaded.model, scheduler="karras", steps=5, rho=7.0).run(context) == usual
    assert MakeSigmas(model=loaded.model, scheduler="karras", steps=5, rho=3.0).run(context) != usual
    assert len(MakeSigmas(model=loaded.model, scheduler="karras", steps=5, strength=0.5).run(context).values) == 3
    assert len(MakeSigmas(model=loaded.model, scheduler="karras", steps=5, denoise=0.5).run(context).values) == 6
    wrong = refused(MakeSigmas, context, model=loaded.model, scheduler="karras", alpha=1.0)
    assert (wrong.input, str(wrong)) == ("alpha", "scheduler karras has no option `alpha`; it has rho")
    assert refused(MakeSigmas, context, model=loaded.model, strength=0.5, denoise=0.5).input == "denoise"
    assert refused(MakeSigmas, context, model=loaded.model, steps=5, strength=0.1).input == "strength"
    other = replace(loaded.model, weights=replace(loaded.model.weights, family="sd2"))
    assert refused(MakeSigmas, context, model=other, scheduler="align_your_steps").input == "scheduler"


def test_sigmas_may_be_a_list_and_be_split(context: Context) -> None:
    sigmas = ListSigmas(values=(10.0, 4.0, 1.0, 0.0)).run(context)
    assert ListSigmas.describe({"values": (10.0, 4.0, 1.0, 0.0)}) == {"sigmas": sigmas}
    assert SplitSigmas(sigmas=sigmas, step=1).run(context) == (Sigmas((10.0, 4.0)), Sigmas((4.0, 1.0, 0.0)))
    assert SplitSigmas.describe({"sigmas": sigmas, "step": 2})["low"] == Sigmas((1.0, 0.0))
    assert refused(SplitSigmas, context, sigmas=sigmas, step=3).input == "step"
    assert "4 comes after 1" in str(refused(ListSigmas, context, values=(10.0, 1.0, 4.0)))
    assert "fewer than two" in str(refused(ListSigmas, context, values=(10.0,)))
    assert "the last is -1" in str(refused(ListSigmas, context, values=(10.0, -1.0)))


def test_a_sampler_has_only_its_own_options(context: Context) -> None:
    made = MakeSampler(name="DPM++ 2M SDE", s_noise=1.1, eta=0.5).run(context)
    assert (made.name, made.options) == ("dpmpp_2m_sde", (("eta", 0.5), ("s_noise", 1.1)))
    wrong = refused(MakeSampler, context, name="dpmpp_2m", eta=0.5)
    assert (wrong.input, str(wrong)) == ("eta", "sampler dpmpp_2m has no option `eta`; it has none")
    assert "give karras to MakeSigmas" in str(refused(MakeSampler, context, name="DPM++ 2M Karras"))
    assert "use it in KSampler" in str(refused(MakeSampler, context, name="pndm"))
    assert "use it in KSampler" in str(refused(MakeSampler, context, name=f"{PREFIX}DDIMScheduler"))
    with pytest.raises(ValidationError, match="did you mean `heun`"):
        MakeSampler(name="heunn")


def test_noise_is_that_of_each_picture_s_seed(canvas: Latent, context: Context) -> None:
    noise = MakeNoise(latent=canvas, seed=7).run(context)
    single = torch.randn(canvas.samples.shape[1:], generator=torch.Generator().manual_seed(8))
    assert torch.equal(noise.samples[1], single)
    assert torch.equal(MakeNoise(latent=canvas, seed=(3, 7)).run(context).samples[1], noise.samples[0])
    going_on = MakeNoise(latent=replace(canvas, generators=noise.generators)).run(context)
    assert not torch.equal(going_on.samples, noise.samples)
    with pytest.raises(Wrong, match="there is no seed"):
        MakeNoise(latent=canvas).run(context)
    with pytest.raises(ValueError, match="3 seeds"):
        MakeNoise(latent=canvas, seed=(1, 2, 3)).run(context)


def test_noise_may_be_that_of_a_card(canvas: Latent, context: Context) -> None:
    # What torch.randn(12, device="cuda") gives after torch.manual_seed(0).
    known = [-0.9247, -0.4253, -2.6438, 0.1452, -0.1209, -0.5797, -0.6229, -0.3284, -1.0745, -0.3631, -1.6711, 2.2655]
    assert card_noise([0], [12])[0].tolist() == pytest.approx(known, abs=5e-5)
    # The known answer of the authors of Philox 4x32-10 for zeros.
    words = philox([torch.zeros(1).numpy()] * 4, (0, 0))
    assert [int(word[0]) for word in words] == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    noise = MakeNoise(latent=canvas, seed=7, source="gpu").run(context)
    assert torch.equal(noise.samples, card_noise([7, 8], canvas.samples.shape[1:]))
    assert noise.generators != MakeNoise(latent=canvas, seed=7).run(context).generators
    large = card_noise([2**40 + 3], [40_000])
    assert abs(large.mean()) < 0.02
    assert abs(large.std() - 1) < 0.02
    assert not torch.equal(large, card_noise([3], [40_000]))
    seeded = replace(canvas, generators=noise.generators)
    with pytest.raises(Wrong, match="so give a number"):
        MakeNoise(latent=seeded, source="gpu").run(context)


def test_mixed_noise_is_as_strong_as_what_it_is_mixed_of(canvas: Latent, context: Context) -> None:
    first, second = (MakeNoise(latent=canvas, seed=seed).run(context) for seed in (1, 20))
    mixed = {amount: MixNoise(first=first, second=second, amount=amount).run(context) for amount in (0.0, 0.3, 1.0)}
    assert torch.equal(mixed[0.0].samples, first.samples)
    assert torch.equal(mixed[1.0].samples, second.samples)
    assert mixed[0.3].generators == first.generators

    def angle(a: torch.Tensor, b: torch.Tensor) -> float:
        return math.acos(torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0))

    for one, between, other in zip(first.samples, mixed[0.3].samples, second.samples, strict=True):
        assert min(one.norm(), other.norm()) * 0.99 < between.norm() < max(one.norm(), other.norm()) * 1.01
        unlike = one / one.norm(), between / between.norm(), other / other.norm()
        assert angle(unlike[0], unlike[1]) == pytest.approx(0.3 * angle(unlike[0], unlike[2]), rel=0.1)
    same = MixNoise(first=first, second=first, amount=0.5).run(context)
    assert torch.allclose(same.samples, first.samples, atol=1e-6)


def test_noise_of_one_picture_is_mixed_into_each_of_a_batch(canvas: Latent, context: Context) -> None:
    several = MakeNoise(latent=canvas, seed=1).run(context)
    one = MakeNoise(latent=replace(canvas, samples=canvas.samples[:1]), seed=20).run(context)
    mixed = MixNoise(first=one, second=several, amount=0.2).run(context)
    assert (len(mixed.samples), mixed.generators) == (2, several.generators)
    assert len(MixNoise(first=one, second=several, amount=0.0).run(context).samples) == 2
    smaller = MakeNoise(latent=replace(canvas, samples=canvas.samples[..., :4]), seed=1).run(context)
    with pytest.raises(Wrong, match="make both alike"):
        MixNoise(first=several, second=smaller).run(context)


def test_what_noise_is_for_is_known_before_the_run() -> None:
    latent = LatentFacts(Space(4, 8, 0.18215), (64, 32), 1, empty=True, generators=False)
    assert MakeNoise.describe({"latent": latent, "seed": (1, 2), "source": "cpu"}) == {
        "noise": NoiseFacts((4, 8, 4), 2)
    }
    one, other = NoiseFacts((4, 8, 4), 2), NoiseFacts((4, 8, 8), 2)
    assert MixNoise.describe({"first": one, "second": replace(one, count=1), "amount": 0.5}) == {"noise": one}
    with pytest.raises(Wrong, match="make both alike"):
        MixNoise.describe({"first": one, "second": other, "amount": 0.5})
    with pytest.raises(Wrong, match="there is no seed"):
        MakeNoise.describe({"latent": latent, "seed": None, "source": "cpu"})
