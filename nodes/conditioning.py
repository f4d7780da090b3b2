"""What a picture is to show."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from latentgraph.engine.context import Context
from latentgraph.engine.node import Field, Node, Wrong

from .areas import all_known
from .diffusion.prompts import Long, Weighting, parse
from .facts import TextFacts, fact, together
from .guides import Conditioning, Size
from .ports import Mask
from .references import FAMILIES, Clip

POOLED = ("sdxl", "sdxl_refiner", "sd3")
"""Families that take a text as one vector, too."""

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
        return {"conditioning": TextFacts(clip.width, None if text is None else len(texts), clip.family in POOLED)}


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


class ClipSkip(Node, category="conditioning"):
    """A text encoder without its last layers, for models that were trained so.

    Counted as in diffusers: 1 takes the layer before the one that is usual, which others call a clip skip of 2.
    """

    clip: Clip
    skip: int = Field(1, ge=0, description="how many layers to leave out")

    def run(self, context: Context) -> Clip:
        return _skipping(self.clip, self.skip)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        clip = fact(known, "clip", Clip)
        return {} if clip is None or "skip" not in known else {"clip": _skipping(clip, known["skip"])}


def _skipping(clip: Clip, skip: int) -> Clip:
    configs = [encoder.weights.config for encoder in clip.encoders]
    layers = min(config["num_hidden_layers"] for config in configs if "d_model" not in config)
    if skip >= layers:
        raise Wrong("skip", f"skip is {skip}, the text encoder has {layers} layers: leave at least one")
    return replace(clip, skip=skip)


class SizeConditioning(Node, category="conditioning"):
    """What Stable Diffusion XL is told of a picture's size, besides the text (Podell et al. 2023, arXiv:2307.01952).

    Without this node it is told that the picture was as large as it is drawn, and was not cut. Other models take no
    notice. The negative has a size of its own: give it the same, or say of it what is not wanted.
    """

    conditioning: Conditioning
    width: int = Field(ge=1, le=1 << 16, description="how wide the picture was before it was made smaller, in pixels")
    height: int = Field(ge=1, le=1 << 16, description="how high it was, in pixels")
    left: int = Field(0, ge=0, le=1 << 16, description="how much was cut off at its left, in pixels")
    top: int = Field(0, ge=0, le=1 << 16, description="how much was cut off at the top, in pixels")
    target_width: int | None = Field(None, ge=1, le=1 << 16, description="how wide it is now; as drawn if left out")
    target_height: int | None = Field(None, ge=1, le=1 << 16, description="how high it is now; as drawn if left out")
    aesthetic_score: float | None = Field(
        None, ge=0, le=100, description="of the refiner alone; 6, and in a negative 2.5, if left out"
    )

    def run(self, context: Context) -> Conditioning:
        size = Size(
            self.height,
            self.width,
            self.top,
            self.left,
            self.target_height,
            self.target_width,
            self.aesthetic_score,
        )
        return _with(self.conditioning, size=size)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        return _same(known)


class CombineConditioning(Node, category="conditioning"):
    """Conditions that hold together: the model is asked for each, and the mean of its answers is taken.

    Where some have an area, the mean is one of those that hold at a place, by their weights. Takes as many evaluations
    of the model as there are conditions.
    """

    conditionings: tuple[Conditioning, ...]

    def run(self, context: Context) -> Conditioning:
        _check_several(self.conditionings)
        return Conditioning(tuple(cond for conditioning in self.conditionings for cond in conditioning.conds))

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        return _together(known)


class ConcatConditioning(Node, category="conditioning"):
    """The tokens of several conditionings in one, after each other: one evaluation of the model sees all of them.

    What says the text as one vector, and all else, is the first one's.
    """

    conditionings: tuple[Conditioning, ...]

    def run(self, context: Context) -> Conditioning:
        from .diffusion.conditions import joined

        _check_several(self.conditionings)
        return joined(self.conditionings)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        return _together(known)


class AverageConditioning(Node, category="conditioning"):
    """A conditioning between two others: token by token `first + amount * (second - first)`.

    All else is the first one's. Texts of different length are made equally long by repeating the tokens of the shorter
    one, which to a U-Net says the same; fails where that takes more than twice as many as the longer one has.
    """

    first: Conditioning
    second: Conditioning
    amount: float = Field(0.5, ge=-10, le=10, description="0 is the first, 1 the second; beyond them goes further")

    def run(self, context: Context) -> Conditioning:
        from .diffusion.conditions import averaged

        return averaged(self.first, self.second, self.amount)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        first, second = fact(known, "first", TextFacts), fact(known, "second", TextFacts)
        return {} if first is None or second is None else {"conditioning": _common("second", (first, second))}


class SetArea(Node, category="conditioning"):
    """A conditioning for a rectangle of the picture alone, in fractions of its width and height.

    Combine it with others by CombineConditioning, one of them for the whole picture. For a rectangle in pixels, or any
    other shape, take SetRegion.
    """

    conditioning: Conditioning
    left: float = Field(0.0, ge=0, lt=1, description="where the rectangle begins, 0 to 1")
    top: float = Field(0.0, ge=0, lt=1, description="where the rectangle begins, 0 to 1")
    width: float = Field(1.0, gt=0, le=1, description="of the rectangle, 0 to 1")
    height: float = Field(1.0, gt=0, le=1, description="of the rectangle, 0 to 1")
    weight: float = Field(1.0, ge=0, le=100, description="how much it counts beside others that hold there")

    def run(self, context: Context) -> Conditioning:
        from .diffusion.conditions import rectangle

        _check_inside(self.left, self.width, self.top, self.height)
        region = rectangle(self.left, self.top, self.width, self.height)
        return _with(self.conditioning, region=region, weight=self.weight)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        given = all_known(known, "left", "width", "top", "height")
        if given is not None:
            _check_inside(*given)
        return _same(known)


def _check_inside(left: float, width: float, top: float, height: float) -> None:
    for side, start, length in (("width", left, width), ("height", top, height)):
        if start + length > 1 + 1e-6:
            raise Wrong(side, f"the rectangle begins at {start:g} and its {side} is {length:g}: that is outside")


class SetRegion(Node, category="conditioning"):
    """A conditioning that holds where a mask is 1, and in part where it is between; it is stretched over the picture.

    Combine it with others by CombineConditioning, one of them for the whole picture.
    """

    conditioning: Conditioning
    mask: Mask
    weight: float = Field(1.0, ge=0, le=100, description="how much it counts beside others that hold there")

    def run(self, context: Context) -> Conditioning:
        return _with(self.conditioning, region=self.mask.pixels, weight=self.weight)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        return _same(known)


class SetTimestepRange(Node, category="conditioning"):
    """A conditioning that holds during a part of the sampling. Others have to hold during the rest."""

    conditioning: Conditioning
    start: float = Field(0.0, ge=0, le=1, description="where it begins to hold: 0 is before the first step")
    end: float = Field(1.0, ge=0, le=1, description="where it ends: 1 is after the last step")

    def run(self, context: Context) -> Conditioning:
        _check_range(self.start, self.end)
        return _with(self.conditioning, start=self.start, end=self.end)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        given = all_known(known, "start", "end")
        if given is not None:
            _check_range(*given)
        return _same(known)


def _check_range(start: float, end: float) -> None:
    if start >= end:
        raise Wrong("end", f"it begins at {start:g} and ends at {end:g}: nothing is between them")


class ZeroConditioning(Node, category="conditioning"):
    """A conditioning of zeros, as large as a given one: what Stable Diffusion XL and 3 know as no text at all."""

    conditioning: Conditioning

    def run(self, context: Context) -> Conditioning:
        from .diffusion.conditions import zeroed

        return zeroed(self.conditioning)

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        return _same(known)


def _with(conditioning: Conditioning, **changes: Any) -> Conditioning:
    return Conditioning(tuple(replace(cond, **changes) for cond in conditioning.conds))


def _same(known: Mapping[str, Any]) -> Mapping[str, Any]:
    facts = fact(known, "conditioning", TextFacts)
    return {} if facts is None else {"conditioning": facts}


def _together(known: Mapping[str, Any]) -> Mapping[str, Any]:
    given = known.get("conditionings")
    if given is None:
        return {}
    _check_several(given)
    if not all(isinstance(facts, TextFacts) for facts in given):
        return {}
    return {"conditioning": _common("conditionings", given)}


def _check_several(given: tuple[Any, ...]) -> None:
    if not given:
        raise Wrong("conditionings", "the list of conditionings is empty: give at least one")


def _common(name: str, given: tuple[TextFacts, ...]) -> TextFacts:
    """What is known of conditionings as one. Raises Wrong, with the name of an input, where they do not go together."""
    widths = dict.fromkeys(facts.width for facts in given)
    if len(widths) > 1:
        raise Wrong(name, f"the texts are {' and '.join(map(str, widths))} wide: encode all with one CLIP")
    if any(facts.count is None for facts in given):
        return replace(given[0], count=None)
    try:
        count = together({f"texts of the {place}. conditioning": facts.count for place, facts in enumerate(given, 1)})
    except ValueError as error:
        raise Wrong(name, str(error)) from None
    return replace(given[0], count=count)
