"""How values of port types are kept on disk: the fields of a frozen dataclass as JSON, and back.

JSON's own values are null, bools, whole and finite numbers, and text; a list is a tuple. Everything else is an object:
a dataclass has `class`, which no field can be called, beside its fields, and all others have one key, which says what
they are. What is read may come from anywhere: nothing but dataclasses of the port type's own package is ever made.
"""

import base64
import json
import math
import os
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from .ports import File, Folder, PortType, port_types

LONG = 10_000
"""Bits of whole numbers that are kept in hexadecimal: Python reads and writes only so many decimal digits."""

Keep = Callable[[Any], tuple[str, Any]]
"""How bytes, and what is no plain data, are kept: the key of an object, and JSON. Raises TypeError where it is not."""

Kept = Callable[[str, Any], Any]
"""What `Keep` was given, from the key and the JSON. Raises ValueError for a key of no meaning."""


class Gone(ValueError):
    """A file on disk that a value stands for is not there, or not the same any more: nothing is damaged."""


class PlainCodec:
    """Plain data, files and folders; bytes in base64, files on disk by path and digest."""

    suffix = ".json"

    def encode(self, value: PortType) -> bytes:
        return to_json(value, _as_base64).encode()

    def decode(self, kind: type[PortType], content: bytes) -> PortType:
        return from_json(kind, content, _from_base64)


PLAIN = PlainCodec()
"""The codec of port types that name no other."""


def _as_base64(part: Any) -> tuple[str, Any]:
    if type(part) is bytes:
        return "bytes", base64.b64encode(part).decode()
    raise TypeError


def _from_base64(key: str, content: Any) -> Any:
    if key == "bytes":
        return base64.b64decode(content, validate=True)
    raise ValueError(f"there is nothing called {key!r}")


def to_json(value: PortType, keep: Keep) -> str:
    """The fields of a value as JSON. Raises TypeError, with the name of the field, for what cannot be kept.

    Raises OSError where a file that the value stands for cannot be read any more.
    """
    return json.dumps(_packed(value, type(value).__name__, type(value), keep), separators=(",", ":"))


def from_json(kind: type[PortType], text: str | bytes, kept: Kept) -> PortType:
    """The value of type `kind` that `to_json` was given.

    Raises ValueError where the text is no such value, and Gone, which is one, for a file on disk that has changed.
    """
    try:
        value = _unpacked(json.loads(text, parse_constant=_no_number), kind, kept)
    except (Gone, MemoryError):
        raise
    except Exception as error:  # whatever comes to the classes that are made of a damaged or hostile text
        raise ValueError(f"this is no {kind.__name__} that can be read: {error}") from error
    if type(value) is not kind:
        raise ValueError(f"this is a {type(value).__name__}, but should be a {kind.__name__}")
    return value


def _packed(value: Any, where: str, within: type, keep: Keep) -> Any:
    """A value as JSON has it; `where` is what messages call it, `within` the class whose field it is in."""
    kind = type(value)  # never a subclass: it would come back as another type
    if value is None or kind is bool:
        return value
    if kind is int:
        return value if value.bit_length() < LONG else {"int": f"{value:x}"}
    if kind is float and not math.isnan(value):
        return value if math.isfinite(value) else {"float": str(value)}
    if kind is str:
        return value if _is_unicode(value) else {"text": _as_base64(value.encode("utf-8", "surrogatepass"))[1]}
    if kind is tuple or kind is list:
        items = [_packed(item, f"{where}.{index}", within, keep) for index, item in enumerate(value)]
        return items if kind is tuple else {"list": items}
    if kind is dict and all(type(key) is str for key in value):
        return {"map": [[_packed(part, f"{where}.{key}", within, keep) for part in (key, value[key])] for key in value]}
    if kind is File:
        return {"file": _packed_file(value, where, keep)}
    if kind is Folder:
        path = None if value.path is None else _packed(os.path.abspath(value.path), where, within, keep)
        return {"folder": {"path": path, "files": [_packed_file(file, where, keep) for file in value.files]}}
    if _is_frozen(kind) and (kind is within or _found(_name(kind), within) is kind):
        packed = {"class": _name(kind)}
        return packed | {f.name: _packed(getattr(value, f.name), f"{where}.{f.name}", kind, keep) for f in fields(kind)}
    try:
        key, content = keep(value)
    except TypeError:
        what = "not a number" if kind is float else f"a {kind.__name__}"
        raise TypeError(f"{where} is {what}, which cannot be kept on disk") from None
    return {key: content}


