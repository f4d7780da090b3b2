"""What a command line asks of a server: the graph, the values of its params, the files among them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from latentgraph.engine.diagnostics import Diagnostic, Edit, GraphWrong, Note, Place
from latentgraph.engine.graph import Graph, read_graph
from latentgraph.engine.ports import File, Folder
from latentgraph.engine.problems import Problems
from latentgraph.engine.reading import Given, GivenParams, Written
from latentgraph.engine.registry import load_registry
from latentgraph.engine.types import choices, element, union
from latentgraph.engine.values import UNUSABLE

from .client import AsyncClient, name_for

_ONLY_PARAMS = "files of params are sent; folders, graph files and files that nodes name have to be at the server"


@dataclass
class Request:
    """A graph as it is to be sent, with the values given for its params, and what is wrong with these."""

    written: Written
    known: str | None
    """The name under which the server knows the graph; None where its text has to be sent."""
    given: Given
    graph: Graph | None = None
    values: dict[str, Any] = field(default_factory=dict)
    problems: list[Diagnostic] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises OSError where the file with params cannot be read."""
        load_registry([])  # makes the port types known that params may have
        self.texts[self.written.file] = self.written.text.decode("utf-8-sig", "replace")
        form, values = Problems(), Problems()
        try:
            graph = self.graph = read_graph(
                self.written.text, self.written.file, self.written.name, self.written.folder, form
            )
            params = {name: replace(param, annotation=_sent(param.annotation)) for name, param in graph.params.items()}
            self.values = GivenParams(replace(graph, params=params), values, self.texts).values(self.given)
        except GraphWrong as wrong:
            self.problems += wrong.diagnostics
            return
        self.problems += values.found
        if self.known is None:
            self._take_defaults(graph, form)
        # What else is wrong with the form is for the server to say, which may have other node types.

    def _take_defaults(self, graph: Graph, form: Problems) -> None:
        """Files that are defaults are here and not at the server, so they are given like any other value."""
        form.drop_missing_defaults(self.values)
        self.problems += [found for found in form.found if found.code == "missing-file"]
        for name, param in graph.params.items():
            if name not in self.values and _has_files(param.default):
                self.values[name] = param.default

    async def params(self, client: AsyncClient) -> dict[str, Any]:
        """The values as JSON, after sending the files among them, where nothing is wrong so far. Raises ServerError."""
        sent: dict[Path, str] = {}

        async def plain(value: Any) -> Any:
            if isinstance(value, tuple):
                return [await plain(item) for item in value]
            if not isinstance(value, File) or value.path is None:
                return value
            if value.path not in sent:
                sent[value.path] = await client.upload(value.path, value.name)
            return sent[value.path]

        wrong = bool(self.problems)
        return {
            name: await plain(value)
            for name, value in self.values.items()
            if value is not UNUSABLE and not (wrong and _has_files(value))
        }

    async def check(self, client: AsyncClient, params: Mapping[str, Any]) -> tuple[list[Diagnostic], bool]:
        """Every problem, those that the server finds with these params, too; and whether any is an error."""
        told = await client.check(self.sent, params, name=self.name)
        problems = Problems(list(self.problems))
        # What is wrong was not sent, which the server need not complain about.
        unsent = {f"params.{name}" for name in self.values.keys() - params.keys()}
        known = {(problem.code, problem.path, problem.place) for problem in self.problems}
        problems.found += [
            found
            for found in self.told(told["diagnostics"])
            if found.path not in unsent and (found.code, found.path, found.place) not in known
        ]
        problems.drop_missing_defaults(self.values)
        return list(problems.in_order()), problems.any_errors

    @property
    def name(self) -> str:
        """What the server calls the graph."""
        return name_for(self.written.name)

    @property
    def sent(self) -> str:
        """What the server is sent as the graph."""
        return self.known or self.written.text.decode("utf-8-sig", "replace")

    def told(self, diagnostics: Any) -> list[Diagnostic]:
        """Diagnostics as the server tells them, with the graph's file called as it is called here."""
        names = {f"{self.name}.yaml": self.written.file}
        found = [_diagnostic(told, names) for told in diagnostics]
        if self.known is None:
            found = [
                replace(problem, help=_ONLY_PARAMS) if problem.code == "missing-file" and not problem.help else problem
                for problem in found
            ]
        return found


def _sent(annotation: Any) -> Any:
    """The type of what is given for a param: a folder cannot be sent, so it is the path of one at the server."""
    inner = element(annotation)
    if inner is not None:
        return tuple[_sent(inner), ...]  # type: ignore[misc]
    alternatives = choices(annotation)
    if len(alternatives) > 1:
        return union(map(_sent, alternatives))
    return str if annotation is Folder else annotation


def _has_files(value: Any) -> bool:
    return isinstance(value, File) or (isinstance(value, tuple) and any(map(_has_files, value)))


def _diagnostic(told: Mapping[str, Any], names: Mapping[str, str]) -> Diagnostic:
    def place(told: Mapping[str, Any]) -> Place | None:
        if told["file"] is None:
            return None
        numbers = (told[name] for name in ("line", "column", "end_line", "end_column"))
        return Place(names.get(told["file"], told["file"]), *numbers)

    return Diagnostic(
        told["code"],
        told["message"],
        place(told),
        told["help"],
        tuple(Note(note["message"], place(note)) for note in told["notes"]),
        told["severity"],
        told["path"],
        tuple(Edit(where, edit["text"]) for edit in told["fix"] if (where := place(edit)) is not None),
    )
