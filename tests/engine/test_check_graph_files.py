"""Graph files as node types: checked across the boundary, each once for what is known of its params."""

import sys
import time
from pathlib import Path

import pytest
from checking import Checking, short
from tiny import graph

from latentgraph.engine import subgraphs
from latentgraph.engine.check import CheckedGraph, needed_nodes
from latentgraph.engine.checked import LATER, CheckedNode, Computed, Foreach, Given, Linked
from latentgraph.engine.expression import parse_text
from latentgraph.engine.registry import Registry

ONE = graph(
    "painted: {type: Paint, inputs: {text: $params.text, size: $params.size}}\n"
    'framed: {type: Frame, inputs: {picture: $painted, caption: "$(params.text) in $(params.size)"}}',
    "picture: $framed\nbare: $painted",
    'text: {type: str, description: "what to paint"}\nsize: {type: int, default: 2, min: 1, max: 9}',
)


@pytest.fixture
def checking(tiny: Registry, tmp_path: Path) -> Checking:
    checking = Checking(tiny, tmp_path)
    written(checking, "one.yaml", ONE)
    return checking


def written(checking: Checking, name: str, text: str) -> None:
    path = checking.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def using(*lines: str, outputs: str = "x: $x", params: str = "") -> str:
    """A graph with these nodes, the first on line 3."""
    return graph("\n".join(lines), outputs, params)


def inner(node: CheckedNode) -> CheckedGraph:
    assert isinstance(node.type, CheckedGraph)
    return node.type


# forms


def test_its_params_are_the_inputs_and_its_outputs_the_outputs(checking: Checking) -> None:
    checked = checking.good(
        using(
            "x: {type: Frame, inputs: {picture: $one.bare}}",
            "one: {type: ./one.yaml, inputs: {text: hello}, when: true, timeout: 5, retry: 1}",
        )
    )
    one = checked.nodes["one"]
    assert (one.inputs, one.when, one.timeout, one.retry) == ({"text": "hello"}, True, 5, 1)
    assert checked.nodes["x"].inputs == {"picture": Linked("one", "bare")}
    assert list(checked.nodes) == ["one", "x"]
    assert inner(one).outputs == {"picture": Linked("framed", "picture"), "bare": Linked("painted", "picture")}


def test_what_is_given_as_a_value_is_known_inside(checking: Checking) -> None:
    checked = checking.good(
        using(
            "x: {type: ./one.yaml, inputs: {text: $params.t}}",
            outputs="x: $x.bare",
            params="t: {type: str, default: a}",
        )
    )
    graph = inner(checked.nodes["x"])
    assert graph.params == {"text": "a", "size": 2}
    assert graph.nodes["painted"].inputs == {"text": "a", "size": 2}
    assert graph.nodes["framed"].inputs == {"picture": Linked("painted", "picture"), "caption": "a in 2"}


def test_what_comes_over_a_link_or_from_a_list_is_known_later(checking: Checking) -> None:
    checked = checking.good(
        using(
            "x: {type: ./one.yaml, inputs: {text: $chosen}, foreach: {size: [1, 2]}}",
            "chosen: {type: Switch, inputs: {condition: true, then: a}}",
            outputs="x: $x.bare",
        )
    )
    graph = inner(checked.nodes["x"])
    assert graph.params == {"text": LATER, "size": LATER}
    assert graph.nodes["painted"].inputs == {"text": Given("text"), "size": Given("size")}
    template = parse_text("$(params.text) in $(params.size)")
    assert graph.nodes["framed"].inputs == {"picture": Linked("painted", "picture"), "caption": Computed(template)}
    assert checked.nodes["x"].inputs == {"text": Linked("chosen", "value")}
    assert checked.nodes["x"].foreach == Foreach({"size": (1, 2)})


