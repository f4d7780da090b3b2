"""A graph as it was written: params, nodes and outputs, each with its place in the file.

Reading finds what is wrong with the form of the file; whether types, names and links are right is for `check`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .diagnostics import Note, Place, nearest
from .ports import File, Folder
from .problems import Problems
from .source import Mapping as Entries
from .source import Scalar, Tree, plain, read
from .types import element, fits, param_type, type_name
from .values import UNUSABLE, converted

FORMAT = 1
NAME = re.compile(r"[A-Za-z_]\w*")
PARAM_KEYS = ("type", "default", "min", "max", "choices", "description")
NODE_KEYS = ("type", "inputs", "description")
GRAPH_KEYS = ("latentgraph", "description", "params", "nodes", "outputs")

MISSING: Any = type("Missing", (), {"__repr__": lambda self: "MISSING"})()


@dataclass(frozen=True)
class Param:
    """A graph's own input: its type, default and limits.

    Without a default it has to be given; a default that was refused is UNUSABLE.
    """

    name: str
    annotation: Any
    place: Place
    default: Any = MISSING
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[Any, ...] = ()
    description: str = ""

    @property
    def type_name(self) -> str:
        return type_name(self.annotation)


@dataclass(frozen=True)
class WrittenNode:
    """One node as the file has it: the name of its type, and the trees of its inputs."""

    name: Scalar
    type: Scalar
    inputs: Entries | None
    place: Place
    complete: bool = True
    """Whether all that was written for the inputs could be read: if not, none of them is missed."""

    def entries(self) -> Iterable[tuple[Scalar, Tree]]:
        return self.inputs.entries if self.inputs else ()


@dataclass(frozen=True)
class Graph:
    """A graph file, read."""

    name: str
    text: str
    folder: Path
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
    misspelt = _known_keys(tree, GRAPH_KEYS, "a graph", "", problems)
    params = {
        key.text: param
        for key, value in _section(tree, "params", problems)
        if _named(key, "param", problems) and (param := _param(key, value, folder, problems)) is not None
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


def _known_keys(tree: Entries, known: tuple[str, ...], what: str, path: str, problems: Problems) -> set[str | None]:
    """Says which keys there should not be; gives those that were probably meant."""
    meant = set()
    for key, _ in tree.entries:
        if key.text in known or (not path and key.text.startswith("x-")):
            continue
        near = nearest(key.text, known)
        meant.add(near)
        problems.error(
            "unknown-key", key.place, f"{what} has no `{key.text}`",
            help=f"did you mean `{near}`?" if near else f"the keys are {', '.join(known)}",
            path=f"{path}.{key.text}".lstrip("."),
        )  # fmt: skip
    return meant


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


def _param(key: Scalar, value: Tree, folder: Path, problems: Problems) -> Param | None:
    path = f"params.{key.text}"
    if not isinstance(value, Entries):
        problems.error(
            "wrong-type", value.place, f"the param `{key.text}` does not say its type",
            help=f"write {key.text}: {{type: str, default: …}}", path=path,
        )  # fmt: skip
        return None
    misspelt = _known_keys(value, PARAM_KEYS, f"the param `{key.text}`", path, problems)
    written = value.get("type")
    if written is None and "type" in misspelt:
        return None
    if written is None:
        problems.error(
            "missing-key", key.place, f"the param `{key.text}` has no type",
            help="the types are int, float, str, bool, File, Folder, and lists of them such as [float]", path=path,
        )  # fmt: skip
        return None
    annotation = param_type(plain(written), {"File": File, "Folder": Folder})
    if annotation is None:
        name = written.text if isinstance(written, Scalar) else "this"
        near = nearest(name, ("int", "float", "str", "bool", "File", "Folder"))
        problems.error(
            "unknown-type", written.place, f"`{name}` is no type that a param can have",
            help=f"did you mean `{near}`?" if near else "the types are int, float, str, bool, File, Folder and lists",
            path=f"{path}.type",
        )  # fmt: skip
        return None
    options: dict[str, Any] = {}
    default = value.get("default")
    if default is not None:
        if isinstance(default, Scalar) and default.value is None and not default.quoted:
            annotation, options["default"] = annotation | None, None
        else:
            options["default"] = converted(default, annotation, problems, f"{path}.default", folder)
    for limit, name in (("minimum", "min"), ("maximum", "max")):
        tree = value.get(name)
        if tree is None:
            continue
        if not (isinstance(tree, Scalar) and type(tree.value) in (int, float)):
            problems.error("wrong-type", tree.place, f"`{name}` is not a number", path=f"{path}.{name}")
        elif not fits(element(annotation) or annotation, float | None):
            message = f"`{name}` is for numbers, `{key.text}` is a {type_name(annotation)}"
            problems.error("wrong-type", tree.place, message, path=f"{path}.{name}")
        else:
            options[limit] = tree.value
    if (allowed := value.get("choices")) is not None:
        several = tuple[element(annotation) or annotation, ...]  # type: ignore[valid-type, misc]
        found = converted(allowed, several, problems, f"{path}.choices", folder)
        options["choices"] = () if found is UNUSABLE else found
    if isinstance(description := value.get("description"), Scalar):
        options["description"] = description.text
    param = Param(key.text, annotation, key.place, **options)
    if default is not None and options["default"] not in (None, UNUSABLE):
        refusal = outside_limits(param, options["default"])
        if refusal:
            problems.error(refusal[0], default.place, f"the default of `{key.text}` {refusal[1]}", path=path)
    return param


def outside_limits(param: Param, value: Any) -> tuple[str, str] | None:
    """Which of its limits a param's value breaks: the code and the message; None where it is within all."""
    if element(param.annotation) is not None and isinstance(value, tuple):
        return next(filter(None, (outside_limits_of(param, item) for item in value)), None)
    return outside_limits_of(param, value)


def outside_limits_of(param: Param, value: Any) -> tuple[str, str] | None:
    if param.minimum is not None and value < param.minimum:
        return "out-of-range", f"is {value}, the least is {param.minimum}"
    if param.maximum is not None and value > param.maximum:
        return "out-of-range", f"is {value}, the most is {param.maximum}"
    if param.choices and value not in param.choices:
        near = nearest(str(value), [str(choice) for choice in param.choices])
        choices = f"`{near}` is one" if near else "they are " + ", ".join(str(choice) for choice in param.choices)
        return "not-a-choice", f"is `{value}`, which is none of its choices; {choices}"
    return None


def _node(key: Scalar, value: Tree, problems: Problems) -> WrittenNode | None:
    path = f"nodes.{key.text}"
    if not isinstance(value, Entries):
        problems.error(
            "wrong-type", value.place, f"the node `{key.text}` does not say its type",
            help=f"write {key.text}: {{type: …, inputs: {{…}}}}", path=path,
        )  # fmt: skip
        return None
    misspelt = _known_keys(value, NODE_KEYS, f"the node `{key.text}`", path, problems)
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
    return WrittenNode(key, written, inputs, value.place, complete="inputs" not in misspelt)
