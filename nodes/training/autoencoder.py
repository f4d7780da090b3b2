"""Training a variational autoencoder: pictures to latents and back."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional

from ..diffusion.numerics import DEVICE, seeded
from ..diffusion.weights import load_vae
from ..ports import Image
from ..references import Vae
from .assembly import weights_of
from .loop import Plan, Trained, consumed, train
from .pictures import spread

if TYPE_CHECKING:
    from latentgraph.engine import Context

    from .nodes import TrainVAE


def new_autoencoder(channels: tuple[int, ...], latent_channels: int, size: int, seed: int) -> AutoencoderKL:
    """A small untrained AutoencoderKL that halves the resolution `len(channels) - 1` times.

    The posterior's log-variance starts at -6, so that the noise of sampling does not drown the first lessons.
    """
    with seeded(seed):
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * len(channels),
            up_block_types=("UpDecoderBlock2D",) * len(channels),
            block_out_channels=channels,
            layers_per_block=1,
            latent_channels=latent_channels,
            norm_num_groups=4,
            sample_size=size,
            scaling_factor=1.0,
        )
    with torch.no_grad():
        vae.quant_conv.weight[latent_channels:] *= 0.01
        vae.quant_conv.bias[latent_channels:] = -6.0
    return vae


@torch.no_grad()
def widened(vae: AutoencoderKL, latent_channels: int, seed: int) -> AutoencoderKL:
    """A copy of an autoencoder with as many latent channels or more, which start as small random ones.

    Training first with few channels and then with more learns colours sooner than training with many at once.
    """
    fewer = vae.config.latent_channels
    wide = new_autoencoder(tuple(vae.config.block_out_channels), latent_channels, vae.config.sample_size, seed)
    state, old = wide.state_dict(), {name: value.cpu() for name, value in vae.state_dict().items()}
    rows = [*range(fewer), *range(latent_channels, latent_channels + fewer)]  # means, then log-variances
    for name, value in old.items():
        if state[name].shape == value.shape:
            state[name].copy_(value)
    state["encoder.conv_out.weight"][rows] = old["encoder.conv_out.weight"]
    state["encoder.conv_out.bias"][rows] = old["encoder.conv_out.bias"]
    state["quant_conv.weight"][rows] = 0
    state["quant_conv.weight"][[[row] for row in rows], rows] = old["quant_conv.weight"]
    state["quant_conv.bias"][rows] = old["quant_conv.bias"]
    state["post_quant_conv.weight"][:fewer] = 0
    state["post_quant_conv.weight"][:fewer, :fewer] = old["post_quant_conv.weight"]
    state["post_quant_conv.bias"][:fewer] = old["post_quant_conv.bias"]
    state["decoder.conv_in.weight"][:, fewer:] *= 0.1
    state["decoder.conv_in.weight"][:, :fewer] = old["decoder.conv_in.weight"]
    return wide


def reconstruction_loss(drawn: Tensor, wanted: Tensor) -> Tensor:
    """How far a reconstruction is from its picture; both [N, 3, H, W] in -1..1.

    The squared error is what PSNR measures; the absolute errors of the pixels and of their differences keep edges; the
    error of 4 by 4 averages keeps flat colours, which the others give up first.
    """
    error = drawn - wanted
    across = (error[..., 1:] - error[..., :-1]).abs().mean()
    down = (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    coarse = functional.avg_pool2d(error, 4)
    return (
        3 * error.square().mean()
        + 0.5 * error.abs().mean()
        + 0.25 * (across + down)
        + 2 * coarse.square().mean()
        + 0.5 * coarse.abs().mean()
    )


def train_autoencoder(
    vae: AutoencoderKL,
    images: Tensor,
    plan: Plan,
    *,
    batch_size: int,
    kl_weight: float,
    context: "Context",
    covered: object,
    seed: int,
) -> Trained:
    """Train `vae` on `images`, uint8 [N, 3, H, W], and leave the averaged weights in it.

    The loss is the reconstruction's plus `kl_weight` times the mean KL divergence of the posterior from N(0, I) per
    latent element (Kingma and Welling 2013, arXiv:1312.6114).
    """

    def loss(generator: torch.Generator) -> Tensor:
        chosen = torch.randint(len(images), (batch_size,), generator=generator)
        wanted = images[chosen].to(DEVICE).float().div(127.5).sub(1)
        posterior = vae.encode(wanted).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator).to(DEVICE)
        drawn = vae.decode(posterior.mean + posterior.std * noise).sample
        kl = 0.5 * (posterior.mean.square() + posterior.var - 1 - posterior.logvar).mean()
        return reconstruction_loss(drawn, wanted) + kl_weight * kl

    shown = images[spread(len(images), 16)].to(DEVICE).float().div(127.5).sub(1)

    def sample() -> Tensor:
        drawn = vae.decode(vae.encode(shown).latent_dist.mean).sample
        rows = torch.cat([shown, drawn.clamp(-1, 1)]).add(1).div(2)
        return grid(rows, columns=8)

    trained = train(vae, loss, plan, context=context, covered=covered, seed=seed, sample=sample)
    vae.load_state_dict(trained.weights)
    vae.eval()
    return trained


def grid(pictures: Tensor, columns: int) -> Tensor:
    """Pictures [N, 3, H, W] side by side in rows of `columns`: [3, rows * H, columns * W]."""
    count, channels, height, width = pictures.shape
    rows = -(-count // columns)
    padded = torch.cat([pictures, pictures.new_zeros(rows * columns - count, channels, height, width)])
    tiled = padded.view(rows, columns, channels, height, width).permute(2, 0, 3, 1, 4)
    return tiled.reshape(channels, rows * height, columns * width).contiguous()


def encode_all(vae: AutoencoderKL, images: Tensor, report: Callable[[int, int], None] | None = None) -> Tensor:
    """The posterior means of all pictures, uint8 [N, 3, H, W] to float [N, C, h, w]."""
    latents = []
    with torch.no_grad():
        for start in range(0, len(images), 64):
            batch = images[start : start + 64].to(vae.device).float().div(127.5).sub(1)
            latents.append(vae.encode(batch).latent_dist.mean.cpu())
            if report is not None:
                report(min(start + 64, len(images)), len(images))
    return torch.cat(latents)


@torch.no_grad()
def normalise_latents(vae: AutoencoderKL, images: Tensor) -> None:
    """Fold the mean and the deviation of each latent channel into the convolutions beside it.

    Afterwards the latents of `images` (at most 2,048 of them are looked at) have mean 0 and deviation 1 in every
    channel, and `scaling_factor` stays 1.
    """
    latents = encode_all(vae, images[spread(len(images), 2048)])
    mean, deviation = latents.mean((0, 2, 3)).to(vae.device), latents.std((0, 2, 3)).to(vae.device)
    channels = len(mean)
    weight, bias = vae.quant_conv.weight, vae.quant_conv.bias
    weight[:channels] /= deviation[:, None, None, None]
    bias[:channels] = (bias[:channels] - mean) / deviation
    bias[channels:] -= 2 * deviation.log()  # the log-variance of a latent divided by its deviation
    after = vae.post_quant_conv
    after.bias += (after.weight[:, :, 0, 0] * mean).sum(1)
    after.weight *= deviation[None, :, None, None]


@torch.no_grad()
def reconstructed(vae: AutoencoderKL, pictures: Tensor) -> Tensor:
    """Pictures [N, 3, H, W] in 0..1, encoded to the posterior's mean and decoded again."""
    latents = vae.encode(pictures.to(vae.device) * 2 - 1).latent_dist.mean
    return vae.decode(latents).sample.add(1).div(2).clamp(0, 1).cpu()


