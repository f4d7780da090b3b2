"""Reads and checks the graph that a command line names."""

import sys
from argparse import Namespace
from collections.abc import Iterable

from ..checked import CheckedGraph
from ..diagnostics import nearest
from ..library import find_graph
from ..reading import Given, Written, checked
from ..registry import load_registry
from ..render import summary
from .arguments import CommandWrong, assignments
from .show import show


def read_checked(args: Namespace) -> CheckedGraph | None:
    """The graph that a command line names, with its params; None after showing what is wrong with it.

    Takes `graph`, `nodes`, `set`, `params` and `target`. Raises NoSuchGraph, PluginError, CommandWrong and OSError.
    """
    name, file = find_graph(args.graph)
    written = Written(file.read_bytes(), name, str(file), file.parent)
    result = checked(written, load_registry(args.nodes), Given(assignments(args.set), args.params))
    show(result.problems, result.texts, sys.stderr)
    if result.graph is None:
        print(summary(result.problems), file=sys.stderr)
    else:
        known_targets(args.target, result.graph)
    return result.graph


def known_targets(targets: Iterable[str], graph: CheckedGraph) -> None:
    """Raises CommandWrong where the graph has no such node."""
    for target in targets:
        if target not in graph.nodes:
            near = nearest(target, list(graph.nodes))
            help = f"did you mean `{near}`?" if near else f"its nodes: {', '.join(graph.nodes)}"
            raise CommandWrong(f"`--target {target}`: the graph has no node `{target}`", help)
