"""Params, a graph's own inputs: their types, defaults and limits, as the file declares them."""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .diagnostics import Place, nearest
from .ports import port_types
from .problems import Problems
from .source import Mapping as Entries
from .source import Scalar, Tree, plain
from .types import PLAIN, RANDOM, choices, element, fits, only_linked, param_type, taken, type_name
from .values import UNUSABLE, Refused, converted

PARAM_KEYS = ("type", "default", "min", "max", "choices", "description")
LARGEST_DRAWN = 2**53 - 1
"""Every number up to this one is the same in JSON, wherever it is read."""

_TYPES = ", ".join(PLAIN) + ", File, Folder and other port types"

MISSING: Any = type("Missing", (), {"__repr__": lambda self: "MISSING"})()


@dataclass(frozen=True)
class Param:
    """A graph's own input: its type, default and limits.

    Without a default it has to be given; a default that was refused is UNUSABLE, one that is to be drawn is RANDOM.
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

    @property
    def fallback(self) -> Any:
        """What stands in where the param is given something that is absent: the default, where that is a value.

        MISSING where there is none, or where it has to be drawn or read from a file first.
        """
        if is_drawn(self, self.default) or (self.default is not None and only_linked(self.annotation)):
            return MISSING
        return self.default

    @cached_property
    def taken(self) -> Any:
        """The type of what can be given from outside: `random` for an int, a file for what can be read from one."""
        return taken(self.annotation)

    @cached_property
    def allowed(self) -> frozenset[Any]:
        """The choices, to be looked up however many values there are."""
        return frozenset(self.choices)


def known_keys(tree: Entries, known: tuple[str, ...], what: str, path: str, problems: Problems) -> set[str | None]:
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


def read_param(key: Scalar, value: Tree, folder: Path, problems: Problems) -> Param | None:
    path = f"params.{key.text}"
    if not isinstance(value, Entries):
        problems.error(
            "wrong-type", value.place, f"the param `{key.text}` does not say its type",
            help=f"write {key.text}: {{type: str, default: …}}", path=path,
        )  # fmt: skip
        return None
    misspelt = known_keys(value, PARAM_KEYS, f"the param `{key.text}`", path, problems)
    written = value.get("type")
    if written is None and "type" in misspelt:
        return None
    if written is None:
        problems.error(
            "missing-key", key.place, f"the param `{key.text}` has no type",
            help=f"the types are {_TYPES}, and lists of them such as [float]", path=path,
        )  # fmt: skip
        return None
    annotation = param_type(plain(written), port_types())
    if annotation is None:
        name = written.text if isinstance(written, Scalar) else "this"
        longer = (plain for plain in PLAIN if name.lower().startswith(plain))  # integer, string, boolean
        near = next(longer, None) or nearest(name, [*PLAIN, *port_types()])
        problems.error(
            "unknown-type", written.place, f"`{name}` is no type that a param can have",
            help=f"did you mean `{near}`?" if near else f"the types are {_TYPES}, and lists",
            path=f"{path}.type",
        )  # fmt: skip
        return None
    options: dict[str, Any] = {}
    default = value.get("default")
    if default is not None:
        if isinstance(default, Scalar) and default.value is None and not default.quoted:
            annotation, options["default"] = annotation | None, None
        else:
            options["default"] = converted(default, taken(annotation), problems, f"{path}.default", folder)
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
    if value is None or is_drawn(param, value):
        return None
    if element(param.annotation) is not None and isinstance(value, tuple):
        return next(filter(None, (_outside_limits(param, item) for item in value)), None)
    return _outside_limits(param, value)


def _outside_limits(param: Param, value: Any) -> tuple[str, str] | None:
    if param.minimum is not None and value < param.minimum:
        return "out-of-range", f"is {value}, the least is {param.minimum}"
    if param.maximum is not None and value > param.maximum:
        return "out-of-range", f"is {value}, the most is {param.maximum}"
    if param.choices and value not in param.allowed:
        near = nearest(str(value), [str(choice) for choice in param.choices])
        choices = f"`{near}` is one" if near else "they are " + ", ".join(str(choice) for choice in param.choices)
        return "not-a-choice", f"is `{value}`, which is none of its choices; {choices}"
    return None


def is_drawn(param: Param, value: Any) -> bool:
    """Whether this value of a param stands for one that is drawn when the params are given."""
    return isinstance(value, str) and value == RANDOM and int in choices(param.annotation)


def drawn(param: Param) -> int:
    """A random value within the limits of a param. Raises Refused where there is none."""
    import secrets  # takes longer to import than most graphs to check

    if param.choices:
        return int(secrets.choice(param.choices))
    least = 0 if param.minimum is None else math.ceil(param.minimum)
    most = LARGEST_DRAWN if param.maximum is None else min(math.floor(param.maximum), LARGEST_DRAWN)
    if most < least:
        raise Refused("out-of-range", f"no number from {least} to {most} can be drawn", "change its `min` and `max`")
    return least + secrets.randbelow(most - least + 1)
