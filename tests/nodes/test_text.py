"""Text encoding: the bits of diffusers' pipelines, and what these do not have: weights, chunks, two texts."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_families
import torch
from safetensors.torch import save_file
from tiny_model import WORDS

from latentgraph.engine.context import Context
from latentgraph.engine.node import Wrong
from latentgraph.engine.ports import File, Folder
from latentgraph.nodes.conditioning import CLIPEncode
from latentgraph.nodes.diffusion.text import emphasised, encode, matched
from latentgraph.nodes.diffusion.weights import load_text_encoder
from latentgraph.nodes.facts import TextFacts
from latentgraph.nodes.guides import Cond
from latentgraph.nodes.references import Clip, Encoder, Family, Weights

Given = tuple[Any, Clip]
"""A pipeline of diffusers, and its text encoders as a value."""

KINDS: dict[str, Family] = {
    "sd1": "sd1",
    "sd2": "sd2",
    "sdxl": "sdxl",
    "refiner": "sdxl_refiner",
    "sd3": "sd3",
    "sd3_t5": "sd3",
}
PROMPT = "a red apple on dog"
LONG = "red apple on blue dog " * 3  # 15 tokens, of which 10 go into one chunk
CHUNK = "red apple on blue dog " * 2


@pytest.fixture(scope="module")
def of_family(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Given]:
    made: dict[str, Given] = {}

    def build(name: str) -> Given:
        if name not in made:
            pipeline = tiny_families.pipeline(name)
            made[name] = pipeline, saved(pipeline, tmp_path_factory.mktemp(name), KINDS[name])
        return made[name]

    return build


def saved(pipeline: Any, folder: Path, family: Family) -> Clip:
    """The text encoders of a pipeline, from files of their own."""
    encoders = []
    for number in ("", "_2", "_3"):
        network = getattr(pipeline, f"text_encoder{number}", None)
        if network is not None:
            network.save_pretrained(folder / f"text_encoder{number}")
            getattr(pipeline, f"tokenizer{number}").save_pretrained(folder / f"tokenizer{number}")
            weights = Weights("text_encoder", family, Folder.at(folder / f"text_encoder{number}"))
            encoders.append(Encoder(weights, Folder.at(folder / f"tokenizer{number}")))
    joint = pipeline.transformer.config.joint_attention_dim if family == "sd3" else None
    return Clip(tuple(encoders), joint_width=joint)


@pytest.fixture(params=KINDS)
def given(request: pytest.FixtureRequest, of_family: Callable[[str], Given]) -> Given:
    return of_family(request.param)


@pytest.fixture
def sd1(of_family: Callable[[str], Given]) -> Given:
    return of_family("sd1")


@pytest.fixture
def sdxl(of_family: Callable[[str], Given]) -> Given:
    return of_family("sdxl")


def cond(clip: Clip, *texts: str, **options: Any) -> Cond:
    conditioning, _ = encode(clip, texts, **options)
    (only,) = conditioning.conds
    return only


@torch.no_grad()
def of_diffusers(pipeline: Any, texts: list[str], **options: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The tokens, and what is pooled where there is such a thing, by the pipeline's own method."""
    if hasattr(pipeline, "text_encoder_2"):
        third = {"prompt_3": None} if hasattr(pipeline, "transformer") else {}
        options = {"prompt_2": None, **third, **options}
        found = pipeline.encode_prompt(prompt=texts, do_classifier_free_guidance=False, **options)
        return found[0], found[2]
    found = pipeline.encode_prompt(texts, "cpu", 1, False, **options)
    return found[0], None


def check_same(found: Cond, tokens: torch.Tensor, pooled: torch.Tensor | None) -> None:
    assert found.tokens.shape == tokens.shape
    assert torch.equal(found.tokens, tokens)
    assert (found.pooled is None) == (pooled is None)
    if pooled is not None:
        assert torch.equal(found.pooled, pooled)  # type: ignore[arg-type]


# as diffusers does it, to the bit


@pytest.mark.parametrize("texts", [[PROMPT], [""], ["dog", "", PROMPT]], ids=["one", "empty", "batch"])
def test_texts_are_encoded_as_the_pipeline_of_the_family_does(given: Given, texts: list[str]) -> None:
    pipeline, clip = given
    check_same(cond(clip, *texts), *of_diffusers(pipeline, texts))


