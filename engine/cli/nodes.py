"""`latentgraph nodes`: the node types there are."""

import textwrap
from argparse import Namespace
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from . import DONE
from .arguments import CommandWrong, Parser, add_nodes_option
from .show import json_line


def add_arguments(parser: Parser) -> None:
    parser.add_argument("type", nargs="?", metavar="TYPE", help="show this one, with its inputs and outputs")
    parser.add_argument("--json", action="store_true", help="print JSON: an object for one type, a list for all")
    add_nodes_option(parser)


def run(args: Namespace) -> int:
    from .. import describe
    from ..registry import load_registry

    registry = load_registry(args.nodes)
    if args.type is None:
        if args.json:
            print(json_line([describe.node_type(node) for node in registry]))
        else:
            print("\n".join(_list((node.category, node.__name__, describe.summary(node)) for node in registry)))
        return DONE
    node = registry.get(args.type)
    if node is None:
        near = registry.nearest(args.type)
        help = f"did you mean `{near}`?" if near else "`latentgraph nodes` lists them"
        raise CommandWrong(f"there is no node type `{args.type}`", help)
    described = describe.node_type(node)
    print(json_line(described) if args.json else "\n".join(_one(described)))
    return DONE


def _list(types: Iterable[tuple[str, str, str]]) -> Iterable[str]:
    for category, members in groupby(types, key=lambda entry: entry[0]):
        yield f"{category or 'other'}:"
        yield from table([(f"  {name}", summary) for _, name, summary in members])


def _one(described: dict[str, Any]) -> Iterable[str]:
    from ..describe import range_text

    category = f" ({described['category']})" if described["category"] else ""
    yield f"{described['name']}{category}"
    if described["documentation"]:
        yield ""
        yield textwrap.indent(described["documentation"], "  ")
    if described["inputs"]:
        yield "\ninputs:"
        yield from table(
            [
                (
                    f"  {entry['name']}",
                    entry["type"],
                    "required" if entry["required"] else f"default {json_line(entry['default'])}",
                    "; ".join(filter(None, (entry["description"], range_text(entry)))),
                )
                for entry in described["inputs"]
            ]
        )
    yield "\noutputs:"
    several = len(described["outputs"]) > 1
    yield from table(
        [
            (
                f"  {entry['name']}",
                entry["type"],
                "primary" if several and entry["name"] == described["primary"] else "",
            )
            for entry in described["outputs"]
        ]
    )


def table(rows: Sequence[tuple[str, ...]]) -> Iterable[str]:
    """The rows with their columns aligned; cells of a last column may be as long as they like."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
