"""The JSON Schema (draft 2020-12) of graph files, with every node type: what editors complete and check with.

There is no `oneOf` or `anyOf` over node types, because editors would pick a branch and explain that one: each type is
an `if` of its own. An input is its own schema or a reference, two branches at most.
"""

from collections.abc import Iterable
from typing import Any, Literal, get_origin

from . import describe
from .graph import FORMAT, RETRIES
from .node import Input, Node
from .ports import port_types
from .subgraphs import GRAPH_FILE
from .types import PLAIN, bare, choices, element

NAME = r"^(?!params$)[A-Za-z_]\w*$"
LINK = r"^\$[A-Za-z_]\w*(\.\w+)*$"
REFERENCE = r"^\$([A-Za-z_]\w*(\.\w+)*|\(.*\))$"

_PLAIN = {int: "integer", float: "number", str: "string", bool: "boolean", type(None): "null"}
_REFERENCE: dict[str, Any] = {"$ref": "#/$defs/reference"}


def graph_schema(types: Iterable[type[Node]]) -> dict[str, Any]:
    """The schema of graph files whose nodes have these types."""
    known = sorted(types, key=lambda node: node.__name__)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "latentgraph graph",
        "description": "A workflow of typed nodes for latent diffusion.",
        "type": "object",
        "required": ["latentgraph", "nodes", "outputs"],
        "additionalProperties": False,
        "patternProperties": {"^x-": {"description": "Ignored: a home for anchors and remarks."}},
        "properties": {
            "latentgraph": {
                "description": "The version of the format.",
                "type": "integer",
                "minimum": 1,
                "maximum": FORMAT,
            },
            "description": {"description": "What the graph makes.", "type": "string"},
            "params": {
                **_named({"$ref": "#/$defs/param"}),
                "type": ["object", "null"],
                "description": "What can be set from outside: --set NAME=VALUE.",
            },
            "nodes": {
                **_named({"$ref": "#/$defs/node"}),
                "minProperties": 1,
                "description": "The nodes, each under a name of its own; their order does not matter.",
            },
            "outputs": {
                **_named({"$ref": "#/$defs/link"}),
                "minProperties": 1,
                "description": "What the run writes: links to outputs of nodes, each under a name of its own.",
            },
        },
        "$defs": {
            "link": {
                "description": "A link to a node's output: $node, or $node.output.",
                "type": "string",
                "pattern": LINK,
            },
            "reference": {
                "description": "A link such as $node.output, a param such as $params.seed, or an expression in $( ).",
                "type": "string",
                "pattern": REFERENCE,
            },
            "param": _param(),
            "node": _node(known),
            **{f"inputs:{node.__name__}": _inputs(node) for node in known},
        },
    }


def _param() -> dict[str, Any]:
    kinds = "#/$defs/param/$defs/type"
    return {
        "type": "object",
        "required": ["type"],
        "additionalProperties": False,
        "properties": {
            "type": {
                "description": "What it takes; a list of them is written [float].",
                "anyOf": [{"$ref": kinds}, {"$ref": "#/$defs/param/$defs/list"}],
            },
            "default": {"description": "Its value where none is given; null makes it optional, `random` draws an int."},
            "min": {"description": "The least it may be.", "type": "number"},
            "max": {"description": "The most it may be.", "type": "number"},
            "choices": {"description": "All it may be.", "type": "array"},
            "description": {"description": "What it is for.", "type": "string"},
        },
        "$defs": {
            "type": {"enum": [*PLAIN, *sorted(port_types())]},
            "list": {"type": "array", "items": {"anyOf": [{"$ref": kinds}, _LIST]}, "minItems": 1, "maxItems": 1},
        },
    }


_LIST = {"$ref": "#/$defs/param/$defs/list"}


def _named(schema: dict[str, Any]) -> dict[str, Any]:
    """A mapping of names to what `schema` describes."""
    return {"type": "object", "patternProperties": {NAME: schema}, "additionalProperties": False}


