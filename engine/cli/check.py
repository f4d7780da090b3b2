"""`latentgraph check`: everything that is wrong with graphs, without running them."""

import sys
from argparse import Namespace

from ..diagnostics import CODES, Diagnostic, nearest
from . import DONE, WRONG
from .arguments import CommandWrong, Parser, add_nodes_option, add_set_option, assignments


def add_arguments(parser: Parser) -> None:
    parser.add_argument("graphs", nargs="*", metavar="GRAPH", help="a graph file, or the name of a graph that ships")
    parser.add_argument(
        "--format",
        choices=("text", "json", "github"),
        default="text",
        help="text (with source lines on a terminal), json (an object a line), or github (annotations)",
    )
    parser.add_argument("--explain", metavar="CODE", help="explain what a code such as wrong-port means")
    add_set_option(parser)
    add_nodes_option(parser)


def run(args: Namespace) -> int:
    """Exit code 2 where anything is an error; warnings alone do not fail."""
    if args.explain is not None:
        return _explain(args.explain)
    if not args.graphs:
        raise CommandWrong("no graph to check is given", "write latentgraph check GRAPH…")
    from ..library import NoSuchGraph, find_graph
    from ..reading import Checked, Given, Written, checked
    from ..registry import load_registry
    from ..render import summary
    from .show import show

    registry = load_registry(args.nodes)
    given = Given(assignments(args.set)) if args.set else None
    found: list[Diagnostic] = []
    for graph in args.graphs:
        try:
            name, path = find_graph(graph)
            written = Written(path.read_bytes(), name, str(path), path.parent)
        except (NoSuchGraph, OSError) as error:
            reason = f"{graph}: {(error.strerror or str(error)).lower()}" if isinstance(error, OSError) else str(error)
            result = Checked(None, (Diagnostic("missing-file", reason, None),), {})
        else:
            result = checked(written, registry, given)
        found += result.problems
        show(result.problems, result.texts, sys.stdout, args.format)
    # What programs read is problems and nothing else.
    print(summary(found), file=sys.stdout if args.format == "text" else sys.stderr)
    return WRONG if any(problem.severity == "error" for problem in found) else DONE


def _explain(code: str) -> int:
    if code not in CODES:
        near = nearest(code, CODES)
        raise CommandWrong(
            f"there is no code `{code}`", f"did you mean `{near}`?" if near else f"the codes are {', '.join(CODES)}"
        )
    print(f"{code}\n\n{CODES[code]}", end="")
    return DONE
