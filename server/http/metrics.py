"""The server's numbers in the text format of Prometheus."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..state import Server


def metrics_text(server: Server) -> str:
    return "\n".join(_lines(server)) + "\n"


def _lines(server: Server) -> Iterator[str]:
    rows = server.database.reading.execute("select state, count(*) from jobs group by state")
    counts = {row[0]: row[1] for row in rows}
    yield "# HELP latentgraph_jobs Jobs that are kept, by state."
    yield "# TYPE latentgraph_jobs gauge"
    for state in ("queued", "running", "done", "failed", "cancelled"):
        yield f'latentgraph_jobs{{state="{state}"}} {counts.get(state, 0)}'
    yield "# HELP latentgraph_submissions_total Submissions since the server started, by what became of them."
    yield "# TYPE latentgraph_submissions_total counter"
    for name, count in server.counts.items():
        yield f'latentgraph_submissions_total{{result="{name}"}} {count}'
    yield "# HELP latentgraph_workers Worker processes, by state."
    yield "# TYPE latentgraph_workers gauge"
    for state in ("starting", "idle", "busy"):
        found = sum(worker.state == state for worker in server.supervisor.workers)
        yield f'latentgraph_workers{{state="{state}"}} {found}'
    yield "# HELP latentgraph_worker_starts_total How often worker processes were started."
    yield "# TYPE latentgraph_worker_starts_total counter"
    yield f"latentgraph_worker_starts_total {sum(worker.starts for worker in server.supervisor.workers)}"
    yield "# HELP latentgraph_connections Websockets and event streams that are open."
    yield "# TYPE latentgraph_connections gauge"
    yield f"latentgraph_connections {server.connections}"
    yield "# HELP latentgraph_events_cursor The cursor of the newest event."
    yield "# TYPE latentgraph_events_cursor counter"
    yield f"latentgraph_events_cursor {server.log.head(None)}"
    if (memory := _memory()) is not None:
        yield "# HELP process_resident_memory_bytes Resident memory of the server's process in bytes."
        yield "# TYPE process_resident_memory_bytes gauge"
        yield f"process_resident_memory_bytes {memory}"


def _memory() -> int | None:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):  # not on Linux
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
