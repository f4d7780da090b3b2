"""The node types that measure what a denoiser learned, and how far pictures are from data."""

from __future__ import annotations

from typing import NamedTuple

from latentgraph.engine import Context, Field, Node
from latentgraph.engine.node import Wrong

from ..guides import Conditioning, Guidance
from ..latents import Seed
from ..plots.data import Table, table
from ..ports import Image, Latent
from ..references import Model
from .data import Dataset

CLEAN = "pictures, as latents without noise"
GUIDANCE = "what the pictures show: a text for each, or one for all"
NOISE = "seeds the noise: that of the first picture, the next ones have the next seeds"


class MeasuredDenoiser(NamedTuple):
    table: Table
    loss: float
    correlations: tuple[float, ...]


class MeasureDenoiser(Node, category="training", resource="device", primary="table"):
    """How well a denoiser tells noise from picture: noise is added to pictures, and what it predicts is compared.

    At a timestep t it is given x_t = sqrt(abar_t) x0 + sqrt(1 - abar_t) eps (Ho et al. 2020, arXiv:2006.11239, equation
    4). Whatever it predicts (noise, picture, or v, Salimans and Ho 2022, arXiv:2202.00512) says both the noise and the
    picture. `table` has for each timestep the mean squared error of the prediction (the loss that it was trained on,
    without weights), the root mean squared error of the picture, the correlation of the noise that it sees with eps,
    0 to 1, and the correlation that x_t itself has with eps: what seeing nothing would give. `correlations` is the last
    but one by itself, and `loss` the mean loss. Fails for flow models, for a latent without a picture, and for
    timesteps that the model does not have.
    """

    model: Model
    guidance: Guidance | Conditioning = Field(description=GUIDANCE)
    latent: Latent = Field(description=CLEAN)
    timesteps: tuple[int, ...] = Field(
        (20, 100, 200, 350, 500, 650, 800, 950), max_length=64, description="0 has the least noise"
    )
    seed: Seed = Field(0, description=NOISE)

    def run(self, context: Context) -> MeasuredDenoiser:
        from .measuring import bench, denoised

        with bench(self.model, self.guidance, self.latent, self.timesteps, self.seed) as tested:
            found = denoised(tested, self.timesteps, context.progress)
        columns = {
            "timestep": self.timesteps,
            "loss": [each.loss for each in found],
            "error of the picture": [each.error for each in found],
            "correlation with the noise": [each.correlation for each in found],
            "of the noisy picture itself": [each.already for each in found],
        }
        loss = sum(each.loss for each in found) / len(found)
        return MeasuredDenoiser(table(columns), loss, tuple(each.correlation for each in found))


class MisledDenoiser(NamedTuple):
    errors: Table
    ratios: Table
    off_diagonal: int
    worst: float
    predicted: tuple[Latent, ...]


class MisleadDenoiser(Node, category="training", resource="device", primary="ratios"):
    """What a denoiser predicts if it is told another timestep than that of the noise.

    Noise of each of the timesteps is added to pictures, and for each the network is told each of them. What it predicts
    is read by the real timestep: only the network is misled. `errors` has the root mean squared error of the predicted
    picture, a row for each real timestep and a column for each that it was told; `ratios` the same as multiples of the
    error where it was told the truth. `off_diagonal` counts rows whose least error is elsewhere, and `worst` is the
    largest ratio. `predicted` has what was predicted of the first picture, f32[T, C, h, w] for each row. Fails as
    MeasureDenoiser does.
    """

    model: Model
    guidance: Guidance | Conditioning = Field(description=GUIDANCE)
    latent: Latent = Field(description=CLEAN)
    timesteps: tuple[int, ...] = Field(
        (50, 200, 350, 500, 700, 900), max_length=16, description="0 has the least noise"
    )
    seed: Seed = Field(0, description=NOISE)

    def run(self, context: Context) -> MisledDenoiser:
        from .measuring import bench, misled

        if len(set(self.timesteps)) < len(self.timesteps):
            raise Wrong("timesteps", "a timestep is there twice")
        with bench(self.model, self.guidance, self.latent, self.timesteps, self.seed) as tested:
            errors, shown = misled(tested, self.timesteps, context.progress)
        ratios = [[error / row[index] for error in row] for index, row in enumerate(errors)]
        off = sum(row.index(min(row)) != index for index, row in enumerate(errors))
        worst = max(max(row) for row in ratios)
        predicted = tuple(Latent(row, self.latent.space) for row in shown)
        return MisledDenoiser(self._grid(errors), self._grid(ratios), off, worst, predicted)

    def _grid(self, rows: list[list[float]]) -> Table:
        told = {str(told): [row[index] for row in rows] for index, told in enumerate(self.timesteps)}
        return table({"timestep of the noise": self.timesteps, **told})


class Nearest(NamedTuple):
    pictures: Image
    distances: tuple[float, ...]
    mean: float
    least: float


class NearestPictures(Node, category="training", primary="pictures"):
    """For each picture the nearest one of a data set: f32[N, 3, H, W] in 0..1, and how far it is.

    The distance is the root of the mean squared difference of all numbers of two pictures, 0 to 1. `distances` has it
    for each picture; `mean` and `least` are over all of them. Pictures of the data that are larger are made as small as
    the others first, by averages. Fails for pictures that are larger than the data's, or of another shape.
    """

    images: Image = Field(description="pictures without opacity")
    data: Dataset

    def run(self, context: Context) -> Nearest:
        from .measuring import nearest

        (channels, height, width), known = self.images.pixels.shape[1:], self.data.images.shape[2:]
        if channels != 3:
            raise Wrong("images", "the pictures have opacity, and the data have none: link a FlattenImage")
        if height * known[1] != width * known[0] or height > known[0]:
            raise Wrong(
                "images", f"pictures of {width} by {height} pixels cannot be compared with {known[1]} by {known[0]}"
            )
        pictures, distances = nearest(self.images.pixels, self.data.images)
        return Nearest(Image(pictures), tuple(distances), sum(distances) / len(distances), min(distances))
