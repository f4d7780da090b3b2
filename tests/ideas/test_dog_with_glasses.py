"""The whole way of "dog with glasses": tokens, vectors, latents, picture, and a judge who sees both."""

import torch
from transformers import CLIPTextModel, CLIPTokenizer

from latentgraph.nodes.models import BUILTIN


def test_the_judge_sees_the_dog_and_the_glasses(ran):
    outputs = ran("dog-with-glasses")
    assert (outputs["dog"], outputs["glasses"]) == ((True,), (True,))
    assert outputs["seen"][0].startswith("a dog face with glasses on a")


def test_the_tokens_are_those_of_the_tokenizer(ran):
    outputs = ran("dog-with-glasses")
    ids = CLIPTokenizer.from_pretrained(BUILTIN / "tokenizer")("dog with glasses").input_ids
    assert outputs["tokens"][:5] == ("start", "dog", "with", "glasses", "end")
    assert outputs["count"] == len(ids) == 5
    assert len(outputs["vectors"].columns[0].values) == len(outputs["tokens"]) == 24


def test_the_vectors_are_the_last_states_of_the_text_encoder_to_the_bit(ran):
    tokenizer = CLIPTokenizer.from_pretrained(BUILTIN / "tokenizer")
    ids = tokenizer("dog with glasses", padding="max_length", max_length=24, return_tensors="pt").input_ids
    encoder = CLIPTextModel.from_pretrained(BUILTIN / "text_encoder", dtype=torch.float32).eval()
    with torch.no_grad():
        states = encoder(ids).last_hidden_state[0]
    columns = ran("dog-with-glasses")["vectors"].columns[1:]
    assert torch.equal(torch.tensor([column.values for column in columns]).T, states)


def test_the_picture_is_that_of_ordinary_sampling_to_the_bit(ran):
    from latentgraph.engine.session import load

    alone = load("txt2img").run(prompt="dog with glasses", seed=3, steps=25).outputs["image"]
    assert torch.equal(ran("dog-with-glasses")["pictures"].pixels, alone.pixels)


def test_the_guess_of_the_picture_gets_nearer_to_it_on_the_way(ran):
    distances = ran("dog-with-glasses")["distances"].column("predicted picture").values
    assert distances[0] > 2 * distances[12] > 4 * distances[-1]
