"""docs/ideas.md has every idea: its passage, claim, picture, property, tests, and what it says more exactly."""

import re
from pathlib import Path

from latentgraph.graphs.ideas.index import ideas

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "ideas.md").read_text()


def test_the_table_has_a_row_for_each_idea_in_order():
    rows = [re.split(r" (?<!\\)\| ", row.strip("| ")) for row in re.findall(r"^\| \d.*$", DOCUMENT, re.MULTILINE)]
    assert [row[1:3] + row[4:5] for row in rows] == [
        [f"[{idea.title}](#{idea.graph})", idea.passage, idea.holds] for idea in ideas()
    ]


def test_each_idea_has_a_section_with_its_claim_its_picture_and_its_remarks():
    sections = dict(zip(*[iter(re.split(r"^## (.*)$", DOCUMENT, flags=re.MULTILINE)[1:])] * 2, strict=True))
    assert list(sections) == [idea.graph for idea in ideas()]
    for idea in ideas():
        section = sections[idea.graph]
        for text in (idea.claim, f"](ideas/{idea.graph}.png)", *idea.remarks):
            assert text in section
        # What is measured may have other last digits here; the words around them are the same.
        for words in re.split(r"\{.*?\}", idea.measured):
            assert words in section


def test_all_that_it_links_to_is_there():
    links = re.findall(r"\]\(([^)#]+)\)", DOCUMENT)
    assert len(links) == 4 * len(ideas())
    assert [link for link in links if not (ROOT / "docs" / link).is_file()] == []


def test_each_idea_is_tested():
    for idea in ideas():
        tests = (ROOT / "tests" / "ideas" / f"test_{idea.graph.replace('-', '_')}.py").read_text()
        assert f'"{idea.graph}"' in tests
        assert "ran(" in tests
