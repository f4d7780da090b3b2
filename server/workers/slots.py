"""Progress and previews: the newest of each node of a running job, in memory only, for whoever watches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Slot:
    """The newest progress and preview of a node, each with a number that grows."""

    progress: Mapping[str, Any] | None = None
    progress_number: int = 0
    preview: tuple[Mapping[str, Any], bytes] | None = None
    preview_number: int = 0


@dataclass
class Slots:
    """By job and node. `changed` is called with the job where something new is there."""

    changed: Callable[[str], None]
    jobs: dict[str, dict[str, Slot]] = field(default_factory=dict)
    _number: int = 0

    def progress(self, job: str, node: str, progress: Mapping[str, Any]) -> None:
        slot = self._slot(job, node)
        slot.progress, slot.progress_number = progress, self._number
        self.changed(job)

    def preview(self, job: str, node: str, about: Mapping[str, Any], image: bytes) -> None:
        slot = self._slot(job, node)
        slot.preview, slot.preview_number = (about, image), self._number
        self.changed(job)

    def of(self, job: str) -> Mapping[str, Slot]:
        return self.jobs.get(job, {})

    def finished(self, job: str, node: str) -> None:
        """A node's progress is of no interest any more."""
        if job in self.jobs:
            self.jobs[job].pop(node, None)

    def drop(self, job: str) -> None:
        self.jobs.pop(job, None)

    def _slot(self, job: str, node: str) -> Slot:
        self._number += 1
        return self.jobs.setdefault(job, {}).setdefault(node, Slot())
