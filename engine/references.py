"""What texts in a graph file stand for: links to other nodes, params, expressions; and what was probably meant."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .checked import LATER, Computed, Given, Linked
from .diagnostics import Note, nearest
from .expression import Expression, ExpressionError, Link, ParamReference, Template, Text, evaluate, parse_text, type_of
from .graph import Graph, WrittenNode
from .node import Output
from .ports import File, Folder, PortType
from .problems import Problems
from .shapes import Shape, Shapes
from .source import Scalar
from .types import PLAIN, choices, fits, part, type_name
from .values import PLAIN_TEXT, UNUSABLE, Refused, admitted, is_known, subject


class References:
    """Resolves the references of one graph. What is wrong with them goes to `problems`.

    `params` are the values of its params: LATER where only the use of the graph says what it is, UNUSABLE where it is
    not known, links where nodes read it from files. `used_params` are those that a reference named so far.
    """

    def __init__(self, graph: Graph, shapes: Shapes, params: Mapping[str, Any], problems: Problems) -> None:
        self.graph, self.shapes, self.params, self.problems = graph, shapes, params, problems
        self.used_params: set[str] = set()

    def resolve(self, scalar: Scalar, annotation: Any, path: str) -> Any:
        """What a text in a graph file stands for; PLAIN_TEXT where it is only that.

        `annotation` is what the place wants, None where that is not known.
        """
        try:
            parsed = parse_text(scalar.text)
            if isinstance(parsed, Text):
                if annotation is not None and _comes_over_a_link(annotation):
                    kind, near = type_name(annotation), self.nearest_node(scalar.text, annotation)
                    message = f"a {kind} comes over a link, `{brief(scalar.text)}` is text"
                    raise Refused("text-as-value", message, near or self.givers(annotation, path.split(".")[1]))
                if parsed.text == scalar.text:
                    return PLAIN_TEXT
                return admitted(parsed.text, annotation, self.graph.folder) if annotation is not None else UNUSABLE
            if isinstance(parsed, Link):
                return self._link(scalar, parsed, annotation, path)
            if isinstance(parsed, ParamReference):
                return self._param(scalar, parsed, annotation, path)
            return self._expression(scalar, parsed, annotation, path)
        except Refused as refused:
            message = f"{subject(path)}: {refused.message}"
            self.problems.error(refused.code, scalar.place, message, help=refused.help, path=path)
        except ExpressionError as wrong:
            self.problems.error(
                wrong.code, scalar.part(wrong.start, wrong.end), wrong.message, help=wrong.help, path=path
            )
        return UNUSABLE

    def _link(self, scalar: Scalar, link: Link, annotation: Any, path: str) -> Any:
        source = self.graph.nodes.get(link.node)
        if source is None:
            if "nodes" in self.graph.misspelt or self.problems.about("nodes", link.node):
                return UNUSABLE  # it is there, but wrong, which is said already
            self.problems.error(
                "unknown-node", scalar.place, f"no node is called `{link.node}`",
                help=self.nearest_node(link.node, annotation), path=path,
            )  # fmt: skip
            return UNUSABLE
        shape = self.shapes[link.node]
        if shape is None:
            return UNUSABLE
        names = list(link.path)
        if names and _position(names[0]) is None:
            output = shape.outputs.get(names.pop(0))
            if output is None:
                near = nearest(link.path[0], list(shape.outputs))
                meant = f"did you mean `${link.node}.{near}`?" if near else f"its outputs: {_listed(link.node, shape)}"
                message = f"{shape.name} has no output `{link.path[0]}`"
                self._wrong_link("unknown-output", scalar, message, meant, shape, source, path)
                return UNUSABLE
        else:
            output = shape.primary
            if output is None:
                message = f"`{link.node}` has several outputs, the link does not say which"
                help = f"write one of {_listed(link.node, shape, annotation or Any) or _listed(link.node, shape)}"
                self._wrong_link("which-output", scalar, message, help, shape, source, path)
                return UNUSABLE
        given, index = output.annotation, []
        for name in names:
            inner, position = part(given), _position(name)
            if position is None or inner is None:
                message = f"`{name}` is no part of `${link.node}.{output.name}`, a {type_name(given)}"
                self._wrong_link("unknown-output", scalar, message, None, shape, source, path)
                return UNUSABLE
            given = inner
            index.append(position)
        if annotation is not None and not fits(given, annotation):
            message = f"{subject(path)} takes {type_name(annotation)}, `{scalar.text}` is {type_name(given)}"
            givers = self.givers(annotation, path.split(".")[1])
            self._wrong_link("wrong-port", scalar, message, givers, shape, source, path)
            return UNUSABLE
        return Linked(link.node, output.name, tuple(index))

    def _wrong_link(
        self, code: str, scalar: Scalar, message: str, help: str | None, shape: Shape, source: WrittenNode, path: str
    ) -> None:
        outputs = ", ".join(f"{output.name}: {output.type_name}" for output in shape.outputs.values())
        declared = Note(f"`{source.name.text}` is a {shape.name} ({outputs})", source.name.place)
        self.problems.error(code, scalar.place, message, help=help, notes=[declared], path=path)

    def _param(self, scalar: Scalar, reference: ParamReference, annotation: Any, path: str) -> Any:
        param = self.graph.params.get(reference.name)
        if param is None:
            if "params" in self.graph.misspelt or self.problems.about("params", reference.name):
                return UNUSABLE
            candidates = [
                name for name, p in self.graph.params.items() if annotation is None or fits(p.annotation, annotation)
            ]
            near = nearest(reference.name, candidates)
            self.problems.error(
                "unknown-param", scalar.place, f"the graph has no param `{reference.name}`",
                help=f"did you mean `$params.{near}`?" if near else "the graph's params stand under `params:`",
                path=path,
            )  # fmt: skip
            return UNUSABLE
        self.used_params.add(param.name)
        given, value, index = param.annotation, self.params[param.name], list[int]()
        for name in reference.path:
            inner, position = part(given), _position(name)
            if position is None or inner is None:
                self.problems.error(
                    "unknown-param", scalar.place, f"`{name}` is no part of `{param.name}`, a {type_name(given)}",
                    path=path,
                )  # fmt: skip
                return UNUSABLE
            given = inner
            index.append(position)
            if not isinstance(value, tuple):
                continue
            if position >= len(value):
                self.problems.error(
                    "out-of-range", scalar.place, f"`{param.name}` has {len(value)} elements, counted from 0", path=path
                )
                return UNUSABLE
            value = value[position]
        if value is LATER:
            value = Given(param.name, tuple(index))
        if annotation is None:
            return value
        if not fits(given, annotation):
            self.problems.error(
                "wrong-type", scalar.place,
                f"{subject(path)} takes {type_name(annotation)}, `{scalar.text}` is {type_name(given)}",
                notes=[Note(f"`{param.name}` is declared here", param.place)], path=path,
            )  # fmt: skip
            return UNUSABLE
        return admitted(value, annotation, Path()) if is_known(value) else value

    def _expression(self, scalar: Scalar, parsed: Expression | Template, annotation: Any, path: str) -> Any:
        used = parsed.params()
        self.used_params.update(name for name in used if name in self.graph.params)
        given = PLAIN[type_of(parsed, self.shapes.plain_params)]
        if annotation is not None and not fits(given, annotation):
            self.problems.error(
                "wrong-type", scalar.place,
                f"{subject(path)} takes {type_name(annotation)}, the expression gives {type_name(given)}",
                path=path,
            )  # fmt: skip
            return UNUSABLE
        values = {name: self.params[name] for name in used}
        if annotation is None or any(value is UNUSABLE for value in values.values()):
            return UNUSABLE
        if any(value is LATER for value in values.values()):
            return Computed(parsed)
        return admitted(evaluate(parsed, values), annotation, self.graph.folder)

    def nearest_node(self, name: str, annotation: Any) -> str | None:
        """Which node was probably meant, among those that give what is wanted."""
        givers = dict(self._giving(annotation))
        near = nearest(name, list(givers)) or (next(iter(givers)) if len(givers) == 1 else None)
        if near is None or annotation is None:
            return f"did you mean `{self.link_text(near, givers[near])}`?" if near else None
        kind = type_name(givers[near].annotation)
        return f"`{self.link_text(near, givers[near])}` is a {kind}, which fits"

    def _giving(self, annotation: Any) -> Iterator[tuple[str, Output]]:
        """Nodes with their first output that fits."""
        for name, shape in self.shapes.items():
            for output in shape.outputs.values() if shape else ():
                if annotation is None or fits(output.annotation, annotation):
                    yield name, output
                    break

    def givers(self, annotation: Any, asking: str) -> str | None:
        if not any(isinstance(a, type) and issubclass(a, PortType) for a in choices(annotation)):
            return None
        found = [self.link_text(name, output) for name, output in self._giving(annotation) if name != asking]
        listed = ", ".join(f"`{link}`" for link in found[:4])
        return f"nodes that give a {type_name(annotation)}: {listed}" if found else None

    def link_text(self, node: str, output: Output) -> str:
        shape = self.shapes[node]
        assert shape is not None
        return f"${node}" if shape.primary == output else f"${node}.{output.name}"


def _listed(node: str, shape: Shape, annotation: Any = Any) -> str:
    """Links to the outputs that fit."""
    return ", ".join(
        f"`${node}.{output.name}`" for output in shape.outputs.values() if fits(output.annotation, annotation)
    )


def _position(name: str) -> int | None:
    """The element that a part of a reference names by its number; None where it is no number that a list can have."""
    return int(name) if name.isdecimal() and len(name) < 10 else None


def _comes_over_a_link(annotation: Any) -> bool:
    """Whether nothing that can be written in a file fits."""
    return all(isinstance(a, type) and issubclass(a, PortType) and a not in (File, Folder) for a in choices(annotation))


def brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:37] + "…"
