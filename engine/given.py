"""The values of a graph's params: given, drawn, or by default; and the nodes that read files for some of them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .checked import CheckedNode, Foreach, Linked
from .diagnostics import Note, nearest
from .graph import Graph
from .node import Node
from .params import MISSING, Param, drawn, is_drawn, outside_limits
from .ports import File, PortType
from .problems import Problems
from .registry import Registry
from .types import choices, element, fits, is_readable, only_linked, type_name
from .values import UNUSABLE, Refused, admitted


def param_values(
    graph: Graph, given: Mapping[str, Any] | None, problems: Problems
) -> tuple[dict[str, Any], dict[str, int]]:
    """The value of each param, UNUSABLE where it was refused or is not known; and those that were drawn.

    Where `given` is None, params without a default stay unknown, and nothing is drawn.
    """
    values: dict[str, Any] = {}
    random: dict[str, int] = {}
    for name in given or {}:
        if name not in graph.params:
            _unknown(graph, name, problems)
    for name, param in graph.params.items():
        values[name] = param.default
        if given is not None and name in given:
            values[name] = _taken(param, given[name], problems)
        elif param.default is MISSING:
            values[name] = UNUSABLE
            if given is not None:
                _missing(param, problems)
        if is_drawn(param, values[name]):
            values[name] = _drawn(param, problems) if given is not None else UNUSABLE
            if values[name] is not UNUSABLE:
                random[name] = values[name]
    return values, random


def _unknown(graph: Graph, name: str, problems: Problems) -> None:
    near, known = nearest(name, list(graph.params)), ", ".join(graph.params) or "it has none"
    problems.error(
        "unknown-param", None, f"the graph has no param `{name}`",
        help=f"did you mean `{near}`?" if near else f"its params: {known}", path=f"params.{name}",
    )  # fmt: skip


def _missing(param: Param, problems: Problems) -> None:
    message, help = f"the param `{param.name}` has no default and was not given", f"give it: --set {param.name}=…"
    if only_linked(param.taken):
        message = f"the param `{param.name}` is a {param.type_name}, which only another graph can give"
        help = "use this file as a node type there: {type: ./FILE.yaml, inputs: {" + param.name + ": $…}}"
    problems.error("missing-input", param.place, message, help=help, path=f"params.{param.name}")


def _taken(param: Param, value: Any, problems: Problems) -> Any:
    if value is UNUSABLE:
        return value  # whoever gives it so has said why
    try:
        taken = admitted(value, param.taken, Path())
        limits = outside_limits(param, taken)
        if limits is None:
            return taken
        code, message, help = limits[0], f"the value given for `{param.name}` {limits[1]}", None
    except Refused as refused:
        code, message, help = refused.code, f"the value given for `{param.name}`: {refused.message}", refused.help
    _refuse(param, code, message, help, problems)
    return UNUSABLE


def _drawn(param: Param, problems: Problems) -> Any:
    try:
        return drawn(param)
    except Refused as refused:
        _refuse(param, refused.code, f"`{param.name}` cannot be random: {refused.message}", refused.help, problems)
        return UNUSABLE


def _refuse(param: Param, code: str, message: str, help: str | None, problems: Problems) -> None:
    problems.error(
        code, None, message, help=help, path=f"params.{param.name}",
        notes=[Note(f"`{param.name}` is declared here", param.place)],
    )  # fmt: skip


def read_from_files(
    graph: Graph, values: Mapping[str, Any], registry: Registry, problems: Problems
) -> tuple[dict[str, Any], dict[str, CheckedNode]]:
    """The values with links in place of files that a node type has to read first, and the nodes that do.

    The node for a param is called `params.NAME`; for a list it reads one file after the other.
    """
    linked, nodes = dict(values), dict[str, CheckedNode]()
    for name, param in graph.params.items():
        port, value = _readable_port(param.annotation), values[name]
        files = list(_files_in(value)) if port is not None else []
        if port is None or not files:
            continue
        reader = _reader(port, registry)
        if reader is None:
            linked[name] = UNUSABLE
            message = f"there is no node type `{port.reader}` that makes a {type_name(port)} from a file"
            if refused := registry.refused(port.reader or ""):
                message = f"`{port.reader}`, which reads a {type_name(port)} from a file, may not run here: {refused}"
            problems.error("unknown-type", param.place, message, path=f"params.{name}")
            continue
        (node_type, taking, giving), node = reader, f"params.{name}"
        if value is files[0]:
            nodes[node] = CheckedNode(node, node_type, {taking: value})
            linked[name] = Linked(node, giving)
        else:
            nodes[node] = CheckedNode(node, node_type, {}, foreach=Foreach({taking: tuple(files)}))
            linked[name] = _in_place_of_files(value, (Linked(node, giving, (index,)) for index in range(len(files))))
    return linked, nodes


def _readable_port(annotation: Any) -> type[PortType] | None:
    """The port type, in lists or not, whose values may be given as files that a node type reads."""
    inner = element(annotation)
    if inner is not None:
        return _readable_port(inner)
    return next((kind for kind in choices(annotation) if is_readable(kind)), None)


def _files_in(value: Any) -> Iterator[File]:
    if isinstance(value, File):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _files_in(item)


def _in_place_of_files(value: Any, links: Iterator[Linked]) -> Any:
    if isinstance(value, tuple):
        return tuple(_in_place_of_files(item, links) for item in value)
    return next(links) if isinstance(value, File) else value


def _reader(port: type[PortType], registry: Registry) -> tuple[type[Node], str, str] | None:
    """The node type that makes a value of a file, the input that takes the file, and the output."""
    node_type = registry.get(port.reader or "")
    output = node_type.primary_output() if node_type else None
    if node_type is None or output is None or not fits(output.annotation, port):
        return None
    required = [entry for entry in node_type.inputs().values() if entry.required]
    if len(required) != 1 or not fits(File, required[0].annotation):
        return None
    return node_type, required[0].name, output.name
