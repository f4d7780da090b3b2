"""The noise that a model learned with: which noise level belongs to which timestep, and what its predictions mean."""

import math

import numpy
from torch import Tensor

from ..references import Model
from .numerics import torch
from .schedulers import configuration, own_scheduler

NEARLY_ALL = 2**-24
"""What is taken to be left of the picture in pure noise, which would have an infinite noise level, as in diffusers."""


class NoiseTable:
    """The noise levels (sigmas) of a model, and its predictions at each as clean pictures.

    Noisy samples are `picture + sigma * noise`, for a flow model `(1 - sigma) * picture + sigma * noise`. `sigmas`
    f32[N] are the levels of the N steps it learned, rising; between two, log sigma is linear in the timestep, which
    makes time continuous as Karras et al. 2022 need it (arXiv:2206.00364, appendix C.3). For flow models sigma is
    `shift * t / (1 + (shift - 1) * t)` of a time t in 0..1 (Esser et al. 2024, arXiv:2403.03206, 5.3.2).

    Raises ValueError for a scheduler configuration that has no such noise levels.
    """

    def __init__(self, model: Model) -> None:
        self.prediction = model.prediction
        self.flow = self.prediction == "flow"
        scheduler = own_scheduler(model)
        config = scheduler.config
        self.count = int(config.get("num_train_timesteps", 1000))
        self.first = 1 if self.flow else 0
        """The first of the times that it learned; the last is `first + count - 1`."""
        self.steps_offset = int(configuration(model).get("steps_offset", 0))
        self.family = model.family
        self.shift = 1.0
        if self.flow:
            if config.get("use_dynamic_shifting"):
                raise ValueError(
                    "the model's shift depends on the size of the picture (use_dynamic_shifting in its"
                    " scheduler_config.json): set use_dynamic_shifting to false there, and shift to a number, say 3"
                )
            self.shift = float(config.get("shift", config.get("flow_shift", 1.0)))
            self.sigmas = self._shifted(numpy.arange(1, self.count + 1, dtype=numpy.float32) / self.count)
        else:
            kept = getattr(scheduler, "alphas_cumprod", None)
            if kept is None:
                raise ValueError(
                    f"{type(scheduler).__name__} of the model's scheduler_config.json has a noise of its own kind:"
                    f" sample with `diffusers:{type(scheduler).__name__}`"
                )
            if kept[-1] == 0:
                kept = torch.cat([kept[:-1], kept.new_tensor([NEARLY_ALL])])
            self.sigmas = (((1 - kept) / kept) ** 0.5).numpy()
            if not (numpy.isfinite(self.sigmas).all() and (numpy.diff(self.sigmas) > 0).all() and self.sigmas[0] > 0):
                raise ValueError("the noise levels of the model's scheduler_config.json are no rising numbers above 0")
        self._logs = numpy.log(self.sigmas.astype(numpy.float64))

    @property
    def sigma_min(self) -> float:
        """The least noise that it learned."""
        return float(self.sigmas[0])

    @property
    def sigma_max(self) -> float:
        """The most noise that it learned."""
        return float(self.sigmas[-1])

    def sigma(self, timestep: float) -> float:
        """The noise level that the model is told by a timestep."""
        if self.flow:
            return timestep / self.count
        return float(numpy.exp(numpy.interp(timestep, numpy.arange(self.count), self._logs)))

    def timestep(self, sigma: float) -> float:
        """What the model is told at a noise level; outside of what it learned, the nearest that it did learn."""
        if self.flow:
            return sigma * self.count
        return float(numpy.interp(math.log(max(sigma, 1e-10)), self._logs, numpy.arange(self.count)))

    def at(self, times: numpy.ndarray, linear: bool = False) -> numpy.ndarray:
        """The noise levels f64 at times from `first` on, whole or between: before the shift of a flow model.

        `linear` takes sigma as linear between two timesteps, which diffusers does. Times beyond an end are that end.
        """
        if self.flow:
            return self._shifted(numpy.clip(times, 0, self.count) / self.count)
        steps = numpy.arange(self.count)
        if linear:
            return numpy.interp(times, steps, self.sigmas)
        return numpy.exp(numpy.interp(times, steps, self._logs))

    def alpha(self, sigma: float) -> float:
        """How much of the picture is in samples at a noise level."""
        return 1 - sigma if self.flow else 1.0

    def scaled_input(self, samples: Tensor, sigma: float) -> Tensor:
        """Samples as the network takes them: of variance 1, where pictures have it."""
        return samples if self.flow else samples / (torch.tensor(sigma) ** 2 + 1) ** 0.5

    def from_prediction(self, samples: Tensor, sigma: float, prediction: Tensor) -> Tensor:
        """The clean picture that a prediction means, as diffusers' EulerDiscreteScheduler computes it.

        v is of Salimans and Ho 2022 (arXiv:2202.00512, appendix D).
        """
        level = torch.tensor(sigma)  # so that its powers are rounded to float32, too
        if self.prediction in ("epsilon", "flow"):
            return samples - level * prediction
        if self.prediction == "v_prediction":
            return prediction * (-level / (level**2 + 1) ** 0.5) + (samples / (level**2 + 1))
        if self.prediction == "sample":
            return prediction
        raise ValueError(
            f"the model predicts `{self.prediction}` by its scheduler_config.json; known are epsilon, v_prediction,"
            " sample and flow"
        )

    def _shifted(self, t: numpy.ndarray) -> numpy.ndarray:
        return self.shift * t / (1 + (self.shift - 1) * t)
