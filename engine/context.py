"""What a node may ask of the run it is part of."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Cancelled(Exception):
    """The run was cancelled; raised inside a node by `Context.check_cancelled`."""


class Context:
    """Given to `Node.run`: reports progress and previews, tells of cancelling, gives scratch space and variables."""

    def __init__(
        self,
        *,
        scratch: Path | Callable[[], Path],
        report: Callable[[str, dict[str, Any]], None] = lambda kind, content: None,
        cancelled: threading.Event | None = None,
    ) -> None:
        self._scratch = scratch
        self._report = report
        self._cancelled = cancelled or threading.Event()

    def progress(self, step: int, steps: int, message: str = "") -> None:
        """Say that `step` of `steps` are done. Raises Cancelled where the run was cancelled."""
        self.check_cancelled()
        self._report("progress", {"step": step, "steps": steps, **({"message": message} if message else {})})

    def preview(self, image: Any) -> None:
        """Show a picture of work in progress: float [3, H, W] in 0..1, anything with `__array__`. It may be dropped."""
        self._report("preview", {"image": image})

    @property
    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def check_cancelled(self) -> None:
        """Raises Cancelled where the run was cancelled."""
        if self.cancelled:
            raise Cancelled

    def scratch(self) -> Path:
        """A folder of this node's own. A node with equal inputs gets the same one, so that long work can go on."""
        folder = self._scratch() if callable(self._scratch) else self._scratch
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def env(self, name: str) -> str | None:
        """An environment variable: the only way for a node to depend on one."""
        return os.environ.get(name)
