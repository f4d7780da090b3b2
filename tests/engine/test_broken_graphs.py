"""Broken graphs of every kind: each is refused at the right place, with words that help, and nothing runs."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from tiny import Command, graph

PAINTED = 'painted: {type: Paint, inputs: {text: "a dog"}}'


@dataclass(frozen=True)
class Broken:
    """A graph's text, and what has to be said: code, place, and parts of the message and of the help or a note."""

    name: str
    text: str | bytes
    code: str
    place: str
    message: str
    help: str = ""


def node(line: str, *more: str) -> str:
    """A graph whose node `x`, on line 4, is broken; line 3 has a node `painted`."""
    return graph("\n".join([PAINTED, f"x: {line}", *more]), "out: $painted\nx: $x")


BROKEN = [
    Broken(
        "cycle",
        graph("a: {type: Frame, inputs: {picture: $b}}\nb: {type: Frame, inputs: {picture: $a}}", "out: $a"),
        "cycle", "3:3", "these nodes wait for each other: a → b → a", "let one of them take its input from elsewhere",
    ),
    Broken(
        "a node that links to itself",
        graph("a: {type: Frame, inputs: {picture: $a}}", "out: $a"),
        "cycle", "3:3", "a → a",
    ),
    Broken(
        "unknown node type", node("{type: Pant, inputs: {text: hello}}"),
        "unknown-type", "4:13", "there is no node type `Pant`", "did you mean `Paint`?",
    ),
    Broken(
        "misspelt input", node("{type: Paint, inputs: {text: hello, brsh: flat}}"),
        "unknown-input", "4:42", "Paint has no input `brsh`", "did you mean `brush`?",
    ),
    Broken(
        "misspelt input that is needed", node("{type: Frame, inputs: {pictur: $painted}}"),
        "unknown-input", "4:29", "Frame has no input `pictur`", "did you mean `picture`?",
    ),
    Broken(
        "unknown input unlike any", node("{type: Paint, inputs: {text: hello, zzz: 1}}"),
        "unknown-input", "4:42", "Paint has no input `zzz`", "its inputs: text, brush, size",
    ),
    Broken(
        "wrong port type", node("{type: Frame, inputs: {picture: $cook}}", "cook: {type: Cook}"),
        "wrong-port", "4:38", "`picture` takes Picture, `$cook` is Recipe", "nodes that give a Picture: `$painted`",
    ),
    Broken(
        "link to no node", node("{type: Frame, inputs: {picture: $paintd}}"),
        "unknown-node", "4:38", "no node is called `paintd`", "`$painted` is a Picture, which fits",
    ),
    Broken(
        "link to no output", node("{type: Frame, inputs: {picture: $halves.lft}}",
                                  "halves: {type: Split, inputs: {picture: $painted}}"),
        "unknown-output", "4:38", "Split has no output `lft`", "did you mean `$halves.left`?",
    ),
    Broken(
        "link that does not say which output", node("{type: Frame, inputs: {picture: $halves}}",
                                                    "halves: {type: Split, inputs: {picture: $painted}}"),
        "which-output", "4:38", "`halves` has several outputs", "write one of `$halves.left`, `$halves.right`",
    ),
    Broken(
        "element of what is no list", node("{type: Frame, inputs: {picture: $painted.0}}"),
        "unknown-output", "4:38", "`0` is no part of `$painted.picture`, a Picture",
    ),
    Broken(
        "missing input", node("{type: Frame}"),
        "missing-input", "4:3", "Frame needs `picture` (Picture)", "`$painted`",
    ),
    Broken(
        "out of range", node("{type: Paint, inputs: {text: hello, size: 9}}"),
        "out-of-range", "4:48", "`size` is 9; it should be less than or equal to 8",
    ),
    Broken(
        "list that is too long", node("{type: Total, inputs: {numbers: [1, 2, 3, 4, 5, 6]}}"),
        "out-of-range", "4:38", "at most 5 items",
    ),
    Broken(
        "not a choice", node("{type: Paint, inputs: {text: hello, brush: Flat}}"),
        "not-a-choice", "4:49", "`Flat` is not one of round, flat, fan", "did you mean `flat`?",
    ),
    Broken(
        "text where a link is wanted", node("{type: Frame, inputs: {picture: painted}}"),
        "text-as-value", "4:38", "a Picture comes over a link, `painted` is text", "`$painted` is a Picture",
    ),
    Broken(
        "number as text", node("{type: Paint, inputs: {text: 7}}"),
        "wrong-type", "4:35", "`text`: str is wanted, `7` is a number", 'quote it: "7"',
    ),
    Broken(
        "text as number", node("{type: Paint, inputs: {text: hello, size: three}}"),
        "wrong-type", "4:48", "`size`: int is wanted, `three` is text",
    ),
    Broken(
        "number with a fraction as whole number", node("{type: Paint, inputs: {text: hello, size: 1.5}}"),
        "wrong-type", "4:48", "`size`: int is wanted, `1.5` is a number",
    ),
    Broken(
        "leading zero", node("{type: Paint, inputs: {text: hello, size: 010}}"),
        "wrong-type", "4:48", "`size`: int is wanted", "leave the zero away",
    ),
    Broken(
        "yes for a bool", graph(PAINTED, "out: $painted", "loud: {type: bool, default: yes}"),
        "wrong-type", "3:31", "bool is wanted, `yes` is text", "write `true` if that is meant",
    ),
    Broken(
        "no for a number", node("{type: Add, inputs: {a: no}}"),
        "wrong-type", "4:30", "`a`: float is wanted, `no` is text", "write `false` if that is meant",
    ),
    Broken(
        "single value for a list", node("{type: Total, inputs: {numbers: 3}}"),
        "wrong-type", "4:38", "`numbers`: [float] is wanted", "put it in brackets: [3]",
    ),
    Broken(
        "comma trap", node("{type: Paint, inputs: {text: a red apple, studio light}}"),
        "unknown-input", "4:48", "Paint has no input `studio light`", 'quote it: text: "a red apple, studio light"',
    ),
    Broken(
        "several commas", node("{type: Paint, inputs: {text: a red apple, studio light, 4k, size: 2}}"),
        "unknown-input", "4:48", "Paint has no input `studio light`", 'text: "a red apple, studio light, 4k"',
    ),
    Broken(
        "colon trap", graph("painted:\n  type: Paint\n  inputs:\n    text: portrait: a dog", "out: $painted"),
        "syntax", "6:21", "unquoted text cannot contain `: `", '"portrait: a dog"',
    ),
    Broken(
        "unclosed bracket", graph("x: {type: Paint, inputs: {text: hello}", "out: $x"),
        "syntax", "3:6", "`{` is never closed",
    ),
    Broken(
        "unclosed quote", graph('x: {type: Paint, inputs: {text: "hello}}', "out: $x"),
        "syntax", "3:35", "this quote is never closed",
    ),
    Broken(
        "duplicate key", graph(f"{PAINTED}\n{PAINTED}", "out: $painted"),
        "duplicate-key", "4:3", "the key `painted` is there twice", "`painted` is here first",
    ),
    Broken(
        "tabs", "latentgraph: 1\nnodes:\n\tx: {type: Cook}\n",
        "syntax", "3:1", "a tab is used to indent", "indent with spaces",
    ),
    Broken("binary file", b"\xfe\xd8\xff\xe0\0\x10data", "syntax", "1:1", "the file is not UTF-8 text", "UTF-8"),
    Broken("file with a NUL", b"latentgraph: 1\0\n", "syntax", "1:15", "the character NUL", "is this a text file?"),
    Broken("empty file", "", "missing-key", "1:1", "the file is empty", "`latentgraph: 1`"),
    Broken("list instead of a graph", "- a\n- b\n", "wrong-type", "1:1", "the file is a list", "key: value"),
    Broken(
        "graph without outputs", f"latentgraph: 1\nnodes:\n  {PAINTED}\n",
        "missing-key", "1:1", "the graph has no outputs, so nothing would run", "outputs: {image: $decoded}",
    ),
    Broken(
        "graph without nodes", "latentgraph: 1\noutputs: {out: $x}\n", "missing-key", "1:1", "the graph has no nodes",
    ),
    Broken(
        "graph without a version", f"nodes:\n  {PAINTED}\noutputs: {{out: $painted}}\n",
        "missing-key", "1:1", "which version of the format", "latentgraph: 1",
    ),
    Broken(
        "newer format", "latentgraph: 2\nnodes: {a: {type: Cook}}\noutputs: {out: $a}\n",
        "newer-format", "1:14", "the file is in format 2", "install a newer release",
    ),
    Broken(
        "bad name", graph(f"2nd-pass: {{type: Cook}}\n{PAINTED}", "out: $painted"),
        "bad-name", "3:3", "`2nd-pass` is no name", "a name begins with a letter or _",
    ),
    Broken(
        "reserved name", graph(f"params: {{type: Cook}}\n{PAINTED}", "out: $painted"),
        "bad-name", "3:3", "`params` is reserved",
    ),
    Broken(
        "unknown key of a node", node("{type: Paint, input: {text: hello}}"),
        "unknown-key", "4:20", "the node `x` has no `input`", "did you mean `inputs`?",
    ),
    Broken(
        "unknown key of a graph", graph(PAINTED, "out: $painted") + "output: 1\n",
        "unknown-key", "6:1", "a graph has no `output`", "did you mean `outputs`?",
    ),
    Broken(
        "node without a type", node("{inputs: {text: hello}}"),
        "missing-key", "4:3", "the node `x` has no type", "`latentgraph nodes` lists",
    ),
    Broken(
        "node that is text", node("Paint"),
        "wrong-type", "4:6", "the node `x` does not say its type", "write x: {type: …",
    ),
    Broken(
        "misspelt key for the type", node("{typ: Paint, inputs: {text: hello}}"),
        "unknown-key", "4:7", "the node `x` has no `typ`", "did you mean `type`?",
    ),
    Broken(
        "misspelt section", f"latentgraph: 1\nnode:\n  {PAINTED}\noutputs: {{out: $painted}}\n",
        "unknown-key", "2:1", "a graph has no `node`", "did you mean `nodes`?",
    ),
    Broken(
        "unknown param", node("{type: Paint, inputs: {text: $params.txt}}").replace(
            "nodes:", "params: {text: {type: str, default: a}}\nnodes:"),
        "unknown-param", "5:35", "the graph has no param `txt`", "did you mean `$params.text`?",
    ),
    Broken(
        "param of another type", node("{type: Paint, inputs: {text: hello, size: $params.text}}").replace(
            "nodes:", "params: {text: {type: str, default: a}}\nnodes:"),
        "wrong-type", "5:48", "`size` takes int, `$params.text` is str", "`text` is declared here",
    ),
    Broken(
        "param of an unknown type", graph(PAINTED, "out: $painted", "size: {type: integer, default: 1}"),
        "unknown-type", "3:16", "`integer` is no type that a param can have", "int",
    ),
    Broken(
        "param whose type is a mapping", graph(PAINTED, "out: $painted", "size: {type: {a: b}, default: 1}"),
        "unknown-type", "3:16", "no type that a param can have",
    ),
    Broken(
        "param outside its own limits", graph(PAINTED, "out: $painted", "size: {type: int, default: 1, min: 2}"),
        "out-of-range", "3:30", "the default of `size` is 1, the least is 2",
    ),
    Broken(
        "limits of a text", graph(PAINTED, "out: $painted", "name: {type: str, default: a, min: 2}"),
        "wrong-type", "3:38", "`min` is for numbers, `name` is a str",
    ),
    Broken(
        "choices of another type", graph(PAINTED, "out: $painted", "name: {type: str, default: a, choices: [1]}"),
        "wrong-type", "3:43", "str is wanted, `1` is a number", 'quote it: "1"',
    ),
    Broken(
        "missing file", node("{type: Load, inputs: {file: dgo.txt}}"),
        "missing-file", "4:34", "there is no file `dgo.txt`", "there is `dog.txt`",
    ),
    Broken(
        "missing file as a param", graph(PAINTED, "out: $painted", "file: {type: File, default: nothing.txt}"),
        "missing-file", "3:31", "there is no file `nothing.txt`",
    ),
    Broken(
        "folder where a file is wanted", node("{type: Load, inputs: {file: .}}"),
        "missing-file", "4:34", "`.` is a folder, a file is wanted",
    ),
    Broken(
        "output that is no link", graph(PAINTED, "out: painted"),
        "wrong-type", "5:8", "the output `out` is not a link", "$decoded",
    ),
    Broken(
        "output that cannot be written", graph(f"{PAINTED}\ncook: {{type: Cook}}", "out: $cook\nother: $painted"),
        "wrong-port", "6:8", "a Recipe cannot be an output", "what can: `$painted`",
    ),
    Broken(
        "output that names no output", graph(PAINTED, "out: $painted.image"),
        "unknown-output", "5:8", "Paint has no output `image`", "`$painted.picture`",
    ),
    Broken(
        "broken expression", node("{type: Paint, inputs: {text: $(params.text + )}}").replace(
            "nodes:", "params: {text: {type: str, default: a}}\nnodes:"),
        "bad-expression", "5:51", "`)` is not expected here",
    ),
    Broken(
        "expression of another type", node('{type: Paint, inputs: {text: hello, size: "$(1 / 2)"}}'),
        "wrong-type", "4:48", "`size` takes int, the expression gives float",
    ),
    Broken(
        "division by zero", node('{type: Add, inputs: {a: "$(1 // 0)"}}'),
        "bad-expression", "4:33", "this divides by zero",
    ),
    Broken(
        "when that is no bool", node("{type: Number, when: 1}"),
        "wrong-type", "4:27", "`when`: bool is wanted, `1` is a number",
    ),
    Broken(
        "foreach over no list", node("{type: Paint, foreach: {text: a dog}}"),
        "wrong-type", "4:36", "`text`: [str] is wanted, `a dog` is text", "put it in brackets: [a dog]",
    ),
    Broken(
        "foreach over an input that is given", node("{type: Paint, inputs: {text: a}, foreach: {text: [a]}}"),
        "duplicate-key", "4:49", "`text` stands in `foreach` and in `inputs`", "leave it away in one of them",
    ),
    Broken(
        "zip of lists of different lengths", node("{type: Paint, foreach: {zip: {text: [a, b], size: [1]}}}"),
        "out-of-range", "4:35", "`text` has 2, `size` has 1",
    ),
    Broken(
        "too many elements",
        node("{type: Add, foreach: {a: $params.n, b: $params.n}}").replace(
            "nodes:", f"params: {{n: {{type: [int], default: {[1] * 400}}}}}\nnodes:"
        ),
        "too-large", "5:27", "`foreach` comes to 160,000 elements, the most is 100,000", "split the lists",
    ),
    Broken(
        "retry without end", node("{type: Number, retry: 1000}"),
        "out-of-range", "4:28", "`retry` is how often to try again after a failure, 0 to 100",
    ),
    Broken(
        "no time at all", node("{type: Number, timeout: 0}"),
        "out-of-range", "4:30", "`timeout` is a number of seconds, above 0",
    ),
    Broken(
        "branch that is not there",
        node("{type: Switch, inputs: {condition: true, then: $none}}", "none: {type: Number, when: false}"),
        "absent-branch", "4:53", "`x` takes `then`, which is not there", "`none` is left out, its `when` is false",
    ),
    Broken(
        "branch of a type that does not fit",
        node("{type: Frame, inputs: {picture: $y}}",
             "y: {type: Switch, inputs: {condition: true, then: $painted, otherwise: 1}}"),
        "wrong-port", "4:38", "`picture` takes Picture, `$y` is Picture | int", "nodes that give a Picture: `$painted`",
    ),
    Broken(
        "graph file that is not there", node("{type: ./dgo.yaml}"),
        "missing-file", "4:13", "there is no file `./dgo.yaml`",
    ),
    Broken(
        "graph file without its folder", node("{type: graph.yaml}"),
        "unknown-type", "4:13", "there is no node type `graph.yaml`", "./graph.yaml",
    ),
    Broken(
        "graph that uses itself", node("{type: ./graph.yaml}"),
        "recursion", "4:13", "graph.yaml uses itself as a node type", "let one of them do without the other",
    ),
    Broken(
        "random number that is no param", node("{type: Paint, inputs: {text: a, size: random}}"),
        "wrong-type", "4:44", "`size`: int is wanted, `random` is text", "declare one, {type: int, default: random}",
    ),
    Broken(
        "param that only another graph can give",
        node("{type: Frame, inputs: {picture: $params.p}}").replace(
            "nodes:", "params: {p: {type: Picture, default: a.png}}\nnodes:"),
        "text-as-value", "2:38", "a Picture comes over a link, `a.png` is text",
    ),
    Broken(
        "too deep", "latentgraph: 1\nx-deep: " + "[" * 50_000, "too-deep", "2:72", "deep",
    ),
]  # fmt: skip


