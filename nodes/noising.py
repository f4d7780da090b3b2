"""The node types of the forward process: how noise comes over data, by which schedule."""

from __future__ import annotations

from typing import Literal, NamedTuple

from latentgraph.engine.context import Context
from latentgraph.engine.node import Field, Node, Wrong

from .facts import check_seeded
from .latents import Seed, Side
from .plots.data import Table
from .ports import Image, Latent, Noise
from .references import Model

SCHEDULE = "a table of NoiseSchedule, or another one with the columns `beta` and `alpha bar`"


class Noising(NamedTuple):
    schedule: Table
    signal_left: float
    drowned: int


class NoiseSchedule(Node, category="noising", primary="schedule"):
    """The noise that a model learns with: a table with a row for each timestep, the first of which is 0.

    `beta` is the variance of the noise that the step there adds, and `alpha bar` the product of all 1 - beta up to it,
    the share of the picture in the variance of x_t (Ho et al. 2020, arXiv:2006.11239, equation 4). `SNR` is alpha bar /
    (1 - alpha bar), and `sigma` its root turned over: how much noise there is to a picture of weight 1, as samplers
    count it (Karras et al. 2022, arXiv:2206.00364); infinite where nothing is left of the picture.

    `kind` is a schedule of diffusers: `linear` from `beta_start` to `beta_end` (Ho et al. 2020), `scaled_linear`, which
    is linear in the root of beta (Rombach et al. 2022, arXiv:2112.10752), `squaredcos_cap_v2`, whose alpha bar is a
    squared cosine (Nichol and Dhariwal 2021, arXiv:2102.09672) and which takes no betas, and `sigmoid`. With a model
    it is the model's own. `zero_terminal_snr` moves and stretches the root of alpha bar so that it ends in 0 (Lin et
    al. 2023, arXiv:2305.08891, algorithm 1).

    `signal_left` is the root of the last alpha bar, the share of the picture that is left in x_T, 0..1; `drowned` the
    first timestep at which there is more noise than picture, or the number of timesteps where there never is.

    Fails for a beta_end below beta_start where these count, and for a model whose scheduler has no betas.
    """

    model: Model | None = Field(None, description="whose own schedule it is, instead of what follows")
    kind: Literal["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"] = Field(
        "scaled_linear", description="how beta rises"
    )
    beta_start: float = Field(0.00085, gt=0, lt=1, description="the first beta")
    beta_end: float = Field(0.012, gt=0, lt=1, description="the last beta")
    steps: int = Field(1000, ge=2, le=10_000, description="how many timesteps there are")
    zero_terminal_snr: bool = Field(False, description="leave nothing of the picture at the end")

    def run(self, context: Context) -> Noising:
        from .diffusion.forward import schedule

        given = self.model is None and self.kind != "squaredcos_cap_v2"
        if given and self.beta_end < self.beta_start:
            raise Wrong("beta_end", f"beta_end is {self.beta_end:g}, below beta_start {self.beta_start:g}: noise grows")
        return Noising(*schedule(self))


class NoisedImage(NamedTuple):
    image: Image
    labels: tuple[str, ...]


class NoiseImage(Node, category="noising", primary="image"):
    """A picture that noise comes over: x_t of the forward process at some of the timesteps, one picture for each.

    The pixels count from -1 to 1, as models have them, and what goes beyond is cut off when all is done. `step by step`
    takes every step of one chain, x_t = sqrt(1 - beta) x_(t-1) + sqrt(beta) eps with new noise in each; `in one jump`
    takes x_t = sqrt(alpha bar) x_0 + sqrt(1 - alpha bar) eps, with noise of its own for each timestep (Ho et al. 2020,
    arXiv:2006.11239, equations 2 and 4). Gives f32[timesteps, 3, H, W] in 0..1, and the
    timesteps as labels.

    Fails for timesteps that do not rise, or that the schedule does not have, and for several pictures.
    """

    image: Image = Field(description="one picture; its opacity does not count")
    schedule: Table = Field(description=SCHEDULE)
    timesteps: tuple[int, ...] = Field(
        max_length=64, description="at which pictures are given, rising; the first of all is 0"
    )
    way: Literal["step by step", "in one jump"] = Field("in one jump", description="how the noise comes")
    seed: Seed = Field(0, description="seeds the noise")

    def run(self, context: Context) -> NoisedImage:
        from .diffusion.forward import noised

        if len(self.image.pixels) != 1:
            raise Wrong("image", f"there are {len(self.image.pixels)} pictures: give one, ImageFromBatch takes it")
        return NoisedImage(Image(noised(self)), tuple(map(str, self.timesteps)))


