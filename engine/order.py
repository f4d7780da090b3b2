"""The order in which nodes can run, and the cycles where there is none."""

import heapq
from collections.abc import Collection, Mapping

Waits = Mapping[str, Collection[str]]
"""Which nodes each node takes its inputs from."""


def in_order(waits: Waits) -> list[str]:
    """The nodes, each after those that it waits for; of several that could be next, the one that is given first.

    Nodes on a cycle, and those that wait for one, are left out.
    """
    names = list(waits)
    place = {name: index for index, name in enumerate(names)}
    open_ = {name: set(waits[name]) for name in names}
    followers: dict[str, list[str]] = {name: [] for name in names}
    for name, sources in open_.items():
        for source in sources:
            followers[source].append(name)
    # A heap of places, so that the order is the same each time.
    ready = [place[name] for name in names if not open_[name]]
    order = []
    while ready:
        name = names[heapq.heappop(ready)]
        order.append(name)
        for follower in followers[name]:
            open_[follower].remove(name)
            if not open_[follower]:
                heapq.heappush(ready, place[follower])
    return order


def needed_by(wanted: Collection[str], waits: Waits) -> set[str]:
    """The nodes `wanted`, and all that they wait for."""
    needed: set[str] = set()
    left = list(wanted)
    while left:
        name = left.pop()
        if name not in needed:
            needed.add(name)
            left += waits[name]
    return needed


def cycles(waits: Waits) -> list[list[str]]:
    """One cycle of each group of nodes that wait for each other, from its alphabetically first node on."""
    # Here, because it takes as long to import as everything else, and most graphs have no cycle.
    import networkx

    links = networkx.DiGraph((source, name) for name, sources in waits.items() for source in sources)
    groups = [
        group
        for group in networkx.strongly_connected_components(links)
        if len(group) > 1 or any(links.has_edge(name, name) for name in group)
    ]
    return sorted([edge[0] for edge in networkx.find_cycle(links.subgraph(group), min(group))] for group in groups)
