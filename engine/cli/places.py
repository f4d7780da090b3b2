"""Where a node stands in the files, by its address in a run."""

from ..checked import CheckedGraph
from ..diagnostics import Place


def place_of(checked: CheckedGraph, address: str) -> Place | None:
    """The place of the innermost node of an address such as `drawn/3/sampled`; None where nobody wrote it."""
    place: Place | None = None
    for part in address.split("/"):
        written = checked.graph.nodes.get(part)
        if written is None:  # the number of an element, or a node that reads a param
            continue
        place = written.name.place
        inner = checked.nodes[part].type
        if isinstance(inner, CheckedGraph):
            checked = inner
    return place