class ForwardStatistics(Node, category="noising"):
    """The mean and the variance of one number of x_t over all timesteps of the forward process.

    Over `samples` draws, each from the same `start`, `step by step` or `in one jump` as NoiseImage does; or by the
    `closed form` sqrt(alpha bar) start and 1 - alpha bar (Ho et al. 2020, arXiv:2006.11239, equation 4).
    """

    schedule: Table = Field(description=SCHEDULE)
    way: Literal["step by step", "in one jump", "closed form"] = Field("in one jump", description="how they are found")
    start: float = Field(1.0, description="the number in x_0, for pixels from -1 to 1")
    samples: int = Field(2000, ge=2, le=20_000, description="how many are drawn")
    seed: Seed = Field(0, description="seeds the noise")

    def run(self, context: Context) -> Table:
        from .diffusion.forward import statistics

        return statistics(self, context)


class PixelNoise(Node, category="noising"):
    """Noise in pixels, as pictures: standard normal numbers where black is -1 and white 1, cut off at both.

    Each picture has a random generator of its own, seeded `seed`, `seed + 1`, … or from a list. Gives f32[N, 3, height,
    width] in 0..1.
    """

    width: Side = Field(64, description="in pixels")
    height: Side = Field(64, description="in pixels")
    seed: Seed | tuple[Seed, ...] = Field(0, description="starts the random generators")
    count: int = Field(1, ge=1, le=1024, description="how many pictures, where there is one seed")

    def run(self, context: Context) -> Image:
        from .diffusion.noise import generators, noise

        if self.seed == ():
            raise Wrong("seed", "there are no seeds: give one, or a list with one for each picture")
        count = len(self.seed) if isinstance(self.seed, tuple) else self.count
        pixels = noise(generators(self.seed, count), (3, self.height, self.width))
        return Image((pixels / 2 + 0.5).clamp(0, 1))


class NoiseFromLatent(Node, category="noising"):
    """Take latents for the noise that a Sample begins with, whatever they are, instead of what MakeNoise draws.

    Sampling goes on with the latent's random generators; fails where it has none, as VAEEncode gives without a seed.
    """

    latent: Latent

    def run(self, context: Context) -> Noise:
        check_seeded(self.latent.generators is not None)
        return Noise(self.latent.samples, self.latent.generators or ())


class MeasuredNoise(NamedTuple):
    channels: Table
    values: Table
    mean: float
    deviation: float
    correlation: float


class MeasureNoise(Node, category="noising", primary="channels"):
    """How near numbers are to the noise N(0, I) that sampling begins with: mean 0, deviation 1, all independent.

    `channels` has for each channel, counted from 1, the mean, the standard deviation and the correlation of neighbours:
    of each place with the one to its right. `values` has the numbers themselves at places evenly spread over all
    pictures, a column for each channel: `channel 1`, …. Of all numbers together `mean` and `deviation` are those, and
    `correlation` is the largest absolute one of two channels at the same place, 0 where there is but one.

    Fails for samples of one place.
    """

    noise: Noise | Latent
    places: int = Field(1500, ge=2, le=100_000, description="at how many places `values` are given, at most")

    def run(self, context: Context) -> MeasuredNoise:
        from .diffusion.forward import measured

        return MeasuredNoise(*measured(self.noise.samples, self.places))
