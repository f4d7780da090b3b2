"""Ctrl-C while graphs run: the first cancels the run, so that nothing that is finished is lost."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from . import INTERRUPTED
from .progress import Progress


@contextmanager
def cancelled_by_signals(cancelled: threading.Event, progress: Progress) -> Iterator[None]:
    """Ctrl-C and SIGTERM set `cancelled`, a second one ends the process at once."""

    def cancel(number: int, frame: Any) -> None:
        if cancelled.is_set():
            progress.close()
            os._exit(INTERRUPTED)
        cancelled.set()
        progress.say("cancelling; once more ends it at once")

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread can be told of signals
        return
    before = {number: signal.signal(number, cancel) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
