"""The type of a port, as its annotation says it: what it is called, and what fits into it."""

import types
from collections.abc import Callable, Iterable, Mapping
from functools import reduce, wraps
from operator import or_
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from .ports import File, Folder, PortType

PLAIN: dict[str, type] = {"int": int, "float": float, "str": str, "bool": bool}

DEEPEST = 8

RANDOM = "random"
"""Given for a param that is an int: it is drawn."""


class Random:
    """Stands beside `int` in the type of what a param can be given."""


F = TypeVar("F", bound=Callable[..., Any])


def _once(function: F) -> F:
    """Answer each question once: checking asks the same about the same few annotations for every link.

    Annotations are told apart by identity, because `int | float` equals `float | int`, and the order matters.
    """
    answers: dict[tuple[int, ...], tuple[tuple[Any, ...], Any]] = {}

    @wraps(function)
    def answer(*annotations: Any) -> Any:
        key = tuple(map(id, annotations))
        found = answers.get(key)
        if found is None:
            if len(answers) > 10_000:
                answers.clear()
            # With the annotations, so that no other one gets their identity.
            found = answers[key] = annotations, function(*annotations)
        return found[1]

    return answer  # type: ignore[return-value]


def bare(annotation: Any) -> Any:
    """The annotation without `Annotated` around it."""
    return bare(get_args(annotation)[0]) if get_origin(annotation) is Annotated else annotation


@_once
def choices(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of a union (one for anything else), `None` last."""
    annotation = bare(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(sorted((bare(a) for a in get_args(annotation)), key=lambda a: a is type(None)))
    return (annotation,)


@_once
def element(annotation: Any) -> Any | None:
    """The element type of a list, written `list[T]` or `tuple[T, ...]`; None for anything else."""
    annotation, arguments = bare(annotation), get_args(bare(annotation))
    if get_origin(annotation) is list or (get_origin(annotation) is tuple and arguments[1:] == (...,)):
        return arguments[0]
    return None


def part(annotation: Any) -> Any | None:
    """The type of an element of what has this type, one of several lists or any type; None where it has no elements."""
    if annotation is Any:
        return Any
    parts = [element(alternative) for alternative in choices(annotation)]
    return None if None in parts else union(parts)


def list_of(annotation: Any) -> Any:
    """The type of lists of this; nobody has lists nested deeper than DEEPEST, so those are any type."""
    return Any if _depth(annotation) >= DEEPEST else tuple[annotation, ...]


def _depth(annotation: Any) -> int:
    inner = element(annotation)
    if inner is not None:
        return 1 + _depth(inner)
    alternatives = choices(annotation)
    return max(map(_depth, alternatives)) if len(alternatives) > 1 else 0


def is_port_type(annotation: Any) -> bool:
    """Whether values of this annotation can flow over links."""
    annotation = bare(annotation)
    alternatives = choices(annotation)
    if len(alternatives) > 1:
        return all(a is type(None) or is_port_type(a) for a in alternatives)
    inner = element(annotation)
    if inner is not None:
        return is_port_type(inner)
    if get_origin(annotation) is Literal:
        return len({type(choice) for choice in get_args(annotation)}) == 1
    return isinstance(annotation, type) and (annotation in PLAIN.values() or issubclass(annotation, PortType))


@_once
def type_name(annotation: Any) -> str:
    """What messages and documentation call it: `Latent`, `float | None`, `[float]`, `Guidance | Conditioning`."""
    annotation = bare(annotation)
    alternatives = choices(annotation)
    if len(alternatives) > 1:
        return " | ".join(type_name(a) for a in alternatives if a is not Random)
    if annotation is type(None):
        return "none"
    if annotation is Any:
        return "any type"
    inner = element(annotation)
    if inner is not None:
        return f"[{type_name(inner)}]"
    if get_origin(annotation) is Literal:
        return str(type(get_args(annotation)[0]).__name__)
    return str(annotation.__name__)


@_once
def fits(given: Any, wanted: Any) -> bool:
    """Whether every value of type `given` may flow into a port of type `wanted`.

    An int fits a float, anything fits an optional or a union that has it, a list fits a list whose elements fit. Text
    fits a choice here; whether it is one of the choices is checked when the value is known. What is of any type fits
    everything, and takes everything.
    """
    if given is Any or wanted is Any:
        return True
    sources, targets = choices(given), choices(wanted)
    if len(sources) > 1:
        return all(fits(source, wanted) for source in sources)
    if len(targets) > 1:
        return any(fits(given, target) for target in targets)
    source, target = sources[0], targets[0]
    inner_source, inner_target = element(source), element(target)
    if inner_source is not None or inner_target is not None:
        return inner_source is not None and inner_target is not None and fits(inner_source, inner_target)
    source, target = _plain(source), _plain(target)
    if not (isinstance(source, type) and isinstance(target, type)):
        return False
    if bool in (source, target):
        return source is target
    return issubclass(source, target) or (source is int and target is float)


def _plain(annotation: Any) -> Any:
    return type(get_args(annotation)[0]) if get_origin(annotation) is Literal else annotation


def param_type(written: Any, port_types: Mapping[str, Any]) -> Any | None:
    """The type that a graph file's `type:` names, `float` or the list `[float]`; None where it names none.

    `port_types` are the classes that a param may have besides the plain types.
    """
    if isinstance(written, str):
        return {**PLAIN, **port_types}.get(written)
    if not isinstance(written, list) or len(written) != 1:
        return None
    inner = param_type(written[0], port_types)
    return None if inner is None else tuple[inner, ...]  # type: ignore[valid-type]


def union(annotations: Iterable[Any]) -> Any:
    """The type of what has one of these types."""
    several = dict.fromkeys(a if element(a) is None else list_of(element(a)) for a in annotations)
    return Any if Any in several or not several else reduce(or_, several)


@_once
def taken(annotation: Any) -> Any:
    """The type of what can be given from outside for a param of this type: more than what flows over links.

    For an int `random`, and for a port type that has a reader the file that it reads.
    """
    readable = _readable(annotation)
    return union([readable, Random]) if int in choices(annotation) else readable


def _readable(annotation: Any) -> Any:
    alternatives, inner = choices(annotation), element(annotation)
    if len(alternatives) > 1:
        return union(map(_readable, alternatives))
    if inner is not None:
        return tuple[_readable(inner), ...]  # type: ignore[misc]
    return union([annotation, File]) if is_readable(annotation) else annotation


def is_readable(annotation: Any) -> bool:
    """Whether a node type is known that makes values of this type from a file."""
    return isinstance(annotation, type) and issubclass(annotation, PortType) and annotation.reader is not None


def only_linked(annotation: Any) -> bool:
    """Whether nothing that is given from outside fits, neither plain values nor files."""
    inner = element(annotation)
    if inner is not None:
        return only_linked(inner)
    return all(isinstance(a, type) and issubclass(a, PortType) and a not in (File, Folder) for a in choices(annotation))
