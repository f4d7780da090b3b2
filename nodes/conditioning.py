"""What a picture is to show, and how strongly."""

from collections.abc import Mapping
from typing import Any

from latentgraph.engine.context import Context
from latentgraph.engine.node import Field, Node, Wrong

from .diffusion.prompts import Long, Weighting, parse
from .facts import TextFacts, check_negative, fact
from .guides import CFG, Conditioning, Guidance
from .references import FAMILIES, Clip

EMPTY = "the list of texts is empty: give at least one, which may be the empty text"


class CLIPEncode(Node, category="conditioning"):
    """Text as conditioning: what the model's text encoders make of it, one vector for each of T tokens.

    A list of texts gives a conditioning for a batch, one picture to each text: tokens f32[N, T, D].

    `(word:1.3)` makes a word count more, `(word)` 1.1 times as much, `[word]` 1/1.1 times; such brackets nest, and
    `\\(` is a bracket itself. With `interpolate`, a word's vector goes as far as that from the vector that the empty
    text has there; with `scale`, it is multiplied, and then all vectors are, so that their mean stays. With `off`, all
    of this is text. `BREAK` begins a new chunk. A name that LoadEmbedding gave stands for its vectors, as does
    `embedding:` before it.

    A text encoder takes a number of tokens at once, 77 for CLIP, two of which are the start and the end. Longer text
    goes in as several chunks, whose vectors follow each other; or it is cut, and the progress message says what was
    left out. Of Stable Diffusion 3's T5 it is cut after 256.
    """

    clip: Clip
    text: str | tuple[str, ...] = Field(description="what to draw; a list for a batch; may be empty")
    text_2: str | tuple[str, ...] | None = Field(
        None, description="for the second text encoder of Stable Diffusion XL or 3; the same text if left out"
    )
    weights: Weighting = Field("interpolate", description="how `(word:1.3)` acts; off takes brackets and BREAK as text")
    long: Long = Field("chunks", description="whether text that is too long goes in as several chunks, or is cut")

    def run(self, context: Context) -> Conditioning:
        from .diffusion.text import encode

        texts, second = _texts(self.text, self.text_2, self.clip)
        conditioning, cut = encode(self.clip, texts, second, self.weights, self.long)
        for lost in filter(None, cut):
            context.progress(1, 1, f"the text is too long for the text encoder; left out: {lost}")
        return conditioning

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        clip = fact(known, "clip", Clip)
        text, second = known.get("text"), known.get("text_2")
        if text is not None:
            texts, _ = _texts(text, second, clip)
        if clip is None:
            return {}
        for name, given in (("text", text), ("text_2", second)):
            for prompt in _listed(given):
                _check_prompt(name, prompt, clip, known.get("weights") != "off")
        return {"conditioning": TextFacts(clip.width, None if text is None else len(texts))}


def _listed(text: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return () if text is None else (text,) if isinstance(text, str) else text


def _texts(
    text: str | tuple[str, ...], second: str | tuple[str, ...] | None, clip: Clip | None
) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    """The texts of a batch for the first text encoder and the second. Raises Wrong where they do not go together."""
    texts, others = _listed(text), _listed(second)
    if not texts:
        raise Wrong("text", EMPTY)
    if second is None:
        return texts, None
    if not others:
        raise Wrong("text_2", EMPTY)
    if clip is not None and len(clip.encoders) == 1:
        raise Wrong("text_2", f"{FAMILIES[clip.family]} has one text encoder: leave text_2 out")
    count = max(len(texts), len(others))
    if {len(texts), len(others)} - {1, count}:
        raise Wrong("text_2", f"there are {len(texts)} texts and {len(others)} of text_2: give equally many, or one")
    return texts * (count // len(texts)), others * (count // len(others))


def _check_prompt(name: str, prompt: str, clip: Clip, marks: bool) -> None:
    """Raises Wrong for what is no prompt."""
    try:
        parse(prompt, [word for word, _ in clip.embeddings], marks)
    except ValueError as error:
        raise Wrong(name, str(error)) from None


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
