"""The names of samplers and noise schedules, in all the spellings that are common, and their options. Without torch."""

import json
import re
from collections.abc import Iterable
from typing import Any

from pydantic_core import PydanticCustomError

from latentgraph.engine.diagnostics import nearest

from ..references import Model

PREFIX = "diffusers:"

_ANCESTRAL = ("eta", "s_noise")
_CHURN = ("s_churn", "s_tmin", "s_tmax", "s_noise")

SAMPLERS: dict[str, tuple[str, ...]] = {
    "euler": _CHURN,
    "euler_ancestral": _ANCESTRAL,
    "euler_cfg_pp": (),
    "euler_ancestral_cfg_pp": _ANCESTRAL,
    "heun": _CHURN,
    "dpm_2": _CHURN,
    "dpm_2_ancestral": _ANCESTRAL,
    "dpm_fast": (),
    "dpm_adaptive": ("rtol", "atol", "h_init", "pcoeff", "icoeff", "dcoeff", "accept_safety"),
    "lms": ("order",),
    "dpmpp_2s": (),
    "dpmpp_2s_ancestral": _ANCESTRAL,
    "dpmpp_sde": (*_ANCESTRAL, "r"),
    "dpmpp_2m": (),
    "dpmpp_2m_cfg_pp": (),
    "dpmpp_2m_sde": (*_ANCESTRAL, "solver_type"),
    "dpmpp_3m_sde": _ANCESTRAL,
    "ddim": _ANCESTRAL,
    "ddpm": ("s_noise",),
    "pndm": (),
    "lcm": ("s_noise",),
    "uni_pc": ("order",),
    "uni_pc_bh2": ("order",),
    "deis": ("order",),
    "ipndm": (),
    "res_multistep": (),
    "er_sde": ("s_noise", "order"),
    "gradient_estimation": ("gamma",),
}
"""The samplers, and the options that each has."""

SCHEDULES: dict[str, tuple[str, ...]] = {
    "model": (),
    "normal": (),
    "karras": ("rho",),
    "exponential": (),
    "polyexponential": ("rho",),
    "sgm_uniform": (),
    "simple": (),
    "ddim_uniform": (),
    "beta": ("alpha", "beta"),
    "linear_quadratic": ("threshold_noise",),
    "kl_optimal": (),
    "align_your_steps": (),
    "laplace": ("mu", "beta"),
    "leading": (),
    "linspace": (),
    "trailing": (),
}
"""How the steps may be spaced, and the options that each schedule has."""

OF_DIFFUSERS: dict[str, tuple[str, dict[str, Any]]] = {
    "dpmpp_2s": ("DPMSolverSinglestepScheduler", {"algorithm_type": "dpmsolver++", "solver_order": 2}),
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True}),
}
"""Samplers by short names that are diffusers' own: the class, and what is set beside the model's configuration."""

SPELLINGS: dict[str, str] = {
    "euler_a": "euler_ancestral",
    "euler_cfg++": "euler_cfg_pp",
    "euler_a_cfg++": "euler_ancestral_cfg_pp",
    "dpm2": "dpm_2",
    "dpm_2_a": "dpm_2_ancestral",
    "dpm2_a": "dpm_2_ancestral",
    "kdpm_2": "dpm_2",
    "kdpm_2_a": "dpm_2_ancestral",
    "dpm_ad": "dpm_adaptive",
    "dpmpp_2s_a": "dpmpp_2s_ancestral",
    "dpmpp_sde_gpu": "dpmpp_sde",
    "dpmpp_2m_sde_gpu": "dpmpp_2m_sde",
    "dpmpp_3m_sde_gpu": "dpmpp_3m_sde",
    "dpmpp_2m_cfg++": "dpmpp_2m_cfg_pp",
    "plms": "pndm",
    "unipc": "uni_pc",
    "unipc_bh2": "uni_pc_bh2",
    "dpmpp_3m": f"{PREFIX}DPMSolverMultistepScheduler(solver_order=3)",
    "tcd": f"{PREFIX}TCDScheduler",
}
"""Samplers as ComfyUI, A1111 and InvokeAI call them besides, folded: `DPM++ 2S a` is `dpmpp_2s_a` then."""

SUFFIXES: dict[str, str] = {
    "k": "karras",
    "ka": "karras",
    "uniform": "normal",
    "ddim": "ddim_uniform",
    **{name: name for name in SCHEDULES if name != "model"},
}
"""What stands behind a sampler's name for a schedule: `DPM++ 2M Karras`, `k_dpmpp_2m_ka`, `dpmpp_2m_k`."""


def known_sampler(name: str) -> str:
    """A sampler's own name, for any spelling of it; behind a blank the schedule, where the spelling names one.

    `diffusers:ClassName(option=value, …)` stays, its options sorted. Raises an error with the nearest name for others.
    """
    found, schedule = _read(name)
    return found if schedule is None else f"{found} {schedule}"


