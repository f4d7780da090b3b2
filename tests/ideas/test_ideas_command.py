"""`latentgraph ideas`: the list, and the page that stands alone."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from latentgraph.engine.cli import main
from latentgraph.engine.library import shipped_graphs
from latentgraph.graphs.ideas import command, index
from latentgraph.graphs.ideas.index import Idea, ideas

GRAPH = """\
# A <small> graph, for tests; try `smooth`.
latentgraph: 1
description: A curve.
nodes:
  table: {type: MakeTable, inputs: {values: [[1.0, 2.0, 3.0]]}}
  curve: {type: PlotCurve, inputs: {tables: [$table]}}
  mask: {type: RectangleMask, inputs: {width: 8, height: 8, left: 0, top: 0, right: 8, bottom: 2}}
  picture: {type: MaskToImage, inputs: {mask: $mask}}
  compared: {type: CompareImages, inputs: {images: $picture, reference: $picture}}
outputs:
  plot: $curve
  difference: $compared.mean
"""
FAILING = GRAPH.replace("tables: [$table]", "tables: [$table], x: <there is no such column>")


class Links(HTMLParser):
    """All that a page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attributes if name in ("src", "href", "srcset")]


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two ideas whose graphs take no time, the second of which fails; in a folder to work in."""
    for name, text in (("works", GRAPH), ("fails", FAILING)):
        (tmp_path / f"{name}.yaml").write_text(text)
    known = [
        Idea(
            "works",
            "One & two",
            "Passage",
            "A claim <in short>.",
            "They differ by {difference:.1f}.",
            "It is 3.",
            ("A remark.",),
        ),
        Idea("fails", "Not this one", "Passage", "Another claim.", "They differ by {difference:.1f}.", "It is 3."),
    ]
    monkeypatch.setattr(index, "FOLDER", tmp_path)
    monkeypatch.setattr(command, "ideas", lambda: known)
    monkeypatch.setenv("LATENTGRAPH_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_each_idea_has_a_graph_and_each_graph_an_idea():
    assert sorted(f"ideas/{idea.graph}" for idea in ideas()) == [
        name for name, _ in shipped_graphs() if name.startswith("ideas/")
    ]


def test_the_list_has_all_ideas_in_their_order(capsys):
    assert main(["ideas"]) == 0
    printed = capsys.readouterr().out
    assert re.findall(r"\(ideas/(.*)\)$", printed, re.MULTILINE) == [idea.graph for idea in ideas()]
    assert re.findall(r"^ *(\d+)\. ", printed, re.MULTILINE) == [str(number) for number in range(1, len(ideas()) + 1)]


def test_the_page_stands_alone_and_has_light_and_dark_pictures(small: Path, capsys):
    assert main(["ideas", "works"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "ideas/index.html\n"
    assert "They differ by 0.0." in printed.err
    page = (small / "ideas" / "index.html").read_text()
    links = Links()
    links.feed(page)
    assert links.found
    assert all(link.startswith(("data:image/", "#")) for link in links.found)
    assert "url(" not in page
    assert "@import" not in page
    assert re.search(r'<source media="\(prefers-color-scheme: dark\)" srcset="data:image/webp', page)
    for text in (
        "One &amp; two",
        "A claim &lt;in short&gt;.",
        "A &lt;small&gt; graph",
        "try <code>smooth</code>.",
        "They differ by 0.0.",
        "A remark.",
    ):
        assert text in page


def test_an_idea_that_fails_is_said_and_the_others_are_on_the_page(small: Path, capsys):
    assert main(["ideas", "--all", "--output", "there"]) == 1
    page = (small / "there" / "index.html").read_text()
    assert "They differ by 0.0." in page
    assert "the node `curve` failed: the table has no column `&lt;there is no such column&gt;`" in page
    assert "Traceback" not in capsys.readouterr().err


def test_run_again_nothing_is_computed(small: Path, capsys, monkeypatch):
    assert main(["ideas", "works"]) == 0
    from latentgraph.nodes.plots.nodes import PlotCurve

    monkeypatch.setattr(PlotCurve, "run", lambda self, context: pytest.fail("it was computed again"))
    assert main(["ideas", "works"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["wroks"], "there is no idea `wroks` (did you mean `works`?)"),
        (["--all", "works"], "`--all` runs all ideas, and some are named"),
        (["works", "--output", "works.yaml"], "`--output works.yaml`: nothing can be written there: File exists"),
        (["works", "--output", "taken"], "`--output taken`: index.html is a folder there"),
        (["works", "--output", "/proc/x"], "`--output /proc/x`: nothing can be written there"),
        (["works", "--json"], "`--json` is for the list"),
    ],
)
def test_what_cannot_be_done_is_said_with_exit_code_2(small: Path, capsys, arguments: list[str], message: str):
    (small / "taken" / "index.html").mkdir(parents=True)
    assert main(["ideas", *arguments]) == 2
    assert message in capsys.readouterr().err
