"""Node types: a pydantic class whose fields are the inputs and whose `run` annotation gives the outputs.

    class InvertImage(Node, category="image"):
        '''Invert the colours of an image.'''

        image: Image
        strength: float = Field(1.0, ge=0, le=1, description="0 leaves the image as it is, 1 inverts it fully")

        def run(self, context: Context) -> Image:
            ...

That is the whole plugin API: a class, its docstring, its annotations.
"""

import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from .context import Context
from .ports import PortType
from .types import bare, choices, element, is_port_type, type_name

__all__ = ["Field", "Input", "Node", "Output", "Wrong"]

REQUIRED: Any = PydanticUndefined

Effect = Literal["reads files", "writes files", "uses the network"]


class Wrong(ValueError):
    """Raised by `Node.describe` for what cannot work because of one input."""

    def __init__(self, input: str, message: str) -> None:
        super().__init__(message)
        self.input = input


@dataclass(frozen=True)
class Input:
    """One input of a node type."""

    name: str
    annotation: Any
    default: Any
    description: str
    field: FieldInfo

    @property
    def required(self) -> bool:
        return self.default is REQUIRED

    @property
    def type_name(self) -> str:
        return type_name(self.annotation)


@dataclass(frozen=True)
class Output:
    """One output of a node type."""

    name: str
    annotation: Any

    @property
    def type_name(self) -> str:
        return type_name(self.annotation)


class Node(BaseModel):
    """The base of all node types. Derive from it, annotate the inputs, define `run`.

    Class keywords: `category` groups node types in listings, `version` changes with the meaning of the result,
    `volatile` marks results that differ from run to run, `resource` names what nodes of this type queue for
    (`"device"`), `primary` the output that a link without a name takes where there are several, `aliases` former names.
    `effects` says what a node does besides giving values, so that a server can refuse to run it for others: it reads
    files that are no inputs of it (and whose paths it does not ask `roots.place` for), writes files, uses the network.

    Raises TypeError, when the class is made, for an input that is no port type, is called like something
    that Node has itself, or has a default factory.
    """

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        defer_build=True,
        protected_namespaces=(),
    )

    category: ClassVar[str] = ""
    version: ClassVar[int] = 1
    volatile: ClassVar[bool] = False
    resource: ClassVar[str | None] = None
    primary: ClassVar[str | None] = None
    aliases: ClassVar[tuple[str, ...]] = ()
    effects: ClassVar[tuple[Effect, ...]] = ()

    def __init_subclass__(
        cls,
        *,
        category: str = "",
        version: int = 1,
        volatile: bool = False,
        resource: str | None = None,
        primary: str | None = None,
        aliases: tuple[str, ...] = (),
        effects: tuple[Effect, ...] = (),
        **options: Any,
    ) -> None:
        super().__init_subclass__(**options)
        cls.category, cls.version, cls.volatile = category, version, volatile
        cls.resource, cls.primary, cls.aliases = resource, primary, aliases
        if not set(effects) <= set(get_args(Effect)):
            raise TypeError(f"{cls.__name__}: the effects are {', '.join(get_args(Effect))}, not {effects}")
        cls.effects = effects

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        for name, field in cls.model_fields.items():
            if name in vars(Node):
                raise TypeError(f"{cls.__name__}.{name}: an input cannot be called so, Node itself has a `{name}`")
            if field.default_factory is not None:
                raise TypeError(f"{cls.__name__}.{name}: a default factory hides what the default is; write a value")
            inner = next((element(a) for a in choices(field.annotation) if get_origin(a) is list), None)
            if inner is not None:
                # A list that reached several nodes could be changed by one of them.
                wanted = f"tuple[{getattr(inner, '__name__', inner)}, ...]"
                raise TypeError(f"{cls.__name__}.{name}: lists reach nodes as tuples; write {wanted}")
            if not is_port_type(field.annotation):
                raise TypeError(f"{cls.__name__}.{name}: {field.annotation!r} is no port type")

    def run(self, context: Context) -> Any:
        raise NotImplementedError

    @classmethod
    def describe(cls, known: Mapping[str, Any]) -> Mapping[str, Any]:
        """What can be said before running about the outputs, by name: any light values, such as a size or a family.

        Of an output of a plain type that is the value itself.
        `known` has the values of the inputs that are known, defaults among them, and for a linked one what the other
        node said of its output; an input of which nothing is known is not in it. Files may be looked at, their headers
        only. Raises ValueError, or Wrong with the name of an input, for what cannot work.
        """
        return {}

    def fingerprint(self) -> Any:
        """What else decides the result, besides code, inputs and the numeric environment; it enters the key."""
        return None

    @classmethod
    @cache
    def inputs(cls) -> Mapping[str, Input]:
        """The inputs by name, in the order they are declared."""
        return {
            name: Input(name, field.annotation, field.default, field.description or "", field)
            for name, field in cls.model_fields.items()
        }

    @classmethod
    @cache
    def outputs(cls) -> Mapping[str, Output]:
        """The outputs by name: the fields of the NamedTuple that `run` gives, or one, named after its type.

        Raises TypeError where `run` has no annotation, or one that is no port type, or lacks the primary output.
        """
        module = vars(sys.modules[cls.__module__]) if cls.__module__ in sys.modules else None
        given = get_type_hints(cls.run, globalns=module).get("return")
        if isinstance(given, type) and issubclass(given, tuple) and hasattr(given, "_fields"):
            outputs = {name: Output(name, hint) for name, hint in get_type_hints(given).items()}
        else:
            outputs = {name: Output(name, given) for name in [_output_name(given)]}
        if cls.primary is not None and cls.primary not in outputs:
            raise TypeError(f"{cls.__name__} has no output `{cls.primary}`, which it declares as primary")
        for output in outputs.values():
            if not is_port_type(output.annotation):
                raise TypeError(f"{cls.__name__}.run gives {output.annotation!r}, which is no port type")
        return outputs

    @classmethod
    def primary_output(cls) -> Output | None:
        """What a link without an output's name takes: the only output, or the one declared as primary."""
        outputs = cls.outputs()
        if len(outputs) == 1:
            return next(iter(outputs.values()))
        return outputs[cls.primary] if cls.primary else None

    @classmethod
    def documentation(cls) -> str:
        return inspect.cleandoc(cls.__doc__ or "")


def _output_name(annotation: Any) -> str:
    first = choices(annotation)[0]
    if isinstance(bare(first), type) and issubclass(bare(first), PortType):
        return str(bare(first).__name__).lower()
    return "value"
