"""What node types say of their outputs before anything runs, and what cannot work according to them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from checking import Checking, short
from tiny import graph

from latentgraph.engine import Context, File, Node, PortType, Written
from latentgraph.engine.node import Wrong
from latentgraph.engine.registry import Registry

KNOWN: list[Mapping[str, Any]] = []
"""What the `Piece` nodes were told."""


@dataclass(frozen=True)
class Wood(PortType):
    """A plank, or a piece of one."""

    length: int

    def written(self) -> Iterable[Written]:
        yield Written(".txt", str(self.length).encode())


class Plank(Node):
    """A plank, as long as it says."""

    length: int = 10
    label: str = ""

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"wood": {"length": known["length"]}} if "length" in known else {}

    def run(self, context: Context) -> Wood:
        return Wood(self.length)


class Pieces(NamedTuple):
    piece: Wood
    rest: Wood


class Piece(Node):
    """A piece of a plank, and the rest."""

    plank: Wood
    length: int = 4
    gap: int | None = None

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        KNOWN.append(known)
        if known.get("gap") == 7:
            raise ValueError("no saw makes a gap of 7")
        if "length" not in known or "plank" not in known:
            return {}
        rest = known["plank"]["length"] - known["length"]
        if rest < 0:
            raise Wrong("length", f"the plank has {known['plank']['length']}, {known['length']} are wanted")
        return {"piece": {"length": known["length"]}, "rest": {"length": rest}, "nothing": 1}

    def run(self, context: Context) -> Pieces:
        return Pieces(Wood(1), Wood(2))


class Join(Node):
    """Planks, one after the other."""

    planks: tuple[Wood, ...]

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"wood": {"length": sum(plank["length"] for plank in known["planks"])}} if "planks" in known else {}

    def run(self, context: Context) -> Wood:
        return Wood(sum(plank.length for plank in self.planks))


class Header(Node):
    """Knows something of a file."""

    file: File

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"wood": {"length": len(known["file"].read())}}

    def run(self, context: Context) -> Wood:
        return Wood(1)


class Faulty(Node):
    """Has a mistake in its description."""

    length: int = 1

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        if known["length"] == 2:
            return None  # type: ignore[return-value]
        raise KeyError("width")

    def run(self, context: Context) -> Wood:
        return Wood(1)


@pytest.fixture
def checking(tiny: Registry, tmp_path: Path) -> Checking:
    KNOWN.clear()
    return Checking(Registry([*tiny, Plank, Piece, Join, Header, Faulty]), tmp_path)


def cut(*lines: str, plank: str = "plank: {type: Plank}", params: str = "") -> str:
    """A graph with a plank of 10 on line 3, and these nodes, all outputs."""
    outputs = []
    for line in (plank, *lines):
        name, output = line.partition(":")[0], ".rest" if "type: Piece" in line or ".yaml" in line else ""
        outputs.append(f"{name}: ${name}{output}")
    return graph("\n".join([plank, *lines]), "\n".join(outputs), params)


def test_facts_go_along_links(checking: Checking) -> None:
    checking.good(
        cut(
            "a: {type: Piece, inputs: {plank: $plank, length: 3}}",
            "b: {type: Piece, inputs: {plank: $a.rest, length: 7}}",
        )
    )
    assert KNOWN == [
        {"plank": {"length": 10}, "length": 3, "gap": None},
        {"plank": {"length": 7}, "length": 7, "gap": None},
    ]


def test_what_cannot_work_is_an_error_at_the_input(checking: Checking) -> None:
    problem = checking.one(
        cut("b: {type: Piece, inputs: {length: 7, plank: $a.rest}}", "a: {type: Piece, inputs: {plank: $plank}}")
    )
    assert short(problem) == "graph.yaml:4:37 cannot-work: `length`: the plank has 6, 7 are wanted"
    assert problem.path == "nodes.b.inputs.length"


def test_or_at_the_node(checking: Checking) -> None:
    problem = checking.one(cut("a: {type: Piece, inputs: {gap: 7, plank: $plank}}"))
    assert short(problem) == "graph.yaml:4:3 cannot-work: no saw makes a gap of 7"
    problem = checking.one(
        cut("a: {type: Piece, inputs: {plank: $plank}}", plank="plank: {type: Plank, inputs: {length: 3}}")
    )
    assert short(problem) == "graph.yaml:4:3 cannot-work: `length`: the plank has 3, 4 are wanted", "a default"


def test_a_mistake_in_a_node_type_is_said_to_be_one(checking: Checking) -> None:
    problem = checking.one(cut("a: {type: Faulty}"))
    assert short(problem) == (
        "graph.yaml:4:3 faulty-type: Faulty.describe failed, which is a mistake in the node type: KeyError: 'width'"
    )
    problem = checking.one(cut("a: {type: Faulty, inputs: {length: 2}}"))
    assert "AttributeError" in problem.message


def test_params_and_expressions_are_known(checking: Checking) -> None:
    text = cut(
        "a: {type: Piece, inputs: {plank: $plank, length: $(params.n * 2)}}", params="n: {type: int, default: 4}"
    )
    checking.good(text)
    problem = checking.one(text, {"n": 6})
    assert problem.message == "`length`: the plank has 10, 12 are wanted"


def test_what_is_not_known_is_left_away(checking: Checking) -> None:
    checking.good(cut("n: {type: Number}", "a: {type: Piece, inputs: {plank: $plank, length: $n, gap: $n}}"))
    assert KNOWN == [{"plank": {"length": 10}}]


def test_a_param_without_a_value_is_not_known(checking: Checking) -> None:
    text = cut("a: {type: Piece, inputs: {plank: $plank, length: $params.n}}", params="n: {type: int}")
    assert checking.check(text, None)[1] == ()
    assert KNOWN == [{"plank": {"length": 10}, "gap": None}]


def test_nodes_that_are_wrong_already_are_not_asked(checking: Checking) -> None:
    text = cut(
        "a: {type: Piece, inputs: {plank: $plank, length: 99, gpa: 1}}", "b: {type: Piece, inputs: {plank: $a.rest}}"
    )
    assert checking.one(text).code == "unknown-input"
    assert KNOWN == [{"length": 4, "gap": None}], "and nothing is known of what they give"


def test_nodes_that_are_left_out_are_not_asked(checking: Checking) -> None:
    piece = "a: {type: Piece, inputs: {plank: $plank, length: 99}, when: $params.wanted}"
    text = cut(piece, params="wanted: {type: bool, default: false}")
    checking.good(text)
    assert KNOWN == []
    assert checking.one(text, {"wanted": True}).code == "cannot-work"


def test_facts_go_through_a_switch_that_is_known(checking: Checking) -> None:
    short_one = "short: {type: Plank, inputs: {length: 3}}"
    chosen = "chosen: {type: Switch, inputs: {condition: $params.long, then: $plank, otherwise: $short}}"
    text = cut(
        short_one, chosen, "a: {type: Piece, inputs: {plank: $chosen}}", params="long: {type: bool, default: true}"
    )
    checking.good(text)
    assert checking.one(text, {"long": False}).message == "`length`: the plank has 3, 4 are wanted"


def test_of_a_switch_that_is_not_known_nothing_is_known(checking: Checking) -> None:
    chosen = "chosen: {type: Switch, inputs: {condition: $params.long, then: $plank}}"
    text = cut(chosen, "a: {type: Piece, inputs: {plank: $chosen, length: 99}}", params="long: {type: bool}")
    assert checking.check(text, None)[1] == ()
    assert KNOWN == [{"length": 99, "gap": None}]
    assert checking.one(text, {"long": True}).code == "cannot-work"


def test_elements_of_lists(checking: Checking) -> None:
    planks = "planks: {type: Plank, foreach: {length: [3, 4, 5]}}"
    text = cut(
        planks,
        "joined: {type: Join, inputs: {planks: $planks}}",
        "some: {type: Join, inputs: {planks: [$planks.0, $plank, $joined]}}",
        "a: {type: Piece, inputs: {plank: $some, length: 26}}",
        "b: {type: Piece, inputs: {plank: $planks.1, length: 5}}",
    )
    assert [problem.message for problem in checking.check(text)[1]] == [
        "`length`: the plank has 25, 26 are wanted",
        "`length`: the plank has 4, 5 are wanted",
    ]


def test_a_list_of_which_an_element_is_not_known_is_not_known(checking: Checking) -> None:
    cut_off = "a: {type: Piece, inputs: {plank: $plank, length: $n}}"
    joined = "j: {type: Join, inputs: {planks: [$plank, $a.piece]}}"
    checking.good(cut("n: {type: Number}", cut_off, joined, "b: {type: Piece, inputs: {plank: $j, length: 99}}"))
    assert KNOWN[-1] == {"length": 99, "gap": None}


@pytest.mark.parametrize(
    ("foreach", "told"),
    [
        ("{length: [9, 11], gap: [1, 2]}", [(9, 1), (9, 2), (11, 1), (11, 2)]),
        ("{zip: {length: [9, 11], gap: [1, 2]}}", [(9, 1), (11, 2)]),
    ],
)
def test_each_element_of_a_foreach_is_described(checking: Checking, foreach: str, told: list[tuple[int, int]]) -> None:
    problem = checking.one(cut(f"a: {{type: Piece, inputs: {{plank: $plank}}, foreach: {foreach}}}"))
    assert problem.message == "`length`: the plank has 10, 11 are wanted"
    assert [(known["length"], known["gap"]) for known in KNOWN] == told


def test_of_a_long_foreach_only_what_is_the_same_is_described(checking: Checking) -> None:
    text = cut("a: {type: Piece, inputs: {plank: $plank}, foreach: {length: $params.n}}", params="n: {type: [int]}")
    checking.good(text, {"n": [99] * 101})
    assert KNOWN == [{"plank": {"length": 10}, "gap": None}]
    assert len(checking.check(text, {"n": [99] * 100})[1]) == 1, "equal problems once"


def test_facts_go_into_and_out_of_graph_files(checking: Checking) -> None:
    (checking.folder / "halve.yaml").write_text(
        graph(
            "half: {type: Piece, inputs: {plank: $params.plank, length: $params.length}}",
            "half: $half.piece\nrest: $half.rest",
            "plank: {type: Wood}\nlength: {type: int, default: 5}",
        )
    )
    text = cut(
        "h: {type: ./halve.yaml, inputs: {plank: $plank}}",
        "a: {type: Piece, inputs: {plank: $h.rest, length: 6}}",
        "i: {type: ./halve.yaml, inputs: {plank: $h.half}}",
        "j: {type: ./halve.yaml, inputs: {plank: $i.half, length: 6}}",
    )
    found = checking.check(text)[1]
    assert [short(problem) for problem in found] == [
        "graph.yaml:5:53 cannot-work: `length`: the plank has 5, 6 are wanted",
        "halve.yaml:6:62 cannot-work: `length`: the plank has 5, 6 are wanted",
    ]
    (note,) = found[1].notes
    assert note.place is not None
    assert (note.message, note.place.line) == ("`./halve.yaml` is used here", 7)


def test_of_a_foreach_over_a_graph_file_nothing_is_known(checking: Checking) -> None:
    (checking.folder / "same.yaml").write_text(
        graph(
            "same: {type: Piece, inputs: {plank: $params.plank}}\nplank: {type: Plank, inputs: {label: $params.label}}",
            "rest: $same.rest\nplank: $plank",
            "plank: {type: Wood}\nlabel: {type: str}",
        )
    )
    same = "h: {type: ./same.yaml, foreach: {label: [a, b]}, inputs: {plank: $plank}}"
    checking.good(cut(same, "j: {type: Join, inputs: {planks: $h.plank}}"))
    assert KNOWN == [{"plank": {"length": 10}, "length": 4, "gap": None}], "but what is inside is described"


def test_files_may_be_looked_at(checking: Checking) -> None:
    (checking.folder / "plank.txt").write_text("12345")
    text = cut(
        "a: {type: Piece, inputs: {plank: $plank, length: 6}}",
        plank="plank: {type: Header, inputs: {file: $params.f}}",
        params="f: {type: File, default: plank.txt}",
    )
    assert checking.one(text).message == "`length`: the plank has 5, 6 are wanted"
