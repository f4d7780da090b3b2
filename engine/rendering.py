"""What outputs are written as: kept in the store like any result, so that writing them again takes no heavy import."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .code import code_of
from .digest import encoded
from .keys import KEY_FORMAT, environment
from .live import Live
from .ports import File, Folder, PortType, Written, port_types
from .records import Record, Ref

if TYPE_CHECKING:
    from .store import Store


@dataclass(frozen=True)
class Rendered:
    """A value as files: the reference to it, and what its port type writes."""

    ref: Ref
    kind: type[PortType]
    files: tuple[Written, ...]


def rendered(value: Any, live: Live, store: Store, missing: list[Ref]) -> Any:
    """A plain value as it is, a reference as its files, a tuple as one of them.

    What cannot be had is added to `missing`. Raises whatever a port type's writer raises.
    """
    if type(value) is tuple:
        return tuple(rendered(item, live, store, missing) for item in value)
    if type(value) is not Ref:
        return value
    kind = port_types()[value.type]
    if issubclass(kind, (File, Folder)):
        found = live.get(value)
        if found is None:
            missing.append(value)
            return None
        return Rendered(value, kind, tuple(found.written()))
    key = _key(kind, value)
    files = _kept(key, store) if key is not None else None
    if files is None:
        found = live.get(value)
        if found is None:
            missing.append(value)
            return None
        files = tuple(found.written())
        if key is not None:
            _keep(key, value, files, live, store)
    return Rendered(value, kind, files)


def renderable(value: Ref, store: Store) -> bool:
    """Whether the files of a value are kept, so that nobody needs the value to write it."""
    kind = port_types()[value.type]
    if issubclass(kind, (File, Folder)):
        return False
    key = _key(kind, value)
    record = store.lookup(key) if key is not None else None
    return record is not None and all(map(store.has, record.refs()))


def _kept(key: str, store: Store) -> tuple[Written, ...] | None:
    record = store.lookup(key)
    if record is None:
        return None
    files = [store.value(ref) for ref in record.refs()]
    suffixes = record.about.get("suffixes", ())
    if len(suffixes) != len(files) or not all(isinstance(file, File) for file in files):
        return None
    return tuple(
        Written(suffix, file.read()) for suffix, file in zip(suffixes, files, strict=True) if isinstance(file, File)
    )


def _keep(key: str, value: Ref, files: tuple[Written, ...], live: Live, store: Store) -> None:
    taken: dict[str, PortType] = {}
    refs = tuple(live.by_reference(File(file.suffix, content=file.content), taken) for file in files)
    # Not as the files' names: a file is its content, whatever an equal one elsewhere is called.
    about = {"type": f"{value.type} as files", "suffixes": [file.suffix for file in files]}
    store.keep(Record(key, {"files": refs}, about=about, made=time.time()), taken)
    for ref in refs:
        live.release(ref)


def _key(kind: type[PortType], value: Ref) -> str | None:
    """What the files of a value are kept under; None where the code that writes them cannot be told for certain."""
    code = code_of(kind, ("written",))
    if code.stale or not code.complete:
        return None
    ingredients = [KEY_FORMAT, kind.__name__, code.digest, dict(code.distributions), environment(code), value]
    return hashlib.sha256(b"written" + encoded(ingredients)).hexdigest()
