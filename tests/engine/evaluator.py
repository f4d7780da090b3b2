"""A straightforward evaluator of small graphs that has no cache, to compare the engine with.

A program is data: nodes by name, each with inputs that are values, links or params. What an evaluator gives is the
value of each output, and every node that was needed for them, with its type and the values of its inputs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import product
from typing import Any

ABSENT, FAILED = "ABSENT", "FAILED"


@dataclass(frozen=True)
class Link:
    node: str
    output: str = ""

    def __str__(self) -> str:
        return f"${self.node}.{self.output}" if self.output else f"${self.node}"


@dataclass(frozen=True)
class Param:
    name: str
    times: int = 1

    def __str__(self) -> str:
        return f"$params.{self.name}" if self.times == 1 else f"$(params.{self.name} * {self.times})"


@dataclass
class Use:
    """One node of a program."""

    type: str
    inputs: dict[str, Any]
    when: Any = True
    over: dict[str, Any] | None = None


@dataclass
class Program:
    nodes: dict[str, Use]
    outputs: dict[str, Link]
    params: dict[str, Any] = field(default_factory=dict)


SUB = Program(
    nodes={
        "total": Use("Plus", {"a": Param("x"), "b": Param("y", 2)}),
        "half": Use("Half", {"a": Link("total")}),
        "tried": Use("Fussy", {"a": Link("half"), "at": 1}),
        "extra": Use("Plus", {"a": Link("half")}, when=Param("flag")),
        "last": Use("Plus", {"a": Link("half"), "b": Link("extra")}),
    },
    outputs={"total": Link("total"), "tried": Link("tried"), "last": Link("last")},
    params={"x": None, "y": 2, "flag": False},
)
"""The graph that programs use as the node type `./sub.yaml`."""

SUB_TEXT = """\
latentgraph: 1
params:
  x: {type: int}
  y: {type: int, default: 2}
  flag: {type: bool, default: false}
nodes:
  total: {type: Plus, inputs: {a: $params.x, b: $(params.y * 2)}}
  half: {type: Half, inputs: {a: $total}}
  tried: {type: Fussy, inputs: {a: $half, at: 1}}
  extra: {type: Plus, when: $params.flag, inputs: {a: $half}}
  last: {type: Plus, inputs: {a: $half, b: $extra}}
