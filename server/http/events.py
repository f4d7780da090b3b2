"""The events of a job's log, and everything else that a websocket sends, as models: the OpenAPI and AsyncAPI documents
are made from them, and tests hold what is really sent to them.

A field whose default is None is left out where there is nothing to say.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, JsonValue

Seq = Annotated[int, Field(ge=0, le=2**53)]
JobId = Annotated[str, Field(pattern=r"^j[0-9a-f]{22}$", examples=["j0612f5b7e2a3c4d5e6f708"])]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256")]


class OutputFile(BaseModel):
    """A file of an output."""

    file: str = Field(description="its name; the files of a folder have slashes in it")
    url: str = Field(description="where HTTP serves it, with ranges and an ETag")
    digest: Digest
    media: str
    size: int


Value = OutputFile | list[OutputFile] | JsonValue
"""An output: a file, or files, or a plain value as it is."""


class Logged(BaseModel):
    """An event of a job's log."""

    job: JobId
    seq: int = Field(ge=1, description="counts the events of the job from 1, without gaps")
    cursor: int = Field(ge=1, description="grows from event to event, over all jobs")
    time: float = Field(description="seconds since 1970")


class Queued(Logged):
    """The job was accepted. Always the first event."""

    event: Literal["queued"]
    graph: str


class RunStarted(Logged):
    """A worker began to run the graph."""

    event: Literal["run_started"]
    run: str
    graph: str
    nodes: list[str] = Field(description="the nodes that are needed")
    random: dict[str, int] | None = Field(None, description="the params that were drawn")


class NodeStarted(Logged):
    """A node began to compute."""

    event: Literal["node_started"]
    node: str = Field(description="its address, such as `sampled` or `drawn/3/sampled`")
    type: str


class NodeFinished(Logged):
    """What became of a node."""

    event: Literal["node_finished"]
    node: str
    status: Literal["computed", "reused", "failed", "skipped"]
    seconds: float | None = None
    bytes: int | None = Field(None, description="how many of its result were stored")
    memory: int | None = Field(None, description="the most bytes that it took on its device")
    error: str | None = Field(None, description="why it failed")
    inputs: dict[str, str] | None = Field(None, description="of a failed node, in a few words each")
    traceback: list[str] | None = None
    reason: str | None = Field(None, description="why it was skipped")


class LogMessage(Logged):
    """Something that people who watch the run should know."""

    event: Literal["log"]
    message: str
    node: str | None = None


class OutputReady(Logged):
    """An output is there."""

    event: Literal["output"]
    name: str
    value: Value


class Interrupted(Logged):
    """The worker or the server ended under the job; it is queued again, and a new `run_started` follows."""

    event: Literal["interrupted"]
    reason: str
    attempt: int


class RunFinished(Logged):
    """The job is over. Always the last event, and exactly one."""

    event: Literal["run_finished"]
    status: Literal["done", "failed", "cancelled"]
    computed: list[str]
    reused: list[str]
    failed: list[str]
    skipped: list[str]
    outputs: dict[str, Value]
    error: str | None = None


Event = Annotated[
    Queued | RunStarted | NodeStarted | NodeFinished | LogMessage | OutputReady | Interrupted | RunFinished,
    Field(discriminator="event"),
]

EVENTS: dict[str, type[Logged]] = {
    "queued": Queued,
    "run_started": RunStarted,
    "node_started": NodeStarted,
    "node_finished": NodeFinished,
    "log": LogMessage,
    "output": OutputReady,
    "interrupted": Interrupted,
    "run_finished": RunFinished,
}
"""The events by what their `event` says."""


# What a subscription on the websocket sends besides events.


class Subscribed(BaseModel):
    """Belongs to a subscription."""

    sub: Seq = Field(description="the id of the request that subscribed")


class Step(BaseModel):
    """How far a node is."""

    node: str
    step: float
    steps: float
    message: str | None = None


class Progress(Subscribed):
    """The newest progress of a node. Not in the log, and not replayed: the latest of each is sent on subscribing."""

    progress: Step
    after: int = Field(description="the seq of the event before it")


class CaughtUp(Subscribed):
    """Everything that was in the log is sent; from here on events come as they happen."""

    caught_up: int = Field(description="the seq, or for a feed the cursor, up to which")


class Bookmark(Subscribed):
    """A feed's position, when nothing was for you for a while."""

    bookmark: int = Field(description="the cursor to come back with")


class End(Subscribed):
    """`run_finished` was sent; nothing more comes of this subscription."""

    end: Literal[True]


class PreviewHead(Subscribed):
    """What a preview's picture is of."""

    type: Literal["preview"]
    job: JobId
    node: str
    step: float
    index: int
    media: str
    width: int
    height: int


TOLD: dict[str, type[BaseModel]] = {"progress": Progress, "caught_up": CaughtUp, "bookmark": Bookmark, "end": End}
"""What is no event, by the field that tells it."""
