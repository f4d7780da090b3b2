"""What a model predicts under a guidance: the conditions of a step, in as few batches as they allow."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from torch import Tensor

from ..facts import check_width
from ..guides import Classified, Cond, Conditioning, Control, Guidance, Size
from ..ports import Inpaint
from ..references import FAMILIES, Model
from .control import residuals
from .guiding import Leaf, Share, combine, leaves, unconditional
from .image_prompts import Prompting, embeddings
from .numerics import DEVICE, torch
from .patches import patched
from .perturbed import perturbed
from .text import matched
from .weights import load_unet

if TYPE_CHECKING:
    from .classifying import Pulling

Part = TypeVar("Part", bound=Guidance | Conditioning)

WITH_SIZE = ("sdxl", "sdxl_refiner")
"""Families whose denoisers are told the size of a picture, and take zeros for a negative that there is not."""

AESTHETIC_SCORES = {"positive": 6.0, "negative": 2.5}
"""What the refiner is told of what is wanted and what is not, where nothing else is said: diffusers' defaults."""


class Evaluator:
    """What `model` predicts for `count` pictures of `pixels` (height, width) under a guidance, step by step.

    `memory` is what a guidance remembers from step to step: plain data, to go on with elsewhere.
    """

    def __init__(
        self,
        model: Model,
        guidance: Guidance | Conditioning,
        count: int,
        pixels: tuple[int, int],
        network: Any,
        inpaint: Inpaint | None = None,
    ) -> None:
        self.model, self.guidance, self.count, self.pixels, self.network = model, guidance, count, pixels, network
        self.memory: dict[str, Any] = {}
        self.dtype: torch.dtype = network.dtype  # asked once: diffusers goes through all modules for it
        self.prompting = Prompting(network)
        self.beside = _beside(model, inpaint)
        self.pulling = _pulling(model, guidance)
        self.unconditional: Tensor | None = None
        """What the last evaluation predicted under the negative; None where it evaluated none."""

    def __call__(self, samples: Tensor, timestep: Tensor, share: Share) -> Tensor:
        """The guided prediction f32[N, C, h, w] at a timestep (a scalar) of samples scaled as the model takes them."""
        wanted = leaves(self.guidance, share)
        entries = [(leaf, cond) for leaf in wanted for cond in self._conds(leaf, wanted, share)]
        if self.model.weights.kind == "unet":
            alike = matched([cond for _, cond in entries])
            entries = [(leaf, cond) for (leaf, _), cond in zip(entries, alike, strict=True)]
        groups: dict[Any, list[tuple[Leaf, Cond]]] = {}
        for leaf, cond in entries:
            groups.setdefault(_alike(leaf, cond), []).append((leaf, cond))
        found: dict[Leaf, list[tuple[Cond, Tensor]]] = {leaf: [] for leaf in wanted}
        for group in groups.values():
            for (leaf, cond), predicted in zip(group, self._batch(group, samples, timestep, share), strict=True):
                found[leaf].append((cond, predicted))
        predictions = {leaf: _together(parts) for leaf, parts in found.items()}
        self.unconditional = unconditional(self.guidance, predictions)
        pulling = self.pulling
        pull = None if pulling is None else lambda part: pulling(part, samples, float(timestep))
        return combine(self.guidance, predictions, share, self.memory, pull)

    def _conds(self, leaf: Leaf, wanted: Sequence[Leaf], share: Share) -> list[Cond]:
        """The conditions of a leaf that hold at this step."""
        if leaf.conditioning is None:
            return self._zeros(wanted)
        holding = [
            cond
            for cond in leaf.conditioning.conds
            if int(cond.start * share.count) <= share.index < int(cond.end * share.count)
        ]
        if not holding:
            raise ValueError(
                f"no condition holds at step {share.index + 1} of {share.count}: let the ranges of start and end cover"
                " all steps"
            )
        return holding

    def _zeros(self, wanted: Sequence[Leaf]) -> list[Cond]:
        """What stands for a negative that there is not."""
        given = next((leaf.conditioning for leaf in wanted if leaf.conditioning is not None), None)
        if given is None or self.model.family not in WITH_SIZE:
            raise ValueError(
                f"the guidance compares with a negative, and there is none, which only {FAMILIES['sdxl']} does without:"
                ' link a CLIPEncode of the text "" to it, or set the scale to 1'
            )
        like = given.conds[0]
        pooled = None if like.pooled is None else torch.zeros_like(like.pooled)
        return [replace(like, tokens=torch.zeros_like(like.tokens), pooled=pooled, region=None)]

    def _batch(
        self, group: Sequence[tuple[Leaf, Cond]], samples: Tensor, timestep: Tensor, share: Share
    ) -> Sequence[Tensor]:
        """One evaluation for all of a group."""
        conds = [cond for _, cond in group]
        dtype = self.dtype
        tokens = torch.cat([self._rows(cond.tokens, "texts") for cond in conds]).to(dtype)
        added = self._added(group, dtype)
        inputs = torch.cat([samples] * len(conds)).to(dtype)
        options: dict[str, Any] = {}
        controls = [self._control(parts) for parts in zip(*(cond.controls for cond in conds), strict=True)]
        if controls:
            down, middle = residuals(controls, inputs, timestep, tokens, added, share.index, share.count, dtype)
            options = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
        if self.beside is not None:
            beside = self.beside.to(dtype).expand(self.count, -1, -1, -1)
            inputs = torch.cat([inputs, torch.cat([beside] * len(conds))], dim=1)
        prompts = conds[0].images
        if prompts:
            added = {**(added or {}), "image_embeds": self._pictures(group, dtype)}
        with self.prompting.taking(prompts), perturbed(self.network, group[0][0].perturbation):
            if self.model.weights.kind == "transformer":
                predicted = self.network(
                    hidden_states=inputs,
                    timestep=timestep.expand(len(inputs)),
                    encoder_hidden_states=tokens,
                    pooled_projections=torch.cat([self._rows(_pooled(cond), "texts") for cond in conds]).to(dtype),
                    return_dict=False,
                )[0]
            else:
                predicted = self.network(
                    inputs,
                    timestep,
                    encoder_hidden_states=tokens,
                    added_cond_kwargs=added,
                    return_dict=False,
                    **options,
                )[0]
        return predicted.float().chunk(len(conds))

    def _rows(self, values: Tensor, what: str) -> Tensor:
        """What belongs to each picture, on the device."""
        if len(values) not in (1, self.count):
            raise ValueError(f"{len(values)} {what} for {self.count} pictures: give one for each, or one for all")
        return values.expand(self.count, *values.shape[1:]).contiguous().to(DEVICE)

    def _control(self, parts: Sequence[Control]) -> Control:
        """The same ControlNet's part in several conditions, as one for all their rows."""
        return replace(parts[0], image=torch.cat([self._rows(part.image, "control pictures") for part in parts]))

    def _pictures(self, group: Sequence[tuple[Leaf, Cond]], dtype: torch.dtype) -> list[Tensor]:
        """The embeddings of picture prompts, for each adapter those of all rows."""
        if self.model.weights.kind == "transformer":
            raise ValueError("this model takes no pictures as prompts: leave out ApplyIPAdapter")
        each = [[embeddings(prompt, leaf.role) for prompt in cond.images] for leaf, cond in group]
        return [
            torch.cat([self._rows(row, "picture prompts") for row in rows]).to(dtype)
            for rows in zip(*each, strict=True)
        ]

    def _added(self, group: Sequence[tuple[Leaf, Cond]], dtype: torch.dtype) -> dict[str, Tensor] | None:
        if self.model.family not in WITH_SIZE:
            return None
        pooled = torch.cat([self._rows(_pooled(cond), "texts") for _, cond in group])
        sizes = [self._size(leaf, cond) for leaf, cond in group]
        return {
            "text_embeds": pooled.to(dtype),
            "time_ids": torch.cat([torch.tensor([size] * self.count, dtype=dtype, device=DEVICE) for size in sizes]),
        }

    def _size(self, leaf: Leaf, cond: Cond) -> list[float]:
        """What the denoiser is told of the size (Podell et al. 2023, arXiv:2307.01952, 2.2)."""
        size = cond.size or Size(*self.pixels)
        told = [size.height, size.width, size.top, size.left]
        if self.model.family == "sdxl_refiner":
            score = size.aesthetic_score
            return [*told, AESTHETIC_SCORES[leaf.role] if score is None else score]
        height = self.pixels[0] if size.target_height is None else size.target_height
        width = self.pixels[1] if size.target_width is None else size.target_width
        return [*told, height, width]


