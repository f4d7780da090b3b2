"""The node types that look inside: what a model sees and says while it draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from latentgraph.engine.context import Context
from latentgraph.engine.node import Field

from .facts import LatentFacts, fact
from .plots.data import Table, table
from .ports import Latent, Mask
from .references import Clip
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

        latent, maps, words = traced(self, lambda: super(TraceAttention, self).run(context))
        shares = maps.mean((0, 2, 3)).tolist()
        return TracedAttention(
            latent, Mask(maps.flatten(0, 1)[:, None]), words, table({"word": words, "attention": shares})
        )

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        return super().describe(known)
