"""The JSON Schema of graph files: what ships is valid, what is broken is not, and a link may stand anywhere."""

from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from test_broken_graphs import BROKEN
from tiny import graph

from latentgraph.engine.library import shipped_graphs
from latentgraph.engine.registry import Registry, installed_types
from latentgraph.engine.schema import graph_schema

SHIPPED = dict(shipped_graphs())


@pytest.fixture(scope="session")
def validator(tiny: Registry) -> Draft202012Validator:
    schema = graph_schema(tiny)
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.fixture(scope="session")
def shipped_validator() -> Draft202012Validator:
    schema = graph_schema(installed_types())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("name", SHIPPED)
def test_graphs_that_ship_are_valid(name: str, shipped_validator: Draft202012Validator) -> None:
    shipped_validator.validate(yaml.safe_load(SHIPPED[name].read_text()))


def node(line: str) -> Any:
    return yaml.safe_load(graph(f"x: {line}", "x: $x"))


@pytest.mark.parametrize(
    "line",
    [
        '{type: Paint, inputs: {text: "a dog", brush: flat, size: 8}}',
        "{type: Paint, inputs: {text: $other, brush: $params.brush, size: $(params.size * 2)}}",
        "{type: Paint, inputs: {text: costs $5, size: $other.value.0}}",
        "{type: Total, inputs: {numbers: [1, 2.5, $x, $params.n]}}",
        "{type: Total, inputs: {numbers: $x}}",
        "{type: Sum, inputs: {numbers: [1]}}",
        "{type: Frame, inputs: {picture: $x, caption: null}}",
        "{type: Frame, inputs: {picture: $x, caption: $params.caption}}",
        "{type: Load, inputs: {file: dog.txt}}",
        "{type: Add, inputs: {a: 1, b: -3.5}}",
        "{type: Number}",
        "{type: Number, inputs: null}",
        '{type: Number, description: "one"}',
        "{type: Number, when: false}",
        "{type: Number, when: $params.wanted}",
        "{type: Number, when: $(params.size > 2)}",
        "{type: Number, timeout: 1.5, retry: 3}",
        "{type: Number, foreach: {value: [1, 2, $x]}}",
        "{type: Number, foreach: {value: $x}}",
        "{type: Paint, foreach: {text: [a, b]}}",
        "{type: Paint, foreach: {zip: {text: [a, b], size: $x}}}",
        "{type: Paint, foreach: {size: [1, 2]}, inputs: {text: a}}",
        "{type: ./one.yaml}",
        "{type: ../more/one.yml, inputs: {anything: 1}, foreach: {seed: [1]}}",
        "{type: Switch, inputs: {condition: $x, then: $x, otherwise: [1, a]}}",
        "{type: Switch, inputs: {condition: true, then: 1}}",
    ],
)
def test_what_is_right(line: str, validator: Draft202012Validator) -> None:
    validator.validate(node(line))


@pytest.mark.parametrize(
    "line",
    [
        "{type: Pant}",
        "{inputs: {text: a}}",
        "{type: Paint}",
        "{type: Paint, inputs: {}}",
        "{type: Paint, inputs: {text: a, zzz: 1}}",
        "{type: Paint, input: {text: a}}",
        "{type: Paint, inputs: {text: 7}}",
        "{type: Paint, inputs: {text: a, size: 9}}",
        "{type: Paint, inputs: {text: a, size: 1.5}}",
        "{type: Paint, inputs: {text: a, size: 3 times}}",
        "{type: Paint, inputs: {text: a, brush: Flat}}",
        "{type: Paint, inputs: {text: [a]}}",
        "{type: Frame, inputs: {picture: other}}",
        "{type: Frame, inputs: {picture: 1}}",
        "{type: Frame, inputs: {picture: $x, caption: 1}}",
        "{type: Total, inputs: {numbers: [a]}}",
        "{type: Total, inputs: {numbers: [1, 2, 3, 4, 5, 6]}}",
        "{type: Total, inputs: {numbers: 1}}",
        "{type: Add, inputs: {a: true}}",
        "{type: Load, inputs: {file: 1}}",
        "{type: Number, when: maybe}",
        "{type: Number, when: 1}",
        "{type: Number, timeout: 0}",
        "{type: Number, timeout: $params.seconds}",
        "{type: Number, retry: -1}",
        "{type: Number, retry: 1.5}",
        "{type: Number, retry: 101}",
        "{type: Number, foreach: {}}",
        "{type: Number, foreach: [1]}",
        "{type: Number, foreach: {value: 1}}",
        "{type: Number, foreach: {zip: {}}}",
        "{type: one.yaml}",
        "{type: ./one.json}",
        "{type: Switch, inputs: {condition: $x}}",
        "{type: Switch, inputs: {condition: 1, then: $x}}",
        "Number",
    ],
)
def test_what_is_wrong(line: str, validator: Draft202012Validator) -> None:
    assert not validator.is_valid(node(line))


