"""Diagnostics as people and programs see them."""

import json
import pickle
import re
import textwrap
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentgraph.engine.diagnostics import CODES, Diagnostic, Edit, GraphWrong, Note, Place, nearest, printable
from latentgraph.engine.render import lines_of, summary, to_github, to_json, to_line, to_terminal
from latentgraph.engine.source import read

quick = settings(max_examples=100, deadline=None, database=None)


def at(line: int, column: int, length: int, file: str = "graph.yaml") -> Place:
    return Place(file, line, column, line, column + length)


def shown(text: str, diagnostic: Diagnostic, *, colour: bool = False) -> str:
    return to_terminal(diagnostic, lines_of({"graph.yaml": text}), colour=colour)


UNKNOWN_NODE = Diagnostic(
    "unknown-node",
    "no node is called `sampeld`",
    at(14, 64, 8),
    "`$sampled` is a Latent, which `latent` takes",
    path="nodes.decoded.inputs.latent",
)


def test_terminal_shows_line_span_and_help() -> None:
    text = "\n" * 13 + "  decoded: {type: VAEDecode, inputs: {vae: $model.vae, latent: $sampeld}}\n"
    assert shown(text, UNKNOWN_NODE) == textwrap.dedent("""\
        graph.yaml:14:64: error[unknown-node]: no node is called `sampeld`
           |
        14 |   decoded: {type: VAEDecode, inputs: {vae: $model.vae, latent: $sampeld}}
           |                                                                ^^^^^^^^
           = help: `$sampled` is a Latent, which `latent` takes""")


def test_terminal_shows_notes_with_their_places_before_the_help() -> None:
    text = "\n" * 14 + "  decoded: {type: VAEDecode, inputs: {vae: $model.vae, latent: $model.clip}}\n"
    diagnostic = Diagnostic(
        "wrong-port",
        "`latent` takes Latent, `$model.clip` is Clip",
        at(15, 64, 11),
        "nodes that give a Latent: `$sampled`, `$canvas`",
        (Note("`model` is a LoadModel (model: Model, clip: Clip, vae: Vae)", at(9, 3, 5)),),
    )
    assert shown(text, diagnostic) == textwrap.dedent("""\
        graph.yaml:15:64: error[wrong-port]: `latent` takes Latent, `$model.clip` is Clip
           |
        15 |   decoded: {type: VAEDecode, inputs: {vae: $model.vae, latent: $model.clip}}
           |                                                                ^^^^^^^^^^^
           = note: graph.yaml:9:3: `model` is a LoadModel (model: Model, clip: Clip, vae: Vae)
           = help: nodes that give a Latent: `$sampled`, `$canvas`""")


def test_terminal_shows_notes_without_a_place() -> None:
    text = "\n" * 10 + "  wanted: {type: CLIPEncode, inputs: {clip: $model.clip, text: a red apple, studio light}}\n"
    diagnostic = Diagnostic(
        "unknown-input",
        "CLIPEncode has no input `studio light`",
        at(11, 77, 12),
        'quote it: text: "a red apple, studio light"',
        (Note("inside { } a comma ends a value, so `text` is only `a red apple`"),),
    )
    assert shown(text, diagnostic) == textwrap.dedent("""\
        graph.yaml:11:77: error[unknown-input]: CLIPEncode has no input `studio light`
           |
        11 |   wanted: {type: CLIPEncode, inputs: {clip: $model.clip, text: a red apple, studio light}}
           |                                                                             ^^^^^^^^^^^^
           = note: inside { } a comma ends a value, so `text` is only `a red apple`
           = help: quote it: text: "a red apple, studio light\"""")


def test_one_line_has_the_help_in_parentheses() -> None:
    assert to_line(UNKNOWN_NODE) == (
        "graph.yaml:14:64: error[unknown-node]: no node is called `sampeld` "
        "(`$sampled` is a Latent, which `latent` takes)"
    )


def test_without_a_place_or_a_line_only_what_is_known_is_shown() -> None:
    nowhere = Diagnostic("cycle", "it goes round", None, "stop", (Note("and round"),), "warning")
    assert shown("", nowhere) == "warning[cycle]: it goes round\n = note: and round\n = help: stop"
    assert to_line(nowhere) == "warning[cycle]: it goes round (stop)"
    elsewhere = Diagnostic("cycle", "it goes round", at(9, 1, 1, "other.yaml"))
    assert shown("", elsewhere) == "other.yaml:9:1: error[cycle]: it goes round"


def carets(shown_text: str) -> tuple[str, str]:
    line, marks = shown_text.split("\n")[2:4]
    return line.split("| ", 1)[1], marks.split("| ", 1)[1]


