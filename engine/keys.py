"""Keys: what decides whether a result is reused.

A key is SHA-256 over a type-tagged canonical encoding of everything that determines a node's result: the key format's
version, the node type's name and version, its code and the versions of what that imports, the numeric environment, the
environment variables that such nodes ask for, the values of all inputs (those of port types by digest), and what
`fingerprint` adds. Not in it: the names of node and graph, where the graph's file or a model lies, and when it ran.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any, NamedTuple

from .code import Code, code_of
from .digest import append, digest, encoded, tagged
from .entries import entries
from .node import Node
from .reasons import shown
from .records import Ref

if TYPE_CHECKING:
    from .store import Store

KEY_FORMAT = 1
ENVIRONMENTS = "latentgraph.environments"
"""Entry points called like a distribution: functions that give the facts which decide the numbers it computes."""

_NO_VARIABLES: Mapping[str, str | None] = {}


class Key(NamedTuple):
    """A key, and its ingredients as far as they are the same for all nodes of the type."""

    digest: str
    kind: Kind
    inputs: Mapping[str, Any]
    variables: Mapping[str, str | None]
    fingerprint: str | None

    def about(self) -> dict[str, Any]:
        """The ingredients in a form to be shown and compared."""
        about = dict(self.kind.about)
        about["inputs"] = {name: shown(self.inputs.get(name, default)) for name, _, default in self.kind.inputs}
        if self.variables:
            about["variables"] = dict(self.variables)
        if self.fingerprint:
            about["fingerprint"] = self.fingerprint
        return about


class Kind:
    """A node type as the keys of one run have it."""

    def __init__(self, node_type: type[Node]) -> None:
        self.type = node_type
        self.code: Code = code_of(node_type)
        facts = environment(self.code)
        header = encoded(
            [
                KEY_FORMAT,
                node_type.__name__,
                node_type.version,
                self.code.digest,
                dict(self.code.distributions),
                facts,
            ]
        )
        self.partial = hashlib.sha256(header).hexdigest()
        self.start = tagged(b"k", self.partial.encode())
        """How all keys of the kind begin."""
        self.inputs = [
            (entry.name, encoded(entry.name), None if entry.required else entry.default)
            for entry in node_type.inputs().values()
        ]
        self.about = {
            "type": node_type.__name__,
            "version": node_type.version,
            "code": self.code.digest[:16],
            "environment": {**self.code.distributions, **facts},
        }
        self.has_fingerprint = node_type.fingerprint is not Node.fingerprint


class Keys:
    """Makes the keys of one run. `load` gives the value that a reference stands for, or None."""

    def __init__(self, store: Store, load: Callable[[Ref], Any] = lambda ref: None) -> None:
        self.store, self.load = store, load
        self.kinds: dict[type[Node], Kind] = {}

    def kind(self, node_type: type[Node]) -> Kind:
        found = self.kinds.get(node_type)
        if found is None:
            found = self.kinds[node_type] = Kind(node_type)
        return found

    def key(self, kind: Kind, inputs: Mapping[str, Any]) -> Key | None:
        """The key of a node with these inputs; None where its fingerprint cannot be taken, so that it has to run."""
        names = self.store.variables(kind.partial)
        variables = {name: os.environ.get(name) for name in names} if names else _NO_VARIABLES
        parts: list[Any] = [kind.start]
        for name, tag, default in kind.inputs:
            parts.append(tag)
            append(inputs.get(name, default), parts)
        fingerprint = None
        if kind.has_fingerprint:
            fingerprint = self._fingerprint(kind.type, inputs)
            if fingerprint is None:
                return None
            parts.append(encoded(fingerprint))
        if variables:
            parts.append(encoded(variables))
        return Key(hashlib.sha256(b"".join(parts)).hexdigest(), kind, inputs, variables, fingerprint)

    def _fingerprint(self, node_type: type[Node], inputs: Mapping[str, Any]) -> str | None:
        try:
            node = node_type.model_validate({name: self._loaded(value) for name, value in inputs.items()})
            return digest(node.fingerprint())
        except Exception:  # whatever is wrong comes out, in its own words, when the node runs
            return None

    def _loaded(self, value: Any) -> Any:
        if type(value) is Ref:
            return self.load(value)
        return tuple(map(self._loaded, value)) if type(value) is tuple else value


def environment(code: Code) -> dict[str, str]:
    """The facts that decide the numbers which the code computes, as packages name them for what it imports."""
    facts: dict[str, str] = {}
    for entry in _environments():
        if entry.name in code.distributions:
            facts |= _facts(entry.name)
    return facts


@cache
def _environments() -> list[EntryPoint]:
    return entries(ENVIRONMENTS)


@cache
def _facts(name: str) -> dict[str, str]:
    return {key: str(value) for entry in _environments() if entry.name == name for key, value in entry.load()().items()}


def state_key(kind: Kind, prefix_key: object) -> str:
    """Where a node of this kind keeps what it has done, when it has consumed what the prefix key covers."""
    return hashlib.sha256(b"state" + kind.start + encoded(digest(prefix_key))).hexdigest()