def test_what_is_known_later_stays_so_further_inside(checking: Checking) -> None:
    outer = graph(
        "one: {type: ./one.yaml, inputs: {text: $params.words.1, size: $(params.n * 2)}}",
        "picture: $one.picture",
        "words: {type: [str], default: [a, b]}\nn: {type: int}",
    )
    written(checking, "outer.yaml", outer)
    checked = checking.good(
        using(
            "x: {type: ./outer.yaml, inputs: {n: $count.1}}",
            "count: {type: Count}",
            "y: {type: ./outer.yaml, inputs: {n: 2}}",
            outputs="x: $x\ny: $y",
        )
    )
    one = inner(checked.nodes["x"]).nodes["one"]
    assert one.inputs == {"text": "b", "size": Computed(parse_text("$(params.n * 2)"))}
    assert inner(one).params == {"text": "b", "size": LATER}
    one = inner(checked.nodes["y"]).nodes["one"]
    assert (one.inputs, inner(one).params) == ({"text": "b", "size": 4}, {"text": "b", "size": 4})


def test_an_element_of_a_list_that_is_known_later(checking: Checking) -> None:
    second = graph("add: {type: Add, inputs: {a: $params.numbers.1}}", "sum: $add", "numbers: {type: [int]}")
    written(checking, "second.yaml", second)
    checked = checking.good(using("x: {type: ./second.yaml, inputs: {numbers: $count}}", "count: {type: Count}"))
    assert inner(checked.nodes["x"]).nodes["add"].inputs == {"a": Given("numbers", (1,))}


def test_when_foreach_and_switch_inside_may_be_known_later(checking: Checking) -> None:
    text = graph(
        "painted: {type: Paint, when: $params.wanted, foreach: {text: $params.texts}}\n"
        "chosen: {type: Switch, inputs: {condition: $params.wanted, then: $painted, otherwise: []}}",
        "pictures: $chosen",
        "wanted: {type: bool}\ntexts: {type: [str]}",
    )
    written(checking, "many.yaml", text)
    checked = checking.good(
        using(
            "x: {type: ./many.yaml, inputs: {wanted: $bool, texts: [$text, b]}}",
            "bool: {type: Switch, inputs: {condition: true, then: true}}",
            "text: {type: Switch, inputs: {condition: true, then: a}}",
            outputs="x: $x.pictures.0",
        )
    )
    nodes = inner(checked.nodes["x"]).nodes
    assert nodes["painted"].when == Given("wanted")
    assert nodes["painted"].foreach == Foreach({"text": Given("texts")})
    assert nodes["chosen"].inputs == {
        "condition": Given("wanted"),
        "then": Linked("painted", "picture"),
        "otherwise": (),
    }


def test_params_of_any_port_type(checking: Checking) -> None:
    text = graph(
        "framed: {type: Frame, inputs: {picture: $params.picture}}\n"
        "halves: {type: Frame, foreach: {picture: $params.more}}\n"
        "other: {type: Switch, inputs: {condition: true, then: $params.other}}",
        "picture: $framed\nmore: $halves\nother: $other",
        "picture: {type: Picture}\nmore: {type: [Picture]}\nother: {type: Picture, default: null}",
    )
    written(checking, "frame.yaml", text)
    checked = checking.good(
        using(
            "x: {type: ./frame.yaml, inputs: {picture: $painted, more: [$painted, $painted]}}",
            "painted: {type: Paint, inputs: {text: a}}",
            "y: {type: ./frame.yaml, inputs: {picture: $x.picture, more: $x.more, other: $painted}}",
            outputs="x: $x.picture\ny: $y.more",
        )
    )
    x, y = inner(checked.nodes["x"]), inner(checked.nodes["y"])
    assert x.params == {"picture": LATER, "more": LATER, "other": None}
    assert x.nodes["framed"].inputs == {"picture": Given("picture")}
    assert x.nodes["other"].inputs == {"condition": True, "then": None}
    assert y.nodes["other"].inputs == {"condition": True, "then": Given("other")}


