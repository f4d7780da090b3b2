"""JSON Schemas of requests and answers, as both documents have them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

Mode = Literal["validation", "serialization"]
RECEIVED: Mode = "validation"
SENT: Mode = "serialization"


class _Schemas(GenerateJsonSchema):
    """As pydantic makes them, but fields have no titles, and what is sent has no null where it may be left out."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        inner = schema["schema"]
        if self.mode == SENT and schema.get("default", ...) is None and inner["type"] == "nullable":
            return self.generate_inner(inner["schema"])
        if schema.get("default", ...) is None:
            return self.generate_inner(inner)
        return super().default_schema(schema)


def schemas(types: Iterable[tuple[Any, Mode]]) -> tuple[dict[tuple[int, Mode], Any], dict[str, Any]]:
    """The schema of each type, by the type's `id`, and those that they refer to, as `#/components/schemas` of a
    document. A type is said to be received or sent: the two differ in what may be left out."""
    inputs = [(id(kind), mode, TypeAdapter(kind)) for kind, mode in types]
    found, definitions = TypeAdapter.json_schemas(
        inputs, ref_template="#/components/schemas/{model}", schema_generator=_Schemas
    )
    return dict(found), definitions.get("$defs", {})


def prose(text: str) -> str:
    """A text without the line breaks of its source."""
    paragraphs = text.strip().split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