def written(tmp_path: Path, text: str | bytes) -> Path:
    (tmp_path / "dog.txt").write_text("a dog")
    path = tmp_path / "graph.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.name)
def test_each_is_refused_where_it_is_wrong(broken: Broken, latentgraph: Command, tmp_path: Path) -> None:
    written(tmp_path, broken.text)
    answer = latentgraph("check", "graph.yaml", "--format", "json")
    errors = [event for event in answer.events if event["severity"] == "error"]
    assert answer.code == 2
    assert [error["code"] for error in errors] == [broken.code], "one cause, one error"
    error = errors[0]
    assert f"{error['line']}:{error['column']}" == broken.place
    assert broken.message in error["message"]
    helping = [error["help"] or "", *(note["message"] for note in error["notes"])]
    assert any(broken.help in text for text in helping)
    assert not error["message"].endswith(".")


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.name)
def test_nothing_of_it_runs(broken: Broken, latentgraph: Command, tmp_path: Path) -> None:
    written(tmp_path, broken.text)
    answer = latentgraph("run", "graph.yaml")
    assert answer.code == 2
    assert answer.out == ""
    assert f"graph.yaml:{broken.place}: error[{broken.code}]: " in answer.err
    assert "1 error" in answer.err.splitlines()[-1]
    assert not (tmp_path / "output").exists()


