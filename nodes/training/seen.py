"""What texts say of emoji scenes, and whether a judge sees it in pictures."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from latentgraph.engine.node import Wrong

from .emoji import ACCESSORIES, BACKGROUNDS, OBJECTS, Scene, captions

if TYPE_CHECKING:
    from torch import Tensor

    from .data import Judge

ATTRIBUTES = ("background", "first", "second", "accessory")

FILLING = {"a", "an", "the", "photo", "picture", "of", "on", "with", "and", "in", "front", "background"}
"""Words of captions that say nothing of what is seen by themselves."""


@dataclass(frozen=True)
class Said:
    """What a text says that there is: things by their short names, a background, an accessory; what it leaves open."""

    things: tuple[str, ...] = ()
    background: str | None = None
    accessory: str | None = None

    def seen_in(self, verdict: dict[str, str]) -> bool:
        """Whether all of it is among what a judge sees."""
        return (
            Counter(self.things) <= Counter((verdict["first"], verdict["second"]))
            and self.background in (None, verdict["background"])
            and self.accessory in (None, verdict["accessory"])
        )


@cache
def _phrases() -> dict[str, tuple[str, str]]:
    """Every wording that means something, with what it is and which; the longest wordings first."""
    phrases: dict[str, tuple[str, str]] = {}
    for colour in BACKGROUNDS:
        phrases |= dict.fromkeys((colour, f"{colour} background"), ("background", colour))
    for accessory in ACCESSORIES:
        worn = accessory.removeprefix("a ")
        phrases |= dict.fromkeys((worn, f"with {worn}", f"with {accessory}"), ("accessory", accessory))
    # A crown and a top hat are things, too, unless something is said to be with them.
    for name, thing in OBJECTS.items():
        phrases |= dict.fromkeys((name, thing.noun.removesuffix(" face"), thing.noun), ("thing", name))
    return dict(sorted(phrases.items(), key=lambda item: -len(item[0])))


@lru_cache(1024)
def said(text: str) -> Said:
    """What a text says, in the words of the data set's captions: `dog face with glasses`, `blue background`.

    Raises ValueError for words that those have not, where nothing is said, and for very long texts.
    """
    if len(text) > 1000:
        raise ValueError(f"a text has {len(text):,} characters, and 1,000 at most are read: say it as a caption does")
    left = " ".join(re.findall(r"[^\s,.]+", text.lower()))
    left = re.sub(r"^((?:an? |the )?\w+ background) with ", r"\1 and ", left)  # what follows is a thing, even a crown
    found: dict[str, list[str]] = {"thing": [], "background": [], "accessory": []}
    while left:
        for phrase, (kind, value) in _phrases().items():
            if left == phrase or left.startswith(f"{phrase} "):
                found[kind].append(value)
                left = left[len(phrase) :].lstrip()
                break
        else:
            word, _, left = left.partition(" ")
            if word not in FILLING:
                raise ValueError(
                    f"`{word}` in `{text}` is nothing that is seen or not: say it as captions of the data do, such as"
                    f' "{captions(Scene("blue", ("dog",), "glasses"))[0]}", or a part of that'
                )
    if not any(found.values()):
        raise ValueError(f"`{text}` says nothing that is seen or not")
    for kind, most in (("thing", 2), ("background", 1), ("accessory", 1)):
        if len(found[kind]) > most:
            raise ValueError(f"`{text}` says {len(found[kind])} times which {kind}; a scene has {most} at most")
    return Said(tuple(found["thing"]), *((found[kind] or [None])[0] for kind in ("background", "accessory")))


def seen(judge: "Judge", pictures: "Tensor", shown: Sequence[str]) -> tuple[tuple[bool, ...], tuple[str, ...]]:
    """Whether each picture f32[N, 3, 64, 64] shows what its text says, and what is seen in it, as a caption."""
    from .judge import loaded

    if len(shown) not in (1, len(pictures)):
        raise Wrong("shown", f"there are {len(shown)} texts for {len(pictures)} pictures: give one, or one for each")
    try:
        wanted = [said(text) for text in shown] * (len(pictures) if len(shown) == 1 else 1)
    except ValueError as error:
        raise Wrong("shown", str(error)) from None
    network = loaded(judge)
    if not set(ATTRIBUTES) <= network.attributes.keys():
        raise Wrong("judge", f"the judge learned {', '.join(network.attributes)}, not {', '.join(ATTRIBUTES)}")
    if pictures.shape[1] == 4:
        raise Wrong("images", "the pictures have opacity, and the judge learned without: link a FlattenImage")
    if pictures.shape[1:] != (3, 64, 64):
        height, width = pictures.shape[2:]
        raise Wrong("images", f"the pictures are {width} by {height}, and the judge learned 64 by 64: resize them")
    verdicts = network.verdicts(pictures)
    right = tuple(text.seen_in(verdict) for text, verdict in zip(wanted, verdicts, strict=True))
    return right, tuple(map(_caption, verdicts))


def _caption(verdict: dict[str, str]) -> str:
    things = tuple(verdict[name] for name in ("first", "second") if verdict[name] != "none")
    accessory = None if verdict["accessory"] == "none" else verdict["accessory"]
    return captions(Scene(verdict["background"], things, accessory))[0]
