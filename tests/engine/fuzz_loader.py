"""What has to hold for whatever bytes are given as a graph; as a script, fuzzes just that with atheris.

The script needs `pip install atheris`, and takes the options of libFuzzer:
`python tests/engine/fuzz_loader.py -max_total_time=600 -rss_limit_mb=500 -timeout=10 [FOLDER_OF_INPUTS]`
"""

import json
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from unittest.mock import patch

from hostile import FILES

from latentgraph.engine.cli.show import json_line
from latentgraph.engine.diagnostics import CODES, Diagnostic, Place
from latentgraph.engine.library import shipped_graphs
from latentgraph.engine.plan import plan
from latentgraph.engine.reading import Given, Written, checked
from latentgraph.engine.registry import Registry, load_registry
from latentgraph.engine.render import SourceLine, lines_of, to_github, to_json, to_terminal
from latentgraph.engine.store import open_store

SECONDS = 5
"""Of processor time, so that a busy machine makes nothing look like a hang."""
FRAMES = 800
"""How deep calls may go: Python's limit is 1,000, and whoever checks graphs stands on some frames of their own."""
TINY_NODES = Path(__file__).with_name("tiny_nodes.py")


class Hang(BaseException):
    """Something takes too long. No Exception, so that nobody catches it by mistake."""


@contextmanager
def limits() -> Iterator[None]:
    """Raises Hang in what takes too long, and RecursionError in what goes too deep."""

    def hang(number: int, frame: FrameType | None) -> None:
        raise Hang(f"still busy after {SECONDS} seconds")

    depth, frame = 0, sys._getframe()
    while frame.f_back is not None:
        depth, frame = depth + 1, frame.f_back
    usual = sys.getrecursionlimit()
    before = signal.signal(signal.SIGPROF, hang)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    sys.setrecursionlimit(depth + FRAMES)
    try:
        yield
    finally:
        sys.setrecursionlimit(usual)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def examine(content: bytes, folder: Path, registry: Registry, given: Given | None = None) -> tuple[Diagnostic, ...]:
    """Check and plan a graph; what is wrong with it. Raises AssertionError where what has to hold does not."""
    file = folder / "graph.yaml"
    file.write_bytes(content)
    written = Written(content, "graph", str(file), folder)
    with patch("secrets.randbelow", lambda limit: limit // 2), patch("secrets.choice", min):
        with limits():
            result = checked(written, registry, given)
        assert result.problems == checked(written, registry, given).problems
    assert (result.graph is None) == any(problem.severity == "error" for problem in result.problems)
    files = {place.file for problem in result.problems for place in _places(problem)}
    source = lines_of({name: Path(name).read_bytes().decode("utf-8-sig", "replace") for name in files})
    with limits():
        for problem in result.problems:
            _examine_diagnostic(problem, source)
    if result.graph is not None and given is not None:
        with limits():
            plan(result.graph, open_store(None))
    return result.problems


def _places(problem: Diagnostic) -> list[Place]:
    places = [problem.place, *(note.place for note in problem.notes), *(edit.place for edit in problem.fix)]
    return [place for place in places if place is not None]


def _examine_diagnostic(problem: Diagnostic, source: SourceLine) -> None:
    assert problem.code in CODES
    assert problem.message
    for place in _places(problem):
        _examine_place(place, source)
    for text in (
        to_terminal(problem, source),
        to_terminal(problem, source, colour=True),
        str(problem),
        to_github(problem),
    ):
        text.encode("utf-8", "backslashreplace")  # as the command line writes it
    json.loads(json_line(to_json(problem)).encode("utf-8", "backslashreplace"))


def _examine_place(place: Place, source: SourceLine) -> None:
    for number, column in ((place.line, place.column), (place.end_line, place.end_column)):
        found = source(place.file, number)
        assert found is not None, f"{place} has no such line"
        assert 1 <= column <= len(found) + 1, f"{place} is outside of its line, which has {len(found)} characters"
    assert (place.line, place.column) <= (place.end_line, place.end_column), f"{place} ends before it begins"


def known_types() -> Registry:
    """All node types that are installed, and those of the engine's tests."""
    return load_registry([TINY_NODES])


def main() -> None:
    import atheris

    # What finds its way by coverage has to be imported under atheris's eyes: once more.
    for name in [name for name in sys.modules if name.partition(".")[0] == "latentgraph"]:
        del sys.modules[name]
    with atheris.instrument_imports(include=["latentgraph"]):
        import fuzz_loader as watched
    folder, inputs = Path(tempfile.mkdtemp()), Path(tempfile.mkdtemp())
    for number, (_, path) in enumerate(shipped_graphs()):
        (inputs / f"shipped-{number}.yaml").write_bytes(path.read_bytes())
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
        (inputs / name).write_bytes(content)
    registry = watched.known_types()

    def one_input(content: bytes) -> None:
        watched.examine(content, folder, registry, watched.Given())

    atheris.Setup([*sys.argv, str(inputs)], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
