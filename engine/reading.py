"""Reads a graph, and what a user gives for its params, and checks both: every problem at once."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .check import check
from .checked import CheckedGraph
from .diagnostics import Diagnostic, GraphWrong, Note, Place, nearest
from .graph import Graph, Param, outside_limits, read_graph
from .ports import PortType
from .problems import Problems
from .registry import Registry
from .source import read as read_tree
from .values import UNUSABLE, Refused, admitted, converted, typed

REMEMBERED = 64
"""Graphs that are kept as they were read, because programs that serve read the same ones again and again."""


@dataclass(frozen=True)
class Written:
    """A graph as text, and what messages call it."""

    text: bytes
    name: str
    file: str
    folder: Path


@dataclass(frozen=True)
class Given:
    """What a user gives for the params of a graph: `--set` wins over `--params`, and that over what a picture says.

    A program gives `plain` values, as JSON has them, whose relative paths are relative to `folder`.
    """

    assigned: Mapping[str, str] = field(default_factory=dict)
    file: Path | None = None
    recorded: Mapping[str, Any] = field(default_factory=dict)
    plain: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = Path()


@dataclass(frozen=True)
class Checked:
    """What came of it. `graph` is None where there are errors among the problems, which are in order."""

    graph: CheckedGraph | None
    problems: tuple[Diagnostic, ...]
    texts: Mapping[str, str]
    """The texts of the files that the problems are about, by the files' names."""
    read: Graph | None = None
    """The graph as it was written, where that much could be read."""


def checked(written: Written, registry: Registry, given: Given | None) -> Checked:
    """The graph with the params given; where `given` is None, params without a default may stay open.

    Raises OSError where the file with params cannot be read.
    """
    texts = {written.file: written.text.decode("utf-8-sig", "replace")}
    problems = Problems()
    read = None
    try:
        read, found = _read(written)
        problems.found += found
        values = None if given is None else GivenParams(read, problems, texts).values(given)
        problems.drop_missing_defaults(values or {})
        graph = check(read, registry, problems, values)
    except GraphWrong as wrong:
        problems.found += wrong.diagnostics
        return Checked(None, problems.in_order(), texts | problems.texts, read)
    return Checked(None if problems.any_errors else graph, problems.in_order(), texts | problems.texts, read)


_remembered: dict[Written, tuple[Graph, tuple[Diagnostic, ...]]] = {}


def _read(written: Written) -> tuple[Graph, tuple[Diagnostic, ...]]:
    """The graph and what is wrong with its form; of the last few graphs it is remembered. Raises GraphWrong."""
    known = _remembered.get(written)
    if known is not None:
        return known
    problems = Problems()
    graph = read_graph(written.text, written.file, written.name, written.folder, problems)
    known = graph, tuple(problems.found)
    if not any(_names_files(param.default) for param in graph.params.values()):
        # Whether a file is there, and what is in it, has to be looked at each time.
        if len(_remembered) >= REMEMBERED:
            _remembered.pop(next(iter(_remembered)), None)
        _remembered[written] = known
    return known


def _names_files(default: Any) -> bool:
    if isinstance(default, tuple):
        return any(map(_names_files, default))
    return default is UNUSABLE or isinstance(default, PortType)


