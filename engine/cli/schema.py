"""`latentgraph schema`: the JSON Schema of graph files, which editors complete and check with."""

import json
from argparse import Namespace
from pathlib import Path

from . import DONE
from .arguments import Parser, add_nodes_option

EPILOG = """\
Editors with a YAML language server use it where a graph file begins with a line such as
  # yaml-language-server: $schema=./latentgraph.schema.json"""


def add_arguments(parser: Parser) -> None:
    parser.epilog = EPILOG
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write it to a file instead of printing it")
    add_nodes_option(parser)


def run(args: Namespace) -> int:
    from ..outputs import write_whole
    from ..registry import load_registry
    from ..schema import graph_schema

    text = json.dumps(graph_schema(load_registry(args.nodes)), ensure_ascii=False, indent=2) + "\n"
    if args.output is None:
        print(text, end="")
    else:
        write_whole(args.output, text.encode())
        print(args.output)
    return DONE
