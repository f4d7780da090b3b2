"""The language of prompts."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentgraph.nodes.diffusion.prompts import LIMIT, Part, parse

MARKS = "()[]\\:"
prompts = st.text(st.sampled_from("ab ,.1:()[]\\"), max_size=40)
plain = st.text(st.sampled_from("abc ,.:!1é"), min_size=1, max_size=40).filter(str.strip)
weights = st.floats(-4, 4).map(lambda weight: round(weight, 3))


def one(prompt: str) -> list[Part]:
    """The parts of a prompt without BREAK."""
    (stretch,) = parse(prompt)
    return stretch


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("a red cat", [("a red cat", 1)]),
        ("a (red) cat", [("a ", 1), ("red", 1.1), (" cat", 1)]),
        ("a [red] cat", [("a ", 1), ("red", 1 / 1.1), (" cat", 1)]),
        ("(red:1.3)", [("red", 1.3)]),
        ("(red: .5 )", [("red", 0.5)]),
        ("(red:-2)", [("red", -2)]),
        ("(red:0)", [("red", 0)]),
        ("((red))", [("red", 1.1 * 1.1)]),
        ("(a (b:2) c:1.5)", [("a ", 1.5), ("b", 3), (" c", 1.5)]),
        ("([a])", [("a", 1.1 / 1.1)]),
        ("a (red:1) cat", [("a red cat", 1)]),
    ],
)
def test_brackets_make_words_count_more_or_less(prompt: str, parts: list[tuple[str, float]]) -> None:
    found = one(prompt)
    assert [part.text for part in found] == [text for text, _ in parts]
    assert [part.weight for part in found] == pytest.approx([weight for _, weight in parts])


@pytest.mark.parametrize(
    "prompt", ["a (cat", "a cat)", ")(", "][", ":)", "(:", "16:9", "a: 2", "a \\ b", "\\n", "[", "BREAKFAST", "break"]
)
def test_marks_without_their_partner_are_text(prompt: str) -> None:
    assert one(prompt) == [Part(prompt)]


def test_brackets_that_cross_count_for_the_outer_pair_alone() -> None:
    assert one("([)]") == [Part("[", 1.1), Part("]")]


def test_what_is_no_number_is_text_in_brackets() -> None:
    for text in ("a:b", "a:1.2.3", "a:1_0", "a:inf", "a:1e3", "a:²"):
        assert one(f"({text})") == [Part(text, 1.1)]


def test_square_brackets_take_no_number() -> None:
    assert one("[a:2]") == [Part("a:2", 1 / 1.1)]


def test_a_backslash_makes_a_mark_text() -> None:
    assert one(r"\(a\) \[b\] \\c") == [Part(r"(a) [b] \c")]
    assert one(r"(a\:1.2)") == [Part("a:1.2", 1.1)]


def test_break_begins_a_new_stretch_in_which_weights_go_on() -> None:
    assert parse("a BREAK b") == [[Part("a ")], [Part(" b")]]
    assert parse("(a BREAK b:2) c") == [[Part("a ", 2)], [Part(" b", 2), Part(" c")]]
    assert parse("a BREAK BREAK") == [[Part("a ")]]
    assert parse("") == parse("()") == parse(" BREAK ") == []


def test_names_are_embeddings_whatever_their_case_and_nothing_beside_them() -> None:
    names = ("cat", "cat-toy", "<x>")
    assert parse("a Cat, (cat-toy:2)<X>", names) == [
        [Part("a "), Part("cat", embedding=True), Part(", "), Part("cat-toy", 2, True), Part("<x>", embedding=True)]
    ]
    assert parse("embedding:cat b", names) == [[Part("cat", embedding=True), Part(" b")]]
    assert parse("concatenate cats", names) == [[Part("concatenate cats")]]


def test_an_embedding_that_is_not_loaded_is_refused() -> None:
    with pytest.raises(ValueError, match="`embedding:dog` is an embedding that is not loaded; loaded are cat"):
        parse("a (embedding:dog:1.2)", ("cat",))
    with pytest.raises(ValueError, match="add it with LoadEmbedding"):
        parse("embedding:cats")


def test_weights_that_are_too_large_are_refused() -> None:
    for prompt in ("(a:101)", "(a:-101)", "(" * 60 + "a" + ")" * 60, f"(a:{'9' * 400})"):
        with pytest.raises(ValueError, match="100 is the most"):
            parse(prompt)


def test_without_marks_all_is_text() -> None:
    text = r"a (b:2) [c] \( BREAK d"
    assert parse(text, marks=False) == [[Part(text)]]


@given(prompts)
def test_every_prompt_is_read_and_its_words_are_kept(prompt: str) -> None:
    stretches = parse(prompt)
    assert all(math.isfinite(part.weight) and abs(part.weight) <= LIMIT for stretch in stretches for part in stretch)
    words = [letter for stretch in stretches for part in stretch for letter in part.text if letter in "ab"]
    assert words == [letter for letter in prompt if letter in "ab"]


@given(plain)
def test_text_without_marks_is_one_part_as_it_was_written(text: str) -> None:
    assert one(text) == [Part(text)]


@given(st.text(st.sampled_from("ab :()[]\\"), min_size=1).filter(str.strip))
def test_any_text_can_be_written_with_backslashes(text: str) -> None:
    assert one("".join(f"\\{letter}" if letter in MARKS else letter for letter in text)) == [Part(text)]


@given(plain, st.lists(weights, max_size=3))
def test_weights_multiply(text: str, each: list[float]) -> None:
    prompt = text.replace(":", " ")
    for weight in each:
        prompt = f"({prompt}:{weight:.3f})"
    if prompt.strip():
        for part in (part for stretch in parse(prompt) for part in stretch):
            assert part.weight == pytest.approx(math.prod(each))


def test_long_prompts_take_no_longer_than_they_are() -> None:
    for prompt in ("(" * 50_000 + "]" * 50_000, "[(" * 50_000, " " * 100_000, f"(a:{'1' * 100_000}x)", "\\" * 100_000):
        parse(prompt)
