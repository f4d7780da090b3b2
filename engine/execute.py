"""Execution: run the nodes that the outputs need, each as soon as its inputs are there.

Independent branches run side by side in threads; nodes that declare the same resource (`"device"`) queue for it. A node
that fails fails what depends on it and nothing else. Everything that happens is told as events, plain mappings with the
key `event` and, where it concerns one, `node`.
"""

import os
import queue
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from .check import CheckedGraph, CheckedNode, Linked, needed_nodes, refused_inputs
from .context import Cancelled, Context
from .digest import digest
from .places import scratch_folder
from .ports import PortType
from .values import Refused, admitted

Event = dict[str, Any]


@dataclass
class Run:
    """What came of a run: `done`, `failed` or `cancelled`, the outputs by name, and each node's status."""

    status: str = "done"
    outputs: dict[str, Any] = field(default_factory=dict)
    nodes: dict[str, str] = field(default_factory=dict)
    failures: dict[str, BaseException] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)

    def named(self, status: str) -> list[str]:
        return [name for name, found in self.nodes.items() if found == status]


def execute(
    checked: CheckedGraph,
    *,
    targets: list[str] | None = None,
    emit: Callable[[Event], None] = lambda event: None,
    cancelled: threading.Event | None = None,
    jobs: int | None = None,
) -> Run:
    """Run a checked graph; never raises for what happens inside a node.

    `emit` is called from the calling thread alone. `targets` are names of nodes to run instead of what the outputs
    need.
    """
    jobs = jobs or min(4, os.cpu_count() or 1)
    return _Execution(checked, targets, emit, cancelled or threading.Event(), jobs).run()


