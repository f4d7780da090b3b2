"""Whether weights are numbers at all: nothing but noise or black pictures would come of others."""

from collections.abc import Mapping

from torch import Tensor

from .numerics import torch


def check_finite(tensors: Mapping[str, Tensor], where: object) -> None:
    """Raises ValueError where one of the tensors, which are those in `where`, holds NaN or infinity."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.numel():
            # A NaN is both the least and the greatest; of types of 8 bits torch does not tell them.
            low, high = torch.aminmax(tensor if tensor.itemsize > 1 else tensor.float())
            if not (torch.isfinite(low) and torch.isfinite(high)):
                raise ValueError(f"the weights in {where} are damaged: {name} holds NaN or infinity; get them anew")
