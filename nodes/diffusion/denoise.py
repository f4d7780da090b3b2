"""The sampling loop, and the guidance that it follows at each step."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from latentgraph.engine.context import Context

from ..facts import check_drawn_by, check_strength, check_width, together
from ..ports import CFG, Conditioning, Guidance, Latent, Model, Space
from .noise import noise, saved
from .numerics import DEVICE
from .resuming import Resuming
from .weights import load_unet

Prediction = Callable[[Tensor, Tensor], Tensor]
"""What a model predicts for samples [N, C, h, w] at a timestep: noise, v or the picture, as its schedule says."""

RGB = {
    Space(4, 8, 0.18215): (  # fitted by least squares to Stable Diffusion 1's VAE
        (0.3512, 0.2297, 0.3227),
        (0.3250, 0.4974, 0.2350),
        (-0.2829, 0.1762, 0.2721),
        (-0.2120, -0.2616, -0.7177),
    )
}
"""Linear approximations of decoders, for previews: one row of red, green and blue for each latent channel."""


def batch_size(guidance: Guidance | Conditioning, latent: Latent, seeds: int = 1) -> int:
    """How many pictures are drawn at once. Raises ValueError where texts, latents and seeds do not go together."""
    return together({"texts": _texts(guidance), "latents": len(latent.samples), "seeds": seeds})


@torch.no_grad()
def sample(
    model: Model,
    guidance: Guidance | Conditioning,
    latent: Latent,
    scheduler: Any,
    generators: Sequence[torch.Generator],
    *,
    steps: int,
    strength: float,
    context: Context,
) -> Latent:
    """Draw one picture with each generator: from noise on an empty canvas, else from the latent with noise added.

    `strength` is the share of the steps taken. Tells the context at the start and after each evaluation of the model,
    and goes on from the state that it has kept. As the Stable Diffusion pipelines of diffusers do it, to the last bit.
    """
    check_drawn_by(latent.space, model.space)
    check_strength(latent.empty, strength)
    if not latent.empty and not hasattr(scheduler, "add_noise"):
        raise ValueError(
            f"{type(scheduler).__name__} cannot add noise to a picture, it only starts from an empty latent"
        )
    count = len(generators)
    predict = predictor(model, guidance, count)
    start = steps - min(int(steps * strength), steps)
    if start == steps:
        kept = latent.samples.expand(count, -1, -1, -1)
        return Latent(kept, model.space, generators=saved(generators))
    scheduler.set_timesteps(steps, device=DEVICE)
    timesteps = scheduler.timesteps[start * scheduler.order :]
    config = {name: value for name, value in scheduler.config.items() if not name.startswith("_")}
    schedule = [type(scheduler).__name__, config, scheduler.timesteps.cpu(), steps, start]
    covered = [model, guidance, latent.samples, latent.empty, saved(generators), *schedule]
    drawn = noise(generators, latent.samples.shape[1:]).to(DEVICE)
    if latent.empty:
        samples = drawn * scheduler.init_noise_sigma
    else:
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(start * scheduler.order)
        kept = latent.samples.expand(count, -1, -1, -1).contiguous().to(DEVICE)
        samples = scheduler.add_noise(kept, drawn, timesteps[:1].repeat(count))
    options = _step_options(scheduler, generators)
    # A scheduler may evaluate the model several times a step, or once more than there are steps.
    evaluations, shown = len(timesteps), steps - start
    resuming = Resuming(context, scheduler, generators, covered)
    made, samples = resuming.resumed() or (0, samples)
    _tell(context, model, made * shown // evaluations, shown, samples)
    for timestep in timesteps[made:]:
        prediction = predict(scheduler.scale_model_input(samples, timestep), timestep)
        samples = scheduler.step(prediction, timestep, samples, **options, return_dict=False)[0]
        made += 1
        resuming.reached(made, samples)
        _tell(context, model, made * shown // evaluations, shown, samples)
    return Latent(samples, model.space, generators=saved(generators))


def predictor(model: Model, guidance: Guidance | Conditioning, count: int) -> Prediction:
    """What the model predicts for `count` pictures under a guidance. Raises ValueError for what does not fit it."""
    unet = load_unet(model)

    def evaluate(samples: Tensor, timestep: Tensor, tokens: Tensor) -> Tensor:
        predicted: Tensor = unet(samples, timestep, encoder_hidden_states=tokens, return_dict=False)[0]
        return predicted

    if isinstance(guidance, Conditioning):
        tokens = _tokens(model, guidance, count)
        return lambda samples, timestep: evaluate(samples, timestep, tokens)
    if not isinstance(guidance, CFG):
        raise ValueError(f"the sampler cannot follow a guidance of type {type(guidance).__name__}")
    if guidance.scale == 1:
        return predictor(model, guidance.positive, count)
    if guidance.negative is None:
        raise ValueError(
            f"guidance at scale {guidance.scale:g} compares with a negative, and there is none: link a CLIPEncode of"
            ' the text "" to it, or set the scale to 1'
        )
    if guidance.scale == 0:
        return predictor(model, guidance.negative, count)
    scale = guidance.scale
    negative, positive = (_tokens(model, part, count) for part in (guidance.negative, guidance.positive))
    if negative.shape != positive.shape:
        raise ValueError(
            f"the negative has {negative.shape[1]} tokens, the positive {positive.shape[1]}: encode both with one CLIP"
        )
    both = torch.cat([negative, positive])

    def guided(samples: Tensor, timestep: Tensor) -> Tensor:
        unconditional, conditional = evaluate(torch.cat([samples] * 2), timestep, both).chunk(2)
        return scale * (conditional - unconditional) + unconditional

    return guided


def _tell(context: Context, model: Model, step: int, steps: int, samples: Tensor) -> None:
    context.progress(step, steps)
    context.preview(preview(samples[0], model.space))


def preview(samples: Tensor, space: Space) -> Tensor:
    """A rough picture f32[3, h, w] in 0..1 of latents [C, h, w]: linear, so one pixel for each latent pixel.

    Of a latent space that is not known, the first three channels.
    """
    colours = torch.tensor(RGB[space]) if space in RGB else torch.eye(space.channels, 3) / 2
    even = samples.float().cpu() / samples.float().cpu().std().clamp(min=1e-5)  # noise is far larger than a picture
    return (torch.einsum("chw,cr->rhw", even, colours) / 2 + 0.5).clamp(0, 1)


def _texts(guidance: Guidance | Conditioning) -> int:
    if isinstance(guidance, Conditioning):
        return max(len(cond.tokens) for cond in guidance.conds)
    if isinstance(guidance, CFG):
        return max(_texts(part) for part in (guidance.positive, guidance.negative) if part is not None)
    return 1


def _tokens(model: Model, conditioning: Conditioning, count: int) -> Tensor:
    """The tokens [count, T, D] of a conditioning."""
    if len(conditioning.conds) != 1:
        raise ValueError(f"the sampler follows one condition at a time, the conditioning has {len(conditioning.conds)}")
    tokens = conditioning.conds[0].tokens
    check_width("guidance", tokens.shape[2], model)
    if len(tokens) not in (1, count):
        raise ValueError(f"{len(tokens)} texts for {count} pictures: give one for each, or one for all")
    return tokens.expand(count, -1, -1).contiguous().to(DEVICE)


def _step_options(scheduler: Any, generators: Sequence[torch.Generator]) -> dict[str, Any]:
    """What the scheduler's `step` takes besides: its share of the randomness, and eta (only DDIM's noise; none)."""
    if getattr(scheduler, "noise_sampler_seed", 0) is None:
        # This scheduler would seed its Brownian paths from torch's global generator. A pipeline that is given that
        # generator (`generator=torch.manual_seed(1)`) draws the path's seed from it after the noise, just as here.
        scheduler.noise_sampler_seed = [
            int(torch.randint(0, 2**63 - 1, [], generator=generator)) for generator in generators
        ]
    taken = inspect.signature(scheduler.step).parameters
    offered = {"eta": 0.0, "generator": generators[0] if len(generators) == 1 else list(generators)}
    return {name: value for name, value in offered.items() if name in taken}
