"""What the nodes of a graph are given: the values of their inputs, and what is wrong with names and values."""

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

from pydantic import ValidationError

from .checked import Foreach
from .diagnostics import Note, nearest
from .graph import Graph, WrittenNode
from .params import is_drawn, outside_limits
from .problems import Problems
from .references import References, brief
from .shapes import Shape
from .source import Mapping as Entries
from .source import Scalar, Sequence, Tree
from .switch import Switch
from .types import PLAIN, list_of
from .values import PLAIN_TEXT, UNUSABLE, converted, is_known

MOST_ELEMENTS = 100_000


class Inputs:
    """Reads what the nodes of one graph are given. What is wrong goes to `problems`."""

    def __init__(self, graph: Graph, references: References, problems: Problems) -> None:
        self.graph, self.references, self.problems = graph, references, problems
        self.cut_in: Entries | None = None
        self.cuts: dict[str, tuple[str, str, list[str]]] = {}

    def condition(self, written: WrittenNode) -> Any:
        """The node's `when`."""
        if written.when is None:
            return True
        path = f"nodes.{written.name.text}.when"
        return converted(written.when, bool, self.problems, path, self.graph.folder, self.references.resolve)

    def read(self, written: WrittenNode, shape: Shape) -> tuple[dict[str, Any], Foreach | None]:
        """The values by input, those that are not known yet in other forms, and the lists of a foreach."""
        present: set[str | None] = set()
        inputs = self._given(written, shape, present)
        foreach: Foreach | None = None
        if written.foreach is not None:
            foreach = Foreach(self._lists(written, shape, inputs, present), written.zipped)
            self._sizes(written, foreach)
        if written.complete:
            self._missing(written, shape, present)
        self._limits(written, shape, inputs, foreach)
        return inputs, foreach

    def untyped(self, written: WrittenNode) -> dict[str, Any]:
        """Those of a node whose type is not known: what is wrong with links and params is another cause."""
        for name, tree in written.foreach.entries if written.foreach else ():
            self._untyped(tree, f"nodes.{written.name.text}.foreach.{name.text}")
        return {
            key.text: self._untyped(tree, f"nodes.{written.name.text}.inputs.{key.text}")
            for key, tree in written.entries()
        }

    def _untyped(self, tree: Tree, path: str) -> Any:
        if isinstance(tree, Scalar) and isinstance(tree.value, str):
            found = self.references.resolve(tree, None, path)
            return UNUSABLE if found is PLAIN_TEXT else found
        return UNUSABLE

    def _given(self, written: WrittenNode, shape: Shape, present: set[str | None]) -> dict[str, Any]:
        inputs = {}
        for key, tree in written.entries():
            path = f"nodes.{written.name.text}.inputs.{key.text}"
            known = shape.inputs.get(key.text)
            if known is None:
                present.add(self._unknown_input(written.inputs, shape, key, tree, path))
                continue
            inputs[key.text] = self._converted(tree, known.annotation, path)
            self._comment_trap(tree, key, path)
            present.add(key.text)
        return inputs

    def _converted(self, tree: Tree, annotation: Any, path: str) -> Any:
        return converted(tree, annotation, self.problems, path, self.graph.folder, self.references.resolve)

    def _missing(self, written: WrittenNode, shape: Shape, present: set[str | None]) -> None:
        name = written.name.text
        for wanted in shape.inputs.values():
            if not wanted.required or wanted.name in present:
                continue
            help = self.references.givers(wanted.annotation, name)
            param = shape.params.get(wanted.name)
            if param is not None and is_drawn(param, param.default):
                help = (
                    f"it is random where {shape.name} runs by itself: declare a param, {{type: int, default: random}}"
                )
            self.problems.error(
                "missing-input", written.name.place, f"{shape.name} needs `{wanted.name}` ({wanted.type_name})",
                help=help, path=f"nodes.{name}.inputs.{wanted.name}",
            )  # fmt: skip

    # foreach

    def _lists(
        self, written: WrittenNode, shape: Shape, inputs: Mapping[str, Any], present: set[str | None]
    ) -> dict[str, Any]:
        lists = {}
        for key, tree in written.foreach.entries if written.foreach else ():
            path = f"nodes.{written.name.text}.foreach.{key.text}"
            known = shape.inputs.get(key.text)
            if known is None:
                present.add(self._unknown_input(written.foreach, shape, key, tree, path))
                continue
            present.add(key.text)
            if key.text in inputs:
                self.problems.error(
                    "duplicate-key", key.place, f"`{key.text}` stands in `foreach` and in `inputs`",
                    help="leave it away in one of them", path=path,
                )  # fmt: skip
            lists[key.text] = self._converted(tree, list_of(known.annotation), path)
        return lists

    def _sizes(self, written: WrittenNode, foreach: Foreach) -> None:
        """Says where lists that are walked together differ in length, and where there is too much to do."""
        assert written.foreach is not None
        path = f"nodes.{written.name.text}.foreach"
        lengths = {name: len(values) for name, values in foreach.over.items() if isinstance(values, tuple)}
        if foreach.zipped and len(set(lengths.values())) > 1:
            listed = ", ".join(f"`{name}` has {length}" for name, length in lengths.items())
            self.problems.error(
                "out-of-range", written.foreach.place, f"`zip` walks lists of one length together: {listed}", path=path
            )
            return
        count = elements(foreach)
        if count > MOST_ELEMENTS:
            message = f"`foreach` comes to {count:,} elements, the most is {MOST_ELEMENTS:,}"
            self.problems.error(
                "too-large", written.foreach.place, message, help="split the lists over several runs", path=path
            )

    # limits

    def _limits(self, written: WrittenNode, shape: Shape, inputs: Mapping[str, Any], foreach: Foreach | None) -> None:
        """Checks the values that are known: their ranges and choices, and whatever else a node type validates."""
        path = f"nodes.{written.name.text}"
        values = {name: value for name, value in inputs.items() if is_known(value)}
        for name, code, message in refusals(shape, values):
            tree = written.inputs.get(name) if written.inputs else None
            place = tree.place if tree is not None else written.place
            self.problems.error(code, place, message, path=f"{path}.inputs.{name}")
        for name, items in foreach.over.items() if foreach else ():
            tree = written.foreach.get(name) if written.foreach else None
            if isinstance(items, tuple) and tree is not None:
                self._element_limits(shape, name, items, tree, f"{path}.foreach.{name}")

    def _element_limits(self, shape: Shape, name: str, items: tuple[Any, ...], tree: Tree, path: str) -> None:
        places = [item.place for item in tree.items] if isinstance(tree, Sequence) else [tree.place] * len(items)
        seen = set()
        for item, place in zip(items, places, strict=True):
            if type(item) in PLAIN.values() and (type(item), item) not in seen:
                seen.add((type(item), item))
                for _, code, message in refusals(shape, {name: item}):
                    self.problems.error(code, place, message, path=path)

    # names

    def _comment_trap(self, tree: Tree, key: Scalar, path: str) -> None:
        """Warns where a comment was probably meant as text: `a dog #1 in show`, but not `a dog  # the first`."""
        if not (isinstance(tree, Scalar) and isinstance(tree.value, str) and tree.comment_after):
            return
        if tree.comment_after[0] not in " !#":
            self.problems.warning(
                "text-as-value", tree.place, f"`{key.text}` ends before ` #`, which begins a comment: `{tree.text}`",
                help=f'if the rest belongs to it, quote it: "{tree.text} #{tree.comment_after}"', path=path,
            )  # fmt: skip

    def _unknown_input(self, entries: Entries | None, shape: Shape, key: Scalar, tree: Tree, path: str) -> str | None:
        """Says so, and gives the input that was probably meant."""
        near = nearest(key.text, list(shape.inputs))
        help: str | None = (
            f"did you mean `{near}`?" if near else f"its inputs: {', '.join(shape.inputs) or 'it has none'}"
        )
        notes = []
        if entries is not None and entries is not self.cut_in:
            self.cut_in, self.cuts = entries, _cuts(entries)
        cut = self.cuts.get(key.text) if _empty(tree) else None
        if cut is not None:
            name, before, rest = cut
            if rest[0] != key.text:
                return None  # the first part that a comma cut off is said to be one, with all that follow
            near = None
            notes = [Note(f"inside {{ }} a comma ends a value, so `{name}` is only `{before}`", None)]
            help = f'quote it: {name}: "{", ".join([before, *rest])}"'
        self.problems.error(
            "unknown-input", key.place, f"{shape.name} has no input `{key.text}`", help=help, notes=notes, path=path
        )
        return near


