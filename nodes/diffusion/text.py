"""Text to conditioning, by CLIP's text encoder (Radford et al. 2021, arXiv:2103.00020)."""

from collections.abc import Sequence

import torch

from ..ports import Clip, Cond, Conditioning
from .numerics import DEVICE
from .weights import load_text_encoder, load_tokenizer


@torch.no_grad()
def encode(clip: Clip, texts: Sequence[str]) -> tuple[Conditioning, list[str]]:
    """The last hidden state for each text, tokens f32[N, T, D], padded and cut to the T the text encoder learned.

    Also gives what was cut off, one entry for each text, empty where nothing was.
    """
    tokenizer, encoder = load_tokenizer(clip), load_text_encoder(clip)
    length = min(tokenizer.model_max_length, clip.weights.config["max_position_embeddings"])
    tokens = tokenizer(list(texts), padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    mask = tokens.attention_mask.to(DEVICE) if clip.weights.config.get("use_attention_mask") else None
    hidden = encoder(tokens.input_ids.to(DEVICE), attention_mask=mask)[0]
    # The last of the T tokens is the end of the text, so what follows its predecessor is lost.
    cut = [tokenizer.decode(tokenizer(text).input_ids[length - 1 : -1]) for text in texts]
    return Conditioning((Cond(hidden),)), cut
