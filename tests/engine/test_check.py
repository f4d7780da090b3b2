"""What checking gives for nodes with `when`, `timeout` and `retry`, and for Switch."""

import json
from pathlib import Path
from typing import Any

import pytest
from checking import Checking
from tiny import Command, graph

from latentgraph.engine.check import needed_nodes
from latentgraph.engine.checked import CheckedNode, Linked
from latentgraph.engine.registry import Registry
from latentgraph.engine.switch import Switch

PAINTED = "painted: {type: Paint, inputs: {text: hello}}"
BOOL = "bool: {type: Switch, inputs: {condition: $params.hires, then: true, otherwise: false}}"
PARAMS = "hires: {type: bool, default: true}\nn: {type: int, default: 1}"


@pytest.fixture
def checking(tiny: Registry, tmp_path: Path) -> Checking:
    return Checking(tiny, tmp_path)


def nodes(*lines: str) -> str:
    """A graph with these nodes besides `painted` and `bool`, all of them outputs; the first is on line 8."""
    names = [line.partition(":")[0] for line in (PAINTED, BOOL, *lines)]
    return graph("\n".join([PAINTED, BOOL, *lines]), "\n".join(f"{name}: ${name}" for name in names), PARAMS)


# when


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("true", True),
        ("false", False),
        ("$params.hires", True),
        ("$(params.n > 2)", False),
        ("$(not params.hires or params.n == 1)", True),
        ("$bool", Linked("bool", "value")),
    ],
)
def test_when_is_a_bool_a_param_an_expression_or_a_link(checking: Checking, written: str, expected: Any) -> None:
    checked = checking.good(nodes(f"number: {{type: Number, when: {written}}}"))
    assert checked.nodes["number"].when == expected


def test_without_when_a_node_is_there(checking: Checking) -> None:
    assert checking.good(nodes()).nodes["painted"] == CheckedNode(
        "painted", checking.registry.get("Paint"), {"text": "hello"}, True, None, None, 0
    )


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("1", "8:32 wrong-type: `when`: bool is wanted, `1` is a number"),
        ("yes", "8:32 wrong-type: `when`: bool is wanted, `yes` is text"),
        ("[true]", "8:32 wrong-type: `when`: bool is wanted, this is a list"),
        ("$painted", "8:32 wrong-port: `when` takes bool, `$painted` is Picture"),
        ("$params.n", "8:32 wrong-type: `when` takes bool, `$params.n` is int"),
        ("$(params.n)", "8:32 wrong-type: `when` takes bool, the expression gives int"),
        ("$nobody", "8:32 unknown-node: no node is called `nobody`"),
    ],
)
def test_anything_else_is_refused_as_when(checking: Checking, written: str, said: str) -> None:
    assert checking.said(nodes(f"number: {{type: Number, when: {written}}}")) == [f"graph.yaml:{said}"]


def test_a_node_waits_for_what_its_when_links_to(checking: Checking) -> None:
    text = graph(f"number: {{type: Number, when: $bool}}\n{BOOL}", "number: $number", PARAMS)
    checked, problems = checking.check(text)
    assert list(checked.nodes) == needed_nodes(checked) == ["bool", "number"]
    assert [problem.path for problem in problems] == ["params.n"], "and the node it links to is used"


def test_a_when_can_close_a_cycle(checking: Checking) -> None:
    problem = checking.one(
        graph(
            "a: {type: Number, when: $b}\n"
            "b: {type: Switch, inputs: {condition: true, then: $c, otherwise: true}}\n"
            "c: {type: Switch, when: $b, inputs: {condition: true, then: true}}",
            "a: $a",
        )
    )
    assert (problem.code, problem.message) == ("cycle", "these nodes wait for each other: b → c → b")


def test_params_and_expressions_are_converted_as_the_input_wants_them(checking: Checking) -> None:
    checked = checking.good(nodes("add: {type: Add, inputs: {a: $params.n, b: $(params.n + 1)}}"))
    assert repr(checked.nodes["add"].inputs) == "{'a': 1.0, 'b': 2.0}"


