"""Mixtures of normal distributions: drawing from them, their marginals and conditionals, and how likely points are.

Everything is float64.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from latentgraph.engine.node import Wrong

from ..diffusion.numerics import torch
from ..plots.data import Column, Table
from .data import Mixture
from .tables import LARGEST, numbers, points_of, tensor

if TYPE_CHECKING:
    from .distributions import CompareDensity, DrawPoints, MarkUnlikely, NormalMixture

DRAWN_FOR_COVERAGE = 100_000
"""Points by which it is known how likely those of a distribution are."""
MOST_DRAWN = 1_000_000


def made(node: "NormalMixture") -> Mixture:
    """What the node NormalMixture does."""
    count, names = len(node.means), node.names
    if not count or any(len(mean) != len(names) for mean in node.means):
        raise Wrong("means", f"each mean needs {len(names)} numbers, one for each of {', '.join(names)}")
    if any(abs(number) > LARGEST for mean in node.means for number in mean):
        raise Wrong("means", f"a mean is not beyond {LARGEST:g}")
    if len(set(names)) < len(names):
        raise Wrong("names", f"{', '.join(names)} are not all different")
    if "label" in names and node.labels:
        raise Wrong("names", "no number can be called `label` where there are labels: their column is called so")
    pairs = len(names) * (len(names) - 1) // 2
    for name, given, wanted in (
        ("deviations", node.deviations, len(names)),
        ("correlations", node.correlations, pairs),
    ):
        if len(given) not in (1, count) and not (name == "correlations" and not given):
            raise Wrong(name, f"there are {count} means and {len(given)} {name}: give one for each, or one for all")
        if any(len(each) != wanted for each in given):
            raise Wrong(name, f"each normal of {len(names)} numbers needs {wanted} {name}")
    if any(deviation <= 0 for each in node.deviations for deviation in each):
        raise Wrong("deviations", "a standard deviation is greater than 0")
    weights = node.weights or (1.0,) * count
    if len(weights) != count or any(weight <= 0 for weight in weights) or sum(weights) == math.inf:
        raise Wrong("weights", f"there are {count} means: give a weight greater than 0 for each, or none")
    for name, given in (("units", node.units), ("labels", node.labels)):
        wanted = len(names) if name == "units" else count
        if given and len(given) != wanted:
            raise Wrong(name, f"there are {len(given)} {name}, but {wanted} are needed")
    deviations = [tensor(node.deviations[index % len(node.deviations)]) for index in range(count)]
    given = node.correlations or ((0.0,) * pairs,)
    correlations = [_correlation(given[index % len(given)], len(names)) for index in range(count)]
    for each in correlations:
        if torch.linalg.eigvalsh(each)[0] <= 1e-9:
            raise Wrong("correlations", "no points can be correlated so: the matrix is not positive definite")
    covariances = [scale[:, None] * matrix * scale for scale, matrix in zip(deviations, correlations, strict=True)]
    for each in covariances:
        if not each.isfinite().all() or torch.linalg.cholesky_ex(each).info:
            message = "they are too large, too small or too far apart to compute with: give numbers in other units"
            raise Wrong("deviations", message)
    return Mixture(
        tuple(weight / sum(weights) for weight in weights),
        node.means,
        tuple(tuple(tuple(row) for row in each.tolist()) for each in covariances),
        names,
        node.units or ("",) * len(names),
        node.labels,
    )


def _correlation(pairs: Sequence[float], size: int) -> Tensor:
    """The matrix [D, D] of correlations given in the order 12, 13, ..., 23, ...."""
    matrix = torch.eye(size, dtype=torch.float64)
    above = torch.triu_indices(size, size, 1)
    matrix[above[0], above[1]] = tensor(pairs)
    matrix[above[1], above[0]] = tensor(pairs)
    return matrix


def distribution(mixture: Mixture) -> MixtureSameFamily:
    """The mixture as a distribution of PyTorch, over points f64[..., D]."""
    normals = MultivariateNormal(tensor(mixture.means), tensor(mixture.covariances))
    return MixtureSameFamily(Categorical(tensor(mixture.weights)), normals)


def sample(mixture: Mixture, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Points f64[count, D] of the mixture, and the normal that each is of [count].

    torch.distributions draws from the generator that all threads share, which would make nodes that run side by side
    depend on each other; so its normals are drawn from here.
    """
    of = distribution(mixture)
    which = torch.multinomial(of.mixture_distribution.probs, count, replacement=True, generator=generator)
    normals = of.component_distribution
    assert isinstance(normals, MultivariateNormal)
    noise = torch.randn(count, len(mixture.names), generator=generator, dtype=torch.float64)
    return normals.loc[which] + torch.einsum("nij,nj->ni", normals.scale_tril[which], noise), which


def marginal(mixture: Mixture, names: Sequence[str]) -> Mixture:
    """The distribution of some of the numbers, whatever the others are: those rows and columns of the parameters."""
    kept = [mixture.names.index(name) for name in names]
    return replace(
        mixture,
        means=tuple(tuple(mean[i] for i in kept) for mean in mixture.means),
        covariances=tuple(tuple(tuple(each[i][j] for j in kept) for i in kept) for each in mixture.covariances),
        names=tuple(names),
        units=tuple(mixture.units[i] for i in kept),
    )