@pytest.mark.parametrize(
    "change",
    [
        {"latentgraph": 2},
        {"latentgraph": "1"},
        {"outputs": {}},
        {"outputs": {"x": "x"}},
        {"outputs": {"2x": "$x"}},
        {"nodes": {}},
        {"nodes": {"params": {"type": "Number"}}},
        {"params": {"n": {"default": 1}}},
        {"params": {"n": {"type": "integer"}}},
        {"params": {"n": {"type": "int", "minimum": 1}}},
        {"params": {"n": {"type": ["int", "str"]}}},
        {"params": {"n": {"type": ["integer"]}}},
        {"output": {}},
    ],
)
def test_graphs_that_are_wrong(change: dict[str, Any], validator: Draft202012Validator) -> None:
    good = node("{type: Number}")
    validator.validate(good)
    assert not validator.is_valid({**good, **change})


def test_keys_for_anchors_are_free(validator: Draft202012Validator) -> None:
    validator.validate({**node("{type: Number}"), "x-anything": [1]})


def test_params_may_have_any_port_type(validator: Draft202012Validator) -> None:
    for written in ("Picture", ["Picture"], [["int"]], "File", "bool"):
        validator.validate({**node("{type: Number}"), "params": {"n": {"type": written}}})
    validator.validate({**node("{type: Number}"), "params": {"seed": {"type": "int", "default": "random"}}})


def test_an_error_is_about_the_one_type(validator: Draft202012Validator) -> None:
    """Editors show what the validator says: it has to be about the input, not about every node type."""
    (error,) = validator.iter_errors(node("{type: Paint, inputs: {text: hello, zzz: 1}}"))
    assert list(error.absolute_path) == ["nodes", "x", "inputs"]
    assert "'zzz' was unexpected" in error.message


def test_no_choice_has_more_than_two_branches(tiny: Registry) -> None:
    def walk(schema: Any) -> None:
        if isinstance(schema, dict):
            assert "oneOf" not in schema
            assert len(schema.get("anyOf", ())) <= 2
        for inner in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
            walk(inner)

    walk(graph_schema([*tiny, *installed_types()]))


UNSEEN = {
    "syntax", "too-deep", "duplicate-key", "unknown-node", "unknown-output", "which-output", "unknown-param",
    "wrong-port", "cycle", "missing-file", "bad-expression", "recursion", "absent-branch", "too-large",
}  # fmt: skip
"""Codes of what a schema cannot see: whatever needs more than one place to tell."""

UNTYPED = {
    "param of another type", "param outside its own limits", "limits of a text", "choices of another type",
    "yes for a bool", "leading zero", "expression of another type", "folder where a file is wanted",
    "zip of lists of different lengths", "foreach over an input that is given",
    "param that only another graph can give",
}  # fmt: skip
"""What it cannot see because it does not know the type of a param, or what other readers make of `010`."""


@pytest.mark.parametrize(
    "broken",
    [broken for broken in BROKEN if broken.code not in UNSEEN and broken.name not in UNTYPED],
    ids=lambda broken: broken.name,
)
def test_broken_graphs_are_invalid(broken: Any, validator: Draft202012Validator) -> None:
    assert not validator.is_valid(yaml.safe_load(broken.text))


def test_inputs_are_described(tiny: Registry) -> None:
    schema = graph_schema(tiny)
    size = schema["$defs"]["inputs:Paint"]["properties"]["size"]
    assert size["default"] == 1
    assert size["anyOf"][0] == {"type": "integer", "minimum": 1, "maximum": 8}
    assert schema["$defs"]["inputs:Add"]["properties"]["b"]["description"] == "what is added (float)"
    kinds = schema["$defs"]["node"]["properties"]["type"]["anyOf"][0]
    assert dict(zip(kinds["enum"], kinds["enumDescriptions"], strict=True))["Sum"] == "The sum of many numbers."
