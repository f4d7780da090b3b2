"""What came of a run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Run:
    """What came of a run: `done`, `failed` or `cancelled`, the outputs by name, and each node's status by address.

    `outputs` has the values, `files` what they are written as; which of the two was asked for when the run was started.
    """

    id: str = ""
    status: str = "done"
    outputs: dict[str, Any] = field(default_factory=dict)
    files: dict[str, Any] = field(default_factory=dict)
    nodes: dict[str, str] = field(default_factory=dict)
    failures: dict[str, BaseException] = field(default_factory=dict)
    inputs: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """What the failed nodes were given, by reference."""
    failed_outputs: dict[str, BaseException] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    sources: dict[str, Mapping[str, str]] = field(default_factory=dict)
    """The digests of the model files that each output was made from."""
    origins: dict[str, str] = field(default_factory=dict)
    """The address of the node that gave each output."""

    def named(self, status: str) -> list[str]:
        return [name for name, found in self.nodes.items() if found == status]