def test_files_in_other_folders(checking: Checking, tmp_path: Path) -> None:
    """Paths in a graph file are relative to that file, those of other graph files and those of params too."""
    load = graph(
        "load: {type: Load, inputs: {file: $params.file}}", "picture: $load", "file: {type: File, default: dog.txt}"
    )
    written(checking, "more/load.yml", load)
    written(checking, "more/dog.txt", "a dog")
    written(
        checking,
        "other/use.yaml",
        using(
            "x: {type: ../more/load.yml}",
            f"y: {{type: {tmp_path}/one.yaml, inputs: {{text: a}}}}",
            outputs="x: $x\ny: $y.bare",
        ),
    )
    checked = checking.good(using("x: {type: ./other/use.yaml}", outputs="x: $x.x"))
    load_file = inner(inner(checked.nodes["x"]).nodes["x"]).params["file"]
    assert load_file.read() == b"a dog"


def test_a_foreach_over_a_graph_file_gives_lists(checking: Checking) -> None:
    frame = "frame: {type: Frame, inputs: {picture: $x.bare.1}}"
    checked = checking.good(
        using(
            "x: {type: ./one.yaml, foreach: {zip: {text: [a, b], size: [1, 2]}}}",
            frame,
            outputs="x: $x.picture\nf: $frame",
        )
    )
    assert checked.nodes["x"].foreach == Foreach({"text": ("a", "b"), "size": (1, 2)}, zipped=True)
    problem = checking.one(
        using("x: {type: ./one.yaml, foreach: {text: [a]}}", frame.replace(".1", ""), outputs="f: $frame")
    )
    assert problem.message == "`picture` takes Picture, `$x.bare` is [Picture]"


def test_only_output_needs_no_name(checking: Checking) -> None:
    written(checking, "single.yaml", graph("a: {type: Number}", "n: $a"))
    checked = checking.good(using("x: {type: Add, inputs: {a: $single}}", "single: {type: ./single.yaml}"))
    assert checked.nodes["x"].inputs == {"a": Linked("single", "n")}


def test_each_is_checked_once_for_what_is_known_of_its_params(checking: Checking) -> None:
    checked = checking.good(
        using(
            "a: {type: ./one.yaml, inputs: {text: a}}",
            "b: {type: ./one.yaml, inputs: {text: a, size: 2}}",
            "c: {type: ./one.yaml, inputs: {text: a, size: 3}}",
            "d: {type: ./one.yaml, foreach: {text: [a]}}",
            "e: {type: ./one.yaml, inputs: {text: $text}}",
            "text: {type: Switch, inputs: {condition: true, then: a}}",
            outputs="\n".join(f"{name}: ${name}.bare" for name in "abcde"),
        )
    )
    types = {name: id(checked.nodes[name].type) for name in "abcde"}
    assert types["a"] == types["b"]
    assert types["d"] == types["e"]
    assert len(set(types.values())) == 3


def test_true_is_another_value_than_one(checking: Checking) -> None:
    text = graph("x: {type: Switch, inputs: {condition: true, then: $params.a}}", "x: $x", "a: {type: float}")
    written(checking, "float.yaml", text)
    checked = checking.good(
        using(
            "x: {type: ./float.yaml, inputs: {a: 0.0}}",
            "y: {type: ./float.yaml, inputs: {a: -0.0}}",
            outputs="x: $x\ny: $y",
        )
    )
    assert [str(inner(checked.nodes[name]).params["a"]) for name in "xy"] == ["0.0", "-0.0"]


def test_nodes_inside_are_not_the_graphs_nodes(checking: Checking) -> None:
    text = using("x: {type: ./one.yaml, inputs: {text: a}}", "painted: {type: Number}", outputs="x: $x.bare")
    checked, problems = checking.check(text)
    assert [short(problem) for problem in problems] == [
        "graph.yaml:4:3 unused-node: no output needs the node `painted`, so it will not run"
    ]
    assert needed_nodes(checked) == ["x"]


