"""The names of samplers and noise schedules, and the diffusers schedulers that they stand for. Light: no torch."""

from typing import Any

from pydantic_core import PydanticCustomError

from latentgraph.engine.diagnostics import nearest

PREFIX = "diffusers:"

# Predicted pictures are latents, which go well beyond -1..1: clipping them there, the default of these classes, is for
# models that draw pixels.
_UNCLIPPED = {"clip_sample": False}

SAMPLERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", _UNCLIPPED),
    "ddpm": ("DDPMScheduler", _UNCLIPPED),
    "deis": ("DEISMultistepScheduler", {}),
    "dpm_2": ("KDPM2DiscreteScheduler", {}),
    "dpm_2_ancestral": ("KDPM2AncestralDiscreteScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++", "solver_order": 2}),
    "dpmpp_2m_sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++", "solver_order": 2}),
    "dpmpp_2s": ("DPMSolverSinglestepScheduler", {"algorithm_type": "dpmsolver++", "solver_order": 2}),
    "dpmpp_sde": ("DPMSolverSDEScheduler", {}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_ancestral": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "lcm": ("LCMScheduler", _UNCLIPPED),
    "lms": ("LMSDiscreteScheduler", {}),
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True}),
    "uni_pc": ("UniPCMultistepScheduler", {}),
}
"""Short names: the diffusers class, and what is set beside the model's own configuration."""

SCHEDULES: dict[str, dict[str, Any]] = {
    "model": {},
    "karras": {"use_karras_sigmas": True, "use_exponential_sigmas": False, "use_beta_sigmas": False},
    "exponential": {"use_karras_sigmas": False, "use_exponential_sigmas": True, "use_beta_sigmas": False},
    "beta": {"use_karras_sigmas": False, "use_exponential_sigmas": False, "use_beta_sigmas": True},
    "leading": {"timestep_spacing": "leading"},
    "linspace": {"timestep_spacing": "linspace"},
    "trailing": {"timestep_spacing": "trailing"},
}
"""How the steps are spaced, as options of diffusers' schedulers."""


def known_sampler(name: str) -> str:
    """`name` where it is a short name or names a diffusers class; an error with the nearest short name otherwise."""
    if name in SAMPLERS or name.startswith(PREFIX):
        return name
    near = nearest(name, SAMPLERS)
    hint = f"did you mean `{near}`?" if near else f"it is one of {', '.join(SAMPLERS)}, or {PREFIX}ClassName"
    raise PydanticCustomError("not_a_choice", "no sampler is called `{name}`; {hint}", {"name": name, "hint": hint})
