"""How long a client goes on trying, and how it says so."""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Literal

from .errors import ServerError, Unreachable

FIRST, LONGEST = 0.1, 5.0
"""Seconds before the first new attempt, and at most between two: each takes up to twice as long as the one before."""

BUSY = 120.0
"""Seconds for which a server that says it is busy is asked again."""

_log = logging.getLogger("latentgraph.client")


class Patience:
    """How long to wait for a server that does not answer: `seconds`, or not at all where it has never answered.

    `notice` is told, once each, that the server is lost, is busy, and is back.
    """

    def __init__(self, seconds: float, notice: Callable[[str], None] | None = None) -> None:
        self.seconds = seconds
        self.notice = notice or _log.warning
        self.reached = False
        """Whether the server has ever answered."""
        self._trouble: Literal["none", "lost", "busy"] = "none"

    def answered(self) -> None:
        self.reached = True
        if self._trouble == "lost":
            self._say("none", "the server answers again")

    def granted(self) -> None:
        self._trouble = "none"

    def lost(self, message: str) -> None:
        self._say("lost", message)

    def busy(self, message: str) -> None:
        self._say("busy", message)

    def _say(self, trouble: Literal["none", "lost", "busy"], message: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            self.notice(message)


class Attempts:
    """The attempts at one request, with exponential backoff and jitter between them."""

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self.count = 0
        self.lost: float | None = None
        """Since when the server does not answer."""
        self.refused: float | None = None
        """Since when it says that it is busy."""

    def answered(self) -> None:
        """The server is there, whatever it says."""
        self.lost = None
        self.patience.answered()

    def granted(self) -> None:
        """What was asked for goes on: should it be lost from now on, the next attempt is the first one again."""
        self.count, self.refused = 0, None
        self.patience.granted()

    async def after_loss(self, url: str, loss: BaseException, refused: bool = False) -> None:
        """Wait until the next attempt. Raises Unreachable where none is left."""
        reason = f"{url} does not answer: {str(loss) or type(loss).__name__}"
        if refused and not self.patience.reached:
            raise Unreachable(reason) from loss
        delay, now = self._delay(), time.monotonic()
        self.lost = self.lost or now
        if now + delay - self.lost > self.patience.seconds:
            raise Unreachable(f"{reason} (tried for {now - self.lost:.0f} s)") from loss
        if delay >= 0.5:  # a connection that comes back at once is nothing to talk about
            self.patience.lost(f"{url} does not answer; waiting for it")
        await asyncio.sleep(delay)

    async def after_refusal(self, error: ServerError, wait: float) -> None:
        """Wait as long as the server says. Raises the error where it is for good, or that would be too long."""
        delay, now = max(self._delay(), wait), time.monotonic()
        self.refused = self.refused or now
        if not error.temporary or now + delay - self.refused > BUSY:
            raise error
        self.patience.busy(f"the server is busy: {error.message}; trying again")
        await asyncio.sleep(delay)

    def _delay(self) -> float:
        self.count += 1
        return random.uniform(0.5, 1.0) * min(FIRST * 2.0 ** min(self.count - 1, 20), LONGEST)
