"""Values as a type wants them: what is written in a file, typed on the command line or given from Python.

Nothing is coerced but an int to a float, a list to a tuple, and the path of a file to the file.
"""

import contextlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from .checked import LATER, Computed, Given, Linked
from .diagnostics import GraphWrong, nearest
from .ports import File, Folder, PortType
from .problems import Problems
from .roots import NotAllowed, place, readable
from .source import Mapping, Scalar, Sequence, Tree, read
from .types import PLAIN, RANDOM, Random, choices, element, part, taken, type_name


class Refused(Exception):
    """A value that a type does not take: a diagnostic's code, message and help, without a place."""

    def __init__(self, code: str, message: str, help: str | None = None) -> None:
        super().__init__(message if help is None else f"{message} ({help})")
        self.code, self.message, self.help = code, message, help


class Unusable:
    """Stands for a value that was refused, so that checking can go on."""


UNUSABLE = Unusable()


def is_known(value: Any) -> bool:
    """Whether an input's value is a value: no link, and nothing that only a run or the use of a graph can tell."""
    if type(value) is tuple:
        return all(map(is_known, value))
    return type(value) not in _UNKNOWN


def spelt(value: Any) -> str | None:
    """A text that tells a value that is known from every other one; None where there is no such text."""
    if type(value) is tuple:
        items = [spelt(item) for item in value]
        return None if None in items else repr(items)
    if isinstance(value, (File, Folder)):
        return f"{type(value).__name__} {value.path}" if value.path else None
    return repr(value) if type(value) in (*PLAIN.values(), type(None), type(LATER)) else None


_UNKNOWN = (Unusable, Linked, Given, Computed, type(LATER))

PLAIN_TEXT: Any = type("PlainText", (), {"__repr__": lambda self: "PLAIN_TEXT"})()
"""What a `Reference` gives for text that refers to nothing."""

Reference = Callable[[Scalar, Any, str], Any]
"""Reads a scalar as a link, a param or an expression; gives PLAIN_TEXT where it is none of them."""


def admitted(value: Any, annotation: Any, folder: Path) -> Any:
    """`value` as a type takes it; paths are relative to `folder`. Raises Refused."""
    alternatives = choices(annotation)
    if len(alternatives) == 1:
        return _admitted_as(value, alternatives[0], folder)
    refusals = []
    for alternative in alternatives:
        try:
            return _admitted_as(value, alternative, folder)
        except Refused as refused:
            refusals.append(refused)
    telling = [refused for refused in refusals if refused.code not in ("wrong-type", "text-as-value")]
    without_none = [a for a in alternatives if a is not type(None)]
    if telling:
        raise telling[0]
    if len(without_none) == 1:
        raise refusals[0]
    raise _wrong_type(value, annotation, next((refused.help for refused in refusals if refused.help), None))


def _admitted_as(value: Any, annotation: Any, folder: Path) -> Any:
    if annotation is Any:
        annotation = tuple[Any, ...] if isinstance(value, (list, tuple)) else type(value)
    if annotation in (int, bool, str) and type(value) is annotation:
        return value
    inner = element(annotation)
    if inner is not None:
        if isinstance(value, (list, tuple)):
            return tuple(admitted(item, inner, folder) for item in value)
        help = f"put it in brackets: [{value}]" if isinstance(value, (int, float, str)) else None
        raise _wrong_type(value, annotation, help)
    if get_origin(annotation) is Literal:
        allowed = get_args(annotation)
        if value in allowed and type(value) is type(allowed[0]):
            return value
        near = nearest(str(value), [str(choice) for choice in allowed])
        listed = ", ".join(str(choice) for choice in allowed)
        raise Refused("not-a-choice", f"`{value}` is not one of {listed}", f"did you mean `{near}`?" if near else None)
    if annotation is type(None) and value is None:
        return None
    if annotation is float and type(value) in (int, float):
        try:
            number = float(value)
        except OverflowError:
            raise Refused("wrong-type", "the number is too large for a float") from None
        if not math.isfinite(number):
            raise Refused("wrong-type", f"{value} is not a finite number")
        return number
    if annotation in (File, Folder) and isinstance(value, (str, Path)):
        try:
            return _on_disk(place(str(value), folder), str(value), annotation)
        except NotAllowed as refused:
            raise Refused("missing-file", str(refused)) from None
        except (OSError, RuntimeError) as error:  # the latter where `~name` names nobody
            reason = (getattr(error, "strerror", None) or str(error)).lower().rstrip(".")
            raise Refused("missing-file", f"`{value}` cannot be read: {reason}") from None
    if isinstance(annotation, type) and issubclass(annotation, PortType):
        if isinstance(value, annotation):
            return value
        if isinstance(value, str) and annotation not in (File, Folder):
            raise Refused("text-as-value", f"a {type_name(annotation)} comes over a link, {_shown(value)}")
    if annotation is Random and value == RANDOM:
        return RANDOM
    raise _wrong_type(value, annotation, _instead(value, annotation))


