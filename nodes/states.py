"""What long-running nodes keep of themselves, to go on from after they were stopped.

Imported when one runs: no graph has a param of these types.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from latentgraph.engine.ports import PortType

from .codec import TENSORS

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class SamplingState(PortType, codec=TENSORS):
    """How far a sampling came: `samples` after `moves`, which are steps or evaluations of the model.

    `state` is what sampler and guidance remember, `generators` the states of the random generators. All tensors here
    are on the CPU.
    """

    moves: int
    samples: Tensor
    state: Mapping[str, Any]
    generators: tuple[bytes, ...]


@dataclass(frozen=True, eq=False)
class TrainingState(PortType, codec=TENSORS):
    """How far a training came: `steps` of them, with the weights then, their moving average, and all losses.

    `optimizer` has the optimiser's state for each parameter, `generator` that of the random generator. All tensors here
    are on the CPU.
    """

    steps: int
    weights: Mapping[str, Tensor]
    average: Mapping[str, Tensor]
    optimizer: tuple[Mapping[str, Tensor], ...]
    generator: bytes
    losses: Tensor
