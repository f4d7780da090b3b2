"""`latentgraph run`: run a graph, write its outputs, say where they are."""

import os
import signal
import sys
import threading
import time
import traceback
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..check import CheckedGraph
from ..diagnostics import nearest, printable
from ..execute import Event, Run, execute, explained
from ..library import find_graph
from ..outputs import about, write_output
from ..picture import Making, is_picture
from ..ports import PortType
from ..registry import load_registry
from ..render import summary, to_json
from . import DONE, FAILED, INTERRUPTED, WRONG, again
from .arguments import CommandWrong, Parser, add_nodes_option, add_set_option, assignments
from .progress import Lines, Live, Progress, Silent, duration
from .reading import Checked, Given, Written, checked
from .show import json_line, show

EPILOG = """\
examples:
  latentgraph run txt2img --set prompt="a red apple on a blue background"
  latentgraph run my-graph.yaml --params params.yaml --output pictures
  latentgraph run output/txt2img-image-1a2b3c4d.png     make a picture again"""

_CODES = {"done": DONE, "failed": FAILED, "cancelled": INTERRUPTED}


def add_arguments(parser: Parser) -> None:
    parser.epilog = EPILOG
    parser.add_argument("graph", metavar="GRAPH", help="a graph file, the name of a graph that ships, or a picture")
    add_set_option(parser)
    parser.add_argument("--params", type=Path, metavar="FILE", help="values of params, as YAML or JSON; --set wins")
    parser.add_argument(
        "--target", action="append", default=[], metavar="NODE", help="run this node and what it needs; may be repeated"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("output"), metavar="DIR", help="where outputs are written (output)"
    )
    parser.add_argument("--no-metadata", action="store_true", help="do not write into pictures how they were made")
    parser.add_argument("--previews", action="store_true", help="write each node's newest preview to DIR/previews")
    parser.add_argument("--json", action="store_true", help="print one event a line instead of the outputs")
    parser.add_argument("--jobs", type=_positive, metavar="N", help="how many nodes may run side by side")
    parser.add_argument("--trust", action="store_true", help="run the graph of a picture without asking")
    parser.add_argument("--debug", action="store_true", help="show where in the code a node failed")
    add_nodes_option(parser)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"`{text}` is no whole number from 1 on")
    return int(text)


def run(args: Namespace) -> int:
    making: Making | None = None
    registry = load_registry(args.nodes)
    path = Path(args.graph)
    if is_picture(path):
        making, written = again.recorded(path)
        again.confirm(path, making, args.trust)
    else:
        name, file = find_graph(args.graph)
        written = Written(file.read_bytes(), name, str(file), file.parent)
    recorded = making.params if making else {}
    result = checked(written, registry, Given(assignments(args.set), args.params, recorded))
    show(result.problems, result.texts, sys.stderr)
    if result.graph is None:
        return _refused(result, args.json)
    for warning in again.other_files(making, result.graph) if making else ():
        print(f"warning: {printable(warning)}", file=sys.stderr)
    _known_targets(args.target, result.graph)
    _writable(args.output)
    return _Session(args, result.graph, making).run()


def _refused(result: Checked, json: bool) -> int:
    if json:
        for problem in result.problems:
            print(json_line({"event": "diagnostic", **to_json(problem)}))
        print(json_line({"event": "run_finished", "status": "failed", **_lists(Run()), "outputs": {}}))
    print(f"{summary(result.problems)}, nothing was run", file=sys.stderr)
    return WRONG


def _known_targets(targets: list[str], graph: CheckedGraph) -> None:
    for target in targets:
        if target not in graph.nodes:
            near = nearest(target, list(graph.nodes))
            help = f"did you mean `{near}`?" if near else f"its nodes: {', '.join(graph.nodes)}"
            raise CommandWrong(f"`--target {target}`: the graph has no node `{target}`", help)


def _writable(folder: Path) -> None:
    """Finds out before the work is done whether its results can be kept. Raises CommandWrong."""
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not existing.is_dir():
        raise CommandWrong(f"`--output {folder}`: {existing} is a file, not a folder")
    if not os.access(existing, os.W_OK):
        raise CommandWrong(f"`--output {folder}`: nothing can be written into {existing}")


