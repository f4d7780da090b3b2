"""The client for programs without asyncio: the same methods, each of which waits.

Nothing is done twice: the methods of the asyncio classes run in an event loop in a thread of its own, and `waited` and
`iterated` turn each into one that waits for it. A client may be used from several threads.
"""

import asyncio
import functools
import threading
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Iterator, Mapping
from dataclasses import replace
from types import AsyncGeneratorType, TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from .client import AsyncClient, AsyncJob, GraphLike
from .errors import NotDone
from .events import Event
from .results import AsyncOutputFile, Result

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")
S = TypeVar("S")


class Loop:
    """An event loop that runs in a thread of its own until it is closed."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._lock, self.closed = threading.Lock(), False
        self._thread = threading.Thread(target=self._loop.run_forever, name="latentgraph client", daemon=True)
        self._thread.start()

    def wait(self, coroutine: Coroutine[Any, Any, R]) -> R:
        """What a coroutine gives. Ctrl-C while waiting cancels it. Raises RuntimeError where the loop is closed."""
        with self._lock:  # a loop that is about to end would take it and never run it
            if self.closed:
                coroutine.close()
                raise RuntimeError("the client is closed")
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do a last thing, cancel what other threads wait for, and end the thread."""
        with self._lock:
            if self.closed:
                return
            self.closed = True
        asyncio.run_coroutine_threadsafe(_ended(last), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _ended(last: Callable[[], Coroutine[Any, Any, None]]) -> None:
    await last()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class Waiting(Generic[T]):
    """Something whose methods wait for those of the asyncio object behind it."""

    def __init__(self, inner: T, loop: Loop) -> None:
        self._inner, self._loop = inner, loop


@overload
def waited(
    method: Callable[Concatenate[T, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[Waiting[T], P], R]: ...
@overload
def waited(
    method: Callable[Concatenate[T, P], Coroutine[Any, Any, R]], form: Callable[[R, Loop], S]
) -> Callable[Concatenate[Waiting[T], P], S]: ...
def waited(method: Any, form: Any = None) -> Any:
    """The method of an asyncio class as one that waits; `form` makes what it gives into something that waits, too."""

    @functools.wraps(method)
    def wait(self: Waiting[Any], *args: Any, **options: Any) -> Any:
        found = self._loop.wait(method(self._inner, *args, **options))
        return found if form is None else form(found, self._loop)

    return wait


def iterated(
    method: Callable[Concatenate[T, P], AsyncGenerator[R, None]],
) -> Callable[Concatenate[Waiting[T], P], Iterator[R]]:
    """The method of an asyncio class that gives one thing after the other, as one whose iterator waits for each."""

    @functools.wraps(method)
    def iterate(self: Waiting[T], /, *args: P.args, **options: P.kwargs) -> Iterator[R]:
        found, end = method(self._inner, *args, **options), object()

        async def following() -> Any:
            return await anext(found, end)

        async def close() -> None:
            while (
                isinstance(found, AsyncGeneratorType) and found.ag_running
            ):  # the step that was interrupted has to end first
                await asyncio.sleep(0)
            await found.aclose()

        try:
            while (step := self._loop.wait(following())) is not end:
                yield step
        finally:
            if not self._loop.closed:
                self._loop.wait(close())

    return iterate


class OutputFile(Waiting[AsyncOutputFile]):
    """A file that a job has made."""

    def __init__(self, inner: AsyncOutputFile, loop: Loop) -> None:
        super().__init__(inner, loop)
        self.name, self.url, self.media, self.size = inner.name, inner.url, inner.media, inner.size
        self.digest = inner.digest

    def __repr__(self) -> str:
        return f"OutputFile({self.name!r}, {self.media!r}, size={self.size})"

    read = waited(AsyncOutputFile.read)
    save = waited(AsyncOutputFile.save)


def _files(value: Any, loop: Loop) -> Any:
    if isinstance(value, list):
        return [_files(item, loop) for item in value]
    return OutputFile(value, loop) if isinstance(value, AsyncOutputFile) else value


def _result(result: Result, loop: Loop) -> Result:
    return replace(result, outputs={name: _files(value, loop) for name, value in result.outputs.items()})


class Job(Waiting[AsyncJob]):
    """A job at a server."""

    def __init__(self, inner: AsyncJob, loop: Loop) -> None:
        super().__init__(inner, loop)
        self.id, self.existing = inner.id, inner.existing

    def __repr__(self) -> str:
        return f"Job({self.id!r})"

    document = waited(AsyncJob.document)
    follow = iterated(AsyncJob.follow)
    cancel = waited(AsyncJob.cancel)
    retry = waited(AsyncJob.retry, lambda job, loop: Job(job, loop))
    delete = waited(AsyncJob.delete)

    def result(self, on_event: Callable[[Event], object] | None = None) -> Result:
        """Wait until the job is over, and give what came of it. Raises JobFailed and JobCancelled.

        `on_event` is called in this thread, so that it may use the client.
        """
        for event in self.follow():
            if on_event is not None:
                on_event(event)
        try:
            return _result(self._loop.wait(self._inner.client.outcome(self.id)), self._loop)
        except NotDone as error:
            raise error.of(_result(error.result, self._loop)) from None


class Client(Waiting[AsyncClient]):
    """A latentgraph server, for programs without asyncio: the methods of AsyncClient, each of which waits."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        patience: float = 300.0,
        notice: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(AsyncClient(url, token, patience=patience, notice=notice), Loop())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. Jobs go on."""
        self._loop.close(self._inner.close)

    server = waited(AsyncClient.server)
    graphs = waited(AsyncClient.graphs)
    graph = waited(AsyncClient.graph)
    node_types = waited(AsyncClient.node_types)
    check = waited(AsyncClient.check)
    upload = waited(AsyncClient.upload)
    submit = waited(AsyncClient.submit, Job)
    jobs = waited(AsyncClient.jobs)
    job = waited(AsyncClient.job)
    cancel = waited(AsyncClient.cancel)
    retry = waited(AsyncClient.retry, Job)
    delete = waited(AsyncClient.delete)
    follow = iterated(AsyncClient.follow)
    feed = iterated(AsyncClient.feed)

    def run(
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
        """Submit a job and wait for what comes of it. Raises GraphRefused, JobFailed and JobCancelled.

        `on_event` is called in this thread, so that it may use the client.
        """
        return self.submit(graph, params, name=name, key=key, priority=priority, targets=targets).result(on_event)

    def result(self, job: str, on_event: Callable[[Event], object] | None = None) -> Result:
        """Wait until a job is over, and give what came of it. Raises JobFailed and JobCancelled."""
        return Job(AsyncJob(job, True, self._inner), self._loop).result(on_event)

    def outputs(self, value: Any) -> Any:
        """The value of an output as events and documents have it, with files that can be read."""
        return _files(self._inner.outputs(value), self._loop)
