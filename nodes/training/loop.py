"""One training loop for every model: it survives being killed and gives the same bits when it goes on.

What a training learns is a plain `torch.nn.Module`; what it minimises is a function that draws everything random from
the generator it is given. So the state of a training is the module, its moving average, the optimiser, the generator
and the number of steps done. A checkpoint is exactly that, and the losses so far: one safetensors file, never pickle.
"""

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..diffusion.numerics import DEVICE

CHECKPOINT = "checkpoint.safetensors"
CHECKPOINT_EVERY = 100
"""Steps from one checkpoint to the next."""


class Reporter(Protocol):
    """What a training tells about itself while it runs; a node's `Context` is one."""

    def progress(self, step: int, steps: int, message: str = "") -> None: ...

    def preview(self, image: Tensor) -> None: ...

    def check_cancelled(self) -> None: ...


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


@dataclass(frozen=True)
class Trained:
    """What a training reached: the moving average of the weights, and the loss of every step."""

    weights: dict[str, Tensor]
    losses: Tensor


def train(
    module: nn.Module,
    loss: Callable[[torch.Generator], Tensor],
    plan: Plan,
    *,
    folder: Path,
    reporter: Reporter,
    seed: int,
    sample: Callable[[], Tensor] | None = None,
    sample_every: int = 250,
) -> Trained:
    """Minimise `loss` over the parameters of `module`, going on from the checkpoint in `folder` if it holds one.

    `loss` computes one batch's scalar loss with `module`, which is on DEVICE, and draws all that is random from the
    generator, which is on the CPU. `sample`
    draws a picture, float [3, H, W] in 0..1, with the averaged weights in `module`; it must draw nothing from global
    generators. Raises FloatingPointError where the loss is no longer finite.
    """
    generator = torch.Generator().manual_seed(seed)
    module.to(DEVICE)
    optimizer = torch.optim.AdamW(
        module.parameters(), lr=plan.learning_rate, betas=plan.betas, weight_decay=plan.weight_decay, fused=True
    )
    average = {name: value.detach().clone() for name, value in module.state_dict().items()}
    losses = torch.zeros(plan.steps)
    done = _load(folder, module, average, optimizer, generator, losses)
    module.train()
    for step in range(done, plan.steps):
        reporter.check_cancelled()
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
        recent = losses[max(0, done - 50) : done].mean()
        reporter.progress(done, plan.steps, f"loss {recent:.4f}")
        if done % CHECKPOINT_EVERY == 0 or done == plan.steps:
            _save(folder, module, average, optimizer, generator, losses, done)
        if sample is not None and (done % sample_every == 0 or done == plan.steps):
            reporter.preview(_with(average, module, sample))
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


def _save(
    folder: Path,
    module: nn.Module,
    average: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    losses: Tensor,
    done: int,
) -> None:
    tensors = {"generator": generator.get_state(), "losses": losses}
    tensors |= {f"module.{name}": value.contiguous() for name, value in module.state_dict().items()}
    tensors |= {f"average.{name}": value.contiguous() for name, value in average.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value.contiguous() for name, value in state.items()}
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{CHECKPOINT}.{os.getpid()}.tmp"
    save_file(tensors, temporary, metadata={"training": json.dumps({"done": done})})
    os.replace(temporary, folder / CHECKPOINT)


def _load(
    folder: Path,
    module: nn.Module,
    average: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    losses: Tensor,
) -> int:
    """Restore what `_save` wrote; the number of steps done, 0 where there is no checkpoint."""
    for left_over in folder.glob(f"{CHECKPOINT}.*.tmp"):
        left_over.unlink()
    path = folder / CHECKPOINT
    if not path.exists():
        return 0
    with safe_open(path, framework="pt") as file:
        done = int(json.loads(file.metadata()["training"])["done"])
        states: dict[int, dict[str, Tensor]] = {}
        keys = list(file.keys())
        for key in keys:
            part, _, name = key.partition(".")
            if part == "average":
                average[name].copy_(file.get_tensor(key))
            elif part == "optimizer":
                index, _, field = name.partition(".")
                states.setdefault(int(index), {})[field] = file.get_tensor(key)
        for index, parameter in enumerate(module.parameters()):
            # In the memory format of the parameter: the optimiser goes through both side by side.
            states[index] = {
                name: torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value
                for name, value in states[index].items()
            }
        module.load_state_dict({n: file.get_tensor(f"module.{n}") for n in module.state_dict()})
        optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
        generator.set_state(file.get_tensor("generator"))
        saved = file.get_tensor("losses")[: len(losses)]
        losses[: len(saved)] = saved
    return min(done, len(losses))