class _Session:
    """One run as the command line shows it."""

    def __init__(self, args: Namespace, graph: CheckedGraph, making: Making | None) -> None:
        self.args, self.graph, self.making = args, graph, making
        self.cancelled = threading.Event()
        self.progress: Progress = Silent(sys.stderr)
        self.failed_outputs: dict[str, str] = {}

    def run(self) -> int:
        started = time.monotonic()
        if not self.args.json:
            live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
            self.progress = Live(sys.stderr) if live else Lines(sys.stderr)
        try:
            with self._cancelled_by_signals():
                run = execute(
                    self.graph,
                    targets=self.args.target or None,
                    emit=self._take,
                    cancelled=self.cancelled,
                    jobs=self.args.jobs,
                )
        finally:
            self.progress.close()
        outputs = self._write(run)
        if self.failed_outputs and run.status == "done":
            run.status = "failed"
        self._emit({"event": "run_finished", "status": run.status, **_lists(run), "outputs": outputs})
        self._say_failures(run)
        if run.status == "done" and self.making is not None:
            for warning in again.other_models(self.making, run.sources):
                print(f"warning: {printable(warning)}", file=sys.stderr)
        self._say_end(run, time.monotonic() - started)
        self._print(run, outputs)
        return _CODES[run.status]

    @contextmanager
    def _cancelled_by_signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM cancel the run, a second one ends the process at once."""

        def cancel(number: int, frame: Any) -> None:
            if self.cancelled.is_set():
                self.progress.close()
                os._exit(INTERRUPTED)
            self.cancelled.set()
            self.progress.say("cancelling; once more ends it at once")

        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread can be told of signals
            return
        before = {number: signal.signal(number, cancel) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _take(self, event: Event) -> None:
        if event["event"] == "preview":
            if self.args.previews:
                self._preview(event["node"], event["image"])
            return
        self.progress.take(event)
        self._emit(event)

    def _emit(self, event: Event) -> None:
        if self.args.json:
            print(json_line(event), flush=True)

    def _preview(self, node: str, image: Any) -> None:
        from ..preview import write_preview

        try:
            write_preview(image, self.args.output / "previews" / f"{node}.png")
        except (OSError, ValueError) as error:
            self.progress.say(f"warning: the preview of `{node}` was not written: {error}")

    def _write(self, run: Run) -> dict[str, Any]:
        """Write the outputs that there are, those beside a failed node too."""
        made = {} if self.args.no_metadata else about(self.graph, run)
        outputs: dict[str, Any] = {}
        for name, value in run.outputs.items():
            try:
                written = write_output(name, value, self.args.output, self.graph.graph.name, made)
            except Exception as error:  # a port type's writer is a plugin's code, too
                self.failed_outputs[name] = explained(error)
                continue
            outputs[name] = written
            self._emit({"event": "output", "name": name, "value": written})
        return outputs

    def _print(self, run: Run, outputs: dict[str, Any]) -> None:
        """The outputs, at the very end: what a script or a person wants is in the last lines."""
        if not self.args.json:
            for name, written in outputs.items():
                print("\n".join(f"{name}: {line}" for line in _lines(run.outputs[name], written)), flush=True)

    def _say_failures(self, run: Run) -> None:
        for node, failure in run.failures.items():
            place = self.graph.graph.nodes[node].name.place
            print(printable(f"{place}: the node `{node}` failed: {explained(failure)}"), file=sys.stderr)
            if self.args.debug:
                traceback.print_exception(failure, file=sys.stderr)
        for name, message in self.failed_outputs.items():
            print(printable(f"the output `{name}` was not written: {message}"), file=sys.stderr)

    def _say_end(self, run: Run, seconds: float) -> None:
        if self.args.json:
            return
        counts = [f"{len(names)} {status}" for status, names in _lists(run).items() if names]
        print(f"{run.status} in {duration(seconds)}: {', '.join(counts) or 'nothing to run'}", file=sys.stderr)


def _lists(run: Run) -> dict[str, list[str]]:
    return {status: run.named(status) for status in ("computed", "reused", "failed", "skipped")}


def _lines(value: Any, written: Any) -> Iterator[str]:
    """An output on lines of its own: a path a line, or the value where it is no file."""
    if isinstance(value, tuple) and any(isinstance(item, (PortType, tuple)) for item in value):
        for item, path in zip(value, written, strict=True):
            yield from _lines(item, path)
    elif isinstance(value, PortType):
        yield from [written] if isinstance(written, str) else written
    elif isinstance(value, str) and value.isprintable():
        yield value
    else:
        yield json_line(written)
