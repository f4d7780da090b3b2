"""A graph as it was written: params, nodes and outputs, each with its place in the file.

Reading finds what is wrong with the form of the file; whether types, names and links are right is for `check`.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .diagnostics import Note, Place
from .params import MISSING, Param, known_keys, outside_limits, read_param
from .problems import Problems
from .source import Mapping as Entries
from .source import Scalar, Tree, read

__all__ = ["FORMAT", "MISSING", "Graph", "Param", "WrittenNode", "outside_limits", "read_graph"]

FORMAT = 1
NAME = re.compile(r"[A-Za-z_]\w*")
NODE_KEYS = ("type", "inputs", "when", "foreach", "timeout", "retry", "description")
RETRIES = 100
GRAPH_KEYS = ("latentgraph", "description", "params", "nodes", "outputs")


@dataclass(frozen=True)
class WrittenNode:
    """One node as the file has it: the name of its type, and the trees of its inputs."""

    name: Scalar
    type: Scalar
    inputs: Entries | None
    place: Place
    complete: bool = True
    """Whether all that was written for the inputs could be read: if not, none of them is missed."""
    when: Tree | None = None
    foreach: Entries | None = None
    zipped: bool = False
    """Whether the lists of `foreach` are walked side by side."""
    timeout: float | None = None
    retry: int = 0

    def entries(self) -> Iterable[tuple[Scalar, Tree]]:
        return self.inputs.entries if self.inputs else ()

    def use(self) -> Note:
        """Says where a graph file is used, for what is wrong inside it."""
        return Note(f"`{self.type.text}` is used here", self.type.place)


@dataclass(frozen=True)
class Graph:
    """A graph file, read."""

    name: str
    text: str
    folder: Path
    file: str = ""
    """What messages call it: the path by which it was found, if it has one."""
    description: str = ""
    params: Mapping[str, Param] = field(default_factory=dict)
    nodes: Mapping[str, WrittenNode] = field(default_factory=dict)
    outputs: Mapping[str, tuple[Scalar, Scalar]] = field(default_factory=dict)
    misspelt: frozenset[str | None] = frozenset()
    """Sections that were probably meant by keys that are none, so that nothing in them is known."""


def read_graph(text: str | bytes, file: str, name: str, folder: Path, problems: Problems) -> Graph:
    """The graph that `text` holds; what is wrong with its form goes to `problems`.

    `file` is what messages call the file; relative paths in it are relative to `folder`. Raises GraphWrong where the
    text is no YAML at all or in a newer format, so that nothing can be said about the rest.
    """
    tree = read(text, file)
    _version(tree, problems)
    misspelt = known_keys(tree, GRAPH_KEYS, "a graph", "", problems)
    params = {
        key.text: param
        for key, value in _section(tree, "params", problems)
        if _named(key, "param", problems) and (param := read_param(key, value, folder, problems)) is not None
    }
    nodes = {
        key.text: node
        for key, value in _section(tree, "nodes", problems)
        if _named(key, "node", problems) and (node := _node(key, value, problems)) is not None
    }
    outputs: dict[str, tuple[Scalar, Scalar]] = {}
    for key, value in _section(tree, "outputs", problems):
        if not _named(key, "output", problems):
            continue
        if isinstance(value, Scalar) and isinstance(value.value, str):
            outputs[key.text] = (key, value)
        else:
            problems.error(
                "wrong-type", value.place, f"the output `{key.text}` is not a link",
                help="write a link to a node's output, such as $decoded", path=f"outputs.{key.text}",
            )  # fmt: skip
    for section, what in (("nodes", "nodes"), ("outputs", "outputs, so nothing would run")):
        if tree.get(section) is None and section not in misspelt:
            example = "name what to keep, for example:  outputs: {image: $decoded}" if section == "outputs" else None
            problems.error("missing-key", tree.place, f"the graph has no {what}", help=example, path=section)
    description = tree.get("description")
    return Graph(
        name=name,
        folder=folder,
        file=file,
        text=text if isinstance(text, str) else text.decode("utf-8-sig", "replace"),
        description=description.text if isinstance(description, Scalar) else "",
        params=params,
        nodes=nodes,
        outputs=outputs,
        misspelt=frozenset(misspelt),
    )


def _version(tree: Entries, problems: Problems) -> None:
    """Says where the format's version is missing or none. Raises GraphWrong where this release cannot read it."""
    version = tree.get("latentgraph")
    if version is None:
        problems.error(
            "missing-key", tree.place, "the file does not say which version of the format it is in",
            help="begin it with: latentgraph: 1", path="latentgraph",
        )  # fmt: skip
    elif not isinstance(version, Scalar) or type(version.value) is not int or version.value < 1:
        problems.error(
            "wrong-type", version.place, "`latentgraph` is the number of the format's version",
            help=f"write latentgraph: {FORMAT}", path="latentgraph",
        )  # fmt: skip
    elif version.value > FORMAT:
        problems.error(
            "newer-format", version.place,
            f"the file is in format {version.value}, this release of latentgraph reads formats up to {FORMAT}",
            help="install a newer release: pip install --upgrade latentgraph", path="latentgraph",
        )  # fmt: skip
        problems.raise_errors()


