"""A worker process: runs one graph after the other for its server, and keeps models loaded between them.

It ends with its server: as soon as the socket between them closes.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from latentgraph.engine.events import Event
from latentgraph.engine.execute import execute
from latentgraph.engine.failures import explained
from latentgraph.engine.outputs import about, files_of
from latentgraph.engine.ports import File
from latentgraph.engine.reading import Given, Written, checked
from latentgraph.engine.registry import Registry
from latentgraph.engine.rendering import Rendered
from latentgraph.engine.runs import Run
from latentgraph.engine.store import Store, default_folder, open_store

from ..checks.paths import clean
from ..checks.policy import Policy
from ..queue.blobs import Blobs
from .frames import HEADER, packed, packed_preview

LOG = logging.getLogger(__name__)

TOGETHER = 0.005
"""Seconds that events may wait for others, so that a thousand quick nodes are not two thousand messages."""

PREVIEWS_EVERY = 0.25
"""Seconds between two previews of a node."""

PREVIEW_SIDE = 512


class Outbox:
    """What goes to the server: events in order, the newest progress of each node, previews. For several threads."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._waiting: list[Event] = []
        self._progress: dict[str, Event] = {}
        self._job = ""
        self._sent = 0.0
        self._more = threading.Event()
        threading.Thread(target=self._follow, name="outbox", daemon=True).start()

    def begin(self, job: str) -> None:
        self._job = job

    def event(self, event: Event) -> None:
        with self._lock:
            if event["event"] == "progress":
                self._progress[event["node"]] = clean({name: event[name] for name in event if name != "event"})
            else:
                self._waiting.append(clean(event))
            if time.monotonic() - self._sent > TOGETHER:
                self._flush()
                return
        self._more.set()

    def preview(self, node: str, image: Any, step: Mapping[str, Any]) -> None:
        from PIL import Image

        pixels, buffer = _pixels(image), io.BytesIO()
        picture = Image.fromarray(pixels)
        picture.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
        picture.save(buffer, "png")
        head = {"job": self._job, "node": node, "step": step.get("step", 0), "index": 0, "media": "image/png"}
        head |= {"width": picture.width, "height": picture.height}
        with self._lock:
            self._connection.sendall(packed_preview(head, buffer.getvalue()))

    def message(self, message: Any) -> None:
        """Send a message, after all events."""
        with self._lock:
            self._flush()
            self._connection.sendall(packed(message))

    def _flush(self) -> None:
        if self._waiting or self._progress:
            message = {"job": self._job, "events": self._waiting, "progress": self._progress}
            self._waiting, self._progress = [], {}
            self._connection.sendall(packed(message))
            self._sent = time.monotonic()

    def _follow(self) -> None:
        """Sends what `event` left waiting."""
        while True:
            self._more.wait()
            self._more.clear()
            time.sleep(TOGETHER)
            with self._lock, contextlib.suppress(OSError):  # when the server has gone, so has the process, in a moment
                self._flush()


class Worker:
    """Takes jobs from the server, one at a time."""

    def __init__(self, connection: socket.socket, settings: Mapping[str, Any]) -> None:
        self.policy = Policy.from_json(settings["policy"])
        self.registry: Registry = self.policy.enforce()
        self.blobs = Blobs(Path(settings["blobs"]), power=settings["durability"] == "power")
        self.outbox = Outbox(connection)
        store = Path(settings["store"]) if settings["store"] else default_folder()
        self.store: Store = open_store(store, durability=settings["durability"], notice=self._notice)
        self.job, self.cancelled = "", threading.Event()
        self._cancelling: set[str] = set()
        self._progress: dict[str, Event] = {}
        self._shown: dict[str, float] = {}

    def cancel(self, job: str) -> None:
        """Cancel a job that runs, or has been sent and is about to."""
        self._cancelling.add(job)
        if job == self.job:
            self.cancelled.set()

    def work(self, job: Mapping[str, Any]) -> None:
        """Run a job and tell the server what came of it; never raises for what happens in the graph."""
        self.cancelled.clear()
        self.job, self._shown, self._progress = job["job"], {}, {}
        if self.job in self._cancelling:
            self.cancelled.set()
        self.outbox.begin(self.job)
        try:
            ended = self._run(job)
        except ConnectionError:
            raise
        except Exception as error:  # of the engine, or a full disk: the job has failed, the worker goes on
            LOG.exception("the job %s", self.job)
            ended = {"finished": _finished(Run(status="failed"), {}, explained(error))}
        self.outbox.message({"job": self.job, **ended})
        self._cancelling.discard(self.job)

    def _run(self, job: Mapping[str, Any]) -> dict[str, Any]:
        folder, name = Path(job["folder"]), job["graph"]
        written = Written(job["text"].encode(), name, f"{name}.yaml", folder)
        with self.policy.reading(job["reader"]):
            result = checked(written, self.registry, Given(plain=job["params"], folder=folder))
        if result.graph is None:
            # It was right when it was submitted: a file that it names is gone, or the node types are others now.
            problem = next(problem for problem in result.problems if problem.severity == "error")
            return {"finished": _finished(Run(status="failed"), {}, f"the graph is wrong by now: {problem}")}
        run = execute(
            result.graph,
            store=self.store,
            targets=job["targets"] or None,
            emit=self._take,
            cancelled=self.cancelled,
            files=True,
            guard=self.policy.limits.guard(),
        )
        failures = {name: explained(failure) for name, failure in run.failed_outputs.items()}
        delivery = Delivery(self.job, name, self.blobs)
        outputs = {
            output: delivery.value(output, value, about(result.graph, run.sources[output]))
            for output, value in run.files.items()
        }
        if failures and run.status == "done":
            run.status = "failed"
        error = _error(run, failures)
        events = [{"event": "output", "name": output, "value": value} for output, value in outputs.items()]
        return {"finished": _finished(run, outputs, error), "before": events, "files": delivery.files}

    def _take(self, event: Event) -> None:
        if event["event"] == "preview":
            node, now = event["node"], time.monotonic()
            if now - self._shown.get(node, 0.0) >= PREVIEWS_EVERY:
                self._shown[node] = now
                with contextlib.suppress(ValueError):  # no picture: nobody can show it
                    self.outbox.preview(node, event["image"], self._progress.get(node, {}))
            return
        if event["event"] == "progress":
            self._progress[event["node"]] = event
        self.outbox.event(event)

    def _notice(self, message: str) -> None:
        if self.job:
            self.outbox.event({"event": "log", "message": message})
        else:
            LOG.warning("%s", message)


