"""The node types of distributions: points that are drawn, learned by a small diffusion model, and compared.

Points are tables: each row is a point, each column of numbers one of its coordinates.
"""

from __future__ import annotations

from typing import NamedTuple

from latentgraph.engine import Context, Field, Node

from ..latents import Seed
from ..plots.data import Table
from .data import Mixture, PointModel

COUNT = "how many points"
SEED = "seeds the points"


class NormalMixture(Node, category="distributions"):
    """A mixture of normal distributions of points, whose density, marginals and conditionals are known as formulas.

    Fails where the lists do not fit each other, and where correlations contradict each other.
    """

    means: tuple[tuple[float, ...], ...] = Field(description="the mean of each normal: a number for each of `names`")
    deviations: tuple[tuple[float, ...], ...] = Field(
        description="standard deviations of each normal, a number for each of `names`; one list is for all normals"
    )
    correlations: tuple[tuple[float, ...], ...] = Field(
        (),
        description="correlations in each normal, in the order 12, 13, …, 23, …; one list for all normals, none for 0",
    )
    weights: tuple[float, ...] = Field((), description="how often each normal is drawn; equally often without")
    names: tuple[str, ...] = Field(("x", "y"), min_length=1, description="what the numbers of a point are called")
    units: tuple[str, ...] = Field((), description="the unit of each number")
    labels: tuple[str, ...] = Field((), description="what each normal is called; several may share a name")

    def run(self, context: Context) -> Mixture:
        from .mixtures import made

        return made(self)


class DrawPoints(Node, category="distributions"):
    """Draw points from a mixture: a column for each of its numbers, and `label` where its normals have names.

    With `independent` each number of a point is of another point, so that all are distributed as before (by their
    marginals) and nothing of how they go together is left. With `given` that number has each of `values`, `count`
    times, and the others are drawn from their conditional distribution.
    """

    mixture: Mixture
    count: int = Field(1000, ge=1, le=1_000_000, description=COUNT)
    independent: bool = Field(False, description="each number on its own")
    given: str = Field("", description="the number that is given; none without")
    values: tuple[float, ...] = Field((), description="what it is")
    seed: Seed = Field(0, description=SEED)

    def run(self, context: Context) -> Table:
        from .mixtures import drawn

        return drawn(self)


class KeepPoints(Node, category="distributions"):
    """Keep the points of which a number is at a value, or within `within` of it, and leave out the others."""

    points: Table
    column: str = Field(description="the number that decides")
    value: float = Field(description="what it shall be")
    within: float = Field(0.0, ge=0, description="how far it may be from that")

    def run(self, context: Context) -> Table:
        from .tables import kept

        return kept(self)


class Marked(NamedTuple):
    points: Table
    share: float


class MarkUnlikely(Node, category="distributions", primary="points"):
    """Find the points that a distribution hardly ever has: the column `likelihood` says so, `share` how many they are.

    Points are unlikely where the density is less than at all but the last `1 - coverage` of the distribution's own
    points: outside its highest-density region (Hyndman 1996, The American Statistician 50, 120). So of its own points
    about a share of `1 - coverage` is unlikely.
    """

    points: Table = Field(description="points with the numbers of the mixture")
    mixture: Mixture
    coverage: float = Field(0.999, gt=0, lt=1, description="the share of the distribution's points that is likely")
    likely: str = Field("likely", description="what likely points are called")
    unlikely: str = Field("unlikely", description="what the others are called")
    seed: Seed = Field(0, description="seeds the points of the mixture by which this is measured")

    def run(self, context: Context) -> Marked:
        from .mixtures import marked

        return Marked(*marked(self))


class Relation(NamedTuple):
    correlation: float
    covariance: float


class CorrelatePoints(Node, category="distributions", primary="correlation"):
    """How two numbers of points go together: Pearson's correlation in -1..1, and the covariance in units of both."""

    points: Table
    x: str = Field("", description="a column of numbers; the first without")
    y: str = Field("", description="another; the second without")

    def run(self, context: Context) -> Relation:
        from .tables import related

        return Relation(*related(self))


class DensityComparison(NamedTuple):
    table: Table
    used: int
    difference: float


class CompareDensity(Node, category="distributions", primary="table"):
    """The density of one number by the formula of a mixture, and as a histogram of points, in one table.

    Without `given` it is the marginal density; with it, the conditional one at `value`, and the histogram is of the
    `used` points whose `given` is within `within` of that. `difference` is the total variation distance in 0..1.
    """

    points: Table
    mixture: Mixture
    column: str = Field(description="the number whose density is compared")
    given: str = Field("", description="the number that is given; none without")
    value: float = Field(0.0, description="what it is")
    within: float = Field(0.25, gt=0, description="how near to it points count, in its unit")
    bins: int = Field(40, ge=2, le=1000, description="bars of the histogram")

    def run(self, context: Context) -> DensityComparison:
        from .mixtures import compared

        return DensityComparison(*compared(self))


class LearnedPoints(NamedTuple):
    model: PointModel
    losses: tuple[float, ...]


