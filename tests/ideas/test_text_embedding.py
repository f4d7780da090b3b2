"""From words to vectors: texts that mean the same are near each other, others are not."""

from pathlib import Path

import pytest
import torch
from transformers import CLIPTextModel, CLIPTokenizer

import latentgraph.nodes
from latentgraph.engine import Context
from latentgraph.engine.node import Wrong
from latentgraph.nodes.conditioning import CLIPEncode
from latentgraph.nodes.models import LoadModel
from latentgraph.nodes.texts import CompareTexts, ConditioningTable, Tokenize
from latentgraph.nodes.training.emoji import Scene, captions

BUILTIN = Path(latentgraph.nodes.__file__).parent / "builtin"
PROMPT = "a dog face on a blue background"
SCENES = [Scene(background, (thing,)) for background in ("blue", "red") for thing in ("dog", "rocket", "banana")]


@pytest.fixture(scope="module")
def clip():
    return LoadModel().run(Context()).clip


@pytest.fixture(scope="module")
def states():
    """A function that gives transformers' last hidden states f32[N, T, D] of texts, and where each text ends."""
    tokenizer = CLIPTokenizer.from_pretrained(BUILTIN / "tokenizer")
    network = CLIPTextModel.from_pretrained(BUILTIN / "text_encoder", torch_dtype=torch.float32).eval()

    @torch.no_grad()
    def encoded(texts):
        ids = tokenizer(texts, padding="max_length", max_length=tokenizer.model_max_length, return_tensors="pt")
        ends = (ids.input_ids == tokenizer.eos_token_id).int().argmax(1)
        return network(ids.input_ids).last_hidden_state, ends

    return encoded


def numbers(table) -> torch.Tensor:
    return torch.tensor([column.values for column in table.columns[1:]]).T


def test_texts_that_mean_the_same_are_nearer_to_each_other_than_to_any_other(ran):
    outputs = ran("text-embedding")
    assert outputs["least_same"] > 0.9
    assert outputs["most_other"] < 0.7
    assert outputs["same"] - outputs["other"] > 0.7


@pytest.mark.parametrize("wordings", [(0, 1, 2), (3, 4), (5, 6, 0)])
def test_every_wording_of_a_scene_is_nearest_to_another_wording_of_it(clip, wordings):
    texts = tuple(captions(scene)[wording] for scene in SCENES for wording in wordings)
    meanings = tuple(f"{scene.things[0]} on {scene.background}" for scene in SCENES for _ in wordings)
    compared = CompareTexts(clip=clip, texts=texts, meanings=meanings).run(Context())
    nearest = (numbers(compared.table) - 2 * torch.eye(len(texts))).argmax(1).tolist()
    assert tuple(meanings[index] for index in nearest) == meanings
    assert compared.least_same > compared.most_other


def test_the_vectors_of_the_prompt_are_exactly_those_that_transformers_gives(ran, states):
    hidden, _ = states([PROMPT])
    assert torch.equal(numbers(ran("text-embedding")["vectors"]), hidden[0])


def test_cosines_are_those_between_the_states_at_the_ends_of_the_texts(clip, states):
    texts = (PROMPT, "dog face on blue", "a rocket")
    hidden, ends = states(list(texts))
    own = torch.nn.functional.normalize(hidden[torch.arange(len(texts)), ends], dim=1)
    compared = CompareTexts(clip=clip, texts=texts, meanings=("dog", "dog", "rocket")).run(Context())
    torch.testing.assert_close(numbers(compared.table), own @ own.T, atol=1e-6, rtol=0)
    assert compared.same == compared.least_same == pytest.approx(float(own[0] @ own[1]), abs=1e-6)
    assert compared.most_other == pytest.approx(float(max(own[0] @ own[2], own[1] @ own[2])), abs=1e-6)
    assert compared.other == pytest.approx(float(own[0] @ own[2] + own[1] @ own[2]) / 2, abs=1e-6)


def test_a_vector_knows_of_the_words_before_it_and_of_none_behind_it(clip):
    blue, red = (
        numbers(
            ConditioningTable(
                conditioning=CLIPEncode(clip=clip, text=f"a dog face on a {colour} background").run(Context())
            ).run(Context())
        )
        for colour in ("blue", "red")
    )
    same = (blue - red).abs().amax(1) < 1e-5
    place = Tokenize(clip=clip, text=PROMPT).run(Context()).tokens.index("blue")
    assert same.tolist() == [True] * place + [False] * (len(same) - place)


def test_tokens_are_those_of_transformers_with_names(ran, clip):
    tokenizer = CLIPTokenizer.from_pretrained(BUILTIN / "tokenizer")
    tokens = Tokenize(clip=clip, text=PROMPT).run(Context())
    assert list(tokens.ids) == tokenizer(PROMPT, padding="max_length", max_length=24).input_ids
    assert tokens.tokens[: tokens.count] == ("start", *PROMPT.split(), "end")
    assert set(tokens.tokens[tokens.count :]) == {"padding"}
    assert tokens.count == ran("text-embedding")["tokens"] == len(PROMPT.split()) + 2


def test_weights_are_no_tokens_and_nothing_is_a_start_and_an_end(clip):
    weighted = Tokenize(clip=clip, text="a (dog:1.3) face").run(Context())
    assert weighted == Tokenize(clip=clip, text="a dog face").run(Context())
    assert Tokenize(clip=clip, text="").run(Context()).tokens[:3] == ("start", "end", "padding")
    assert Tokenize(clip=clip, text="dog " * 99).run(Context()).count == 24


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"texts": ("a dog",)}, "give two or more"),
        ({"texts": ("a dog", "a dog")}, "give each once"),
        ({"texts": ("a dog", "a cat"), "meanings": ("dog",)}, "there are 1 for 2 texts"),
        ({"texts": ("a dog", "dog " * 99)}, "more than the 22 tokens"),
    ],
)
def test_texts_that_cannot_be_compared_are_refused(clip, inputs, message):
    with pytest.raises(Wrong, match=message):
        CompareTexts(clip=clip, **inputs).run(Context())


def test_a_batch_of_texts_is_no_table_and_names_have_to_be_as_many(clip):
    with pytest.raises(Wrong, match="several texts"):
        ConditioningTable(conditioning=CLIPEncode(clip=clip, text=("a", "b")).run(Context())).run(Context())
    with pytest.raises(Wrong, match="1 tokens for 24 vectors"):
        ConditioningTable(conditioning=CLIPEncode(clip=clip, text="a").run(Context()), tokens=("a",)).run(Context())


def test_texts_are_compared_so_many_at_most(clip):
    CompareTexts(clip=clip, texts=tuple(map(str, range(128))))
    with pytest.raises(ValueError, match="texts"):
        CompareTexts(clip=clip, texts=tuple(map(str, range(129))))
