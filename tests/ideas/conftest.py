"""Each idea's graph as it ships, run once for all tests that look at what it gives."""

from collections.abc import Mapping
from typing import Any

import pytest
from fixtures import Opened, Planned, Ran

from latentgraph.engine.plan import plan
from latentgraph.engine.registry import Registry
from latentgraph.engine.session import load
from latentgraph.engine.store import open_store
from latentgraph.nodes import node_types


@pytest.fixture(scope="session")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """An idea's graph with a store that all tests share."""
    store, registry = open_store(tmp_path_factory.mktemp("ideas")), Registry(node_types())
    return lambda name: load(f"ideas/{name}", registry=registry, store=store)


@pytest.fixture(scope="session")
def ran(opened: Opened) -> Ran:
    """Run an idea's graph, with other params if some are given: its outputs by name. What was computed is kept."""
    return lambda name, **params: opened(name).run(**params).outputs


@pytest.fixture(scope="session")
def planned(opened: Opened) -> Planned:
    """What running an idea's graph would do with each node."""

    def actions(name: str, **params: Any) -> Mapping[str, str]:
        graph = opened(name)
        assert graph.store is not None
        return {found.node: found.action for found in plan(graph.check(**params), graph.store).nodes}

    return actions