outputs: {total: $total, tried: $tried, last: $last}
"""

DEFAULTS = {"Plus": {"b": 1}, "Fussy": {"at": 0}, "./sub.yaml": SUB.params}
INPUTS = {
    "Const": ("value",), "Plus": ("a", "b"), "Half": ("a",), "Fussy": ("a", "at"), "IsEven": ("a",), "UpTo": ("n",),
    "SumUp": ("numbers",),
}  # fmt: skip


def text(program: Program) -> str:
    """The program as a graph file."""
    lines = ["latentgraph: 1", "nodes:"]
    for name, use in program.nodes.items():
        lines.append(f"  {name}:")
        lines.append(f"    type: {use.type}")
        if use.when is not True:
            lines.append(f"    when: {written(use.when)}")
        if use.over is not None:
            lines.append("    foreach: {" + ", ".join(f"{n}: {written(v)}" for n, v in use.over.items()) + "}")
        lines.append("    inputs: {" + ", ".join(f"{n}: {written(v)}" for n, v in use.inputs.items()) + "}")
    lines.append("outputs: {" + ", ".join(f"{name}: {link}" for name, link in program.outputs.items()) + "}")
    return "\n".join(lines) + "\n"


def written(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(written, value)) + "]"
    return str(value) if isinstance(value, (Link, Param)) else json.dumps(value)


class Evaluation:
    """Evaluates one program, asking for nothing that its outputs do not need."""

    def __init__(self, program: Program, params: dict[str, Any] | None = None, prefix: str = "") -> None:
        self.program, self.params, self.prefix = program, params or {}, prefix
        self.needed: dict[str, tuple[str, tuple[Any, ...]]] = {}
        """Type and inputs of every node that was needed and could be run, by address."""
        self.results: dict[str, Any] = {}
        self.elements: dict[str, list[Any]] = {}

    def outputs(self) -> dict[str, Any]:
        return {name: self.link(link) for name, link in self.program.outputs.items()}

    def value(self, form: Any) -> Any:
        if isinstance(form, Link):
            return self.link(form)
        if isinstance(form, Param):
            given = self.params[form.name]
            return given if given in (ABSENT, FAILED) or form.times == 1 else given * form.times
        if isinstance(form, (list, tuple)):
            items = tuple(map(self.value, form))
            return next((mark for mark in (FAILED, ABSENT) if mark in items), items)
        return form

    def link(self, link: Link) -> Any:
        use = self.program.nodes[link.node]
        if use.over is None:
            return self.single(link.node, link.node, use, {}, link.output)
        when = self.value(use.when)
        if when in (FAILED, ABSENT) or when is False:
            return ABSENT if when is False else when
        lists = {name: self.value(form) for name, form in use.over.items()}
        for mark in (FAILED, ABSENT):
            if mark in lists.values():
                return mark
        found = [
            self.single(f"{link.node}/{index}", link.node, use, dict(zip(lists, row, strict=True)), link.output)
            for index, row in enumerate(product(*lists.values()))
        ]
        return FAILED if FAILED in found else tuple(value for value in found if value != ABSENT)

    def single(self, address: str, name: str, use: Use, elements: dict[str, Any], output: str) -> Any:
        if (address, output) in self.results:
            return self.results[address, output]
        found = self.results[address, output] = self._single(address, use, elements, output)
        return found

    def _single(self, address: str, use: Use, elements: dict[str, Any], output: str) -> Any:
        when = self.value(use.when)
        if when in (FAILED, ABSENT) or when is False:
            return ABSENT if when is False else when
        if use.type == "Switch":
            condition = self.value(use.inputs["condition"])
            if condition in (FAILED, ABSENT):
                return condition
            return self.value(use.inputs["then" if condition else "otherwise"])
        defaults = DEFAULTS.get(use.type, {})
        if use.type == "./sub.yaml":
            inner = self._inner(address, use, elements, defaults)
            found = inner.link(SUB.outputs[output])
            self.needed |= inner.needed
            return found
        given = {**{name: self.value(form) for name, form in use.inputs.items()}, **elements}
        inputs = {
            **defaults,
            **{name: value for name, value in given.items() if value != ABSENT or name not in defaults},
        }
        for mark in (FAILED, ABSENT):
            if mark in inputs.values():
                return mark
        values = tuple(inputs[name] for name in INPUTS[use.type])
        self.needed[self.prefix + address] = (use.type, values)
        return computed(use.type, values)

    def _inner(self, address: str, use: Use, elements: dict[str, Any], defaults: dict[str, Any]) -> Evaluation:
        """The evaluation of a graph that is used as a node type; its params are looked at only where they matter."""
        known = self.elements.setdefault(address, [])
        if not known:
            known.append(
                Evaluation(SUB, _Lazily(self, {**use.inputs, **elements}, defaults), f"{self.prefix}{address}/")
            )
        found: Evaluation = known[0]
        return found


class _Lazily(dict[str, Any]):
    """Params by name, each evaluated when it is asked for."""

    def __init__(self, outer: Evaluation, forms: dict[str, Any], defaults: dict[str, Any]) -> None:
        super().__init__()
        self.outer, self.forms, self.defaults = outer, forms, defaults

    def __missing__(self, name: str) -> Any:
        value = self.outer.value(self.forms[name]) if name in self.forms else ABSENT
        if value == ABSENT and self.defaults[name] is not None:
            return self.defaults[name]
        return value

    def __bool__(self) -> bool:
        return True


def computed(node_type: str, values: tuple[Any, ...]) -> Any:
    match node_type, values:
        case "Const", (value,):
            return value
        case "Plus", (a, b):
            return a + b
        case "Half", (a,):
            return a // 2
        case "Fussy", (a, at):
            return FAILED if a % 5 == at else a * 3
        case "IsEven", (a,):
            return a % 2 == 0
        case "UpTo", (n,):
            return tuple(range(n % 4))
        case "SumUp", (numbers,):
            return sum(numbers)
    raise AssertionError(node_type)
