"""`latentgraph run GRAPH --server URL`: run a graph at a server, as if it were run here."""

import asyncio
import math
import os
import signal
import sys
import threading
from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

from latentgraph.engine.cli import DONE, FAILED, INTERRUPTED, WRONG, again
from latentgraph.engine.cli.arguments import CommandWrong, assignments
from latentgraph.engine.cli.show import json_line, show
from latentgraph.engine.diagnostics import Diagnostic
from latentgraph.engine.picture import is_picture
from latentgraph.engine.reading import Given, Written
from latentgraph.engine.render import summary, to_json
from latentgraph.engine.roots import NOWHERE

from .client import AsyncClient, AsyncJob
from .errors import GraphRefused, ServerError, Unreachable
from .request import Request
from .showing import Shown

TOKEN = "LATENTGRAPH_TOKEN"

_CODES = {"done": DONE, "failed": FAILED, "cancelled": INTERRUPTED}

_HERE_ONLY: dict[str, Any] = {
    "check": False, "strict": False, "profile": False, "store": None, "no_store": False, "nodes": [], "jobs": None,
    "durability": "process", "no_metadata": False,
}  # fmt: skip
"""Options about how a run is done here, and what they are where they are not given."""


def run(args: Namespace) -> int:
    """Take the arguments of `latentgraph run`, and give the exit code. Raises UserError and OSError."""
    for option, default in _HERE_ONLY.items():
        if getattr(args, option) != default:
            raise CommandWrong(
                f"`--{option.replace('_', '-')}` cannot be used with a server",
                "it is about runs on this machine; the server is at " + args.server,
            )
    try:
        client = AsyncClient(args.server, _token(args.token_file), patience=math.inf, notice=_notice)
    except ValueError as error:
        raise CommandWrong(str(error)) from error
    try:
        return asyncio.run(_run(args, client))
    except (ServerError, Unreachable) as error:
        raise CommandWrong(str(error)) from error


def _token(file: Path | None) -> str | None:
    return file.read_text().strip() if file is not None else os.environ.get(TOKEN)


def _notice(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


async def _run(args: Namespace, client: AsyncClient) -> int:
    async with client:
        request = await _request(args, client)
        params = await request.params(client)
        problems, wrong = await request.check(client, params)
        show(problems, request.texts, sys.stderr)
        if wrong:
            return _refused(problems, args.json)
        shown = Shown(args, client, request)
        client.patience.notice = shown.say
        try:
            async with _interruptible(shown) as interrupted:
                job = await client.submit(request.sent, params, name=request.name, targets=args.target)
                await _follow(job, shown, interrupted, args.previews)
        except GraphRefused as refused:
            problems = request.told(refused.diagnostics)
            show(problems, request.texts, sys.stderr)
            return _refused(problems, args.json)
        finally:
            shown.progress.close()
        return _CODES[shown.status]


async def _request(args: Namespace, client: AsyncClient) -> Request:
    """What is to be run: a picture or a graph's file from here, or a graph that the server knows."""
    path, known, recorded = Path(args.graph), None, {}
    if is_picture(path):
        making, written = again.recorded(path)
        again.confirm(path, making, args.trust)
        recorded = dict(making.params)
    elif path.is_file():
        written = Written(path.read_bytes(), path.stem, str(path), path.parent)
    else:
        try:
            found = await client.graph(args.graph)
        except ServerError as error:
            if error.code == "not-found":
                raise CommandWrong(
                    f"there is no file `{args.graph}`, and at the server no graph of this name"
                ) from None
            raise
        known = args.graph
        written = Written(found["text"].encode(), Path(known).name, known, NOWHERE)
    return Request(written, known, Given(assignments(args.set), args.params, recorded))


def _refused(problems: list[Diagnostic], json: bool) -> int:
    if json:
        for problem in problems:
            print(json_line({"event": "diagnostic", **to_json(problem)}))
        lists: dict[str, list[str]] = {"computed": [], "reused": [], "failed": [], "skipped": []}
        print(json_line({"event": "run_finished", "status": "failed", **lists, "outputs": {}}))
    print(f"{summary(problems)}, nothing was run", file=sys.stderr)
    return WRONG


async def _follow(job: AsyncJob, shown: Shown, interrupted: asyncio.Event, previews: bool) -> None:
    """Show a job until it is over. It is cancelled on Ctrl-C, and where nobody reads any more what is shown."""

    async def cancel() -> None:
        await interrupted.wait()
        await job.cancel()

    cancelling = asyncio.create_task(cancel())
    try:
        async with aclosing(job.follow(previews=previews)) as events:
            async for event in events:
                await shown.take(event)
    except BrokenPipeError:
        await job.cancel()
        raise
    finally:
        cancelling.cancel()


@asynccontextmanager
async def _interruptible(shown: Shown) -> AsyncIterator[asyncio.Event]:
    """Gives what Ctrl-C and SIGTERM set; a second one ends the process at once."""
    interrupted = asyncio.Event()

    def interrupt() -> None:
        if interrupted.is_set():
            shown.progress.close()
            os._exit(INTERRUPTED)
        interrupted.set()
        shown.say("cancelling; once more ends it at once")

    if threading.current_thread() is not threading.main_thread():
        yield interrupted  # only the main thread can be told of signals
        return
    loop, numbers = asyncio.get_running_loop(), (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, interrupt)
    try:
        yield interrupted
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
