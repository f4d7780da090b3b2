"""A small diffusion model of points: how it is trained, drawn from, and compared with the exact one."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from diffusers import DDIMScheduler
from diffusers.models.embeddings import get_timestep_embedding
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional

from latentgraph.engine.node import Wrong
from latentgraph.engine.ports import Folder

from ..diffusion.numerics import DEVICE, seeded, torch
from ..plots.data import Column, Table
from .data import Mixture, PointModel
from .loop import Plan, consumed, train
from .mixtures import sample, tensor
from .tables import deviations_of, number_names, numbers, points_of

if TYPE_CHECKING:
    from latentgraph.engine import Context

    from .distributions import CompareDenoiser, SamplePoints, TrainPoints

TIME_WIDTH = 32
"""Numbers by which the network is told the timestep."""
LAYERS = 3
MOST_DRAWN = 200_000
MOST_SHOWN = 2_000_000
"""Points that are given at most, of all parts of the way together."""
MOST_COMPARED = 4_000_000
"""Points for which the noise is predicted at most, of all timesteps together."""


@dataclass(frozen=True)
class Config:
    """What a denoiser is of: the numbers of its points, which it takes with mean 0 and deviation 1, and its signals."""

    names: tuple[str, ...]
    units: tuple[str, ...]
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    signal: str
    signals: tuple[str, ...]
    width: int

    def scaled(self, points: Tensor) -> Tensor:
        return (points - tensor(self.means)) / tensor(self.deviations)

    def unscaled(self, points: Tensor) -> Tensor:
        return points.double() * tensor(self.deviations) + tensor(self.means)


class PointDenoiser(nn.Module):
    """Predicts v [N, D] of points f32[N, D] at timesteps [N] in 0..999, told a signal [N, S] or zeros.

    Each hidden layer is told timestep and signal anew, as the blocks of a U-Net are.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width, size = config.width, len(config.names)
        self.first = nn.Linear(size, width)
        self.told = nn.ModuleList([nn.Linear(TIME_WIDTH + len(config.signals), width) for _ in range(LAYERS)])
        self.layers = nn.ModuleList([nn.Linear(width, width) for _ in range(LAYERS)])
        self.last = nn.Linear(width, size)

    def forward(self, points: Tensor, timesteps: Tensor, signal: Tensor) -> Tensor:
        about = torch.cat([get_timestep_embedding(timesteps, TIME_WIDTH), signal], 1)
        hidden = self.first(points)
        for layer, told in zip(self.layers, self.told, strict=True):
            hidden = layer(functional.silu(hidden + told(about)))
        given: Tensor = self.last(functional.silu(hidden))
        return given

    def signal_of(self, texts: Sequence[str]) -> Tensor:
        """The signals [N, S] that texts are: a one for each, and zeros for the empty text."""
        rows = [[float(text == known) for known in self.config.signals] for text in texts]
        return torch.tensor(rows, dtype=torch.float32).reshape(len(texts), len(self.config.signals))


def new_denoiser(config: Config, seed: int) -> PointDenoiser:
    with seeded(seed):
        return PointDenoiser(config)


def new_schedule() -> DDIMScheduler:
    """The cosine schedule of Nichol and Dhariwal 2021, arXiv:2102.09672: after its 1,000 steps only noise is left."""
    return DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        clip_sample=False,
        timestep_spacing="trailing",  # so that the first step is taken where there is only noise
    )


def learn(node: "TrainPoints", context: "Context") -> tuple[PointModel, tuple[float, ...]]:
    """What the node TrainPoints does: the trained denoiser and the loss of every step."""
    if node.signal and node.signal not in node.points.names:
        raise Wrong("signal", f"there is no column `{node.signal}`, but {', '.join(node.points.names)}")
    names = tuple(name for name in number_names(node.points) if name != node.signal)
    data = numbers(node.points, names)
    if not names or len(data) < 2:
        raise Wrong("points", "there is nothing to learn: points need columns of numbers, and at least two rows")
    deviations = deviations_of(data)
    for name, deviation in zip(names, deviations.tolist(), strict=True):
        if deviation == 0:
            raise Wrong("points", f"`{name}` is the same in all points, so there is nothing to learn of it")
    texts = [str(value) for value in node.points.column(node.signal).values] if node.signal else [""] * len(data)
    config = Config(
        names,
        tuple(node.points.column(name).unit for name in names),
        tuple(data.mean(0).tolist()),
        tuple(deviations.tolist()),
        node.signal,
        tuple(sorted(set(texts) - {""})),
        node.width,
    )
    denoiser, schedule = new_denoiser(config, node.seed), new_schedule()
    clean, signals = config.scaled(data).float(), denoiser.signal_of(texts)

    def loss(generator: torch.Generator) -> Tensor:
        chosen = torch.randint(len(clean), (node.batch_size,), generator=generator)
        said = torch.rand(node.batch_size, 1, generator=generator) >= node.unconditional
        noise = torch.randn(node.batch_size, len(names), generator=generator)
        timesteps = torch.randint(len(schedule.betas), (node.batch_size,), generator=generator)
        noisy = schedule.add_noise(clean[chosen], noise, timesteps)
        given = denoiser(noisy.to(DEVICE), timesteps.to(DEVICE), (signals[chosen] * said).to(DEVICE))
        wanted = schedule.get_velocity(clean[chosen], noise, timesteps)
        return (given - wanted.to(DEVICE)).square().mean()

    plan = Plan(node.steps, node.learning_rate, warmup=50, decay=0.6, ema=0.99)
    trained = train(denoiser, loss, plan, context=context, covered=consumed(node), seed=node.seed + 1)
    weights = {key: value.cpu().contiguous() for key, value in trained.weights.items()}
    files = {
        "config.json": (json.dumps(asdict(config), indent=2) + "\n").encode(),
        "denoiser.safetensors": save(weights),
    }
    return PointModel(Folder.of(files)), tuple(trained.losses.tolist())


