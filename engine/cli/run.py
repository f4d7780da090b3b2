"""`latentgraph run`: run a graph, write its outputs, say where they are."""

import hashlib
import os
import sys
import threading
import time
import traceback
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..checked import CheckedGraph
from ..diagnostics import printable
from ..entries import entries
from ..events import Event
from ..execute import execute
from ..failures import brief_input, explained, own_traceback
from ..library import find_graph
from ..outputs import about, write_output
from ..picture import Making, is_picture
from ..reading import Checked, Given, Written, checked
from ..registry import load_registry
from ..render import summary, to_json
from ..rendering import Rendered
from ..runs import Run
from . import DONE, FAILED, INTERRUPTED, WRONG, again
from .arguments import CommandWrong, Parser, add_nodes_option, add_set_option, add_store_options, assignments
from .interrupting import cancelled_by_signals
from .places import place_of
from .profile import Profile
from .progress import Lines, Live, Progress, Silent, duration
from .reading import known_targets
from .show import json_line, show
from .stores import opened

EPILOG = """\
examples:
  latentgraph run txt2img --set prompt="a red apple on a blue background"
  latentgraph run my-graph.yaml --params params.yaml --output pictures
  latentgraph run output/txt2img-image-1a2b3c4d.png     make a picture again
  latentgraph run txt2img --server http://127.0.0.1:8765"""

REMOTE = "latentgraph.remote"
"""The entry point group of what runs graphs at a server; `server` takes the arguments and gives the exit code."""

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
    parser.add_argument(
        "--check",
        action="store_true",
        help="compute what could be reused, too, and say which node gives something else",
    )
    parser.add_argument(
        "--strict", action="store_true", help="look whether nodes change inputs or use global random generators"
    )
    parser.add_argument("--profile", action="store_true", help="print each node's time, memory and bytes stored")
    parser.add_argument(
        "--durability", choices=("process", "power"), default="process", help="what a kept result survives (process)"
    )
    parser.add_argument("--trust", action="store_true", help="run the graph of a picture without asking")
    parser.add_argument(
        "--allow-download",
        action="store_true",
        help="let nodes fetch models that are not here from the hub",
    )
    parser.add_argument("--debug", action="store_true", help="show the whole traceback of a node that failed")
    parser.add_argument(
        "--server",
        default=os.environ.get("LATENTGRAPH_SERVER"),
        metavar="URL",
        help="run it at this latentgraph server instead of here (LATENTGRAPH_SERVER)",
    )
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help="holds the token for the server (else LATENTGRAPH_TOKEN has it)"
    )
    add_store_options(parser)
    add_nodes_option(parser)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"`{text}` is no whole number from 1 on")
    return int(text)


def run(args: Namespace) -> int:
    if args.allow_download:
        if args.server:
            raise CommandWrong("a server decides itself what it fetches", "leave `--allow-download` out")
        os.environ["LATENTGRAPH_ALLOW_DOWNLOAD"] = "1"
    if args.server:
        _writable(args.output)
        return _at_server(args)
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
    known_targets(args.target, result.graph)
    _writable(args.output)
    return _Session(args, result.graph, making).run()


def _at_server(args: Namespace) -> int:
    entry = next((entry for entry in entries(REMOTE) if entry.name == "server"), None)
    if entry is None:
        raise CommandWrong("`--server` needs the package latentgraph.server, which is not installed")
    return int(entry.load()(args))


