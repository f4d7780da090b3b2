"""The node type that chooses between two branches, of which only the one it takes is computed."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from .node import REQUIRED, Field, Input, Node, Output


class Switch(Node, category="flow"):
    """Take one of two branches; the other one is neither computed nor loaded.

    The branches are links, params, expressions or values of any type, and what it gives has the type of its branches.
    Without `otherwise` it gives nothing where the condition is false, as a node whose `when` is false.
    """

    condition: bool = Field(description="whether to take `then`")

    @classmethod
    @cache
    def inputs(cls) -> Mapping[str, Input]:
        """The condition, and the branches, whose type is no field's: it is whatever is written for them."""
        then, otherwise = "what it gives where the condition is true", "what it gives where the condition is false"
        return {
            **super().inputs(),
            "then": Input("then", Any, REQUIRED, then, Field()),
            "otherwise": Input("otherwise", Any, None, otherwise, Field()),
        }

    @classmethod
    @cache
    def outputs(cls) -> Mapping[str, Output]:
        return {"value": Output("value", Any)}