def loaded(model: PointModel) -> PointDenoiser:
    """The denoiser of a model, on DEVICE."""
    values = json.loads(model.folder["config.json"].read())
    config = Config(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})
    denoiser = new_denoiser(config, seed=0)
    denoiser.load_state_dict(load(model.folder["denoiser.safetensors"].read()))
    return denoiser.to(DEVICE).eval()


@torch.no_grad()
def predicted(denoiser: PointDenoiser, points: Tensor, timestep: int, signal: Tensor, scale: float = 1.0) -> Tensor:
    """v [N, D] of points f32[N, D] at a timestep, by `scale * (with - without) + without` the signal [N, S]."""
    timesteps = torch.full((len(points),), timestep, device=DEVICE)

    def told(said: Tensor) -> Tensor:
        given: Tensor = denoiser(points.to(DEVICE), timesteps, said.to(DEVICE)).cpu()
        return given

    if scale == 1 or not signal.any():
        return told(signal)
    without = told(torch.zeros_like(signal))
    return without if scale == 0 else scale * (told(signal) - without) + without


def sampled(node: "SamplePoints", context: "Context") -> tuple[Table, tuple[Table, ...]]:
    """What the node SamplePoints does: the points, and how they came from noise."""
    denoiser = loaded(node.model)
    config = denoiser.config
    for text in node.signals:
        if text not in config.signals:
            known = f"it knows {', '.join(config.signals)}" if config.signals else "it learned no signal"
            raise Wrong("signals", f"the model was not told `{text}`; {known}")
    if node.held and node.held not in config.names:
        raise Wrong("held", f"the model has no number `{node.held}`, but {', '.join(config.names)}")
    if bool(node.held) != bool(node.values):
        raise Wrong("values", "`held` says which number is given, and `values` what it is: give both, or none")
    chosen = [round(index * node.steps / node.shown) for index in range(node.shown + 1)]
    total = node.count * max(1, len(node.signals)) * max(1, len(node.values))
    if total > MOST_DRAWN:
        message = f"that are {total} points, for all signals and values together; at most {MOST_DRAWN} are drawn"
        raise Wrong("count", message)
    if total * len(set(chosen)) > MOST_SHOWN:
        message = f"{total} points in {len(set(chosen))} states are more than the {MOST_SHOWN} that are given at most"
        raise Wrong("shown", message)
    kinds = [(text, value) for text in node.signals or ("",) for value in node.values or (0.0,)]
    texts = [text for text, _ in kinds for _ in range(node.count)]
    held = config.names.index(node.held) if node.held else None
    values = tensor([value for _, value in kinds for _ in range(node.count)])
    known = (values - config.means[held]) / config.deviations[held] if held is not None else values
    way = _reverse_process(node, set(chosen), denoiser, denoiser.signal_of(texts), held, known.float(), context)
    way = {index: config.unscaled(points) for index, points in way.items()}
    if held is not None:
        way[node.steps][:, held] = values
    said = [Column(config.signal, tuple(texts))] if node.signals else []
    tables = {index: points_of(points, config.names, config.units, *said) for index, points in way.items()}
    return tables[node.steps], tuple(tables[index] for index in chosen)


def _reverse_process(
    node: "SamplePoints",
    chosen: set[int],
    denoiser: PointDenoiser,
    signal: Tensor,
    held: int | None,
    known: Tensor,
    context: "Context",
) -> dict[int, Tensor]:
    """The points [N, D] after each number of steps that is chosen: noise after 0. That at `held` is to be `known` [N].

    A step goes to the noise of the next timestep, however far that is: DDIMScheduler.step goes `1000 // steps` on,
    which is another one where `steps` does not divide 1,000.
    """
    generator = torch.Generator().manual_seed(node.seed)
    schedule = new_schedule()
    schedule.set_timesteps(node.steps)
    points = torch.randn(len(signal), len(denoiser.config.names), generator=generator)
    way = {0: points}
    times = schedule.timesteps.tolist()[: node.steps]  # there is one too many where 1000 / steps is rounded
    kept = [*schedule.alphas_cumprod[times], torch.tensor(1.0)]
    for index, timestep in enumerate(times):
        now, after = kept[index : index + 2]
        for again in range(node.repeats if held is not None else 1):
            if again:
                points = _noised_again(points, after, now, generator)
            if held is not None:
                noise = torch.randn(len(points), generator=generator)
                points = points.clone()
                points[:, held] = schedule.add_noise(known, noise, torch.tensor(timestep))
            given = predicted(denoiser, points, timestep, signal, node.scale)
            points = _step(given, points, now, after, node.eta, generator)
        if index + 1 in chosen:
            way[index + 1] = points
        context.progress(index + 1, len(times), "steps")
    return way


