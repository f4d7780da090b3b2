"""A byte-level BPE tokenizer in CLIP's format, trained on captions (Sennrich et al. 2016, arXiv:1508.07909)."""

import json
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
SUFFIX = "</w>"


def train_tokenizer(captions: Iterable[str], vocabulary_size: int, max_length: int) -> CLIPTokenizer:
    """A CLIPTokenizer whose vocabulary has every byte, alone and at the end of a word, and merges from captions."""
    symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size - len(symbols),
        special_tokens=[],
        initial_alphabet=symbols,
        end_of_word_suffix=SUFFIX,
        show_progress=False,
    )
    learner = Tokenizer(models.BPE(end_of_word_suffix=SUFFIX))
    learner.normalizer = normalizers.Lowercase()
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    learner.train_from_iterator(captions, trainer)
    merges = [tuple(merge) for merge in json.loads(learner.to_str())["model"]["merges"]]
    tokens = [*symbols, *(symbol + SUFFIX for symbol in symbols), *("".join(merge) for merge in merges), START, END]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=max_length)


def tokenizer_files(tokenizer: CLIPTokenizer) -> dict[str, bytes]:
    """The files of a tokenizer folder, in today's layout and in the one of `vocab.json` and `merges.txt`."""
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    merges = "\n".join(" ".join(merge) if isinstance(merge, list) else merge for merge in model["merges"])
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": tokenizer.model_max_length,
        "bos_token": START,
        "eos_token": END,
        "unk_token": END,
        "pad_token": END,
        "do_lower_case": True,
    }
    return {
        "merges.txt": f"#version: 0.2\n{merges}\n".encode(),
        "tokenizer.json": tokenizer.backend_tokenizer.to_str(pretty=True).encode(),
        "tokenizer_config.json": _json(config),
        "vocab.json": _json(model["vocab"]),
    }


def _json(content: object) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
