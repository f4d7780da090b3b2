"""`latentgraph draw`: a graph as a picture, coloured by what a run would do."""

import sys
from argparse import Namespace
from pathlib import Path

from ..boxes import boxes_and_links
from ..drawing import to_png, to_svg
from ..outputs import write_whole
from ..plan import plan
from . import DONE, WRONG
from .arguments import CommandWrong, Parser, add_nodes_option, add_set_option, add_store_options
from .reading import read_checked
from .stores import opened


def add_arguments(parser: Parser) -> None:
    parser.add_argument("graph", metavar="GRAPH", help="a graph file, or the name of a graph that ships")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="an .svg or .png file")
    parser.add_argument("--no-plan", action="store_true", help="leave out what a run would do with each node")
    add_set_option(parser)
    parser.add_argument("--params", type=Path, metavar="FILE", help="values of params, as YAML or JSON; --set wins")
    add_store_options(parser, without=False)
    add_nodes_option(parser)


def run(args: Namespace) -> int:
    suffix = args.output.suffix.lower()
    if suffix not in (".svg", ".png"):
        raise CommandWrong(f"`-o {args.output}`: a graph is drawn as .svg or .png", "say which by the file's name")
    args.target = []
    checked = read_checked(args)
    if checked is None:
        return WRONG
    planned = None
    if not args.no_plan:
        planned = plan(checked, opened(args, lambda message: print(f"warning: {message}", file=sys.stderr)))
    boxes, links = boxes_and_links(checked, planned)
    drawn = to_svg if suffix == ".svg" else to_png
    content = drawn(checked.graph.name, boxes, links)
    write_whole(args.output, content.encode() if isinstance(content, str) else content)
    print(args.output)
    return DONE
