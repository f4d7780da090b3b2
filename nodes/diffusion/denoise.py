"""The sampling loop: from noise, from a picture with noise, or from where another sampling left."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from latentgraph.engine.context import Context
from latentgraph.engine.digest import digest
from latentgraph.engine.node import Wrong

from ..facts import check_drawn_by, check_strength, together
from ..guides import Conditioning, Guidance
from ..ports import Latent, Unfinished
from ..references import Model
from .evaluate import Evaluator, evaluating, texts_in
from .noise import noise, saved
from .numerics import DEVICE, torch
from .previews import Teller
from .resuming import Resuming

NEAR = 0.02
"""By how much of itself the noise level at which a sampling begins may differ from that of the latent."""


class Walk(Protocol):
    """The way from noise to a picture in `steps` steps, of which the first `begin` are left out; made move by move."""

    steps: int
    begin: int

    @property
    def schedule(self) -> object: ...
    def move(self, step: int) -> int: ...
    def sigma(self, move: int) -> float: ...
    def scale(self, move: int) -> float: ...
    def from_noise(self, noise: Tensor) -> Tensor: ...
    def noised(self, picture: Tensor, noise: Tensor, move: int) -> Tensor: ...
    def enter(self, move: int) -> None: ...
    def __call__(self, evaluate: Evaluator, samples: Tensor, move: int) -> Tensor: ...
    def state(self) -> Mapping[str, Any] | None: ...
    def restore(self, state: Mapping[str, Any]) -> None: ...


def batch_size(guidance: Guidance | Conditioning, latent: Latent, seeds: int = 1) -> int:
    """How many pictures are drawn at once. Raises ValueError where texts, latents and seeds do not go together."""
    return together({"texts": texts_in(guidance), "latents": len(latent.samples), "seeds": seeds})


@torch.no_grad()
def sample(
    model: Model,
    guidance: Guidance | Conditioning,
    latent: Latent,
    walk: Walk,
    generators: Sequence[torch.Generator],
    context: Context,
    *,
    start: int | None = None,
    end: int | None = None,
    drawn: Tensor | None = None,
) -> Latent:
    """Draw one picture with each generator, from step `start` of the walk to `end` (by default all that it has).

    An empty canvas is filled from noise alone, to a picture noise is added, and a latent that another sampling left
    unfinished goes on as it is; by the same model, sampler and schedule to the very bits of a sampling at one go.
    `drawn` f32[N, C, h, w] is the noise to begin with, where it was drawn already. Tells the context at the start and
    after each move, and goes on from the state that it has kept.

    Raises ValueError for parts that do not belong together.
    """
    check_drawn_by(latent.space, model.space)
    check_strength(latent.empty, 0.0 if walk.begin else 1.0)
    count, left = len(generators), latent.unfinished
    kept = latent.samples.expand(count, -1, -1, -1).contiguous()
    solver = digest([model, walk.schedule])
    start = _start(walk, latent, solver) if start is None else start
    end = walk.steps if end is None else min(end, walk.steps)
    if start < walk.begin or start > end:
        raise ValueError(f"steps {start} to {end} are none of those from {walk.begin} to {walk.steps}")
    if start == end:
        return Latent(kept, model.space, latent.empty, saved(generators), latent.inpaint, left)
    first, last = walk.move(start), walk.move(end)
    on = left if left is not None and left.solver == solver and left.step == start else None
    covered = [model, guidance, latent, walk.schedule, start, drawn, saved(generators)]
    inpaint = latent.inpaint
    if left is None or (on is None and inpaint is not None):
        drawn = noise(generators, kept.shape[1:]) if drawn is None else drawn.expand(count, -1, -1, -1).contiguous()
        if inpaint is not None and inpaint.masked is not None:
            noise(generators, kept.shape[1:])  # what the masked picture's latents were drawn with, which comes after it
        drawn = drawn.to(DEVICE)
    if first:
        walk.enter(first)
    samples = kept.to(DEVICE)
    if left is not None:
        _check_level(left.sigma, walk.sigma(first), start)
        samples = samples * (walk.scale(first) / left.scale)
    elif latent.empty or (inpaint is not None and start == 0):
        samples = walk.from_noise(drawn)
    else:
        samples = walk.noised(samples, drawn, first)
    keep = _Keep(latent, count) if inpaint is not None and model.channels == model.space.channels else None
    with evaluating(model, guidance, count, latent.pixels, inpaint) as evaluate:
        if on is not None:
            drawn = _restore(walk, evaluate, on.state)
        resuming = Resuming(context, generators, covered)
        made = first
        state = resuming.resumed(last - first)
        if state is not None:
            made, samples = first + state.moves, state.samples.to(DEVICE)
            drawn = _restore(walk, evaluate, state.state)
        tell = Teller(context, model.space, end - start)
        tell((made - first) * (end - start) // (last - first), samples)
        while made < last:
            samples = walk(evaluate, samples, made)
            made += 1
            if keep is not None:
                samples = keep(walk, samples, drawn, made)
            resuming.reached(made - first, samples, lambda: _state(walk, evaluate, drawn if inpaint else None))
            tell((made - first) * (end - start) // (last - first), samples)
        unfinished = None
        if walk.sigma(last):
            remembered = _state(walk, evaluate, drawn if inpaint else None)
            if remembered is None:
                raise ValueError("this sampler cannot be stopped between steps: what it remembers is no data")
            unfinished = Unfinished(end, walk.sigma(last), walk.scale(last), solver, remembered)
    still = inpaint if unfinished else None
    return Latent(samples, model.space, generators=saved(generators), inpaint=still, unfinished=unfinished)


class _Keep:
    """Puts back what is to stay of a picture after each move, with the noise of that moment.

    As diffusers' StableDiffusionInpaintPipeline does for models that are not made for inpainting (RePaint, Lugmayr et
    al. 2022, arXiv:2201.09865, without its repetitions).
    """

    def __init__(self, latent: Latent, count: int) -> None:
        inpaint = latent.inpaint
        if inpaint is None or inpaint.original is None:
            raise ValueError(
                "nothing is left of the picture, which only models for inpainting draw anew: set `whole` of"
                " VAEEncodeInpaint to false"
            )
        self.mask = inpaint.mask.expand(count, -1, -1, -1).to(DEVICE)
        self.original = inpaint.original.expand(count, -1, -1, -1).contiguous().to(DEVICE)

    def __call__(self, walk: Walk, samples: Tensor, drawn: Tensor | None, move: int) -> Tensor:
        assert drawn is not None
        return (1 - self.mask) * walk.noised(self.original, drawn, move) + self.mask * samples


def _start(walk: Walk, latent: Latent, solver: str) -> int:
    """Where to begin, where nothing is said: where the latent was left by the same sampling, else at the beginning."""
    left = latent.unfinished
    if left is None:
        return walk.begin
    if left.solver != solver:
        raise Wrong(
            "start",
            f"the latent was left after step {left.step} by another sampling: say with start which step comes next",
        )
    return left.step


def _check_level(left: float, begins: float, start: int) -> None:
    if abs(left - begins) > NEAR * max(left, begins):
        raise Wrong(
            "start",
            f"the latent was left at sigma {left:.4g}, but step {start} begins at {begins:.4g}: choose the step that"
            " begins there, and as many steps as the sampling had that left it",
        )


def _state(walk: Walk, evaluate: Evaluator, drawn: Tensor | None) -> dict[str, Any] | None:
    """All that is remembered from move to move, on the CPU; None where that is no data."""
    remembered = walk.state()
    if remembered is None:
        return None
    noise = None if drawn is None else drawn.cpu()
    memory = {name: value.cpu() if isinstance(value, Tensor) else value for name, value in evaluate.memory.items()}
    return {"walk": remembered, "guidance": memory, "noise": noise}


def _restore(walk: Walk, evaluate: Evaluator, state: Mapping[str, Any]) -> Tensor | None:
    """Go on from a state; gives the noise of the beginning, where it is still needed."""
    walk.restore(state["walk"])
    evaluate.memory.update(
        {name: value.to(DEVICE) if isinstance(value, Tensor) else value for name, value in state["guidance"].items()}
    )
    drawn: Tensor | None = state["noise"]
    return None if drawn is None else drawn.to(DEVICE)