def test_a_long_text_that_is_cut_is_what_the_pipeline_takes_of_it(given: Given) -> None:
    pipeline, clip = given
    check_same(cond(clip, LONG, long="cut"), *of_diffusers(pipeline, [LONG]))
    _, cut = encode(clip, [LONG, "dog"], long="cut")
    assert cut == ["red apple on blue dog", ""]


@pytest.mark.parametrize("name", ["sdxl", "sd3", "sd3_t5"])
def test_the_second_text_encoder_takes_a_text_of_its_own(name: str, of_family: Callable[[str], Given]) -> None:
    pipeline, clip = of_family(name)
    check_same(cond(clip, "dog", second=["a red apple"]), *of_diffusers(pipeline, ["dog"], prompt_2=["a red apple"]))


@pytest.mark.parametrize("name", ["sdxl", "refiner", "sd3"])
def test_layers_are_left_out_as_the_pipeline_does(name: str, of_family: Callable[[str], Given]) -> None:
    pipeline, clip = of_family(name)
    check_same(cond(replace(clip, skip=1), PROMPT), *of_diffusers(pipeline, [PROMPT], clip_skip=1))


def test_version_1_takes_an_earlier_layer_through_the_last_norm(sd1: Given) -> None:
    pipeline, clip = sd1
    ids = pipeline.tokenizer(PROMPT, padding="max_length", return_tensors="pt").input_ids
    encoder = pipeline.text_encoder
    with torch.no_grad():
        hidden = encoder(ids, output_hidden_states=True).hidden_states[-2]
        expected = getattr(encoder, "text_model", encoder).final_layer_norm(hidden)
    assert torch.equal(cond(replace(clip, skip=1), PROMPT).tokens, expected)
    assert not torch.equal(cond(clip, PROMPT).tokens, expected)


def test_a_text_encoder_that_masks_its_padding_is_given_the_mask(tmp_path: Path, sd1: Given) -> None:
    pipeline, _ = sd1
    encoder = pipeline.text_encoder
    encoder.config.use_attention_mask = True
    try:
        clip = saved(pipeline, tmp_path, "sd1")
        check_same(cond(clip, "dog"), *of_diffusers(pipeline, ["dog"]))
        masked = cond(clip, "dog").tokens
    finally:
        del encoder.config.use_attention_mask
    assert not torch.equal(masked, cond(sd1[1], "dog").tokens)


# long texts


def test_a_long_text_is_its_chunks_after_each_other(sdxl: Given) -> None:
    _, clip = sdxl
    whole, first, second = cond(clip, LONG), cond(clip, CHUNK), cond(clip, "red apple on blue dog")
    assert torch.equal(whole.tokens, torch.cat([first.tokens, second.tokens], dim=1))
    torch.testing.assert_close(whole.pooled, first.pooled)


def test_a_text_that_just_fits_is_one_chunk(sd1: Given) -> None:
    _, clip = sd1
    assert cond(clip, CHUNK).tokens.shape[1] == 12
    assert cond(clip, f"{CHUNK} dog").tokens.shape[1] == 24


def test_break_begins_a_new_chunk(sd1: Given) -> None:
    _, clip = sd1
    parts = [cond(clip, text).tokens for text in ("a red", "dog")]
    assert torch.equal(cond(clip, "a red BREAK dog").tokens, torch.cat(parts, dim=1))
    assert torch.equal(cond(clip, "a red BREAK dog", long="cut").tokens, cond(clip, "a red dog").tokens)


def test_shorter_texts_of_a_batch_are_filled_up_with_the_empty_text(sdxl: Given) -> None:
    _, clip = sdxl
    both = cond(clip, "dog", LONG)
    short = torch.cat([cond(clip, "dog").tokens, cond(clip, "").tokens], dim=1)
    assert torch.equal(both.tokens, torch.cat([short, cond(clip, LONG).tokens]))
    torch.testing.assert_close(both.pooled, cond(clip, "dog", CHUNK).pooled)


def test_two_texts_of_different_length_are_made_equally_long(sdxl: Given) -> None:
    _, clip = sdxl
    tokens = cond(clip, "dog", second=[LONG]).tokens
    first, second = tokens.split(64, dim=2)
    assert torch.equal(first, torch.cat([cond(clip, "dog").tokens, cond(clip, "").tokens], dim=1)[..., :64])
    assert torch.equal(second, cond(clip, LONG).tokens[..., 64:])


