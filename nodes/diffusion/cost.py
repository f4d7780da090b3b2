"""What one evaluation of a U-Net costs, on latents and on pixels."""

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import diffusers
from torch.utils.flop_counter import FlopCounterMode

from latentgraph.engine.node import Wrong

from ..plots.data import Table, table
from ..references import Model
from .numerics import DEVICE, DTYPE, seeded, torch

if TYPE_CHECKING:
    from latentgraph.engine.context import Context

    from ..tracing import CountFLOPs, TimeSteps

PIXELS, LATENTS, RATIO = "pixel space", "latent space", "ratio"

CLIP_WIDTH = 768
"""How wide the tokens are that Stable Diffusion 1 takes; the rest of its U-Net is as diffusers makes one by default."""

Evaluation = Callable[[], Any]


def flops(node: "CountFLOPs", context: "Context") -> Table:
    """What the node CountFLOPs gives."""

    def count(evaluation: Evaluation) -> int:
        with FlopCounterMode(display=False) as counter:
            evaluation()
        return counter.get_total_flops()

    return _by_side(node, torch.device("meta"), count, "FLOPs", context)


def times(node: "TimeSteps", context: "Context") -> Table:
    """What the node TimeSteps gives, in seconds."""

    def measure(evaluation: Evaluation) -> float:
        found = []
        for _ in range(node.repeats + 1):  # the first one is for memory and threads to get ready
            context.check_cancelled()
            started = time.perf_counter()
            evaluation()
            if DEVICE.type == "cuda":
                torch.cuda.synchronize()
            found.append(time.perf_counter() - started)
        return min(found[1:])

    return _by_side(node, DEVICE, measure, "s", context)


@torch.no_grad()
def _by_side(
    node: "CountFLOPs | TimeSteps",
    device: torch.device,
    measure: Callable[[Evaluation], float],
    unit: str,
    context: "Context",
) -> Table:
    """What `measure` says of one evaluation for a picture of each of the sides, on its pixels and on its latents."""
    sides = node.sides
    config, channels, factor = _network(node.model)
    uneven = next((side for side in sides if side % factor), None)
    if not sides or uneven is not None:
        raise Wrong(
            "sides", f"{uneven} is no multiple of {factor}, which a latent needs" if sides else "there are none"
        )
    found = {}
    for name, count, divided in ((PIXELS, 3, 1), (LATENTS, channels, factor)):
        with seeded(0), device:
            network = diffusers.UNet2DConditionModel.from_config(
                {**config, "in_channels": count, "out_channels": count}
            )
        torch.nn.Module.to(network, DTYPE).eval()  # diffusers' own warns of layers that are not there
        words = torch.zeros(1, node.tokens, config["cross_attention_dim"], device=device, dtype=DTYPE)
        found[name] = []
        for side in sides:
            samples = torch.zeros(1, count, side // divided, side // divided, device=device, dtype=DTYPE)
            context.check_cancelled()
            found[name].append(measure(partial(network, samples, 500, words)))
            context.progress(sum(map(len, found.values())), 2 * len(sides))
    ratios = [pixels / latents for pixels, latents in zip(found[PIXELS], found[LATENTS], strict=True)]
    return table({"side": list(sides), **found, RATIO: ratios}, {"side": "px", PIXELS: unit, LATENTS: unit})


def _network(model: Model | None) -> tuple[dict[str, Any], int, int]:
    """The configuration of a U-Net, the channels of its latents, and the pixels to a side of one.

    Raises Wrong for a model that has none, or that is told more than a text.
    """
    if model is None:
        shipped = json.loads((Path(__file__).parent / "configs" / "sd1.json").read_bytes())
        return {**shipped["unet"], "cross_attention_dim": CLIP_WIDTH}, 4, 8
    if model.weights.kind != "unet" or model.family not in ("sd1", "sd2"):
        raise Wrong("model", "what a step costs is only known of Stable Diffusion 1 and 2, and of what is built so")
    return model.weights.config, model.space.channels, model.space.factor
