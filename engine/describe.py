"""Node types, params and graphs as plain values: what listings and the JSON Schema of the format are made of."""

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from .graph import MISSING, Graph, Param
from .node import Input, Node
from .outputs import plainly
from .types import bare, choices, type_name
from .values import UNUSABLE

LIMITS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
    "min_length": "minLength",
    "max_length": "maxLength",
    "pattern": "pattern",
}
"""What pydantic calls the limits of a field, and JSON Schema calls them."""


def node_type(node: type[Node]) -> dict[str, Any]:
    """Everything about a node type that its users may want to know."""
    primary = node.primary_output()
    return {
        "name": node.__name__,
        "category": node.category,
        "summary": summary(node),
        "documentation": node.documentation(),
        "inputs": [node_input(entry) for entry in node.inputs().values()],
        "outputs": [{"name": output.name, "type": output.type_name} for output in node.outputs().values()],
        "primary": primary.name if primary else None,
        "aliases": list(node.aliases),
        "version": node.version,
        "volatile": node.volatile,
        "resource": node.resource,
        "effects": list(node.effects),
    }


def summary(node: type[Node]) -> str:
    """The first line of the documentation."""
    return node.documentation().partition("\n")[0]


def node_input(entry: Input) -> dict[str, Any]:
    """An input: `default` only where there is one, limits and choices only where they are."""
    described: dict[str, Any] = {"name": entry.name, "type": entry.type_name, "required": entry.required}
    if not entry.required:
        described["default"] = plainly(entry.default)
    if allowed := allowed_values(entry.annotation):
        described["choices"] = allowed
    return {**described, **limits(entry), "description": entry.description}


def allowed_values(annotation: Any) -> list[Any]:
    """The choices of an annotation that has a `Literal` in it."""
    literals = (a for a in map(bare, choices(annotation)) if get_origin(a) is Literal)
    return [value for literal in literals for value in get_args(literal)]


def limits(entry: Input) -> dict[str, Any]:
    """The limits of an input, as JSON Schema calls them."""
    found = {}
    for metadata in entry.field.metadata:
        for name, called in LIMITS.items():
            value = getattr(metadata, name, None)
            if value is not None:
                found[called] = value
    return found


def range_text(described: dict[str, Any]) -> str:
    """Limits and choices of a described input or param in words: `1 to 1000`, `above 0`, `euler, ddim`."""
    if "choices" in described:
        return "one of " + ", ".join(str(choice) for choice in described["choices"])
    low, high = described.get("minimum"), described.get("maximum")
    words = []
    if low is not None and high is not None:
        words.append(f"{low} to {high}")
    elif low is not None:
        words.append(f"{low} or more")
    elif high is not None:
        words.append(f"{high} or less")
    if (above := described.get("exclusiveMinimum")) is not None:
        words.append(f"above {above}")
    if (below := described.get("exclusiveMaximum")) is not None:
        words.append(f"below {below}")
    if (multiple := described.get("multipleOf")) is not None:
        words.append(f"a multiple of {multiple}")
    if (pattern := described.get("pattern")) is not None:
        words.append(f"matching {pattern}")
    return ", ".join(words)


def param(entry: Param) -> dict[str, Any]:
    """A graph's param, described like a node type's input."""
    described: dict[str, Any] = {"name": entry.name, "type": type_name(entry.annotation)}
    described["required"] = entry.default in (MISSING, UNUSABLE)
    if not described["required"]:
        described["default"] = _written(entry.default)
    if entry.choices:
        described["choices"] = list(entry.choices)
    if entry.minimum is not None:
        described["minimum"] = entry.minimum
    if entry.maximum is not None:
        described["maximum"] = entry.maximum
    return {**described, "description": entry.description}


def _written(value: Any) -> Any:
    """A default as the graph has it: files by their path, which tells more than a digest, and is quicker to find."""
    if isinstance(value, tuple):
        return [_written(item) for item in value]
    path = getattr(value, "path", None)
    return path.name if isinstance(path, Path) else value


def graph(name: str, file: Path, read: Graph) -> dict[str, Any]:
    """A graph that ships."""
    return {
        "name": name,
        "file": str(file),
        "description": read.description,
        "params": [param(entry) for entry in read.params.values()],
        "outputs": list(read.outputs),
    }