@contextmanager
def evaluating(
    model: Model,
    guidance: Guidance | Conditioning,
    count: int,
    pixels: tuple[int, int],
    inpaint: Inpaint | None = None,
) -> Iterator[Evaluator]:
    """An evaluator, for whose time the model's patches are in its network. Raises ValueError for what does not fit."""
    for cond in conds_of(guidance):
        check_width("guidance", cond.tokens.shape[2], model)
    with ExitStack() as stack:
        network = load_unet(model)
        stack.enter_context(patched(network, model.weights.patches))
        yield Evaluator(model, guidance, count, pixels, network, inpaint)


def conds_of(guidance: Guidance | Conditioning) -> Iterator[Cond]:
    """All conditions in a guidance."""
    for part in parts_of(guidance, Conditioning):
        yield from part.conds


def parts_of(guidance: Any, kind: type[Part]) -> Iterator[Part]:
    """All conditionings, or all guidances of a kind, in a guidance, itself among them."""
    if isinstance(guidance, kind):
        yield guidance
    if isinstance(guidance, Guidance):
        for part in vars(guidance).values():
            yield from parts_of(part, kind)


def texts_in(guidance: Guidance | Conditioning) -> int:
    """For how many pictures the texts of a guidance are; 1 are for any number."""
    return max((len(cond.tokens) for cond in conds_of(guidance)), default=1)


