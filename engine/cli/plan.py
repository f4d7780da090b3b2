"""`latentgraph plan`: what a run would compute, what it would reuse, and why, without running anything."""

import sys
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

from ..plan import Action, Plan, plan
from . import DONE, WRONG
from .arguments import Parser, add_nodes_option, add_set_option, add_store_options
from .nodes import table
from .progress import duration
from .reading import read_checked
from .show import json_line
from .stores import opened


def add_arguments(parser: Parser) -> None:
    parser.add_argument("graph", metavar="GRAPH", help="a graph file, or the name of a graph that ships")
    add_set_option(parser)
    parser.add_argument("--params", type=Path, metavar="FILE", help="values of params, as YAML or JSON; --set wins")
    parser.add_argument(
        "--target",
        action="append",
        default=[],
        metavar="NODE",
        help="plan this node and what it needs; may be repeated",
    )
    parser.add_argument(
        "--json", action="store_true", help="print a list of nodes, each with its action and the reason"
    )
    add_store_options(parser, without=False)
    add_nodes_option(parser)


def run(args: Namespace) -> int:
    checked = read_checked(args)
    if checked is None:
        return WRONG
    found = plan(checked, opened(args, lambda message: print(f"warning: {message}", file=sys.stderr)), args.target)
    if args.json:
        print(json_line([asdict(planned) for planned in found.nodes]))
        return DONE
    rows = [
        (planned.node, planned.type, planned.action, _time(planned.seconds), planned.why) for planned in found.nodes
    ]
    print("\n".join(table(rows)) if rows else "no output needs any node")
    print(summary(found), file=sys.stderr)
    return DONE


def _time(seconds: float | None) -> str:
    return "" if seconds is None else f"about {duration(seconds)}"


def summary(found: Plan) -> str:
    """`2 to run, 1 undecided, 5 reused, about 3.1 s`."""
    words: dict[Action, str] = {"run": "to run", "depends": "undecided", "reuse": "reused", "skip": "skipped"}
    counts = [f"{len(found.named(action))} {word}" for action, word in words.items() if found.named(action)]
    if found.seconds:
        counts.append(f"about {duration(found.seconds)}")
    return ", ".join(counts) or "nothing to run"