def test_all_problems_are_reported_at_once_and_in_order(latentgraph: Command, tmp_path: Path) -> None:
    text = graph(
        "a: {type: Paint, inputs: {text: 7, size: 9}}\n"
        "b: {type: Frame, inputs: {picture: $aa}}\n"
        "c: {type: Nothing, inputs: {picture: $nowhere}}",
        "out: $b\nother: $c.anything",
        "unused: {type: int, default: 1}",  # of no interest yet
    )
    written(tmp_path, text)
    answer = latentgraph("check", "graph.yaml")
    codes = [line.split("[")[1].split("]")[0] for line in answer.out.splitlines()[:-1]]
    assert codes == [
        "wrong-type", "out-of-range", "unknown-node", "unknown-type", "unknown-node",
    ]  # fmt: skip
    assert answer.out.splitlines()[-1] == "5 errors"


def test_what_is_wrong_with_a_param_or_node_is_not_said_again_where_it_is_used(
    latentgraph: Command, tmp_path: Path
) -> None:
    text = graph(
        "a: {type: Paint, inputs: {text: $params.text}}\nb: Paint\nc: {type: Frame, inputs: {picture: $b}}",
        "a: $a\nc: $c",
        "text: {type: string, default: a}",
    )
    written(tmp_path, text)
    answer = latentgraph("check", "graph.yaml", "--set", "text=hello", "--format", "json")
    assert [event["code"] for event in answer.events] == ["unknown-type", "wrong-type"]