# timeout and retry


def test_timeout_and_retry_are_the_nodes(checking: Checking) -> None:
    checked = checking.good(
        nodes("number: {type: Number, timeout: 90, retry: 3}", "other: {type: Number, timeout: 0.5}")
    )
    assert (checked.nodes["number"].timeout, checked.nodes["number"].retry) == (90.0, 3)
    assert (checked.nodes["other"].timeout, checked.nodes["other"].retry) == (0.5, 0)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("timeout: 0", "8:30 out-of-range: `timeout` is a number of seconds, above 0"),
        ("timeout: -1.5", "8:30 out-of-range: `timeout` is a number of seconds, above 0"),
        ("timeout: .inf", "8:30 out-of-range: `timeout` is a number of seconds, above 0"),
        ("timeout: .nan", "8:30 out-of-range: `timeout` is a number of seconds, above 0"),
        ("timeout: 5 s", "8:30 wrong-type: `timeout` is a number of seconds, above 0"),
        ("timeout: true", "8:30 wrong-type: `timeout` is a number of seconds, above 0"),
        ("timeout: [1]", "8:30 wrong-type: `timeout` is a number of seconds, above 0"),
        ("retry: -1", "8:28 out-of-range: `retry` is how often to try again after a failure, 0 to 100"),
        ("retry: 101", "8:28 out-of-range: `retry` is how often to try again after a failure, 0 to 100"),
        ("retry: 1.0", "8:28 out-of-range: `retry` is how often to try again after a failure, 0 to 100"),
        ("retry: twice", "8:28 wrong-type: `retry` is how often to try again after a failure, 0 to 100"),
    ],
)
def test_timeout_and_retry_out_of_bounds(checking: Checking, written: str, said: str) -> None:
    assert checking.said(nodes(f"n: {{type: Number, {written}}}")) == [f"graph.yaml:{said}"]


# Switch


def switch(then: str, otherwise: str | None = None, condition: str = "$params.hires") -> str:
    branches = f"then: {then}" + (f", otherwise: {otherwise}" if otherwise is not None else "")
    return f"chosen: {{type: Switch, inputs: {{condition: {condition}, {branches}}}}}"


def test_a_switch_has_its_condition_and_branches(checking: Checking) -> None:
    framed = "framed: {type: Frame, inputs: {picture: $painted}}"
    checked = checking.good(nodes(framed, switch("$framed", "$painted", "$bool")))
    assert checked.nodes["chosen"] == CheckedNode(
        "chosen",
        Switch,
        {
            "condition": Linked("bool", "value"),
            "then": Linked("framed", "picture"),
            "otherwise": Linked("painted", "picture"),
        },
    )


def test_a_branch_is_a_link_a_param_an_expression_or_a_value(checking: Checking) -> None:
    checked = checking.good(nodes(switch("[$(params.n + 1), 2.5, $params.n]", "text with $$params and a $")))
    inputs = checked.nodes["chosen"].inputs
    assert inputs == {"condition": True, "then": (2, 2.5, 1), "otherwise": "text with $params and a $"}


@pytest.mark.parametrize(
    ("then", "otherwise", "shown"),
    [
        ("$painted", "$painted", "Picture"),
        ("$painted", None, "Picture"),
        ("1", "2", "int"),
        ("1", "2.5", "int | float"),
        ("$params.n", "$(params.n / 2)", "int | float"),
        ("$params.hires", '"a $(params.n)"', "bool | str"),
        ("[1, 2]", "[a]", "[int] | [str]"),
        ("[1, a, $painted]", None, "[int | str | Picture]"),
        ("$painted", "null", "Picture | none"),
        ("$bool", "$painted", "bool | Picture"),
        ("[1]", "$counted", "[int]"),
    ],
)
def test_a_switch_gives_what_its_branches_are(checking: Checking, then: str, otherwise: str | None, shown: str) -> None:
    follow = "follow: {type: Follow, inputs: {recipe: $chosen}}"
    problem = checking.one(nodes("counted: {type: Count}", follow, switch(then, otherwise)))
    assert (problem.code, problem.message) == ("wrong-port", f"`recipe` takes Recipe, `$chosen` is {shown}")
    assert problem.notes[0].message == f"`chosen` is a Switch (value: {shown})"


