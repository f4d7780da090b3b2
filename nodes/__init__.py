"""The node types and port types that come with latentgraph."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from latentgraph.engine.node import Node

MODULES = (
    "models",
    "adapters",
    "controls",
    "conditioning",
    "guidance",
    "latents",
    "latent_editing",
    "sampling",
    "pieces",
    "images",
    "masks",
    "editing",
    "preparation",
    "upscaling",
    "grids",
    "plots.nodes",
    "texts",
    "noising",
    "tracing",
    "training.datasets",
    "training.nodes",
    "training.distributions",
    "training.vectors",
    "training.classifiers",
    "training.measures",
)


def node_types() -> list[type[Node]]:
    """All built-in node types: the entry point `latentgraph.nodes`."""
    from latentgraph.engine.node import Node  # not for those who only want a module of this package

    modules = [import_module(f"{__name__}.{name}") for name in MODULES]
    return [
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Node) and value.__module__ == module.__name__
    ]
