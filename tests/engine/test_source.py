"""Reading YAML: values, places, limits, and words about what is wrong."""

import json
import math
import time
import tracemalloc
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from latentgraph.engine import source
from latentgraph.engine.diagnostics import Diagnostic, GraphWrong, Place
from latentgraph.engine.source import Mapping, Scalar, Sequence, Tree, plain, read

quick = settings(max_examples=100, deadline=None, database=None)


def value_of(text: str) -> Scalar:
    """The scalar that `text` is as the value of a key."""
    value = read(f"key: {text}", "f").get("key")
    assert isinstance(value, Scalar)
    return value


def at(text: str, *keys: str | int) -> Tree:
    tree: Tree | None = read(text, "f")
    for key in keys:
        if isinstance(key, int):
            assert isinstance(tree, Sequence)
            tree = tree.items[key]
        else:
            assert isinstance(tree, Mapping)
            tree = tree.get(key)
    assert tree is not None
    return tree


def wrong(text: str | bytes) -> tuple[Diagnostic, ...]:
    with pytest.raises(GraphWrong) as caught:
        read(text, "f")
    return caught.value.diagnostics


def span(text: str, place: Place | None) -> str:
    """The characters of `text` that a place covers."""
    assert place is not None
    starts = [0, *(index + 1 for index, character in enumerate(text) if character == "\n")]
    start, end = starts[place.line - 1] + place.column - 1, starts[place.end_line - 1] + place.end_column - 1
    return text[start:end]


# Values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("~", None), ("null", None), ("Null", None), ("NULL", None),
        ("true", True), ("True", True), ("FALSE", False),
        ("0", 0), ("42", 42), ("-7", -7), ("+5", 5), ("0x1F", 31), ("0o17", 15),
        ("1.5", 1.5), (".5", 0.5), ("1.", 1.0), ("1e-4", 0.0001), ("3e4", 30000.0), ("1.10", 1.1), ("-.5e+3", -500.0),
        (".inf", math.inf), ("-.INF", -math.inf),
        ("hello", "hello"), ("nUll", "nUll"), ("1.2.3", "1.2.3"), ("0xZZ", "0xZZ"), ("1e", "1e"), ("--", "--"),
        ("'1'", "1"), ('"true"', "true"), ("''", ""), ('"a\\n\\u00e9"', "a\né"), ("'it''s'", "it's"),
        ("|\n  1\n  2\n", "1\n2\n"), (">-\n  a\n  b\n", "a b"),
        ("9" * 500, "9" * 500), ("1" * 99, int("1" * 99)),
    ],
)  # fmt: skip
def test_values_follow_the_core_schema(text: str, value: Any) -> None:
    scalar = value_of(text)
    assert scalar.value == value
    assert type(scalar.value) is type(value)
    assert scalar.trap is None


def test_not_a_number_is_a_float() -> None:
    assert isinstance(value_of(".nan").value, float)


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("yes", "`true`"), ("No", "`false`"), ("ON", "`true`"), ("off", "`false`"), ("y", "`true`"),
        ("010", "`8`"), ("-017", "`-15`"), ("08", "a number without the zero in front"), ("01.5", "a number without"),
        ("16:9", "`969`"), ("1:30:00", "`5400`"), ("1:30.5", "`90.5`"), ("-1:30", "`-90`"),
        ("1_000", "a number"), ("1_000.5", "a number"), ("0b101", "`5`"),
        ("2024-01-01", "a date"), ("2024-01-01 10:00:00", "a date"), ("1e999", "infinity"),
    ],
)  # fmt: skip
def test_traps_are_text_and_say_what_others_make_of_it(text: str, other: str) -> None:
    scalar = value_of(text)
    assert scalar.value == scalar.text == text
    assert scalar.trap is not None
    assert scalar.trap.startswith(f"some YAML readers take `{text}` as {other}")
    assert f'quote it to keep it text: "{text}"' in scalar.trap
    assert value_of(f'"{text}"').trap is None


@pytest.mark.parametrize("text", ["note", "yEs", "16:99", "1-2", "10:x", "_1", "2024-1", "+-1"])
def test_text_that_all_readers_agree_on_is_no_trap(text: str) -> None:
    assert value_of(text).value == text
    assert value_of(text).trap is None


