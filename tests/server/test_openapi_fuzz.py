"""Schemathesis on the server: whatever is sent, right or wrong, is answered as the OpenAPI document says.

`LATENTGRAPH_FUZZ=seconds` makes it take that long, with other requests every time.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import serving

TOKEN = "0123456789abcdef"
SECONDS = os.environ.get("LATENTGRAPH_FUZZ")

CONFIG = """\
[[operations]]
# A graph can be wrong, or not there, and a webhook not allowed, whatever the schema of the request says.
include-operation-id = ["submit", "check"]
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 403, 409, 422]

[[operations]]
# Not all characters can be printed.
include-operation-id = "upload"
checks.positive_data_acceptance.expected-statuses = ["2xx", 400]

[[operations]]
# What other answers call `graph` is no name, but the fuzzer tries it as one.
include-operation-id = "keep_graph"
checks.positive_data_acceptance.expected-statuses = ["2xx", 400]

[[operations]]
# A file need not have a range.
include-operation-id = ["uploaded", "output"]
checks.positive_data_acceptance.expected-statuses = ["2xx", 304, 404, 416]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[serving.Server]:
    folder = tmp_path_factory.mktemp("server")
    tokens = folder / "tokens"
    tokens.write_text(f"fuzzer read,submit,admin {TOKEN}\n")
    tokens.chmod(0o600)
    running = serving.start(folder, "--token-file", tokens, "--workers", "1").ready()
    yield running
    assert running.stop() == 0


def fuzz(server: serving.Server, folder: Path, *options: str) -> None:
    """Run schemathesis; its findings are the failure. Examples of graphs that draw pictures take too long for this."""
    (folder / "schemathesis.toml").write_text(CONFIG)
    document = server.get("/v1/openapi.json").text.replace('"txt2img"', '"number"')
    (folder / "openapi.json").write_text(document)
    command = [sys.executable, "-m", "schemathesis.cli", "run", "openapi.json", f"--url={server.url}", "--checks=all"]
    command += [f"--header=Authorization: Bearer {TOKEN}", "--no-color", "--generation-database=none", "--no-shrink"]
    command += ["--request-timeout=30", "--warnings=off", *([] if SECONDS else ["--seed=1"]), *options]
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout[-20_000:] + found.stderr
    assert "Traceback" not in server.log
    assert "never retrieved" not in server.log
    assert server.get("/v1/health").json == {"status": "ok"}


def test_everything_is_answered_as_documented(server: serving.Server, tmp_path: Path) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/yaml"}
    assert server.request("PUT", "/v1/graphs/number", serving.NUMBER.encode(), headers).status == 201
    # The feed is a stream without an end; a queue that is paused lets `wait` wait.
    operations = ["--exclude-operation-id=feed", "--exclude-operation-id=pause"]
    fuzz(server, tmp_path, *operations, f"--max-time={SECONDS or 24}")


def test_the_queue_and_the_feed_are_answered_as_documented(server: serving.Server, tmp_path: Path) -> None:
    fuzz(server, tmp_path, "--include-operation-id=pause", "--phases=coverage")
    fuzz(server, tmp_path, "--include-operation-id=feed", "--phases=coverage", "--mode=negative")


def test_the_document_is_what_was_tested(server: serving.Server) -> None:
    """That the fuzzer's operations are called so."""
    listed = {
        operation["operationId"]
        for path in json.loads(server.get("/v1/openapi.json").content)["paths"].values()
        for operation in path.values()
    }
    assert listed >= {"feed", "pause", "submit", "check", "upload", "uploaded", "output"}
