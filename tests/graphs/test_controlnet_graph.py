"""The ControlNet that comes along steers: what is drawn has its edges where the picture that is followed has them."""

from pathlib import Path

import torch
from torch import Tensor

from latentgraph.engine import load
from latentgraph.engine.library import shipped_graphs
from latentgraph.nodes.diffusion.edges import canny

DOG = Path(dict(shipped_graphs())["controlnet"]).parent / "examples" / "dog.png"


def agreement(hint: Tensor, drawn: Tensor) -> float:
    """The harmonic mean of how many edges of each lie within a pixel of the other's; edges bool[h, w]."""

    def near(edges: Tensor) -> Tensor:
        return torch.nn.functional.max_pool2d(edges[None, None].float(), 3, 1, 1)[0, 0] > 0

    right, found = (drawn & near(hint)).sum() / drawn.sum(), (hint & near(drawn)).sum() / hint.sum()
    return float(2 * right * found / (right + found))


def test_what_is_drawn_has_the_edges_of_the_picture_that_is_followed():
    graph, found = load("controlnet"), {}
    for strength in (0.0, 1.0):
        agreements = []
        for seed in (1, 2, 3):
            outputs = graph.run(image=DOG, prompt="", control_strength=strength, seed=seed, steps=10).outputs
            drawn = canny(outputs["image"].pixels, 100, 200)[0, 0] > 0.5
            agreements.append(agreement(outputs["edges"].pixels[0, 0] > 0.5, drawn))
        found[strength] = sum(agreements) / len(agreements)
    assert found[1.0] > found[0.0] + 0.2
