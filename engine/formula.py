"""The small language inside `$( )`: its syntax tree, and the parser that makes one from text.

Numbers, text in single or double quotes (a quote doubled stands for one), `params.name`, `+ - * / // %`, comparisons,
and, or, not, parentheses, min, max, round. `str` of a tree parses to the same tree again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn, TypeVar

from .diagnostics import nearest

Value = int | float | str | bool
V = TypeVar("V", bound=Value)

LARGEST_INT = 2**63
LONGEST_TEXT = 100_000
MOST_TOKENS = 200  # bounds the height of every syntax tree too, so that walking one may recurse
DEEPEST = 32
COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")


class ExpressionError(Exception):
    """What is wrong with an expression, at which characters of the text, what may help, and a diagnostic's code."""

    def __init__(
        self, message: str, start: int, end: int, help: str | None = None, code: str = "bad-expression"
    ) -> None:
        super().__init__(message)
        self.message, self.start, self.end, self.help, self.code = message, start, end, help, code


@dataclass(frozen=True, slots=True)
class _At:
    """Where a part of an expression stands in the whole text."""

    start: int = field(compare=False)
    end: int = field(compare=False)


@dataclass(frozen=True, slots=True)
class Literal(_At):
    value: int | float | str

    def __str__(self) -> str:
        return "'" + self.value.replace("'", "''") + "'" if isinstance(self.value, str) else repr(self.value)


@dataclass(frozen=True, slots=True)
class Param(_At):
    name: str

    def __str__(self) -> str:
        return f"params.{self.name}"


@dataclass(frozen=True, slots=True)
class Unary(_At):
    sign: str
    operand: Tree

    def __str__(self) -> str:
        if self.sign == "not":
            return f"not {_grouped(self.operand, _NOT)}"
        return f"-{_grouped(self.operand, _MINUS)}"


@dataclass(frozen=True, slots=True)
class Binary(_At):
    sign: str
    left: Tree
    right: Tree

    def __str__(self) -> str:
        level = _LEVELS[self.sign]
        left = _grouped(self.left, level + (self.sign in COMPARISONS))
        return f"{left} {self.sign} {_grouped(self.right, level + 1)}"


@dataclass(frozen=True, slots=True)
class Call(_At):
    function: str
    arguments: tuple[Tree, ...]

    def __str__(self) -> str:
        return f"{self.function}({', '.join(map(str, self.arguments))})"


Tree = Literal | Param | Unary | Binary | Call


def _grouped(tree: Tree, level: int) -> str:
    """A tree as text, in parentheses where it would otherwise be taken apart at an operator of this level."""
    own = _LEVELS[tree.sign] if isinstance(tree, Binary) else _PREFIXES.get(getattr(tree, "sign", ""), level)
    return str(tree) if own >= level else f"({tree})"


def params_of(tree: Tree) -> Iterator[str]:
    """The names of the params in a tree."""
    match tree:
        case Param():
            yield tree.name
        case Unary():
            yield from params_of(tree.operand)
        case Binary():
            yield from params_of(tree.left)
            yield from params_of(tree.right)
        case Call():
            for argument in tree.arguments:
                yield from params_of(argument)


_TOKEN = re.compile(
    r"""(?P<number> (?: [0-9]+ (?: \.[0-9]* )? | \.[0-9]+ ) (?: [eE][-+]?[0-9]+ )? )
      | (?P<name> [A-Za-z_]\w* (?: \.\w+ )* )
      | (?P<text> '(?: [^'] | '' )*' | "(?: [^"] | "" )*" )
      | (?P<sign> // | <= | >= | == | != | [-+*/%<>(),] )""",
    re.VERBOSE,
)
_SPACE = re.compile(r"\s*")

_LEVELS = {"or": 1, "and": 2, **dict.fromkeys(COMPARISONS, 4), "+": 5, "-": 5, "*": 6, "/": 6, "//": 6, "%": 6}
_NOT, _MINUS = 3, 7
_PREFIXES = {"not": _NOT, "-": _MINUS}
_FUNCTIONS = ("min", "max", "round")
_LITERALLY = "write `$$(` if the characters `$(` are meant"
_OTHERWISE = {
    "$": "inside $( ) a param is written params.NAME, without another $",
    "&": "write `and`",
    "|": "write `or`",
    "!": "write `not`",
    "=": "write `==` to compare",
}


