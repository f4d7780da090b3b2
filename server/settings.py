"""How a server was told to behave."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .checks.policy import Policy


@dataclass(frozen=True)
class Settings:
    """What the options of `latentgraph serve` say."""

    data: Path
    """Where everything that has to outlive the process is kept."""
    policy: Policy
    host: str = "127.0.0.1"
    port: int = 8765
    workers: int = 1
    devices: tuple[str, ...] = ()
    """What CUDA_VISIBLE_DEVICES is for each worker; empty where there are no GPUs."""
    store: Path | None = None
    durability: Literal["process", "power"] = "process"
    token_file: Path | None = None
    hosts: tuple[str, ...] = ()
    """Names by which the server may be called besides its own address."""
    origins: tuple[str, ...] = ()
    """Sites whose pages may use the server, such as `https://example.org`."""
    webhooks: tuple[str, ...] = ()
    """How URLs begin to which webhooks may be sent."""
    attempts: int = 3
    """How many workers may end while they run a job before it counts as failed."""
    keep_days: float = 30
    """How long jobs that are over are kept."""
    keep_bytes: int = 20 * 1024**3
    """How many bytes their outputs may have together; the oldest go first."""
    grace: float = field(default=10)
    """Seconds that jobs get to stop within a step, when the server is asked to end."""

    @property
    def database(self) -> Path:
        return self.data / "jobs.sqlite"

    @property
    def blobs(self) -> Path:
        return self.data / "outputs"

    @property
    def uploads(self) -> Path:
        return self.data / "uploads"

    @property
    def graphs(self) -> Path:
        return Path(self.policy.graphs)