def resolved(sampler: str, scheduler: str) -> tuple[str, str]:
    """The sampler's own name, and the schedule, which the sampler's name may say instead: `DPM++ 2M Karras`.

    Raises an error where the two name different ones.
    """
    name, schedule = _read(sampler)
    if schedule is None:
        return name, scheduler
    if scheduler not in ("model", schedule):
        raise PydanticCustomError(
            "two_schedules",
            "sampler `{sampler}` asks for scheduler `{schedule}`, not `{scheduler}`: write `{name}` for the sampler",
            {"sampler": sampler, "schedule": schedule, "scheduler": scheduler, "name": name},
        )
    return name, schedule


def part(model: Model, steps: int, strength: float | None, denoise: float | None) -> tuple[int, int]:
    """How many steps the whole way from noise to picture has, and how many of them, the last ones, are taken."""
    if denoise is not None:
        return int(steps / denoise), steps
    if strength is None:
        return steps, steps
    if model.family == "sd3":  # diffusers rounds the other way there
        return steps, steps - int(max(steps - min(steps * strength, steps), 0))
    return steps, min(int(steps * strength), steps)


def with_options(name: str) -> tuple[str, dict[str, Any]]:
    """The class that `diffusers:ClassName(option=value, …)` names, and the options: values as in JSON.

    Raises an error that shows what is no option.
    """
    match = re.fullmatch(r"(\w+)\s*(?:\((.*)\))?\s*", name.removeprefix(PREFIX).strip(), re.DOTALL)
    if match is None:
        raise _unreadable(name, "write it as ClassName(option=value, option=value)")
    rest, options = match[2] or "", {}
    while rest.strip():
        start = re.match(r"\s*(\w+)\s*=\s*", rest)
        if start is None:
            raise _unreadable(name, f"`{rest.strip()[:40]}` does not begin with option=")
        try:
            value, end = json.JSONDecoder(parse_constant=_no_number).raw_decode(rest, start.end())
        except ValueError:
            value, end = {}, start.end()
        if isinstance(value, dict):
            shown = rest[start.end() :].split(",")[0].strip()[:40]
            raise _unreadable(name, f"{start[1]} is `{shown}`, but takes a number, true, false, null, a text or a list")
        if start[1] in options:
            raise _unreadable(name, f"{start[1]} is said twice")
        options[start[1]] = value
        comma = re.match(r"\s*(,|$)", rest[end:])
        if comma is None:
            raise _unreadable(name, f"a comma has to stand before `{rest[end:].strip()[:40]}`")
        rest = rest[end + comma.end() :]
    return match[1], options


def check_options(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raises ValueError for the first of the given options that is not known, with the nearest that is."""
    several = list(known)
    for name in given:
        if name not in several:
            near = nearest(name, several)
            hint = f"did you mean `{near}`?" if near else f"it has {', '.join(several) or 'none'}"
            raise ValueError(f"{what} has no option `{name}`; {hint}")


def _read(name: str) -> tuple[str, str | None]:
    """The sampler's own name, and the schedule that a spelling names."""
    if name.startswith(PREFIX):
        rest, _, last = name.rpartition(" ")
        return (_canonical(rest), last) if last in SCHEDULES else (_canonical(name), None)
    folded = re.sub(r"[\s_-]+", "_", name.strip().casefold()).replace("dpm++", "dpmpp")
    for spelling in (folded, folded.removeprefix("k_")):
        for sampler, schedule in _splits(spelling):
            if sampler in SAMPLERS:
                return sampler, schedule
            if sampler in SPELLINGS:
                return SPELLINGS[sampler], schedule
    near = nearest(folded, [*SAMPLERS, *SPELLINGS])
    hint = f"did you mean `{near}`?" if near else f"it is one of {', '.join(SAMPLERS)}, or {PREFIX}ClassName"
    raise PydanticCustomError("not_a_choice", "no sampler is called `{name}`; {hint}", {"name": name, "hint": hint})


def _splits(spelling: str) -> Iterable[tuple[str, str | None]]:
    """The whole as a sampler; then each way to part it into a sampler and a schedule."""
    yield spelling, None
    for suffix, schedule in SUFFIXES.items():
        if spelling.endswith(f"_{suffix}"):
            yield spelling.removesuffix(f"_{suffix}"), schedule


def _canonical(name: str) -> str:
    found, options = with_options(name)
    listed = ", ".join(f"{option}={json.dumps(value)}" for option, value in sorted(options.items()))
    return f"{PREFIX}{found}({listed})" if options else f"{PREFIX}{found}"


def _unreadable(name: str, why: str) -> PydanticCustomError:
    return PydanticCustomError("sampler_options", "`{name}` cannot be read: {why}", {"name": name, "why": why})


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")
