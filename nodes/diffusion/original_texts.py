"""CLIP text encoders in single files: their configuration, and the tensors that they must have. No torch here.

The names are those of transformers, or those of OpenCLIP, whose attention has queries, keys and values in one tensor.
"""

import json
import lzma
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from latentgraph.engine.ports import Folder

from ..references import Family
from .originals import HEAD, Shape, Shapes, count, pair, shape_of

MERGES = Path(__file__).parent / "configs" / "clip" / "merges.txt.xz"
"""CLIP's byte pair encoding, from which its whole vocabulary follows (Radford et al. 2021, arXiv:2103.00020)."""

WORDS = 49408
BEGIN, END = "<|startoftext|>", "<|endoftext|>"


class Place(NamedTuple):
    """Where a file has a text encoder, and what is taken of it.

    `open` says that its names are OpenCLIP's. `projected` ones give a vector of the whole text as well. `left_out` are
    last layers that are not used. `fill` is what the tokenizer fills texts up with.
    """

    prefix: str
    open: bool = False
    projected: bool = False
    left_out: int = 0
    fill: str = END


PLACES: dict[Family, tuple[Place, ...]] = {
    "sd1": (Place("cond_stage_model.transformer."),),
    "sd2": (Place("cond_stage_model.model.", open=True, left_out=1, fill="!"),),
    "sdxl": (
        Place("conditioner.embedders.0.transformer."),
        Place("conditioner.embedders.1.model.", open=True, projected=True, fill="!"),
    ),
    "sdxl_refiner": (Place("conditioner.embedders.0.model.", open=True, projected=True, fill="!"),),
    "sd3": (
        Place("text_encoders.clip_l.transformer.", projected=True),
        Place("text_encoders.clip_g.transformer.", projected=True, fill="!"),
    ),
}
"""The text encoders of each family, in their order."""


def clip_config(shapes: Shapes, place: Place) -> dict[str, Any]:
    """transformers' configuration. Raises ValueError where this is no CLIP with the usual vocabulary."""
    if place.open:
        table, places = shape_of(shapes, "token_embedding.weight", 2), shape_of(shapes, "positional_embedding", 2)
        layers, inner = count(shapes, "transformer.resblocks"), "transformer.resblocks.0.mlp.c_fc.weight"
        projection = shape_of({"text_projection": table} | shapes, "text_projection", 2)[-1]
    else:
        table = shape_of(shapes, "embeddings.token_embedding.weight", 2)
        places = shape_of(shapes, "embeddings.position_embedding.weight", 2)
        layers, inner = count(shapes, "encoder.layers"), "encoder.layers.0.mlp.fc1.weight"
        projection = shape_of({"text_projection.weight": table[::-1]} | shapes, "text_projection.weight", 2)[0]
    if table[0] != WORDS:
        raise ValueError(f"its text encoder knows {table[0]:,} tokens, CLIP's vocabulary has {WORDS:,}")
    return {
        "architectures": ["CLIPTextModelWithProjection" if place.projected else "CLIPTextModel"],
        "model_type": "clip_text_model",
        "vocab_size": table[0],
        "hidden_size": table[1],
        "intermediate_size": shape_of(shapes, inner, 2)[0],
        "num_hidden_layers": layers - place.left_out,
        "num_attention_heads": max(1, table[1] // HEAD),
        "max_position_embeddings": places[0],
        "projection_dim": projection,
        "bos_token_id": WORDS - 2,
        "eos_token_id": WORDS - 1,
        "pad_token_id": 1 if place.fill == END else 0,
    }


def clip_tensors(config: Mapping[str, Any], place: Place) -> dict[str, Shape]:
    """The names and shapes of a text encoder's tensors.

    The first one of Stable Diffusion 3 has no projection in the file: its vector is taken as it is.
    """
    width, inner = config["hidden_size"], config["intermediate_size"]

    def open_clip() -> Iterator[tuple[str, Shape]]:
        yield "positional_embedding", (config["max_position_embeddings"], width)
        yield "token_embedding.weight", (config["vocab_size"], width)
        for layer in (f"transformer.resblocks.{number}" for number in range(config["num_hidden_layers"])):
            yield f"{layer}.attn.in_proj_weight", (3 * width, width)
            yield f"{layer}.attn.in_proj_bias", (3 * width,)
            yield from pair(f"{layer}.attn.out_proj", width, width)
            yield from pair(f"{layer}.mlp.c_fc", inner, width)
            yield from pair(f"{layer}.mlp.c_proj", width, inner)
            yield from pair(f"{layer}.ln_1", width)
            yield from pair(f"{layer}.ln_2", width)
        yield from pair("ln_final", width)
        if place.projected:
            yield "text_projection", (width, config["projection_dim"])

    def of_transformers() -> Iterator[tuple[str, Shape]]:
        yield "embeddings.position_embedding.weight", (config["max_position_embeddings"], width)
        yield "embeddings.token_embedding.weight", (config["vocab_size"], width)
        for layer in (f"encoder.layers.{number}" for number in range(config["num_hidden_layers"])):
            for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
                yield from pair(f"{layer}.self_attn.{part}", width, width)
            yield from pair(f"{layer}.mlp.fc1", inner, width)
            yield from pair(f"{layer}.mlp.fc2", width, inner)
            yield from pair(f"{layer}.layer_norm1", width)
            yield from pair(f"{layer}.layer_norm2", width)
        yield from pair("final_layer_norm", width)
        if place.projected and "clip_l" not in place.prefix:
            yield "text_projection.weight", (config["projection_dim"], width)

    return dict(open_clip() if place.open else of_transformers())


@cache
def clip_tokenizer(fill: str) -> Folder:
    """CLIP's tokenizer as files, which fills texts up with the token `fill`."""
    merges = lzma.decompress(MERGES.read_bytes()).decode()
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": 77,
        "bos_token": BEGIN,
        "eos_token": END,
        "unk_token": END,
        "pad_token": fill,
    }
    files = {
        "merges.txt": "#version: 0.2\n" + merges,
        "vocab.json": json.dumps(_vocabulary(merges), ensure_ascii=False),
        "tokenizer_config.json": json.dumps(settings, indent=2),
    }
    return Folder.of({name: text.encode() for name, text in files.items()})


def _vocabulary(merges: str) -> dict[str, int]:
    """The number of each token: the 256 bytes, the same at the end of a word, what is merged, begin and end."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(code) for code in printable]
    letters += [chr(256 + number) for number in range(256 - len(letters))]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += [line.replace(" ", "") for line in merges.splitlines()]
    return {token: number for number, token in enumerate([*tokens, BEGIN, END])}