def test_switches_take_their_type_from_each_other_in_any_order(checking: Checking) -> None:
    last = "last: {type: Switch, inputs: {condition: true, then: $middle, otherwise: 1}}"
    middle = "middle: {type: Switch, inputs: {condition: true, then: $first}}"
    first = "first: {type: Switch, inputs: {condition: true, then: $painted}}"
    problem = checking.one(nodes(last, middle, first, "add: {type: Add, inputs: {a: $last}}"))
    assert problem.message == "`a` takes float, `$last` is Picture | int"


def test_a_list_of_a_switch_has_elements(checking: Checking) -> None:
    add = "add: {type: Add, inputs: {a: $chosen.1}}"
    checked = checking.good(nodes(switch("[1, 2.5]", "$counted"), "counted: {type: Count}", add))
    assert checked.nodes["add"].inputs == {"a": Linked("chosen", "value", (1,))}


def test_elements_of_either_list_have_to_fit(checking: Checking) -> None:
    problem = checking.one(nodes(switch("[1]", "[a]"), "add: {type: Add, inputs: {a: $chosen.0}}"))
    assert problem.message == "`a` takes float, `$chosen.0` is int | str"


def test_a_branch_may_fail_to_fit_where_the_link_goes(checking: Checking) -> None:
    """Whichever branch is taken, what it gives has to fit; so both are looked at, even where it is known which."""
    problem = checking.one(nodes(switch("1", "$painted", "true"), "add: {type: Add, inputs: {a: $chosen}}"))
    assert problem.message == "`a` takes float, `$chosen` is int | Picture"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{then: $painted}", "8:3 missing-input: Switch needs `condition` (bool)"),
        ("{condition: true}", "8:3 missing-input: Switch needs `then` (any type)"),
        ("{condition: 1, then: $painted}", "8:46 wrong-type: `condition`: bool is wanted, `1` is a number"),
        ("{condition: true, then: $nobody}", "8:58 unknown-node: no node is called `nobody`"),
        ("{condition: true, then: $params.m}", "8:58 unknown-param: the graph has no param `m`"),
        ("{condition: true, then: $(1 // 0)}", "8:60 bad-expression: this divides by zero"),
        ("{condition: true, then: 1, else: 2}", "8:61 unknown-input: Switch has no input `else`"),
        ("{condition: true, then: {a: 1}}", "8:58 wrong-type: `then`: any type is wanted, this is names with values"),
        ("{condition: true, then: [{a: 1}]}", "8:59 wrong-type: `then`: any type is wanted, this is names with values"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_switch_is_said_once(checking: Checking, written: str, said: str) -> None:
    assert checking.said(nodes(f"chosen: {{type: Switch, inputs: {written}}}")) == [f"graph.yaml:{said}"]


@pytest.mark.parametrize("then", ["$nobody", "$params.m", "$(params.m)", "{a: 1}", "$painted.nothing"])
def test_what_a_switch_gives_fits_everywhere_where_a_branch_is_wrong(checking: Checking, then: str) -> None:
    text = nodes(switch(then, "1"), "follow: {type: Follow, inputs: {recipe: $chosen}}")
    assert checking.one(text).path == "nodes.chosen.inputs.then"


def test_switches_in_a_circle_are_a_cycle(checking: Checking) -> None:
    one = "one: {type: Switch, inputs: {condition: true, then: $two}}"
    two = "two: {type: Switch, inputs: {condition: true, then: [$one]}}"
    assert [said.partition(" ")[2] for said in checking.said(nodes(one, two))] == [
        "cycle: these nodes wait for each other: one → two → one"
    ]


def test_a_long_chain_of_switches_is_no_harm(checking: Checking) -> None:
    lines = ["s0: {type: Switch, inputs: {condition: true, then: [1]}}"]
    lines += [
        f"s{i}: {{type: Switch, inputs: {{condition: $params.hires, then: [$s{i - 1}], otherwise: $s{i - 1}}}}}"
        for i in range(1, 2000)
    ]
    checked = checking.good(nodes(*reversed(lines)))
    assert len(checked.nodes) == 2002


def test_the_command_line_shows_switch(latentgraph: Command) -> None:
    shown = latentgraph("nodes", "Switch").out
    assert shown.startswith("Switch (flow)")
    listed = {entry["name"]: entry for entry in json.loads(latentgraph("nodes", "--json").out)}
    inputs = {entry["name"]: entry for entry in listed["Switch"]["inputs"]}
    assert {name: entry["required"] for name, entry in inputs.items()} == {
        "condition": True, "then": True, "otherwise": False,
    }  # fmt: skip
    assert listed["Switch"]["outputs"] == [{"name": "value", "type": "any type"}]


# what can never be had


def test_a_switch_that_takes_what_is_left_out(checking: Checking) -> None:
    left_out = "framed: {type: Frame, when: false, inputs: {picture: $painted}}"
    again = "again: {type: Frame, inputs: {picture: $framed}}"
    problem = checking.one(nodes(left_out, again, switch("$again", "$painted", "$(1 < 2)")))
    assert (problem.code, problem.path) == ("absent-branch", "nodes.chosen.inputs.then")
    assert problem.message == "`chosen` takes `then`, which is not there"
    assert [(note.message, note.place.line) for note in problem.notes if note.place] == [
        ("`framed` is left out, its `when` is false", 8)
    ]


@pytest.mark.parametrize(
    "lines",
    [
        [switch("$framed", "$painted", "false")],  # the branch that is there
        [switch("$framed", "$painted", "$bool")],  # only a run can tell
        [switch("$painted", None, "false")],  # gives nothing, as it says
        ["next: {type: Frame, inputs: {picture: $framed}}"],  # is left out, too
        ["add: {type: Total, inputs: {numbers: $total}}", "total: {type: Count, when: false}"],  # has a default
    ],
)
def test_a_link_to_what_is_left_out_is_no_error(checking: Checking, lines: list[str]) -> None:
    checking.good(nodes("framed: {type: Frame, when: false, inputs: {picture: $painted}}", *lines))


def test_a_node_of_no_type_beside_one_that_is_left_out(checking: Checking) -> None:
    assert (
        checking.one(nodes("a: {type: Count, when: false}", "b: {type: Nothing, inputs: {x: $a}}")).code
        == "unknown-type"
    )


def test_a_default_stands_in_for_what_is_left_out(checking: Checking) -> None:
    left_out = "total: {type: Count, when: false}"
    add = "add: {type: Total, inputs: {numbers: $total}}"
    checking.good(nodes(left_out, add, switch("$add", None, "true")))


def test_a_graph_of_which_nothing_is_there(checking: Checking) -> None:
    text = graph(
        "a: {type: Cook, when: $params.wanted}\nb: {type: Follow, inputs: {recipe: $a}}\n"
        "c: {type: Switch, inputs: {condition: false, then: $b}}",
        "b: $b\nc: $c",
        "wanted: {type: bool, default: false}",
    )
    problem = checking.one(text, {})
    assert (problem.code, problem.message) == (
        "absent-branch", "no output of the graph is there, all that they need is left out",
    )  # fmt: skip
    assert [note.message for note in problem.notes] == ["`a` is left out, its `when` is false", "`c` gives nothing"]
    checking.good(text, {"wanted": True})
