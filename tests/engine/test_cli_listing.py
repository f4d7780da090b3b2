"""`latentgraph nodes`, `graphs` and `schema`: what there is."""

import json
from pathlib import Path

from tiny import Command

from latentgraph.engine.library import shipped_graphs


def test_node_types_by_category_with_the_first_line_of_their_documentation(latentgraph: Command) -> None:
    lines = latentgraph("nodes").out.splitlines()
    numbers = lines.index("numbers:")
    assert [line.split()[0] for line in lines[numbers + 1 : numbers + 5]] == ["Add", "Count", "Number", "Total"]
    assert lines[numbers + 1].split(None, 1)[1] == "The sum of two numbers."


def test_one_node_type(latentgraph: Command) -> None:
    lines = latentgraph("nodes", "Add").out.splitlines()
    assert lines[0] == "Add (numbers)"
    assert [line.split() for line in lines if line.startswith("  a ")] == [["a", "float", "required"]]
    (b,) = [line for line in lines if line.startswith("  b ")]
    assert b.split(None, 4)[2:] == ["default", "0.0", "what is added; -100 to 100"]
    assert lines[-2:] == ["outputs:", "  value  float"]


def test_choices_and_former_names(latentgraph: Command) -> None:
    assert "one of round, flat, fan" in latentgraph("nodes", "Paint").out
    assert latentgraph("nodes", "Sum").out.startswith("Total (numbers)")


def test_node_types_as_json(latentgraph: Command) -> None:
    listed = {entry["name"]: entry for entry in json.loads(latentgraph("nodes", "--json").out)}
    one = json.loads(latentgraph("nodes", "Split", "--json").out)
    assert listed["Split"] == one
    assert one["outputs"] == [{"name": "left", "type": "Picture"}, {"name": "right", "type": "Picture"}]
    assert one["primary"] is None
    paint = {entry["name"]: entry for entry in listed["Paint"]["inputs"]}
    assert paint["text"]["required"] is True
    assert paint["brush"]["choices"] == ["round", "flat", "fan"]
    assert (paint["size"]["minimum"], paint["size"]["maximum"], paint["size"]["default"]) == (1, 8, 1)


def test_graphs_that_ship(latentgraph: Command) -> None:
    names = [name for name, _ in shipped_graphs()]
    assert names
    text = latentgraph("graphs", nodes=False).out
    listed = json.loads(latentgraph("graphs", "--json", nodes=False).out)
    assert [entry["name"] for entry in listed] == names
    for entry in listed:
        assert entry["description"]
        assert entry["outputs"]
        assert f"{entry['name']}\n" in text


def test_the_schema_is_printed_or_written(latentgraph: Command, tmp_path: Path) -> None:
    printed = latentgraph("schema")
    written = latentgraph("schema", "-o", "schema.json")
    assert written.out == "schema.json\n"
    assert (tmp_path / "schema.json").read_text() == printed.out
    assert "Paint" in json.loads(printed.out)["$defs"]["node"]["properties"]["type"]["anyOf"][0]["enum"]
