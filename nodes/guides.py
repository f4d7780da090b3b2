"""What a picture is to show, and how the sampler gets there: conditionings and guidance, as values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal

from latentgraph.engine.ports import PortType

from .codec import TENSORS
from .references import Classifier, ControlNet, ImageAdapter
from .tensors import plain

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Size:
    """What Stable Diffusion XL is told about a picture, in pixels: how large it was, how it was cut, how large it is.

    Its refiner is told an aesthetic score instead of the last two (Podell et al. 2023, arXiv:2307.01952, 2.2).
    """

    height: int
    width: int
    top: int = 0
    left: int = 0
    target_height: int | None = None
    target_width: int | None = None
    """None is as large as the picture that is drawn."""
    aesthetic_score: float | None = None
    """None is 6 in what is wanted, and 2.5 in what is not, as diffusers has it."""


@dataclass(frozen=True, eq=False)
class Control:
    """A ControlNet's part in a condition: `image` f32[N, 3, H, W] in 0..1, from `start` to `end` of the steps, 0..1."""

    net: ControlNet
    image: Tensor
    strength: float = 1.0
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        plain(self, "image", 4)


@dataclass(frozen=True, eq=False)
class ImagePrompt:
    """A picture as a prompt: its embedding f32[N, K, E] by the adapter's encoder.

    `nothing` of the same shape stands for no picture, which is what a negative takes.
    """

    adapter: ImageAdapter
    embedding: Tensor
    nothing: Tensor
    strength: float = 1.0

    def __post_init__(self) -> None:
        plain(self, "embedding", 3)
        plain(self, "nothing", 3)


@dataclass(frozen=True, eq=False)
class Cond:
    """One condition. `tokens` is f32[N, T, D]: T vectors of a text for each of N pictures, N being 1 or the batch.

    `pooled` f32[N, P] is the whole text as one vector, for the models that take it. The condition holds where `region`
    f32[N, 1, H, W] says, 0..1, stretched over the picture (everywhere if None), with `weight` beside others that hold
    there, and from `start` to `end` of the steps, 0..1.
    """

    tokens: Tensor
    pooled: Tensor | None = None
    size: Size | None = None
    region: Tensor | None = None
    weight: float = 1.0
    start: float = 0.0
    end: float = 1.0
    controls: tuple[Control, ...] = ()
    images: tuple[ImagePrompt, ...] = ()

    def __post_init__(self) -> None:
        plain(self, "tokens", 3)
        plain(self, "pooled", 2)
        plain(self, "region", 4)


@dataclass(frozen=True)
class Conditioning(PortType, codec=TENSORS):
    """What a picture is to show: conditions that hold together."""

    conds: tuple[Cond, ...]


class Guidance(PortType, codec=TENSORS):
    """How the sampler combines what the model predicts under several conditionings: a recipe that it follows."""


@dataclass(frozen=True)
class CFG(Guidance):
    """Classifier-free guidance (Ho and Salimans 2022, arXiv:2207.12598): `scale * (positive - negative) + negative`.

    At scale 1 only the positive is evaluated, at 0 only the negative. None as the negative is, for Stable Diffusion XL,
    a text of zeros; for others it is only possible where nothing evaluates it.
    """

    positive: Conditioning
    negative: Conditioning | None
    scale: float


@dataclass(frozen=True)
class APG(Guidance):
    """Adaptive projected guidance (Sadat et al. 2024, arXiv:2410.02416): `negative + scale * update`.

    The update is `positive - negative`, to which `momentum` times the one before is added; shortened to a length of
    `threshold` for each picture, if that is not 0; and its part along the positive is multiplied by `eta`. At scale 1
    only the positive is evaluated.
    """

    positive: Conditioning
    negative: Conditioning | None
    scale: float
    eta: float = 1.0
    threshold: float = 0.0
    momentum: float = 0.0


@dataclass(frozen=True)
class CFGZeroStar(Guidance):
    """CFG-Zero* (Fan et al. 2025, arXiv:2503.18886): classifier-free guidance with a negative made as long as fits.

    The negative is multiplied by `<positive, negative> / |negative|²`, and in the first `zero_steps` steps the
    prediction is 0. At scale 1 only the positive is evaluated.
    """

    positive: Conditioning
    negative: Conditioning | None
    scale: float
    zero_steps: int = 0


@dataclass(frozen=True)
class TangentialCFG(Guidance):
    """Tangential damping (Kwon et al. 2025, arXiv:2503.18137): the negative keeps what it shares with the positive.

    That is its part along the first singular vector of both. At scale 1 only the positive is evaluated.
    """

    positive: Conditioning
    negative: Conditioning | None
    scale: float


@dataclass(frozen=True)
class Rescaled(Guidance):
    """A guidance with the standard deviation that the positive has in each picture (Lin et al. 2023, arXiv:2305.08891).

    `phi` of it, and the rest as it was: section 3.4.
    """

    guidance: Guidance | Conditioning
    phi: float


@dataclass(frozen=True)
class Perturbation:
    """What is left out of a denoiser, in the transformer blocks that `layers` name.

    `attention` lets each pixel attend to itself alone (Ahn et al. 2024, arXiv:2403.17377), `block` skips the blocks.
    A layer is a part of the network by its path or a piece of that, as diffusers has it (`mid_block`,
    `up_blocks.1.attentions.0`, `transformer_blocks.7`), and stands for all blocks in it.
    """

    part: Literal["attention", "block"]
    layers: tuple[str, ...]


@dataclass(frozen=True)
class Perturbed(Guidance):
    """Away from what a perturbed denoiser predicts: `guidance + scale * (positive - perturbed positive)`."""

    guidance: Guidance | Conditioning
    scale: float
    perturbation: Perturbation


@dataclass(frozen=True)
class Classified(Guidance):
    """A guidance pulled towards what a classifier takes for `label` (Dhariwal and Nichol 2021, arXiv:2105.05233).

    `epsilon - scale * sqrt(1 - abar) * grad log p(label | x_t)`: algorithm 2.
    """

    guidance: Guidance | Conditioning
    classifier: Classifier
    label: str
    scale: float


@dataclass(frozen=True)
class Interval(Guidance):
    """A guidance from `start` to `end` of the steps, 0..1, and else what it changes (Kynkäänniemi et al. 2024).

    That is the guidance in it, where there is one, or the positive alone. It holds at the steps, from 0, with
    `int(start * count) <= step < int(end * count)`. arXiv:2404.07724
    """

    guidance: Guidance | Conditioning
    start: float = 0.0
    end: float = 1.0


def mapped(
    guidance: Guidance | Conditioning, change: Callable[[Conditioning], Conditioning], *, negatives: bool = True
) -> Guidance | Conditioning:
    """A guidance with `change` made to every conditioning in it, once to each; all else stays.

    So do the negatives where `negatives` is false.
    """
    changed: dict[int, Conditioning] = {}

    def within(part: Any) -> Any:
        if isinstance(part, Conditioning):
            if id(part) not in changed:
                changed[id(part)] = change(part)
            return changed[id(part)]
        if isinstance(part, Guidance):
            names = [field.name for field in fields(part) if negatives or field.name != "negative"]
            return replace(part, **{name: within(getattr(part, name)) for name in names})
        return tuple(map(within, part)) if isinstance(part, tuple) else part

    result: Guidance | Conditioning = within(guidance)
    return result