class TrainPoints(Node, category="distributions", resource="device", primary="model"):
    """Train a small diffusion model of points: it is shown noisy points and learns which part of them is noise.

    Ho et al. 2020, arXiv:2006.11239. The network has three hidden layers and predicts v, a mixture of noise and point
    (Salimans and Ho 2022, arXiv:2202.00512), under the cosine schedule of 1,000 steps (Nichol and Dhariwal 2021,
    arXiv:2102.09672). All columns of numbers are learned together, as one joint distribution. With `signal`, that
    column of texts is told to the network: as a vector with a one for the text, and as zeros with probability
    `unconditional`, so that one network learns to draw with the signal and without (Ho and Salimans 2022,
    arXiv:2207.12598). An empty text is no signal: such a point is learned with nothing told.
    """

    points: Table = Field(description="the data: a column for each number of a point")
    signal: str = Field("", description="the column of texts that the network is told; none without")
    unconditional: float = Field(0.1, ge=0, le=1, description="the share of signals that is left out")
    width: int = Field(64, ge=8, le=4096, multiple_of=2, description="neurons in each hidden layer")
    steps: int = Field(1000, ge=1, description="how many batches are learned from")
    batch_size: int = Field(512, ge=1, le=65_536, description="points in a batch")
    learning_rate: float = Field(1e-2, gt=0, description="the highest learning rate")
    seed: Seed = Field(0, description="seeds the first weights, the order of the points and the noise")

    def run(self, context: Context) -> LearnedPoints:
        from .points import learn

        return LearnedPoints(*learn(self, context))


class SampledPoints(NamedTuple):
    points: Table
    way: tuple[Table, ...]


class SamplePoints(Node, category="distributions", resource="device", primary="points"):
    """Draw points from a diffusion model: from noise, N(0, I), in `steps` steps of the reverse process.

    The steps are those of DDIM (Song et al. 2020, arXiv:2010.02502). A model that learned a signal draws without it
    where `signals` is empty, and else `count` points for each, by `scale * (with - without) + without`; scale 1 is
    the network told the signal and 0 the network told none. With `held` that number of the joint distribution is
    given: it has each of `values`, `count` times, and at each step it is set to them with as much noise as the others
    have, `repeats` times with noise added in between (Lugmayr et al. 2022, arXiv:2201.09865). `way` has the
    points as they were: noise, then after each of `shown` parts of the steps.
    """

    model: PointModel
    count: int = Field(1000, ge=1, le=100_000, description=COUNT)
    steps: int = Field(50, ge=1, le=1000, description="steps from noise to points")
    eta: float = Field(0.0, ge=0, le=1, description="how much new noise each step adds: 0 for DDIM, 1 for DDPM")
    signals: tuple[str, ...] = Field((), description="what the points shall be; nothing said without")
    scale: float = Field(1.0, description="how much the signal counts: the weight of classifier-free guidance")
    held: str = Field("", description="the number that is given; none without")
    values: tuple[float, ...] = Field((), description="what it is")
    repeats: int = Field(5, ge=1, le=100, description="how often each step is taken where a number is given")
    shown: int = Field(1, ge=1, le=1000, description="in how many parts the way is given; 1 has noise and points")
    seed: Seed = Field(0, description="seeds the noise")

    def run(self, context: Context) -> SampledPoints:
        from .points import sampled

        return SampledPoints(*sampled(self, context))


class Comparison(NamedTuple):
    distance: float
    nearest: float


class ComparePoints(Node, category="distributions", primary="distance"):
    """How far two sets of points are apart as distributions: `distance`, the energy distance, 0 only for equal ones.

    Székely and Rizzo 2013, J. Statistical Planning and Inference 143, 1249. Each number is divided by its deviation in
    the reference. Two sets of one distribution are not at 0 but near it: compare with what they have. `nearest` is the
    median distance from a point to the nearest of the reference, which is 0 for copies. With `by` the points are
    compared for each value of that column on its own, and the mean is given.
    """

    points: Table
    reference: Table = Field(description="points with the same columns of numbers")
    by: str = Field("", description="a column whose values are compared each on its own; none without")

    def run(self, context: Context) -> Comparison:
        from .tables import compared

        return Comparison(*compared(self))


class DenoiserComparison(NamedTuple):
    table: Table
    correlation: float
    error: float


class CompareDenoiser(Node, category="distributions", resource="device", primary="table"):
    """Compare a model of points with the best that a denoiser can know, which a mixture has as a formula.

    The best prediction of the noise is its mean over all points that may be behind what is seen. `table` has the mean
    squared errors of both over the timestep, where 1 is to know nothing; `correlation` is that of both predictions, and
    `error` the mean square of their difference over that of the best one. The model is told no signal.
    """

    model: PointModel
    mixture: Mixture = Field(description="the distribution that the model learned from")
    levels: int = Field(25, ge=2, le=1000, description="at how many timesteps")
    count: int = Field(2000, ge=1, le=65_536, description="points at each")
    seed: Seed = Field(0, description="seeds points and noise")

    def run(self, context: Context) -> DenoiserComparison:
        from .points import denoisers_compared

        return DenoiserComparison(*denoisers_compared(self))