@pytest.mark.parametrize(
    ("line", "column", "length", "marks"),
    [
        ("text: 赤い林檎 x", 12, 1, " " * 15 + "^"),
        ("text: 赤い林檎 x", 7, 2, " " * 6 + "^^^^"),
        ("e\u0301x", 3, 1, " ^"),
        ("\tx", 2, 1, "    ^"),
        ("x\t", 2, 1, " ^^^^"),
        ("x", 1, 0, "^"),
        ("x", 2, 1, " ^"),
        ("x", 50, 3, " ^"),
    ],
)
def test_carets_stand_below_wide_combining_and_tab_characters(line: str, column: int, length: int, marks: str) -> None:
    assert carets(shown(line, Diagnostic("syntax", "m", at(1, column, length))))[1] == marks


def test_a_span_over_several_lines_is_marked_to_the_end_of_its_first() -> None:
    place = Place("graph.yaml", 1, 4, 3, 2)
    assert carets(shown("a: [1,  \n2,\n3]", Diagnostic("syntax", "m", place)))[1] == "   ^^^"


@pytest.mark.parametrize(("before", "after"), [(500, 0), (500, 500), (0, 500), (80, 5), (3_000_000, 1_000_000)])
def test_long_lines_are_cut_around_the_span_and_fit_a_hundred_columns(before: int, after: int) -> None:
    text = "x" * before + "HERE" + "y" * after
    line, marks = carets(shown(text, Diagnostic("syntax", "m", at(1, before + 1, 4))))
    assert len("1 | " + line) <= 100
    assert line[marks.index("^") : len(marks)] == "HERE"
    assert line.startswith("…") == (before > 96)
    assert line.endswith("…") == (after > 50)


def test_a_span_wider_than_the_terminal_shows_its_beginning() -> None:
    line, marks = carets(shown("text: " + "x" * 300, Diagnostic("syntax", "m", at(1, 7, 300))))
    assert len("1 | " + line) <= 100
    assert line.endswith("…")
    assert line.startswith("…x")
    assert marks.strip("^ ") == ""
    assert marks.endswith("^^^^")


def columns(text: str) -> int:
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.category(c) in ("Mn", "Me", "Cf") for c in text)


@quick
@given(st.text(max_size=400), st.integers(1, 400), st.integers(0, 400))
def test_no_line_ever_breaks_the_layout(line: str, column: int, length: int) -> None:
    line = re.sub(r"[\r\n]", " ", line)
    out = shown(line, Diagnostic("syntax", "m", at(1, column, length))).split("\n")
    assert len(out) == 4
    assert columns(out[2]) <= 100
    assert columns(out[3]) <= 101
    assert "^" in out[3]
    assert all(c.isprintable() or c == "\u200d" for c in "".join(out))


def test_what_a_file_contains_cannot_steer_the_terminal() -> None:
    diagnostic = Diagnostic("unknown-key", "no `\x1b[2J\n\u202e`", at(1, 1, 4), "not \x07", (Note("nor \r"),))
    assert shown("\x1b[2J: 1", diagnostic).split("\n") == [
        "graph.yaml:1:1: error[unknown-key]: no `\\x1b[2J\\n\\u202e`",
        "  |",
        "1 | \ufffd[2J: 1",
        "  | ^^^^",
        "  = note: nor \\r",
        "  = help: not \\x07",
    ]
    assert printable("👩\u200d🚀") == "👩\u200d🚀"


def test_colour_adds_codes_and_changes_nothing_else() -> None:
    text = "\n" * 13 + "  decoded: {type: VAEDecode, inputs: {vae: $model.vae, latent: $sampeld}}\n"
    coloured = shown(text, UNKNOWN_NODE, colour=True)
    assert "\x1b[1;31merror[unknown-node]\x1b[0m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == shown(text, UNKNOWN_NODE)


def test_lines_are_those_an_editor_counts() -> None:
    line = lines_of({"f": "\ufeffa\r\nb\rc\u2028c\x0cc\n"})
    assert [line("f", number) for number in (0, 1, 2, 3, 4, 5)] == [None, "a", "b", "c\u2028c\x0cc", "", None]
    assert line("other", 1) is None


