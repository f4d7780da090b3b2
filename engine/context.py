"""What a node may ask of the run it is part of."""

import os
import tempfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from .ports import PortType


class Cancelled(Exception):
    """The run was cancelled; raised inside a node by `Context.check_cancelled`."""


class States(Protocol):
    """Where a long-running node keeps what it goes on from after it was stopped."""

    def save(self, prefix_key: object, state: PortType) -> None: ...

    def resume(self, prefix_key: object) -> PortType | None: ...


class Context:
    """Given to `Node.run`: reports progress and previews, tells of cancelling, gives scratch space and variables."""

    def __init__(
        self,
        *,
        report: Callable[[str, dict[str, Any]], None] = lambda kind, content: None,
        cancelled: Callable[[], bool] | threading.Event | None = None,
        states: States | None = None,
    ) -> None:
        self._report = report
        self._cancelled = cancelled.is_set if isinstance(cancelled, threading.Event) else cancelled or (lambda: False)
        self._states = states
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self.variables: dict[str, str | None] = {}
        """The environment variables that were asked for."""
        self.not_kept: str | None = None
        """Why the result is not to be kept."""

    def progress(self, step: int, steps: int, message: str = "") -> None:
        """Say that `step` of `steps` are done. Raises Cancelled where the run was cancelled."""
        self.check_cancelled()
        self._report("progress", {"step": step, "steps": steps, **({"message": message} if message else {})})

    def preview(self, image: Any) -> None:
        """Show a picture of work in progress: float [3, H, W] in 0..1, anything with `__array__`. It may be dropped."""
        self._report("preview", {"image": image})

    def log(self, message: str) -> None:
        """Tell the people who watch the run something that they should know, in one line."""
        self._report("log", {"message": message})

    def do_not_keep(self, why: str) -> None:
        """Say that this result depends on more than the inputs tell, and why: it is used in this run, and not reused.

        For what a node cannot help, such as a way that needs less memory; a node type whose results always differ is
        declared volatile.
        """
        self.not_kept = why
        self.log(f"its result is not kept: {why}")

    def do_not_resume(self) -> None:
        """Begin anew whatever was kept, and keep nothing: for a node that has to see all of its work to tell of it."""
        self._states = None

    @property
    def cancelled(self) -> bool:
        return self._cancelled()

    def check_cancelled(self) -> None:
        """Raises Cancelled where the run was cancelled."""
        if self.cancelled:
            raise Cancelled

    def save(self, prefix_key: object, state: PortType) -> None:
        """Keep `state`, so that this node, or another one like it, can go on from here after it was stopped.

        `prefix_key` (anything that has a digest) covers what has been consumed so far, and nothing else: inputs that
        only matter later are not in it. Whoever finds the state under this key goes on exactly as this node would have.
        """
        if self._states is not None:
            self._states.save(prefix_key, state)

    def resume(self, prefix_keys: Iterable[object]) -> PortType | None:
        """The first state that was saved under one of the keys, so the one that got furthest comes first; or None."""
        if self._states is None:
            return None
        return next((found for key in prefix_keys if (found := self._states.resume(key)) is not None), None)

    def scratch(self) -> Path:
        """An empty folder of this node's own, removed when the node has finished."""
        if self._scratch is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="latentgraph-")
        return Path(self._scratch.name)

    def env(self, name: str) -> str | None:
        """An environment variable: the only way for a node to depend on one."""
        self.variables[name] = os.environ.get(name)
        return self.variables[name]

    def close(self) -> None:
        """Remove the scratch folder."""
        if self._scratch is not None:
            self._scratch.cleanup()