def _section(tree: Entries, name: str, problems: Problems) -> Iterable[tuple[Scalar, Tree]]:
    section = tree.get(name)
    if section is None or (isinstance(section, Scalar) and section.value is None and name == "params"):
        return ()
    if not isinstance(section, Entries) or not section.entries:
        problems.error(
            "wrong-type", section.place, f"`{name}` is not a list of names with what belongs to each",
            help=f"indent the {name} below it, one `name: …` a line", path=name,
        )  # fmt: skip
        return ()
    return section.entries


def _named(key: Scalar, what: str, problems: Problems) -> bool:
    if NAME.fullmatch(key.text) and key.text != "params":
        return True
    reason = "is reserved" if key.text == "params" else "is no name"
    problems.error(
        "bad-name", key.place, f"`{key.text}` {reason}, so no {what} can be called so",
        help="a name begins with a letter or _ and goes on with letters, digits or _", path=f"{what}s.{key.text}",
    )  # fmt: skip
    return False


def _node(key: Scalar, value: Tree, problems: Problems) -> WrittenNode | None:
    path = f"nodes.{key.text}"
    if not isinstance(value, Entries):
        problems.error(
            "wrong-type", value.place, f"the node `{key.text}` does not say its type",
            help=f"write {key.text}: {{type: …, inputs: {{…}}}}", path=path,
        )  # fmt: skip
        return None
    misspelt = known_keys(value, NODE_KEYS, f"the node `{key.text}`", path, problems)
    written = value.get("type")
    if written is None and "type" in misspelt:
        return None
    if not isinstance(written, Scalar) or not written.text:
        place = written.place if written is not None else key.place
        problems.error(
            "missing-key", place, f"the node `{key.text}` has no type",
            help="`latentgraph nodes` lists the node types", path=path,
        )  # fmt: skip
        return None
    inputs = value.get("inputs")
    if isinstance(inputs, Scalar) and inputs.value is None:
        inputs = None
    if inputs is not None and not isinstance(inputs, Entries):
        problems.error(
            "wrong-type", inputs.place, f"the inputs of `{key.text}` are not names with values",
            help="write inputs: {name: value, …}", path=f"{path}.inputs",
            notes=[Note("the node is here", key.place)],
        )  # fmt: skip
        inputs = None
    foreach, zipped = _foreach(value.get("foreach"), problems, f"{path}.foreach")
    lost = bool(misspelt & {"inputs", "foreach"}) or (foreach is None and value.get("foreach") is not None)
    timeout, retry = _timeout(value.get("timeout"), problems, path), _retry(value.get("retry"), problems, path)
    return WrittenNode(key, written, inputs, value.place, not lost, value.get("when"), foreach, zipped, timeout, retry)


def _foreach(written: Tree | None, problems: Problems, path: str) -> tuple[Entries | None, bool]:
    """The inputs that take elements with their lists, and whether they are zipped.

    `zip` with names below it stands for that; with a list it is an input that is called so.
    """
    if written is None:
        return None, False
    if isinstance(written, Entries):
        together = written.get("zip")
        if not isinstance(together, Entries):
            if written.entries:
                return written, False
        elif len(written.entries) > 1:
            other = next(key for key, _ in written.entries if key.text != "zip")
            problems.error(
                "wrong-type", other.place, f"`{other.text}` stands beside `zip`, which walks all its lists together",
                help="put it inside `zip`, or leave `zip` away for the product of all lists", path=path,
            )  # fmt: skip
            return None, False
        elif together.entries:
            return together, True
    problems.error(
        "wrong-type", written.place, "`foreach` does not say which inputs take the elements of which lists",
        help="write foreach: {seed: [1, 2, 3]}, with an input's name", path=path,
    )  # fmt: skip
    return None, False


def _timeout(written: Tree | None, problems: Problems, path: str) -> float | None:
    if written is None:
        return None
    seconds = written.value if isinstance(written, Scalar) else None
    if type(seconds) in (int, float) and 0 < seconds < math.inf:  # type: ignore[operator]
        return float(seconds)  # type: ignore[arg-type]
    code = "out-of-range" if type(seconds) in (int, float) else "wrong-type"
    problems.error(code, written.place, "`timeout` is a number of seconds, above 0", path=f"{path}.timeout")
    return None


def _retry(written: Tree | None, problems: Problems, path: str) -> int:
    if written is None:
        return 0
    times = written.value if isinstance(written, Scalar) else None
    if type(times) is int and 0 <= times <= RETRIES:
        return times
    code = "out-of-range" if type(times) in (int, float) else "wrong-type"
    message = f"`retry` is how often to try again after a failure, 0 to {RETRIES}"
    problems.error(code, written.place, message, path=f"{path}.retry")
    return 0