def _step(given: Tensor, points: Tensor, now: Tensor, after: Tensor, eta: float, generator: torch.Generator) -> Tensor:
    """A step of DDIM (Song et al. 2020, eq. 12 and 16) by the v that was predicted.

    `now` and `after` are the cumulative products of alphas before the step and after it, where 1 is no noise.
    """
    clean = now**0.5 * points - (1 - now) ** 0.5 * given
    noise = now**0.5 * given + (1 - now) ** 0.5 * points
    deviation = eta * ((1 - after) / (1 - now) * (1 - now / after)) ** 0.5
    moved = after**0.5 * clean + (1 - after - deviation**2) ** 0.5 * noise
    return moved + deviation * torch.randn(points.shape, generator=generator) if eta > 0 else moved


def _noised_again(points: Tensor, before: Tensor, now: Tensor, generator: torch.Generator) -> Tensor:
    """Points as they are after the forward process from `before` to `now`, cumulative products of alphas."""
    kept = float(now) / float(before)
    return math.sqrt(kept) * points + math.sqrt(1 - kept) * torch.randn(points.shape, generator=generator)


def exact_noise(mixture: Mixture, config: Config, points: Tensor, kept: float) -> Tensor:
    """The mean of the noise that may be in points f64[N, D] of which the forward process has left a share `kept`.

    Behind a point may be any of the mixture's; each normal's posterior mean counts by how likely the point is in it.
    `kept` is the cumulative product of alphas; points are as the denoiser takes them.
    """
    scale = tensor(config.deviations)
    means = math.sqrt(kept) * config.scaled(tensor(mixture.means))
    covariances = kept * tensor(mixture.covariances) / (scale[:, None] * scale)
    noisy = torch.distributions.MultivariateNormal(
        means, covariances + (1 - kept) * torch.eye(len(scale), dtype=torch.float64)
    )
    shares = (tensor(mixture.weights).log() + noisy.log_prob(points[:, None])).softmax(1)
    away = (points[:, None] - means)[..., None]
    noise = math.sqrt(1 - kept) * torch.linalg.solve(noisy.covariance_matrix, away)[..., 0]
    return (shares[..., None] * noise).sum(1)


def denoisers_compared(node: "CompareDenoiser") -> tuple[Table, float, float]:
    """What the node CompareDenoiser does."""
    denoiser, schedule = loaded(node.model), new_schedule()
    config = denoiser.config
    if config.names != node.mixture.names:
        raise Wrong("mixture", f"the model is of {', '.join(config.names)}, not of {', '.join(node.mixture.names)}")
    generator = torch.Generator().manual_seed(node.seed)
    last = len(schedule.betas) - 1
    times = sorted({round(last * (level + 0.5) / node.levels) for level in range(node.levels)})
    if len(times) * node.count > MOST_COMPARED:
        message = f"{node.count} points at {len(times)} timesteps are more than the {MOST_COMPARED} that are compared"
        raise Wrong("count", message)
    networks, bests, noises = [], [], []
    for timestep in times:
        clean = config.scaled(sample(node.mixture, node.count, generator)[0])
        noise = torch.randn(clean.shape, generator=generator, dtype=torch.float64)
        noisy = schedule.add_noise(clean, noise, torch.tensor([timestep]))
        nothing = torch.zeros(node.count, len(config.signals))
        kept = float(schedule.alphas_cumprod[timestep])
        given = predicted(denoiser, noisy.float(), timestep, nothing).double()
        networks.append(math.sqrt(kept) * given + math.sqrt(1 - kept) * noisy)  # the noise that v means
        bests.append(exact_noise(node.mixture, config, noisy, kept))
        noises.append(noise)
    network, best, noise = torch.stack(networks), torch.stack(bests), torch.stack(noises)
    table = Table(
        (
            Column("timestep", tuple(times)),
            Column("network", tuple((network - noise).square().mean((1, 2)).tolist())),
            Column("best possible", tuple((best - noise).square().mean((1, 2)).tolist())),
        )
    )
    correlation = torch.corrcoef(torch.stack([network.flatten(), best.flatten()]))[0, 1].item()
    return table, correlation, ((network - best).square().mean() / best.square().mean()).item()
