"""Checks what is submitted: the graph with its params, before anything of it is kept."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from latentgraph.engine import describe
from latentgraph.engine.boxes import boxes_and_links
from latentgraph.engine.checked import CheckedGraph
from latentgraph.engine.diagnostics import Diagnostic, GraphWrong, nearest
from latentgraph.engine.graph import Graph
from latentgraph.engine.ports import PortType
from latentgraph.engine.problems import Problems
from latentgraph.engine.reading import Given, Written, checked
from latentgraph.engine.registry import Registry
from latentgraph.engine.render import to_json
from latentgraph.engine.roots import NOWHERE
from latentgraph.engine.types import bare, choices, type_name
from latentgraph.engine.values import is_known

from ..errors import BadRequest, GraphRefused
from .known import KnownGraphs
from .paths import clean
from .policy import Policy

REMEMBERED = 512
"""Graphs of which it is kept that they can run."""

INDENTED = 500_000
"""Characters of a graph that came as an object and is made easy to read; with more it would take seconds."""

SMALL = 2_000
"""Characters of a graph whose check takes no longer than other things that the event loop does."""


@dataclass(frozen=True)
class Asked:
    """A graph that a client names or brings, and the params it gives."""

    text: str
    name: str
    folder: Path
    reader: str | None
    """Whose uploads it may read; those of everybody for None."""
    params: Mapping[str, Any] | None = field(default_factory=dict)
    """None where only the graph is asked about: params without a default may then stay open."""
    targets: tuple[str, ...] = ()

    @property
    def written(self) -> Written:
        return Written(self.text.encode(), self.name, f"{self.name}.yaml", self.folder)

    @property
    def key(self) -> tuple[Any, ...]:
        """The same for two that ask for the same."""
        params = json.dumps(self.params, sort_keys=True)
        return self.digest, self.name, self.folder, self.reader, params, self.targets

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True)
class Accepted:
    """A graph that can run: the values drawn for its params, and which models it needs."""

    drawn: Mapping[str, int]
    models: tuple[str, ...]


class Checker:
    """Checks graphs with the node types that may run here. Safe to use from several threads."""

    def __init__(self, registry: Registry, known: KnownGraphs, policy: Policy) -> None:
        self.registry, self.known, self.policy = registry, known, policy
        self._accepted: OrderedDict[tuple[Any, ...], Accepted] = OrderedDict()

    def asked(
        self,
        graph: Any,
        params: Mapping[str, Any] | None,
        reader: str | None,
        name: str | None = None,
        targets: tuple[str, ...] = (),
    ) -> Asked:
        """What a client asks for. Raises BadRequest where it names a graph that is not there."""
        if isinstance(graph, Mapping):
            text = json.dumps(graph, ensure_ascii=False)
            if len(text) <= INDENTED:
                text = json.dumps(graph, ensure_ascii=False, indent=2)
            return Asked(text, name or "graph", NOWHERE, reader, params, targets)
        if not isinstance(graph, str) or not graph.strip():
            raise BadRequest("`graph` is the name of a graph, its YAML text, or an object")
        found = self.known.get(graph)
        if found is not None:
            return Asked(found.text, name or found.short, found.file.parent, reader, params, targets)
        if "\n" not in graph and ":" not in graph:
            near = nearest(graph, [known.name for known in self.known])
            meant = f"; did you mean `{near}`?" if near else ""
            raise BadRequest(f"there is no graph `{graph[:100]}`{meant}", code="unknown-graph")
        return Asked(graph, name or "graph", NOWHERE, reader, params, targets)

    @staticmethod
    def asked_again(row: sqlite3.Row, text: str) -> Asked:
        """What a job asked for, with what was drawn for it."""
        request, params = json.loads(row["request"]), json.loads(row["params"])
        folder, targets = Path(request["folder"]), tuple(request["targets"])
        return Asked(text, row["graph"], folder, request["reader"], params, targets)

    def is_quick(self, asked: Asked) -> bool:
        """Whether a graph is checked in an instant: it is small, as its params are, and has no large folder read, nor
        another graph file."""
        read = self.policy.files or ".yaml" in asked.text or ".yml" in asked.text
        return not read and len(asked.text) <= SMALL and len(json.dumps(asked.params)) <= SMALL

    def accepted(self, asked: Asked) -> Accepted | None:
        """What `accept` gave for the same before, if that is remembered: programs submit the same again and again."""
        return self._accepted.get(asked.key)

    def accept(self, asked: Asked) -> Accepted:
        """What is needed to run it. Raises GraphRefused with all that is wrong."""
        graph, diagnostics, _ = self.checked(asked)
        if graph is None:
            raise GraphRefused(diagnostics)
        accepted = Accepted(graph.random, tuple(sorted(set(_models(graph)))))
        if not graph.random and asked.folder == NOWHERE:
            self._accepted[asked.key] = accepted
            while len(self._accepted) > REMEMBERED:
                self._accepted.popitem(last=False)
        return accepted

    def checked(self, asked: Asked) -> tuple[CheckedGraph | None, list[dict[str, Any]], Graph | None]:
        """The graph, if nothing is wrong with it; what is to be said about it; and what could be read of it."""
        given = None if asked.params is None else Given(plain=asked.params, folder=asked.folder)
        with self.policy.reading(asked.reader):
            result = checked(asked.written, self.registry, given)
        found = list(result.problems)
        if result.graph is not None:
            problems = Problems()
            with contextlib.suppress(GraphWrong):  # when there are very many problems, which are enough
                self.policy.limits.check(result.graph, problems)
                for target in asked.targets:
                    if target not in result.graph.nodes:
                        problems.error("unknown-node", None, f"`targets`: the graph has no node `{target}`")
            found += problems.found
            if problems.any_errors:
                return None, _plain(found), result.read
        return result.graph, _plain(found), result.read

    def described(self, asked: Asked) -> dict[str, Any]:
        """Everything that can be said about a graph without running it, as `POST /v1/check` answers."""
        graph, diagnostics, read = self.checked(asked)
        answer: dict[str, Any] = {
            "ok": graph is not None,
            "diagnostics": diagnostics,
            "name": asked.name,
            "description": "",
            "params": [],
            "outputs": {},
            "boxes": [],
            "links": [],
        }
        if read is not None:
            answer["description"] = read.description
            answer["params"] = [describe.param(param) for param in read.params.values()]
        if graph is not None:
            answer["outputs"] = _outputs(graph)
            answer |= drawn(graph)
        return answer


def drawn(graph: CheckedGraph) -> dict[str, Any]:
    """A graph as boxes and links."""
    boxes, links = boxes_and_links(graph)
    return {
        "boxes": [
            {"node": box.name, "title": box.title, "details": [clean(line) for line in box.detail], "group": box.group}
            for box in boxes
        ],
        "links": [
            {
                "source": link.source,
                "output": link.output,
                "target": link.target,
                "input": link.input,
                "kind": link.type,
            }
            for link in links
        ],
    }


def _outputs(graph: CheckedGraph) -> dict[str, str]:
    found = {}
    for name, link in graph.outputs.items():
        kind = graph.nodes[link.node].type
        while isinstance(kind, CheckedGraph):
            link = kind.outputs[link.output]
            kind = kind.nodes[link.node].type
        found[name] = type_name(kind.outputs()[link.output].annotation)
    return found


def _models(graph: CheckedGraph) -> Iterator[str]:
    """The nodes that give models, with their inputs: where two jobs agree in them, one worker suits both.

    A model is any value that stands for files and says so (`PortType.sources`).
    """
    for node in graph.nodes.values():
        if isinstance(node.type, CheckedGraph):
            yield from _models(node.type)
            continue
        kinds = [bare(choice) for output in node.type.outputs().values() for choice in choices(output.annotation)]
        if any(
            isinstance(kind, type) and issubclass(kind, PortType) and kind.sources is not PortType.sources
            for kind in kinds
        ) and all(map(is_known, node.inputs.values())):
            yield f"{node.type.__name__}({', '.join(f'{name}={value}' for name, value in node.inputs.items())})"


def _plain(problems: list[Diagnostic]) -> list[dict[str, Any]]:
    return [clean(to_json(problem)) for problem in problems]
