"""What each node of a run cost."""

from collections.abc import Iterable

from ..events import Event
from .nodes import table
from .progress import duration
from .stores import size


class Profile:
    """Collects what the events of a run say about cost."""

    def __init__(self) -> None:
        self.types: dict[str, str] = {}
        self.finished: list[Event] = []

    def take(self, event: Event) -> None:
        if event["event"] == "node_started":
            self.types[event["node"]] = event["type"]
        elif event["event"] == "node_finished":
            self.finished.append(event)

    def table(self) -> Iterable[str]:
        """A line for each node that was computed, the slowest first.

        `peak memory` is the most that the process held until the node had finished; of quick nodes it is not asked.
        """
        computed = sorted(
            (event for event in self.finished if "bytes" in event), key=lambda event: event["seconds"], reverse=True
        )
        rows = [("node", "type", "time", "peak memory", "stored")]
        for event in computed:
            node = event["node"]
            memory = size(event["memory"]) if "memory" in event else ""
            cost = (duration(event["seconds"]), memory, size(event["bytes"]))
            rows.append((node, self.types.get(node, ""), *cost))
        return table(rows)
