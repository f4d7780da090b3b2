"""The node types of autoencoders with a short vector as code, plain and variational. Codes are tables of points."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from latentgraph.engine import Context, Field, Folder, Node
from latentgraph.engine.node import Wrong
from latentgraph.engine.ports import PortType, Written

from ..codec import TENSORS
from ..latents import Seed
from ..plots.data import Column, Table
from ..ports import Image
from .data import Dataset
from .nodes import DECAY, RATE, SEED, STEPS

LARGEST = 64
"""Pixels along each side of pictures whose every number has weights of its own."""


@dataclass(frozen=True)
class Autoencoder(PortType, codec=TENSORS):
    """A trained autoencoder of small pictures, by its files: `config.json` and `autoencoder.safetensors`."""

    folder: Folder

    def written(self) -> Iterable[Written]:
        return self.folder.written()


class TrainedAutoencoder(NamedTuple):
    autoencoder: Autoencoder
    losses: tuple[float, ...]


class TrainAutoencoder(Node, category="training", resource="device", primary="autoencoder"):
    """Train an autoencoder that makes a code of a few numbers of a picture, and the picture of the code.

    With `kl_weight` 0 it is a plain one: a picture has one code. Above 0 it is variational (Kingma and Welling 2013,
    arXiv:1312.6114): the encoder gives a mean and a deviation for each number, and the code is drawn from that normal
    distribution. The loss is the squared error of a picture, in 0..1 and summed over its numbers, plus `kl_weight`
    times the KL divergence of the code's distribution from N(0, I), in nats. Both kinds are the same network: layers of
    `hidden` numbers, two in each direction, between the pictures and the code, which suits small pictures alone.
    """

    data: Dataset
    code_size: int = Field(2, ge=1, le=64, description="numbers of a code")
    kl_weight: float = Field(0.0, ge=0, description="the weight of the KL divergence from N(0, I); 0 for a plain one")
    hidden: int = Field(256, ge=8, le=2048, description="the width of the layers")
    steps: int = Field(800, ge=1, description=STEPS)
    batch_size: int = Field(64, ge=1, le=65_536, description="pictures in a batch")
    learning_rate: float = Field(1e-3, gt=0, description=RATE)
    decay: float = Field(0.4, ge=0, le=1, description=DECAY)
    seed: Seed = Field(0, description=SEED)

    def run(self, context: Context) -> TrainedAutoencoder:
        from .bottleneck import learn

        height, width = self.data.images.shape[2:]
        if height * width > LARGEST**2:
            message = (
                f"pictures are {width} by {height}: make them {LARGEST} by {LARGEST} or smaller with ResizeDataset"
            )
            raise Wrong("data", message)

        return TrainedAutoencoder(*learn(self, context))


class Encoded(NamedTuple):
    codes: Table
    means: Table
    kl: float
    fitted_kl: float


class AutoencoderEncode(Node, category="training", resource="device", primary="codes"):
    """Pictures of a data set as codes, one in a row: columns `code 1`, `code 2` and so on, and what is shown.

    A plain autoencoder's codes are its means; a variational one's are drawn from their distributions. `kl` is the mean
    KL divergence of those distributions from N(0, I); a plain one's are points, for which there is none, and it is 0.
    `fitted_kl` is that of the one normal distribution that has the mean and the covariance of all codes. Both are in
    nats, by the formula of Kingma and Welling 2013, arXiv:1312.6114, appendix B.
    """

    autoencoder: Autoencoder
    data: Dataset
    count: int = Field(1000, ge=3, description="how many pictures, evenly spread over the data")
    shown: str = Field("first", description="the attribute of the data that the last column has; empty for none")
    seed: Seed = Field(0, description="seeds the codes of a variational one")

    def run(self, context: Context) -> Encoded:
        from .bottleneck import encoded

        if self.shown and self.shown not in self.data.attributes:
            known = ", ".join(self.data.attributes) or "none"
            raise Wrong("shown", f"the data has no attribute `{self.shown}`; it has {known}")
        return Encoded(*encoded(self))


class AutoencoderDecode(Node, category="training", resource="device"):
    """Codes as pictures: f32[N, 3, H, W] in 0..1, one for each row of `codes`.

    Fails where there are not as many columns of numbers as a code has, and for more than 4,096 rows.
    """

    autoencoder: Autoencoder
    codes: Table = Field(description="points, each column of numbers one number of the code")

    def run(self, context: Context) -> Image:
        from .bottleneck import decoded

        return decoded(self)


class InterpolatePoints(Node, category="distributions"):
    """Points on the straight line from one row of a table to another, evenly apart, both ends included."""

    points: Table
    start: int = Field(0, ge=0, description="the row where the line begins, from 0")
    end: int = Field(1, ge=0, description="the row where it ends")
    count: int = Field(8, ge=2, le=1000, description="how many points")

    def run(self, context: Context) -> Table:
        rows = len(self.points.columns[0].values) if self.points.columns else 0
        for name, row in (("start", self.start), ("end", self.end)):
            if row >= rows:
                raise Wrong(name, f"row is {row}, but the table has {rows} rows, the first of which is 0")
        shares = [index / (self.count - 1) for index in range(self.count)]
        columns = []
        for column in self.points.columns:
            one, other = column.values[self.start], column.values[self.end]
            if not isinstance(one, str) and not isinstance(other, str):
                values = tuple((1 - share) * one + share * other for share in shares)
                columns.append(Column(column.name, values, column.unit))
        if not columns:
            raise Wrong("points", "there is no column of numbers, so there is no line between two rows")
        return Table(tuple(columns))
