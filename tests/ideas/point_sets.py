"""What tests of points share: the mixtures of the graphs as they ship, and how near two draws of one are."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from latentgraph.engine.context import Context
from latentgraph.nodes.plots.data import Table
from latentgraph.nodes.training.data import Mixture
from latentgraph.nodes.training.distributions import ComparePoints, DrawPoints, NormalMixture

GRAPHS = Path(__file__).parents[2] / "graphs" / "ideas"


def mixture_of(graph: str, node: str) -> Mixture:
    """The mixture that a node of an idea's graph makes."""
    inputs = yaml.safe_load((GRAPHS / f"{graph}.yaml").read_text())["nodes"][node]["inputs"]
    return NormalMixture(**{name: fixed(value) for name, value in inputs.items()}).run(Context())


def fixed(value: Any) -> Any:
    return tuple(fixed(each) for each in value) if isinstance(value, list) else value


def numbers(points: Table, *names: str) -> Any:
    """Columns as f64[N, D]."""
    return np.array([points.column(name).values for name in names]).T


def apart(points: Table, reference: Table, by: str = "") -> float:
    return ComparePoints(points=points, reference=reference, by=by).run(Context()).distance


def largest_by_chance(mixture: Mixture, by: str = "", **inputs: Any) -> float:
    """The largest distance of eight pairs of draws from one distribution."""
    drawn = [DrawPoints(mixture=mixture, seed=100 + seed, **inputs).run(Context()) for seed in range(16)]
    return max(apart(*pair, by=by) for pair in zip(drawn[::2], drawn[1::2], strict=True))