def _instead(value: Any, annotation: Any) -> str | None:
    if annotation is str and type(value) in (int, float):
        return f'quote it: "{value}"'
    if annotation is int and value == RANDOM:
        return "only a param can be random: declare one, {type: int, default: random}, and write $params.NAME here"
    return None


def _on_disk(path: Path, written: str, annotation: type) -> File | Folder:
    """The file or folder at a path. Raises Refused (missing-file) where it is not there."""
    if not written:
        raise Refused("missing-file", f"the path of the {annotation.__name__.lower()} is empty")
    if annotation is File and path.is_file():
        return File.at(path)
    if annotation is Folder and path.is_dir():
        return Folder.at(path)
    if path.exists():
        found = "a folder" if path.is_dir() else "a file" if path.is_file() else "neither a file nor a folder"
        raise Refused("missing-file", f"`{written}` is {found}, a {annotation.__name__.lower()} is wanted")
    listed = path.parent.is_dir() and readable(path.parent)
    neighbours = [entry.name for entry in path.parent.iterdir()] if listed else []
    near = nearest(path.name, neighbours)
    help = f"there is `{(Path(written).parent / near).as_posix()}`" if near else None
    raise Refused("missing-file", f"there is no {annotation.__name__.lower()} `{written}`", help)


def _wrong_type(value: Any, annotation: Any, help: str | None = None) -> Refused:
    return Refused("wrong-type", f"{type_name(annotation)} is wanted, {_shown(value)}", help)


def _shown(value: Any) -> str:
    if value is None:
        return "this is empty"
    if isinstance(value, str):
        return f"`{value if len(value) <= 40 else value[:37] + '…'}` is text"
    if isinstance(value, bool):
        return f"`{str(value).lower()}` is a bool"
    if isinstance(value, (int, float)):
        return f"`{value}` is a number"
    if isinstance(value, (list, tuple)):
        return "this is a list"
    return f"this is a {type(value).__name__}"


def converted(
    tree: Tree,
    annotation: Any,
    problems: Problems,
    path: str,
    folder: Path,
    reference: Reference | None = None,
) -> Any:
    """The value of a tree as a type takes it, or UNUSABLE after saying in `problems` what is wrong with it.

    `reference` is asked first about every text; what it gives stands for the value.
    """
    if isinstance(tree, Scalar):
        if reference is not None and isinstance(tree.value, str):
            found = reference(tree, annotation, path)
            if found is not PLAIN_TEXT:
                return found
        try:
            return admitted(tree.value, annotation, folder)
        except Refused as refused:
            help = refused.help
            if tree.trap and not tree.quoted:
                help = tree.trap
            problems.error(refused.code, tree.place, f"{subject(path)}: {refused.message}", help=help, path=path)
            return UNUSABLE
    inner = next((found for a in choices(annotation) if (found := part(a)) is not None), None)
    if isinstance(tree, Sequence) and inner is not None:
        items = [
            converted(item, inner, problems, f"{path}.{index}", folder, reference)
            for index, item in enumerate(tree.items)
        ]
        return UNUSABLE if any(item is UNUSABLE for item in items) else tuple(items)
    found = "a list" if isinstance(tree, Sequence) else "names with values"
    problems.error(
        "wrong-type", tree.place, f"{subject(path)}: {type_name(annotation)} is wanted, this is {found}", path=path
    )
    return UNUSABLE


def subject(path: str) -> str:
    """What messages call the input or param at a path, of which the path may name an element."""
    names = [part for part in path.split(".") if not part.isdigit()]
    return f"`{names[1] if names[-1] == 'default' else names[-1]}`"


def typed(text: str, annotation: Any, folder: Path) -> Any:
    """What a user typed on a command line for a param of this type. Raises Refused."""
    return _typed(text, taken(annotation), folder)


def _typed(text: str, annotation: Any, folder: Path) -> Any:
    alternatives = choices(annotation)
    if str in alternatives:
        return text
    if Random in alternatives and text == RANDOM:
        return RANDOM
    if type(None) in alternatives and text in ("", "null"):
        return None
    target = alternatives[0]
    if element(target) is not None and text.lstrip().startswith("["):
        problems = Problems()
        try:
            tree: Tree | None = read(f"value: {text}\n", "value").get("value")
        except GraphWrong:
            tree = None
        if tree is None or isinstance(tree, Mapping):
            raise Refused("wrong-type", f"{type_name(annotation)} is wanted, `{text}` is not a list")
        with contextlib.suppress(GraphWrong):  # after very many problems, of which the first is enough
            value = converted(tree, annotation, problems, "value", folder)
        for problem in problems.found:
            raise Refused(problem.code, problem.message, problem.help)
        return value
    if element(target) is not None:
        inner = element(target)
        return tuple(_typed(part.strip(), inner, folder) for part in text.split(",")) if text else ()
    if target is bool and text in ("true", "false"):
        return text == "true"
    if target in (int, float):
        try:
            return admitted(target(text), target, folder)
        except ValueError:
            raise _wrong_type(text, annotation) from None
    return admitted(text, annotation, folder)
