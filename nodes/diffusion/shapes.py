"""The names and shapes of the tensors in a safetensors file, from its header alone and without torch."""

import io
import json
from collections.abc import Mapping

from latentgraph.engine.ports import File

from ..model_paths import check_not_pickled
from .headers import check_safetensors


def shapes(file: File) -> Mapping[str, tuple[int, ...]]:
    """Raises ValueError for what is no safetensors file, a damaged one, and a pickled one."""
    if file.path is not None:
        check_not_pickled(file.path)
    check_safetensors(file)
    with file.path.open("rb") if file.path is not None else io.BytesIO(file.read()) as stream:
        header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    return {name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}
