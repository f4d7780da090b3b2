"""The pieces of a sampling as nodes of their own, for Sample: noise, noise levels, and the sampler with its options."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator

from latentgraph.engine.context import Context
from latentgraph.engine.node import Field, Node, Wrong

from .diffusion.samplers import OF_DIFFUSERS, SAMPLERS, SCHEDULES, check_options, known_sampler, part, resolved
from .facts import LatentFacts, check_seeded, fact, together
from .latents import Seed
from .ports import Latent, Noise, Sampler, Sigmas
from .references import FAMILIES, Model
from .sampling import Schedule, random_sources

ALIGNED = ("sd1", "sdxl", "sdxl_refiner")
"""Families that align_your_steps has numbers for."""


@dataclass(frozen=True)
class NoiseFacts:
    """Of noise: the shape [C, h, w] of one picture's, and for how many pictures it is; None if not known."""

    shape: tuple[int, int, int]
    count: int | None


class MakeSigmas(Node, category="sampling"):
    """The noise levels that a sampling walks down, for a model: `steps` + 1 falling numbers that end in 0.

    `strength` below 1 leaves only the last int(steps * strength) steps, as diffusers does for a picture that is to be
    changed; `denoise` makes int(steps / denoise) steps and leaves the last `steps`, as ComfyUI does. Fails where no
    step is left, for an option that the schedule does not have, and for more steps than the model has noise levels.
    """

    model: Model
    scheduler: Schedule = Field("model", description="how the steps are spaced; `model` leaves it to the model")
    steps: int = Field(20, ge=1, le=1000, description="how many steps the whole way from noise to picture has")
    strength: float = Field(1.0, gt=0, le=1, description="how much of a picture may change; 1 nearly everything")
    denoise: float | None = Field(None, gt=0, le=1, description="the same by ComfyUI's convention, instead of strength")
    rho: float | None = Field(
        None,
        gt=0,
        description="of karras (7 by default) and polyexponential (1): more means more steps at little noise",
    )
    alpha: float | None = Field(
        None, gt=0, description="of beta: 0.6 by default; less means more steps at little noise"
    )
    beta: float | None = Field(
        None,
        gt=0,
        description="of beta: 0.6 by default, less means more steps at much noise; of laplace: the width, 0.5",
    )
    mu: float | None = Field(None, description="of laplace: the log sigma around which most steps are, 0 by default")
    threshold_noise: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="of linear_quadratic: how much the first half of the steps removes, 0.025 by default",
    )

    def run(self, context: Context) -> Sigmas:
        from .diffusion.sigmas import sigmas_for

        known = {name: getattr(self, name) for name in type(self).inputs()}
        _check_spacing(known)
        options = {name: known[name] for name in SPACING_OPTIONS if known[name] is not None}
        strength = None if self.denoise is not None else self.strength
        return Sigmas(sigmas_for(self.model, self.scheduler, self.steps, strength, self.denoise, **options))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        _check_spacing(known)
        return {}


class ListSigmas(Node, category="sampling"):
    """Noise levels as they are written: two or more falling numbers, 0 at most as the last.

    They are the standard deviation of the noise where the model adds it to a picture (Stable Diffusion 1 to XL: about
    14.6 to 0.03), and its share for a flow model (1 to 0).
    """

    values: tuple[float, ...] = Field(description="the largest first")

    def run(self, context: Context) -> Sigmas:
        return _listed(self.values)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        values = fact(known, "values", tuple)
        return {} if values is None else {"sigmas": _listed(values)}


class SplitSigmas(Node, category="sampling"):
    """The noise levels of the first `step` steps, which end where the others, the lower ones, begin.

    So that two Samples share a walk: a refiner, say, takes the second part.
    """

    sigmas: Sigmas
    step: int = Field(ge=1, description="after how many steps")

    class Split(NamedTuple):
        high: Sigmas
        low: Sigmas

    def run(self, context: Context) -> Split:
        return self._split(self.sigmas, self.step)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        sigmas, step = fact(known, "sigmas", Sigmas), fact(known, "step", int)
        return {} if sigmas is None or step is None else cls._split(sigmas, step)._asdict()

    @classmethod
    def _split(cls, sigmas: Sigmas, step: int) -> Split:
        steps = len(sigmas.values) - 1
        if step >= steps:
            raise Wrong("step", f"step is {step}, but there are {steps} steps, and each part has to have one")
        return cls.Split(Sigmas(sigmas.values[: step + 1]), Sigmas(sigmas.values[step:]))


