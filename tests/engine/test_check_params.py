"""Params that are drawn, and params that are read from files."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from checking import Checking, short
from tiny import Command, graph

from latentgraph.engine import Context, Field, File, Node, PortType
from latentgraph.engine.checked import CheckedNode, Foreach, Linked
from latentgraph.engine.describe import param as described
from latentgraph.engine.graph import read_graph
from latentgraph.engine.params import MISSING
from latentgraph.engine.problems import Problems
from latentgraph.engine.registry import Registry
from latentgraph.engine.values import Refused, typed


@dataclass(frozen=True)
class Photo(PortType, reader="LoadPhoto"):
    """Something that a file can be read as."""

    text: str


@dataclass(frozen=True)
class Negative(PortType, reader="Nobody"):
    """Something that a node type reads which is not there."""


@dataclass(frozen=True)
class Film(PortType, reader="LoadFilm"):
    """Something that a node type reads which needs more than a file."""


class LoadFilm(Node, category="photos"):
    """A film from a file, at a speed."""

    file: File
    speed: float

    def run(self, context: Context) -> Film:
        return Film()


class LoadPhoto(Node, category="photos"):
    """A photo from a file."""

    file: File
    scale: float = 1.0

    def run(self, context: Context) -> Photo:
        return Photo(self.file.read().decode())


class Crop(Node, category="photos"):
    """A part of a photo."""

    photo: Photo
    width: int = Field(8, ge=1)

    def run(self, context: Context) -> Photo:
        return self.photo


class Album(Node, category="photos"):
    """Photos, one over the other."""

    photos: tuple[Photo, ...]

    def run(self, context: Context) -> Photo:
        return self.photos[0]


@pytest.fixture
def checking(tmp_path: Path, tiny: Registry) -> Checking:
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text(name)
    return Checking(Registry([*tiny, LoadPhoto, LoadFilm, Crop, Album]), tmp_path)


# random


def seeded(declared: str = "{type: int, default: random}", use: str = "$params.seed") -> str:
    return graph(f"x: {{type: Number, inputs: {{value: {use}}}}}", "x: $x", f"seed: {declared}")


def test_a_random_param_is_drawn_and_told(checking: Checking) -> None:
    drawn = set()
    for _ in range(5):
        checked = checking.good(seeded())
        seed = checked.params["seed"]
        assert type(seed) is int
        assert 0 <= seed < 2**53
        assert checked.random == {"seed": seed}
        assert checked.nodes["x"].inputs == {"value": seed}
        drawn.add(seed)
    assert len(drawn) == 5


@pytest.mark.parametrize(
    ("limits", "allowed"),
    [
        ("min: 5, max: 6", {5, 6}),
        ("max: 1", {0, 1}),
        ("min: -1, max: -1", {-1}),
        ("min: 0.5, max: 2.5", {1, 2}),
        ("choices: [3, 9]", {3, 9}),
    ],
)
def test_what_is_drawn_is_within_the_limits(checking: Checking, limits: str, allowed: set[int]) -> None:
    text = seeded("{type: int, default: random, " + limits + "}")
    assert {checking.good(text).params["seed"] for _ in range(40)} == allowed


def test_a_value_given_is_not_random(checking: Checking) -> None:
    checked = checking.good(seeded(), {"seed": 7})
    assert (checked.params["seed"], checked.random) == (7, {})


def test_random_may_be_given_for_any_int(checking: Checking) -> None:
    checked = checking.good(seeded("{type: int, default: 2, min: 2, max: 3}"), {"seed": "random"})
    assert checked.random["seed"] in (2, 3)
    assert checking.good(seeded("{type: int}"), {"seed": "random"}).random
    optional = seeded("{type: int, default: null}", "$(1)")
    assert checking.good(optional, {"seed": "random"}).random
    assert checking.good(optional).random == {}


def test_nothing_is_drawn_where_nothing_is_given(checking: Checking) -> None:
    checked, problems = checking.check(seeded(use="$(params.seed + 1)"), None)
    assert problems == ()
    assert checked.random == {}


def test_a_text_may_be_random_as_a_word(checking: Checking) -> None:
    text = graph("x: {type: Paint, inputs: {text: $params.t}}", "x: $x", "t: {type: str, default: random}")
    checked = checking.good(text)
    assert (checked.params, checked.random) == ({"t": "random"}, {})


@pytest.mark.parametrize(
    ("declared", "given", "message"),
    [
        ("{type: float, default: random}", {}, "`seed`: float is wanted, `random` is text"),
        ("{type: [int], default: [random]}", {}, "`seed`: int is wanted, `random` is text"),
        (
            "{type: float, default: 1.0}",
            {"seed": "random"},
            "the value given for `seed`: float is wanted, `random` is text",
        ),
        ("{type: int, default: Random}", {}, "`seed`: int is wanted, `Random` is text"),
        (
            "{type: int, default: random, min: 3, max: 2}",
            {},
            "`seed` cannot be random: no number from 3 to 2 can be drawn",
        ),
        ("{type: int, default: random, max: -1}", {}, "`seed` cannot be random: no number from 0 to -1 can be drawn"),
    ],
)
def test_what_cannot_be_random(checking: Checking, declared: str, given: dict[str, Any], message: str) -> None:
    assert checking.one(seeded(declared, "$(1)"), given).message == message


@pytest.mark.parametrize("use", ["random", "[random]"])
def test_an_input_cannot_be_random_by_itself(checking: Checking, use: str) -> None:
    line = (
        "x: {type: Number, inputs: {value: random}}"
        if use == "random"
        else "x: {type: Number, foreach: {value: [random]}}"
    )
    problem = checking.one(graph(line, "x: $x"))
    assert problem.message == "`value`: int is wanted, `random` is text"
    assert (
        problem.help
        == "only a param can be random: declare one, {type: int, default: random}, and write $params.NAME here"
    )


def test_a_graph_file_draws_nothing_where_it_is_a_node_type(checking: Checking) -> None:
    (checking.folder / "drawn.yaml").write_text(seeded())
    problem = checking.one(graph("x: {type: ./drawn.yaml}", "x: $x"), {})
    assert (problem.code, problem.message) == ("missing-input", "drawn.yaml needs `seed` (int)")
    assert problem.help == "it is random where drawn.yaml runs by itself: declare a param, {type: int, default: random}"
    text = graph("x: {type: ./drawn.yaml, inputs: {seed: $params.s}}", "x: $x", "s: {type: int, default: random}")
    checked = checking.good(text)
    inside = checked.nodes["x"].type
    assert inside.params == {"seed": checked.random["s"]}  # type: ignore[union-attr]


def test_random_on_the_command_line(checking: Checking, latentgraph: Command, tmp_path: Path) -> None:
    assert typed("random", int, Path()) == "random"
    assert typed("random", int | None, Path()) == "random"
    with pytest.raises(Refused, match="int is wanted"):
        typed("random,1", tuple[int, ...], Path())
    text = graph("x: {type: Number, inputs: {value: $params.n}}", "x: $x", "n: {type: int, default: 5, min: 5, max: 5}")
    (tmp_path / "g.yaml").write_text(text)
    assert latentgraph("check", "g.yaml", "--set", "n=random").out == "no problems\n"


def test_random_is_what_listings_show(checking: Checking) -> None:
    problems = Problems()
    read = read_graph(seeded(), "g.yaml", "g", checking.folder, problems)
    shown = described(read.params["seed"])
    assert (shown["default"], shown["required"], shown["type"]) == ("random", False, "int")
    json.dumps(shown)


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("{type: int, default: 3}", 3),
        ("{type: int, default: random}", MISSING),
        ("{type: int}", MISSING),
        ("{type: str, default: random}", "random"),
        ("{type: Photo, default: null}", None),
        ("{type: Photo, default: a.txt}", MISSING),
        ("{type: [Photo], default: [a.txt]}", MISSING),
        ("{type: [int], default: [1]}", (1,)),
    ],
)
def test_a_default_stands_in_for_what_is_absent_where_it_is_a_value(
    checking: Checking, declared: str, expected: Any
) -> None:
    read = read_graph(seeded(declared), "g.yaml", "g", checking.folder, Problems())
    assert read.params["seed"].fallback == expected


# read from files


def cropped(declared: str, *, node: str = "{type: Crop, inputs: {photo: $params.photo}}") -> str:
    return graph(f"x: {node}", "x: $wide", f"photo: {declared}").replace(
        "nodes:", "nodes:\n  wide: {type: Switch, inputs: {condition: true, then: 1}}"
    )


def test_a_param_is_read_from_the_file_that_its_default_names(checking: Checking) -> None:
    checked = checking.good(cropped("{type: Photo, default: a.txt}"))
    file = checked.params["photo"]
    assert isinstance(file, File)
    assert file.path == checking.folder / "a.txt"
    assert checked.nodes["params.photo"] == CheckedNode("params.photo", LoadPhoto, {"file": file})
    assert checked.nodes["x"].inputs == {"photo": Linked("params.photo", "photo")}
    assert next(iter(checked.nodes)) == "params.photo"


def test_or_that_is_given(checking: Checking) -> None:
    for path in (checking.folder / "b.txt", str(checking.folder / "b.txt")):
        checked = checking.good(cropped("{type: Photo}"), {"photo": path})
        assert checked.nodes["params.photo"].inputs["file"].read() == b"b"
    checked = checking.good(cropped("{type: Photo}"), {"photo": File("x", content=b"x")})
    assert checked.nodes["params.photo"].inputs["file"].read() == b"x"


def test_a_value_given_from_python_needs_no_reading(checking: Checking) -> None:
    checked = checking.good(cropped("{type: Photo}"), {"photo": Photo("here")})
    assert "params.photo" not in checked.nodes
    assert checked.nodes["x"].inputs == {"photo": Photo("here")}


def test_an_optional_one_may_be_left_away(checking: Checking) -> None:
    text = cropped(
        "{type: Photo, default: null}", node="{type: Switch, inputs: {condition: true, then: $params.photo}}"
    )
    assert checking.good(text).nodes["x"].inputs["then"] is None
    assert "params.photo" in checking.good(text, {"photo": checking.folder / "a.txt"}).nodes


def test_a_list_is_read_file_by_file(checking: Checking) -> None:
    album = "{type: Album, inputs: {photos: $params.photo}}"
    checked = checking.good(cropped("{type: [Photo], default: [a.txt, b.txt]}", node=album))
    node = checked.nodes["params.photo"]
    assert (node.type, node.inputs) == (LoadPhoto, {})
    assert node.foreach == Foreach({"file": checked.params["photo"]})
    assert [file.read() for file in checked.params["photo"]] == [b"a", b"b"]
    each = tuple(Linked("params.photo", "photo", (index,)) for index in (0, 1))
    assert checked.nodes["x"].inputs == {"photos": each}
    checked = checking.good(
        cropped("{type: [Photo]}", node=album), {"photo": [Photo("here"), checking.folder / "c.txt"]}
    )
    assert checked.nodes["x"].inputs == {"photos": (Photo("here"), Linked("params.photo", "photo", (0,)))}
    assert checking.good(cropped("{type: [Photo], default: []}", node=album)).nodes["x"].inputs == {"photos": ()}


def test_an_element_of_a_list_that_is_read(checking: Checking) -> None:
    checked = checking.good(
        cropped("{type: [Photo], default: [a.txt, b.txt]}", node="{type: Crop, inputs: {photo: $params.photo.1}}")
    )
    assert checked.nodes["x"].inputs == {"photo": Linked("params.photo", "photo", (1,))}
    problem = checking.one(
        cropped("{type: [Photo], default: [a.txt]}", node="{type: Crop, inputs: {photo: $params.photo.1}}"), {}
    )
    assert problem.message == "`photo` has 1 elements, counted from 0"


def test_a_default_inside_a_graph_file_is_read_there(checking: Checking) -> None:
    (checking.folder / "crop.yaml").write_text(
        graph("c: {type: Crop, inputs: {photo: $params.photo}}", "photo: $c", "photo: {type: Photo, default: a.txt}")
    )
    text = graph(
        "own: {type: ./crop.yaml}\ngiven: {type: ./crop.yaml, inputs: {photo: $params.p}}\n"
        "number: {type: Number}\n",
        "number: $number", "p: {type: Photo, default: b.txt}",
    )  # fmt: skip
    checked = checking.good(text)
    own, given = checked.nodes["own"].type.nodes, checked.nodes["given"].type.nodes  # type: ignore[union-attr]
    assert own["params.photo"].inputs["file"].read() == b"a"
    assert "params.photo" not in given
    assert checked.nodes["given"].inputs == {"photo": Linked("params.p", "photo")}
    assert list(checked.nodes["given"].links()) == [Linked("params.p", "photo")]


WANTED = "Photo | File is wanted, `7` is a number"


@pytest.mark.parametrize(
    ("declared", "given", "said"),
    [
        ("{type: Photo, default: d.txt}", {}, "graph.yaml:3:33 missing-file: `photo`: there is no file `d.txt`"),
        ("{type: Photo, default: 7}", {}, f"graph.yaml:3:33 wrong-type: `photo`: {WANTED}"),
        ("{type: Photo}", {}, "graph.yaml:3:3 missing-input: the param `photo` has no default and was not given"),
        ("{type: Photo}", {"photo": "d.txt"}, "missing-file: the value given for `photo`: there is no file `d.txt`"),
        ("{type: Photo}", {"photo": 7}, f"wrong-type: the value given for `photo`: {WANTED}"),
        (
            "{type: Photoo}", {},
            "graph.yaml:3:17 unknown-type: `Photoo` is no type that a param can have",
        ),
        (
            "{type: Negative, default: a.txt}", {},
            "graph.yaml:3:3 unknown-type: there is no node type `Nobody` that makes a Negative from a file",
        ),
        (
            "{type: Film, default: a.txt}", {},
            "graph.yaml:3:3 unknown-type: there is no node type `LoadFilm` that makes a Film from a file",
        ),
        (
            "{type: Recipe, default: a.txt}", {},
            "graph.yaml:3:34 text-as-value: `photo`: a Recipe comes over a link, `a.txt` is text",
        ),
        (
            "{type: Recipe}", {"photo": "a.txt"},
            "text-as-value: the value given for `photo`: a Recipe comes over a link, `a.txt` is text",
        ),
        (
            "{type: Recipe}", {},
            "graph.yaml:3:3 missing-input: the param `photo` is a Recipe, which only another graph can give",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_read(checking: Checking, declared: str, given: dict[str, Any], said: str) -> None:
    node = "{type: Switch, inputs: {condition: true, then: $params.photo}}"
    assert [short(problem) for problem in checking.check(cropped(declared, node=node), given)[1]][:1] == [said]


def test_a_path_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    assert typed("a.txt", Photo, tmp_path) == File.at(tmp_path / "a.txt")
    assert typed("a.txt,a.txt", tuple[Photo, ...], tmp_path) == (File.at(tmp_path / "a.txt"),) * 2
    assert typed("", Photo | None, tmp_path) is None
    with pytest.raises(Refused, match=r"there is no file `b\.txt`"):
        typed("b.txt", Photo, tmp_path)
