"""The types of the fixtures that tests of ideas take."""

from collections.abc import Callable, Mapping
from typing import Any

from latentgraph.engine.session import LoadedGraph

Opened = Callable[[str], LoadedGraph]
Ran = Callable[..., Mapping[str, Any]]
Planned = Callable[..., Mapping[str, str]]
