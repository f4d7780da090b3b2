"""References and expressions: what a text in a graph file stands for.

`$node.output` and `$params.name` are links and params, if they are the whole text. `$( … )` is a small expression over
params, alone or inside longer text. Every other `$` is a dollar sign; two of them stand for one where a name or `(`
would follow. `str` of what `parse_text` gives is a text that parses to the same again.

Expressions know int, float, str and bool, and convert nothing but int to float. Types can be told before any value is
known; then an expression fails only where numbers or texts get too large, or at a division by zero.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn

from .diagnostics import nearest
from .formula import (
    COMPARISONS,
    LONGEST_TEXT,
    Binary,
    Call,
    ExpressionError,
    Literal,
    Param,
    Parser,
    Tree,
    Unary,
    Value,
    bounded,
    params_of,
)

__all__ = [
    "Expression",
    "ExpressionError",
    "Link",
    "ParamReference",
    "Template",
    "Text",
    "Value",
    "escape",
    "evaluate",
    "parse_text",
    "type_of",
]


@dataclass(frozen=True, slots=True)
class Text:
    """Plain text, its doubled dollar signs made single."""

    text: str

    def __str__(self) -> str:
        return escape(self.text)


@dataclass(frozen=True, slots=True)
class Link:
    """`$node`, `$node.output`, `$node.output.0`: the path holds names and numbers as they were written."""

    node: str
    path: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "$" + ".".join((self.node, *self.path))


@dataclass(frozen=True, slots=True)
class ParamReference:
    """`$params.name`, and `$params.name.0` for an element of a list."""

    name: str
    path: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "$" + ".".join(("params", self.name, *self.path))


@dataclass(frozen=True, slots=True)
class Expression:
    """`$( … )` alone: it has a value of its own type."""

    tree: Tree

    def __str__(self) -> str:
        return f"$({self.tree})"

    def params(self) -> frozenset[str]:
        """The names of the params that it uses."""
        return frozenset(params_of(self.tree))


@dataclass(frozen=True, slots=True)
class Template:
    """Text with expressions in it, whose values are inserted as text and never looked at again."""

    parts: tuple[str | Expression, ...]

    def __str__(self) -> str:
        written = ""
        for part in self.parts:
            if isinstance(part, Expression):
                # `$$(` would be text: a dollar sign right before an expression has to be doubled.
                written += "$" * (len(written) - len(written.rstrip("$")))
            written += escape(part) if isinstance(part, str) else str(part)
        return written

    def params(self) -> frozenset[str]:
        """The names of the params that its expressions use."""
        return frozenset[str]().union(*(part.params() for part in self.parts if isinstance(part, Expression)))


_REFERENCE = re.compile(r"\$([A-Za-z_]\w*(?:\.\w+)*)")
_DOLLARS = re.compile(r"(?<!\$)\$+(?=[A-Za-z_(])")


def parse_text(text: str) -> Text | Link | ParamReference | Expression | Template:
    """What a text in a graph file stands for. Raises ExpressionError, with positions in `text`."""
    if reference := _REFERENCE.fullmatch(text):
        node, *path = reference[1].split(".")
        if node != "params":
            return Link(node, tuple(path))
        if not path:
            raise ExpressionError("`$params` does not say which param", 0, len(text), "write $params.NAME")
        return ParamReference(path[0], tuple(path[1:]))
    parts: list[str | Expression] = []
    plain, position = "", 0
    while dollars := _DOLLARS.search(text, position):
        count, end = len(dollars[0]), dollars.end()
        plain += text[position : dollars.start()] + "$" * (count // 2)
        position = end
        if count % 2 == 0:
            continue
        if text[end] != "(":
            plain += "$"
            continue
        tree, position = Parser(text, end - 1).parse()
        parts += [plain, Expression(tree)] if plain else [Expression(tree)]
        plain = ""
    plain += text[position:]
    if not parts:
        return Text(plain)
    if plain:
        parts.append(plain)
    return parts[0] if len(parts) == 1 and isinstance(parts[0], Expression) else Template(tuple(parts))


def escape(text: str) -> str:
    """What to write in a graph file for `text` to be just that text."""
    return _DOLLARS.sub(lambda dollars: dollars[0] * 2, text)


def type_of(expression: Expression | Template, param_types: Mapping[str, str]) -> str:
    """The type of an expression's value, 'int', 'float', 'str' or 'bool', given the types of the params.

    Raises ExpressionError where types do not go together, or where there is no such param.
    """
    if isinstance(expression, Template):
        for part in expression.parts:
            if isinstance(part, Expression):
                _type(part.tree, param_types)
        return "str"
    return _type(expression.tree, param_types)


def evaluate(expression: Expression | Template, params: Mapping[str, object]) -> Value:
    """The value of an expression, given the values of the params.

    Raises ExpressionError where `type_of` would, at a division by zero, and where a result is not finite or too large.
    """
    type_of(expression, {name: type(value).__name__ for name, value in params.items()})
    if isinstance(expression, Expression):
        return _value(expression.tree, params)
    text = ""
    for part in expression.parts:
        text += part if isinstance(part, str) else _inserted(_value(part.tree, params))
        if len(text) > LONGEST_TEXT:
            trees = [part.tree for part in expression.parts if isinstance(part, Expression)]
            message = f"the text gets longer than {LONGEST_TEXT:,} characters"
            raise ExpressionError(message, trees[0].start, trees[-1].end)
    return text


def _inserted(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _type(tree: Tree, params: Mapping[str, str]) -> str:
    match tree:
        case Literal():
            return type(tree.value).__name__
        case Param():
            return _param_type(tree, params)
        case Unary():
            given = _type(tree.operand, params)
            if tree.sign == "not":
                return given if given == "bool" else _refuse(tree.operand, "`not` takes a bool", given)
            return given if _numbers(given) else _refuse(tree.operand, "`-` takes numbers", given)
        case Binary():
            return _binary_type(tree, _type(tree.left, params), _type(tree.right, params))
        case Call():
            types = [_type(argument, params) for argument in tree.arguments]
            for argument, given in zip(tree.arguments, types, strict=True):
                if not _numbers(given):
                    _refuse(argument, f"`{tree.function}` takes numbers", given)
            if tree.function == "round":
                if len(types) == 2 and types[1] != "int":
                    _refuse(tree.arguments[1], "the digits that `round` keeps are an int", types[1])
                return types[0] if len(types) == 2 else "int"
            return "float" if "float" in types else "int"


def _param_type(tree: Param, params: Mapping[str, str]) -> str:
    given = params.get(tree.name)
    if given in ("int", "float", "str", "bool"):
        return given
    if given is not None:
        _refuse(tree, "expressions take int, float, str and bool", given)
    near = nearest(tree.name, params)
    help = f"did you mean `params.{near}`?" if near else None
    message = f"no param that an expression can use is called `{tree.name}`"
    raise ExpressionError(message, tree.start, tree.end, help, "unknown-param")


def _binary_type(tree: Binary, left: str, right: str) -> str:
    sign, both = tree.sign, f"{left} and {right}"
    if sign in ("and", "or"):
        for operand, given in ((tree.left, left), (tree.right, right)):
            if given != "bool":
                _refuse(operand, f"`{sign}` takes bools", given)
        return "bool"
    if sign in COMPARISONS:
        if _numbers(left, right) or (left == right and (left == "str" or sign in ("==", "!="))):
            return "bool"
        _refuse(tree, f"`{sign}` compares two numbers, or two texts", both)
    if sign == "+" and left == right == "str":
        return "str"
    if not _numbers(left, right):
        if sign != "+":
            _refuse(tree, f"`{sign}` takes two numbers", both)
        help = 'to put a value into text, write "text $(params.NAME) text"' if "str" in (left, right) else None
        _refuse(tree, "`+` takes two numbers or two texts", both, help)
    return "float" if sign == "/" or "float" in (left, right) else "int"


def _numbers(*types: str) -> bool:
    return all(given in ("int", "float") for given in types)


def _refuse(tree: Tree, takes: str, given: str, help: str | None = None) -> NoReturn:
    raise ExpressionError(f"{takes}, not {given}", tree.start, tree.end, help)


_OPERATORS: dict[str, Callable[..., Value]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _value(tree: Tree, params: Mapping[str, object]) -> Value:
    match tree:
        case Literal():
            return tree.value
        case Param():
            value = params[tree.name]
            assert isinstance(value, Value)
            return value
        case Unary():
            operand = _value(tree.operand, params)
            return not operand if tree.sign == "not" else _computed(tree, operator.neg, operand)
        case Binary(sign="and"):
            return _value(tree.left, params) and _value(tree.right, params)
        case Binary(sign="or"):
            return _value(tree.left, params) or _value(tree.right, params)
        case Binary():
            return _computed(tree, _OPERATORS[tree.sign], _value(tree.left, params), _value(tree.right, params))
        case Call():
            values = [_value(argument, params) for argument in tree.arguments]
            if tree.function == "round":
                return _computed(tree, _round, *values)
            chosen: Value = {"min": min, "max": max}[tree.function](values)
            return _computed(tree, float, chosen) if any(isinstance(value, float) for value in values) else chosen


def _round(value: float, digits: int | None = None) -> Value:
    # More digits than a float has change nothing, but rounding an int to them would take for ever.
    return round(value) if digits is None else round(value, max(-400, min(digits, 400)))


def _computed(tree: Tree, function: Callable[..., Value], *values: Value) -> Value:
    try:
        return bounded(function(*values), tree)
    except ZeroDivisionError:
        raise ExpressionError("this divides by zero", tree.start, tree.end) from None
    except (OverflowError, ValueError):
        raise ExpressionError("the result is not a finite number", tree.start, tree.end) from None