class _Execution:
    def __init__(
        self,
        checked: CheckedGraph,
        targets: list[str] | None,
        emit: Callable[[Event], None],
        cancelled: threading.Event,
        jobs: int,
    ) -> None:
        self.checked, self.emit, self.cancelled, self.jobs = checked, emit, cancelled, jobs
        self.order = needed_nodes(checked, targets)
        self.waiting = {name: {link.node for link in checked.nodes[name].links()} for name in self.order}
        self.results: dict[tuple[str, str], Any] = {}
        self.busy: set[str] = set()
        self.result = Run(nodes=dict.fromkeys(self.order, ""))
        self.happened: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.running = 0

    def run(self) -> Run:
        self.emit({"event": "run_started", "graph": self.checked.graph.name, "nodes": self.order})
        with ThreadPoolExecutor(self.jobs, thread_name_prefix="latentgraph") as pool:
            try:
                self._run_all(pool)
            except BaseException:
                # Ctrl-C, or whoever listens to the events has failed: the nodes that run must not go on for nobody.
                self.cancelled.set()
                raise
        for name, status in self.result.nodes.items():
            if not status:
                self._finish(name, "skipped", None)
        for name, link in self.checked.outputs.items():
            if self.result.nodes.get(link.node) == "computed":
                try:
                    self.result.outputs[name] = self._value(link)
                except ValueError as error:  # an element that a list does not have
                    self.result.failures[link.node] = error
        if self.cancelled.is_set():
            self.result.status = "cancelled"
        elif self.result.failures:
            self.result.status = "failed"
        return self.result

    def _run_all(self, pool: ThreadPoolExecutor) -> None:
        self._start_ready(pool)
        while self.running:
            try:
                # With a timeout, so that Ctrl-C reaches this thread on every platform.
                self.happened.get(timeout=0.5)()
            except queue.Empty:
                continue
            self._start_ready(pool)

    def _start_ready(self, pool: ThreadPoolExecutor) -> None:
        for name in self.order:
            node = self.checked.nodes[name]
            if self.running == self.jobs or self.cancelled.is_set():
                return
            if name not in self.waiting or self.waiting[name]:
                continue
            if node.type.resource is not None:
                if node.type.resource in self.busy:
                    continue
                self.busy.add(node.type.resource)
            del self.waiting[name]
            self.running += 1
            self.emit({"event": "node_started", "node": name, "type": node.type.__name__})
            pool.submit(self._run_node, node)

    def _run_node(self, node: CheckedNode) -> None:
        """In a thread of the pool: nothing here touches the execution's state but through `happened`."""
        started = time.monotonic()
        outcome: Any = None
        failure: BaseException | None = None
        try:
            inputs = {name: self._resolved(value) for name, value in node.inputs.items()}
            try:
                instance = node.type.model_validate(inputs)
            except ValidationError as invalid:  # what came over a link is out of range
                raise ValueError("; ".join(message for _, _, message in refused_inputs(invalid))) from None

            def report(kind: str, content: Mapping[str, Any]) -> None:
                self.happened.put(lambda: self.emit({"event": kind, "node": node.name, **content}))

            def scratch() -> Path:
                values = {name: getattr(instance, name) for name in node.type.inputs()}
                return scratch_folder(node.type.__name__, digest([node.type.__name__, node.type.version, values]))

            context = Context(scratch=scratch, report=report, cancelled=self.cancelled)
            outcome = self._outputs(node, instance.run(context))
        except BaseException as error:
            failure = error
        seconds = time.monotonic() - started
        self.happened.put(lambda: self._finished(node, outcome, failure, seconds))

    def _outputs(self, node: CheckedNode, outcome: Any) -> dict[str, Any]:
        """What a node gave, by output. Raises ValueError where that is not what its type declares."""
        outputs, name = node.type.outputs(), node.type.__name__
        values = outcome if isinstance(outcome, tuple) and hasattr(outcome, "_fields") else (outcome,)
        if len(values) != len(outputs):
            raise ValueError(f"{name}.run gave {len(values)} values, it declares {len(outputs)}")
        found = {}
        for output, value in zip(outputs.values(), values, strict=True):
            try:
                found[output.name] = admitted(value, output.annotation, Path())
            except Refused as refused:
                raise ValueError(f"{name}.run gave a wrong `{output.name}`: {refused}") from None
        return found

    def _finished(
        self, node: CheckedNode, outcome: dict[str, Any] | None, failure: BaseException | None, seconds: float
    ) -> None:
        self.running -= 1
        if node.type.resource is not None:
            self.busy.discard(node.type.resource)
        if failure is None:
            for output, value in (outcome or {}).items():
                self.results[node.name, output] = value
                for item in value if isinstance(value, tuple) else (value,):
                    if isinstance(item, PortType):
                        self.result.sources.update(item.sources())
            for waits in self.waiting.values():
                waits.discard(node.name)
            self._finish(node.name, "computed", seconds)
        elif isinstance(failure, Cancelled) and self.cancelled.is_set():
            self._finish(node.name, "skipped", seconds)
        else:
            self.result.failures[node.name] = failure
            self._finish(node.name, "failed", seconds, failure)

    def _finish(self, name: str, status: str, seconds: float | None, failure: BaseException | None = None) -> None:
        self.result.nodes[name] = status
        event: Event = {"event": "node_finished", "node": name, "status": status}
        if seconds is not None:
            event["seconds"] = round(seconds, 3)
        if failure is not None:
            event["error"] = explained(failure)
        self.emit(event)

    def _resolved(self, value: Any) -> Any:
        if isinstance(value, Linked):
            return self._value(value)
        if isinstance(value, tuple):
            return tuple(self._resolved(item) for item in value)
        return value

    def _value(self, link: Linked) -> Any:
        value = self.results[link.node, link.output]
        for index in link.index:
            if index >= len(value):
                raise ValueError(f"`${link.node}.{link.output}` has {len(value)} elements, {index} was asked for")
            value = value[index]
        return value


def explained(failure: BaseException) -> str:
    """A failure in words for whoever wrote the graph: errors that nodes raise on purpose speak for themselves."""
    message = str(failure).strip()
    if isinstance(failure, (ValueError, OSError, MemoryError)) and message:
        return message
    frames = traceback.extract_tb(failure.__traceback__)
    where = f", in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(failure).__name__}: {message or 'without a message'}{where}"