def test_json_has_every_field_and_says_null_where_there_is_none() -> None:
    fixed = Diagnostic(
        "wrong-type", "m", at(2, 3, 4), None, (Note("n"), Note("p", at(1, 1, 1))), "warning", "params.a",
        (Edit(at(2, 3, 4), '"no"'),),
    )  # fmt: skip
    assert json.loads(json.dumps(to_json(fixed))) == {
        "severity": "warning", "code": "wrong-type", "message": "m", "help": None, "path": "params.a",
        "file": "graph.yaml", "line": 2, "column": 3, "end_line": 2, "end_column": 7,
        "notes": [
            {"message": "n", "file": None, "line": None, "column": None, "end_line": None, "end_column": None},
            {"message": "p", "file": "graph.yaml", "line": 1, "column": 1, "end_line": 1, "end_column": 2},
        ],
        "fix": [{"file": "graph.yaml", "line": 2, "column": 3, "end_line": 2, "end_column": 7, "text": '"no"'}],
    }  # fmt: skip
    assert to_json(Diagnostic("cycle", "m", None))["file"] is None


def test_github_commands_are_escaped() -> None:
    diagnostic = Diagnostic(
        "syntax", "50%\nof, it: all", at(1, 2, 3, "a,b:c%.yaml"), "quote", (Note("n", at(9, 1, 1)),)
    )
    assert to_github(diagnostic) == (
        "::error file=a%2Cb%3Ac%25.yaml,line=1,col=2,endLine=1,endColumn=5,title=syntax::"
        "50%25%0Aof, it: all%0Anote: graph.yaml:9:1: n%0Ahelp: quote"
    )


def test_github_gets_no_columns_for_several_lines_and_no_place_where_there_is_none() -> None:
    several = Diagnostic("syntax", "m", Place("f", 1, 2, 3, 4), severity="warning")
    assert to_github(several) == "::warning file=f,line=1,endLine=3,title=syntax::m"
    assert to_github(Diagnostic("cycle", "m", None)) == "::error title=cycle::m"


@pytest.mark.parametrize(
    ("errors", "warnings", "text"),
    [(3, 1, "3 errors, 1 warning"), (1, 0, "1 error"), (0, 2, "2 warnings"), (0, 0, "no problems")],
)
def test_summary_counts(errors: int, warnings: int, text: str) -> None:
    error, warning = Diagnostic("cycle", "m", None), Diagnostic("unused-node", "m", None, severity="warning")
    assert summary([error] * errors + [warning] * warnings) == text


def test_graph_wrong_reads_as_one_line_each_and_survives_a_process() -> None:
    wrong = GraphWrong(iter([UNKNOWN_NODE, Diagnostic("cycle", "m", None)]))
    assert str(wrong).split("\n") == [to_line(UNKNOWN_NODE), "error[cycle]: m"]
    assert pickle.loads(pickle.dumps(wrong)).diagnostics == wrong.diagnostics


@pytest.mark.parametrize(
    ("name", "candidates", "expected"),
    [
        ("sampeld", ["canvas", "sampled", "model"], "sampled"),
        ("vaedecode", ["VAEDecode", "VAEEncode"], "VAEDecode"),
        ("zzz", ["canvas", "sampled"], None),
        ("x", [], None),
        ("", ["a"], None),
        ("a" * 100_000, ["aaa"], None),
    ],
)
def test_nearest_finds_what_was_meant(name: str, candidates: list[str], expected: str | None) -> None:
    assert nearest(name, candidates) == expected


ALL_CODES = [
    "syntax", "too-deep", "too-large", "duplicate-key", "unknown-key", "missing-key", "bad-name", "newer-format",
    "bad-expression", "unknown-type", "unknown-input", "missing-input", "unknown-node", "unknown-output",
    "which-output", "unknown-param", "wrong-type", "wrong-port", "text-as-value", "out-of-range", "not-a-choice",
    "cycle", "recursion", "absent-branch", "cannot-work", "faulty-type", "missing-file", "refused-type",
    "over-limit", "unused-node", "unused-param",
]  # fmt: skip


def test_every_code_is_explained() -> None:
    assert sorted(CODES) == sorted(ALL_CODES)


@pytest.mark.parametrize("code", ALL_CODES)
def test_explanations_have_a_wrong_and_a_right_example(code: str) -> None:
    found = re.fullmatch(r"(.+?)\n\nwrong:\n(.+?)right:\n(.+)", CODES[code], re.DOTALL)
    assert found is not None
    explanation, wrong, right = found.groups()
    assert explanation.endswith(".")
    assert len(explanation) > 80
    assert max(map(len, CODES[code].splitlines())) <= 120
    read(textwrap.dedent(right), "right.yaml")
    if code in ("syntax", "duplicate-key"):
        with pytest.raises(GraphWrong, match=re.escape(f"[{code}]")):
            read(textwrap.dedent(wrong), "wrong.yaml")
    elif code not in ("too-deep", "too-large"):
        read(textwrap.dedent(wrong), "wrong.yaml")