class GivenParams:
    """Gives the values of params. Those that were refused are UNUSABLE, their problems are said already."""

    def __init__(self, graph: Graph, problems: Problems, texts: dict[str, str]) -> None:
        self.graph, self.problems, self.texts = graph, problems, texts

    def values(self, given: Given) -> dict[str, Any]:
        """All values. Raises OSError, and GraphWrong where the file with params is neither YAML nor JSON."""
        values = self._in_file(given.file) if given.file is not None else {}
        values |= self._plain(given.plain, given.folder, "params: ") | self._set(given.assigned)
        return self._recorded({name: value for name, value in given.recorded.items() if name not in values}) | values

    def _set(self, assignments: Mapping[str, str]) -> dict[str, Any]:
        values = {}
        for name, text in assignments.items():
            param, option = self.graph.params.get(name), f"`--set {name}={_brief(text)}`"
            if param is None:
                self._unknown(name, f"{option}: ")
                continue
            try:
                value = typed(text, param.annotation, Path())
            except Refused as refused:
                self._refuse(param, refused, option)
                value = UNUSABLE
            values[name] = self._within_limits(param, value, option)
        return values

    def _in_file(self, file: Path) -> dict[str, Any]:
        content = file.read_bytes()
        self.texts[str(file)] = content.decode("utf-8-sig", "replace")
        if file.suffix == ".json":
            return self._plain(_json(content, file), file.parent, f"{file}: ")
        values = {}
        for key, tree in read_tree(content, str(file)).entries:
            param = self.graph.params.get(key.text)
            if param is None:
                self._unknown(key.text, "", key.place)
            else:
                value = converted(tree, param.taken, self.problems, f"params.{key.text}", file.parent)
                values[key.text] = self._within_limits(param, value, "", tree.place)
        return values

    def _plain(self, found: Mapping[str, Any], folder: Path, origin: str) -> dict[str, Any]:
        """Values as JSON has them."""
        values = {}
        for name, plain in found.items():
            param = self.graph.params.get(name)
            if param is None:
                self._unknown(name, origin)
            else:
                try:
                    value = admitted(plain, param.taken, folder)
                except Refused as refused:
                    self._refuse(param, refused, f"{origin}`{name}`")
                    value = UNUSABLE
                values[name] = self._within_limits(param, value, origin.removesuffix(": "))
        return values

    def _recorded(self, recorded: Mapping[str, Any]) -> dict[str, Any]:
        """What a picture says about its params: files are there by name and digest only, so they are given anew."""
        values: dict[str, Any] = {}
        for name, value in recorded.items():
            files = [
                file.get("name") for file in (value if isinstance(value, list) else [value]) if isinstance(file, dict)
            ]
            if files:
                values[name] = UNUSABLE
                listed = ", ".join(f"`{file}`" for file in files)
                self.problems.error(
                    "missing-file", None, f"the picture was made with {listed} as `{name}`",
                    help=f"give it: --set {name}=PATH", path=f"params.{name}",
                )  # fmt: skip
        plain = {name: value for name, value in recorded.items() if name not in values}
        return values | self._plain(plain, Path(), "the picture's params: ")

    def _within_limits(self, param: Param, value: Any, origin: str, place: Place | None = None) -> Any:
        limits = None if value is UNUSABLE or value is None else outside_limits(param, value)
        if limits is None:
            return value
        code, message = limits
        self.problems.error(
            code, place, f"{origin}: `{param.name}` {message}".removeprefix(": "),
            notes=[Note(f"`{param.name}` is declared here", param.place)], path=f"params.{param.name}",
        )  # fmt: skip
        return UNUSABLE

    def _refuse(self, param: Param, refused: Refused, origin: str) -> None:
        self.problems.error(
            refused.code, None, f"{origin}: {refused.message}", help=refused.help,
            notes=[Note(f"`{param.name}` is declared here", param.place)], path=f"params.{param.name}",
        )  # fmt: skip

    def _unknown(self, name: str, origin: str, place: Place | None = None) -> None:
        if self.problems.about("params", name):
            return  # it is declared, wrongly, which is said already
        near, known = nearest(name, list(self.graph.params)), ", ".join(self.graph.params)
        listed = f"its params: {known}" if known else "it has none"
        self.problems.error(
            "unknown-param", place, f"{origin}the graph has no param `{name}`",
            help=f"did you mean `{near}`?" if near else listed, path=f"params.{name}",
        )  # fmt: skip


def _json(content: bytes, file: Path) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise GraphWrong([Diagnostic("syntax", f"{file} is not JSON: {str(error).lower()}", None)]) from None
    if not isinstance(found, dict):
        raise GraphWrong([Diagnostic("wrong-type", f"{file} is not an object of names with values", None)])
    return found


def _brief(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"
