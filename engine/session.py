"""The Python way in: load a graph, run it, take its outputs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .check import check
from .checked import CheckedGraph
from .diagnostics import Diagnostic
from .graph import Graph, Param, read_graph
from .library import find_graph
from .problems import Problems
from .registry import Registry, load_registry

if TYPE_CHECKING:
    from .events import Event
    from .runs import Run
    from .store import Store


class NodeFailed(Exception):
    """A node failed while a graph ran; its name, and what it said."""

    def __init__(self, node: str, message: str) -> None:
        super().__init__(f"the node `{node}` failed: {message}")
        self.node, self.message = node, message


@dataclass(frozen=True)
class LoadedGraph:
    """A graph together with the node types that it is checked and run with."""

    graph: Graph
    registry: Registry
    problems: tuple[Diagnostic, ...] = ()
    store: Store | None = None
    """Where results are kept; the user's own store where it is None."""

    @property
    def params(self) -> Mapping[str, Param]:
        return self.graph.params

    def check(self, /, **params: Any) -> CheckedGraph:
        """The graph checked with these params. Raises GraphWrong, with every problem of it."""
        problems = Problems(list(self.problems))
        problems.drop_missing_defaults(params)
        checked = check(self.graph, self.registry, problems, params)
        problems.raise_errors()
        return checked

    def run(
        self,
        /,
        *,
        on_event: Callable[[Event], None] = lambda event: None,
        cancelled: threading.Event | None = None,
        **params: Any,
    ) -> Run:
        """Run the graph and give what came of it; `outputs` has the values by name.

        What the store has is not computed again. Raises GraphWrong, before anything runs, where the graph or a param is
        wrong, and NodeFailed where a node fails.
        """
        # Here, because checking a graph has to be quick.
        from .execute import execute
        from .failures import explained
        from .store import default_folder, open_store

        checked = self.check(**params)
        store = self.store or open_store(default_folder())
        run = execute(checked, store=store, emit=on_event, cancelled=cancelled)
        for name, failure in run.failures.items():
            raise NodeFailed(name, explained(failure)) from failure
        return run


def load(
    graph: str | Path,
    nodes: Iterable[str | Path] = (),
    registry: Registry | None = None,
    store: Store | None = None,
) -> LoadedGraph:
    """Load a graph by the path of its file or the name under which it ships.

    `nodes` are files and folders with more node types. `store` keeps results, by default the user's own store does;
    `open_store(None)` keeps them in memory only. Raises NoSuchGraph, PluginError, OSError, and GraphWrong where
    the file is no YAML.
    """
    name, path = find_graph(graph)
    registry = registry or load_registry(map(Path, nodes))
    return load_text(path.read_bytes(), name, str(path), path.parent, registry, store)


def load_text(
    text: str | bytes, name: str, file: str, folder: Path, registry: Registry, store: Store | None = None
) -> LoadedGraph:
    """Load a graph from its text; `file` is what messages call it, paths in it are relative to `folder`."""
    problems = Problems()
    graph = read_graph(text, file, name, folder, problems)
    return LoadedGraph(graph, registry, tuple(problems.found), store)
