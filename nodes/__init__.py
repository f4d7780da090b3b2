"""The node types and port types that come with latentgraph."""

from importlib import import_module

from latentgraph.engine.node import Node

MODULES = ("models", "conditioning", "latents", "sampling", "images", "grids", "training.nodes")


def node_types() -> list[type[Node]]:
    """All built-in node types: the entry point `latentgraph.nodes`."""
    modules = [import_module(f"{__name__}.{name}") for name in MODULES]
    return [
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Node) and value.__module__ == module.__name__
    ]
