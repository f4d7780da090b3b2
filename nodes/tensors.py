"""What tensors in values have to be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def plain(value: Any, field: str, dimensions: int) -> None:
    """Bring a tensor field of a frozen value to the form that all nodes count on: float32, on the CPU, contiguous.

    None stays None. Raises ValueError where it has another shape.
    """
    tensor: Tensor | None = getattr(value, field)
    if tensor is None:
        return
    if tensor.ndim != dimensions:
        kind = type(value).__name__
        raise ValueError(f"{kind}.{field} has shape {tuple(tensor.shape)}, but should have {dimensions} dimensions")
    object.__setattr__(value, field, tensor.detach().cpu().float().contiguous())
