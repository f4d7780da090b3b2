"""What a model sees and says at each step of a sampling, which does not change by being watched."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from latentgraph.engine.context import Context
from latentgraph.engine.node import Wrong

from ..plots.data import Table, table
from ..ports import Latent
from .denoise import Walk, sample
from .evaluate import Evaluator
from .guiding import Share
from .noise_table import NoiseTable
from .numerics import torch

if TYPE_CHECKING:
    from ..tracing import TraceSampling


class Seen(NamedTuple):
    """One evaluation of a model: its input f32[N, C, h, w], scaled as it takes it, and what it predicted."""

    timestep: float
    samples: Tensor
    prediction: Tensor


def traced(
    node: "TraceSampling", walk: Walk, generators: Sequence[torch.Generator], context: Context
) -> tuple[Latent, Latent, Latent, tuple[str, ...], Table]:
    """What the node TraceSampling gives. Raises Wrong where no step is taken."""
    watched = WatchedWalk(walk)
    latent = sample(
        node.model, node.guidance, node.latent, watched, generators, context, start=node.start, end=node.end
    )
    if not watched.seen:
        raise Wrong("strength", "no step is taken, so there is nothing to trace: take more steps, or a larger strength")
    noise = NoiseTable(node.model)
    pictures = [_picture(noise, seen) for seen in watched.seen]
    end = latent.samples if latent.unfinished is None else pictures[-1]
    distances = table(
        {
            "step": list(range(1, len(pictures) + 1)),
            "timestep": [seen.timestep for seen in watched.seen],
            "sigma": [noise.sigma(seen.timestep) for seen in watched.seen],
            "noisy picture": [_distance(seen.samples, end) for seen in watched.seen],
            "predicted picture": [_distance(picture, end) for picture in pictures],
        }
    )
    last, count = len(pictures) - 1, min(node.count, len(pictures))
    chosen = [last] if count == 1 else [round(index * last / (count - 1)) for index in range(count)]
    labels = tuple(f"{watched.seen[index].timestep:.0f}" for index in chosen)
    noisy = _by_picture([watched.seen[index].samples for index in chosen])
    predicted = _by_picture([pictures[index] for index in chosen])
    space = latent.space
    return watched.plain(latent), Latent(noisy, space), Latent(predicted, space), labels, distances


class WatchedWalk:
    """A walk that keeps the first evaluation of each of its moves, and otherwise is the one that it is given."""

    def __init__(self, walk: Walk) -> None:
        self.walk, self.seen = walk, list[Seen]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.walk, name)

    def __call__(self, evaluate: Evaluator, samples: Tensor, move: int) -> Tensor:
        watched = WatchedEvaluator(evaluate)
        moved = self.walk(watched, samples, move)  # type: ignore[arg-type]
        assert watched.first is not None
        self.seen.append(watched.first)
        return moved

    def state(self) -> Mapping[str, Any] | None:
        """What the walk remembers, and what was seen so far: who goes on after a stop has to know it as well."""
        state = self.walk.state()
        return None if state is None else {"walk": state, "seen": [tuple(seen) for seen in self.seen]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of its own, or from that of a walk which nobody watched."""
        if "seen" not in state:
            self.walk.restore(state)
            return
        self.walk.restore(state["walk"])
        self.seen = [Seen(*seen) for seen in state["seen"]]

    def plain(self, latent: Latent) -> Latent:
        """A latent that this walk left, as the walk without a watcher leaves it."""
        left = latent.unfinished
        if left is None or left.state["walk"].keys() != {"walk", "seen"}:
            return latent
        return replace(latent, unfinished=replace(left, state={**left.state, "walk": left.state["walk"]["walk"]}))


class WatchedEvaluator:
    """An evaluator that keeps the first of its evaluations, on the CPU."""

    def __init__(self, evaluate: Evaluator) -> None:
        self.evaluate = evaluate
        self.first: Seen | None = None

    @property
    def unconditional(self) -> Tensor | None:
        return self.evaluate.unconditional

    def __call__(self, samples: Tensor, timestep: Tensor, share: Share) -> Tensor:
        prediction = self.evaluate(samples, timestep, share)
        if self.first is None:
            self.first = Seen(float(timestep), samples.cpu().clone(), prediction.cpu().clone())
        return prediction


def _picture(noise: NoiseTable, seen: Seen) -> Tensor:
    """The clean picture that a prediction means."""
    sigma = noise.sigma(seen.timestep)
    samples = seen.samples if noise.flow else seen.samples * (1 + sigma**2) ** 0.5
    return noise.from_prediction(samples, sigma, seen.prediction)


def _distance(one: Tensor, other: Tensor) -> float:
    return float((one - other.cpu()).square().mean().sqrt())


def _by_picture(steps: Sequence[Tensor]) -> Tensor:
    """Latents f32[N * steps, C, h, w], all steps of one picture before those of the next, of [N, C, h, w] each."""
    return torch.stack(list(steps), dim=1).flatten(0, 1)
