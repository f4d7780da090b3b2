"""What is known of values before anything runs, and what cannot work according to it.

`describe` gives such facts for the outputs of a node; of a Model, a Clip and a Vae it gives the value itself, which is
only a reference. The checks are those of the run as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from latentgraph.engine.node import Wrong

from .references import Model, Space, Vae

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class TextFacts:
    """Of a conditioning or a guidance: the width of its tokens, and for how many pictures it is; None if not known.

    `pooled` says whether it has the whole text as one vector, too.
    """

    width: int
    count: int | None
    pooled: bool = False


@dataclass(frozen=True)
class ImageFacts:
    """Of pictures: their height and width, and how many they are; None if not known."""

    pixels: tuple[int, int]
    count: int | None


@dataclass(frozen=True)
class LatentFacts:
    """Of latents: what they fit, how many they are, and whether they are an empty canvas, or have generators."""

    space: Space
    pixels: tuple[int, int] | None
    count: int | None
    empty: bool
    generators: bool


def fact(known: Mapping[str, Any], name: str, kind: type[Kind]) -> Kind | None:
    """What is known of an input, where it is of this kind."""
    found = known.get(name)
    return found if isinstance(found, kind) else None


def together(counts: Mapping[str, int]) -> int:
    """How many pictures are drawn at once: whatever has one entry serves all pictures.

    Raises ValueError where two have several entries, but not equally many.
    """
    several = {name: count for name, count in counts.items() if count != 1}
    if len(set(several.values())) > 1:
        listed = " and ".join(f"{count} {name}" for name, count in several.items())
        raise ValueError(f"{listed} do not go together: give equally many, or one for all pictures")
    return max(counts.values())


def check_drawn_by(latent: Space, model: Space) -> None:
    """Raises Wrong where a model draws in another latent space."""
    if latent != model:
        raise Wrong("latent", f"the latent has {latent}, the model {model}: make it with this model's own VAE")


def check_decoded_by(latent: Space, vae: Space) -> None:
    """Raises Wrong where a VAE has another latent space."""
    if latent != vae:
        raise Wrong("latent", f"the latent has {latent}, the VAE {vae}: decode with the VAE of the model that drew it")


def check_width(name: str, width: int, model: Model) -> None:
    """Raises Wrong where the tokens of the input `name` are not as wide as the model takes them."""
    wanted = model.width
    if width != wanted:
        raise Wrong(
            name, f"the conditioning is {width} wide, the model takes {wanted}: encode with this model's own CLIP"
        )


def check_side(name: str, side: int, space: Space) -> None:
    """Raises Wrong where the factor of a latent space does not divide a side, in pixels."""
    factor = space.factor
    if side % factor:
        near = max(1, round(side / factor)) * factor
        raise Wrong(name, f"{name} is {side}, which the model's factor {factor} does not divide; {near} is near")


def check_picture(height: int, width: int, vae: Vae) -> None:
    """Raises Wrong where a VAE cannot encode a picture of this size, in pixels."""
    factor = vae.space.factor
    if height % factor or width % factor:
        down = f"{max(1, width // factor) * factor} by {max(1, height // factor) * factor}"
        raise Wrong(
            "image", f"the picture is {width} by {height}, which {factor} does not divide: resize it, say to {down}"
        )


def check_index(index: int | None, count: int) -> None:
    """Raises Wrong where an index does not say which of several pictures is meant."""
    if index is None and count != 1:
        raise Wrong("index", f"the image holds {count} pictures, a file holds one: say which with index")
    if index is not None and index >= count:
        raise Wrong("index", f"index is {index}, the last of {count} pictures is {count - 1}")


def check_negative(negative_is_there: bool, scale: float, pooled: bool = False) -> None:
    """Raises Wrong where guidance compares with a negative that there is not, nor zeros in its place.

    Zeros are for Stable Diffusion XL alone, whose texts are pooled, too.
    """
    if not negative_is_there and scale != 1 and not pooled:
        raise Wrong("negative", 'there is no negative: link a CLIPEncode of the text "" to it, or set scale to 1')


def check_seeded(generators: bool) -> None:
    """Raises Wrong where there is no seed, and the latent has no random generators either."""
    if not generators:
        raise Wrong("seed", "there is no seed: the latent has no random generators to go on with, so give a number")


def check_strength(empty: bool, strength: float) -> None:
    """Raises Wrong where a part of an empty latent is to be kept."""
    if empty and strength < 1:
        raise Wrong(
            "strength",
            f"strength {strength:g} on an empty latent: only a picture can be kept in part, leave it at 1",
        )


def check_parts(strength: float, denoise: float | None, start: int | None, end: int | None, steps: int) -> None:
    """Raises Wrong where it is said twice, or not at all, which part of a sampling is wanted."""
    if denoise is not None and strength < 1:
        raise Wrong("denoise", "denoise and strength are two ways to say one thing: leave one of them out")
    if (strength < 1 or denoise is not None) and start is not None:
        raise Wrong("start", "start says which step comes first, and strength or denoise does, too: leave one out")
    if start is not None and start >= steps:
        raise Wrong("start", f"start is {start}, but there are {steps} steps, the first of which is 0")
    if end is not None and end > steps and denoise is None:
        raise Wrong("end", f"end is {end}, but there are {steps} steps")
    if start is not None and end is not None and start >= end:
        raise Wrong("end", f"end is {end} and start {start}: nothing is between them")
