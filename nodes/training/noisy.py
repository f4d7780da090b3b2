"""Training a classifier of noisy latents (Dhariwal and Nichol 2021, arXiv:2105.05233)."""

import json
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional

from latentgraph.engine.node import Wrong
from latentgraph.engine.ports import Folder

from ..diffusion.classifying import NoisyClassifier, new_classifier
from ..diffusion.noise_table import NoiseTable
from ..diffusion.numerics import DEVICE
from ..diffusion.weights import load_vae
from ..plots.data import Table, table
from ..references import Classifier
from .autoencoder import encode_all
from .judge import labels_of
from .loop import Plan, consumed, train

if TYPE_CHECKING:
    from latentgraph.engine import Context

    from .classifiers import TrainClassifier

LEVELS = 11
"""At how many noise levels the accuracy is measured."""


def noisy(latents: Tensor, sigma: Tensor, noise: Tensor) -> Tensor:
    """Latents [N, C, h, w] with noise of deviation sigma [N] to a picture's, both scaled to variance 1 together."""
    sigma = sigma.view(-1, 1, 1, 1)
    return (latents + sigma * noise) / (1 + sigma**2).sqrt()


def learn(node: "TrainClassifier", context: "Context") -> tuple[Classifier, float, Table, tuple[float, ...]]:
    """What the node TrainClassifier gives."""
    data, space = node.data, node.vae.space
    if node.attribute not in data.attributes:
        known = ", ".join(f"`{name}`" for name in data.attributes) or "nothing"
        raise Wrong("attribute", f"the data does not say what `{node.attribute}` its pictures show, but {known}")
    if len(data.images) <= node.held_back:
        raise Wrong("held_back", f"{node.held_back} of {len(data.images)} pictures are held back: none are left")
    if node.model.prediction == "flow":
        raise Wrong("model", "a flow model has another noise than the classifier could guide: take one of diffusion")
    if space != node.model.space:
        raise Wrong("vae", f"the VAE has {space}, the model {node.model.space}: link this model's own VAE")
    labels = data.attributes[node.attribute]
    wanted = labels_of({node.attribute: labels}, data.shown)[node.attribute]
    vae = load_vae(node.vae, torch.float32)
    latents = encode_all(vae, data.images, lambda done, total: context.progress(done, total, "pictures to latents"))
    latents = (latents - space.shift) * space.scaling
    sigmas = torch.from_numpy(NoiseTable(node.model).sigmas).float()
    known = len(latents) - node.held_back
    network = new_classifier(space.channels, len(labels), node.width, node.seed)

    def loss(generator: torch.Generator) -> Tensor:
        chosen = torch.randint(known, (node.batch_size,), generator=generator)
        sigma = sigmas[torch.randint(len(sigmas), (node.batch_size,), generator=generator)]
        noise = torch.randn(node.batch_size, *latents.shape[1:], generator=generator)
        logits = network(noisy(latents[chosen], sigma, noise).to(DEVICE), sigma.to(DEVICE))
        return functional.cross_entropy(logits, wanted[chosen].to(DEVICE))

    plan = Plan(node.steps, node.learning_rate, warmup=30, decay=0.6, ema=0.99)
    trained = train(network, loss, plan, context=context, covered=consumed(node), seed=node.seed + 1)
    network.load_state_dict(trained.weights)
    network.eval()
    files = {
        "config.json": (json.dumps({"width": node.width, "labels": labels}, indent=2) + "\n").encode(),
        "classifier.safetensors": save({key: value.cpu().contiguous() for key, value in trained.weights.items()}),
    }
    accuracies = _accuracies(network, latents[known:], wanted[known:], sigmas, node.seed + 2)
    classifier = Classifier(Folder.of(files), node.attribute, labels, space)
    return classifier, accuracies.column("accuracy").values[0], accuracies, tuple(trained.losses.tolist())  # type: ignore[return-value]


@torch.no_grad()
def _accuracies(network: NoisyClassifier, latents: Tensor, wanted: Tensor, sigmas: Tensor, seed: int) -> Table:
    """The share of latents of which the label is told rightly, at timesteps from the first to the last."""
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(seed))
    times = torch.linspace(0, len(sigmas) - 1, LEVELS).round().long().tolist()
    shares = []
    for time in times:
        sigma = sigmas[time].expand(len(latents))
        told = network(noisy(latents, sigma, noise).to(DEVICE), sigma.to(DEVICE)).argmax(1).cpu()
        shares.append((told == wanted).double().mean().item())
    return table({"timestep": times, "accuracy": shares})
