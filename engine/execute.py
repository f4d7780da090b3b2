"""Execution: compute what the outputs need and the store does not have, each node as soon as its inputs are there.

Independent branches run side by side in threads; nodes that declare the same resource (`"device"`) queue for it. What
becomes of a node is decided by `decide`. Two runs, threads or processes that need the same result compute it once: who
comes second waits, without taking a job's place, and takes over if the first one dies. A node that fails fails what
depends on it and nothing else. A result whose value has left the store is made again when something needs its bytes.
Everything that happens is told as events, plain mappings with the key `event` and, where it concerns one, `node`.
"""

import contextlib
import heapq
import os
import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any

from .check import needed_nodes
from .checked import CheckedGraph, Linked, graph_id
from .compute import Computer, Job, Outcome
from .context import Cancelled
from .decide import decide
from .events import Event
from .failures import described_failure
from .flow import Flow
from .keys import Keys
from .live import Live, Missing
from .node import Node
from .records import Record, Ref, refs_in
from .rendering import rendered
from .runs import Run
from .steps import FAILED, NOTHING, Gather, Mark, Step
from .store import Claim, Store, open_store
from .workers import Workers

QUICK = 0.001
"""Seconds: if the last node of a type took less, the next one is computed in place, as a thread would cost more."""

POLL = 0.02
"""Seconds between two looks at whether somebody else has finished what is waited for."""


def execute(
    checked: CheckedGraph,
    *,
    store: Store | None = None,
    targets: list[str] | None = None,
    emit: Callable[[Event], None] = lambda event: None,
    cancelled: threading.Event | None = None,
    jobs: int | None = None,
    files: bool = False,
    again: bool = False,
    strict: bool = False,
    guard: Callable[[Node], None] = lambda node: None,
) -> Run:
    """Run a checked graph; never raises for what happens inside a node.

    `emit` is called from the calling thread alone. `store` keeps results, in memory for this run where none is given.
    `targets` are names of nodes to run instead of what the outputs need. `files` asks for what outputs are written as,
    not for their values. `again` computes what could be reused, too, and fails the nodes that give something else than
    before. `strict` looks closer at what nodes must not do: change an input, draw from a global random generator.
    `guard` is asked about each node, with all its inputs, before it runs; it raises ValueError to refuse it.
    """
    store = store or open_store(None)
    store.prefetch(graph_id(checked))
    execution = _Execution(checked, store, emit, cancelled or threading.Event(), jobs or min(4, os.cpu_count() or 1))
    execution.computer.again, execution.computer.strict, execution.computer.guard = again, strict, guard
    with store.in_use():
        return execution.run(targets, files)