_NODE: dict[str, Any] = {
    "inputs": {"description": "Values and links for its inputs.", "type": ["object", "null"]},
    "when": {
        "description": "Whether it is there at all: a bool, or a link, a param or an expression that gives one.",
        "anyOf": [{"type": "boolean"}, _REFERENCE],
    },
    "foreach": {
        "description": "Once for each element of lists, which inputs take: their product, or with `zip` side by side.",
        "type": "object",
        "minProperties": 1,
        "properties": {"zip": {"type": ["array", "object", "string"], "minProperties": 1}},
        "additionalProperties": {"anyOf": [{"type": "array"}, _REFERENCE]},
    },
    "timeout": {"description": "After how many seconds it has failed.", "type": "number", "exclusiveMinimum": 0},
    "retry": {
        "description": "How often it is tried again where it fails.",
        "type": "integer",
        "minimum": 0,
        "maximum": RETRIES,
    },
    "description": {"description": "What it is for, in this graph.", "type": "string"},
}


def _node(types: list[type[Node]]) -> dict[str, Any]:
    names = {name: node for node in types for name in (node.__name__, *node.aliases)}
    return {
        "type": "object",
        "required": ["type"],
        "additionalProperties": False,
        "properties": {
            "type": {
                "description": "The node type, which `latentgraph nodes` lists, or a graph file: ./one.yaml.",
                "anyOf": [
                    {"enum": list(names), "enumDescriptions": [describe.summary(node) for node in names.values()]},
                    {"type": "string", "pattern": GRAPH_FILE},
                ],
            },
            **_NODE,
        },
        "allOf": [_condition(name, node) for name, node in names.items()],
    }


def _condition(name: str, node: type[Node]) -> dict[str, Any]:
    """What holds for nodes of one type; what `foreach` maps stands there instead of under `inputs`."""
    then: dict[str, Any] = {"properties": {"inputs": {"$ref": f"#/$defs/inputs:{node.__name__}"}}}
    required = [entry.name for entry in node.inputs().values() if entry.required]
    if required:
        then["if"] = {"not": {"required": ["foreach"]}}
        then["then"] = {"required": ["inputs"], "properties": {"inputs": {"type": "object", "required": required}}}
    return {"if": {"properties": {"type": {"const": name}}, "required": ["type"]}, "then": then}


def _inputs(node: type[Node]) -> dict[str, Any]:
    return {
        "description": node.documentation(),
        "type": ["object", "null"],
        "additionalProperties": False,
        "properties": {entry.name: _input(entry) for entry in node.inputs().values()},
    }


def _input(entry: Input) -> dict[str, Any]:
    own = _schema(entry.annotation)
    limits = describe.limits(entry)
    if own is not None and "array" in _types(own):
        # A length is a number of items where the input is a list.
        limits = {name.replace("Length", "Items"): value for name, value in limits.items()}
    schema: dict[str, Any] = _REFERENCE if own is None else {"anyOf": [{**own, **limits}, _REFERENCE]}
    described = {"description": " ".join(filter(None, (entry.description, f"({entry.type_name})")))}
    if not entry.required and entry.default is not None:
        described["default"] = describe.node_input(entry)["default"]
    return {**described, **schema}


def _schema(annotation: Any) -> dict[str, Any] | None:
    """What may be written for a type besides a reference, as one schema; None where nothing may.

    The alternatives of a union are put together by their JSON types, so that there is no choice between branches.
    """
    if annotation is Any:
        return {"type": ["array", "boolean", "null", "number", "string"]}
    types: list[str] = []
    values: list[Any] = []
    merged: dict[str, Any] = {}
    for alternative in map(bare, choices(annotation)):
        inner = element(alternative)
        if inner is not None:
            items = _schema(inner)
            types.append("array")
            merged["items"] = _REFERENCE if items is None else {"anyOf": [items, _REFERENCE]}
        elif get_origin(alternative) is Literal:
            values += describe.allowed_values(alternative)
        elif alternative in _PLAIN:
            types.append(_PLAIN[alternative])
        elif alternative.__name__ in ("File", "Folder"):
            types.append("string")
    if values and set(types) <= {"null"}:
        return {"enum": [*values, *([None] if types else [])]}
    types += [_PLAIN[type(value)] for value in values[:1]]
    if not types or types == ["null"]:
        return {"type": "null"} if types else None
    return {"type": types[0] if len(types) == 1 else list(dict.fromkeys(types)), **merged}


def _types(schema: dict[str, Any]) -> list[str]:
    found = schema.get("type", [])
    return [found] if isinstance(found, str) else list(found)
