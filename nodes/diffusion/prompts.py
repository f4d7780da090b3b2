"""The language of prompts: how strongly words count, where a new chunk begins, words with vectors of their own.

    (word)        counts 1.1 times as much         (word:1.3)    counts 1.3 times as much
    [word]        counts 1/1.1 times as much       a BREAK b     b begins a new chunk of tokens
    \\( \\) \\[ \\] \\: \\\\   are these characters themselves
    embedding:name   the vectors of that name; the name alone means them, too

Brackets nest, and their weights multiply. A bracket without its partner is text, as is a backslash before anything
else. This is what the community's programs have in common; `[a:b:0.5]` and `[a|b]`, which some of them know, are text
in brackets here. Nothing here imports torch.
"""

import re
from collections.abc import Collection, Iterator
from typing import Literal, NamedTuple

Weighting = Literal["interpolate", "scale", "off"]
"""How weights act; `off` takes all marks as text."""

Long = Literal["chunks", "cut"]
"""What becomes of a prompt that is longer than a text encoder takes at once."""

EMPHASIS = 1.1
"""What a pair of brackets without a number multiplies by, or divides by if it is square."""

LIMIT = 100.0
"""How large a weight can be, either way."""

_PIECE = re.compile(r"\\[()\[\]\\:]|[()\[\]]|\\|[^()\[\]\\]+")
_NUMBER = re.compile(r":\s*([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))\s*$")
_BREAK = re.compile(r"\bBREAK\b")
_OPENING = {")": "(", "]": "["}


class Part(NamedTuple):
    """Text that counts `weight` times as much as it would; or the name of an embedding, as it was given."""

    text: str
    weight: float = 1.0
    embedding: bool = False


def parse(prompt: str, names: Collection[str] = (), marks: bool = True) -> list[list[Part]]:
    """The parts of a prompt, for each stretch between two BREAKs; a stretch without text is left out.

    Words that are among `names`, in any case, are embeddings. Neighbouring parts of text have different weights, so a
    prompt without marks is one part, as it was written. Without `marks`, brackets, backslashes and BREAK are text.

    Raises ValueError for a weight beyond LIMIT, and for `embedding:name` where there is no such name.
    """
    stretches: list[list[Part]] = [[]]
    for part in _weighted(prompt) if marks else [Part(prompt)]:
        for index, text in enumerate(_BREAK.split(part.text) if marks else [part.text]):
            if index:
                stretches.append([])
            stretch = stretches[-1]
            if stretch and stretch[-1].weight == part.weight:
                stretch[-1] = Part(stretch[-1].text + text, part.weight)
            elif text:
                stretch.append(Part(text, part.weight))
    words = _words(names)
    return [
        [piece for part in stretch for piece in _named(part, words, names)]
        for stretch in stretches
        if any(part.text.strip() for part in stretch)
    ]


def _named(part: Part, words: re.Pattern[str], names: Collection[str]) -> Iterator[Part]:
    """A part, cut at the embeddings in it."""
    by_name = {name.lower(): name for name in names}
    text, weight, end = part.text, part.weight, 0
    for match in words.finditer(text):
        name = by_name.get((match["name"] or match["word"]).lower())
        if name is None:
            known = ", ".join(names) or "none: add it with LoadEmbedding"
            raise ValueError(f"`{match[0]}` is an embedding that is not loaded; loaded are {known}")
        if end < match.start():
            yield Part(text[end : match.start()], weight)
        yield Part(name, weight, embedding=True)
        end = match.end()
    if end < len(text):
        yield Part(text[end:], weight)


def _words(names: Collection[str]) -> re.Pattern[str]:
    """What finds the words that mean embeddings: whole words, longer names first."""
    longest_first = sorted(names, key=len, reverse=True)
    # A name may begin or end with what is no letter, as `<cat>` does: then anything may stand beside it.
    words = [
        (r"\b" if re.match(r"\w", name) else "") + re.escape(name) + (r"\b" if re.search(r"\w$", name) else "")
        for name in longest_first
    ]
    one = "|".join(words) or r"(?!)"
    return re.compile(rf"\bembedding:(?P<name>{one}|[^\s,;:()\[\]]+)|(?P<word>{one})", re.IGNORECASE)


def _weighted(prompt: str) -> Iterator[Part]:
    """The text of a prompt, cut at the brackets that count."""
    pieces = _PIECE.findall(prompt)
    factors = _factors(pieces)
    weights, text = [1.0], ""
    for index, piece in enumerate([*pieces, None]):
        if piece is not None and index not in factors:
            text += piece[1:] if len(piece) > 1 and piece.startswith("\\") else piece
            continue
        if text:
            if not abs(weights[-1]) <= LIMIT:
                raise ValueError(f"the brackets make {text!r} count {weights[-1]:g} times; {LIMIT:g} is the most")
            yield Part(text, weights[-1])
            text = ""
        factor = factors.get(index)
        if factor is None:
            weights.pop()
        else:
            weights.append(weights[-1] * factor)


def _factors(pieces: list[str]) -> dict[int, float | None]:
    """Of the brackets that have a partner: what an opening one multiplies by, None for a closing one.

    Takes the numbers out of the pieces.
    """
    factors: dict[int, float | None] = {}
    unclosed: dict[str, list[int]] = {"(": [], "[": []}
    for index, piece in enumerate(pieces):
        if piece in unclosed:
            unclosed[piece].append(index)
        elif piece in _OPENING and unclosed[_OPENING[piece]]:
            start = unclosed[_OPENING[piece]].pop()
            for inside in unclosed.values():
                while inside and inside[-1] > start:
                    inside.pop()
            number = _NUMBER.search(pieces[index - 1]) if piece == ")" else None
            if number:
                pieces[index - 1] = pieces[index - 1][: number.start()]
            factors[start] = float(number[1]) if number else EMPHASIS if piece == ")" else 1 / EMPHASIS
            factors[index] = None
    return factors
