"""`latentgraph graphs`: the graphs that ship."""

import sys
from argparse import Namespace
from typing import Any

from . import DONE
from .arguments import Parser
from .show import json_line


def add_arguments(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print a list with each graph's file, params and outputs")


def run(args: Namespace) -> int:
    found = _shipped()
    if args.json:
        print(json_line(found))
        return DONE
    from .nodes import table

    for graph in found:
        print(graph["name"])
        if graph["description"]:
            print(f"  {graph['description'].strip()}")
        rows = [
            (
                f"    --set {param['name']}={'…' if param['required'] else _default(param['default'])}",
                "; ".join(filter(None, (param["type"], param["description"]))),
            )
            for param in graph["params"]
        ]
        if rows:
            print("\n".join(table(rows)))
    return DONE


def _shipped() -> list[dict[str, Any]]:
    """All of them; one that cannot be read, from whichever package, is said to be wrong and left out."""
    from .. import describe
    from ..diagnostics import GraphWrong
    from ..graph import read_graph
    from ..library import shipped_graphs
    from ..problems import Problems

    found = []
    for name, file in shipped_graphs():
        try:
            graph = read_graph(file.read_bytes(), str(file), file.stem, file.parent, Problems())
        except GraphWrong as wrong:
            print(f"error: the graph {name} cannot be read\n{wrong}", file=sys.stderr)
        else:
            found.append(describe.graph(name, file, graph))
    return found


def _default(value: Any) -> str:
    text = value if isinstance(value, str) else json_line(value)
    return f'"{text}"' if not text or " " in text else text