def conditional(mixture: Mixture, given: str, value: float, said_by: str) -> Mixture:
    """The distribution of the other numbers where the one called `given` has a value, which the input `said_by` says.

    Each normal's mean moves along its regression line and its covariance shrinks (Bishop 2006, Pattern Recognition and
    Machine Learning, eq. 2.81 and 2.82); its weight grows with how likely the value is in it (Bayes).
    """
    names = [name for name in mixture.names if name != given]
    held = mixture.names.index(given)
    others = [mixture.names.index(name) for name in names]
    means, covariances = tensor(mixture.means), tensor(mixture.covariances)
    together, variance = covariances[:, others, held], covariances[:, held, held]
    away = value - means[:, held]
    logs = tensor(mixture.weights).log() - (variance.log() + away.square() / variance) / 2
    if not logs.max().isfinite():
        raise Wrong(said_by, f"the mixture has no density where `{given}` is {value:g}")
    means = means[:, others] + together * (away / variance)[:, None]
    matrices = covariances[:, others][:, :, others] - together[:, :, None] * together[:, None] / variance[:, None, None]
    return Mixture(
        tuple(logs.softmax(0).tolist()),
        tuple(tuple(mean) for mean in means.tolist()),
        tuple(tuple(tuple(row) for row in each) for each in matrices.tolist()),
        tuple(names),
        tuple(mixture.units[i] for i in others),
        mixture.labels,
    )


def drawn(node: "DrawPoints") -> Table:
    """What the node DrawPoints does."""
    mixture = node.mixture
    generator = torch.Generator().manual_seed(node.seed)
    if node.given:
        if node.given not in mixture.names:
            raise Wrong("given", f"there is no `{node.given}`, but {', '.join(mixture.names)}")
        if not node.values:
            raise Wrong("values", f"say which values `{node.given}` has")
        if len(mixture.names) < 2:
            raise Wrong("given", f"points have no other number than `{node.given}`")
        if node.count * len(node.values) > MOST_DRAWN:
            drawn = f"{node.count} points for each of {len(node.values)} values"
            raise Wrong("count", f"{drawn} are more than the {MOST_DRAWN} that are drawn at most")
        held = mixture.names.index(node.given)
        parts = []
        for value in node.values:
            others, _ = sample(conditional(mixture, node.given, value, "values"), node.count, generator)
            known = torch.full((node.count, 1), value, dtype=torch.float64)
            parts.append(torch.cat([others[:, :held], known, others[:, held:]], 1))
        return points_of(torch.cat(parts), mixture.names, mixture.units)
    if node.independent:
        alone = [sample(mixture, node.count, generator)[0][:, index] for index in range(len(mixture.names))]
        return points_of(torch.stack(alone, 1), mixture.names, mixture.units)
    points, which = sample(mixture, node.count, generator)
    labels = [Column("label", tuple(mixture.labels[index] for index in which.tolist()))] if mixture.labels else []
    return points_of(points, mixture.names, mixture.units, *labels)


def marked(node: "MarkUnlikely") -> tuple[Table, float]:
    """What the node MarkUnlikely does."""
    _check_some(node.points)
    of = distribution(node.mixture)
    generator = torch.Generator().manual_seed(node.seed)
    usual = of.log_prob(sample(node.mixture, DRAWN_FOR_COVERAGE, generator)[0])
    least = usual.quantile(1 - node.coverage)
    unlikely = of.log_prob(numbers(node.points, node.mixture.names)) < least
    texts = tuple(node.unlikely if each else node.likely for each in unlikely.tolist())
    columns = [column for column in node.points.columns if column.name != "likelihood"]
    return Table((*columns, Column("likelihood", texts))), unlikely.double().mean().item()


def _check_some(points: Table) -> None:
    if not points.columns or not points.columns[0].values:
        raise Wrong("points", "there are no points")


def compared(node: "CompareDensity") -> tuple[Table, int, float]:
    """What the node CompareDensity does."""
    mixture, points = node.mixture, node.points
    for name, value in (("column", node.column), ("given", node.given)):
        if (value or name == "column") and value not in mixture.names:
            raise Wrong(name, f"there is no `{value}`, but {', '.join(mixture.names)}")
    _check_some(points)
    values = numbers(points, [node.column])[:, 0]
    if node.given == node.column:
        raise Wrong("given", f"`{node.column}` cannot be given where its own density is asked for")
    if node.given:
        mixture = conditional(mixture, node.given, node.value, "value")
        values = values[(numbers(points, [node.given])[:, 0] - node.value).abs() <= node.within]
        if not len(values):
            raise Wrong("value", f"no point has `{node.given}` within {node.within:g} of {node.value:g}")
    mixture = marginal(mixture, [node.column])
    of = distribution(mixture)
    middle, spread = of.mean.item(), of.variance.sqrt().item()
    low, high = min(middle - 3 * spread, values.min().item()), max(middle + 3 * spread, values.max().item())
    edges = torch.linspace(low, high, node.bins + 1, dtype=torch.float64)
    width = (high - low) / node.bins
    counts = torch.histogram(values, edges).hist
    density = counts / (len(values) * width)
    centres = (edges[1:] + edges[:-1]) / 2
    formula = of.log_prob(centres[:, None]).exp()
    name, unit = mixture.names[0], mixture.units[0]
    per = f"1/{unit}" if unit else ""
    table = Table(
        (
            Column(name, tuple(centres.tolist()), unit),
            Column("formula", tuple(formula.tolist()), per),
            Column("samples", tuple(density.tolist()), per),
        )
    )
    return table, len(values), ((density - formula).abs().sum() * width / 2).item()
