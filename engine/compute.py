"""Computing one node: its inputs loaded and validated, `run`, its outputs validated, kept and given by reference."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event as Flag
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from .arrays import apart, memory_of, versions
from .checked import CheckedGraph
from .context import Cancelled, Context
from .digest import digest
from .failures import explained
from .inputs import refused_inputs
from .keys import Key, Keys, state_key
from .late import import_late
from .live import Live, Missing
from .node import Node
from .ports import PortType
from .records import Record, Ref, refs_in
from .steps import Step
from .values import Refused, admitted

if TYPE_CHECKING:
    from .store import Store


WORTH_ASKING = 0.01
"""Seconds from which on it is asked how much memory the process holds, which can take as long as a small node."""


@dataclass(eq=False)
class Job:
    """A step that is to be computed. `expected` is the result it had, where it is made again."""

    step: Step
    key: Key | None
    expected: Record | None = None
    stopped: bool = False
    """Nobody waits for it any more."""
    node_type: type[Node] = field(init=False)

    def __post_init__(self) -> None:
        node_type = self.step.node.type
        assert not isinstance(node_type, CheckedGraph)
        self.node_type = node_type


@dataclass(frozen=True)
class Outcome:
    """What came of it. `stored` counts bytes written; `memory` is the most that the process held so far, in bytes, if
    the node took long enough for that to be worth asking the system."""

    outputs: Mapping[str, Any]
    sources: Mapping[str, str]
    record: Record | None
    stored: int
    seconds: float
    memory: int | None


class Differs(ValueError):
    """A node that was computed again gave something else than before."""


@dataclass
class Computer:
    """Computes jobs, in whichever thread it is called."""

    store: Store
    live: Live
    keys: Keys
    run: str
    cancelled: Flag
    strict: bool = False
    again: bool = False
    """Nothing is taken from earlier runs, the states of stopped nodes neither."""
    guard: Callable[[Node], None] = lambda node: None

    def compute(self, job: Job, report: Callable[[str, dict[str, Any]], None]) -> Outcome:
        """Raises Missing, Cancelled, Differs, and whatever the node raises."""
        referred = [name for name, value in job.step.inputs.items() if any(True for _ in refs_in(value))]
        inputs = job.step.inputs
        if referred:
            missing: list[Ref] = []
            inputs = {**inputs, **{name: self.live.loaded(inputs[name], missing) for name in referred}}
            if missing:
                raise Missing(missing)
        context = Context(
            report=report,
            cancelled=lambda: self.cancelled.is_set() or job.stopped,
            states=None if self.again else _States(self.store, job.key),
        )
        loaded = {name: inputs[name] for name in referred}
        started = time.perf_counter()
        try:
            with self._unchanged(job, loaded):
                returned = self._run(job, inputs, context)
        finally:
            context.close()
        values = _outputs(job.node_type, returned)
        if taken_memory := memory_of(loaded):
            values = {name: apart(value, taken_memory) for name, value in values.items()}
        taken: dict[str, PortType] = {}
        outputs = {name: self.live.by_reference(value, taken) for name, value in values.items()}
        seconds = time.perf_counter() - started
        sources = {name: text for value in taken.values() for name, text in value.sources().items()}
        if job.expected is not None:
            _compare(job.expected, outputs, context.not_kept)
        record, stored = None, 0
        if job.key is not None and context.not_kept is None:
            key = self._key_with(context.variables, job)
            record = Record(key.digest, outputs, sources, key.about(), key.kind.partial, time.time(), seconds, self.run)
            stored = self.store.keep(record, taken, lasting=key.kind.code.complete)
        return Outcome(outputs, sources, record, stored, seconds, _memory() if seconds > WORTH_ASKING else None)

    def _run(self, job: Job, inputs: Mapping[str, Any], context: Context) -> Any:
        try:
            node = job.node_type.model_validate(inputs)
        except ValidationError as invalid:  # what came over a link is out of range
            raise ValueError("; ".join(message for _, _, message in refused_inputs(invalid))) from None
        self.guard(node)
        import_late(job.node_type)
        retry = job.step.node.retry
        for attempt in range(1, retry + 1):
            try:
                return node.run(context)
            except Cancelled:
                raise
            except Exception as error:
                context.log(f"failed ({explained(error)}), trying again: {attempt} of {retry}")
                context.check_cancelled()
        return node.run(context)

    def _key_with(self, variables: Mapping[str, str | None], job: Job) -> Key:
        """The job's key, made anew where the node asked for environment variables that it was not known to ask for."""
        assert job.key is not None
        if variables.keys() <= job.key.variables.keys():
            return job.key
        self.store.add_variables(job.key.kind.partial, variables)
        return self.keys.key(job.key.kind, job.step.inputs) or job.key

    @contextmanager
    def _unchanged(self, job: Job, inputs: Mapping[str, Any]) -> Iterator[None]:
        """Raises ValueError where the node changes one of its inputs, or a global random generator (`strict`)."""
        if not inputs and not self.strict:
            yield
            return
        before, generators = versions(inputs), _generators() if self.strict else None
        yield
        changed = [name for name, found in versions(inputs).items() if found != before[name]]
        if self.strict:
            changed += [
                name
                for name, value in inputs.items()
                if name not in changed and _digests(value) != _referred(job.step.inputs[name])
            ]
            if _generators() != generators:
                raise ValueError(
                    f"{job.node_type.__name__} draws from a global random generator; a node may only draw from"
                    " generators that a seed of its own started"
                )
        if changed:
            raise ValueError(
                f"{job.node_type.__name__} changes its input `{changed[0]}` in place; a node may only make new values"
            )


