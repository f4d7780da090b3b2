"""The values that a run has at hand: those that its nodes made or loaded, for as long as a node still needs them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from .digest import digest
from .ports import PortType
from .records import Ref

if TYPE_CHECKING:
    from .store import Store


class Missing(Exception):
    """Values that are neither at hand nor in the store any more."""

    def __init__(self, refs: list[Ref]) -> None:
        super().__init__(refs)
        self.refs = refs


class Live:
    """Values by digest, over those of a store. Safe to use from several threads."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._values: dict[str, PortType] = {}
        self._lock = threading.Lock()

    def by_reference(self, value: Any, taken: dict[str, PortType] | None = None) -> Any:
        """A value with references in place of values of port types, which are then at hand, and added to `taken`."""
        if isinstance(value, PortType):
            ref = Ref(type(value).__name__, digest(value))
            with self._lock:
                value = self._values.setdefault(ref.digest, value)
            if taken is not None:
                taken[ref.digest] = value
            return ref
        if type(value) is tuple:
            return tuple(self.by_reference(item, taken) for item in value)
        return value

    def loaded(self, value: Any, missing: list[Ref]) -> Any:
        """A value with what its references stand for; those that cannot be had are added to `missing`."""
        if type(value) is Ref:
            found = self.get(value)
            if found is None:
                missing.append(value)
            return found
        if type(value) is tuple:
            return tuple(self.loaded(item, missing) for item in value)
        return value

    def get(self, ref: Ref) -> PortType | None:
        found = self._values.get(ref.digest)
        if found is None:
            found = self.store.value(ref)
            if found is not None:
                with self._lock:
                    found = self._values.setdefault(ref.digest, found)
        return found

    def has(self, ref: Ref) -> bool:
        return ref.digest in self._values or self.store.has(ref)

    def release(self, ref: Ref) -> None:
        with self._lock:
            self._values.pop(ref.digest, None)