@dataclass
class Delivery:
    """The outputs of one job, as clients see them; their files are kept, and listed in `files`."""

    job: str
    graph: str
    blobs: Blobs
    files: list[dict[str, Any]] = field(default_factory=list)

    def value(self, name: str, value: Any, made: Mapping[str, Any]) -> Any:
        if isinstance(value, tuple):
            return [self.value(f"{name}-{index}", item, made) for index, item in enumerate(value)]
        if not isinstance(value, Rendered):
            return value
        found = [self._file(path, content) for path, content in files_of(name, value, self.graph, made)]
        return found[0] if len(found) == 1 else found

    def _file(self, path: str, content: bytes) -> dict[str, Any]:
        media = File(path, content=b"").media_type
        file = {"file": path, "digest": self.blobs.keep(content), "media": media, "size": len(content)}
        self.files.append(file)
        return {**file, "url": f"/v1/jobs/{self.job}/outputs/{quote(path)}"}


def _finished(run: Run, outputs: Mapping[str, Any], error: str | None) -> dict[str, Any]:
    lists = {status: run.named(status) for status in ("computed", "reused", "failed", "skipped")}
    event = {"event": "run_finished", "status": run.status, **lists, "outputs": outputs}
    found: dict[str, Any] = clean({**event, "error": error} if error else event)
    return found


def _error(run: Run, failures: Mapping[str, str]) -> str | None:
    """Why a run has failed, in a sentence."""
    if run.failures:
        node, failure = next(iter(run.failures.items()))
        return f"the node `{node}` failed: {explained(failure)}"
    if failures:
        name, message = next(iter(failures.items()))
        return f"the output `{name}` could not be written: {message}"
    return None


def _pixels(image: Any) -> Any:
    import numpy

    pixels = numpy.asarray(image, dtype=numpy.float32)
    if pixels.ndim != 3 or pixels.shape[0] != 3:
        raise ValueError(f"an array of shape {pixels.shape} is no picture [3, height, width]")
    return (numpy.nan_to_num(pixels).clip(0, 1) * 255).round().astype(numpy.uint8).transpose(1, 2, 0).copy()


def _listen(stream: io.BufferedReader, worker: Worker, inbox: queue.SimpleQueue[Mapping[str, Any]]) -> None:
    """In a thread of its own: hears the server while a graph runs, and ends the process when the server has gone."""
    with contextlib.suppress(OSError):
        while (message := _read(stream)) is not None:
            if "cancel" in message:
                worker.cancel(message["cancel"])
            else:
                inbox.put(message)
    os._exit(0)


def _read(stream: io.BufferedReader) -> Mapping[str, Any] | None:
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    length, _ = HEADER.unpack(header)
    body = stream.read(length)
    found: Mapping[str, Any] | None = json.loads(body) if len(body) == length else None
    return found


def _die_with_parent() -> None:
    """On Linux the kernel sees to it, too, where native code keeps the thread that listens from running."""
    if sys.platform != "linux":
        return
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    with contextlib.suppress(OSError):
        # If memory runs out, the kernel ends a worker rather than the server.
        Path("/proc/self/oom_score_adj").write_text("500")


def main(descriptor: int) -> None:
    """Work for the server at the other end of a socket."""
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    _die_with_parent()
    # Ctrl-C in a terminal reaches the whole group: the server decides what becomes of its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = socket.socket(fileno=descriptor)
    stream = connection.makefile("rb")
    settings = _read(stream)
    if settings is None:
        return
    worker = Worker(connection, settings)
    inbox: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(stream, worker, inbox), name="listener", daemon=True).start()
    with contextlib.suppress(ConnectionError):  # the server has gone
        worker.outbox.message({"ready": os.getpid()})
        while True:
            worker.work(inbox.get())


if __name__ == "__main__":
    main(int(sys.argv[1]))
