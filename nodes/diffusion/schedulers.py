"""Building diffusers' schedulers. A scheduler changes while it samples, so every run builds its own."""

import inspect
from typing import Any

import diffusers

from latentgraph.engine.diagnostics import nearest

from ..ports import Model
from .samplers import PREFIX, SAMPLERS, SCHEDULES

NEEDED = ("init_noise_sigma", "order", "scale_model_input", "set_timesteps", "step")
"""What the Stable Diffusion pipelines ask of a scheduler; they give `step` three arguments."""


def new_scheduler(model: Model, sampler: str, schedule: str) -> Any:
    """A scheduler that no one has used yet.

    `diffusers:ClassName` is that class with the model's own configuration, exactly what a pipeline samples with after
    `pipeline.scheduler = ClassName.from_config(pipeline.scheduler.config)`. Short names set a few options besides.
    Raises ValueError for a class that is not there, or not for latent diffusion, and a spacing that it does not have.
    """
    name, options = (sampler[len(PREFIX) :], {}) if sampler.startswith(PREFIX) else SAMPLERS[sampler]
    found = _scheduler_class(name)
    wanted = SCHEDULES[schedule]
    taken = inspect.signature(found.__init__).parameters
    if any(value and option not in taken for option, value in wanted.items()):
        fitting = [
            name for name, options in SCHEDULES.items() if all(key in taken for key, on in options.items() if on)
        ]
        raise ValueError(f"scheduler `{schedule}` does not go with sampler `{sampler}`; {', '.join(fitting)} do")
    options = options | {option: value for option, value in wanted.items() if option in taken}
    try:
        scheduler = found.from_config(_configuration(model), **options)
    except (AttributeError, LookupError, NotImplementedError, TypeError, ValueError) as error:
        raise ValueError(f"diffusers' {name} cannot be made with this model's configuration: {error}") from error
    why = next((f"it has no {part}" for part in NEEDED if not hasattr(scheduler, part)), None)
    if why is None:
        required = [p.name for p in inspect.signature(scheduler.step).parameters.values() if p.default is p.empty]
        why = None if len(required) == 3 else f"its step takes {', '.join(required)}"
    if why is not None:
        raise ValueError(f"diffusers' {name} is not made for Stable Diffusion: {why}")
    return scheduler


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


def _configuration(model: Model) -> dict[str, Any]:
    """`pipeline.scheduler.config` of a pipeline with this model: its file, the defaults of its own class filled in.

    The pipelines then correct two settings of old files, and so does this.
    """
    written = model.scheduler_config
    own = _scheduler_class(written.get("_class_name", "PNDMScheduler")).from_config(written)
    config = dict(own.config)
    if config.get("steps_offset", 1) != 1:
        config["steps_offset"] = 1
    if config.get("clip_sample") is True:
        config["clip_sample"] = False
    return config
