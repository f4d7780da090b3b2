"""Each idea's graph as it ships, run once for all tests that look at what it gives."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from latentgraph.engine.registry import Registry
from latentgraph.engine.session import load
from latentgraph.engine.store import open_store
from latentgraph.nodes import node_types

Ran = Callable[..., Mapping[str, Any]]


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Run an idea's graph, with other params if some are given: its outputs by name. What was computed is kept."""
    store, registry = open_store(tmp_path_factory.mktemp("ideas")), Registry(node_types())

    def run(name: str, **params: Any) -> Mapping[str, Any]:
        return load(f"ideas/{name}", registry=registry, store=store).run(**params).outputs

    return run
