"""Where in a picture the words of a prompt are looked for: the cross-attention of a U-Net while it draws."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.nn import functional

from latentgraph.engine.node import Wrong

from ..facts import check_width
from ..ports import Latent
from ..references import Clip
from .denoise import batch_size
from .numerics import torch
from .text import encode, spelled
from .weights import load_unet

if TYPE_CHECKING:
    from ..tracing import TraceAttention

START, END = "(start)", "(end)"
"""What stands before the words, and after them up to the length of a text."""


class Watcher:
    """The mean over layers, heads and steps of how much each place of N pictures attends to each of T tokens of a text.

    `texts` f32[1, T, D] says which rows of a batch are meant: those that look at this text. `latent` is the height and
    width of what is drawn, from which those of a layer's maps follow; they are summed as they are.
    """

    def __init__(self, texts: Tensor, count: int, latent: tuple[int, int]) -> None:
        self.texts, self.count, self.latent = texts, count, latent
        self.sums: dict[tuple[int, int], Tensor] = {}
        self.seen = torch.zeros(count, dtype=torch.float64)

    def maps(self, words: Sequence[Sequence[int]], size: tuple[int, int]) -> Tensor:
        """f32[N, W, height, width] of words by the places of their tokens: sums over these, interpolated to a size.

        Interpolating keeps the sum of 1 over all tokens at each place. Raises Wrong where a picture was not drawn under
        this text.
        """
        if not self.seen.all():
            raise Wrong("text", "the guidance does not have this text: give the one that was encoded for it")
        found = torch.zeros(self.count, len(words), *size, dtype=torch.float64)
        for sums in self.sums.values():
            parts = torch.stack([sums[:, list(taken)].sum(1) for taken in words], dim=1)
            found += functional.interpolate(parts, size, mode="bilinear")
        return (found / self.seen.view(-1, 1, 1, 1)).float()

    def __call__(self, attention: Any, pixels: Tensor, text: Tensor) -> None:
        """Take in what the rows of pixels [R, pixels, C] that look at this text make of it, text [R, T, D]."""
        length = self.texts.shape[1]
        if text.shape[1] % length:
            return
        # A text that is shorter than the other in the batch is there several times.
        wanted = self.texts.to(text).expand(len(text), -1, -1)
        rows = torch.isclose(text[:, :length], wanted, rtol=1e-3, atol=1e-3).flatten(1).all(1).nonzero().flatten()
        if not len(rows):
            return
        query = attention.head_to_batch_dim(attention.to_q(pixels[rows]))
        if attention.norm_cross:
            text = attention.norm_encoder_hidden_states(text)
        key = attention.head_to_batch_dim(attention.to_k(text[rows]))
        scores = attention.get_attention_scores(query, key).float()
        scores = scores.view(len(rows), -1, *scores.shape[1:]).mean(1)  # over the heads
        scores = scores.unflatten(2, (-1, length)).sum(2)
        size = size_of_map(scores.shape[1], self.latent)
        maps = scores.permute(0, 2, 1).unflatten(2, size).double().cpu()
        sums = self.sums.setdefault(size, torch.zeros(self.count, length, *size, dtype=torch.float64))
        for row, each in zip(rows.tolist(), maps, strict=True):
            sums[row % self.count] += each
            self.seen[row % self.count] += 1


def size_of_map(places: int, latent: tuple[int, int]) -> tuple[int, int]:
    """The height and width of a map with so many places: those of the latent, halved and rounded up as often as fits.

    Raises Wrong where none fits.
    """
    height, width = latent
    while height * width > places:
        height, width = (height + 1) // 2, (width + 1) // 2
    if height * width != places:
        raise Wrong(
            "model", f"a layer looks at {places} places, which halving {latent[1]} by {latent[0]} does not give"
        )
    return height, width


@contextmanager
def watched(network: Any, watcher: Watcher, layers: Sequence[str] = ()) -> Iterator[None]:
    """A U-Net that computes as ever, while a watcher sees what goes into its cross-attention.

    `layers` are pieces of the paths of those that are looked at, which are all without. Raises Wrong where there
    is none.
    """
    known = {name: each for name, each in network.named_modules() if getattr(each, "is_cross_attention", False)}
    if not known:
        raise Wrong("model", "the model has no cross-attention, by which a U-Net looks at a text")
    for layer in layers:
        if not any(f".{layer}." in f".{name}." for name in known):
            raise Wrong("layers", f"the model has no cross-attention in {layer!r}, but in {', '.join(known)}")
    chosen = [
        each for name, each in known.items() if not layers or any(f".{layer}." in f".{name}." for layer in layers)
    ]

    def look(module: Any, given: Sequence[Any], named: dict[str, Any]) -> None:
        pixels = given[0] if given else named["hidden_states"]
        text = named.get("encoder_hidden_states")
        # An adapter for picture prompts gives its own tokens beside those of the text.
        watcher(module, pixels, text[0] if isinstance(text, tuple) else text)

    with ExitStack() as stack:
        for layer in chosen:
            stack.callback(layer.register_forward_pre_hook(look, with_kwargs=True).remove)
        yield


def traced(node: "TraceAttention", draw: Callable[[], Latent]) -> tuple[Latent, Tensor, tuple[str, ...]]:
    """What the node TraceAttention does: the latent that `draw` gives, maps f32[N, W, H, W] of the words, the words."""
    tokens = text_of(node.clip, node.text)
    check_width("clip", tokens.shape[2], node.model)
    found = places(node.clip, node.text, tokens.shape[1])
    words = node.words or tuple(dict.fromkeys(word for word, _ in found))
    for word in words:
        if word not in {known for known, _ in found}:
            known = ", ".join(dict.fromkeys(known for known, _ in found))
            raise Wrong("words", f"`{word}` is no word of the text, which has {known}")
    seeds = len(node.seed) if isinstance(node.seed, tuple) else 1
    watcher = Watcher(tokens, batch_size(node.guidance, node.latent, seeds), tuple(node.latent.samples.shape[2:]))
    with watched(load_unet(node.model), watcher, node.layers):
        latent = draw()
    taken = [[place for known, places in found if known == word for place in places] for word in words]
    return latent, watcher.maps(taken, node.latent.pixels), words


def text_of(clip: Clip, text: str) -> Tensor:
    """The tokens f32[1, T, D] that CLIPEncode makes of a text."""
    conditioning, _ = encode(clip, [text])
    return conditioning.conds[0].tokens


def places(clip: Clip, text: str, length: int) -> list[tuple[str, list[int]]]:
    """The words of a text in their order, each with the places of its tokens among `length`; all tokens are in one.

    What begins a text and what ends it and fills it up are words, too: START and END.
    """
    chunks = spelled(clip, text)
    each = length // len(chunks)
    words: list[tuple[str, list[int]]] = []
    for start, tokens in zip(range(0, length, each), chunks, strict=True):
        words.append((START, [start]))
        begun = False
        for place, token in enumerate(tokens, start + 1):
            if not begun:
                words.append(("", []))
            word, taken = words[-1]
            words[-1] = (word + token.removesuffix("</w>"), [*taken, place])
            begun = not token.endswith("</w>")
        words.append((END, list(range(start + 1 + len(tokens), start + each))))
    return words
