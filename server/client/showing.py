"""Shows a job at a server as `latentgraph run` shows a run of its own, and writes its outputs."""

import os
import sys
import time
from argparse import Namespace
from pathlib import Path, PurePosixPath
from typing import Any

from latentgraph.engine.cli import printable_lines
from latentgraph.engine.cli.progress import Lines, Live, Progress, Silent, duration
from latentgraph.engine.cli.show import json_line
from latentgraph.engine.diagnostics import printable
from latentgraph.engine.outputs import write_whole

from . import events
from .client import AsyncClient
from .errors import ServerError
from .request import Request
from .results import AsyncOutputFile

_OF_THE_LOG = {"job", "seq", "cursor", "time"}
"""What events have at a server only."""


class Shown:
    """One job on a command line: progress and messages, events as JSON, outputs as files."""

    def __init__(self, args: Namespace, client: AsyncClient, request: Request) -> None:
        self.args, self.client, self.request = args, client, request
        self.started = time.monotonic()
        live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self.progress: Progress = Silent(sys.stderr) if args.json else Live(sys.stderr) if live else Lines(sys.stderr)
        self.computing: set[str] = set()
        self.failures: list[dict[str, Any]] = []
        self.outputs: dict[str, Any] = {}
        self.not_written: dict[str, str] = {}
        self.status = "cancelled"

    def say(self, message: str) -> None:
        self.progress.say(printable(message))

    async def take(self, event: events.Event) -> None:
        told = {name: value for name, value in event.told.items() if name not in _OF_THE_LOG}
        match event:
            case events.Queued():
                return
            case events.Preview():
                self._preview(event)
                return
            case events.Interrupted():
                for node in sorted(self.computing):
                    self.progress.take({"event": "node_finished", "node": node, "status": "interrupted"})
                self.computing.clear()
                self.failures.clear()
                self.say(f"interrupted: {event.reason}; it starts again, and reuses what was finished")
            case events.Snapshot():
                self.say("the server has lost some of the events of this job")
                return
            case events.NodeStarted():
                self.computing.add(event.node)
            case events.Progress():
                if event.node not in self.computing:  # it has finished by now
                    return
            case events.NodeFinished():
                self.computing.discard(event.node)
                if event.status == "failed":
                    self.failures.append(told)
            case events.Output():
                await self._output(event.name, event.value)
                return
            case events.RunFinished():
                for name in event.outputs.keys() - self.outputs.keys() - self.not_written.keys():
                    await self._output(name, event.outputs[name])  # told before what the server has lost
                self._end(event)
                return
        if event.told.get("node") or not isinstance(event, events.Log):
            self.progress.take(told)
        else:
            self.say(f"warning: {event.message}")
        self._emit(told)

    def _emit(self, event: dict[str, Any]) -> None:
        if self.args.json:
            print(json_line(event), flush=True)

    def _preview(self, preview: events.Preview) -> None:
        name = preview.node.replace("/", "-") + (".png" if preview.media == "image/png" else ".jpg")
        try:
            write_whole(self.args.output / "previews" / name, preview.image)
        except OSError as error:
            self.say(f"warning: the preview of `{preview.node}` was not written: {error}")

    # outputs

    async def _output(self, name: str, value: Any) -> None:
        try:
            self.outputs[name] = await self._written(self.client.outputs(value))
        except (OSError, ServerError) as error:
            self.not_written[name] = str(error)
            return
        self._emit({"event": "output", "name": name, "value": self.outputs[name]})

    async def _written(self, value: Any) -> Any:
        """A plain value as it is, a file as the path it was written to, a folder's files as the folder."""
        if isinstance(value, list):
            folders = [_folder(item) for item in value]
            written = [await self._written(item) for item in value]
            return written[0] if folders and folders[0] and set(folders) == {folders[0]} else written
        if not isinstance(value, AsyncOutputFile):
            return value
        # It is called like the graph, whose name at the server may be another one.
        inside = PurePosixPath(self.request.written.name + value.name.removeprefix(self.request.name))
        if inside.is_absolute() or ".." in inside.parts:
            raise ServerError("bad-name", f"the server calls a file `{value.name}`, which is no name for one here")
        path: Path = self.args.output / inside
        await value.save(path)
        return str(self.args.output / inside.parts[0])

    # the end

    def _end(self, finished: events.RunFinished) -> None:
        self.progress.close()
        self.status = "failed" if self.not_written and finished.status == "done" else finished.status
        lists = {name: list(getattr(finished, name)) for name in ("computed", "reused", "failed", "skipped")}
        self._emit({"event": "run_finished", "status": self.status, **lists, "outputs": self.outputs})
        for failure in self.failures:
            self._say_failure(failure)
        for name, message in self.not_written.items():
            print(printable(f"the output `{name}` was not written: {message}"), file=sys.stderr)
        if finished.error and not self.failures:
            print(printable(f"the job failed: {finished.error}"), file=sys.stderr)
        if self.args.json:
            return
        counts = [f"{len(nodes)} {status}" for status, nodes in lists.items() if nodes]
        seconds = duration(time.monotonic() - self.started)
        print(f"{self.status} in {seconds}: {', '.join(counts) or 'nothing to run'}", file=sys.stderr)
        for name, value in self.outputs.items():
            print("\n".join(f"{name}: {line}" for line in _lines(value)), flush=True)

    def _say_failure(self, failure: dict[str, Any]) -> None:
        node = failure["node"]
        graph = self.request.graph
        written = graph.nodes.get(node.partition("/")[0]) if graph else None
        place = f"{written.name.place}: " if written else ""
        print(printable(f"{place}the node `{node}` failed: {failure.get('error')}"), file=sys.stderr)
        if inputs := failure.get("inputs"):
            said = ", ".join(f"{name}: {value}" for name, value in inputs.items())
            print(printable(f"  its inputs: {said}"), file=sys.stderr)
        if self.args.debug:
            print(printable_lines("\n".join(failure.get("traceback", []))), file=sys.stderr)


def _folder(value: Any) -> str:
    """The folder in which an output's file lies; empty where it lies in none, or is none."""
    inside = PurePosixPath(value.name) if isinstance(value, AsyncOutputFile) else PurePosixPath()
    return inside.parts[0] if len(inside.parts) > 1 else ""


def _lines(value: Any) -> list[str]:
    """An output on lines of its own: a path or a text a line, anything else as JSON."""
    if isinstance(value, list) and value and all(isinstance(item, (str, list)) for item in value):
        return [line for item in value for line in _lines(item)]
    return [value if isinstance(value, str) and value.isprintable() else json_line(value)]