def test_trees_become_plain_values() -> None:
    text = "a: {b: [1, x, null], 'c': {}}\nd:\n- - true\n- e: 1.5\n1: on\n"
    assert plain(read(text, "f")) == {"a": {"b": [1, "x", None], "c": {}}, "d": [[True], {"e": 1.5}], "1": "on"}


def test_mappings_are_asked_by_key() -> None:
    tree = read("a: 1\nb: null\n", "f")
    assert tree.keys() == ("a", "b")
    assert tree.get("c") is None
    b = tree.get("b")
    assert isinstance(b, Scalar)
    assert b.value is None


# Places


def test_places_cover_exactly_what_was_written() -> None:
    text = "# c\na: {b: [1, 'x y'], c: }\n\nlong: >-\n  two\n  lines\n\nd:\n  - e: f  # g\n  - h\n"
    assert span(text, at(text, "a").place) == "{b: [1, 'x y'], c: }"
    assert span(text, at(text, "a", "b").place) == "[1, 'x y']"
    assert span(text, at(text, "a", "b", 1).place) == "'x y'"
    assert span(text, at(text, "a", "c").place) == ""
    assert span(text, at(text, "long").place) == ">-\n  two\n  lines"
    assert span(text, at(text, "d").place) == "- e: f  # g\n  - h"
    assert span(text, at(text, "d", 0).place) == "e: f"
    assert at(text, "d", 0, "e").place == Place("f", 9, 8, 9, 9)
    assert read(text, "f").entries[0][0].place == Place("f", 2, 1, 2, 2)
    assert read(text, "f").place == Place("f", 2, 1, 10, 6)


@pytest.mark.parametrize("prefix", ["", "\ufeff", "é: 1\n", "😀: 1\r\n", "x: 1\r"])
def test_columns_count_characters(prefix: str) -> None:
    text = prefix + "a: {🙂🙂: é, key: value}"
    line = 1 if prefix in ("", "\ufeff") else 2
    assert at(text, "a", "key").place == Place("f", line, 17, line, 22)
    assert at(text.encode(), "a", "key").place == Place("f", line, 17, line, 22)  # type: ignore[arg-type]


def test_an_empty_value_stands_behind_the_colon_of_its_key() -> None:
    text = "a:\nb: {c:  , d}\n"
    assert at(text, "a").place == Place("f", 1, 3, 1, 3)
    assert at(text, "b", "c").place == Place("f", 2, 7, 2, 7)
    assert at(text, "b", "d").place == Place("f", 2, 12, 2, 12)


def test_an_anchor_is_no_part_of_the_place() -> None:
    text = "a: &x foo\nb: &y [1]\nc: &z\n  d: 1\n"
    assert [span(text, at(text, key).place) for key in "abc"] == ["foo", "[1]", "d: 1"]


@pytest.mark.parametrize(
    ("text", "part"),
    [("a: $(1 + x)", "1 +"), ("a: '$(1 + x)'", "1 +"), ('a: "$(1 + x)"', "1 +"), ("a: &b $(1 + x)", "1 +")],
)
def test_a_part_of_a_text_has_a_place(text: str, part: str) -> None:
    scalar = at(text, "a")
    assert isinstance(scalar, Scalar)
    assert span(text, scalar.part(2, 5)) == part


@pytest.mark.parametrize("text", ["a: 'x''y'", 'a: "x\\ty"', "a: x\n  y", "a: |\n  xyz", "b: &b xx\na: *b"])
def test_a_part_of_a_text_that_does_not_stand_there_letter_by_letter_is_the_whole(text: str) -> None:
    scalar = at(text, "a")
    assert isinstance(scalar, Scalar)
    assert scalar.part(1, 2) == scalar.place


# What checkers have to tell


def test_the_comma_trap_can_be_told() -> None:
    inputs = read("{text: a red apple, studio light}", "f")
    assert inputs.flow
    (text, apple), (light, nothing) = inputs.entries
    assert isinstance(apple, Scalar)
    assert isinstance(nothing, Scalar)
    assert (text.text, apple.text, light.text) == ("text", "a red apple", "studio light")
    assert nothing.text == ""
    assert not nothing.quoted
    assert not read("text: a red apple, studio light", "f").flow