# what is wrong


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{type: ./one.yaml}", "graph.yaml:3:3 missing-input: one.yaml needs `text` (str)"),
        ("{type: ./one.yaml, inputs: {txt: a}}", "graph.yaml:3:34 unknown-input: one.yaml has no input `txt`"),
        ("{type: ./one.yaml, inputs: {text: 7}}", "graph.yaml:3:40 wrong-type: `text`: str is wanted, `7` is a number"),
        (
            "{type: ./one.yaml, inputs: {text: a, size: $n}}",
            "graph.yaml:3:49 wrong-port: `size` takes int, `$n` is [int]",
        ),
        (
            "{type: ./one.yaml, inputs: {text: a, size: $n.0, x: $n}}",
            "graph.yaml:3:55 unknown-input: one.yaml has no input `x`",
        ),
        (
            "{type: ./one.yaml, inputs: {text: a, size: 10}}",
            "graph.yaml:3:49 out-of-range: `size` is 10, the most is 9",
        ),
        (
            "{type: ./one.yaml, inputs: {text: a}, foreach: {size: [1, 0]}}",
            "graph.yaml:3:64 out-of-range: `size` is 0, the least is 1",
        ),
        (
            "{type: ./one.yaml, inputs: {text: a, size: 9}}",
            "one.yaml:6:61 out-of-range: `size` is 9; it should be less than or equal to 8",
        ),
        ("{type: ./on.yaml}", "graph.yaml:3:13 missing-file: there is no file `./on.yaml`"),
        ("{type: ./}", "graph.yaml:3:13 unknown-type: there is no node type `./`"),
        ("{type: one.yaml}", "graph.yaml:3:13 unknown-type: there is no node type `one.yaml`"),
    ],
)
def test_what_is_wrong_is_said_where_it_is_written(checking: Checking, line: str, said: str) -> None:
    assert checking.said(using(f"x: {line}", "n: {type: Count}", outputs="x: $x.bare\nn: $n")) == [said]


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("$one", "which-output: `one` has several outputs, the link does not say which"),
        ("$one.nothing", "unknown-output: one.yaml has no output `nothing`"),
        ("$one.bare.0", "unknown-output: `0` is no part of `$one.bare`, a Picture"),
        ("$one.bare", "wrong-port: `recipe` takes Recipe, `$one.bare` is Picture"),
    ],
)
def test_links_to_its_outputs_are_checked(checking: Checking, link: str, said: str) -> None:
    problem = checking.one(
        using("one: {type: ./one.yaml, inputs: {text: a}}", f"x: {{type: Follow, inputs: {{recipe: {link}}}}}")
    )
    assert short(problem) == f"graph.yaml:4:38 {said}"
    assert problem.notes[0].message == "`one` is a one.yaml (picture: Picture, bare: Picture)"