class Parser:
    """Precedence climbing over the tokens that follow `$(`, up to the parenthesis that closes it."""

    def __init__(self, text: str, start: int) -> None:
        self.text, self.opened = text, start
        self.tokens = self.depth = 0
        self.end = start + 2
        self.next()

    def parse(self) -> tuple[Tree, int]:
        """The tree, and where the text goes on after it."""
        if self.token == ")":
            raise ExpressionError("this expression is empty", self.opened, self.end, _LITERALLY)
        tree = self.binary(0)
        if self.token != ")":
            self.unexpected()
        return tree, self.end

    def next(self) -> None:
        space = _SPACE.match(self.text, self.end)
        self.start = self.end = space.end() if space else self.end
        if self.start == len(self.text):
            raise ExpressionError("this `$(` is never closed", self.opened, self.opened + 2, _LITERALLY)
        self.tokens += 1
        if self.tokens > MOST_TOKENS:
            message = f"an expression may have {MOST_TOKENS} parts, this one has more"
            raise ExpressionError(message, self.opened, self.start, "compute it outside and make it a param")
        found = _TOKEN.match(self.text, self.start)
        if not found:
            character = self.text[self.start]
            if character in "'\"":
                raise ExpressionError("this quote is never closed", self.start, self.start + 1, _LITERALLY)
            message = f"`{character}` has no meaning in an expression"
            raise ExpressionError(message, self.start, self.start + 1, _OTHERWISE.get(character, _LITERALLY))
        self.kind, self.token, self.end = found.lastgroup, found[0], found.end()

    def unexpected(self) -> NoReturn:
        raise ExpressionError(f"`{self.token}` is not expected here", self.start, self.end, _LITERALLY)

    def expect(self, token: str) -> None:
        if self.token != token:
            self.unexpected()
        self.next()

    def binary(self, level: int) -> Tree:
        left = self.prefix(level)
        while self.kind != "text" and level <= _LEVELS.get(self.token, -1):
            sign = self.token
            self.next()
            right = self.binary(_LEVELS[sign] + 1)
            if sign in COMPARISONS and self.token in COMPARISONS and self.kind == "sign":
                message = "comparisons cannot be chained"
                raise ExpressionError(message, left.start, self.end, "join them: a < b and b < c")
            left = Binary(left.start, right.end, sign, left, right)
        return left

    def prefix(self, level: int) -> Tree:
        start, sign = self.start, self.token
        if self.kind == "text" or sign not in ("-", "not"):
            return self.primary()
        if sign == "not" and level > _NOT:
            raise ExpressionError("`not` needs parentheses here", self.start, self.end, "write (not …)")
        self.next()
        operand = self.nested(_PREFIXES[sign])
        return Unary(start, operand.end, sign, operand)

    def nested(self, level: int) -> Tree:
        self.depth += 1
        if self.depth > DEEPEST:
            message = f"an expression may be {DEEPEST} levels deep, this one is deeper"
            raise ExpressionError(message, self.opened, self.end, "compute it outside and make it a param")
        tree = self.binary(level)
        self.depth -= 1
        return tree

    def primary(self) -> Tree:
        start, end, token = self.start, self.end, self.token
        if self.kind == "number":
            tree: Tree = Literal(start, end, self.number())
        elif self.kind == "text":
            tree = Literal(start, end, token[1:-1].replace(token[0] * 2, token[0]))
        elif self.kind == "name":
            return self.name()
        elif token == "(":
            self.next()
            tree = self.nested(0)
            if self.token != ")":
                self.unexpected()
        else:
            self.unexpected()
        self.next()
        return tree

    def number(self) -> int | float:
        token = self.token
        if not token.isdigit():
            return bounded(float(token), self)
        if len(token) > 1 and token[0] == "0":
            raise ExpressionError("a number cannot begin with 0", self.start, self.end)
        return bounded(int(token[:30]), self)

    def name(self) -> Tree:
        start, end, token = self.start, self.end, self.token
        head, *path = token.split(".")
        if token in _FUNCTIONS:
            self.next()
            return self.call(start, token)
        if head != "params" or token == "params":
            near = nearest(token, [*_FUNCTIONS, "and", "or", "not"])
            known = "params.NAME, min, max, round, and, or, not; text stands in quotes"
            help = f"did you mean `{near}`?" if near else f"there are {known}"
            raise ExpressionError(f"`{token}` is not known in expressions", start, end, help)
        if len(path) > 1:
            raise ExpressionError("expressions cannot look inside a param", start, end, "use a param for the element")
        self.next()
        return Param(start, end, path[0])

    def call(self, start: int, function: str) -> Tree:
        self.expect("(")
        arguments = [self.nested(0)] if self.token != ")" else []
        while self.token == ",":
            self.next()
            arguments.append(self.nested(0))
        end = self.end
        self.expect(")")
        wanted = len(arguments) in (1, 2) if function == "round" else len(arguments) > 1
        if not wanted:
            takes = "one number, or a number and how many digits" if function == "round" else "two numbers or more"
            raise ExpressionError(f"`{function}` takes {takes}", start, end)
        return Call(start, end, function, tuple(arguments))


def bounded(value: V, at: Tree | Parser) -> V:
    """`value`, if it is not too large. Raises ExpressionError that points at `at`."""
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        raise ExpressionError(f"the text gets longer than {LONGEST_TEXT:,} characters", at.start, at.end)
    if isinstance(value, float) and not math.isfinite(value):
        raise ExpressionError("the result is not a finite number", at.start, at.end)
    if isinstance(value, int) and abs(value) > LARGEST_INT:
        raise ExpressionError("the number is larger than 2**63", at.start, at.end)
    return value
