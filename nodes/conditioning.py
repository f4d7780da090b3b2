"""What a picture is to show, and how strongly."""

from collections.abc import Mapping
from typing import Any

from latentgraph.engine.context import Context
from latentgraph.engine.node import Field, Node, Wrong

from .facts import TextFacts, check_negative, fact
from .ports import CFG, Clip, Conditioning, Guidance

EMPTY = "the list of texts is empty: give at least one, which may be the empty text"


class CLIPEncode(Node, category="conditioning"):
    """Text as conditioning: the last hidden state of CLIP's text encoder, one vector for each of its T tokens.

    A list of texts gives a conditioning for a batch, one picture to each text: tokens f32[N, T, D]. Text is padded to T
    tokens, which the tokenizer determines (77 for Stable Diffusion). Longer text is cut there, and the progress message
    says what was left out.
    """

    clip: Clip
    text: str | tuple[str, ...] = Field(description="what to draw; a list for a batch; may be empty")

    def run(self, context: Context) -> Conditioning:
        from .diffusion.text import encode

        texts = (self.text,) if isinstance(self.text, str) else self.text
        if not texts:
            raise Wrong("text", EMPTY)
        conditioning, cut = encode(self.clip, texts)
        for lost in filter(None, cut):
            context.progress(1, 1, f"the text is too long for the text encoder; left out: {lost}")
        return conditioning

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        clip, text = fact(known, "clip", Clip), known.get("text")
        count = len(text) if isinstance(text, tuple) else None if text is None else 1
        if count == 0:
            raise Wrong("text", EMPTY)
        return {} if clip is None else {"conditioning": TextFacts(clip.weights.config["hidden_size"], count)}


class CFGCombine(Node, category="conditioning"):
    """Classifier-free guidance: away from the negative, towards the positive (Ho and Salimans 2022, arXiv:2207.12598).

    The sampler evaluates `scale * (positive - negative) + negative` at each step. At scale 1 it evaluates the positive
    alone, at 0 the negative alone; any other scale evaluates both and takes twice as long.
    """

    positive: Conditioning
    negative: Conditioning | None = Field(None, description="what not to draw; may be left out only where scale is 1")
    scale: float = Field(7.5, ge=-100, le=100, description="how strongly; 3 to 8 are usual")

    def run(self, context: Context) -> Guidance:
        check_negative(self.negative is not None, self.scale)
        return CFG(self.positive, self.negative, self.scale)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        if "scale" in known and known.get("negative", ...) is None:
            check_negative(False, known["scale"])
        positive, negative = fact(known, "positive", TextFacts), fact(known, "negative", TextFacts)
        if positive is None:
            return {}
        if negative is not None and negative.width != positive.width:
            message = f"the negative is {negative.width} wide, the positive {positive.width}: encode both with one CLIP"
            raise Wrong("negative", message)
        counts = [part.count for part in (positive, negative) if part is not None]
        return {"guidance": TextFacts(positive.width, None if None in counts else max(counts))}
