"""What clients send and are answered, as pydantic models: they check requests, and the OpenAPI and AsyncAPI documents
are made from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

State = Literal["queued", "running", "done", "failed", "cancelled"]
JobId = Annotated[str, Field(pattern=r"^j[0-9a-f]{22}$", examples=["j0612f5b7e2a3c4d5e6f708"])]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Seq = Annotated[int, Field(ge=0, le=2**53)]


class Request(BaseModel):
    """What a client sends: nothing is coerced, nothing unknown is ignored."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Submission(Request):
    """A graph to be run."""

    graph: str | dict[str, JsonValue] = Field(
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
    targets: list[str] = Field([], max_length=1000, description="nodes to run instead of what the outputs need")
    webhook: str | None = Field(
        None, max_length=2000, description="a URL that is told when the job is over; see `--webhook`"
    )


class Check(Request):
    """A graph to be looked at, without running it."""

    graph: str | dict[str, JsonValue] = Field(examples=["txt2img"])
    params: dict[str, JsonValue] | None = Field(
        None, description="where they are not given, params without a default may stay open"
    )
    name: str | None = Field(None, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$")


class Pause(Request):
    """Whether the queue stands still."""

    paused: bool


class Error(BaseModel):
    """Why something was not done."""

    code: str
    message: str
    temporary: bool = Field(description="whether it makes sense to try again")
    diagnostics: list[dict[str, JsonValue]] | None = None


class Failed(BaseModel):
    error: Error


class Submitted(BaseModel):
    job: JobId
    state: State
    existing: bool = Field(description="whether the key's job was there already")


class OutputFile(BaseModel):
    """A file of an output; outputs of several files are lists of them, plain values are as they are."""

    file: str
    url: str
    digest: Digest
    media: str
    size: int


class Job(BaseModel):
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
    outputs: dict[str, JsonValue]
    counts: dict[str, int] | None = None
    error: str | None = None


class JobList(BaseModel):
    jobs: list[Job]
    more: bool


class JobGraph(BaseModel):
    graph: str = Field(description="YAML text")
    name: str
    params: dict[str, JsonValue]
    boxes: list[dict[str, JsonValue]]
    links: list[dict[str, JsonValue]]


class Cancelled(BaseModel):
    job: JobId
    state: Literal["cancelling", "done", "failed", "cancelled"]


class Event(BaseModel):
    """An event of a job's log: `queued`, `run_started`, `node_started`, `node_finished`, `log`, `output`,
    `interrupted`, and, exactly once and last, `run_finished`."""

    model_config = ConfigDict(extra="allow")

    job: JobId
    seq: int = Field(description="from 1, without gaps")
    cursor: int
    time: float
    event: str


class Events(BaseModel):
    events: list[Event]
    last: int
    end: bool
    epoch: str


class Upload(BaseModel):
    upload: str = Field(description="what stands for the file in params and graphs", examples=["upload:…"])
    digest: Digest
    name: str
    media: str
    size: int
    url: str


class Checked(BaseModel):
    ok: bool
    diagnostics: list[dict[str, JsonValue]]
    name: str
    description: str
    params: list[dict[str, JsonValue]]
    outputs: dict[str, str]
    boxes: list[dict[str, JsonValue]]
    links: list[dict[str, JsonValue]]


class GraphAbout(BaseModel):
    name: str
    description: str
    own: bool
    params: list[dict[str, JsonValue]]
    outputs: list[str]
    text: str | None = None


class GraphList(BaseModel):
    graphs: list[GraphAbout]


class NodeTypes(BaseModel):
    node_types: list[dict[str, JsonValue]]


class ServerAbout(BaseModel):
    server: str
    epoch: str
    owner: str
    scopes: list[str]
    limits: dict[str, int]


class WorkerAbout(BaseModel):
    worker: int
    state: Literal["starting", "idle", "busy"]
    since: float
    job: JobId | None = None


class Queue(BaseModel):
    queued: int
    running: int
    paused: bool
    workers: list[WorkerAbout]


class Ready(BaseModel):
    ready: bool
    workers: list[WorkerAbout]


class Health(BaseModel):
    status: Literal["ok"]


# On the websocket.


class Hello(Request):
    do: Literal["hello"]
    token: str | None = Field(None, description="where no header had it")


class Submit(Submission):
    do: Literal["submit"]
    follow: bool = Field(False, description="subscribe to the job, too")


class Subscribe(Request):
    do: Literal["subscribe"]
    job: JobId | None = None
    feed: Literal["mine"] | None = Field(None, description="all jobs of the token instead of one")
    after: Seq = Field(0, description="the last seq, or for a feed cursor, that is known; 0 is everything")
    epoch: str | None = Field(None, description="of which log that is; with another one the answer is `gone`")
    previews: bool = True


class Unsubscribe(Request):
    do: Literal["unsubscribe"]
    sub: Seq


class ListJobs(Request):
    do: Literal["jobs"]
    state: list[State] = []
    limit: int = Field(50, ge=1, le=500)
    before: JobId | None = None


class OneJob(Request):
    do: Literal["job"]
    job: JobId


class Cancel(Request):
    do: Literal["cancel"]
    job: JobId


class Retry(Request):
    do: Literal["retry"]
    job: JobId


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

Answer = dict[str, Any]