def test_inside_a_graph_file_a_note_has_the_line_that_uses_it(checking: Checking) -> None:
    written(
        checking,
        "outer.yaml",
        using(
            "one: {type: ./one.yaml, inputs: {text: a, size: $params.n}}",
            outputs="x: $one.bare",
            params="n: {type: int}",
        ),
    )
    problem = checking.one(
        using(
            "x: {type: ./outer.yaml, inputs: {n: 9}}", "y: {type: ./outer.yaml, inputs: {n: 8}}", outputs="x: $x\ny: $y"
        )
    )
    assert short(problem).startswith("one.yaml:6:61 out-of-range: `size` is 9")
    assert problem.path == "nodes.painted.inputs.size"
    assert [(note.message, Path(note.place.file).name, note.place.line) for note in problem.notes if note.place] == [
        ("`./one.yaml` is used here", "outer.yaml", 5),
        ("`./outer.yaml` is used here", "graph.yaml", 3),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("latentgraph: 1\nnodes: [", "bad.yaml:2:8 syntax: this `[` is never closed"),
        ("latentgraph: 9\n", "bad.yaml:1:14 newer-format: the file is in format 9"),
        (
            "nodes: {a: {type: Number}}\noutputs: {a: $a}\n",
            "bad.yaml:1:1 missing-key: the file does not say which version",
        ),
        (graph("a: {type: Number}", "a: 1"), "bad.yaml:5:6 wrong-type: the output `a` is not a link"),
        (graph("a: {type: Number}", "a: $b"), "bad.yaml:5:6 unknown-node: no node is called `b`"),
        (graph("a: {typ: Number}", "a: $a"), "bad.yaml:3:7 unknown-key: the node `a` has no `typ`"),
        (graph("a: {type: Nuber}", "a: $a"), "bad.yaml:3:13 unknown-type: there is no node type `Nuber`"),
        (graph("a: {type: Number}", "a: $a", "n: {type: integer}"), "bad.yaml:3:13 unknown-type: `integer` is no type"),
        (
            graph("a: {type: Add, inputs: {a: $b}}\nb: {type: Add, inputs: {a: $a}}", "a: $a"),
            "bad.yaml:3:3 cycle: these",
        ),
        ("\xff\xfe", "bad.yaml:1:1 syntax: "),
    ],
)
def test_a_graph_file_that_is_wrong_is_one_error(checking: Checking, text: str, said: str) -> None:
    """Whatever takes its outputs, or gives it params, is not blamed."""
    (checking.folder / "bad.yaml").write_bytes(text.encode("latin-1"))
    problem = checking.one(
        using(
            "x: {type: Switch, inputs: {condition: true, then: $bad.a}}",
            "bad: {type: ./bad.yaml, inputs: {n: 1}}" if "n: {" in text else "bad: {type: ./bad.yaml}",
            "again: {type: ./bad.yaml" + (", inputs: {n: 1}}" if "n: {" in text else "}"),
            outputs="x: $x\nagain: $again.a",
        )
    )
    assert short(problem).startswith(said)
    assert [note.message for note in problem.notes if note.place and note.place.line == 4][-1:] == [
        "`./bad.yaml` is used here"
    ]


def test_what_is_wrong_with_the_form_of_a_file_has_all_lines_that_lead_to_it(checking: Checking) -> None:
    written(checking, "bad.yaml", graph("a: {type: Number, tipe: 1}", "a: $a"))
    written(checking, "outer.yaml", using("bad: {type: ./bad.yaml}", outputs="x: $bad"))
    problem = checking.one(using("x: {type: ./outer.yaml}"))
    assert short(problem) == "bad.yaml:3:21 unknown-key: the node `a` has no `tipe`"
    assert [note.message for note in problem.notes] == ["`./bad.yaml` is used here", "`./outer.yaml` is used here"]


def test_the_file_is_wrong_by_itself_where_nothing_is_known_of_it(checking: Checking) -> None:
    assert checking.said(using("x: {type: ./folder.yaml}")) == [
        "graph.yaml:3:13 missing-file: there is no file `./folder.yaml`"
    ]
    (checking.folder / "folder.yaml").mkdir()
    assert checking.said(using("x: {type: ./folder.yaml}")) == [
        "graph.yaml:3:13 missing-file: `./folder.yaml` is a folder, a file is wanted"
    ]


def test_warnings_about_it_are_said_where_it_is_checked_itself(checking: Checking) -> None:
    trap = "a:\n  type: Paint\n  inputs:\n    text: a dog #1 in show\nb: {type: Number}"
    text = graph(trap, "a: $a", "n: {type: int, default: 1}")
    written(checking, "loose.yaml", text)
    assert checking.said(using("x: {type: ./loose.yaml}")) == []
    assert [problem.code for problem in checking.check(text)[1]] == ["unused-param", "text-as-value", "unused-node"]


def test_a_missing_param_of_a_port_type_names_who_could_give_it(checking: Checking) -> None:
    written(
        checking, "frame.yaml", graph("f: {type: Frame, inputs: {picture: $params.p}}", "f: $f", "p: {type: Picture}")
    )
    problem = checking.one(
        using("x: {type: ./frame.yaml}", "painted: {type: Paint, inputs: {text: a}}", outputs="x: $x\np: $painted")
    )
    assert problem.message == "frame.yaml needs `p` (Picture)"
    assert problem.help == "nodes that give a Picture: `$painted`"


