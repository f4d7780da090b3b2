"""Texts as tokens and as vectors, and the cosines between those."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from latentgraph.engine.node import Wrong

from ..plots.data import Table, table
from ..references import Clip, Encoder
from .numerics import DEVICE, torch
from .patches import patched
from .prompts import parse
from .weights import load_text_encoder, load_tokenizer

if TYPE_CHECKING:
    from ..texts import CompareTexts, ConditioningTable


def tokenized(clip: Clip, text: str) -> tuple[tuple[str, ...], tuple[int, ...], int]:
    """The tokens that the first text encoder is given, as texts and as numbers, and how many are not padding."""
    tokenizer = load_tokenizer(clip.encoders[0])
    length: int = tokenizer.model_max_length
    parts = [part.text for stretch in parse(text, [word for word, _ in clip.embeddings]) for part in stretch]
    words = [number for part in parts for number in _words(tokenizer, part)]
    count = min(len(words) + 2, length)
    ids = _padded(tokenizer, words[: length - 2])
    names = ["start", *(tokenizer.decode([number]).strip() for number in ids[1 : count - 1])]
    return (*names, "end", *["padding"] * (length - count)), tuple(ids), count


def _words(tokenizer: Any, text: str) -> list[int]:
    """The tokens of a text, all of them, without a start and an end.

    Padded and cut elsewhere: a tokenizer remembers that it is to pad, and other threads have the same one.
    """
    numbers: list[int] = tokenizer(text, add_special_tokens=False, verbose=False).input_ids
    return numbers


def _padded(tokenizer: Any, words: list[int]) -> list[int]:
    """Tokens with their start and end, and as many more as the text encoder takes."""
    ids = [tokenizer.bos_token_id, *words, tokenizer.eos_token_id]
    return ids + [tokenizer.pad_token_id] * (tokenizer.model_max_length - len(ids))


def vector_table(node: "ConditioningTable") -> Table:
    """What the node ConditioningTable gives."""
    if len(node.conditioning.conds) != 1 or len(node.conditioning.conds[0].tokens) != 1:
        raise Wrong("conditioning", "it holds several texts: give the conditioning of one")
    vectors = node.conditioning.conds[0].tokens[0].float().cpu()
    if node.tokens and len(node.tokens) != len(vectors):
        raise Wrong("tokens", f"there are {len(node.tokens)} tokens for {len(vectors)} vectors: give as many")
    names = node.tokens or tuple(map(str, range(1, len(vectors) + 1)))
    columns = {str(index + 1): column for index, column in enumerate(vectors.T.tolist())}
    return table({"token": names, **columns})


@torch.no_grad()
def text_vectors(encoder: Encoder, texts: Sequence[str]) -> Tensor:
    """One vector for each text, f32[N, D]: the last state at its end, projected where the encoder has a projection."""
    tokenizer, network = load_tokenizer(encoder), load_text_encoder(encoder)
    length = tokenizer.model_max_length
    words = [_words(tokenizer, text) for text in texts]
    if max(map(len, words)) > length - 2:
        raise Wrong("texts", f"a text has more than the {length - 2} tokens that the text encoder takes: shorten it")
    with patched(network, encoder.weights.patches):
        result = network(torch.tensor([_padded(tokenizer, each) for each in words], device=DEVICE))
    projected = getattr(result, "text_embeds", None)
    vectors: Tensor = result.pooler_output if projected is None else projected
    return vectors.float().cpu()


def compared(node: "CompareTexts") -> tuple[Table, float, float, float, float]:
    """What the node CompareTexts gives."""
    vectors = torch.nn.functional.normalize(text_vectors(node.clip.encoders[0], node.texts), dim=1)
    cosines = vectors @ vectors.T
    rows = [f"{index + 1}: {text}" for index, text in enumerate(node.texts)]
    columns = {str(index + 1): column for index, column in enumerate(cosines.T.tolist())}
    meanings = node.meanings or node.texts
    pairs = [(one, two) for two in range(len(meanings)) for one in range(two)]
    same = [float(cosines[one, two]) for one, two in pairs if meanings[one] == meanings[two]]
    other = [float(cosines[one, two]) for one, two in pairs if meanings[one] != meanings[two]]
    means = [sum(each) / len(each) if each else 0.0 for each in (same, other)]
    return table({"text": rows, **columns}), means[0], min(same, default=0.0), means[1], max(other, default=0.0)
