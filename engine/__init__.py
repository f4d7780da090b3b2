"""The engine: graphs in general, checked before they run. It knows neither torch, nor diffusion, nor HTTP.

from latentgraph.engine import load

picture = load("txt2img").run(prompt="a dog face with glasses").outputs["image"]
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .context import Cancelled, Context
    from .diagnostics import Diagnostic, GraphWrong
    from .node import Field, Node
    from .ports import File, Folder, PortType, Written
    from .session import LoadedGraph, NodeFailed, load
    from .store import Store, open_store

# Where each name comes from: imported when it is asked for, so that `latentgraph --help` need not wait for pydantic.
_MODULES = {
    "Cancelled": "context",
    "Context": "context",
    "Diagnostic": "diagnostics",
    "Field": "node",
    "File": "ports",
    "Folder": "ports",
    "GraphWrong": "diagnostics",
    "LoadedGraph": "session",
    "Node": "node",
    "NodeFailed": "session",
    "PortType": "ports",
    "Store": "store",
    "Written": "ports",
    "load": "session",
    "open_store": "store",
}

__all__ = [
    "Cancelled",
    "Context",
    "Diagnostic",
    "Field",
    "File",
    "Folder",
    "GraphWrong",
    "LoadedGraph",
    "Node",
    "NodeFailed",
    "PortType",
    "Store",
    "Written",
    "load",
    "open_store",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value