def test_an_output_that_cannot_be_written_may_be_used(checking: Checking) -> None:
    written(checking, "cook.yaml", graph("cook: {type: Cook}", "recipe: $cook"))
    checking.good(using("x: {type: Follow, inputs: {recipe: $cook}}", "cook: {type: ./cook.yaml}"))
    problem = checking.one(using("cook: {type: ./cook.yaml}", outputs="x: $cook"))
    assert problem.message == "a Recipe cannot be an output, it cannot be written to a file"


def test_a_graph_that_only_another_one_can_use_may_give_anything(checking: Checking) -> None:
    text = graph(
        "chosen: {type: Switch, inputs: {condition: true, then: $params.recipe}}",
        "recipe: $chosen",
        "recipe: {type: Recipe}",
    )
    assert checking.said(text, None) == []
    problem = checking.one(text, {})
    assert (problem.code, problem.message) == (
        "missing-input",
        "the param `recipe` is a Recipe, which only another graph can give",
    )
    assert problem.help == "use this file as a node type there: {type: ./FILE.yaml, inputs: {recipe: $…}}"


def test_an_output_that_is_known_to_be_absent_is_so_outside(checking: Checking) -> None:
    text = graph(
        "small: {type: Paint, inputs: {text: a}}\nlarge: {type: Frame, when: $params.hires, inputs: {picture: $small}}",
        "small: $small\nlarge: $large",
        "hires: {type: bool, default: true}",
    )
    written(checking, "sized.yaml", text)
    chosen = "x: {type: Switch, inputs: {condition: true, then: $sized.OUTPUT}}"
    text = using(chosen, "sized: {type: ./sized.yaml, inputs: {hires: false}}")
    checking.good(text.replace("OUTPUT", "small"))
    checking.good(text.replace("OUTPUT", "large").replace("false", "true"))
    problem = checking.one(text.replace("OUTPUT", "large"))
    assert short(problem) == "graph.yaml:3:53 absent-branch: `x` takes `then`, which is not there"
    assert problem.notes[0].message == "`sized` gives nothing"


# recursion, and too much


@pytest.mark.parametrize(
    ("files", "said", "chain"),
    [
        ({"graph.yaml": "./graph.yaml"}, "graph.yaml:3:13", "graph.yaml → graph.yaml"),
        ({"graph.yaml": "./a.yaml", "a.yaml": "./a.yaml"}, "a.yaml:3:13", "a.yaml → a.yaml"),
        ({"graph.yaml": "./a.yaml", "a.yaml": "./graph.yaml"}, "graph.yaml:3:13", "graph.yaml → a.yaml → graph.yaml"),
        (
            {"graph.yaml": "./c.yaml", "c.yaml": "./b.yaml", "b.yaml": "./a.yaml", "a.yaml": "../X/c.yaml"},
            "c.yaml:3:13",
            "c.yaml → b.yaml → a.yaml → c.yaml",
        ),
        (
            {"graph.yaml": "./b.yaml", "b.yaml": "./c.yaml", "c.yaml": "./a.yaml", "a.yaml": "./b.yaml"},
            "b.yaml:3:13",
            "b.yaml → c.yaml → a.yaml → b.yaml",
        ),
    ],
)
def test_recursion_is_refused_where_it_begins(checking: Checking, files: dict[str, str], said: str, chain: str) -> None:
    for name, used in files.items():
        used = used.replace("X", checking.folder.name)
        written(checking, name, using(f"x: {{type: {used}}}", "y: {type: Number}", outputs="x: $x.y\ny: $y"))
    problem = checking.one((checking.folder / "graph.yaml").read_text())
    assert short(problem) == f"{said} recursion: {chain.split()[0]} uses itself as a node type: {chain}"


def test_a_link_to_a_file_is_that_file(checking: Checking) -> None:
    written(checking, "real.yaml", using("x: {type: ./alias.yaml}"))
    (checking.folder / "alias.yaml").symlink_to("real.yaml")
    problem = checking.one(using("x: {type: ./real.yaml}"))
    assert short(problem) == "real.yaml:3:13 recursion: real.yaml uses itself as a node type: real.yaml → real.yaml"


