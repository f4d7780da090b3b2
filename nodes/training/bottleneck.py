"""Autoencoders with a short vector as code: training, encoding and decoding; and how far from N(0, I) codes are."""

import json
import math
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from latentgraph.engine.node import Wrong
from latentgraph.engine.ports import Folder

from ..diffusion.numerics import DEVICE, seeded
from ..plots.data import Column, Table
from ..ports import Image
from .loop import Plan, consumed, train
from .pictures import spread
from .tables import number_names, numbers, points_of

if TYPE_CHECKING:
    from latentgraph.engine import Context

    from .vectors import Autoencoder, AutoencoderDecode, AutoencoderEncode, TrainAutoencoder


MOST_PICTURES = 4096
"""Codes that are decoded at once."""


class Bottleneck(nn.Module):
    """Pictures [N, 3, H, W] in 0..1 to means and log-variances of codes [N, code_size], and codes to pictures."""

    def __init__(self, shape: tuple[int, int, int], code_size: int, hidden: int) -> None:
        super().__init__()
        self.shape = tuple(shape)
        count = math.prod(shape)
        self.encoder = nn.Sequential(
            nn.Flatten(),
            nn.Linear(count, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, 2 * code_size),
        )
        self.decoder = nn.Sequential(
            nn.Linear(code_size, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, count),
            nn.Sigmoid(),
            nn.Unflatten(1, self.shape),
        )

    def encode(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(pictures).chunk(2, dim=1)
        return mean, log_variance


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """That of independent normals [N, D] from N(0, I), in nats [N]."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)


def fitted_divergence(codes: Tensor) -> float:
    """That of the normal distribution with the mean and covariance of codes f64[N, D] from N(0, I), in nats."""
    count, size = codes.shape
    if count <= size:
        raise Wrong("count", f"{count} pictures are too few for codes of {size} numbers: at least {size + 1} are due")
    mean, covariance = codes.mean(0), codes.T.cov().reshape(codes.shape[1], codes.shape[1])
    return float(0.5 * (covariance.trace() + mean.square().sum() - codes.shape[1] - covariance.logdet()))


def learn(node: "TrainAutoencoder", context: "Context") -> tuple["Autoencoder", tuple[float, ...]]:
    """What the node TrainAutoencoder does: the networks, and the loss of every step."""
    from .vectors import Autoencoder

    config = {"shape": tuple(node.data.images.shape[1:]), "code_size": node.code_size, "hidden": node.hidden}
    with seeded(node.seed):
        network = Bottleneck(**config)
    pictures = node.data.images.float().div(255)

    def loss(generator: torch.Generator) -> Tensor:
        wanted = pictures[torch.randint(len(pictures), (node.batch_size,), generator=generator)].to(DEVICE)
        mean, log_variance = network.encode(wanted)
        code, kl = mean, mean.new_zeros(len(mean))
        if node.kl_weight > 0:
            noise = torch.randn(mean.shape, generator=generator).to(DEVICE)
            code, kl = mean + (log_variance / 2).exp() * noise, kl_divergence(mean, log_variance)
        error = (network.decoder(code) - wanted).square().sum((1, 2, 3))
        return (error + node.kl_weight * kl).mean()

    plan = Plan(node.steps, node.learning_rate, warmup=50, decay=node.decay, weight_decay=0.0, clip=1e3, ema=0.99)
    trained = train(network, loss, plan, context=context, covered=consumed(node), seed=node.seed + 1)
    files = {
        "config.json": (json.dumps(config | {"variational": node.kl_weight > 0}, indent=2) + "\n").encode(),
        "autoencoder.safetensors": save({key: value.cpu().contiguous() for key, value in trained.weights.items()}),
    }
    return Autoencoder(Folder.of(files)), tuple(trained.losses.tolist())


def loaded(files: "Autoencoder") -> tuple[Bottleneck, bool]:
    """The networks, and whether they are variational."""
    config = json.loads(files.folder["config.json"].read())
    variational = bool(config.pop("variational"))
    with seeded(0):
        network = Bottleneck(**config)
    network.load_state_dict(load(files.folder["autoencoder.safetensors"].read()))
    return network.eval().to(DEVICE), variational


@torch.no_grad()
def encoded(node: "AutoencoderEncode") -> tuple[Table, Table, float, float]:
    """What the node AutoencoderEncode gives."""
    network, variational = loaded(node.autoencoder)
    chosen = spread(len(node.data.images), node.count)
    pictures = node.data.images[chosen].float().div(255)
    if tuple(pictures.shape[1:]) != network.shape:
        raise Wrong("data", f"pictures are of shape {tuple(pictures.shape[1:])}, those learned from of {network.shape}")
    mean, log_variance = (part.cpu() for part in network.encode(pictures.to(DEVICE)))
    codes, kl = mean, 0.0
    if variational:
        noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(node.seed))
        codes, kl = mean + (log_variance / 2).exp() * noise, float(kl_divergence(mean, log_variance).mean())
    shown = [Column("shown", tuple(node.data.shown[index][node.shown] for index in chosen))] if node.shown else []
    names, units = [f"code {index + 1}" for index in range(mean.shape[1])], [""] * mean.shape[1]
    tables = (points_of(each, names, units, *shown) for each in (codes, mean))
    return *tables, kl, fitted_divergence(codes.double())  # type: ignore[return-value]


@torch.no_grad()
def decoded(node: "AutoencoderDecode") -> Image:
    """What the node AutoencoderDecode gives."""
    network, _ = loaded(node.autoencoder)
    names, wanted = number_names(node.codes), network.decoder[0].in_features
    if len(names) != wanted:
        raise Wrong("codes", f"a code has {wanted} numbers, and the points have {len(names)}: {', '.join(names)}")
    rows = len(node.codes.columns[0].values)
    if rows > MOST_PICTURES:
        raise Wrong("codes", f"there are {rows} codes, but at most {MOST_PICTURES} become pictures at once")
    return Image(network.decoder(numbers(node.codes, names).float().to(DEVICE)).cpu())
