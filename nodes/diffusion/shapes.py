"""The names and shapes of the tensors in a safetensors file, from its header alone and without torch."""

from collections.abc import Mapping

from latentgraph.engine.ports import File

from ..model_paths import check_not_pickled
from .headers import header


def shapes(file: File) -> Mapping[str, tuple[int, ...]]:
    """Raises ValueError for what is no safetensors file, a damaged one, and a pickled one."""
    if file.path is not None:
        check_not_pickled(file.path)
    return header(file).shapes