def _refused(result: Checked, json: bool) -> int:
    if json:
        for problem in result.problems:
            print(json_line({"event": "diagnostic", **to_json(problem)}))
        print(json_line({"event": "run_finished", "status": "failed", **_lists(Run()), "outputs": {}}))
    print(f"{summary(result.problems)}, nothing was run", file=sys.stderr)
    return WRONG


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
        self.profile = Profile()
        self.store = opened(args, self._notice)

    def run(self) -> int:
        started = time.monotonic()
        if not self.args.json:
            live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
            self.progress = Live(sys.stderr) if live else Lines(sys.stderr)
        try:
            with cancelled_by_signals(self.cancelled, self.progress):
                run = execute(
                    self.graph,
                    store=self.store,
                    targets=self.args.target or None,
                    emit=self._take,
                    cancelled=self.cancelled,
                    jobs=self.args.jobs,
                    files=True,
                    again=self.args.check,
                    strict=self.args.strict,
                )
        finally:
            self.progress.close()
        outputs = self._write(run)
        if self.failed_outputs and run.status == "done":
            run.status = "failed"
        self._emit({"event": "run_finished", "status": run.status, **_lists(run), "outputs": outputs})
        self._say_failures(run)
        if run.status == "done" and self.making is not None:
            used = {name: digest for sources in run.sources.values() for name, digest in sources.items()}
            for warning in again.other_models(self.making, used):
                print(f"warning: {printable(warning)}", file=sys.stderr)
        self._say_end(run, time.monotonic() - started)
        self._print(run, outputs)
        return _CODES[run.status]

    def _take(self, event: Event) -> None:
        if event["event"] == "preview":
            if self.args.previews:
                self._preview(event["node"].replace("/", "-"), event["image"])
            return
        self.progress.take(event)
        self.profile.take(event)
        self._emit(event)

    def _notice(self, message: str) -> None:
        """What the store has to say: it goes on without what is damaged, full or not to be written."""
        if self.args.json:
            self._emit({"event": "log", "message": message})
        else:
            self.progress.say(f"warning: {printable(message)}")

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
        outputs: dict[str, Any] = {}
        self.failed_outputs |= {name: explained(failure) for name, failure in run.failed_outputs.items()}
        for name, value in run.files.items():
            made = {} if self.args.no_metadata else about(self.graph, run.sources[name])
            try:
                written = write_output(name, value, self.args.output, self.graph.graph.name, made)
            except Exception as error:  # a port type's writer is a plugin's code, too
                self.failed_outputs[name] = explained(error)
                continue
            outputs[name] = written
            self._note_origin(run, name, value, written)
            self._emit({"event": "output", "name": name, "value": written})
        return outputs

    def _note_origin(self, run: Run, name: str, value: Any, written: Any) -> None:
        """Lets `store why` tell where a file comes from, whatever it is called later."""
        key = run.keys.get(run.origins[name])
        for path in _paths(value, written):
            if key is not None and path.is_file():
                self.store.note_output(hashlib.sha256(path.read_bytes()).hexdigest(), key, name, run.id)

    def _print(self, run: Run, outputs: dict[str, Any]) -> None:
        """The outputs, at the very end: what a script or a person wants is in the last lines."""
        if not self.args.json:
            for name, written in outputs.items():
                print("\n".join(f"{name}: {line}" for line in _lines(run.files[name], written)), flush=True)

    def _say_failures(self, run: Run) -> None:
        for node, failure in run.failures.items():
            place = place_of(self.graph, node)
            print(printable(f"{place}: the node `{node}` failed: {explained(failure)}"), file=sys.stderr)
            inputs = ", ".join(f"{name}: {brief_input(value)}" for name, value in run.inputs.get(node, {}).items())
            if inputs:
                print(printable(f"  its inputs: {inputs}"), file=sys.stderr)
            if self.args.debug:
                traceback.print_exception(failure, file=sys.stderr)
            elif not isinstance(failure, (ValueError, OSError, MemoryError)):
                print("\n".join(own_traceback(failure)), file=sys.stderr)
        for name, message in self.failed_outputs.items():
            print(printable(f"the output `{name}` was not written: {message}"), file=sys.stderr)

    def _say_end(self, run: Run, seconds: float) -> None:
        if self.args.json:
            return
        if self.args.profile:
            print("\n".join(self.profile.table()), file=sys.stderr)
        counts = [f"{len(names)} {status}" for status, names in _lists(run).items() if names]
        print(f"{run.status} in {duration(seconds)}: {', '.join(counts) or 'nothing to run'}", file=sys.stderr)


def _lists(run: Run) -> dict[str, list[str]]:
    return {status: run.named(status) for status in ("computed", "reused", "failed", "skipped")}


def _lines(value: Any, written: Any) -> Iterator[str]:
    """An output on lines of its own: a path a line, or the value where it is no file."""
    if isinstance(value, tuple) and any(isinstance(item, (Rendered, tuple)) for item in value):
        for item, path in zip(value, written, strict=True):
            yield from _lines(item, path)
    elif isinstance(value, Rendered):
        yield from [written] if isinstance(written, str) else written
    elif isinstance(value, str) and value.isprintable():
        yield value
    else:
        yield json_line(written)


def _paths(value: Any, written: Any) -> Iterator[Path]:
    """The files of an output."""
    if isinstance(value, tuple):
        for item, path in zip(value, written, strict=True):
            yield from _paths(item, path)
    elif isinstance(value, Rendered):
        yield from map(Path, [written] if isinstance(written, str) else written)