@pytest.mark.parametrize(
    ("text", "comment"),
    [
        ("a dog #1 in show", "1 in show"),
        ("a dog  # a remark ", " a remark"),
        ("#1 dog", "1 dog"),
        ("a dog#1", None),
        ("'a dog' #1", None),
        ("a dog", None),
        ("a dog\n# other", None),
        ("a\n  dog #1", "1"),
    ],
)
def test_a_comment_after_plain_text_is_kept(text: str, comment: str | None) -> None:
    assert value_of(text).comment_after == comment


def test_a_comment_inside_brackets_is_kept() -> None:
    scalar = at("{a: a dog #1 in show\n, b: 1}", "a")
    assert isinstance(scalar, Scalar)
    assert scalar.comment_after == "1 in show"


# Aliases and merging


def test_an_alias_has_its_own_place_and_the_content_of_the_anchor() -> None:
    text = "x-a: &a {b: [1, 2]}\nc: *a\nd: [*a, *a]\n"
    assert plain(read(text, "f")) == {"x-a": {"b": [1, 2]}, "c": {"b": [1, 2]}, "d": [{"b": [1, 2]}, {"b": [1, 2]}]}
    assert span(text, at(text, "c").place) == "*a"
    assert span(text, at(text, "c", "b").place) == "[1, 2]"


def test_an_anchor_may_be_set_again() -> None:
    assert plain(read("a: &x 1\nb: *x\nc: &x 2\nd: *x", "f")) == {"a": 1, "b": 1, "c": 2, "d": 2}


def test_merging_keeps_what_a_mapping_says_itself_and_prefers_earlier_sources() -> None:
    text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz: {<<: [*x, *y], a: 0, d: 0}\nw:\n  d: 3\n  <<: *x\n"
    assert plain(at(text, "z")) == {"a": 0, "b": 1, "c": 2, "d": 0}
    assert list(plain(at(text, "w")).items()) == [("d", 3), ("a", 1), ("b", 1)]


def test_a_quoted_merge_key_is_a_key() -> None:
    assert plain(read("'<<': 1", "f")) == {"<<": 1}


def test_billion_laughs_are_refused_before_they_cost_anything() -> None:
    lines = ["a0: &a0 [" + "lol, " * 9 + "lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 40)]
    tracemalloc.start()
    (problem,) = wrong("\n".join(lines))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert problem.code == "too-large"
    assert peak < 5_000_000


def test_aliases_within_the_limit_share_what_they_repeat() -> None:
    text = "a: &a [" + "x, " * 999 + "x]\nb: [" + "*a, " * 190 + "*a]\n"
    tracemalloc.start()
    read(text, "f")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000
    assert wrong(text.replace("190", "") + "c: [" + "*a, " * 10 + "*a]\n")[0].code == "too-large"


def test_merges_count_what_they_repeat() -> None:
    lines = ["a0: &a0 {k: 1}"] + [f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}], k{n}: 1}}" for n in range(1, 60)]
    assert wrong("\n".join(lines))[0].code == "too-large"


def test_depth_that_aliases_add_counts() -> None:
    deep = "a: &a " + "[" * 40 + "]" * 40 + "\n"
    assert wrong(deep + "b: " + "[" * 40 + "*a" + "]" * 40)[0].code == "too-deep"
    read(deep + "b: " + "[" * 20 + "*a" + "]" * 20, "f")


# Limits


@pytest.mark.parametrize("text", ["[" * 50_000, "{a: " * 50_000, "- " * 50_000, "? " * 50_000, "a: " + "[[{" * 9_000])
def test_deep_nesting_is_an_error_and_no_crash(text: str) -> None:
    started = time.process_time()
    (problem,) = wrong(text)
    assert problem.code == "too-deep"
    assert time.process_time() - started < 2


def test_sixty_four_levels_are_read() -> None:
    text = "a: " + "[" * 63 + "]" * 63
    assert str(plain(read(text, "f"))).count("[") == 63
    assert wrong("a: " + "[" * 64 + "]" * 64)[0].code == "too-deep"


