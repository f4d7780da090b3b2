"""A classifier of noisy latents pulls a sampling towards a label, as the formulas of its paper say."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import save
from stopping import Kept, Killed
from torch import Tensor

from latentgraph.engine import Context, Folder
from latentgraph.engine.digest import digest
from latentgraph.engine.node import Wrong
from latentgraph.nodes.codec import TENSORS
from latentgraph.nodes.conditioning import CLIPEncode
from latentgraph.nodes.diffusion.classifying import Pulling, gradient, new_classifier, pull_of
from latentgraph.nodes.diffusion.noise_table import NoiseTable
from latentgraph.nodes.diffusion.weights import load_unet
from latentgraph.nodes.facts import TextFacts
from latentgraph.nodes.guidance import (
    CFGCombine,
    ClassifierGuidance,
    GuidanceInterval,
    PerturbedAttentionGuidance,
    RescaleGuidance,
)
from latentgraph.nodes.guides import Classified, Conditioning, Guidance, mapped
from latentgraph.nodes.latents import EmptyLatent
from latentgraph.nodes.models import Loaded, LoadModel
from latentgraph.nodes.references import Classifier, Space
from latentgraph.nodes.sampling import KSampler
from latentgraph.nodes.training import loop
from latentgraph.nodes.training.classifiers import TrainClassifier
from latentgraph.nodes.training.data import Dataset
from latentgraph.nodes.training.datasets import EmojiScenes
from latentgraph.nodes.training.noisy import noisy

CONTEXT = Context()
LABELS = ("red", "green", "blue")
STEPS = 4
GRAPHS = Path(__file__).parents[2] / "graphs"


def classifier(space: Space, seed: int = 0) -> Classifier:
    """An untrained one, which is as good for the formulas."""
    weights = save(new_classifier(space.channels, len(LABELS), 8, seed).state_dict())
    files = {"config.json": b'{"width": 8}', "classifier.safetensors": weights}
    return Classifier(Folder.of(files), "background", LABELS, space)


@pytest.fixture(scope="module")
def loaded(tiny: Path) -> Loaded:
    return LoadModel(name=str(tiny)).run(CONTEXT)


@pytest.fixture(scope="module")
def nothing(loaded: Loaded) -> Conditioning:
    return CLIPEncode(clip=loaded.clip, text="").run(CONTEXT)


def sampled(loaded: Loaded, guidance: Guidance | Conditioning, canvas: Any = None, **options: Any) -> Tensor:
    canvas = EmptyLatent(model=loaded.model, width=64, height=64, batch_size=2).run(CONTEXT)
    options = {"sampler": "dpmpp_2m", "steps": STEPS, "seed": 7, **options}
    drawn = KSampler(model=loaded.model, guidance=guidance, latent=canvas, **options).run(CONTEXT)
    return drawn.samples


def pulled(loaded: Loaded, guidance: Guidance | Conditioning, scale: float = 5.0, label: str = "blue") -> Guidance:
    given = {"guidance": guidance, "classifier": classifier(loaded.model.space), "label": label, "scale": scale}
    return ClassifierGuidance(**given).run(CONTEXT)


# The formulas


def test_the_gradient_is_that_of_the_log_probability_in_closed_form():
    class Linear(torch.nn.Module):
        """logits = W mean(x): the gradient is (onehot - softmax) W / pixels."""

        weight = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))

        def forward(self, latents: Tensor, sigma: Tensor) -> Tensor:
            return latents.mean((2, 3)) @ self.weight.T

    samples = torch.randn(5, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    logits = samples.mean((2, 3)) @ Linear.weight.T
    wanted = (torch.eye(3)[2] - logits.softmax(1)) @ Linear.weight / 64
    with torch.no_grad():
        found = gradient(Linear(), samples, 1.0, 2)
    torch.testing.assert_close(found, wanted[:, :, None, None].expand_as(samples), rtol=1e-5, atol=1e-8)


def test_the_gradient_of_a_network_is_the_slope_of_its_log_probability():
    network = new_classifier(4, 3, 8, 0).eval().double()
    samples = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    way = torch.randn(samples.shape, generator=torch.Generator().manual_seed(2)).double()
    sigma = torch.full((2,), 1.5)

    def log_probability(step: float) -> Tensor:
        return network(samples + step * way, sigma).log_softmax(1)[:, 1]

    slope = (log_probability(1e-4) - log_probability(-1e-4)) / 2e-4
    network.float()
    found = gradient(network, samples.float(), 1.5, 1)
    torch.testing.assert_close((found.double() * way).sum((1, 2, 3)), slope, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("sigma", [0.03, 0.5, 2.0, 14.6])
def test_noise_velocity_and_picture_are_pulled_so_that_they_mean_the_same(sigma: float, loaded: Loaded):
    source = torch.Generator().manual_seed(3)
    picture, noise, slope = (torch.randn(1, 4, 8, 8, generator=source, dtype=torch.float64) for _ in range(3))
    abar = 1 / (1 + sigma**2)
    predictions = {
        "epsilon": noise,
        "v_prediction": abar**0.5 * noise - (1 - abar) ** 0.5 * picture,
        "sample": picture,
    }
    table = NoiseTable(loaded.model)
    samples = picture + sigma * noise
    meant = {}
    for kind, predicted in predictions.items():
        table.prediction = kind
        meant[kind] = table.from_prediction(samples, sigma, predicted + pull_of(kind, sigma) * slope)
    guided = noise - (1 - abar) ** 0.5 * slope  # algorithm 2 of the paper
    wanted = (samples * abar**0.5 - (1 - abar) ** 0.5 * guided) / abar**0.5
    for kind, found in meant.items():
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5, msg=kind)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_whole_sampling_is_algorithm_two_of_the_paper_in_plain_pytorch(prediction: str, loaded: Loaded, tmp_path):
    config = {**loaded.model.scheduler_config, "prediction_type": prediction, "clip_sample": False}
    scheduler = diffusers.DDIMScheduler.from_config(config)
    file = type(loaded.model.scheduler)("scheduler_config.json", content=scheduler.to_json_string().encode())
    model = replace(loaded.model, scheduler=file)
    loaded = loaded._replace(model=model)
    nothing = CLIPEncode(clip=loaded.clip, text="").run(CONTEXT)
    ours = sampled(loaded, pulled(loaded, nothing, 30.0), sampler="diffusers:DDIMScheduler")
    network, unet = new_classifier(model.space.channels, 3, 8, 0).eval(), load_unet(model, torch.float32)
    scheduler.set_timesteps(STEPS)
    draw = [torch.Generator().manual_seed(seed) for seed in (7, 8)]
    noises = [torch.randn(1, *ours.shape[1:], generator=generator) for generator in draw]
    latents = torch.cat(noises)
    for timestep in scheduler.timesteps:
        abar = scheduler.alphas_cumprod[timestep]
        with torch.no_grad():
            tokens = nothing.conds[0].tokens.expand(2, -1, -1)
            predicted = unet(latents, timestep, encoder_hidden_states=tokens).sample
        places = latents.clone().requires_grad_()
        sigma = ((1 - abar) / abar).sqrt().expand(2)
        network(places, sigma).log_softmax(1)[:, 2].sum().backward()
        change = (1 - abar).sqrt() * 30.0 * places.grad
        predicted = predicted - (change if prediction == "epsilon" else change / abar.sqrt())
        latents = scheduler.step(predicted, timestep, latents).prev_sample
    assert (ours - latents).abs().max().item() < 2e-4
    assert (ours - sampled(loaded, nothing, sampler="diffusers:DDIMScheduler")).abs().max().item() > 0.01


# Beside other guidances


def test_without_strength_it_is_what_it_is_put_around_bit_for_bit(loaded: Loaded, nothing: Conditioning):
    assert torch.equal(sampled(loaded, pulled(loaded, nothing, 0.0)), sampled(loaded, nothing))
    assert not torch.equal(sampled(loaded, pulled(loaded, nothing)), sampled(loaded, nothing))


def test_each_label_pulls_another_way(loaded: Loaded, nothing: Conditioning):
    ways = [sampled(loaded, pulled(loaded, nothing, 50.0, label)) for label in LABELS]
    assert not torch.equal(ways[0], ways[1])
    assert not torch.equal(ways[1], ways[2])


def test_it_goes_around_and_inside_of_every_other_guidance(loaded: Loaded, nothing: Conditioning):
    positive = CLIPEncode(clip=loaded.clip, text="a dog").run(CONTEXT)
    compared = CFGCombine(positive=positive, negative=nothing, scale=5.0).run(CONTEXT)
    around = pulled(loaded, compared)
    assert not torch.equal(sampled(loaded, around), sampled(loaded, compared))
    for outer in (
        RescaleGuidance(guidance=around, phi=0.5).run(CONTEXT),
        PerturbedAttentionGuidance(guidance=around, scale=2.0).run(CONTEXT),
        pulled(loaded, RescaleGuidance(guidance=compared, phi=0.5).run(CONTEXT)),
        pulled(loaded, around, label="red"),
    ):
        assert not torch.equal(sampled(loaded, outer), sampled(loaded, around))
    never = GuidanceInterval(guidance=around, start=0.9, end=0.95).run(CONTEXT)
    assert torch.equal(sampled(loaded, never), sampled(loaded, compared))
    always = GuidanceInterval(guidance=around, start=0.0, end=1.0).run(CONTEXT)
    assert torch.equal(sampled(loaded, always), sampled(loaded, around))


@pytest.mark.parametrize("sampler", ["heun", "euler_cfg_pp", "diffusers:EulerAncestralDiscreteScheduler"])
def test_every_sampler_is_pulled(sampler: str, loaded: Loaded, nothing: Conditioning):
    compared = CFGCombine(positive=nothing, negative=nothing, scale=2.0).run(CONTEXT)
    whole = sampled(loaded, pulled(loaded, compared), sampler=sampler)
    assert not torch.equal(whole, sampled(loaded, compared, sampler=sampler))
    assert torch.isfinite(whole).all()


def test_a_guidance_with_a_classifier_is_a_value_like_others(loaded: Loaded, nothing: Conditioning):
    value = pulled(loaded, nothing)
    assert isinstance(value, Classified)
    again = TENSORS.decode(Classified, TENSORS.encode(value))
    assert digest(again) == digest(value)
    assert torch.equal(sampled(loaded, again), sampled(loaded, value))
    assert digest(pulled(loaded, nothing, label="red")) != digest(value) != digest(pulled(loaded, nothing, 5.5))
    changed = mapped(value, lambda part: replace(part, conds=part.conds * 2))
    assert len(changed.guidance.conds) == 2
    assert changed.classifier is value.classifier
    facts = TextFacts(16, 2)
    assert ClassifierGuidance.describe({"guidance": facts}) == {"guidance": facts}


# What does not fit


def test_a_label_that_the_classifier_does_not_know_is_refused_with_those_that_it_knows(loaded, nothing):
    with pytest.raises(Wrong, match="of background knows no `dog`, but `red`, `green`, `blue`") as caught:
        pulled(loaded, nothing, label="dog")
    assert caught.value.input == "label"


def test_a_classifier_of_other_latents_is_refused(loaded: Loaded, nothing: Conditioning):
    other = classifier(Space(8, 4, 1.0))
    guidance = ClassifierGuidance(guidance=nothing, classifier=other, label="red").run(CONTEXT)
    with pytest.raises(ValueError, match=r"background is for latents of 8 channels at 1/4 .* train it"):
        sampled(loaded, guidance)


def test_a_flow_model_is_refused(tiny_sd3: Path):
    flow = LoadModel(name=str(tiny_sd3)).run(CONTEXT).model
    with pytest.raises(ValueError, match="this is a flow model: leave ClassifierGuidance out"):
        Pulling(flow, [classifier(flow.space)])


# Training


@pytest.fixture(scope="module")
def data() -> Dataset:
    return EmojiScenes(artwork=Folder.at(GRAPHS / "train" / "emoji"), count=48).run(CONTEXT)


@pytest.fixture(scope="module")
def training(data: Dataset) -> Callable[..., TrainClassifier]:
    builtin = LoadModel(name="builtin").run(CONTEXT)
    parts = {"data": data, "model": builtin.model, "vae": builtin.vae}
    return lambda **changes: TrainClassifier(
        **{**parts, "held_back": 8, "width": 8, "steps": 6, "batch_size": 4, **changes}
    )


def test_a_classifier_is_trained_to_the_same_bits_even_where_it_was_stopped(training, monkeypatch):
    monkeypatch.setattr(loop, "KEPT_EVERY", 2)
    at_once = training().run(CONTEXT)

    def report(kind: str, content: dict) -> None:
        if kind == "progress" and content.get("message", "").startswith("loss") and content["step"] == 5:
            raise Killed

    states = Kept()
    with pytest.raises(Killed):
        training().run(Context(report=report, states=states))
    on = training().run(Context(states=states))
    assert digest(on.classifier) == digest(at_once.classifier)
    assert on.losses == at_once.losses
    assert at_once.accuracies.names == ["timestep", "accuracy"]
    assert at_once.accuracy == at_once.accuracies.column("accuracy").values[0]
    assert digest(training(seed=1).run(CONTEXT).classifier) != digest(at_once.classifier)


def test_latents_with_noise_are_those_of_the_models_schedule(loaded: Loaded):
    """Of variance 1, as diffusers' `add_noise` makes them of the timestep whose noise that is."""
    scheduler = diffusers.DDPMScheduler.from_config(loaded.model.scheduler_config)
    source = torch.Generator().manual_seed(0)
    latents, noise = (torch.randn(3, 4, 8, 8, generator=source) for _ in range(2))
    times = torch.tensor([0, 400, 999])
    sigma = torch.from_numpy(NoiseTable(loaded.model).sigmas)[times]
    torch.testing.assert_close(noisy(latents, sigma, noise), scheduler.add_noise(latents, noise, times))


@pytest.mark.parametrize(
    ("changes", "name", "message"),
    [
        ({"attribute": "colour"}, "attribute", "`colour` its pictures show, but `background`, `first`"),
        ({"held_back": 48}, "held_back", "48 of 48 pictures are held back: none are left"),
    ],
)
def test_what_a_classifier_cannot_be_trained_on_is_refused(changes, name: str, message: str, training):
    with pytest.raises(Wrong, match=message) as caught:
        training(**changes).run(CONTEXT)
    assert caught.value.input == name


def test_a_classifier_is_not_trained_for_models_it_could_not_guide(training, loaded: Loaded, tiny_sd3: Path):
    with pytest.raises(Wrong, match=r"the VAE has 8 channels .* link this model's own VAE"):
        training(model=loaded.model).run(CONTEXT)
    with pytest.raises(Wrong, match="a flow model has another noise"):
        training(model=LoadModel(name=str(tiny_sd3)).run(CONTEXT).model).run(CONTEXT)
