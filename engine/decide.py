"""What becomes of a node once the digests of its inputs are known: the one function that `plan` and `execute` ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .checked import CheckedGraph
from .keys import Key, Keys
from .records import Record
from .steps import Step

if TYPE_CHECKING:
    from .store import Store


class Decision(NamedTuple):
    """Reuse `record`, or run where there is none. Without a key the result is not kept; `why` then says why not."""

    key: Key | None
    record: Record | None
    why: str = ""


def decide(step: Step, keys: Keys, store: Store) -> Decision:
    """What becomes of a step whose inputs are known."""
    node_type = step.node.type
    assert not isinstance(node_type, CheckedGraph)
    if node_type.volatile:
        return Decision(None, None, f"{node_type.__name__} is volatile")
    kind = keys.kind(node_type)
    if kind.code.stale:
        return Decision(
            None, None, f"{kind.code.stale[0]} was edited while this process runs; restart it to keep results"
        )
    key = keys.key(kind, step.inputs)
    if key is None:
        return Decision(None, None, "what it reads cannot be told")
    return Decision(key, store.lookup(key.digest))