class _Execution:
    def __init__(
        self,
        checked: CheckedGraph,
        store: Store,
        emit: Callable[[Event], None],
        cancelled: threading.Event,
        jobs: int,
    ) -> None:
        self.checked, self.store, self.emit, self.cancelled, self.jobs = checked, store, emit, cancelled, jobs
        self.result = Run(id=os.urandom(6).hex())
        self.live = Live(store)
        self.keys = Keys(store, self.live.get)
        self.computer = Computer(store, self.live, self.keys, self.result.id, cancelled)
        self.flow = Flow(checked, constant=self.live.by_reference, finished=self._not_run, released=self._release)
        self.happened: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.workers = Workers()
        self.startable: list[tuple[tuple[int, ...], int, Job]] = []
        self.queues: dict[str, deque[Job]] = {}
        self.busy: set[str] = set()
        self.running: dict[Job, Claim | None] = {}
        self.deadlines: dict[Job, float] = {}
        self.took: dict[type[Node], float] = {}
        """Seconds that the last node of a type took."""
        self.elsewhere: list[Job] = []
        self.blocked: dict[str, list[Job]] = {}
        """Jobs by the digest of a value that has to be made again for them."""
        self.makers: dict[str, Step] = {}
        """By the digest of a value, the step that gave it."""
        self.givers: Counter[str] = Counter()
        """By the digest of a value, how many steps gave it whose outputs are still asked for."""
        self.records: dict[Step, Record] = {}
        self.touched: tuple[list[str], list[Ref]] = ([], [])
        self.started = 0
        self.said: set[str] = set()

    def run(self, targets: list[str] | None, files: bool) -> Run:
        started: Event = {"event": "run_started", "run": self.result.id, "graph": self.checked.graph.name}
        started["nodes"] = needed_nodes(self.checked, targets)
        if self.checked.random:
            started["random"] = dict(self.checked.random)
        self.emit(started)
        try:
            for name in targets or ():
                self.flow.want_node(name)
            for link in () if targets else self.checked.outputs.values():
                self.flow.want(link)
            self._run_all()
            for name, link in self.checked.outputs.items():
                step = self.flow.top.target(link)[0]
                if step.wanted:
                    self._deliver(name, link, step, files)
        except BaseException:
            # Ctrl-C, or whoever listens to the events has failed: the nodes that run must not go on for nobody.
            self.cancelled.set()
            for claim in self.running.values():
                if claim is not None:
                    claim.release()
            raise
        finally:
            self.workers.close()
            self.store.touch(*self.touched)
        for step in self.flow.known:
            # A Switch that handed on a value did no work that anybody would want to hear of.
            if step.address not in self.result.nodes and type(step.outputs) is Mark:
                self._finish(step, "skipped", reason="the run was cancelled")
        self.store.remember_latest(graph_id(self.checked), self.result.keys)
        if self.cancelled.is_set():
            self.result.status = "cancelled"
        elif self.result.failures or self.result.failed_outputs:
            self.result.status = "failed"
        return self.result

    # the loop

    def _run_all(self) -> None:
        """Go on until nothing is left that can go on."""
        while True:
            while (step := self.flow.next()) is not None:
                self._decide(step)
            self._take_over()
            self._start()
            if self.flow.ready:
                continue  # what was to be started had been computed elsewhere by now
            if not self.running and not self.elsewhere:
                return
            if self.cancelled.is_set() and not self.running:
                return
            self._wait()

    def _wait(self) -> None:
        # With a timeout, so that Ctrl-C reaches this thread on every platform.
        timeout = POLL if self.elsewhere else 0.5
        if self.deadlines:
            timeout = max(0.0, min(timeout, min(self.deadlines.values()) - time.monotonic()))
        with contextlib.suppress(queue.Empty):
            self.happened.get(timeout=timeout)()
        self._catch_up()
        if self.deadlines:
            now = time.monotonic()
            for job in [job for job, deadline in self.deadlines.items() if deadline <= now]:
                self._give_up(job)

    def _catch_up(self) -> None:
        """Hear what has happened in the threads by now."""
        while not self.happened.empty():
            self.happened.get()()

    def _decide(self, step: Step) -> None:
        decision = decide(step, self.keys, self.store)
        if decision.key is not None:
            self.result.keys[step.address] = decision.key.digest
        elif decision.why not in self.said:
            self.said.add(decision.why)
            self.emit({"event": "log", "node": step.address, "message": f"its result is not kept: {decision.why}"})
        if decision.record is not None and not self.computer.again:
            self._reuse(step, decision.record)
            return
        self._enqueue(Job(step, decision.key, decision.record))

    def _reuse(self, step: Step, record: Record) -> None:
        self.records[step] = record
        self.touched[0].append(record.key)
        for value in record.outputs.values():
            if type(value) in (Ref, tuple):
                for ref in refs_in(value):
                    self.touched[1].append(ref)
                    self.makers.setdefault(ref.digest, step)
                    self.givers[ref.digest] += 1
        self._finish(step, "reused")
        self._settle(step, record.outputs, record.sources)

    def _enqueue(self, job: Job) -> None:
        resource = job.node_type.resource
        self.started += 1
        if resource is None:
            heapq.heappush(self.startable, (job.step.order, self.started, job))
        else:
            self.queues.setdefault(resource, deque()).append(job)

    def _start(self) -> None:
        if self.cancelled.is_set():
            return
        for resource, jobs in list(self.queues.items()):
            while jobs and resource not in self.busy and len(self.running) < self.jobs:
                self._begin(jobs.popleft())
        while self.startable and len(self.running) < self.jobs:
            self._begin(heapq.heappop(self.startable)[2])

    def _begin(self, job: Job) -> None:
        """Start a job, unless somebody else computes the same, or has done so by now."""
        claim = None
        if job.key is not None:
            claim = self.store.claim(job.key.digest)
            if claim is None:
                self.elsewhere.append(job)
                return
            if job.expected is None and (record := self.store.lookup(job.key.digest)) is not None:
                claim.release()
                self._reuse(job.step, record)
                return
        self.running[job] = claim
        if job.node_type.resource is not None:
            self.busy.add(job.node_type.resource)
        if job.step.node.timeout is not None:
            self.deadlines[job] = time.monotonic() + job.step.node.timeout
        self.emit({"event": "node_started", "node": job.step.address, "type": job.node_type.__name__})
        if self.took.get(job.node_type, QUICK) < QUICK and job not in self.deadlines:
            self._work(job)
            self._catch_up()
        else:
            self.workers.start(lambda: self._work(job))

    def _take_over(self) -> None:
        """Look whether what was computed elsewhere is there, or nobody computes it any more."""
        waiting, self.elsewhere = self.elsewhere, []
        for job in waiting:
            if self.cancelled.is_set():
                return
            self._enqueue(job)

    def _work(self, job: Job) -> None:
        """Mostly in a thread of its own: nothing here touches the execution's state but through `happened`."""

        def report(kind: str, content: Mapping[str, Any]) -> None:
            self.happened.put(lambda: self.emit({"event": kind, "node": job.step.address, **content}))

        outcome: Outcome | None = None
        failure: BaseException | None = None
        try:
            outcome = self.computer.compute(job, report)
        except BaseException as error:
            failure = error
        self.happened.put(lambda: self._finished(job, outcome, failure))

    # what became of a job

    def _finished(self, job: Job, outcome: Outcome | None, failure: BaseException | None) -> None:
        if not self._leave(job):
            return  # it was given up
        if isinstance(failure, Missing):
            self._make_again(failure.refs, job)
        elif outcome is not None:
            self._computed(job, outcome)
        elif isinstance(failure, Cancelled) and self.cancelled.is_set():
            self._finish(job.step, "skipped", reason="the run was cancelled")
        else:
            assert failure is not None
            self._fail(job.step, failure)

    def _leave(self, job: Job) -> bool:
        """Free the place that a running job takes; False where it has none any more."""
        if job not in self.running:
            return False
        claim = self.running.pop(job)
        self.deadlines.pop(job, None)
        if claim is not None:
            claim.release()
        self.busy.discard(job.node_type.resource or "")
        return True

    def _computed(self, job: Job, outcome: Outcome) -> None:
        step = job.step
        self.took[job.node_type] = outcome.seconds
        if outcome.record is not None:
            self.records[step] = outcome.record
            self.result.keys[step.address] = outcome.record.key
        else:
            self.result.keys.pop(step.address, None)
        for value in outcome.outputs.values():
            for ref in refs_in(value):
                # The first to give a value: a later one may have been given it, and could not make it without.
                self.makers.setdefault(ref.digest, step)
                self.givers[ref.digest] += type(step.outputs) is Mark
        memory = {"memory": outcome.memory} if outcome.memory is not None else {}
        self._finish(step, "computed", seconds=round(outcome.seconds, 6), bytes=outcome.stored, **memory)
        if type(step.outputs) is Mark:
            self._settle(step, outcome.outputs, outcome.sources)
        for value in outcome.outputs.values():
            for ref in refs_in(value):
                for blocked in self.blocked.pop(ref.digest, ()):
                    self._enqueue(blocked)

    def _fail(self, step: Step, failure: BaseException) -> None:
        self.result.failures[step.address] = failure
        self.result.inputs[step.address] = step.inputs
        self._finish(step, "failed", **described_failure(failure, step))
        blocked = [job for ref in self._given(step) for job in self.blocked.pop(ref.digest, ())]
        if type(step.outputs) is Mark:
            self._settle(step, FAILED)
        for job in blocked:
            self._finish(job.step, "skipped", reason=f"it needs {step.address}, which failed")
            self._settle(job.step, FAILED)

    def _give_up(self, job: Job) -> None:
        """Its time is over. The thread may go on for a while, but nobody waits for it."""
        job.stopped = True
        self._leave(job)
        self._fail(job.step, TimeoutError(f"it took longer than its timeout of {job.step.node.timeout:g} s"))

    def _make_again(self, refs: list[Ref], job: Job | None) -> None:
        """Compute the steps anew whose values are gone, and then the job that needs them."""
        first = True
        for ref in refs:
            maker = self.makers[ref.digest]
            if ref.digest not in self.blocked:
                record = self.records.get(maker)
                key = decide(maker, self.keys, self.store).key if record is not None else None
                self._enqueue(Job(maker, key, record))
            waiting = self.blocked.setdefault(ref.digest, [])
            if first and job is not None:
                waiting.append(job)  # when this one is there, it asks for the others
                first = False

    # steps

    def _settle(self, step: Step, outputs: Mapping[str, Any] | Mark, sources: Mapping[str, str] | None = None) -> None:
        if step.outputs is FAILED:
            return
        found = sources or NOTHING
        for used in step.uses or ():
            if used.sources and used.sources is not found:
                found = {**found, **used.sources} if found else used.sources
        step.sources = found
        self.flow.settle(step, outputs)

    def _not_run(self, step: Step) -> None:
        """The flow has settled a step that cannot be run."""
        if step.wrong:
            failure = ValueError(step.reason)
            self.result.failures[step.address] = failure
            self._finish(step, "failed", error=step.reason)
        elif step.address not in self.result.nodes and not (isinstance(step, Gather) and step.expanded):
            self._finish(step, "skipped", reason=step.reason)

    def _finish(self, step: Step, status: str, **more: Any) -> None:
        self.result.nodes[step.address] = status
        self.emit({"event": "node_finished", "node": step.address, "status": status, **more})

    def _release(self, step: Step) -> None:
        """Let go of values that no node needs any more; those of steps without a record could not be made again."""
        if step in self.records:
            for ref in self._given(step):
                self.givers[ref.digest] -= 1
                if self.givers[ref.digest] <= 0:
                    self.live.release(ref)

    def _given(self, step: Step) -> list[Ref]:
        outputs = step.outputs if isinstance(step.outputs, Mapping) else {}
        return [ref for value in outputs.values() for ref in refs_in(value)]

    # outputs

    def _deliver(self, name: str, link: Linked, step: Step, files: bool) -> None:
        """Put an output into the result, after making again what is gone of it."""
        if self.cancelled.is_set():
            return
        try:
            value = self.flow.value(link)
        except ValueError as error:  # an element that a list does not have
            self.result.failures.setdefault(step.address, error)
            return
        if type(value) is Mark:
            return
        self.result.origins[name], self.result.sources[name] = step.address, step.sources
        while True:
            missing: list[Ref] = []
            try:
                found = rendered(value, self.live, self.store, missing) if files else self.live.loaded(value, missing)
            except Exception as error:  # a port type's writer is a plugin's code, too
                self.result.failed_outputs[name] = error
                return
            if not missing:
                (self.result.files if files else self.result.outputs)[name] = found
                return
            self._make_again(missing, None)
            self._run_all()
            if self.cancelled.is_set() or any(
                self.makers[ref.digest].address in self.result.failures for ref in missing
            ):
                return
