"""What checking gives for `foreach`: lists that fit, of lengths that go together, and outputs that are lists."""

from pathlib import Path

import pytest
from checking import Checking
from tiny import graph

from latentgraph.engine import Context, Node
from latentgraph.engine.checked import Foreach, Linked
from latentgraph.engine.registry import Registry

PARAMS = "texts: {type: [str], default: [a, b, c]}\nsizes: {type: [int], default: [1, 2]}\nn: {type: int, default: 3}"


@pytest.fixture
def checking(tiny: Registry, tmp_path: Path) -> Checking:
    return Checking(tiny, tmp_path)


def mapped(written: str, *more: str) -> str:
    """A graph whose node `x`, on line 7, is written so; a node `count` gives a list of numbers."""
    lines = [f"x: {written}", "count: {type: Count}", *more]
    names = [line.partition(":")[0] for line in lines]
    return graph("\n".join(lines), "\n".join(f"{name}: ${name}" for name in names), PARAMS)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{type: Paint, foreach: {text: [a, b]}}", Foreach({"text": ("a", "b")})),
        ("{type: Paint, foreach: {text: $params.texts}}", Foreach({"text": ("a", "b", "c")})),
        (
            "{type: Paint, foreach: {text: [a, $params.texts.1, 'an $(params.n)'], size: [$params.n, 4]}}",
            Foreach({"text": ("a", "b", "an 3"), "size": (3, 4)}),
        ),
        ("{type: Paint, inputs: {text: a}, foreach: {size: $count}}", Foreach({"size": Linked("count", "value")})),
        (
            "{type: Paint, inputs: {text: a}, foreach: {size: [2, $count.1]}}",
            Foreach({"size": (2, Linked("count", "value", (1,)))}),
        ),
        (
            "{type: Paint, foreach: {zip: {text: [a, b], size: $params.sizes}}}",
            Foreach({"text": ("a", "b"), "size": (1, 2)}, zipped=True),
        ),
        ("{type: Total, foreach: {numbers: [[1, 2], [], [3]]}}", Foreach({"numbers": ((1.0, 2.0), (), (3.0,))})),
        ("{type: Number, foreach: {value: []}}", Foreach({"value": ()})),
        (
            "{type: Switch, inputs: {then: 1}, foreach: {condition: [true, false]}}",
            Foreach({"condition": (True, False)}),
        ),
    ],
)
def test_lists_are_values_params_links_and_lists_of_those(checking: Checking, written: str, expected: Foreach) -> None:
    assert checking.good(mapped(written)).nodes["x"].foreach == expected


def test_inputs_that_are_not_mapped_are_the_same_for_each(checking: Checking) -> None:
    checked = checking.good(mapped("{type: Paint, inputs: {size: 2}, foreach: {text: [a]}}"))
    assert checked.nodes["x"].inputs == {"size": 2}


def test_it_gives_lists_of_what_its_type_gives(checking: Checking) -> None:
    halves = "halves: {type: Split, foreach: {picture: $x}}"
    framed = "framed: {type: Frame, inputs: {picture: $halves.left.1}}"
    again = "again: {type: Frame, foreach: {picture: $halves.right}}"
    text = graph(
        f"x: {{type: Paint, foreach: {{text: [a, b]}}}}\n{halves}\n{framed}\n{again}",
        "framed: $framed\nagain: $again.0",
    )
    checked = checking.good(text)
    assert checked.nodes["framed"].inputs == {"picture": Linked("halves", "left", (1,))}
    assert checked.nodes["again"].foreach == Foreach({"picture": Linked("halves", "right")})
    assert checked.outputs["again"] == Linked("again", "picture", (0,))
    assert list(checked.nodes["again"].links()) == [Linked("halves", "right")]