def test_a_t5_takes_256_tokens_after_those_of_the_clips(of_family: Callable[[str], Given]) -> None:
    _, clip = of_family("sd3_t5")
    text = "dog " * 300
    conditioning, cut = encode(clip, [text])
    tokens = conditioning.conds[0].tokens
    assert tokens.shape == (1, 12 * 30 + 256, 160)
    assert cut == [("dog " * 45).strip()]
    assert tokens[0, : 12 * 30, 128:].abs().max() == 0  # the CLIPs' are filled up with zeros to the width of the T5


def test_conditions_of_different_length_say_the_same_to_a_unet_in_one_batch(sd1: Given) -> None:
    pipeline, clip = sd1
    conds = [cond(clip, text) for text in ("dog", LONG)]
    equal = matched(conds)
    assert [each.tokens.shape[1] for each in equal] == [24, 24]
    assert equal[1] is conds[1]
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        short, repeated = (pipeline.unet(noise, 500, each[0].tokens).sample for each in (conds, equal))
    torch.testing.assert_close(repeated, short, rtol=1e-5, atol=1e-5)


def test_conditions_that_would_become_too_long_stay_as_they_are() -> None:
    conds = [Cond(torch.zeros(1, length, 2)) for length in (24, 36, 60)]
    assert matched(conds) == conds
    assert [each.tokens.shape[1] for each in matched(conds[:2])] == [72, 72]
    assert matched(conds[:1] * 3) == conds[:1] * 3


# weights


def test_words_with_a_weight_go_away_from_the_empty_text(sd1: Given) -> None:
    _, clip = sd1
    plain, empty = cond(clip, "a red apple").tokens, cond(clip, "").tokens
    found = cond(clip, "a (red:1.5) apple").tokens
    assert torch.equal(found[:, 2], empty[:, 2] + (plain[:, 2] - empty[:, 2]) * 1.5)
    others = [index for index in range(12) if index != 2]
    assert torch.equal(found[:, others], plain[:, others])
    assert torch.equal(cond(clip, "a (red:0) apple").tokens[:, 2], empty[:, 2])


def test_scaled_words_leave_the_mean_of_their_chunk_as_it_was(sd1: Given) -> None:
    _, clip = sd1
    plain = cond(clip, f"a red apple BREAK {PROMPT}").tokens
    found = cond(clip, f"a (red:1.5) apple BREAK {PROMPT}", weights="scale").tokens
    torch.testing.assert_close(found[:, :12].mean(), plain[:, :12].mean())
    ratios = (found / plain)[0, :12].mean(dim=1)
    torch.testing.assert_close(ratios[2] / ratios[0], torch.tensor(1.5))
    torch.testing.assert_close(found[:, 12:], plain[:, 12:])


def test_each_text_encoder_has_the_weights_of_its_own_text(sdxl: Given) -> None:
    _, clip = sdxl
    plain = cond(clip, "red dog").tokens
    found = cond(clip, "red dog", second=["red (dog:2)"]).tokens
    assert torch.equal(found[..., :64], plain[..., :64])
    assert torch.equal(found[:, 1, 64:], plain[:, 1, 64:])
    assert not torch.equal(found[:, 2, 64:], plain[:, 2, 64:])


def test_a_t5_has_weights_too(of_family: Callable[[str], Given]) -> None:
    _, clip = of_family("sd3_t5")
    plain, empty, found = (cond(clip, text).tokens[:, 12:] for text in ("red dog", "", "red (dog:2)"))
    assert torch.equal(found[:, 0], plain[:, 0])
    assert torch.equal(found[:, 1], empty[:, 1] + (plain[:, 1] - empty[:, 1]) * 2)
    assert torch.equal(found[:, 2:], plain[:, 2:])


def test_what_is_pooled_has_no_weights(given: Given) -> None:
    _, clip = given
    plain, weighted = cond(clip, "red dog"), cond(clip, "(red:1.5) dog")
    torch.testing.assert_close(plain.pooled, weighted.pooled)
    assert not torch.equal(plain.tokens, weighted.tokens)


def test_a_weight_of_one_changes_nothing_by_either_rule() -> None:
    states = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0))
    for weights in ("interpolate", "scale"):
        assert torch.equal(emphasised(states, states[:1] * 2, torch.ones(2, 4), weights), states)


def test_marks_are_text_where_weights_are_off(sd1: Given) -> None:
    pipeline, clip = sd1
    text = "(red:1.5) BREAK"
    check_same(cond(clip, text, weights="off", long="cut"), *of_diffusers(pipeline, [text]))


