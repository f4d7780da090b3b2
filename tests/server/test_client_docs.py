"""The examples of docs/client.md and docs/javascript/README.md, run against a real server."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import serving

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
URL = "http://127.0.0.1:8765"


def blocks(file: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (DOCS / file).read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[serving.Server]:
    running = serving.start(tmp_path_factory.mktemp("server"), "--workers", "1")
    yield running
    running.stop()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with the files that the examples name."""
    shutil.copy(ROOT / "graphs" / "examples" / "dog.png", tmp_path / "dog.png")
    shutil.copy(ROOT / "graphs" / "txt2img.yaml", tmp_path / "my-graph.yaml")
    return tmp_path


def ran(command: list[str], folder: Path) -> str:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("example", blocks("client.md", "python"))
def test_an_example_in_python_runs(example: str, server: serving.Server, folder: Path) -> None:
    assert URL in example
    ran([sys.executable, "-c", example.replace(URL, server.url)], folder)


@pytest.mark.parametrize("example", blocks("client.md", "sh"))
def test_an_example_of_commands_runs(example: str, server: serving.Server, folder: Path) -> None:
    assert URL in example
    ran(["bash", "-euc", example.replace(URL, server.url)], folder)


@pytest.mark.browser
@pytest.mark.parametrize("example", blocks("javascript/README.md", "js"))
def test_an_example_in_javascript_runs(example: str, server: serving.Server, folder: Path) -> None:
    shutil.copy(DOCS / "javascript" / "latentgraph.mjs", folder)
    (folder / "example.mjs").write_text(example.replace(URL, server.url))
    printed = ran(["node", "example.mjs"], folder)
    assert "done /v1/jobs/" in printed
    assert "graph-wrong" in printed
