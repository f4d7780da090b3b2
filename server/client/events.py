"""What a server tells about jobs, as typed events."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to a job.

    `seq` numbers the events of a job from 1 without a gap, `cursor` those of all jobs, with gaps. Progress, previews
    and snapshots are not kept at the server, and have neither.
    """

    job: str
    seq: int = 0
    cursor: int = 0
    time: float = 0.0
    told: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The event as the server told it, with everything that has no field here."""


@dataclass(frozen=True, kw_only=True)
class Queued(Event):
    """The job was accepted, and waits for its turn."""

    graph: str


@dataclass(frozen=True, kw_only=True)
class RunStarted(Event):
    """A run of the job's graph began: the nodes that are considered, and the params that were drawn."""

    graph: str
    run: str = ""
    nodes: tuple[str, ...] = ()
    random: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class NodeStarted(Event):
    """A node began to compute."""

    node: str
    type: str


@dataclass(frozen=True, kw_only=True)
class NodeFinished(Event):
    """What became of a node: its status is `computed`, `reused`, `failed` or `skipped`."""

    node: str
    status: str
    seconds: float | None = None
    bytes: int | None = None
    error: str | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Progress(Event):
    """How far a node is. Only the newest is told, so some may be missing."""

    node: str
    step: int
    steps: int
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class Preview(Event):
    """What a node's result looks like by now. Only the newest is told."""

    node: str
    media: str
    image: bytes = field(repr=False)
    step: int = 0
    index: int = 0
    width: int = 0
    height: int = 0


@dataclass(frozen=True, kw_only=True)
class Log(Event):
    """Something that a node, or the run, has to say."""

    message: str
    node: str | None = None


@dataclass(frozen=True, kw_only=True)
class Output(Event):
    """An output is there: a plain value, or an object that describes a file; `client.outputs` makes files of these."""

    name: str
    value: Any


@dataclass(frozen=True, kw_only=True)
class Interrupted(Event):
    """The run died with its worker or its server. The job starts again, and reuses what was finished."""

    reason: str = ""
    attempt: int = 0


@dataclass(frozen=True, kw_only=True)
class RunFinished(Event):
    """The job is over: `done`, `failed` or `cancelled`. The last event of every job."""

    status: str
    computed: tuple[str, ...] = ()
    reused: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    outputs: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Snapshot(Event):
    """Events before this one are gone from the server; `document` says where the job, or the feed, stands instead."""

    document: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Unknown(Event):
    """An event that this client does not know; `told` has everything."""

    event: str


KINDS: dict[str, type[Event]] = {
    "queued": Queued,
    "run_started": RunStarted,
    "node_started": NodeStarted,
    "node_finished": NodeFinished,
    "progress": Progress,
    "preview": Preview,
    "log": Log,
    "output": Output,
    "interrupted": Interrupted,
    "run_finished": RunFinished,
}

_FIELDS = {kind: [entry.name for entry in dataclasses.fields(kind)] for kind in (*KINDS.values(), Unknown)}
_LISTS = {"nodes", "computed", "reused", "failed", "skipped"}


def event(told: Mapping[str, Any]) -> Event:
    """The typed event for what the server told; Unknown where its kind is, or where something of it is missing."""
    kind = KINDS.get(told["event"], Unknown)
    try:
        return _made(kind, told)
    except TypeError:
        return _made(Unknown, told)


def _made(kind: type[Event], told: Mapping[str, Any]) -> Event:
    values: dict[str, Any] = {
        name: tuple(told[name]) if name in _LISTS and isinstance(told[name], list) else told[name]
        for name in _FIELDS[kind]
        if name in told
    }
    return kind(**values | {"told": told})
