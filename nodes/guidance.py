"""How strongly a picture follows what it is to show: guidance, as a value that the sampler interprets.

The first four compare a positive with a negative; the others change a guidance, and any can be put around any.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from latentgraph.engine.context import Context
from latentgraph.engine.node import Field, Node, Wrong

from .areas import all_known
from .facts import TextFacts, check_negative, fact
from .guides import (
    APG,
    CFG,
    CFGZeroStar,
    Classified,
    Conditioning,
    Guidance,
    Interval,
    Perturbation,
    Perturbed,
    Rescaled,
    TangentialCFG,
)
from .references import Classifier

NEGATIVE = "what not to draw; may be left out where scale is 1; for Stable Diffusion XL left out is a text of zeros"
SCALE = "how strongly; 3 to 8 are usual"
LAYERS = "which transformer blocks: pieces of their paths in the network, or their numbers in a transformer"


class CFGCombine(Node, category="guidance"):
    """Classifier-free guidance: away from the negative, towards the positive (Ho and Salimans 2022, arXiv:2207.12598).

    The sampler evaluates `scale * (positive - negative) + negative` at each step. At scale 1 it evaluates the positive
    alone, at 0 the negative alone; any other scale evaluates both and takes twice as long.
    """

    positive: Conditioning
    negative: Conditioning | None = Field(None, description=NEGATIVE)
    scale: float = Field(7.5, ge=-100, le=100, description=SCALE)

    def run(self, context: Context) -> Guidance:
        check_negative(self.negative is not None, self.scale, self.positive.conds[0].pooled is not None)
        return CFG(self.positive, self.negative, self.scale)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        return _compared(known)


class AdaptiveProjectedGuidance(Node, category="guidance"):
    """Guidance that does not oversaturate at high scales: APG (Sadat et al. 2024, arXiv:2410.02416).

    The sampler evaluates `negative + scale * update`. The update is `positive - negative` plus `momentum` times the
    update before; it is shortened to `threshold` where it is longer, the length taken over a whole picture; and its
    part along the positive, which is what oversaturates, is multiplied by `eta`. With eta 1, threshold 0 and momentum 0
    this is classifier-free guidance.

    All of this acts on what the model predicts, as in diffusers; in the paper, on the clean picture that follows from
    it. The defaults are the paper's for Stable Diffusion XL.
    """

    positive: Conditioning
    negative: Conditioning | None = Field(None, description=NEGATIVE)
    scale: float = Field(7.5, ge=-100, le=100, description="how strongly; 5 to 15 are usual")
    eta: float = Field(0.0, ge=-10, le=10, description="how much of the part along the positive stays")
    threshold: float = Field(15.0, ge=0, description="how long the update is at most; 0 leaves its length as it is")
    momentum: float = Field(-0.5, gt=-1, lt=1, description="how much of the last update is added; below 0 is usual")

    def run(self, context: Context) -> Guidance:
        check_negative(self.negative is not None, self.scale, self.positive.conds[0].pooled is not None)
        return APG(self.positive, self.negative, self.scale, self.eta, self.threshold, self.momentum)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        return _compared(known)


class CFGZeroStarGuidance(Node, category="guidance"):
    """Guidance for flow models such as Stable Diffusion 3: CFG-Zero* (Fan et al. 2025, arXiv:2503.18886).

    Classifier-free guidance in which the negative is first multiplied by `<positive, negative> / |negative|²`, over a
    whole picture, so that it differs from the positive as little as it can. In the first `zero_steps` steps the
    prediction is 0, which leaves the latents of a flow model as they are.
    """

    positive: Conditioning
    negative: Conditioning | None = Field(None, description=NEGATIVE)
    scale: float = Field(4.0, ge=-100, le=100, description=SCALE)
    zero_steps: int = Field(0, ge=0, le=1000, description="for flow models alone; the paper has 1 of each 25 steps")

    def run(self, context: Context) -> Guidance:
        check_negative(self.negative is not None, self.scale, self.positive.conds[0].pooled is not None)
        return CFGZeroStar(self.positive, self.negative, self.scale, self.zero_steps)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        return _compared(known)


class TangentialGuidance(Node, category="guidance"):
    """Classifier-free guidance without what only the negative has: TCFG (Kwon et al. 2025, arXiv:2503.18137).

    Of the negative only that part is kept which lies along the first singular vector of positive and negative.
    """

    positive: Conditioning
    negative: Conditioning | None = Field(None, description=NEGATIVE)
    scale: float = Field(7.5, ge=-100, le=100, description=SCALE)

    def run(self, context: Context) -> Guidance:
        check_negative(self.negative is not None, self.scale, self.positive.conds[0].pooled is not None)
        return TangentialCFG(self.positive, self.negative, self.scale)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        return _compared(known)


class RescaleGuidance(Node, category="guidance"):
    """A guidance with its contrast brought back to that of the positive (Lin et al. 2023, arXiv:2305.08891, 3.4).

    What is guided is multiplied so that its standard deviation is that of the positive, for each picture, and `phi` of
    that is mixed with the rest unchanged. For models that predict v, or learned without any signal in the noisiest
    step, whose pictures are otherwise too bright or too dark.
    """

    guidance: Guidance | Conditioning
    phi: float = Field(0.7, ge=0, le=1, description="how much of it; 0 changes nothing")

    def run(self, context: Context) -> Guidance:
        return Rescaled(self.guidance, self.phi)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        return _same(known)


class PerturbedAttentionGuidance(Node, category="guidance"):
    """Away from pictures without structure: PAG (Ahn et al. 2024, arXiv:2403.17377).

    To the guidance `scale * (positive - perturbed)` is added; perturbed is the positive as the denoiser predicts it
    when in some layers each pixel attends to itself alone (and in a transformer to the text). This takes one more
    evaluation in each step. It also serves without a negative: link a conditioning to `guidance`.

    Sampling fails where the model has no such layers, and says which it has.
    """

    guidance: Guidance | Conditioning
    scale: float = Field(3.0, ge=-100, le=100, description="how strongly; 0 changes nothing")
    layers: tuple[int | str, ...] = Field(("mid_block",), description=LAYERS)

    def run(self, context: Context) -> Guidance:
        return Perturbed(self.guidance, self.scale, Perturbation("attention", _layers(self.layers)))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        if "layers" in known:
            _layers(known["layers"])
        return _same(known)


class SkipLayerGuidance(Node, category="guidance"):
    """Away from what a worse model draws, which is the same without some of its layers.

    To the guidance `scale * (positive - skipped)` is added; skipped is the positive as the denoiser predicts it without
    some transformer blocks. This takes one more evaluation in each step. Made for Stable Diffusion 3.5 medium, with
    layers 7, 8 and 9; GuidanceInterval limits it to the first fifth of the steps, which is usual.

    Sampling fails where the model has no such layers, and says which it has.
    """

    guidance: Guidance | Conditioning
    layers: tuple[int | str, ...] = Field(description=LAYERS)
    scale: float = Field(2.8, ge=-100, le=100, description="how strongly; 0 changes nothing")

    def run(self, context: Context) -> Guidance:
        return Perturbed(self.guidance, self.scale, Perturbation("block", _layers(self.layers)))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        if "layers" in known:
            _layers(known["layers"])
        return _same(known)


class ClassifierGuidance(Node, category="guidance"):
    """Towards what a classifier takes for a label: classifier guidance (Dhariwal and Nichol 2021, arXiv:2105.05233).

    At each step the noise that the model predicts is lessened by `scale * sqrt(1 - abar) * grad log p(label | x_t)`,
    the gradient of the classifier, which TrainClassifier trains on noisy latents; a velocity or a picture is changed so
    that it means the same (algorithm 2). So it draws classes with a model that knows no prompts: link a CLIPEncode of
    the text "" to `guidance`. It can also be put around any other guidance.

    Fails for a label that the classifier does not know. Sampling fails where the classifier is for another latent
    space, and for flow models, whose way from noise to picture is another one.
    """

    guidance: Guidance | Conditioning
    classifier: Classifier
    label: str = Field(description="one of the classifier's labels")
    scale: float = Field(3.0, ge=-1000, le=1000, description="how strongly; 0 changes nothing")

    def run(self, context: Context) -> Guidance:
        if self.label not in self.classifier.labels:
            known = ", ".join(f"`{label}`" for label in self.classifier.labels)
            raise Wrong("label", f"the classifier of {self.classifier.attribute} knows no `{self.label}`, but {known}")
        return Classified(self.guidance, self.classifier, self.label, self.scale)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        return _same(known)


class GuidanceInterval(Node, category="guidance"):
    """A guidance during a part of the steps alone (Kynkäänniemi et al. 2024, arXiv:2404.07724).

    During the others the sampler does without what the linked node has added: without classifier-free guidance, and
    whatever else compares with a negative, it draws by the positive alone; without PAG, skipped layers, rescaling or a
    classifier, by the guidance that these were put around. It holds at the steps, counted from 0, with
    `int(start * steps) <= step < int(end * steps)`.
    """

    guidance: Guidance | Conditioning
    start: float = Field(0.0, ge=0, le=1, description="where it begins to hold: 0 is before the first step")
    end: float = Field(1.0, ge=0, le=1, description="where it ends: 1 is after the last step")

    def run(self, context: Context) -> Guidance:
        _check_interval(self.start, self.end)
        return Interval(self.guidance, self.start, self.end)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        given = all_known(known, "start", "end")
        if given is not None:
            _check_interval(*given)
        return _same(known)


def _compared(known: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is known of a guidance that compares a positive with a negative."""
    positive, negative = fact(known, "positive", TextFacts), fact(known, "negative", TextFacts)
    if positive is None:
        return {}
    if "scale" in known and known.get("negative", ...) is None:
        check_negative(False, known["scale"], positive.pooled)
    if negative is not None and negative.width != positive.width:
        message = f"the negative is {negative.width} wide, the positive {positive.width}: encode both with one CLIP"
        raise Wrong("negative", message)
    counts = [part.count for part in (positive, negative) if part is not None]
    return {"guidance": replace(positive, count=None if None in counts else max(counts))}


def _same(known: Mapping[str, Any]) -> Mapping[str, Any]:
    facts = fact(known, "guidance", TextFacts)
    return {} if facts is None else {"guidance": facts}


def _layers(given: tuple[int | str, ...]) -> tuple[str, ...]:
    """Paths of layers; a number is a block of a transformer. Raises Wrong where there are none."""
    if not given or "" in given:
        raise Wrong("layers", "no layer is named: name at least one, such as mid_block, or 7 in a transformer")
    return tuple(f"transformer_blocks.{layer}" if isinstance(layer, int) else layer for layer in given)


def _check_interval(start: float, end: float) -> None:
    if start >= end:
        raise Wrong("end", f"it begins at {start:g} and ends at {end:g}: nothing is between them")