def _outputs(node_type: type[Node], returned: Any) -> dict[str, Any]:
    """What a node gave, by output. Raises ValueError where that is not what its type declares."""
    outputs, name = node_type.outputs(), node_type.__name__
    values = returned if isinstance(returned, tuple) and hasattr(returned, "_fields") else (returned,)
    if len(values) != len(outputs):
        raise ValueError(f"{name}.run gave {len(values)} values, it declares {len(outputs)}")
    found = {}
    for output, value in zip(outputs.values(), values, strict=True):
        try:
            found[output.name] = admitted(value, output.annotation, Path())
        except Refused as refused:
            raise ValueError(f"{name}.run gave a wrong `{output.name}`: {refused}") from None
    return found


def _compare(expected: Record, outputs: Mapping[str, Any], not_kept: str | None) -> None:
    reason = not_kept or "it is not deterministic; declare it volatile, or let it draw from seeded generators only"
    for name, value in outputs.items():
        if digest(value) != digest(expected.outputs.get(name)):
            raise Differs(f"its output `{name}` differs from what it gave before with the same inputs: {reason}")


def _digests(value: Any) -> Any:
    return tuple(map(_digests, value)) if isinstance(value, tuple) else digest(value)


def _referred(value: Any) -> Any:
    """The digests that references already have."""
    if type(value) is tuple:
        return tuple(map(_referred, value))
    return value.digest if type(value) is Ref else digest(value)


def _generators() -> list[Any]:
    """The states of the global random generators of the libraries that are loaded."""
    states: list[Any] = [random.getstate()]
    if (numpy := sys.modules.get("numpy")) is not None:
        states.append([part.tolist() if hasattr(part, "tolist") else part for part in numpy.random.get_state()])
    if (torch := sys.modules.get("torch")) is not None:
        states.append(torch.get_rng_state().tolist())
    return states


def _memory() -> int | None:
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class _States:
    """Where the nodes of one kind keep what they go on from: of each node only the newest.

    It stays when the node has finished, so that a longer training can go on from it; the store forgets it in time.
    """

    def __init__(self, store: Store, key: Key | None) -> None:
        self.store, self.key = store, key
        self.newest: str | None = None

    def save(self, prefix_key: object, state: PortType) -> None:
        if self.key is None:
            return
        name = state_key(self.key.kind, prefix_key)
        self.store.save_state(name, state)
        if self.newest not in (None, name):
            self.store.drop_state(self.newest)
        self.newest = name

    def resume(self, prefix_key: object) -> PortType | None:
        if self.key is None:
            return None
        name = state_key(self.key.kind, prefix_key)
        found = self.store.state(name)
        if found is not None:
            self.newest = name
        return found