def _unpacked(found: Any, within: type, kept: Kept) -> Any:
    if isinstance(found, list):
        return tuple(_unpacked(item, within, kept) for item in found)
    if not isinstance(found, dict):
        return found
    if "class" in found:
        return _made(found, within, kept)
    ((key, content),) = found.items()
    if key == "int":
        return int(content, 16)
    if key == "float":
        return float(content)
    if key == "text":
        return _from_base64("bytes", content).decode("utf-8", "surrogatepass")
    if key == "list":
        return [_unpacked(item, within, kept) for item in content]
    if key == "map":
        return {_unpacked(name, within, kept): _unpacked(value, within, kept) for name, value in content}
    if key == "file":
        return _unpacked_file(content, kept)
    if key == "folder":
        path = None if content["path"] is None else Path(_unpacked(content["path"], within, kept))
        return Folder(tuple(_unpacked_file(file, kept) for file in content["files"]), path)
    return kept(key, content)


def _made(found: dict[str, Any], within: type, kept: Kept) -> Any:
    """The dataclass value that an object with the key `class` stands for."""
    name = found.pop("class")
    kind = within if name == _name(within) else _found(name, within)
    if kind is None or not _is_frozen(kind) or found.keys() != {field.name for field in fields(kind)}:
        raise ValueError(f"there is no class {name} with the fields {', '.join(found)}")
    values = {field: _unpacked(value, kind, kept) for field, value in found.items()}
    made = kind(**{field.name: values[field.name] for field in fields(kind) if field.init})
    for field in fields(kind):
        if not field.init:
            object.__setattr__(made, field.name, values[field.name])
    return made


def _packed_file(file: File, where: str, keep: Keep) -> dict[str, Any]:
    packed = {"name": _packed(file.name, f"{where}.name", File, keep)}
    if file.path is not None:
        packed |= {"path": _packed(os.path.abspath(file.path), f"{where}.path", File, keep), "digest": file.digest}
    if file.content is not None:
        packed["content"] = _packed(file.content, f"{where}.content", File, keep)
    return packed


def _unpacked_file(packed: dict[str, Any], kept: Kept) -> File:
    """Raises Gone."""
    parts = {name: _unpacked(value, File, kept) for name, value in packed.items()}
    file = File(parts["name"], Path(parts["path"]) if "path" in parts else None, parts.get("content"))
    if file.path is not None:
        try:
            found = file.digest
        except OSError as error:
            raise Gone(f"{file.path} cannot be read any more: {error.strerror}") from None
        if found != parts["digest"]:
            raise Gone(f"{file.path} has changed")
    return file


def _found(name: str, within: type) -> type | None:
    """The class called `module:QualName`, if values of class `within` may have fields of it: else None.

    That is a port type, or a class of the same package, whose module is imported where that was not done yet.
    """
    module, _, path = name.partition(":")
    known = port_types().get(path)
    if known is not None and _name(known) == name:
        return known
    if _package(module) != _package(within.__module__):
        return None
    if module not in sys.modules:
        if module.endswith(".__main__"):  # a program
            return None
        import_module(module)
    found: Any = sys.modules[module]
    for part in path.split("."):
        found = vars(found).get(part) if hasattr(found, "__dict__") else None
    return found if isinstance(found, type) and _name(found) == name else None


def _name(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _package(module: str) -> str:
    """The package that a module belongs to; `latentgraph` itself is a namespace of several."""
    parts = module.split(".")
    return ".".join(parts[: 2 if parts[0] == "latentgraph" else 1])


def _is_frozen(kind: type) -> bool:
    return is_dataclass(kind) and kind.__dataclass_params__.frozen  # type: ignore[attr-defined]


def _no_number(written: str) -> float:
    raise ValueError(f"{written} is no number")


def _is_unicode(text: str) -> bool:
    """Whether JSON keeps a text as it is: not where it has surrogates, as paths that are no UTF-8 do."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
