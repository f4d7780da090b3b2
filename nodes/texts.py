"""Texts as the text encoder has them: as tokens, as vectors, and how near their meanings are."""

from __future__ import annotations

from typing import NamedTuple

from latentgraph.engine.context import Context
from latentgraph.engine.node import Field, Node, Wrong

from .guides import Conditioning
from .plots.data import Table
from .references import Clip


class Tokens(NamedTuple):
    tokens: tuple[str, ...]
    ids: tuple[int, ...]
    count: int


class Tokenize(Node, category="conditioning", primary="tokens"):
    """Text as the tokens that the text encoder is given: words, or pieces of words, with a number each.

    They are the start, the text, its end, and what pads it to as many tokens as the encoder takes at once (77 in Stable
    Diffusion). `count` is how many there are before that. Of several text encoders it is the first
    one's tokens. Weights, as in `(word:1.3)`, are no part of the text; what is too long for one chunk is cut.
    """

    clip: Clip
    text: str = Field(description="what to draw")

    def run(self, context: Context) -> Tokens:
        from .diffusion.text_vectors import tokenized

        return Tokens(*tokenized(self.clip, self.text))


class ConditioningTable(Node, category="conditioning"):
    """The vectors of a text as a table: a row for each token, a column for each of the D numbers of its vector.

    Fails for a batch of texts, and where there are not as many tokens as vectors.
    """

    conditioning: Conditioning
    tokens: tuple[str, ...] = Field((), description="what to call the rows, as Tokenize gives it; numbers without")

    def run(self, context: Context) -> Table:
        from .diffusion.text_vectors import vector_table

        return vector_table(self)


class TextComparison(NamedTuple):
    table: Table
    same: float
    least_same: float
    other: float
    most_other: float


class CompareTexts(Node, category="conditioning", resource="device", primary="table"):
    """How near the meanings of texts are to a text encoder: the cosines between their vectors, -1..1.

    The vector of a text is the encoder's last state at the end of the text, the only place that has seen all of it
    (Radford et al. 2021, arXiv:2103.00020); times the projection, where the encoder has one. Of several encoders it is
    the first one's.

    `table` has a row for each text, with its number, and a column for each number. With `meanings`, `same` is the mean
    cosine of two texts that mean the same and `least_same` the least one; `other` and `most_other` are the mean and the
    most of texts that do not. They are 0 where there are no such texts. Fails for a text that the encoder cannot take
    as a whole.
    """

    clip: Clip
    texts: tuple[str, ...] = Field(max_length=128, description="at least two; brackets are text, not weights")
    meanings: tuple[str, ...] = Field((), description="what each text means: texts of one meaning have the same here")

    def run(self, context: Context) -> TextComparison:
        from .diffusion.text_vectors import compared

        if len(self.texts) < 2:
            raise Wrong("texts", f"there are {len(self.texts)} texts: give two or more to compare")
        if len(set(self.texts)) < len(self.texts):
            raise Wrong("texts", "a text is there twice: give each once")
        if self.meanings and len(self.meanings) != len(self.texts):
            raise Wrong("meanings", f"there are {len(self.meanings)} for {len(self.texts)} texts: give one for each")
        return TextComparison(*compared(self))
