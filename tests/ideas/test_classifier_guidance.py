"""Classifier guidance: a classifier of noisy latents pulls a model that is told nothing towards a class."""

import torch

from latentgraph.engine.context import Context
from latentgraph.nodes.conditioning import CLIPEncode
from latentgraph.nodes.guidance import ClassifierGuidance
from latentgraph.nodes.latents import EmptyLatent
from latentgraph.nodes.models import LoadModel
from latentgraph.nodes.sampling import KSampler

CONTEXT = Context()


def test_the_share_of_the_class_rises_with_the_scale(ran):
    shares = ran("classifier-guidance")["shares"]
    assert len(shares) == 4
    assert shares[0] <= 0.25
    assert shares[0] <= shares[1] < shares[2] < shares[3]
    assert shares[2] >= shares[0] + 0.15
    assert shares[3] >= 0.7


def test_a_classifier_told_how_much_noise_there_is_sees_through_some_and_less_through_more(ran):
    outputs = ran("classifier-guidance")
    timesteps, accuracies = (column.values for column in outputs["accuracies"].columns)
    assert (timesteps[0], timesteps[5], timesteps[10]) == (0, 500, 999)
    assert min(accuracies[:6]) >= 0.9
    assert accuracies[5] > accuracies[8] > accuracies[10]
    assert 0.15 <= accuracies[10] <= 0.7  # of ten colours, so more than chance: the schedule leaves some of the picture
    assert outputs["clean_accuracy"] == accuracies[0]


def test_scale_0_is_the_model_alone_to_the_bit(ran):
    outputs = ran("classifier-guidance")
    model = LoadModel(name="builtin").run(CONTEXT)
    told = CLIPEncode(clip=model.clip, text="").run(CONTEXT)
    canvas = EmptyLatent(model=model.model, batch_size=2).run(CONTEXT)

    def sampled(guidance) -> torch.Tensor:
        inputs = {"latent": canvas, "sampler": "dpmpp_2m", "steps": 3, "seed": 7}
        return KSampler(model=model.model, guidance=guidance, **inputs).run(CONTEXT).samples

    def pulled(scale: float) -> torch.Tensor:
        inputs = {"classifier": outputs["classifier"], "label": "blue", "scale": scale}
        return sampled(ClassifierGuidance(guidance=told, **inputs).run(CONTEXT))

    alone = sampled(told)
    assert torch.equal(pulled(0.0), alone)
    assert not torch.equal(pulled(10.0), alone)