NOTHING = "wrong-type: `foreach` does not say which inputs take the elements of which lists"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{type: Paint, foreach: {text: [a, 7]}}", "7:40 wrong-type: `text`: str is wanted, `7` is a number"),
        ("{type: Paint, foreach: {text: a}}", "7:36 wrong-type: `text`: [str] is wanted, `a` is text"),
        ("{type: Paint, foreach: {text: $count}}", "7:36 wrong-port: `text` takes [str], `$count` is [int]"),
        ("{type: Paint, foreach: {text: $count.0}}", "7:36 wrong-port: `text` takes [str], `$count.0` is int"),
        ("{type: Paint, foreach: {text: $params.n}}", "7:36 wrong-type: `text` takes [str], `$params.n` is int"),
        ("{type: Paint, foreach: {text: $(1)}}", "7:36 wrong-type: `text` takes [str], the expression gives int"),
        ("{type: Paint, foreach: {texts: [a]}}", "7:30 unknown-input: Paint has no input `texts`"),
        ("{type: Paint, foreach: {size: [1]}}", "7:3 missing-input: Paint needs `text` (str)"),
        (
            "{type: Frame, foreach: {picture: [a]}}",
            "7:40 text-as-value: `picture`: a Picture comes over a link, `a` is text",
        ),
        (
            "{type: Paint, inputs: {text: a}, foreach: {text: [a]}}",
            "7:49 duplicate-key: `text` stands in `foreach` and in `inputs`",
        ),
        (
            "{type: Paint, foreach: {zip: {text: [a, b], size: [1]}}}",
            "7:35 out-of-range: `zip` walks lists of one length together: `text` has 2, `size` has 1",
        ),
        (
            "{type: Paint, foreach: {zip: {text: $params.texts, size: $params.sizes}}}",
            "7:35 out-of-range: `zip` walks lists of one length together: `text` has 3, `size` has 2",
        ),
        (
            "{type: Paint, foreach: {zip: {text: [a]}, size: [1]}}",
            "7:48 wrong-type: `size` stands beside `zip`, which walks all its lists together",
        ),
        ("{type: Paint, foreach: {}}", f"7:29 {NOTHING}"),
        ("{type: Paint, foreach: [a]}", f"7:29 {NOTHING}"),
        ("{type: Paint, foreach: }", f"7:28 {NOTHING}"),
        ("{type: Paint, foreach: {zip: {}}}", f"7:29 {NOTHING}"),
        ("{type: Number, foreach: {zip: [1]}}", "7:31 unknown-input: Number has no input `zip`"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_once_and_where_it_stands(checking: Checking, written: str, said: str) -> None:
    assert checking.said(mapped(written)) == [f"graph.yaml:{said}"]


def test_an_input_may_be_called_zip(tmp_path: Path) -> None:
    class Bag(Node):
        """Something with a zip."""

        zip: int
        colour: str = "red"

        def run(self, context: Context) -> int:
            return self.zip

    checking = Checking(Registry([Bag]), tmp_path)
    checked = checking.good(graph("x: {type: Bag, foreach: {zip: [1, 2], colour: [red, blue]}}", "x: $x"))
    assert checked.nodes["x"].foreach == Foreach({"zip": (1, 2), "colour": ("red", "blue")})
    checked = checking.good(graph("x: {type: Bag, foreach: {zip: {zip: [1, 2], colour: [red, blue]}}}", "x: $x"))
    assert checked.nodes["x"].foreach == Foreach({"zip": (1, 2), "colour": ("red", "blue")}, zipped=True)


def test_known_elements_are_checked_like_inputs(checking: Checking) -> None:
    text = mapped("{type: Paint, foreach: {text: [a], brush: [flat, Flat], size: [8, 9, 0, 9]}}")
    assert checking.said(text) == [
        "graph.yaml:7:55 not-a-choice: `brush`: `Flat` is not one of round, flat, fan",
        "graph.yaml:7:72 out-of-range: `size` is 9; it should be less than or equal to 8",
        "graph.yaml:7:75 out-of-range: `size` is 0; it should be greater than or equal to 1",
    ], "each value once"


def test_known_elements_of_a_param_are_checked_too(checking: Checking) -> None:
    text = mapped("{type: Paint, inputs: {text: a}, foreach: {size: $params.sizes}}")
    assert checking.said(text, {"sizes": [8, 9, 10]}) == [
        "graph.yaml:7:55 out-of-range: `size` is 9; it should be less than or equal to 8",
        "graph.yaml:7:55 out-of-range: `size` is 10; it should be less than or equal to 8",
    ]


def test_an_element_that_is_not_there(checking: Checking) -> None:
    text = mapped(
        "{type: Number, foreach: {value: $params.sizes}}",
        "add: {type: Add, inputs: {a: $x.2, b: $x.1}}",
        "total: {type: Total, inputs: {numbers: [$x.0, $x.7]}}",
        "later: {type: Number, foreach: {value: $count}}",
        "fine: {type: Add, inputs: {a: $later.9}}",
    ).replace("outputs:", "outputs:\n  third: $x.2")
    assert checking.said(text) == [
        "graph.yaml:9:32 out-of-range: `x` has 2 elements, counted from 0",
        "graph.yaml:10:42 out-of-range: `x` has 2 elements, counted from 0",
        "graph.yaml:14:10 out-of-range: `x` has 2 elements, counted from 0",
    ]


def test_a_product_that_is_too_large_is_refused_at_once(checking: Checking) -> None:
    thousand = list(range(1, 1001))
    text = mapped("{type: Paint, foreach: {text: $params.texts, size: $params.sizes, brush: [flat, fan]}}")
    problem = checking.check(text, {"texts": ["a"] * 1000, "sizes": [1] * 51})[1][0]
    assert (problem.code, problem.message) == (
        "too-large", "`foreach` comes to 102,000 elements, the most is 100,000",
    )  # fmt: skip
    checking.good(text, {"texts": ["a"] * 1000, "sizes": [1] * 50})
    checking.good(mapped("{type: Number, foreach: {value: $params.sizes}}"), {"sizes": thousand * 100})


def test_a_mapped_input_of_what_is_left_out_leaves_the_node_out(checking: Checking) -> None:
    text = mapped(
        "{type: Paint, foreach: {text: $none}}",
        "none: {type: Switch, when: false, inputs: {condition: true, then: [a]}}",
        "chosen: {type: Switch, inputs: {condition: true, then: $x}}",
    )
    assert [said.split()[1] for said in checking.said(text)] == ["absent-branch:"]


def test_params_and_nodes_are_used_by_a_foreach(checking: Checking) -> None:
    text = graph(
        "x: {type: Paint, foreach: {zip: {text: $params.texts, size: $count}}}\ncount: {type: Count}", "x: $x",
        "texts: {type: [str], default: [a]}",
    )  # fmt: skip
    assert checking.said(text, {}) == []
