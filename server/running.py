"""The life of a server process: one for each data folder, from listening to the last goodbye."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

from aiohttp import web

from latentgraph.engine.cli import DONE
from latentgraph.engine.problems import UserError

from .app import application
from .database import DatabaseError
from .settings import Settings
from .state import Server
from .tending import tend
from .webhooks import Webhooks

BACKLOG = 1024


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or Ctrl-C; gives the exit code. Raises UserError where it cannot begin."""
    with _alone(settings.data):
        try:
            asyncio.run(_serve(settings))
        except (DatabaseError, sqlite3.DatabaseError) as error:
            raise UserError(f"{settings.database} cannot be used: {error}") from None
    return DONE


async def _serve(settings: Settings) -> None:
    server = Server(settings)
    runner = web.AppRunner(application(server), access_log=None, shutdown_timeout=2.0, handle_signals=False)
    await runner.setup()
    site = web.TCPSite(runner, settings.host, settings.port, backlog=BACKLOG)
    try:
        await site.start()
    except OSError as error:
        server.database.close()
        raise UserError(
            f"cannot listen at {settings.host}:{settings.port}: {(error.strerror or str(error)).lower()}"
        ) from None
    await server.open()
    tasks = [asyncio.create_task(tend(server)), asyncio.create_task(Webhooks(server).run())]
    print(f"latentgraph serves at {_url(settings.host, runner)}", flush=True)
    if not settings.token_file and not server.sites.loopback:
        print("warning: everybody who reaches this address may do everything (--insecure)", file=sys.stderr)
    await _asked_to_stop()
    print("stopping; what runs goes on when the server is there again", file=sys.stderr)
    for task in tasks:
        task.cancel()
    server.stopping.set()
    server.heads.wake_all()
    await site.stop()
    closing = asyncio.create_task(server.close())
    await runner.cleanup()
    await closing


async def _asked_to_stop() -> None:
    asked, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked.set)
    await asked.wait()


def _url(host: str, runner: web.AppRunner) -> str:
    port = runner.addresses[0][1]
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/"


@contextlib.contextmanager
def _alone(data: Path) -> Iterator[None]:
    """Holds the data folder for this process. Raises UserError where another server has it."""
    data.mkdir(parents=True, exist_ok=True)
    data.chmod(0o700)
    with (data / "lock").open("w") as lock:
        try:
            import fcntl
        except ImportError:  # Windows: nobody looks whether another server uses the folder
            yield
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"another server is using {data}; give this one another --data folder") from None
        yield
