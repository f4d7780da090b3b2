"""What clients send and are answered, as pydantic models: they check requests, and the OpenAPI and AsyncAPI documents
are made from them. In answers, a field whose default is None is left out where there is nothing to say."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from .described import Box, Diagnostic, Link, NodeType, Param
from .events import Digest, Event, JobId, Seq, Value

Graph = Annotated[str, Field(pattern=r"\S")] | dict[str, JsonValue]
State = Literal["queued", "running", "done", "failed", "cancelled"]


class Request(BaseModel):
    """What a client sends: nothing is coerced, nothing unknown is ignored."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Submission(Request):
    """A graph to be run."""

    graph: Graph = Field(
        description="the name of a graph that the server knows, YAML text, or the graph as an object",
        examples=["txt2img"],
    )
    params: dict[str, JsonValue] = Field({}, description="values of the graph's params", examples=[{"steps": 5}])
    name: str | None = Field(
        None, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$", description="what files are called after"
    )
    key: str | None = Field(
        None, min_length=1, max_length=200, description="the same key gives the same job: for sending again safely"
    )
    priority: int = Field(0, ge=-10, le=10, description="higher ones first; above 0 needs the scope `admin`")
    targets: list[Annotated[str, Field(max_length=200)]] = Field(
        [], max_length=10_000, description="nodes to run instead of what the outputs need"
    )
    webhook: str | None = Field(
        None, max_length=2000, description="a URL that is told when the job is over; see `--webhook`"
    )


