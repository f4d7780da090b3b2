"""Contrastive training of CLIP: a picture and its caption should point the same way (Radford et al. 2021)."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
from safetensors.torch import load
from torch import Tensor
from torch.nn import functional
from transformers import CLIPConfig, CLIPModel, CLIPTextModel, CLIPTokenizer

from ..diffusion.numerics import DEVICE, seeded
from ..diffusion.weights import tokenizer_in
from ..plots.data import Table, table
from ..ports import Image
from ..references import Clip, Encoder
from .assembly import weights_of
from .data import Towers
from .loop import Plan, Trained, consumed, train
from .pictures import spread

if TYPE_CHECKING:
    from latentgraph.engine import Context

    from .nodes import MeasureCLIP, TrainCLIP

Captions = Sequence[Sequence[str]]


def new_clip(tokenizer: CLIPTokenizer, image_size: int, hidden: int, layers: int, seed: int) -> CLIPModel:
    """A small untrained CLIP with text and vision towers of equal width; pictures are cut in patches of 8 pixels."""
    tower = {
        "hidden_size": hidden,
        "intermediate_size": 4 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": max(1, hidden // 32),
        "hidden_act": "quick_gelu",
        "projection_dim": hidden,
    }
    config = CLIPConfig(
        text_config=tower
        | {
            "vocab_size": len(tokenizer),
            "max_position_embeddings": tokenizer.model_max_length,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config=tower | {"image_size": image_size, "patch_size": 8},
        projection_dim=hidden,
    )
    with seeded(seed):
        return CLIPModel(config)


def contrastive_loss(similarity: Tensor, also_right: Tensor) -> Tensor:
    """The symmetric cross entropy of `similarity` [N, N], captions by pictures, whose diagonal should win.

    Off the diagonal, pairs that fit as well (`also_right`, bool [N, N]) count neither way.
    """
    own = torch.eye(len(similarity), dtype=torch.bool, device=similarity.device)
    masked = similarity.masked_fill(also_right.to(own.device) & ~own, float("-inf"))
    diagonal = torch.arange(len(similarity), device=similarity.device)
    return (functional.cross_entropy(masked, diagonal) + functional.cross_entropy(masked.t(), diagonal)) / 2


def tokens_of(tokenizer: CLIPTokenizer, texts: Sequence[str]) -> Tensor:
    """Token ids [N, max length], padded and truncated: here, as the tokenizer would remember it for others."""
    length = tokenizer.model_max_length
    start, end, fill = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
    told = tokenizer(list(texts), add_special_tokens=False, verbose=False).input_ids
    rows = [[start, *ids[: length - 2], end] for ids in told]
    return torch.tensor([row + [fill] * (length - len(row)) for row in rows])


def similarities(clip: CLIPModel, tokenizer: CLIPTokenizer, texts: Sequence[str], images: Tensor) -> Tensor:
    """How well each text fits each picture, uint8 [N, 3, H, W]: scaled cosines [texts, pictures]."""
    pixel_values = images.to(clip.device).float().div(127.5).sub(1)
    given = clip(input_ids=tokens_of(tokenizer, texts).to(clip.device), pixel_values=pixel_values)
    return cast(Tensor, given.logits_per_text)


def chosen_caption(captions: Sequence[str], generator: torch.Generator, plain: float = 0.5) -> str:
    """The first caption with probability `plain`, else any."""
    if torch.rand((), generator=generator) < plain:
        return captions[0]
    return captions[int(torch.randint(len(captions), (), generator=generator))]


def train_clip(
    clip: CLIPModel,
    tokenizer: CLIPTokenizer,
    images: Tensor,
    captions: Captions,
    plan: Plan,
    *,
    batch_size: int,
    context: "Context",
    covered: object,
    seed: int,
) -> Trained:
    """Train both towers on `images`, uint8 [N, 3, H, W], and their captions; leaves the averaged weights in `clip`."""
    all_right = [frozenset(texts) for texts in captions]

    def loss(generator: torch.Generator) -> Tensor:
        chosen = torch.randint(len(images), (batch_size,), generator=generator).tolist()
        texts = [chosen_caption(captions[index], generator) for index in chosen]
        also_right = torch.tensor([[text in all_right[other] for other in chosen] for text in texts])
        return contrastive_loss(similarities(clip, tokenizer, texts, images[chosen]), also_right)

    shown = spread(len(images), 64)

    def sample() -> Tensor:
        similarity = similarities(clip, tokenizer, [captions[index][0] for index in shown], images[shown])
        heat = functional.interpolate(similarity.softmax(1)[None, None], scale_factor=4)[0]
        return heat.expand(3, -1, -1)

    trained = train(clip, loss, plan, context=context, covered=covered, seed=seed, sample=sample)
    clip.load_state_dict(trained.weights)
    clip.eval()
    return trained


@torch.no_grad()
def retrieval(clip: CLIPModel, tokenizer: CLIPTokenizer, images: Tensor, captions: Captions) -> float:
    """The share of captions whose most similar picture is one that the caption describes."""
    texts = [options[0] for options in captions]
    best = similarities(clip, tokenizer, texts, images).argmax(1).tolist()
    return sum(text in captions[index] for text, index in zip(texts, best, strict=True)) / len(texts)


def text_encoder_of(clip: CLIPModel) -> CLIPTextModel:
    """The text tower alone, as a pipeline has it."""
    with seeded(0):
        encoder = CLIPTextModel(clip.config.text_config)
    state = clip.text_model.state_dict()
    prefixed = next(iter(encoder.state_dict())).startswith("text_model.")
    encoder.load_state_dict({f"text_model.{key}": value for key, value in state.items()} if prefixed else state)
    return encoder.eval()


def learn(node: "TrainCLIP", context: "Context") -> tuple[Clip, float, tuple[float, ...], Towers]:
    """What the node TrainCLIP does: the text tower, how captions find their pictures, the losses, both towers."""
    images, captions = node.data.images, node.data.captions
    tokenizer = tokenizer_in(node.tokenizer)
    clip = new_clip(tokenizer, images.shape[-1], node.hidden, node.layers, node.seed)
    trained = train_clip(
        clip,
        tokenizer,
        images,
        captions,
        Plan(node.steps, node.learning_rate, warmup=50, decay=0.7, ema=0.99),
        batch_size=node.batch_size,
        context=context,
        covered=consumed(node),
        seed=node.seed + 1,
    )
    found = retrieval(clip, tokenizer, images[:256], captions[:256])
    encoder = text_encoder_of(clip)
    encoder.config.architectures = ["CLIPTextModel"]
    weights = weights_of("text_encoder", encoder, encoder.config.to_json_string(use_diff=True))
    clip.config.architectures = ["CLIPModel"]
    both = weights_of("text_encoder", clip, clip.config.to_json_string(use_diff=True))
    towers = Towers(both.folder, node.tokenizer)
    return Clip((Encoder(weights, node.tokenizer),)), found, tuple(trained.losses.tolist()), towers


def loaded(towers: Towers) -> CLIPModel:
    """Both towers with their weights, on the device."""
    with seeded(0):
        clip = CLIPModel(CLIPConfig.from_dict(json.loads(towers.folder["config.json"].read())))
    clip.load_state_dict(load(towers.folder["model.safetensors"].read()))
    return clip.eval().to(DEVICE)


@torch.no_grad()
def measured(node: "MeasureCLIP") -> tuple[Table, float, float, float, float, float, Image, tuple[str, ...]]:
    """What the node MeasureCLIP gives."""
    chosen = spread(len(node.data.images), node.count)
    images, captions = node.data.images[chosen], [node.data.captions[index] for index in chosen]
    texts = [options[min(node.wording, len(options) - 1)] for options in captions]
    clip, tokenizer = loaded(node.towers), tokenizer_in(node.towers.tokenizer)
    scaled = similarities(clip, tokenizer, texts, images).cpu()
    scale = float(clip.logit_scale.exp())
    cosines = scaled / scale
    also_right = torch.tensor([[text in options for options in captions] for text in texts])
    own = torch.eye(len(texts), dtype=torch.bool)
    best = scaled.masked_fill(also_right & ~own, float("-inf")).argmax(1)
    found = float((best == torch.arange(len(texts))).float().mean())
    columns = {str(index + 1): column for index, column in enumerate(cosines.T.tolist())}
    return (
        table({"caption": texts, **columns}),
        found,
        float(contrastive_loss(scaled, also_right)),
        float(cosines[own].mean()),
        float(cosines[~own].mean()),
        scale,
        Image(images.float().div(255)),
        tuple(texts),
    )
