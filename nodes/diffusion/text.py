"""Text to conditioning: CLIP's text encoders (Radford et al. 2021, arXiv:2103.00020) and T5 (arXiv:1910.10683).

Text without marks that fits into one chunk is encoded as diffusers does it, to the bit.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from typing import Any, NamedTuple

from torch import Tensor

from ..guides import Cond, Conditioning
from ..references import Clip, Encoder
from .embeddings import first_place, vectors
from .numerics import DEVICE, torch
from .patches import patched
from .prompts import Long, Weighting, parse
from .weights import load_text_encoder, load_tokenizer

T5_TOKENS = 256
"""How many tokens a T5 has, as for diffusers; where there is none, Stable Diffusion 3 takes as many zeros."""

PENULTIMATE = ("sdxl", "sdxl_refiner", "sd3")
"""Families that take the last hidden state but one, before the last layer norm."""


class Token(NamedTuple):
    id: int
    weight: float = 1.0


@torch.no_grad()
def encode(
    clip: Clip,
    texts: Sequence[str],
    second: Sequence[str] | None = None,
    weights: Weighting = "interpolate",
    long: Long = "chunks",
) -> tuple[Conditioning, list[str]]:
    """The conditioning of N texts, tokens f32[N, T, D], and what was cut off each, "" where nothing was.

    `second` is for the second text encoder. T is as many tokens as the encoder takes at once, times the chunks of the
    longest text, which shorter ones are filled up to with chunks of the empty text; the tokens of a T5 follow.

    Raises ValueError for a weight that is too large, and for an embedding that is not loaded.
    """
    readers = [_Reader(clip, place) for place, encoder in enumerate(clip.encoders) if not is_t5(encoder)]
    heard = [second if place == 1 and second is not None else texts for place in range(len(readers))]
    split = [[reader.chunks(text, weights, long) for text in each] for reader, each in zip(readers, heard, strict=True)]
    count = max(len(chunks) for each in split for chunks, _ in each)
    states, pooled = [], []
    for reader, each in zip(readers, split, strict=True):
        filled = [chunk for chunks, _ in each for chunk in [*chunks, *[[]] * (count - len(chunks))]]
        hidden, whole = reader.states(filled, weights)
        states.append(hidden.reshape(len(texts), -1, hidden.shape[2]))
        if whole is not None:
            pooled.append(whole[::count])  # what the first chunk says is the whole text
    tokens = torch.cat(states, dim=2)
    cut = [[lost for _, lost in each] for each in split]
    if clip.family == "sd3":
        t5, lost = _t5_states(clip, texts, weights)
        tokens = torch.cat([torch.nn.functional.pad(tokens, (0, t5.shape[2] - tokens.shape[2])), t5], dim=1)
        cut.append(lost)
    conditioning = Conditioning((Cond(tokens, torch.cat(pooled, dim=1) if pooled else None),))
    return conditioning, ["; ".join(dict.fromkeys(filter(None, losses))) for losses in zip(*cut, strict=True)]


def spelled(clip: Clip, text: str) -> list[list[str]]:
    """The tokens that CLIP makes of a text, chunk by chunk, as its vocabulary writes them: `</w>` ends a word."""
    reader = _Reader(clip, 0)
    names = {number: f"{name}</w>" for name, numbers in reader.ids.items() for number in numbers}
    chunks, _ = reader.chunks(text, "interpolate", "chunks")
    return [
        [names.get(token.id) or str(reader.tokenizer.convert_ids_to_tokens(token.id)) for token in chunk]
        for chunk in chunks
    ]


def matched(conds: Sequence[Cond]) -> list[Cond]:
    """Conditions with equally many tokens each, for one batch of a U-Net: the shorter ones' are repeated as a whole.

    Attention to keys and values that are all there k times gives what it gives to them once, but for rounding. The
    conditions stay as they are where they are equally long, and where that takes more than twice the tokens of the
    longest. Not for transformers whose tokens look at each other, as Stable Diffusion 3's do.
    """
    lengths = [cond.tokens.shape[1] for cond in conds]
    length = math.lcm(*lengths)
    if length > 2 * max(lengths):
        return list(conds)
    return [
        cond if own == length else replace(cond, tokens=cond.tokens.repeat(1, length // own, 1))
        for cond, own in zip(conds, lengths, strict=True)
    ]


def is_t5(encoder: Encoder) -> bool:
    return "d_model" in encoder.weights.config


class _Reader:
    """One CLIP text encoder, with its tokenizer and the embeddings that are words to it."""

    def __init__(self, clip: Clip, place: int) -> None:
        self.encoder, self.skip = clip.encoders[place], clip.skip
        self.config = self.encoder.weights.config
        self.tokenizer = load_tokenizer(self.encoder)
        self.length: int = min(self.tokenizer.model_max_length, self.config["max_position_embeddings"])
        self.ids: dict[str, range] = {}
        self.rows: Tensor | None = None
        if clip.embeddings:
            each = [vectors(file, place + first_place(clip)) for _, file in clip.embeddings]
            end: int = self.config["vocab_size"]
            for (name, _), rows in zip(clip.embeddings, each, strict=True):
                self.ids[name] = range(end, end := end + len(rows))
            self.rows = torch.cat(each)

    def chunks(self, text: str, weights: Weighting, long: Long) -> tuple[list[list[Token]], str]:
        """The tokens of a text by the chunks that are encoded at once, without their start and end; what was cut."""
        stretches = _tokens(self.tokenizer, text, weights, self.ids)
        room = self.length - 2
        if long == "cut":
            tokens = [token for stretch in stretches for token in stretch]
            return [tokens[:room]], self._decoded(tokens[room:])
        parts = [stretch[start : start + room] for stretch in stretches for start in range(0, len(stretch), room)]
        return parts or [[]], ""

    def states(self, chunks: Sequence[Sequence[Token]], weights: Weighting) -> tuple[Tensor, Tensor | None]:
        """The hidden state of each chunk [R, L, D], and where the encoder has a projection, each as one vector [R, P].

        The latter has no weights in it.
        """
        weighted = any(token.weight != 1 for chunk in chunks for token in chunk)
        texts = [*chunks, []] if weighted else chunks  # the empty text is the last
        begin, end, fill = (getattr(self.tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad"))
        ids = [[begin, *(token.id for token in row), end] for row in texts]
        mask = [[1] * len(row) + [0] * (self.length - len(row)) for row in ids]
        taken = torch.tensor([row + [fill] * (self.length - len(row)) for row in ids], device=DEVICE)
        network = load_text_encoder(self.encoder)
        rows = None if self.rows is None else self.rows.to(DEVICE, network.dtype)
        with patched(network, self.encoder.weights.patches), _more_words(network, rows):
            result = network(
                taken,
                attention_mask=torch.tensor(mask, device=DEVICE) if self.config.get("use_attention_mask") else None,
                output_hidden_states=True,
            )
            hidden = self._hidden(network, result)
        pooled = result[0][: len(chunks)] if result[0].ndim == 2 else None
        if weighted:
            factors = _factors(chunks, 1, self.length)
            hidden = emphasised(hidden[:-1], hidden[-1:], factors.to(hidden), weights)
        return hidden, pooled

    def _hidden(self, network: Any, result: Any) -> Tensor:
        """The states [R, L, D] that the family takes, of all that the text encoder gave."""
        hidden: Tensor
        if self.encoder.weights.family in PENULTIMATE:
            hidden = result.hidden_states[-(self.skip + 2)]
        elif not self.skip:
            hidden = result.last_hidden_state
        else:
            # Some versions of transformers have the layers in an inner module, some have not.
            inner = getattr(network, "text_model", network)
            hidden = inner.final_layer_norm(result.hidden_states[-(self.skip + 1)])
        return hidden

    def _decoded(self, tokens: Sequence[Token]) -> str:
        names = {number: name for name, numbers in self.ids.items() for number in numbers}
        groups = groupby(tokens, key=lambda token: names.get(token.id))
        return " ".join(name or self.tokenizer.decode([token.id for token in group]) for name, group in groups)


def emphasised(states: Tensor, empty: Tensor, factors: Tensor, weights: Weighting) -> Tensor:
    """Hidden states [R, L, D] with each token as strong as its factor [R, L] says.

    `interpolate` moves a token along the line from the empty text's token at its place [1, L, D] through it: at 0 it is
    the empty text's, at 1 itself. `scale` multiplies the token and then all of the chunk's, so that their mean is what
    it was.
    """
    factors = factors[..., None]
    if weights == "scale":
        scaled = states * factors
        return scaled * (states.mean((1, 2), keepdim=True) / scaled.mean((1, 2), keepdim=True))
    return torch.where(factors == 1, states, empty + (states - empty) * factors)


def _t5_states(clip: Clip, texts: Sequence[str], weights: Weighting) -> tuple[Tensor, list[str]]:
    """The hidden states of a T5 f32[N, T5_TOKENS, D], zeros where there is none, and what was cut off each text."""
    encoder = next(filter(is_t5, clip.encoders), None)
    if encoder is None:
        return torch.zeros(len(texts), T5_TOKENS, clip.width, device=DEVICE), [""] * len(texts)
    tokenizer, network = load_tokenizer(encoder), load_text_encoder(encoder)
    ids = {name: _numbers(tokenizer, name) for name, _ in clip.embeddings}  # it has no vectors for them
    read = [[token for stretch in _tokens(tokenizer, text, weights, ids) for token in stretch] for text in texts]
    room = T5_TOKENS - 1
    weighted = any(token.weight != 1 for tokens in read for token in tokens)
    rows = [[*(token.id for token in tokens[:room]), tokenizer.eos_token_id] for tokens in [*read, *[[]] * weighted]]
    taken = torch.tensor([row + [tokenizer.pad_token_id] * (T5_TOKENS - len(row)) for row in rows], device=DEVICE)
    with patched(network, encoder.weights.patches):
        hidden = network(taken)[0]
    if weighted:
        factors = _factors([tokens[:room] for tokens in read], 0, T5_TOKENS)
        hidden = emphasised(hidden[:-1], hidden[-1:], factors.to(hidden), weights)
    return hidden, [tokenizer.decode([token.id for token in tokens[room:]]) for tokens in read]


def _tokens(tokenizer: Any, text: str, weights: Weighting, ids: Mapping[str, Sequence[int]]) -> list[list[Token]]:
    """The tokens of a text, for each stretch between two BREAKs; `ids` are those of embeddings, by their names."""
    return [
        [
            Token(number, part.weight)
            for part in stretch
            for number in (ids[part.text] if part.embedding else _numbers(tokenizer, part.text))
        ]
        for stretch in parse(text, ids, marks=weights != "off")
    ]


def _factors(chunks: Sequence[Sequence[Token]], first: int, length: int) -> Tensor:
    """The weights of tokens [R, length]; 1 before the `first` and after the last."""
    factors = torch.ones(len(chunks), length)
    for row, chunk in zip(factors, chunks, strict=True):
        row[first : first + len(chunk)] = torch.tensor([token.weight for token in chunk])
    return factors


def _numbers(tokenizer: Any, text: str) -> list[int]:
    numbers: list[int] = tokenizer(text, add_special_tokens=False, verbose=False).input_ids
    return numbers


@contextmanager
def _more_words(network: Any, rows: Tensor | None) -> Iterator[None]:
    """In it, `rows` [K, D] are the vectors of the ids that follow those of the text encoder's own table.

    The ids reach the rest of the text encoder unchanged, so it finds the end of the text where it does for diffusers,
    which makes the table longer.
    """
    if rows is None:
        yield
        return
    table = network.get_input_embeddings()
    asked: list[Tensor] = []

    def known(_: Any, args: tuple[Tensor]) -> tuple[Tensor]:
        asked.append(args[0])
        return (torch.where(args[0] < table.num_embeddings, args[0], 0),)

    def with_rows(_: Any, args: tuple[Tensor], result: Tensor) -> Tensor:
        more = asked.pop() - table.num_embeddings
        return torch.where((more < 0)[..., None], result, rows[more.clamp(min=0)])

    hooks = [table.register_forward_pre_hook(known), table.register_forward_hook(with_rows)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