class Check(Request):
    """A graph to be looked at, without running it."""

    graph: Graph = Field(examples=["txt2img"])
    params: dict[str, JsonValue] | None = Field(
        None, description="where they are not given, params without a default may stay open"
    )
    name: str | None = Field(None, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$")


class Pause(Request):
    """Whether the queue stands still."""

    paused: bool


class Error(BaseModel):
    """Why something was not done."""

    code: str = Field(description="stable, such as `not-found`")
    message: str = Field(description="for people")
    temporary: bool = Field(description="whether it makes sense to try again")
    diagnostics: list[Diagnostic] | None = Field(None, description="all that is wrong with a graph")
    epoch: str | None = Field(None, description="with `gone`: which log there is now")
    first: int | None = Field(None, description="with `gone`: the first position that is kept")
    snapshot: Job | JobList | None = Field(None, description="with `gone`: how things are now")


class Failed(BaseModel):
    """What was asked for was not done."""

    error: Error


class Submitted(BaseModel):
    """A job that was submitted."""

    job: JobId
    state: State
    existing: bool = Field(description="whether the key's job was there already")


class Job(BaseModel):
    """A job."""

    job: JobId
    owner: str
    graph: str
    state: State
    cancelling: bool
    priority: int
    created: float = Field(description="seconds since 1970")
    started: float | None = None
    finished: float | None = None
    attempts: int
    position: int | None = Field(None, description="how many queued jobs come before it")
    params: dict[str, JsonValue]
    last: int = Field(description="the seq of its newest event")
    outputs: dict[str, Value]
    counts: dict[str, int] | None = None
    error: str | None = None


class JobList(BaseModel):
    """Jobs, newest first."""

    jobs: list[Job]
    more: bool


class JobGraph(BaseModel):
    """What a job ran."""

    graph: str = Field(description="YAML text")
    name: str
    params: dict[str, JsonValue]
    boxes: list[Box]
    links: list[Link]


class Cancelled(BaseModel):
    """Whether the job is over, or about to be."""

    job: JobId
    state: Literal["cancelling", "done", "failed", "cancelled"]


class Events(BaseModel):
    """Events of one job, in order."""

    events: list[Event]
    last: int
    end: bool
    epoch: str


class Upload(BaseModel):
    """A file that was uploaded."""

    upload: str = Field(description="what stands for the file in params and graphs", examples=["upload:…"])
    digest: Digest
    name: str
    media: str
    size: int
    url: str


class Checked(BaseModel):
    """What can be said about a graph without running it."""

    ok: bool
    diagnostics: list[Diagnostic]
    name: str
    description: str
    params: list[Param]
    outputs: dict[str, str] = Field(description="the port type of each")
    boxes: list[Box]
    links: list[Link]


class GraphAbout(BaseModel):
    """A graph that has a name."""

    name: str
    description: str
    own: bool
    params: list[Param]
    outputs: list[str]
    text: str | None = None


class GraphList(BaseModel):
    """The graphs that have names."""

    graphs: list[GraphAbout]


class NodeTypes(BaseModel):
    """All node types."""

    node_types: list[NodeType]


class ServerAbout(BaseModel):
    """What server this is, and what the token may do."""

    server: str
    epoch: str
    owner: str
    scopes: list[str]
    limits: dict[str, int]


class WorkerAbout(BaseModel):
    """A process that runs graphs."""

    worker: int
    state: Literal["starting", "idle", "busy"]
    since: float
    job: JobId | None = None


class Queue(BaseModel):
    """What waits and runs."""

    queued: int
    running: int
    paused: bool
    workers: list[WorkerAbout]


class Ready(BaseModel):
    """Whether graphs can be run."""

    ready: bool
    workers: list[WorkerAbout]


class Health(BaseModel):
    """The server answers."""

    status: Literal["ok"]


# On the websocket.


class Hello(Request):
    """Say who you are. Has to be the first frame where a token is needed and no header had it."""

    do: Literal["hello"]
    token: str | None = Field(None, description="where no header had it")


class Submit(Submission):
    """Submit a graph to be run."""

    do: Literal["submit"]
    follow: bool = Field(False, description="subscribe to the job, too")


class Subscribe(Request):
    """Follow a job, or all jobs of the token, from a position in the log on."""

    do: Literal["subscribe"]
    job: JobId | None = None
    feed: Literal["mine"] | None = Field(None, description="all jobs of the token instead of one")
    after: Seq = Field(0, description="the last seq, or for a feed cursor, that is known; 0 is everything")
    epoch: str | None = Field(None, description="of which log that is; with another one the answer is `gone`")
    previews: bool = True


class Unsubscribe(Request):
    """End a subscription."""

    do: Literal["unsubscribe"]
    sub: Seq


class ListJobs(Request):
    """List jobs, newest first."""

    do: Literal["jobs"]
    state: list[State] = []
    limit: int = Field(50, ge=1, le=500)
    before: JobId | None = None


class OneJob(Request):
    """Ask for one job."""

    do: Literal["job"]
    job: JobId


class Cancel(Request):
    """Cancel a job. Its outcome is its last event."""

    do: Literal["cancel"]
    job: JobId


class Retry(Request):
    """Submit the same graph and params once more."""

    do: Literal["retry"]
    job: JobId


class SubmittedHere(Submitted):
    """A job that was submitted, and is followed where that was asked for."""

    sub: Seq | None = Field(None, description="the subscription, with `follow`")


class Following(BaseModel):
    """A subscription; what it sends comes after this."""

    sub: Seq = Field(description="the id of the request")
    head: int = Field(description="the newest seq, or for a feed cursor, that there was")


class Unfollowed(BaseModel):
    """A subscription that has ended."""

    sub: Seq


REQUESTS: dict[str, type[Request]] = {
    "hello": Hello,
    "submit": Submit,
    "subscribe": Subscribe,
    "unsubscribe": Unsubscribe,
    "jobs": ListJobs,
    "job": OneJob,
    "cancel": Cancel,
    "retry": Retry,
}
"""What can be asked for on the websocket, by `do`."""

REPLIES: dict[str, type[BaseModel]] = {
    "hello": ServerAbout,
    "submit": SubmittedHere,
    "subscribe": Following,
    "unsubscribe": Unfollowed,
    "jobs": JobList,
    "job": Job,
    "cancel": Cancelled,
    "retry": SubmittedHere,
}
"""What is in the `ok` of the reply, by what was asked for."""