def _alike(leaf: Leaf, cond: Cond) -> Any:
    """What two conditions have to share to be evaluated in one batch."""
    controls = tuple((control.net, control.strength, control.start, control.end) for control in cond.controls)
    images = tuple((prompt.adapter, prompt.strength) for prompt in cond.images)
    return cond.tokens.shape[1], leaf.perturbation, controls, images, cond.pooled is None


def _together(parts: Sequence[tuple[Cond, Tensor]]) -> Tensor:
    """The mean of what was predicted under several conditions, weighted by where and how much they hold."""
    if len(parts) == 1:
        return parts[0][1]
    weights = []
    for cond, predicted in parts:
        held = torch.full_like(predicted[:, :1], cond.weight)
        if cond.region is not None:
            region = torch.nn.functional.interpolate(cond.region, predicted.shape[2:], mode="area")
            held = held * region.to(predicted)
        weights.append(held)
    total = torch.stack(weights).sum(0)
    # Where none holds, all do.
    weights = [torch.where(total == 0, torch.ones_like(held), held) for held in weights]
    total = torch.where(total == 0, torch.full_like(total, float(len(parts))), total)
    return torch.stack([held / total * part for held, (_, part) in zip(weights, parts, strict=True)]).sum(0)


def _pulling(model: Model, guidance: Guidance | Conditioning) -> "Pulling | None":
    """What the classifiers in a guidance do; None where there are none."""
    classified = list(parts_of(guidance, Classified))
    if not classified:
        return None
    from .classifying import Pulling  # others need not wait for its parts

    return Pulling(model, [part.classifier for part in classified])


def _pooled(cond: Cond) -> Tensor:
    if cond.pooled is None:
        raise ValueError(
            "the conditioning has no pooled text, which the model takes: encode with this model's own CLIP"
        )
    return cond.pooled


def _beside(model: Model, inpaint: Inpaint | None) -> Tensor | None:
    """What stands beside the latents in a model's input: for inpainting the mask and the masked picture's latents."""
    channels = model.space.channels
    if model.channels == channels:
        return None
    if model.channels != 2 * channels + 1:
        raise ValueError(f"the model takes {model.channels} channels, {channels} of which are latents: what else?")
    if inpaint is None or inpaint.masked is None:
        raise ValueError("this model is one for inpainting: make the latent with VAEEncodeInpaint")
    return torch.cat([inpaint.mask, inpaint.masked], dim=1).to(DEVICE)