def elements(foreach: Foreach) -> int:
    """How many elements a foreach has, as far as its lists are known."""
    lengths = [len(values) for values in foreach.over.values() if isinstance(values, tuple)]
    return max(lengths, default=1) if foreach.zipped else prod(lengths)


def _empty(tree: Tree) -> bool:
    return isinstance(tree, Scalar) and tree.text == "" and not tree.quoted


def _cuts(inputs: Entries) -> dict[str, tuple[str, str, list[str]]]:
    """By each part that a comma cut off, inside { }: the input, what is left of its text, and all parts."""
    found = {}
    cut: tuple[str, str, list[str]] | None = None
    for name, tree in inputs.entries if inputs.flow else ():
        if not _empty(tree):
            cut = (name.text, tree.text, []) if isinstance(tree, Scalar) and not tree.quoted else None
        elif cut:
            cut[2].append(name.text)
            found[name.text] = cut
    return found


def refusals(shape: Shape, values: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What inputs of this shape do not take among values of the right type: the name, a code, and the message."""
    for name in values if shape.params else ():
        param = shape.params.get(name)
        limits = outside_limits(param, values[name]) if param is not None else None
        if limits is not None:
            yield name, limits[0], f"`{name}` {limits[1]}"
    if shape.type is None or shape.type is Switch or not values:
        return
    try:
        shape.type.model_validate(values)
    except ValidationError as invalid:
        # To say what is wrong takes longer than to find it, and mostly it is that links are not known yet.
        if invalid.error_count() > sum(name not in values for name in shape.required):
            yield from (found for found in refused_inputs(invalid) if found[0] in values)


_RANGES = ("greater_than", "less_than", "multiple_of", "too_short", "too_long", "string_too")
"""How pydantic's names of errors about ranges and lengths begin."""


def refused_inputs(invalid: ValidationError) -> Iterator[tuple[str, str, str]]:
    """What a node type said about its inputs: the name of each, a diagnostic's code, and the message."""
    for problem in invalid.errors(include_url=False):
        name = str(problem["loc"][0]) if problem["loc"] else ""
        message = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
        if problem["type"].startswith(_RANGES):
            yield name, "out-of-range", f"`{name}` is {brief(problem['input'])}; it {message}"
        else:
            code = "not-a-choice" if problem["type"] == "not_a_choice" else "wrong-type"
            yield name, code, f"`{name}`: {message}" if name else message
