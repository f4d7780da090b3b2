"""Checks a graph's text, and shows in short what was found."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latentgraph.engine.check import CheckedGraph, check
from latentgraph.engine.diagnostics import Diagnostic
from latentgraph.engine.graph import read_graph
from latentgraph.engine.problems import Problems
from latentgraph.engine.registry import Registry


class Checking:
    """Checks graphs that stand in one folder with one set of node types."""

    def __init__(self, registry: Registry, folder: Path) -> None:
        self.registry, self.folder = registry, folder

    def check(self, text: str, given: Mapping[str, Any] | None = None) -> tuple[CheckedGraph, tuple[Diagnostic, ...]]:
        problems = Problems()
        file = self.folder / "graph.yaml"
        file.write_text(text)
        graph = read_graph(text, str(file), "graph", self.folder, problems)
        checked = check(graph, self.registry, problems, given)
        return checked, problems.in_order()

    def good(self, text: str, given: Mapping[str, Any] | None = None) -> CheckedGraph:
        """The checked graph, in which nothing is wrong."""
        checked, problems = self.check(text, given if given is not None else {})
        assert [str(problem) for problem in problems if problem.severity == "error"] == []
        return checked

    def said(self, text: str, given: Mapping[str, Any] | None = None) -> list[str]:
        """What was found, each as `file:line:column code: message`."""
        return [short(problem) for problem in self.check(text, given)[1]]

    def one(self, text: str, given: Mapping[str, Any] | None = None) -> Diagnostic:
        """The only thing that was found."""
        (problem,) = self.check(text, given)[1]
        return problem


def short(problem: Diagnostic) -> str:
    place = problem.place
    where = f"{Path(place.file).name}:{place.line}:{place.column} " if place else ""
    return f"{where}{problem.code}: {problem.message}"
