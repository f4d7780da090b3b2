"""Measuring a denoiser against noise that is known, and pictures against data."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from latentgraph.engine.node import Wrong

from ..diffusion.evaluate import evaluating, texts_in
from ..diffusion.guiding import Share
from ..diffusion.noise import generators, noise
from ..diffusion.numerics import DEVICE
from ..diffusion.schedulers import new_scheduler
from ..facts import check_drawn_by, together
from ..guides import Conditioning, Guidance
from ..ports import Latent
from ..references import Model


class Noisy(NamedTuple):
    """Latents with noise of a timestep, and what they were made of; each f32[N, C, h, w]."""

    samples: Tensor
    clean: Tensor
    noise: Tensor
    signal: float
    """sqrt(abar_t), the share of the clean latents."""
    noisiness: float
    """sqrt(1 - abar_t), the share of the noise."""

    def read(self, predicted: Tensor, kind: str) -> tuple[Tensor, Tensor]:
        """The clean latents and the noise that a prediction means (Salimans and Ho 2022, arXiv:2202.00512, 4, D)."""
        if kind == "epsilon":
            return (self.samples - self.noisiness * predicted) / self.signal, predicted
        if kind == "sample":
            return predicted, (self.samples - self.signal * predicted) / self.noisiness
        clean = self.signal * self.samples - self.noisiness * predicted
        return clean, self.signal * predicted + self.noisiness * self.samples

    def wanted(self, kind: str) -> Tensor:
        """What a network learns to predict."""
        if kind == "epsilon":
            return self.noise
        return self.clean if kind == "sample" else self.signal * self.noise - self.noisiness * self.clean


class Bench:
    """A denoiser with clean latents to which noise is added; the noise is the same at all timesteps."""

    def __init__(self, model: Model, latent: Latent, seed: int, count: int, evaluate: Any) -> None:
        self.kind, self.evaluate = model.prediction, evaluate
        self.schedule = new_scheduler(model, "diffusers:DDIMScheduler", "model")
        clean = latent.samples.expand(count, -1, -1, -1).contiguous()
        self.noise = noise(generators(seed, count), clean.shape[1:]).to(DEVICE)
        self.clean = clean.to(DEVICE)

    def noisy(self, timestep: int) -> Noisy:
        at = torch.tensor([timestep])
        samples = self.schedule.add_noise(self.clean, self.noise, at.expand(len(self.clean)))
        kept = float(self.schedule.alphas_cumprod[timestep])
        return Noisy(samples, self.clean, self.noise, kept**0.5, (1 - kept) ** 0.5)

    def predicted(self, noisy: Noisy, told: int) -> Tensor:
        """What the network predicts of noisy latents when it is told a timestep."""
        self.evaluate.memory.clear()  # of a guidance with momentum, each prediction is a first one
        given: Tensor = self.evaluate(noisy.samples, torch.tensor(told, device=DEVICE), Share(0, 1))
        return given


@contextmanager
def bench(
    model: Model, guidance: Guidance | Conditioning, latent: Latent, timesteps: Sequence[int], seed: int
) -> Iterator[Bench]:
    """A bench for a model. Raises Wrong for what cannot be measured."""
    if model.prediction == "flow":
        raise Wrong("model", "the model is a flow model, which has no such timesteps")
    if latent.empty or latent.unfinished is not None:
        raise Wrong("latent", "there is no picture in the latent to add noise to: link a VAEEncode of pictures")
    check_drawn_by(latent.space, model.space)
    if not timesteps:
        raise Wrong("timesteps", "there are no timesteps to measure at")
    steps = int(model.scheduler_config.get("num_train_timesteps", 1000))
    for timestep in timesteps:
        if not 0 <= timestep < steps:
            raise Wrong("timesteps", f"{timestep} is no timestep of the model, which has 0 to {steps - 1}")
    count = together({"texts": texts_in(guidance), "latents": len(latent.samples)})
    with torch.no_grad(), evaluating(model, guidance, count, latent.pixels) as evaluate:
        yield Bench(model, latent, seed, count, evaluate)


def root_mean_square(values: Tensor) -> float:
    return float(values.double().square().mean().sqrt())


def correlation(first: Tensor, second: Tensor) -> float:
    """The mean over pictures [N, …] of Pearson's correlation between the numbers of one and those of the other."""
    one, other = first.double().flatten(1), second.double().flatten(1)
    one, other = one - one.mean(1, keepdim=True), other - other.mean(1, keepdim=True)
    return float(torch.nn.functional.cosine_similarity(one, other).mean())


class Found(NamedTuple):
    """What was found at one timestep."""

    loss: float
    error: float
    correlation: float
    already: float


def denoised(tested: Bench, timesteps: Sequence[int], report: Callable[[int, int], None]) -> list[Found]:
    """How well a network tells noise from picture, told the truth: at each of the timesteps."""
    found = []
    for done, timestep in enumerate(timesteps, 1):
        noisy = tested.noisy(timestep)
        predicted = tested.predicted(noisy, timestep)
        clean, seen = noisy.read(predicted, tested.kind)
        loss = float((predicted - noisy.wanted(tested.kind)).square().mean())
        error = root_mean_square(clean - noisy.clean)
        found.append(Found(loss, error, correlation(seen, noisy.noise), correlation(noisy.samples, noisy.noise)))
        report(done, len(timesteps))
    return found


def misled(
    tested: Bench, timesteps: Sequence[int], report: Callable[[int, int], None]
) -> tuple[list[list[float]], list[Tensor]]:
    """The error of the predicted picture at each timestep (rows), told each of them (columns); and the first pictures.

    The prediction is read by the real timestep: only the network is told another one.
    """
    errors, shown = [], []
    for done, timestep in enumerate(timesteps, 1):
        noisy = tested.noisy(timestep)
        row, pictures = [], []
        for told in timesteps:
            clean, _ = noisy.read(tested.predicted(noisy, told), tested.kind)
            row.append(root_mean_square(clean - noisy.clean))
            pictures.append(clean[0].float().cpu())
        errors.append(row)
        shown.append(torch.stack(pictures))
        report(done, len(timesteps))
    return errors, shown


def nearest(pictures: Tensor, data: Tensor) -> tuple[Tensor, list[float]]:
    """For each of pictures f32[N, 3, H, W] in 0..1 the nearest of data uint8 [M, 3, …], and how far it is.

    Data are made as small as the pictures are. The distance is the root of the mean squared difference.
    """
    wanted, size = pictures.flatten(1), tuple(pictures.shape[2:])
    best, found = torch.full((len(wanted),), float("inf")), torch.zeros_like(pictures)
    for start in range(0, len(data), 1000):
        part = data[start : start + 1000].float().div(255)
        if tuple(part.shape[2:]) != size:
            part = torch.nn.functional.interpolate(part, size, mode="area")
        # Products are quick, but lose digits: they choose, and the distance is computed again.
        index = torch.cdist(wanted, part.flatten(1), compute_mode="use_mm_for_euclid_dist").argmin(1)
        least = (wanted - part[index].flatten(1)).square().mean(1).sqrt()
        closer = least < best
        best = torch.where(closer, least, best)
        found = torch.where(closer[:, None, None, None], part[index], found)
    return found, best.tolist()