def test_large_files_are_refused_unread() -> None:
    for content in (b"#" * (source.BYTES + 1), "é" * (source.BYTES // 2 + 1)):
        assert wrong(content)[0].code == "too-large"


def test_many_values_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "NODES", 1000)
    read("a: [" + "1, " * 990 + "]", "f")
    (problem,) = wrong("a: [" + "1, " * 1000 + "]")
    assert problem.code == "too-large"
    assert problem.message.startswith("the file has more than 1,000 values")


def test_a_graph_of_a_thousand_nodes_is_read_in_no_time() -> None:
    line = "  n{}: {{type: KSampler, inputs: {{model: $model.model, latent: $n0, steps: 20, seed: 42}}}}\n"
    text = "nodes:\n" + "".join(line.format(number) for number in range(1000))
    started = time.process_time()  # not the time on the wall, which other processes lengthen
    read(text, "f")
    assert time.process_time() - started < 2  # about 0.15 on a quiet machine


def test_reading_stops_after_many_problems() -> None:
    assert len(wrong("a: 1\n" * 10_000)) == 100


@pytest.mark.parametrize(
    "text",
    ["a: b: " + " " * 500_000, "a: [x] " + " " * 500_000 + "y", ": #\n" * 100_000, "a: !" + "x" * 500_000,
     "a: '" + "''" * 250_000, "a:\n" + "\t" * 500_000, "{" + ":," * 250_000, "\n" * 500_000],
)  # fmt: skip
def test_long_runs_of_anything_are_read_in_one_pass(text: str) -> None:
    started = time.process_time()
    wrong(text)
    assert time.process_time() - started < 3


# What is wrong


@pytest.mark.parametrize(
    ("text", "marked", "message", "help"),
    [
        ("text: portrait: a dog", ":", "unquoted text cannot contain `: `",
         'quote it if it is text: text: "portrait: a dog"'),
        ("a: {text: portrait: a dog, b: 1}", ":", "unquoted text cannot contain `: `",
         'quote it if it is text: text: "portrait: a dog"'),
        ("text: [red] apple", "apple", "text follows the closing `]`", 'quote it if it is text: text: "[red] apple"'),
        ("{text: [red] apple, b: 1}", "apple", "text follows the closing `]`",
         'quote it if it is text: text: "[red] apple"'),
        ("text: {red} apple  # c", "apple", "text follows the closing `}`",
         'quote it if it is text: text: "{red} apple"'),
        ("a: 'x\nb: 1", "'", "this quote is never closed", "close it with ' where the text ends"),
        ('a: "x', '"', "this quote is never closed", 'close it with " where the text ends'),
        ("a: 'it's'", "s'", "text follows the closing quote", "to keep the quote, double it inside the text: ''"),
        ('a: "x" y', "y", "text follows the closing quote", 'to keep the quote, write it \\" inside the text'),
        ("a: [1, 2\nb: 3", "[", "this `[` is never closed", None),
        ("a:\n  b: {c: 1\n  d: 2\n", "{", "this `{` is never closed", None),
        ("[a, [b]", "[", "this `[` is never closed", None),
        ("a: [b: c", "[", "this `[` is never closed", None),
        ("a: [1}", "}", "`]` is wanted here, this is `}`", None),
        ("a: ]", "]", "this `]` closes nothing", 'quote it if it is text: a: "]"'),
        ("a: [b,, c]", ",", "a value is missing before this comma", "remove the comma, or quote it as text"),
        ("{a: 1,\n  b: 2\n  c: 3}", ":", "a comma is missing at the end of the line before", None),
        ("a:\n\tb: 1", "\t", "a tab is used to indent", "indent with spaces"),
        ("a: 1\n  \tb: 1", "\t", "a tab is used to indent", "indent with spaces"),
        ("a: >-\n\tb", "\t", "a tab is used to indent", "indent with spaces"),
        ("a: 1\n b: 2", "b", "this line continues the value above, it cannot be a key",
         "indent it like the keys it belongs with"),
        ("a:\n    b: 1\n  c: 2", "c: 2", "the indentation of this line fits no line above it",
         "indent it exactly like the lines it belongs with"),
        ("a: |\n   x\n  y\n", "y", "the indentation of this line fits no line above it", None),
        ("  a: 1\nb: 2", "b: 2", "the indentation of this line fits no line above it", None),
        ("a: 1\nfoo\nb: 2", "foo", "this line is no `key: value`",
         "write `key: value`, or indent it to continue a text"),
        ("a: 1\nb:2\nc: 3", "b:2", "this line is no `key: value`", "a space follows the `:`"),
        ("a: 1\n- b", "-", "a list item stands among keys", "indent the list below the key it belongs to"),
        ("a:\n  - b\n  c: 1", "c: 1", "a line that is no item stands among the items of a list", None),
        ("a: - b", "-", "a list cannot begin on the line of its key", None),
        ("a: @x", "@", "unquoted text cannot begin with `@`", 'quote it if it is text: a: "@x"'),
        ("a: %5", "%", "unquoted text cannot begin with `%`", 'quote it if it is text: a: "%5"'),
        ("a: , b", ",", "unquoted text cannot begin with `,`", 'quote it if it is text: a: ", b"'),
        ("a: ? b", "?", "unquoted text cannot begin with `? `", 'quote it if it is text: a: "? b"'),
        ("a: > b", ">", "after `>` the text begins on the next line", 'quote it if it is text: a: "> b"'),
        ("a: *wow* dog", "*", "`*` repeats an anchor, and a name of letters and digits has to follow",
         'quote it if it is text: a: "*wow* dog"'),
        ("a: *wow", "*wow", "no anchor before this is called `wow`", 'quote it if it is text: "*wow"'),
        ("a: &wow 1\nb: *wov", "*wov", "no anchor before this is called `wov`",
         'there is `&wow`; quote it if it is text: "*wov"'),
        ("a: &x [*x]", "*x", "`*x` stands inside the value that it repeats", None),
        ("a: !ref b", "!ref", "tags such as `!ref` are not part of the format", None),
        ("a: !!python/object:os.system x", "!!python/object:os.system", "tags such as `!!python", None),
        ("a: &b !c [1]", "!c", "tags such as `!c` are not part of the format", None),
        ("a: !x!y b", "!x!y", "tags such as `!x!y` are not part of the format", None),
        ('a: "C:\\models"', "\\m", "`\\m` means nothing inside double quotes", None),
        ('a: "\\xzz"', "\\x", "`\\x` means nothing inside double quotes", None),
        ("a: {b: ${c}}", "${c}", "`${ }` is not part of the format", None),
        ("a: {{ c }}", "{ c }", "`{{ }}` is not part of the format", None),
        ("? [a]\n: b", "[a]", "a list or a mapping cannot be a key", None),
        ("a: {text: #1 dog\n  b: 2}", "#1 dog", "everything after ` #` is a comment, so no value stands here", None),
        ("a: 1\n---\nb: 2", "---", "a second document begins here, a graph file is one document", None),
        ("<<: 1", "1", "`<<` merges mappings, this is none", None),
    ],
)  # fmt: skip
def test_what_is_no_yaml_is_told_in_plain_words(text: str, marked: str, message: str, help: str | None) -> None:
    (problem,) = wrong(text)
    assert problem.code == "syntax"
    assert span(text, problem.place) == marked
    assert problem.message.startswith(message)
    assert help is None or problem.help == help


def test_a_quote_that_closes_too_late_is_told_with_where_it_began() -> None:
    text = 'a: "x\nb: "y"\n'
    (problem,) = wrong(text)
    assert span(text, problem.notes[0].place) == '"'
    assert problem.notes[0].place == Place("f", 1, 4, 1, 5)


def test_a_key_that_is_there_twice_is_told_with_its_first_place() -> None:
    text = "a: 1\nb: {c: 1, 'c': 2}\na: 3\na: 4\n"
    problems = wrong(text)
    assert [(problem.code, problem.place and problem.place.line) for problem in problems] == [
        ("duplicate-key", 2), ("duplicate-key", 3), ("duplicate-key", 4),
    ]  # fmt: skip
    assert [problem.notes[0].place for problem in problems[1:]] == [Place("f", 1, 1, 1, 2)] * 2


def test_everything_before_the_first_unreadable_place_is_told_at_once_and_in_order() -> None:
    problems = wrong("a: !x 1\na: *b\nc: d: e\n")
    assert [problem.place and problem.place.line for problem in problems] == [1, 2, 2, 3]
    assert [problem.code for problem in problems] == ["syntax", "duplicate-key", "syntax", "syntax"]


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "\ufeff", "null", "~"])
def test_an_empty_file_is_told(text: str) -> None:
    (problem,) = wrong(text)
    assert (problem.code, problem.message) == ("missing-key", "the file is empty")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b\n", "the file is a list, not keys with values"),
        ("hello", "the file is a single text, not keys with values"),
        ("a:1\nb:2\n", "the file is a single text, not keys with values"),
    ],
)
def test_a_file_that_is_no_mapping_is_told(text: str, message: str) -> None:
    (problem,) = wrong(text)
    assert (problem.code, problem.message) == ("wrong-type", message)