# embeddings


@pytest.fixture
def mine(tmp_path: Path) -> File:
    """Two vectors for each of two text encoders."""
    generator = torch.Generator().manual_seed(0)
    tables = {name: torch.randn(2, 64, generator=generator) for name in ("clip_l", "clip_g")}
    save_file(tables, tmp_path / "mine.safetensors")
    return File.at(tmp_path / "mine.safetensors")


def test_all_vectors_of_an_embedding_have_the_weight_of_its_word(mine: File, sdxl: Given) -> None:
    clip = replace(sdxl[1], embeddings=(("mine", mine),))
    plain, empty, found = (cond(clip, text).tokens for text in ("red mine dog", "", "red (mine:1.5) dog"))
    assert torch.equal(found[:, 2:4], empty[:, 2:4] + (plain[:, 2:4] - empty[:, 2:4]) * 1.5)
    assert torch.equal(found[:, [0, 1, 4, 5]], plain[:, [0, 1, 4, 5]])
    assert not torch.equal(plain, cond(sdxl[1], "red mine dog", long="cut").tokens)


def test_an_embedding_that_is_cut_off_is_said_by_its_name(mine: File, sdxl: Given) -> None:
    clip = replace(sdxl[1], embeddings=(("mine", mine),))
    _, cut = encode(clip, [f"{CHUNK} red mine dog"], long="cut")
    assert cut == ["red mine dog"]


def test_to_a_t5_the_name_of_an_embedding_is_a_word(mine: File, of_family: Callable[[str], Given]) -> None:
    _, clip = of_family("sd3_t5")
    named = replace(clip, embeddings=(("blue", mine),))
    found, plain = (cond(each, "red blue").tokens[:, 12:] for each in (named, clip))
    assert torch.equal(found, plain)
    assert not torch.equal(cond(named, "red blue").tokens[:, :12], cond(clip, "red blue").tokens[:, :12])


def test_embeddings_leave_nothing_in_the_text_encoder(mine: File, sdxl: Given) -> None:
    _, clip = sdxl
    before = cond(clip, PROMPT)
    cond(replace(clip, embeddings=(("apple", mine),)), PROMPT)
    check_same(cond(clip, PROMPT), before.tokens, before.pooled)


# the node


def test_the_node_says_what_was_cut_off_and_takes_one_text_for_all(sdxl: Given) -> None:
    _, clip = sdxl
    said: list[Any] = []
    context = Context(report=lambda kind, content: said.append(content))
    node = CLIPEncode(clip=clip, text=("dog", LONG), text_2="red", long="cut")
    (found,) = node.run(context).conds
    expected = cond(clip, "dog", LONG, second=["red", "red"], long="cut")
    assert torch.equal(found.tokens, expected.tokens)
    assert said[0]["message"].endswith("left out: red apple on blue dog")


def test_texts_that_cannot_be_encoded_are_refused_before_anything_runs(sd1: Given, sdxl: Given) -> None:
    (_, one), (_, two) = sd1, sdxl
    for clip, inputs, name in (
        (one, {"text": "dog", "text_2": "red"}, "text_2"),
        (two, {"text": ("a", "b"), "text_2": ("a", "b", "c")}, "text_2"),
        (two, {"text": "a", "text_2": ()}, "text_2"),
        (one, {"text": "(dog:1000)"}, "text"),
        (one, {"text": "a embedding:cat"}, "text"),
        (two, {"text": "dog", "text_2": "(dog:1000)"}, "text_2"),
    ):
        with pytest.raises(Wrong) as wrong:
            CLIPEncode.describe({"clip": clip, "text_2": None, **inputs})
        assert wrong.value.input == name
    assert CLIPEncode.describe({"clip": one, "text": "(dog:1000)", "weights": "off"}) == {
        "conditioning": TextFacts(64, 1)
    }
    described = CLIPEncode.describe({"clip": two, "text": "a", "text_2": ("a", "b")})
    assert described == {"conditioning": TextFacts(128, 2, pooled=True)}


def test_the_width_is_that_of_the_tokens(given: Given) -> None:
    _, clip = given
    assert cond(clip, WORDS[0]).tokens.shape[2] == clip.width


def test_text_encoders_are_the_same_after_each_use(sd1: Given) -> None:
    _, clip = sd1
    network = load_text_encoder(clip.encoders[0])
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    cond(clip, "(dog:2) BREAK red")
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
