"""The node types that look inside: what a model sees and says while it draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, NamedTuple

from latentgraph.engine.context import Context
from latentgraph.engine.node import Field, Node

from .facts import LatentFacts, check_side, fact
from .latents import Side
from .plots.data import Table, table
from .ports import Latent, Mask
from .references import Clip, Model
from .sampling import KSampler


class TracedSampling(NamedTuple):
    latent: Latent
    noisy: Latent
    predicted: Latent
    labels: tuple[str, ...]
    distances: Table


class TraceSampling(KSampler, category="sampling", resource="device", primary="latent"):
    """Draw as KSampler does, to the same bits, and give what was there on the way.

    Each step gives two latents of a picture: `noisy` is x_t as the model takes it, sqrt(abar) x0 + sqrt(1 - abar) eps
    (Ho et al. 2020, arXiv:2006.11239, equation 4), and `predicted` the clean picture x0 that the model sees in it
    (equation 15), under guidance. Both are given at `count` steps, evenly spread, the first and the last among them:
    f32[N * count, C, h, w], all steps of the first picture before those of the second, so ImageStrip with `count`
    columns has a row for each picture. `labels` has the timestep t of each of these steps.

    `distances` has a row for every step: the timestep and the noise level sigma that the model is told, and how far
    either latent is from the finished one (the last predicted one, where `end` leaves noise): the root of the mean
    squared difference of their numbers.

    Of a sampler that evaluates the model several times in a step, the first evaluation counts. Fails where no step is
    taken.
    """

    count: int = Field(6, ge=1, le=1000, description="at how many of the steps latents are given; at most all of them")

    def run(self, context: Context) -> TracedSampling:
        from .diffusion.tracing import traced

        walk, sources = self._way()
        return TracedSampling(*traced(self, walk, sources, context))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        latent = fact(super().describe(known), "latent", LatentFacts)
        if latent is None:
            return {}
        given = replace(latent, count=None, generators=False)
        return {"latent": latent, "noisy": given, "predicted": given}


class TracedAttention(NamedTuple):
    latent: Latent
    maps: Mask
    words: tuple[str, ...]
    attention: Table


class TraceAttention(KSampler, category="sampling", resource="device", primary="latent"):
    """Draw as KSampler does, to the same bits, and give where in the picture each word of the text was looked for.

    In a cross-attention each place of the picture spreads its attention over the T tokens of the text:
    softmax(Q K^T / sqrt(d)), which sums to 1 over them (Vaswani et al. 2017, arXiv:1706.03762; Rombach et al. 2022,
    arXiv:2112.10752, 3.3). `maps` f32[N * W, 1, H, W] in 0..1 has the share of each of W words: the sum over its
    tokens, the mean over heads, layers and steps, each layer's map interpolated to the picture's size (DAAM, Tang et
    al. 2022, arXiv:2210.04885). All words of the first picture come before those of the second.

    A word that the text has several times has the sum of these. `(start)` is the token that begins a text, `(end)`
    those that end it and fill it up. `attention` is the mean share of each word, over all pictures. Fails for a word
    that is not in the text, for a text that is not in the guidance, and for a model without a cross-attention.
    """

    clip: Clip = Field(description="what encoded the text")
    text: str = Field(description="the text, as it is in the guidance")
    words: tuple[str, ...] = Field((), description="which words; all, with (start) and (end), if there are none")
    layers: tuple[str, ...] = Field(
        (), description="pieces of the paths of the layers that count, such as up_blocks; all if there are none"
    )

    def run(self, context: Context) -> TracedAttention:
        from .diffusion.attention_maps import traced

        context.do_not_resume()  # maps are of all steps
        latent, maps, words = traced(self, lambda: super(TraceAttention, self).run(context))
        shares = maps.mean((0, 2, 3)).tolist()
        return TracedAttention(
            latent, Mask(maps.flatten(0, 1)[:, None]), words, table({"word": words, "attention": shares})
        )


SIDES = "of square pictures; multiples of what the autoencoder divides a side by, 8 for Stable Diffusion"
TOKENS = "how many tokens a prompt has, the padding included"
OF_MODEL = "whose U-Net; without, Stable Diffusion 1.5's, which needs no weights for this"


class CountFLOPs(Node, category="models", resource="device"):
    """How many floating point operations one evaluation of a U-Net takes, for one picture at several sizes.

    The table has for each `side` the FLOPs in `pixel space`, where the same network has 3 channels at its two ends and
    takes the picture as it is, and in `latent space`, as the model is (Rombach et al. 2022, arXiv:2112.10752), and the
    first by the second as `ratio`. Nothing is computed: the operations are those of the shapes, a multiplication and an
    addition counting as two. Guidance takes two evaluations a step.

    Fails for a side that the autoencoder does not divide, and for models that are told more than a text.
    """

    model: Model | None = Field(None, description=OF_MODEL)
    sides: tuple[Annotated[int, Field(ge=8, le=1024)], ...] = Field(
        (64, 128, 256, 512), max_length=16, description=SIDES
    )
    tokens: int = Field(77, ge=1, le=4096, description=TOKENS)

    def run(self, context: Context) -> Table:
        from .diffusion.cost import flops

        return flops(self, context)


class TimeSteps(Node, category="models", resource="device", volatile=True):
    """How many seconds one evaluation of a U-Net takes on this machine, for one picture at several sizes.

    As CountFLOPs counts them: in `pixel space` and in `latent space`, and the first by the second as `ratio`. The
    network has random weights, which makes no difference. Each time is the least of `repeats`, and another one at the
    next run.
    """

    model: Model | None = Field(None, description=OF_MODEL)
    sides: tuple[Annotated[int, Field(ge=8, le=512)], ...] = Field((16, 32, 64), max_length=16, description=SIDES)
    tokens: int = Field(77, ge=1, le=4096, description=TOKENS)
    repeats: int = Field(2, ge=1, le=20, description="how often each is measured")

    def run(self, context: Context) -> Table:
        from .diffusion.cost import times

        return times(self, context)


class TracedUNet(NamedTuple):
    layers: Table
    parameters: int
    skips: int
    smallest: int
    attending: float


class TraceUNet(Node, category="models", resource="device", primary="layers"):
    """The layers of a model's U-Net, and what shape goes out of each, for a picture of a size.

    Ronneberger et al. 2015, arXiv:1505.04597, with the residual and attention layers of Rombach et al. 2022,
    arXiv:2112.10752. `layers` has a row for each in the order of computing, by its path in the network: its kind, the
    channels that go in, what comes out (channels, height and width in latent pixels), its parameters, how many
    transformers it has that attend to the text, whether it is told the timestep (1 or 0), and the layer whose result is
    put beside its input: a skip. `parameters` is the sum, `smallest` the least height of a map, and `attending` the
    share of the parameters in layers that attend to the text.

    Nothing is computed, and no weights are read. Fails for a model whose denoiser is no U-Net.
    """

    model: Model
    width: Side | None = Field(None, description="in pixels; by default what the model learned from")
    height: Side | None = Field(None, description="in pixels; by default what the model learned from")

    def run(self, context: Context) -> TracedUNet:
        from .diffusion.unet_shapes import layers_of

        space, (usual_height, usual_width) = self.model.space, self.model.size
        height, width = self.height or usual_height, self.width or usual_width
        check_side("height", height, space)
        check_side("width", width, space)
        layers = layers_of(self.model, height // space.factor, width // space.factor)
        columns = {
            "layer": [each.path for each in layers],
            "kind": [each.kind for each in layers],
            "channels in": [each.channels_in for each in layers],
            "channels": [each.channels for each in layers],
            "height": [each.height for each in layers],
            "width": [each.width for each in layers],
            "parameters": [each.parameters for each in layers],
            "transformers": [each.attention for each in layers],
            "told the time": [int(each.time) for each in layers],
            "skip from": [each.skip for each in layers],
        }
        whole = sum(each.parameters for each in layers)
        return TracedUNet(
            table(columns),
            whole,
            sum(1 for each in layers if each.skip),
            min(each.height for each in layers if each.kind != "embedding"),
            sum(each.parameters for each in layers if each.attention) / whole,
        )
