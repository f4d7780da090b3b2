"""`latentgraph ideas`: what Stable Diffusion is made of, each idea a graph that runs and a picture that explains it."""

import os
import sys
import tempfile
import textwrap
import threading
import time
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from latentgraph.engine.cli import DONE, FAILED, INTERRUPTED
from latentgraph.engine.cli.arguments import CommandWrong, Parser, add_store_options
from latentgraph.engine.cli.show import json_line
from latentgraph.engine.diagnostics import nearest, printable

from .index import Idea, ideas

if TYPE_CHECKING:
    from latentgraph.engine.cli.progress import Progress

    from .page import Shown

EPILOG = """\
examples:
  latentgraph ideas                              list them
  latentgraph ideas --all --output my-ideas      run all, and write my-ideas/index.html
  latentgraph ideas clip unet                    run these two
  latentgraph run ideas/clip --set steps=300     run one with other params"""

PAGE = "index.html"


class IdeasCommand:
    """What the entry point `ideas` of the group `latentgraph.commands` loads."""

    name, help = "ideas", "learn Stable Diffusion: list its ideas, or run their graphs and write a page of them"

    def add_arguments(self, parser: Parser) -> None:
        parser.epilog = EPILOG
        parser.add_argument("ideas", nargs="*", metavar="IDEA", help="ideas to run, by the names of their graphs")
        parser.add_argument("--all", action="store_true", help="run all of them")
        parser.add_argument(
            "--output", type=Path, default=Path("ideas"), metavar="DIR", help="where the page is written (ideas)"
        )
        parser.add_argument("--json", action="store_true", help="list: print a list with an object for each idea")
        add_store_options(parser)

    def run(self, args: Namespace) -> int:
        chosen = _chosen(args.ideas, args.all)
        if not chosen:
            _list(args.json)
            return DONE
        if args.json:
            raise CommandWrong("`--json` is for the list", "name no ideas to get it")
        _writable(args.output)
        return _Session(args).run(chosen)


def _chosen(names: list[str], all: bool) -> list[Idea]:
    """The ideas that are named, in their own order. Raises CommandWrong."""
    known = {idea.graph: idea for idea in ideas()}
    if all and names:
        raise CommandWrong("`--all` runs all ideas, and some are named", "leave out one of the two")
    names = [name.removeprefix("ideas/").removesuffix(".yaml") for name in names]
    for name in names:
        if name not in known:
            near = nearest(name, list(known))
            help = f"did you mean `{near}`?" if near else "`latentgraph ideas` lists them"
            raise CommandWrong(f"there is no idea `{printable(name)}`", help)
    wanted = known if all else names
    return [idea for name, idea in known.items() if name in wanted]


def _writable(folder: Path) -> None:
    """Finds out before the work is done whether the page can be written. Raises CommandWrong."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CommandWrong(f"`--output {folder}`: nothing can be written there: {error.strerror}") from None
    if (folder / PAGE).is_dir():
        raise CommandWrong(f"`--output {folder}`: {PAGE} is a folder there")


def _list(json: bool) -> None:
    if json:
        fields = ("graph", "title", "passage", "claim", "holds", "measured", "remarks")
        print(json_line([{name: getattr(idea, name) for name in fields} for idea in ideas()]))
        return
    for number, idea in enumerate(ideas(), 1):
        print(f"{number:2}. {idea.title}  (ideas/{idea.graph})")
        print(textwrap.fill(idea.claim, 100, initial_indent="    ", subsequent_indent="    "))


class _Session:
    """Runs ideas one after the other; the page is written anew after each, so that one that fails loses nothing."""

    def __init__(self, args: Namespace) -> None:
        from latentgraph.engine.cli.stores import opened
        from latentgraph.engine.registry import load_registry

        self.page: Path = args.output / PAGE
        self.cancelled = threading.Event()
        self.store = opened(args, lambda message: print(f"warning: {printable(message)}", file=sys.stderr))
        self.registry = load_registry(())

    def run(self, chosen: list[Idea]) -> int:
        from latentgraph.engine.cli.progress import duration
        from latentgraph.engine.outputs import write_whole

        from .page import page

        started, failed = time.monotonic(), 0
        shown: list[Shown] = []
        for number, idea in enumerate(chosen, 1):
            print(f"[{number}/{len(chosen)}] {idea.title}", file=sys.stderr, flush=True)
            found = self._one(idea)
            if self.cancelled.is_set():
                print(f"cancelled{f'; {self.page} has what was finished' if shown else ''}", file=sys.stderr)
                return INTERRUPTED
            shown.append(found)
            failed += bool(found.failure)
            said = found.failure or found.measured
            print(textwrap.indent(textwrap.fill(f"{duration(found.seconds)}: {said}", 100), "    "), file=sys.stderr)
            write_whole(self.page, page(shown).encode())
        print(f"done in {duration(time.monotonic() - started)}", file=sys.stderr)
        print(self.page)
        return FAILED if failed else DONE

    def _one(self, idea: Idea) -> "Shown":
        from latentgraph.engine.boxes import boxes_and_links
        from latentgraph.engine.cli.interrupting import cancelled_by_signals
        from latentgraph.engine.drawing import to_svg
        from latentgraph.engine.execute import execute
        from latentgraph.engine.failures import explained
        from latentgraph.engine.session import load

        from .page import Shown

        checked = load(idea.file, registry=self.registry, store=self.store).check()
        progress, started = _progress(), time.monotonic()
        try:
            with cancelled_by_signals(self.cancelled, progress):
                run = execute(checked, store=self.store, emit=progress.take, cancelled=self.cancelled, files=True)
        finally:
            progress.close()
        failures = [f"the node `{node}` failed: {explained(failure)}" for node, failure in run.failures.items()]
        failures += [f"the output `{name}`: {explained(failure)}" for name, failure in run.failed_outputs.items()]
        return Shown(
            idea,
            checked.graph.text,
            to_svg(idea.graph, *boxes_and_links(checked)),
            run.files,
            time.monotonic() - started,
            "; ".join(failures),
        )


def _progress() -> "Progress":
    """Live on a terminal; elsewhere nothing, as each idea has its line."""
    from latentgraph.engine.cli.progress import Live, Silent

    live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    return Live(sys.stderr) if live else Silent(sys.stderr)


IDEAS = IdeasCommand()