def chained(checking: Checking, levels: int, *uses: str) -> str:
    """Graph files that use each other, each the next one so often and with such inputs; and a graph of the first."""
    for level in range(levels):
        lines = [f"x{i}: {{type: ./level{level + 1}.yaml, inputs: {{n: {n}}}}}" for i, n in enumerate(uses)]
        last = level == levels - 1
        text = using(*(["x0: {type: Number, inputs: {value: $params.n}}"] if last else lines), outputs="x: $x0",
                     params="n: {type: int}")  # fmt: skip
        written(checking, f"level{level}.yaml", text)
    return using("x: {type: ./level0.yaml, inputs: {n: 0}}")


def test_graph_files_may_use_each_other_64_levels_deep(checking: Checking) -> None:
    checked = checking.good(chained(checking, 64, "$(params.n + 1)"))
    for _ in range(64):
        checked = inner(next(iter(checked.nodes.values())))
    assert checked.nodes["x0"].inputs == {"value": 63}
    problem = checking.one(chained(checking, 65, "$params.n"))
    assert short(problem) == "graph.yaml:3:13 too-deep: graph files use each other more than 64 levels deep"


def test_the_depth_that_is_allowed_leaves_room_on_the_stack(checking: Checking) -> None:
    text = chained(checking, 64, "$(params.n + 1)")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(800)  # of the 1,000 that there are, whoever calls this has some
    try:
        checking.good(text)
    finally:
        sys.setrecursionlimit(limit)


def test_files_that_use_two_others_each_are_refused_before_they_are_checked(checking: Checking) -> None:
    for uses in (("0", "0"), ("$(params.n * 2)", "$(params.n * 2 + 1)")):
        started = time.process_time()
        problem = checking.one(chained(checking, 60, *uses))
        assert time.process_time() - started < 1
        assert problem.code == "too-large"
        assert problem.message == "with those of the graph files that it uses, the graph has more than 100,000 nodes"
        assert problem.place is not None
        assert Path(problem.place.file).name == "level43.yaml"


def test_what_is_used_often_alike_is_checked_once(checking: Checking) -> None:
    text = chained(checking, 13, "0", "0")
    started = time.process_time()
    checking.good(text)
    assert time.process_time() - started < 1


def test_many_graph_files_are_read_up_to_a_limit(checking: Checking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subgraphs, "MOST_NODES", 5)
    for index in range(4):
        written(checking, f"f{index}.yaml", using(f"x: {{type: ./f{index + 1}.yaml}}", "y: {type: Number}"))
    problem = checking.one(using("x: {type: ./f0.yaml}"))
    assert short(problem).startswith("f2.yaml:3:13 too-large")


def test_a_foreach_multiplies_what_it_uses(checking: Checking) -> None:
    text = graph(
        "a: {type: Number, foreach: {value: $params.numbers}}\nb: {type: Number}",
        "a: $a\nb: $b",
        "numbers: {type: [int]}",
    )
    written(checking, "many.yaml", text)
    numbers = ", ".join(map(str, range(999)))
    inside = graph(
        "x: {type: ./many.yaml, inputs: {numbers: $params.n}}", "x: $x.b", "n: {type: [int]}\nm: {type: int}"
    )
    written(checking, "inside.yaml", inside)
    outer = f"inputs: {{n: [{numbers}]}}, foreach: {{m: $params.m}}"
    text = using(f"x: {{type: ./inside.yaml, {outer}}}", outputs="x: $x.x", params="m: {type: [int]}")
    problem = checking.check(text, {"m": [1] * 301})[1][0]
    assert short(problem) == "graph.yaml:5:3 too-large: this comes to 301,000 nodes, the most is 300,000"
    checking.good(text, {"m": [1] * 300})


def test_a_large_graph_file_is_not_read_to_its_end(checking: Checking) -> None:
    with (checking.folder / "huge.yaml").open("wb") as file:
        file.truncate(2**36)
    assert checking.one(using("x: {type: ./huge.yaml}")).code == "too-large"