class MakeSampler(Node, category="sampling"):
    """A sampler, with options of its own; what is left out is as its paper has it.

    Fails for an option that the sampler does not have, and for schedulers of diffusers, which make their own noise
    levels: those go with KSampler.
    """

    name: Annotated[str, AfterValidator(known_sampler)] = Field(
        "euler", description="euler, dpmpp_2m, …, or what ComfyUI, A1111 or InvokeAI call it"
    )
    eta: float | None = Field(None, ge=0, description="how much of the noise is drawn anew at every step")
    s_noise: float | None = Field(None, ge=0, description="what noise drawn anew is multiplied by")
    s_churn: float | None = Field(None, ge=0, description="how much noise is added over all steps, to be removed again")
    s_tmin: float | None = Field(None, ge=0, description="the lowest noise level at which s_churn adds noise")
    s_tmax: float | None = Field(None, ge=0, description="the highest noise level at which s_churn adds noise")
    order: int | None = Field(None, ge=1, le=4, description="how many evaluations of the model a step builds on")
    solver_type: Literal["midpoint", "heun"] | None = Field(None, description="how dpmpp_2m_sde looks back")
    r: float | None = Field(None, gt=0, lt=1, description="where between two noise levels dpmpp_sde looks")
    gamma: float | None = Field(None, description="how far gradient_estimation goes beyond the last gradient")
    rtol: float | None = Field(None, gt=0, description="the error that dpm_adaptive allows, as a part of the value")
    atol: float | None = Field(None, gt=0, description="the error that dpm_adaptive allows besides")
    h_init: float | None = Field(None, gt=0, description="the first step of dpm_adaptive, in log sigma")
    pcoeff: float | None = Field(None, description="how the error of a step changes the next, in dpm_adaptive")
    icoeff: float | None = Field(None, description="how the sum of errors changes the next step, in dpm_adaptive")
    dcoeff: float | None = Field(None, description="how the change of errors changes the next step, in dpm_adaptive")
    accept_safety: float | None = Field(None, gt=0, lt=1, description="the least factor that dpm_adaptive accepts")

    def run(self, context: Context) -> Sampler:
        return self._made({name: getattr(self, name) for name in type(self).inputs()})

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        if known.keys() < cls.inputs().keys():
            return {}
        return {"sampler": cls._made({**known, "name": known_sampler(known["name"])})}

    @classmethod
    def _made(cls, known: Mapping[str, Any]) -> Sampler:
        name, schedule = resolved(known["name"], "model")
        if name not in SAMPLERS or name in OF_DIFFUSERS:
            raise Wrong(
                "name", f"{name} is a scheduler of diffusers, which makes its own noise levels: use it in KSampler"
            )
        if schedule != "model":
            raise Wrong(
                "name", f"`{known['name']}` names a schedule, too: write `{name}`, and give {schedule} to MakeSigmas"
            )
        given = {option: value for option, value in known.items() if option != "name" and value is not None}
        _check(f"sampler {name}", given, SAMPLERS[name])
        return Sampler(name, tuple(sorted(given.items())))


