"""Threads that compute. They are daemons: one that does not end when it is told to holds up nobody's exit."""

import threading
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue


class Workers:
    """As many threads as there are tasks at the same time."""

    def __init__(self) -> None:
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._threads = 0

    def start(self, task: Callable[[], None]) -> None:
        """Have a thread call `task`, which must not raise, in the context of the caller."""
        task = partial(copy_context().run, task)
        with self._lock:
            if self._idle:
                self._idle -= 1
                new = False
            else:
                self._threads += 1
                new = True
        self._tasks.put(task)
        if new:
            threading.Thread(target=self._work, name=f"latentgraph-{self._threads}", daemon=True).start()

    def close(self) -> None:
        """Let the threads end, each after its task."""
        for _ in range(self._threads):
            self._tasks.put(None)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
            del task  # or what it holds would stay until the next one comes
            with self._lock:
                self._idle += 1
