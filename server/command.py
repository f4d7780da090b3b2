"""`latentgraph serve`: serve graphs over a websocket and HTTP, with a page to see them."""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from latentgraph.engine.cli.arguments import CommandWrong, Parser, add_nodes_option, add_store_options
from latentgraph.engine.places import cache_folder

if TYPE_CHECKING:
    from .settings import Settings

EPILOG = """\
examples:
  latentgraph serve                                       for programs and browsers on this machine
  latentgraph serve --files ~/models --graphs ~/graphs    graphs may read models there; your own graphs have names
  latentgraph serve --host 0.0.0.0 --token-file tokens    for others, who need a token

A token file has a line for each token: its name, its scopes (read, submit, admin), the token, 16 characters or more."""


class ServeCommand:
    """What the entry point `serve` of the group `latentgraph.commands` loads."""

    name, help = "serve", "serve graphs over a websocket and HTTP, with a page to see them"

    def add_arguments(self, parser: Parser) -> None:
        parser.epilog = EPILOG
        parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen (127.0.0.1)")
        parser.add_argument("--port", type=_port, default=8765, metavar="N", help="0 takes a free one (8765)")
        parser.add_argument("--data", type=Path, metavar="FOLDER", help="where jobs and outputs are kept")
        parser.add_argument("--workers", type=_positive, metavar="N", help="processes that run graphs (one a device)")
        parser.add_argument("--token-file", type=Path, metavar="FILE", help="who may do what, see below")
        parser.add_argument(
            "--insecure", action="store_true", help="let everybody who reaches the address do everything"
        )
        parser.add_argument(
            "--graphs", type=Path, metavar="FOLDER", help="your own graphs, by name (graphs in the data folder)"
        )
        _several(parser, "--files", "FOLDER", "a folder that graphs may read, of models say", type=Path)
        _several(parser, "--allow", "TYPE", "let graphs use this node type whatever it does; `*` stands for any")
        _several(parser, "--deny", "TYPE", "do not let graphs use this node type")
        _several(parser, "--limit", "NAME=NUMBER", "set one of the limits that GET /v1/server lists")
        _several(parser, "--allow-host", "NAME", "a name by which this server may be called")
        _several(parser, "--allow-origin", "URL", "a site whose pages may use this server")
        _several(parser, "--webhook", "URL", "webhooks may be sent there, and below")
        parser.add_argument("--keep-days", type=_number, default=30.0, metavar="N", help="how long jobs are kept (30)")
        parser.add_argument(
            "--keep-bytes", default="20GB", metavar="SIZE", help="how large their outputs may be together (20GB)"
        )
        parser.add_argument(
            "--durability", choices=("process", "power"), default="process", help="what a job survives (process)"
        )
        add_store_options(parser, without=False)
        add_nodes_option(parser)

    def run(self, args: Namespace) -> int:
        from .running import serve

        return serve(_settings(args))


def _settings(args: Namespace) -> Settings:
    """Raises CommandWrong and UserError for what does not go together."""
    from latentgraph.engine.store import bytes_meant, default_folder

    from .checks.limits import Limits
    from .checks.policy import Policy
    from .http.access import is_loopback
    from .settings import Settings
    from .workers.devices import visible_devices

    if not is_loopback(args.host) and args.token_file is None and not args.insecure:
        raise CommandWrong(
            f"`--host {args.host}` lets other machines in",
            "say who may come in with --token-file FILE, or --insecure to let everybody do everything",
        )
    for folder in args.files:
        if not folder.is_dir():
            raise CommandWrong(f"`--files {folder}`: there is no such folder")
    data = (args.data or cache_folder() / "server").absolute()
    policy = Policy(
        nodes=tuple(str(path.absolute()) for path in args.nodes),
        allow=tuple(args.allow),
        deny=tuple(args.deny),
        files=tuple(str(path.absolute()) for path in args.files),
        graphs=str((args.graphs or data / "graphs").absolute()),
        uploads=str(data / "uploads"),
        closed=tuple(str(path.absolute()) for path in (data, args.token_file, args.store or default_folder()) if path),
        limits=Limits.named(args.limit),
    )
    devices = visible_devices()
    return Settings(
        data=data,
        policy=policy,
        host=args.host,
        port=args.port,
        workers=args.workers or max(1, len(devices)),
        devices=devices,
        store=args.store.absolute() if args.store else None,
        durability=args.durability,
        token_file=args.token_file,
        hosts=tuple(args.allow_host),
        origins=tuple(args.allow_origin),
        webhooks=tuple(args.webhook),
        keep_days=args.keep_days,
        keep_bytes=bytes_meant(args.keep_bytes),
    )


def _several(parser: Parser, option: str, metavar: str, help: str, type: type = str) -> None:
    parser.add_argument(
        option, action="append", default=[], metavar=metavar, type=type, help=f"{help}; may be repeated"
    )


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise ArgumentTypeError(f"`{text}` is no port, which is a number from 0 to 65535")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 256:
        raise ArgumentTypeError(f"`{text}` is no number of workers, from 1 to 256")
    return int(text)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e6:
        raise ArgumentTypeError(f"`{text}` is no number of days")
    return number


SERVE = ServeCommand()
