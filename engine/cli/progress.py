"""Shows people how a run goes on: live on a terminal, in plain lines elsewhere."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from ..events import Event

if TYPE_CHECKING:
    from rich.progress import TaskID

_NAMED = 12  # reused nodes in a line
_EVERY, _AT_LEAST_EVERY, _SHARE = 10.0, 60.0, 0.1
"""Plain progress lines: never closer than so many seconds; then after so many more, or after a share of the steps."""


class Progress(Protocol):
    """Takes the events of a run, and messages in between; `close` leaves the terminal as it was."""

    def take(self, event: Event) -> None: ...

    def say(self, message: str) -> None: ...

    def close(self) -> None: ...


class Reused:
    """Collects the names of reused nodes, which are many and finish at once, to be said in one line."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def said(self) -> str | None:
        """`reused: model, wanted, unwanted`; None where there is nothing to say."""
        names, self.names = self.names, []
        more = f", … {len(names)} in all" if len(names) > _NAMED else ""
        return f"reused: {', '.join(names[:_NAMED])}{more}" if names else None


class Silent:
    """Shows messages only."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def take(self, event: Event) -> None: ...

    def say(self, message: str) -> None:
        print(message, file=self.stream, flush=True)

    def close(self) -> None: ...


class Lines(Silent):
    """A line when a node starts and when it has finished, and now and then one in between."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream)
        self.clock = clock
        self.said: dict[str, tuple[float, float]] = {}
        self.reused = Reused()

    def take(self, event: Event) -> None:
        if event.get("status") == "reused":
            self.reused.names.append(event["node"])
            return
        self._say_reused()
        match event["event"]:
            case "run_started":
                for name, value in event.get("random", {}).items():
                    self.say(f"{name}: {value} (random)")
            case "log":
                self.say(f"{event['node']}: {event['message']}")
            case "node_started":
                self.said[event["node"]] = (self.clock(), 0.0)
                self.say(f"{event['node']}: started ({event['type']})")
            case "progress":
                self._progress(event["node"], event["step"], event["steps"], event.get("message", ""))
            case "node_finished":
                self.say(f"{event['node']}: {finished(event)}")

    def close(self) -> None:
        self._say_reused()

    def _say_reused(self) -> None:
        if line := self.reused.said():
            self.say(line)

    def _progress(self, node: str, step: int, steps: int, message: str) -> None:
        now, share = self.clock(), step / max(steps, 1)
        last, last_share = self.said[node]
        if now - last < _EVERY or (now - last < _AT_LEAST_EVERY and share - last_share < _SHARE - 1e-9):
            return
        self.said[node] = (now, share)
        # By the pace since the last line: the first steps may be slow, or done already by an earlier run.
        left = (now - last) * (1 - share) / (share - last_share) if share > last_share else None
        parts = [f"step {step} of {steps}", f"{duration(left)} left" if left is not None else "", message]
        self.say(f"{node}: {', '.join(filter(None, parts))}")


class Live:
    """A line for each node that runs, with its steps, the time left and its message; and one for each that finished."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        self.bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.fields[node]}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[message]}", markup=False),
            console=Console(file=stream),
            refresh_per_second=5,
        )
        self.tasks: dict[str, TaskID] = {}
        self.reused = Reused()
        self.bars.start()

    def take(self, event: Event) -> None:
        if event.get("status") == "reused":
            self.reused.names.append(event["node"])
            return
        self._say_reused()
        match event["event"]:
            case "run_started":
                for name, value in event.get("random", {}).items():
                    self.say(f"  {name}: {value} (random)")
            case "log":
                self.say(f"  {event['node']}: {event['message']}")
            case "node_started":
                fields: dict[str, Any] = {"node": event["node"], "message": ""}
                self.tasks[event["node"]] = self.bars.add_task("", total=None, **fields)
            case "progress":
                message = event.get("message", "")
                self.bars.update(
                    self.tasks[event["node"]], completed=event["step"], total=event["steps"], message=message
                )
            case "node_finished":
                if event["node"] in self.tasks:
                    self.bars.remove_task(self.tasks.pop(event["node"]))
                mark = {"computed": "✓", "failed": "✗"}.get(event["status"], "-")
                self.say(f"{mark} {event['node']}  {finished(event)}")

    def say(self, message: str) -> None:
        self.bars.console.print(message, markup=False, highlight=False)

    def _say_reused(self) -> None:
        if line := self.reused.said():
            self.say(f"✓ {line}")

    def close(self) -> None:
        self._say_reused()
        self.bars.stop()


def finished(event: Event) -> str:
    """What became of a node: `computed in 3.2 s`, `skipped: its `when` is false`."""
    seconds, reason = event.get("seconds"), event.get("reason")
    took = f" in {duration(seconds)}" if seconds is not None else ""
    return f"{event['status']}{took}{f': {reason}' if reason else ''}"


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
