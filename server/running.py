"""The life of a server process: one for each data folder, from listening to the last goodbye."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sqlite3
import stat
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

from aiohttp import web

from latentgraph.engine.cli import DONE
from latentgraph.engine.problems import UserError

from .http.app import Protocol, application
from .http.webhooks import Webhooks
from .queue.database import DatabaseError
from .queue.tending import tend
from .settings import Settings
from .state import Server

LOG = logging.getLogger(__name__)

PAUSE = 5.0
BACKLOG = 1024


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or Ctrl-C; gives the exit code. Raises UserError where it cannot begin."""
    # Unlike print, it goes on where what it writes to is full.
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    os.umask(0o077)  # what this process and its workers write is nobody else's business
    with _alone(settings.data):
        try:
            asyncio.run(_serve(settings))
        except (DatabaseError, sqlite3.DatabaseError) as error:
            raise UserError(f"{settings.database} cannot be used: {error}") from None
    return DONE


async def _serve(settings: Settings) -> None:
    server = Server(settings)
    runner = web.AppRunner(application(server), shutdown_timeout=2.0, handle_signals=False)
    await runner.setup()
    manager, loop = runner.server, asyncio.get_running_loop()
    assert manager is not None
    try:
        listening = await loop.create_server(
            lambda: Protocol(manager, loop), settings.host, settings.port, backlog=BACKLOG
        )
    except OSError as error:
        server.database.close()
        raise UserError(
            f"cannot listen at {settings.host}:{settings.port}: {(error.strerror or str(error)).lower()}"
        ) from None
    await server.open()
    webhooks = Webhooks(server)
    tasks = [asyncio.create_task(going_on(work)) for work in (partial(tend, server), webhooks.run)]
    print(f"latentgraph serves at {_url(settings.host, listening)}", flush=True)
    if not settings.token_file and not server.sites.loopback:
        LOG.warning("warning: everybody who reaches this address may do everything (--insecure)")
    await _asked_to_stop()
    LOG.info("stopping; what runs goes on when the server is there again")
    for task in tasks:
        task.cancel()
    server.stopping.set()
    server.heads.wake_all()
    listening.close()
    closing = asyncio.create_task(server.close())
    await runner.cleanup()
    await closing


async def going_on(work: Callable[[], Awaitable[None]]) -> None:
    """Do something for as long as the server lives, whatever goes wrong with it: the disk may be full for a while."""
    while True:
        try:
            await work()
            return
        except Exception:
            LOG.exception("trying again in %s seconds", PAUSE)
        await asyncio.sleep(PAUSE)


async def _asked_to_stop() -> None:
    asked, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked.set)
    await asked.wait()


def _url(host: str, listening: asyncio.Server) -> str:
    port = listening.sockets[0].getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/"


def _make_private(data: Path) -> None:
    """Make a folder, or see to it that nobody else looks into the one that is there. Raises UserError."""
    data.mkdir(parents=True, exist_ok=True)
    if data.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        if any(data.iterdir()) and not (data / "lock").exists():
            raise UserError(f"--data {data} has other things in it, and others can read it: name an empty folder")
        data.chmod(0o700)


@contextlib.contextmanager
def _alone(data: Path) -> Iterator[None]:
    """Holds the data folder for this process. Raises UserError where another server has it."""
    _make_private(data)
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
