"""What the server's documents say, held against what it really does."""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012


def closed(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document whose schemas take no fields that they do not name, so that nothing is sent that is not documented."""
    found: dict[str, Any] = copy.deepcopy(dict(document))
    for schema in list(_objects(found)):
        if schema.get("type") == "object" and "properties" in schema:
            schema.setdefault("additionalProperties", False)
    return found


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _objects(item)


class Schemas:
    """Validates against schemas of a document, by reference."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self._registry: Registry[Any] = Registry().with_resource(
            "document:", Resource(contents=document, specification=DRAFT202012)
        )

    def wrong(self, schema: Any, value: Any) -> list[str]:
        """What of a value is not as the schema says."""
        there = json.loads(json.dumps(schema).replace('"#/', '"document:#/'))
        validator = jsonschema.Draft202012Validator(there, registry=self._registry)
        return [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(value)]


class Messages(Schemas):
    """The messages of an AsyncAPI document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        super().__init__(closed(document))
        self.messages: dict[str, Any] = self.document["components"]["messages"]
        requests = {
            each["$ref"].rpartition("/")[2]
            for operation in self.document["operations"].values()
            if operation["action"] == "receive"
            for each in operation["messages"]
        }
        self.sent = self.messages.keys() - requests
        """The names of those that the server sends."""

    def name(self, frame: str | bytes) -> str:
        """Which message a frame from the server is: exactly one."""
        value, binary = (json.loads(frame), False) if isinstance(frame, str) else (self.head(frame), True)
        names = [
            name
            for name in sorted(self.sent)
            if ("x-binary" in self.messages[name]) == binary and not self.wrong(self._schema(name), value)
        ]
        assert len(names) == 1, f"{names}: {frame[:2000]!r}"
        return names[0]

    def _schema(self, name: str) -> Any:
        layout = self.messages[name].get("x-binary")
        return layout[1]["schema"] if layout else self.messages[name]["payload"]

    @staticmethod
    def head(frame: bytes) -> Any:
        """The JSON of a binary frame."""
        (length,) = struct.unpack_from(">I", frame)
        assert frame[4 + length :], "there is no image"
        return json.loads(frame[4 : 4 + length])
