"""Clients of a latentgraph server: `Client` waits, `AsyncClient` is for asyncio.

They know the protocol and nothing else of the server, neither its code nor what runs the nodes.
"""

from .client import AsyncClient, AsyncJob
from .errors import GraphRefused, JobCancelled, JobFailed, ServerError, Unreachable
from .events import (
    Event,
    Interrupted,
    Log,
    NodeFinished,
    NodeStarted,
    Output,
    Preview,
    Progress,
    Queued,
    RunFinished,
    RunStarted,
    Snapshot,
    Unknown,
)
from .results import AsyncOutputFile, Result
from .sync import Client, Job, OutputFile

__all__ = [
    "AsyncClient",
    "AsyncJob",
    "AsyncOutputFile",
    "Client",
    "Event",
    "GraphRefused",
    "Interrupted",
    "Job",
    "JobCancelled",
    "JobFailed",
    "Log",
    "NodeFinished",
    "NodeStarted",
    "Output",
    "OutputFile",
    "Preview",
    "Progress",
    "Queued",
    "Result",
    "RunFinished",
    "RunStarted",
    "ServerError",
    "Snapshot",
    "Unknown",
    "Unreachable",
]