class MakeNoise(Node, category="sampling"):
    """Noise for a sampling to begin with: standard normal f32[N, C, h, w], for each picture from its own generator.

    The generators are seeded `seed`, `seed + 1`, …, or each with its own of a list, and a Sample goes on with them:
    KSampler with this seed draws the same. Without a seed the latent's generators go on. With source `gpu` the noise is
    what PyTorch draws on NVIDIA cards, whether there is one or not, as A1111 and others begin; the generators stay
    those of the CPU, unused.
    """

    latent: Latent
    seed: Seed | tuple[Seed, ...] | None = Field(
        None, description="starts the random generators; none goes on with the latent's"
    )
    source: Literal["cpu", "gpu"] = Field("cpu", description="whose numbers")

    def run(self, context: Context) -> Noise:
        from .diffusion.noise import noise, saved
        from .diffusion.philox import card_noise

        seeds = len(self.seed) if isinstance(self.seed, tuple) else 1
        count = together({"latents": len(self.latent.samples), "seeds": seeds})
        _check_source(self.seed, self.source)
        sources = random_sources(self.seed, self.latent, count)
        shape = self.latent.samples.shape[1:]
        if self.source == "cpu":
            samples = noise(sources, shape)
        else:
            samples = card_noise([source.initial_seed() for source in sources], shape)
        return Noise(samples, saved(sources))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        latent, seed = fact(known, "latent", LatentFacts), known.get("seed", 0)
        if "source" in known:
            _check_source(seed, known["source"])
        if latent is None:
            return {}
        check_seeded(latent.generators or seed is not None)
        if latent.pixels is None:
            return {}
        count = None
        if latent.count is not None and "seed" in known:
            count = together({"latents": latent.count, "seeds": len(seed) if isinstance(seed, tuple) else 1})
        height, width = (side // latent.space.factor for side in latent.pixels)
        return {"noise": NoiseFacts((latent.space.channels, height, width), count)}


class MixNoise(Node, category="sampling"):
    """Noise between two, for variations of a picture: 0 is the first, 1 the second, and all between are as strong.

    Spherical interpolation of each picture's noise (Shoemake 1985). Sampling goes on with the generators of the first.
    One picture's noise serves all of a batch.
    """

    first: Noise
    second: Noise
    amount: float = Field(0.1, ge=0, le=1, description="how much of the second")

    def run(self, context: Context) -> Noise:
        from .diffusion.noise import spherical

        firsts, seconds = self.first.samples, self.second.samples
        count = _mixed(tuple(firsts.shape[1:]), len(firsts), tuple(seconds.shape[1:]), len(seconds))
        generators = self.first.generators if len(firsts) == count else self.second.generators
        return Noise(spherical(firsts, seconds, self.amount), generators)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        first, second = fact(known, "first", NoiseFacts), fact(known, "second", NoiseFacts)
        if first is None or second is None:
            return {}
        if first.count is None or second.count is None:
            _mixed(first.shape, 1, second.shape, 1)
            return {"noise": NoiseFacts(first.shape, None)}
        return {"noise": NoiseFacts(first.shape, _mixed(first.shape, first.count, second.shape, second.count))}


SPACING_OPTIONS = ("rho", "alpha", "beta", "mu", "threshold_noise")
"""The inputs of MakeSigmas that are options of a schedule."""


def _check_spacing(known: Mapping[str, Any]) -> None:
    """Raises Wrong for noise levels that cannot be made, as far as is known."""
    denoise, strength = known.get("denoise"), known.get("strength", 1.0)
    if denoise is not None and strength < 1:
        raise Wrong("denoise", "denoise and strength are two ways to say one thing: leave one of them out")
    model, steps = fact(known, "model", Model), fact(known, "steps", int)
    if model is not None and steps is not None and part(model, steps, strength, denoise)[1] == 0:
        raise Wrong("strength", f"strength {strength:g} leaves none of {steps} steps: take {1 / steps:.2g} or more")
    scheduler = fact(known, "scheduler", str)
    if scheduler is None:
        return
    given = [name for name in SPACING_OPTIONS if known.get(name) is not None]
    _check(f"scheduler {scheduler}", given, SCHEDULES[scheduler])
    if scheduler == "align_your_steps" and model is not None and model.family not in ALIGNED:
        raise Wrong("scheduler", f"align_your_steps is for Stable Diffusion 1 and XL, not for {FAMILIES[model.family]}")


def _check(what: str, given: Any, known: tuple[str, ...]) -> None:
    """Raises Wrong for the first given option that is not known."""
    for name in given:
        try:
            check_options(what, [name], known)
        except ValueError as unknown:
            raise Wrong(name, str(unknown)) from None


def _check_source(seed: Any, source: str) -> None:
    if source == "gpu" and seed is None:
        raise Wrong("seed", "there is no seed: the generators of a latent are those of the CPU, so give a number")


def _listed(values: tuple[float, ...]) -> Sigmas:
    """Raises Wrong where the values are no noise levels."""
    rising = next((f"{later:g} comes after {sooner:g}" for sooner, later in pairwise(values) if later >= sooner), None)
    if len(values) < 2 or rising is not None or values[-1] < 0:
        why = rising or ("there are fewer than two" if len(values) < 2 else f"the last is {values[-1]:g}")
        raise Wrong("values", f"sigmas are two or more falling numbers, 0 or above: {why}")
    return Sigmas(values)


def _mixed(first: tuple[int, ...], firsts: int, second: tuple[int, ...], seconds: int) -> int:
    """For how many pictures the mixture of two noises is. Raises Wrong where they do not go together."""
    if first != second:
        raise Wrong("second", f"the second noise is for latents {second}, the first for {first}: make both alike")
    return together({"first noises": firsts, "second noises": seconds})
