"""The client for asyncio."""

import re
import uuid
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self
from urllib.parse import quote

from .errors import JobCancelled, JobFailed, ServerError
from .events import Event
from .following import Position, follow, one_job, own_jobs
from .patience import Patience
from .results import AsyncOutputFile, Document, FileAt, Result, with_files
from .transport import Transport

GraphLike = str | Path | Mapping[str, Any]
"""A graph: the name under which the server knows it, its YAML text, the path of its file, or an object."""


class AsyncClient:
    """A latentgraph server. Every method may raise ServerError and Unreachable.

    A server that has answered before is waited for, `patience` seconds long, and so is one that is busy for a while.
    `notice` is told, in words, when that happens.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        patience: float = 300.0,
        notice: Callable[[str], None] | None = None,
    ) -> None:
        self.patience = Patience(patience, notice)
        self._transport = Transport(url, token, self.patience)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. Jobs go on."""
        await self._transport.close()

    # the server

    async def server(self) -> Document:
        """The server's version, epoch and limits, and who one is there."""
        return await self._get("/v1/server")

    async def graphs(self) -> list[Document]:
        """The graphs that the server knows by name."""
        found: list[Document] = (await self._get("/v1/graphs"))["graphs"]
        return found

    async def graph(self, name: str) -> Document:
        """One graph that the server knows, with its `text`."""
        return await self._get(f"/v1/graphs/{quote(name)}")

    async def node_types(self) -> list[Document]:
        """The server's node types, with their inputs, outputs and documentation."""
        found: list[Document] = (await self._get("/v1/node-types"))["node_types"]
        return found

    async def check(
        self, graph: GraphLike, params: Mapping[str, Any] | None = None, *, name: str | None = None
    ) -> Document:
        """Whether a graph is `ok`, everything that is wrong with it in `diagnostics`, and what it takes and gives."""
        found: Document = await self._transport.request("POST", "/v1/check", body=_graph(graph, params, name))
        return found

    async def upload(self, content: str | Path | bytes, name: str | None = None) -> str:
        """Send a file, given by its path or as bytes; gives what stands for it in params. Raises OSError, too."""

        def opened() -> IO[bytes]:
            import io

            return io.BytesIO(content) if isinstance(content, bytes) else open(content, "rb")

        name = name or ("file" if isinstance(content, bytes) else Path(content).name)
        told = await self._transport.request("POST", "/v1/uploads", query={"name": name}, content=opened)
        return str(told["upload"])

    # jobs

    async def submit(
        self,
        graph: GraphLike,
        params: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        key: str | None = None,
        priority: int | None = None,
        targets: Collection[str] = (),
        webhook: str | None = None,
    ) -> "AsyncJob":
        """Give the server a job. Raises GraphRefused where the graph or a param is wrong.

        `key` makes it the same job however often it is submitted; by default every call makes one of its own.
        """
        body = {**_graph(graph, params, name), "key": key or uuid.uuid4().hex}
        options = {"priority": priority, "targets": list(targets) or None, "webhook": webhook}
        body |= {option: value for option, value in options.items() if value is not None}
        told = await self._transport.request("POST", "/v1/jobs", body=body)
        return AsyncJob(told["job"], bool(told.get("existing")), self)

    async def run(
        self,
        graph: GraphLike,
        params: Mapping[str, Any] | None = None,
        *,
        on_event: Callable[[Event], object] | None = None,
        name: str | None = None,
        key: str | None = None,
        priority: int | None = None,
        targets: Collection[str] = (),
    ) -> Result:
        """Submit a job and wait for what comes of it. Raises GraphRefused, JobFailed and JobCancelled."""
        job = await self.submit(graph, params, name=name, key=key, priority=priority, targets=targets)
        return await job.result(on_event)

    async def jobs(
        self, state: str | Collection[str] = (), *, limit: int = 50, before: str | None = None
    ) -> list[Document]:
        """The own jobs, newest first; those in one of some states, those before another one."""
        query: dict[str, Any] = {"limit": str(limit)}
        if state:
            query["state"] = [state] if isinstance(state, str) else list(state)
        if before is not None:
            query["before"] = before
        found: list[Document] = (await self._get("/v1/jobs", query))["jobs"]
        return found

    async def job(self, job: str) -> Document:
        """What the server knows of a job."""
        return await self._get(_path(job))

    async def cancel(self, job: str) -> str:
        """Ask for a job to end. Gives the state: `cancelling`, or what it ended as already."""
        return str((await self._transport.request("POST", f"{_path(job)}/cancel"))["state"])

    async def retry(self, job: str) -> "AsyncJob":
        """A new job with the same graph and params."""
        # There is no key for it: sent twice, it would make two jobs.
        told = await self._transport.request("POST", f"{_path(job)}/retry", again=False)
        return AsyncJob(told["job"], bool(told.get("existing")), self)

    async def delete(self, job: str) -> None:
        """Let the server forget a job that is over."""
        await self._transport.request("DELETE", _path(job))

    def follow(
        self, job: str, after: int = 0, *, epoch: str | None = None, previews: bool = False
    ) -> AsyncGenerator[Event, None]:
        """The events of a job after the one numbered `after`, each once and in order, until the job is over.

        `epoch` is the server's when `after` was read; where it is another one by now, a Snapshot comes first.
        """
        return follow(self._transport, one_job(job, previews), Position(after, epoch))

    def feed(self, after: int = 0, *, epoch: str | None = None, previews: bool = False) -> AsyncGenerator[Event, None]:
        """The events of all own jobs after a cursor, those that are yet to come, too. It has no end."""
        return follow(self._transport, own_jobs(previews), Position(after, epoch))

    async def result(self, job: str, on_event: Callable[[Event], object] | None = None) -> Result:
        """Wait until a job is over, and give what came of it. Raises JobFailed and JobCancelled."""
        async with aclosing(self.follow(job)) as events:
            async for event in events:
                if on_event is not None:
                    on_event(event)
        return await self.outcome(job)

    async def outcome(self, job: str) -> Result:
        """What came of a job that is over. Raises JobFailed and JobCancelled."""
        document = await self.job(job)
        outputs = {name: self.outputs(value) for name, value in document.get("outputs", {}).items()}
        result, state = Result(job, outputs, document), document["state"]
        if state == "done":
            return result
        if state == "cancelled":
            raise JobCancelled(f"the job {job} was cancelled", result)
        if state == "failed":
            raise JobFailed(f"the job {job} failed: {document.get('error') or 'the server does not say why'}", result)
        raise ServerError("not-final", f"the job {job} is {state}")

    def outputs(self, value: Any) -> Any:
        """The value of an output as events and documents have it, with files that can be read."""

        def file(at: FileAt) -> AsyncOutputFile:
            return AsyncOutputFile(**vars(at), transport=self._transport)

        return with_files(value, file)

    async def _get(self, path: str, query: Mapping[str, Any] | None = None) -> Document:
        found: Document = await self._transport.request("GET", path, query=query)
        return found


