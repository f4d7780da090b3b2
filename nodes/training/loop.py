"""One training loop for every model: it survives being killed and gives the same bits when it goes on.

What a training learns is a plain `torch.nn.Module`; what it minimises is a function that draws everything random from
the generator it is given. So the state of a training is the module, its moving average, the optimiser, the generator,
the number of steps done, and the losses so far. It is kept under a key that covers what was consumed up to there: a
longer training goes on from a shorter one, as long as both learned at the same rates.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from latentgraph.engine import Context, Node
from latentgraph.engine.digest import digest

from ..diffusion.noise import restored, saved
from ..diffusion.numerics import DEVICE
from ..states import TrainingState

KEPT_EVERY = 100
"""Steps from one state that is kept to the next."""

LATER = {"steps", "learning_rate", "decay", "prompts"}
"""Inputs of trainings that only the plan and the sample pictures are made of."""


@dataclass(frozen=True)
class Plan:
    """How long and how fast a training learns.

    The learning rate rises linearly over `warmup` steps, stays, and falls as a half cosine over the last `decay` share
    of the steps (the warm-up, stable, decay schedule of Hu et al. 2024, MiniCPM, arXiv:2404.06395). The moving average
    of the weights forgets at `min(ema, (1 + step) / (10 + step))`, so that it starts quickly.
    """

    steps: int
    learning_rate: float
    warmup: int = 100
    decay: float = 0.3
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.999

    def rate(self, step: int) -> float:
        """The learning rate of step `step`, counted from 0."""
        warm = min(1.0, (step + 1) / max(1, self.warmup))
        falling = max(1, round(self.steps * self.decay))
        left = min(1.0, (self.steps - step) / falling)
        return self.learning_rate * warm * 0.5 * (1 - math.cos(math.pi * left))

    def forgetting(self, step: int) -> float:
        return min(self.ema, (1 + step) / (10 + step))

    def keys(self, covered: object) -> list[str]:
        """What a training has consumed, besides what `covered` says, before each step and after the last.

        Of the plan that is the rates up to there, whatever it makes them of.
        """
        keys = [digest([covered, self.betas, self.weight_decay, self.clip])]
        for step in range(self.steps):
            keys.append(digest([keys[-1], self.rate(step), self.forgetting(step)]))
        return keys


@dataclass(frozen=True)
class Trained:
    """What a training reached: the moving average of the weights, and the loss of every step."""

    weights: dict[str, Tensor]
    losses: Tensor


def consumed(node: Node) -> object:
    """What decides the state of a training besides its plan: the other inputs of the node."""
    inputs = {name: getattr(node, name) for name in node.inputs() if name not in LATER}
    return [type(node).__name__, inputs]


def train(
    module: nn.Module,
    loss: Callable[[torch.Generator], Tensor],
    plan: Plan,
    *,
    context: Context,
    covered: object,
    seed: int,
    sample: Callable[[], Tensor] | None = None,
    sample_every: int = 250,
) -> Trained:
    """Minimise `loss` over the parameters of `module`, going on from the state that the context has kept, if any.

    `loss` computes one batch's scalar loss with `module`, which is on DEVICE, and draws all that is random from the
    generator, which is on the CPU. `covered` is what decides the first weights and the losses. `sample` draws a
    picture, float [3, H, W] in 0..1, with the averaged weights in `module`; it must draw nothing from global
    generators. Raises FloatingPointError where the loss is no longer finite.
    """
    generator = torch.Generator().manual_seed(seed)
    module.to(DEVICE)
    optimizer = torch.optim.AdamW(
        module.parameters(), lr=plan.learning_rate, betas=plan.betas, weight_decay=plan.weight_decay, fused=True
    )
    average = {name: value.detach().clone() for name, value in module.state_dict().items()}
    losses = torch.zeros(plan.steps)
    keys = plan.keys([covered, seed])
    done = 0
    state = context.resume(reversed(keys))
    if isinstance(state, TrainingState):
        done = state.steps
        losses[:done] = state.losses
        _restore(state, module, average, optimizer)
        (generator,) = restored([state.generator])
    module.train()
    for step in range(done, plan.steps):
        for group in optimizer.param_groups:
            group["lr"] = plan.rate(step)
        value = loss(generator)
        optimizer.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(module.parameters(), plan.clip)
        optimizer.step()
        _follow(average, module, plan.forgetting(step))
        losses[step] = value.detach()
        if not math.isfinite(losses[step]):
            raise FloatingPointError(f"the loss became {losses[step]:g} at step {step}; lower the learning rate")
        done = step + 1
        if done % KEPT_EVERY == 0 or done == plan.steps or context.cancelled:
            context.save(keys[done], _state(done, module, average, optimizer, generator, losses[:done]))
        recent = losses[max(0, done - 50) : done].mean()
        context.progress(done, plan.steps, f"loss {recent:.4f}")
        if sample is not None and (done % sample_every == 0 or done == plan.steps):
            context.preview(_with(average, module, sample))
    return Trained(average, losses)


def _follow(average: dict[str, Tensor], module: nn.Module, forgetting: float) -> None:
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                average[name].lerp_(value, 1 - forgetting)
            else:
                average[name].copy_(value)


def _with(weights: dict[str, Tensor], module: nn.Module, call: Callable[[], Tensor]) -> Tensor:
    """What `call` gives while `module` holds `weights`; afterwards it holds its own again."""
    own = {name: value.clone() for name, value in module.state_dict().items()}
    module.load_state_dict(weights)
    module.eval()
    try:
        with torch.no_grad():
            return call().cpu()
    finally:
        module.load_state_dict(own)
        module.train()


def _state(
    done: int,
    module: nn.Module,
    average: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    losses: Tensor,
) -> TrainingState:
    moments = optimizer.state_dict()["state"]
    return TrainingState(
        done,
        _copied(module.state_dict()),
        _copied(average),
        tuple(_copied(moments[index]) for index in sorted(moments)),
        *saved([generator]),
        losses.clone(),
    )


def _copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}


def _restore(
    state: TrainingState, module: nn.Module, average: dict[str, Tensor], optimizer: torch.optim.Optimizer
) -> None:
    """Give the weights, their average and the optimiser what they had."""
    module.load_state_dict(dict(state.weights))
    for name, value in state.average.items():
        average[name].copy_(value)
    moments = {}
    for index, parameter in enumerate(module.parameters()):
        # In the memory format of the parameter: the optimiser goes through both side by side.
        moments[index] = {
            name: torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value
            for name, value in state.optimizer[index].items()
        }
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
