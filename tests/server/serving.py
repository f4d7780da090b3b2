"""A real server in a process of its own, for tests: started, killed, started again at the same port."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TINY = Path(__file__).with_name("served_nodes.py")
"""Small node types for graphs that need no model."""

NUMBER = """\
latentgraph: 1
params:
  value: {type: int, default: 1}
nodes:
  number: {type: Constant, inputs: {value: $params.value}}
outputs:
  number: $number
"""
"""The smallest graph: one node that gives a number."""


@dataclass
class Server:
    """A server that was started; `restart` brings it back with the same data and port."""

    folder: Path
    options: list[str]
    environment: dict[str, str]
    port: int = 0
    process: Any = field(default=None)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text()

    def start(self) -> Server:
        """Start the process and wait until it listens."""
        with (self.folder / "server.log").open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "latentgraph.engine.cli", "serve", *self.options, *self._places()],
                stdout=subprocess.PIPE,
                stderr=log,
                env=self.environment,
                text=True,
            )
        line = self.process.stdout.readline()
        assert line.startswith("latentgraph serves at "), f"{line}{self.log}"
        self.port = int(line.rstrip("/\n").rpartition(":")[2])
        return self

    def _places(self) -> list[str]:
        return ["--port", str(self.port), "--data", str(self.folder / "data")]

    def kill(self) -> None:
        """End it as the kernel would, without a chance to do anything."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask it to end, and wait until it has."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def restart(self) -> None:
        self.kill()
        self.start()

    def workers(self) -> list[int]:
        """The process ids of its workers."""
        found = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True)
        return [int(line) for line in found.stdout.split()]

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, timeout: float = 120
    ) -> Answer:
        """Send a request; a body that is no bytes is sent as JSON. Answers of all kinds are given, errors too."""
        data, more = body, dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            data = json.dumps(body).encode()
            more = {"Content-Type": "application/json", **more}
        request = urllib.request.Request(self.url + path, data=data, headers=more, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                return Answer(response.status, response.read(), dict(response.headers))
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read(), dict(error.headers))

    def get(self, path: str, **more: Any) -> Answer:
        return self.request("GET", path, **more)

    def run(self, graph: Any, params: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """Submit a graph and wait for its end; gives the job's document."""
        answer = self.request("POST", "/v1/jobs?wait=120", {"graph": graph, "params": params or {}, **more})
        assert answer.status == 200, answer.text
        return answer.json

    def ready(self) -> Server:
        """Wait until a worker is there."""
        deadline = time.monotonic() + 60
        while self.get("/v1/ready").status != 200:
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)
        return self


@dataclass
class Answer:
    status: int
    content: bytes
    headers: dict[str, str]

    @property
    def text(self) -> str:
        return self.content.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.content)


def start(folder: Path, *options: str | Path, nodes: bool = True) -> Server:
    """Start a server whose data and store are in `folder`, with the node types of served_nodes.py."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "LATENTGRAPH_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    given = [str(option) for option in options]
    if nodes:
        given += ["--nodes", str(TINY)]
    return Server(folder, given, environment).start()
