"""Writing a run's outputs to files: the only thing that a run writes."""

import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .checked import CheckedGraph
from .ports import File, Folder
from .rendering import Rendered


def about(checked: CheckedGraph, models: Mapping[str, str]) -> dict[str, Any]:
    """How an output came to be: the graph's text and name, the params, the digests of the models it was made with.

    No times and no absolute paths: the same result is the same file everywhere.
    """
    params = {name: plainly(value) for name, value in checked.params.items()}
    return {"graph": checked.graph.text, "name": checked.graph.name, "params": params, "models": dict(models)}


def plainly(value: Any) -> Any:
    """A param's value as JSON has it; a file or folder by its name and digest."""
    if isinstance(value, (File, Folder)):
        name = value.name if isinstance(value, File) else value.path.name if value.path else ""
        return {"name": name, "sha256": value.digest}
    if isinstance(value, tuple):
        return [plainly(item) for item in value]
    return value


def write_output(name: str, value: Any, folder: Path, graph: str, made: Mapping[str, Any]) -> Any:
    """Write one output, as `rendered` gives it, below `folder`: the path, a list of paths, or a plain value as it is.

    Files are called `<graph>-<output>-<8 hex of the digest>` and what the port type adds. A folder's files are written
    into a folder so called, whose path is given back. Raises OSError where the folder cannot be written.
    """
    if isinstance(value, tuple):
        return [write_output(f"{name}-{index}", item, folder, graph, made) for index, item in enumerate(value)]
    if not isinstance(value, Rendered):
        return value
    paths = []
    for path, content in files_of(name, value, graph, made):
        write_whole(folder / path, content)
        paths.append(str(folder / path.partition("/")[0]))
    paths = list(dict.fromkeys(paths))
    return paths[0] if len(paths) == 1 else paths


def files_of(name: str, value: Rendered, graph: str, made: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """The files of an output, by their relative paths; `made` is what `about` says, or nothing."""
    for file in value.files:
        written = value.kind.described(file, made) if made else file
        yield f"{graph}-{name}-{value.ref.digest[:8]}{written.suffix}", written.content


def write_whole(path: Path, content: bytes) -> None:
    """Write a file to one side and rename it into place, so that nobody ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
