"""Building diffusers' schedulers. A scheduler changes while it samples, so every run builds its own."""

import inspect
from typing import Any

import diffusers

from latentgraph.engine.diagnostics import nearest

from ..references import Model
from .samplers import OF_DIFFUSERS, PREFIX, check_options, with_options

NEEDED = ("init_noise_sigma", "order", "scale_model_input", "set_timesteps", "step")
"""What the Stable Diffusion pipelines ask of a scheduler; they give `step` three arguments."""

NEEDED_FOR_FLOW = ("order", "set_timesteps", "step")
"""What the pipelines of flow models ask."""

_ONLY = {"use_karras_sigmas": False, "use_exponential_sigmas": False, "use_beta_sigmas": False}

SPACINGS: dict[str, dict[str, Any]] = {
    "model": {},
    "karras": {**_ONLY, "use_karras_sigmas": True},
    "exponential": {**_ONLY, "use_exponential_sigmas": True},
    "beta": {**_ONLY, "use_beta_sigmas": True},
    "leading": {"timestep_spacing": "leading"},
    "linspace": {"timestep_spacing": "linspace"},
    "trailing": {"timestep_spacing": "trailing"},
}
"""The schedules that diffusers' schedulers may have, as their options."""


def new_scheduler(model: Model, sampler: str, schedule: str) -> Any:
    """A scheduler that no one has used yet.

    `diffusers:ClassName` is that class with the model's own configuration, exactly what a pipeline samples with after
    `pipeline.scheduler = ClassName.from_config(pipeline.scheduler.config)`; for a flow model, a class for both kinds is
    told so. Options in parentheses, and those that a short name stands for, are set besides.

    Raises ValueError for a class that is not there, or not for such models, an option that it does not have, and a
    spacing that it does not have.
    """
    name, options = with_options(sampler) if sampler.startswith(PREFIX) else OF_DIFFUSERS[sampler]
    found = _scheduler_class(name)
    taken = [parameter for parameter in inspect.signature(found.__init__).parameters if parameter != "self"]
    check_options(f"diffusers' {name}", options, taken)
    options = {**_for_flow(model, name, taken), **options, **_spacing(sampler, options, taken, schedule)}
    try:
        scheduler = found.from_config(configuration(model), **options)
    except (AttributeError, LookupError, NotImplementedError, TypeError, ValueError) as error:
        raise ValueError(f"diffusers' {name} cannot be made with this model's configuration: {error}") from error
    needed = NEEDED_FOR_FLOW if model.prediction == "flow" else NEEDED
    why = next((f"it has no {part}" for part in needed if not hasattr(scheduler, part)), None)
    if why is None:
        required = [p.name for p in inspect.signature(scheduler.step).parameters.values() if p.default is p.empty]
        why = None if len(required) == 3 else f"its step takes {', '.join(required)}"
    if why is not None:
        raise ValueError(f"diffusers' {name} is not made for Stable Diffusion: {why}")
    return scheduler


def own_scheduler(model: Model) -> Any:
    """The scheduler of the model's own scheduler_config.json."""
    written = model.scheduler_config
    return _scheduler_class(written.get("_class_name", "PNDMScheduler")).from_config(written)


def configuration(model: Model) -> dict[str, Any]:
    """`pipeline.scheduler.config` of a pipeline with this model: its file, the defaults of its own class filled in.

    The pipelines of Stable Diffusion 1 and 2 then correct two settings of old files, and so does this.
    """
    config = dict(own_scheduler(model).config)
    if model.family in ("sd1", "sd2"):
        if config.get("steps_offset", 1) != 1:
            config["steps_offset"] = 1
        if config.get("clip_sample") is True:
            config["clip_sample"] = False
    return config


def _spacing(sampler: str, options: dict[str, Any], taken: list[str], schedule: str) -> dict[str, Any]:
    """A schedule as options of a class that takes those."""

    def fits(wanted: dict[str, Any]) -> bool:
        return all(option in taken for option, value in wanted.items() if value)

    wanted = SPACINGS.get(schedule)
    if wanted is None or not fits(wanted):
        fitting = ", ".join(name for name, others in SPACINGS.items() if fits(others))
        raise ValueError(f"scheduler `{schedule}` does not go with sampler `{sampler}`; {fitting} do")
    twice = next((option for option in wanted if option in options), None)
    if twice is not None:
        raise ValueError(f"scheduler `{schedule}` sets {twice}, and so does sampler `{sampler}`: leave one of them out")
    return {option: value for option, value in wanted.items() if option in taken}


def _for_flow(model: Model, name: str, taken: list[str]) -> dict[str, Any]:
    """What a class has to be told for a flow model; nothing for another."""
    if model.prediction != "flow":
        if name.startswith("FlowMatch"):
            raise ValueError(f"diffusers' {name} is for flow models; this one predicts {model.prediction}")
        return {}
    if name.startswith("FlowMatch"):
        return {}
    if "use_flow_sigmas" not in taken:
        raise ValueError(
            f"diffusers' {name} is not for flow models: take FlowMatchEulerDiscreteScheduler, or a sampler without"
            f" {PREFIX}"
        )
    shift = model.scheduler_config.get("shift", 1.0)
    return {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": shift}


def _scheduler_class(name: str) -> Any:
    found = getattr(diffusers, name, None)
    if inspect.isclass(found) and issubclass(found, diffusers.SchedulerMixin):
        return found
    if found is not None and getattr(found, "_backends", None):  # diffusers' stand-in for a class it cannot import
        missing = [backend for backend in found._backends if backend != "torch"]
        raise ValueError(f"diffusers' {name} needs {' and '.join(missing)}: pip install {' '.join(missing)}")
    names = [name for name in dir(diffusers) if name.endswith("Scheduler")]
    near = nearest(name, names)
    hint = f"did you mean `{PREFIX}{near}`?" if near else f"for example `{PREFIX}EulerDiscreteScheduler`"
    raise ValueError(f"diffusers has no scheduler {name}; {hint}")