def psnr_of(errors: Tensor) -> float:
    """The mean peak signal-to-noise ratio, in dB, of pictures in 0..1 that are off by `errors` [N, 3, H, W]."""
    return float(-10 * errors.square().mean((1, 2, 3)).log10().mean())


def learn(node: "TrainVAE", context: "Context") -> tuple[Vae, tuple[float, ...]]:
    """What the node TrainVAE does: the trained autoencoder and the loss of every step."""
    images = node.data.images
    if node.start is None:
        vae = new_autoencoder(node.channels, node.latent_channels, images.shape[-1], node.seed)
    else:
        start = load_vae(node.start, torch.float32)
        if (
            tuple(start.config.block_out_channels) != node.channels
            or start.config.latent_channels > node.latent_channels
        ):
            raise ValueError("the autoencoder to start from has other channels, or more latent channels")
        vae = widened(start, node.latent_channels, node.seed)
    plan = Plan(node.steps, node.learning_rate, warmup=100, decay=node.decay, weight_decay=0.0, ema=0.998)
    trained = train_autoencoder(
        vae,
        images,
        plan,
        batch_size=node.batch_size,
        kl_weight=node.kl_weight,
        context=context,
        covered=consumed(node),
        seed=node.seed + 1,
    )
    normalise_latents(vae, images)
    return Vae(weights_of("vae", vae, vae.to_json_string())), tuple(trained.losses.tolist())


@torch.no_grad()
def measured(vae: Vae, images: Tensor, count: int) -> tuple[float, float, Image]:
    """PSNR in dB and the error of 8 by 8 averages over `count` of the pictures, and 16 of them above what came back."""
    network = load_vae(vae, torch.float32)
    chosen = images[spread(len(images), count)]
    errors = []
    for start in range(0, len(chosen), 32):
        wanted = chosen[start : start + 32].float().div(255)
        errors.append(reconstructed(network, wanted) - wanted)
    coarse = functional.avg_pool2d(torch.cat(errors), 8).abs().mean()
    shown = images[spread(len(images), 16)].float().div(255)
    both = torch.cat([shown, reconstructed(network, shown)])
    return psnr_of(torch.cat(errors)), float(coarse), Image(grid(both, columns=len(shown))[None])