def test_the_hash_trap_is_a_warning(latentgraph: Command, tmp_path: Path) -> None:
    written(tmp_path, graph("painted:\n  type: Paint\n  inputs:\n    text: a dog #1 in show", "out: $painted"))
    answer = latentgraph("check", "graph.yaml", "--format", "json")
    assert answer.code == 0
    (warning,) = answer.events
    assert (warning["severity"], warning["line"], warning["column"]) == ("warning", 6, 13)
    assert "`text` ends before ` #`" in warning["message"]
    assert 'quote it: "a dog #1 in show"' in warning["help"]


def test_a_remark_is_no_trap(latentgraph: Command, tmp_path: Path) -> None:
    written(tmp_path, graph("painted:\n  type: Paint\n  inputs:\n    text: a dog  # of ours", "out: $painted"))
    assert latentgraph("check", "graph.yaml").out == "no problems\n"


def test_unused_nodes_and_params_are_warnings(latentgraph: Command, tmp_path: Path) -> None:
    written(tmp_path, graph(f"{PAINTED}\ncook: {{type: Cook}}", "out: $painted", "n: {type: int, default: 1}"))
    answer = latentgraph("check", "graph.yaml", "--format", "json")
    assert answer.code == 0
    assert [(event["code"], event["severity"]) for event in answer.events] == [
        ("unused-param", "warning"),
        ("unused-node", "warning"),
    ]