@dataclass(frozen=True)
class AsyncJob:
    """A job at a server."""

    id: str
    existing: bool
    """Whether the server had it already, by its key."""
    client: AsyncClient = field(repr=False, compare=False)

    async def document(self) -> Document:
        return await self.client.job(self.id)

    def follow(
        self, after: int = 0, *, epoch: str | None = None, previews: bool = False
    ) -> AsyncGenerator[Event, None]:
        return self.client.follow(self.id, after, epoch=epoch, previews=previews)

    async def result(self, on_event: Callable[[Event], object] | None = None) -> Result:
        return await self.client.result(self.id, on_event)

    async def cancel(self) -> str:
        return await self.client.cancel(self.id)

    async def retry(self) -> "AsyncJob":
        return await self.client.retry(self.id)

    async def delete(self) -> None:
        await self.client.delete(self.id)


def _path(job: str) -> str:
    return f"/v1/jobs/{quote(job, safe='')}"


def name_for(name: str) -> str:
    """A graph's name as servers take it: letters, digits, `_` and `-`."""
    return re.sub(r"[^A-Za-z0-9_-]|^-", "_", name)[:64] or "graph"


def _graph(graph: GraphLike, params: Mapping[str, Any] | None, name: str | None) -> dict[str, Any]:
    """A graph with its params, as requests have them; a graph's file by its text and its own name."""
    body: dict[str, Any] = {"graph": graph, "params": dict(params or {})}
    if isinstance(graph, Path):
        body["graph"], name = graph.read_text("utf-8-sig"), name or name_for(graph.stem)
    if name is not None:
        body["name"] = name
    return body