@pytest.mark.parametrize(
    ("content", "message", "line", "column"),
    [
        (b"a: \xe4\n", "the file is not UTF-8 text: byte 0xe4 at offset 3", 1, 4),
        ("é: 1\nb: ".encode() + b"\xff", "the file is not UTF-8 text: byte 0xff at offset 9", 2, 4),
        ("a: 1".encode("utf-16"), "the file is UTF-16 text, not UTF-8", 1, 1),
        (b"\x89PNG\r\n\x1a\n\0", "the file is not UTF-8 text: byte 0x89 at offset 0", 1, 1),
        (b"a: 1\nb: \0", "the character NUL cannot stand in a file", 2, 4),
        ("a: \x07", "the character U+0007 cannot stand in a file", 1, 4),
        ("a: \ud800", "the character U+D800 cannot stand in a file", 1, 4),
    ],
)
def test_what_is_no_text_is_told(content: str | bytes, message: str, line: int, column: int) -> None:
    (problem,) = wrong(content)
    assert problem.code == "syntax"
    assert problem.message == message
    assert problem.place is not None
    assert (problem.place.line, problem.place.column) == (line, column)


# Whatever comes

yaml_pieces = st.lists(
    st.sampled_from(
        ["a", "b: ", ": ", "- ", "? ", "[", "]", "{", "}", ", ", "'", '"', "#", " #", "&x ", "*x", "!t ", "|", ">",
         "\n", "\n  ", "\n    ", "\t", "\r\n", "%", "@", "---\n", "<<: ", "1", "é", "😀", "\u2028", "\x85", "\\", "$(",
         "..."]
    ),
    max_size=30,
).map("".join)  # fmt: skip


