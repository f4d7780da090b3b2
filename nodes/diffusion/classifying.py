"""Classifiers of noisy latents, and how they pull what a model predicts (Dhariwal and Nichol 2021, 2105.05233)."""

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from diffusers.models.downsampling import Downsample2D
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.resnet import ResnetBlock2D
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional

from ..guides import Classified
from ..references import Classifier, Model
from .noise_table import NoiseTable
from .numerics import DEVICE, seeded, torch


class NoisyClassifier(nn.Module):
    """The first half of a U-Net with a head: noisy latents [N, C, h, w], scaled to variance 1, to logits [N, labels].

    How much noise there is it is told by sigma [N], the noise's deviation to the picture's: as a quarter of its
    logarithm (Karras et al. 2022, arXiv:2206.00364), times 1000 to be embedded as timesteps are.
    """

    def __init__(self, channels: int, labels: int, width: int = 48) -> None:
        super().__init__()
        told = 4 * width
        self.time = Timesteps(width, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.told = TimestepEmbedding(width, told)
        self.begin = nn.Conv2d(channels, width, 3, padding=1)
        self.blocks = nn.ModuleList()
        for before, after in ((width, width), (width, 2 * width), (2 * width, 2 * width)):
            self.blocks.append(
                ResnetBlock2D(in_channels=before, out_channels=after, temb_channels=told, groups=8, groups_out=8)
            )
        self.down = nn.ModuleList(
            [Downsample2D(width, use_conv=True, name="op"), Downsample2D(2 * width, use_conv=True, name="op")]
        )
        self.norm = nn.GroupNorm(8, 2 * width)
        self.head = nn.Linear(2 * width, labels)

    def forward(self, latents: Tensor, sigma: Tensor) -> Tensor:
        told = self.told(self.time(250 * sigma.log()).to(latents.dtype))
        features = self.begin(latents)
        for index, block in enumerate(self.blocks):
            features = block(features, told)
            if index < len(self.down):
                features = self.down[index](features)
        logits: Tensor = self.head(functional.silu(self.norm(features)).mean((2, 3)))
        return logits


def new_classifier(channels: int, labels: int, width: int, seed: int) -> NoisyClassifier:
    with seeded(seed):
        return NoisyClassifier(channels, labels, width)


@lru_cache(maxsize=4)
def load_classifier(classifier: Classifier) -> NoisyClassifier:
    """The network, on the device, in float32; the same object for all that want it."""
    config = json.loads(classifier.folder["config.json"].read())
    network = new_classifier(classifier.space.channels, len(classifier.labels), config["width"], seed=0)
    network.load_state_dict(load(classifier.folder["classifier.safetensors"].read()))
    return network.eval().requires_grad_(False).to(DEVICE)


def gradient(network: nn.Module, samples: Tensor, sigma: float, label: int) -> Tensor:
    """The gradient of `log p(label | samples)` by the samples f32[N, C, h, w], for each of them alone."""
    with torch.enable_grad():
        places = samples.detach().float().requires_grad_(True)
        logits = network(places, torch.full((len(places),), sigma, device=places.device))
        (found,) = torch.autograd.grad(functional.log_softmax(logits, 1)[:, label].sum(), places)
    return found


class Pulling:
    """What classifiers add to what `model` predicts. Raises ValueError where one does not fit it."""

    def __init__(self, model: Model, classifiers: Sequence[Classifier]) -> None:
        if model.prediction == "flow":
            raise ValueError(
                "a classifier's guidance is for models that learned to remove noise, and this is a flow model: leave"
                " ClassifierGuidance out"
            )
        for classifier in classifiers:
            if classifier.space != model.space:
                raise ValueError(
                    f"the classifier of {classifier.attribute} is for latents of {classifier.space}, the model's have"
                    f" {model.space}: train it with the model's own VAE"
                )
        self.table = NoiseTable(model)

    def __call__(self, part: Classified, samples: Tensor, timestep: float) -> Tensor:
        """What is added to a prediction at a timestep of samples f32[N, C, h, w], as the model takes them."""
        sigma = self.table.sigma(timestep)
        network = load_classifier(part.classifier)
        label = part.classifier.labels.index(part.label)
        return part.scale * pull_of(self.table.prediction, sigma) * gradient(network, samples, sigma, label)


def pull_of(prediction: Any, sigma: float) -> float:
    """By what the gradient is multiplied to change a prediction as `-sqrt(1 - abar)` times it changes the noise.

    With x_t = sqrt(abar) x_0 + sqrt(1 - abar) epsilon and v = sqrt(abar) epsilon - sqrt(1 - abar) x_0, what keeps x_t
    changes v by 1 / sqrt(abar) of what epsilon changes by, and x_0 by -sqrt(1 - abar) / sqrt(abar) of that.
    """
    share = sigma / (1 + sigma**2) ** 0.5  # sqrt(1 - abar), as sigma is sqrt((1 - abar) / abar)
    return {"epsilon": -share, "v_prediction": -sigma, "sample": share * sigma}[prediction]
