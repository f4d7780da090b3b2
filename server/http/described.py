"""What is said about graphs, node types and diagnostics, as models: the engine makes these values (`describe`, `boxes`,
`render`), and the OpenAPI document says what is in them.

A field whose default is None is left out where there is nothing to say.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, JsonValue


class Place(BaseModel):
    """A span of a file; lines and columns count from 1, the end is exclusive. None where there is no such place."""

    file: str | None
    line: int | None
    column: int | None
    end_line: int | None
    end_column: int | None


class Note(Place):
    """A fact that helps to understand a diagnostic."""

    message: str


class Edit(Place):
    """Text to be put in place of what stands there."""

    text: str


class Diagnostic(Place):
    """Something that is wrong with a graph, and what might be meant instead."""

    severity: Literal["error", "warning"]
    code: str = Field(description="stable, such as `unknown-node`")
    message: str
    help: str | None
    notes: list[Note]
    path: str | None = Field(description="where in the graph, such as `nodes.decoded.inputs.latent`")
    fix: list[Edit] = Field(description="edits that are safe to make without asking")


class Param(BaseModel):
    """A graph's param."""

    name: str
    type: str
    required: bool
    default: JsonValue = Field(None, description="where it is not required")
    choices: list[JsonValue] | None = None
    minimum: float | None = None
    maximum: float | None = None
    description: str


class NodeInput(Param):
    """A node type's input."""

    exclusiveMinimum: float | None = None
    exclusiveMaximum: float | None = None
    multipleOf: float | None = None
    minLength: int | None = None
    maxLength: int | None = None
    pattern: str | None = None


class NodeOutput(BaseModel):
    """A node type's output."""

    name: str
    type: str


class NodeType(BaseModel):
    """A node type, with its inputs and outputs."""

    name: str
    category: str
    summary: str
    documentation: str
    inputs: list[NodeInput]
    outputs: list[NodeOutput]
    primary: str | None = Field(description="the output that is meant where only the node is named")
    aliases: list[str]
    version: int
    volatile: bool = Field(description="whether it is computed anew every time")
    resource: str | None = Field(description="what only one node uses at a time")
    effects: list[str] = Field(description="what it does besides giving outputs, such as `reads files`")


class Box(BaseModel):
    """A node as it is drawn."""

    node: str = Field(description="its address, such as `drawn/sampled`")
    title: str
    details: list[str]
    group: str = Field(description="the node whose graph it belongs to; empty at the outermost")


class Link(BaseModel):
    """A link between two boxes."""

    source: str
    output: str
    target: str
    input: str
    kind: str = Field(description="the port type")


class StoreAbout(BaseModel):
    """How full the store of results is."""

    bytes: int
    bound: int = Field(description="the bytes it may have")
    results: int
    values: int
    states: int
    by_type: dict[str, int] = Field(description="results by node type")