def scalars(tree: Tree) -> list[Scalar]:
    if isinstance(tree, Scalar):
        return [tree]
    if isinstance(tree, Sequence):
        return [scalar for item in tree.items for scalar in scalars(item)]
    return [scalar for key, value in tree.entries for scalar in [key, *scalars(value)]]


def attempt(text: str | bytes) -> Mapping | tuple[Diagnostic, ...]:
    """The tree of a text, or what is wrong with it."""
    try:
        return read(text, "f")
    except GraphWrong as wrong:
        return wrong.diagnostics


@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
def test_reading_any_text_gives_a_tree_or_diagnostics(loader: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "_LOADER", getattr(yaml, loader))

    @quick
    @given(yaml_pieces | st.text())
    def run(text: str) -> None:
        found = attempt(text)
        if isinstance(found, Mapping):
            plain(found)
            return
        assert found
        for problem in found:
            place = problem.place
            assert place is not None
            assert (1, 1) <= (place.line, place.column) <= (place.end_line, place.end_column)
            assert "this is not YAML" not in problem.message

    run()


@quick
@given(st.binary())
def test_reading_any_bytes_gives_a_tree_or_diagnostics(data: bytes) -> None:
    assert attempt(data) != ()


@quick
@given(yaml_pieces)
def test_a_verbatim_scalar_stands_at_its_place(text: str) -> None:
    text = text.replace("\r\n", "\n")
    found = attempt(text)
    for scalar in scalars(found) if isinstance(found, Mapping) else []:
        if scalar.verbatim:
            assert span(text, scalar.part(0, len(scalar.text))) == scalar.text


characters = st.characters(exclude_categories=("Cs", "Cc", "Cn", "Zl", "Zp")) | st.sampled_from("\n\t\"'\\: #")
texts = st.text(characters, max_size=10)
plain_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)


@quick
@given(st.dictionaries(texts, plain_values, max_size=4), st.sampled_from([None, 2]))
def test_json_is_read_as_json(value: dict[str, Any], indent: int | None) -> None:
    assert plain(read(json.dumps(value, ensure_ascii=False, indent=indent), "f")) == value
