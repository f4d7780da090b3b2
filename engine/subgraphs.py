"""Graph files that a graph uses as node types, and those that these use: read before anything is checked.

Each file is read once, with a list of what is still to be read and no recursion, and nothing is checked before their
number is known: a tree of files that goes too deep, too wide or round in circles is refused at little cost.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .diagnostics import Diagnostic, GraphWrong, Note, Place
from .graph import Graph, WrittenNode, read_graph
from .node import REQUIRED, Field, Input, Node, Output
from .order import cycles, in_order
from .params import MISSING, Param, is_drawn
from .ports import File
from .problems import Problems
from .registry import Registry
from .shapes import Shape, Shapes
from .source import BYTES, Scalar
from .values import Refused, admitted

DEEPEST = 64
MOST_NODES = 100_000


GRAPH_FILE = r"^(\.{1,2}/|/).*\.ya?ml$"


def is_graph_file(node_type: str) -> bool:
    """Whether what a node says as its type is the path of a graph file, as GRAPH_FILE says it."""
    return node_type.endswith((".yaml", ".yml")) and node_type.startswith(("./", "../", "/"))


@dataclass
class GraphFile:
    """A graph file that is used as a node type, or the graph itself that uses them.

    `used` says where it is used first, and where what uses it there is used. `uses` are the graph files that it names
    as types, each with its key where it could be read; `types` all types of its nodes, `shapes` their shapes.
    """

    key: str
    graph: Graph
    problems: tuple[Diagnostic, ...] = ()
    used: tuple[Note, ...] = ()
    uses: dict[str, tuple[Scalar, str | None]] = field(default_factory=dict)
    types: Mapping[str, type[Node] | GraphFile | None] = field(default_factory=dict)
    shapes: Shapes = field(init=False)
    shape: Shape | None = None
    """What it is as a node type; None where it cannot be one."""

    def used_keys(self) -> dict[str, Scalar]:
        """The keys of the graph files that it uses, and where it does first."""
        return {key: written for written, key in reversed(self.uses.values()) if key is not None}


def load_files(graph: Graph, registry: Registry, problems: Problems) -> GraphFile:
    """The graph with the types and shapes of its nodes; what is wrong with files and their use goes to `problems`."""
    return _Files(graph, registry, problems).load()


class _Files:
    def __init__(self, graph: Graph, registry: Registry, problems: Problems) -> None:
        self.registry, self.problems = registry, problems
        self.root = GraphFile(os.path.realpath(graph.file), graph)
        self.files: dict[str, GraphFile | None] = {self.root.key: self.root}

    def load(self) -> GraphFile:
        usable: dict[str, GraphFile] = {}
        if self._read_all():
            for file in self._from_the_leaves_up():
                self._settle(file, usable)
                file.shape = _shape(file)
                usable[file.key] = file
        if self.root.key not in usable:
            self._settle(self.root, usable)
        return self.root

    def _error(self, file: GraphFile, code: str, place: Place, message: str, help: str | None = None) -> None:
        self.problems.error(code, place, message, help=help, notes=file.used)

    # reading

    def _read_all(self) -> bool:
        """Read all files, and say whether there are not too many of them."""
        left, nodes = deque([self.root]), 0
        while left:
            file = left.popleft()
            nodes += len(file.graph.nodes)
            for written in file.graph.nodes.values():
                text = written.type.text
                if not is_graph_file(text) or text in file.uses:
                    continue
                if nodes > MOST_NODES:
                    self._error(file, "too-large", written.type.place, _TOO_MANY)
                    return False
                path = self._found(file, written.type)
                key = os.path.realpath(path) if path is not None else None
                file.uses[text] = (written.type, key)
                if path is not None and key is not None and key not in self.files:
                    self.files[key] = found = self._read(file, written, key, path)
                    left += [found] if found is not None else []
        return True

    def _found(self, file: GraphFile, written: Scalar) -> Path | None:
        try:
            found = admitted(written.text, File, file.graph.folder)
        except Refused as refused:
            self._error(file, refused.code, written.place, refused.message, refused.help)
            return None
        return Path(os.path.normpath(found.path))

    def _read(self, file: GraphFile, written: WrittenNode, key: str, path: Path) -> GraphFile | None:
        used = (written.use(), *file.used)
        problems = Problems()
        graph = None
        try:
            with path.open("rb") as opened:
                content = opened.read(BYTES + 1)
            self.problems.texts[str(path)] = content.decode("utf-8-sig", "replace")
            graph = read_graph(content, str(path), path.stem, path.parent, problems)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            self._error(file, "missing-file", written.type.place, f"`{written.type.text}` cannot be read: {reason}")
        except GraphWrong as wrong:
            problems.found = list(wrong.diagnostics)
        self.problems.add(problems.found, used)
        return GraphFile(key, graph, tuple(problems.found), used) if graph is not None else None

    # order

    def _from_the_leaves_up(self) -> Iterator[GraphFile]:
        """The files that can be used, each after those that it uses; says which cannot."""
        files = {key: file for key, file in self.files.items() if file is not None}
        waits = {key: [used for used in file.used_keys() if used in files] for key, file in files.items()}
        order = in_order(waits)
        for cycle in cycles(waits) if len(order) < len(files) else ():
            self._recursion(cycle)
        sizes, depths = dict[str, int](), dict[str, int]()
        for key in order:
            file = files[key]
            keys = [file.uses.get(node.type.text, (None, None))[1] for node in file.graph.nodes.values()]
            sizes[key] = sum(1 + sizes.get(used or "", 0) for used in keys)
            depths[key] = 1 + max((depths[used] for used in waits[key]), default=-1)
            if sizes[key] > MOST_NODES and waits[key]:
                largest = max(waits[key], key=sizes.__getitem__)
                self._error(file, "too-large", file.used_keys()[largest].place, _TOO_MANY)
                return
            if depths[key] > DEEPEST:
                deepest = max(waits[key], key=depths.__getitem__)
                message = f"graph files use each other more than {DEEPEST} levels deep"
                self._error(file, "too-deep", file.used_keys()[deepest].place, message)
                return
            yield file

    def _recursion(self, cycle: list[str]) -> None:
        places = list(self.files)
        first = min(range(len(cycle)), key=lambda index: places.index(cycle[index]))
        # The cycle goes from what is used to what uses it.
        chain = [*cycle[first::-1], *cycle[:first:-1], cycle[first]]
        file = self.files[chain[0]]
        assert file is not None
        names = [Path(key).name for key in chain]
        self._error(
            file, "recursion", file.used_keys()[chain[1]].place,
            f"{names[0]} uses itself as a node type: {' → '.join(names)}", "let one of them do without the other",
        )  # fmt: skip

    # types

    def _settle(self, file: GraphFile, usable: Mapping[str, GraphFile]) -> None:
        """Find the types and shapes of the file's nodes."""

        def type_of(text: str) -> type[Node] | GraphFile | None:
            return usable.get(file.uses[text][1] or "") if text in file.uses else self.registry.get(text)

        file.types = {name: type_of(node.type.text) for name, node in file.graph.nodes.items()}
        shapes = {name: kind.shape if isinstance(kind, GraphFile) else kind for name, kind in file.types.items()}
        file.shapes = Shapes(file.graph, shapes)


_TOO_MANY = f"with those of the graph files that it uses, the graph has more than {MOST_NODES:,} nodes"


def _shape(file: GraphFile) -> Shape:
    """What a graph file is as a node type: its params are the inputs. What is wrong in it fits everything."""
    inputs = {name: _input(param) for name, param in file.graph.params.items()}
    outputs = {name: Output(name, file.shapes.of_tree(link)) for name, (_, link) in file.graph.outputs.items()}
    for problem in file.problems:
        section, _, name = problem.path.partition(".")
        name = name.partition(".")[0]
        if section == "params" and name:
            inputs.setdefault(name, Input(name, Any, None, "", Field()))
        elif section == "outputs" and name:
            outputs.setdefault(name, Output(name, Any))
    primary = next(iter(outputs.values())) if len(outputs) == 1 else None
    required = tuple(name for name, entry in inputs.items() if entry.required)
    return Shape(Path(file.key).name, inputs, outputs, primary, params=file.graph.params, required=required)


def _input(param: Param) -> Input:
    """A param as an input; one that would be drawn has to be given, so that whoever looks at a run can see it."""
    default = REQUIRED if param.default is MISSING or is_drawn(param, param.default) else param.default
    return Input(param.name, param.annotation, default, param.description, Field())
