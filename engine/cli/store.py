"""`latentgraph store`: look into the store of results, check it, make room in it."""

import hashlib
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from ..checked import place_in_store
from ..diagnostics import nearest
from ..failures import brief_input
from ..library import find_graph
from ..records import Record, refs_in
from ..store import Store, bytes_meant
from . import DONE, FAILED
from .arguments import CommandWrong, Parser, add_store_options
from .nodes import table
from .progress import duration
from .show import json_line
from .stores import opened, size

EPILOG = """\
actions:
  info                what is in it, and how much of its bound
  list                the results, the latest first
  why GRAPH NODE      where the last result of a node came from
  why PICTURE         where a written file came from
  verify              read and check everything; what is damaged is removed
  prune [--to SIZE]   let go of what is cheapest to make again and was not used for long
  clear               let go of everything"""


def add_arguments(parser: Parser) -> None:
    parser.epilog = EPILOG
    parser.add_argument("action", choices=("info", "list", "why", "verify", "prune", "clear"), metavar="ACTION")
    parser.add_argument("about", nargs="*", metavar="GRAPH NODE", help="what `why` is asked about")
    parser.add_argument("--to", type=bytes_meant, metavar="SIZE", help="prune: how much may stay, such as 500MB")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_store_options(parser, without=False)


def run(args: Namespace) -> int:
    if args.about and args.action != "why":
        raise CommandWrong(f"`store {args.action}` takes no further argument, `{args.about[0]}` is one")
    store = opened(args, lambda message: print(f"warning: {message}", file=sys.stderr))
    match args.action:
        case "info":
            _print(args, _info(store))
        case "list":
            _list(store, args.json)
        case "why":
            _why(store, args)
        case "verify":
            problems = store.verify()
            print("\n".join(problems) if problems else "everything is whole")
            return FAILED if problems else DONE
        case "prune":
            pruned = store.prune(args.to)
            print(f"let go of {pruned.values} values, {size(pruned.bytes)}, and {pruned.leftovers} leftover files")
        case "clear":
            store.clear()
            print(f"{store.folder} is empty")
    return DONE


def _print(args: Namespace, found: Mapping[str, Any]) -> None:
    if args.json:
        print(json_line(found))
    else:
        print("\n".join(table([(name.replace("_", " "), _shown(name, value)) for name, value in found.items()])))


def _shown(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{count} {kind}" for kind, count in value.items()) or "none"
    return size(value) if name in ("bytes", "bound") else str(value)


def _info(store: Store) -> dict[str, Any]:
    info = store.info()
    return {
        "folder": str(info.folder),
        "format": info.format,
        "bytes": info.disk_bytes,
        "bound": info.disk_bound,
        "results": info.results,
        "values": info.values,
        "states": info.states,
        "by_type": dict(info.by_type),
    }


def _list(store: Store, json: bool) -> None:
    listed = sorted(store.records(), key=lambda each: each.record.made, reverse=True)
    if json:
        for each in listed:
            print(json_line({"key": each.record.key, "bytes": each.bytes, "used": each.used, **_plain(each.record)}))
        return
    rows = [
        (
            each.record.key[:12],
            _type(each.record),
            _date(each.record.made),
            duration(each.record.seconds),
            size(each.bytes),
        )
        for each in listed
    ]
    print("\n".join(table([("key", "type", "made", "took", "size"), *rows])))


def _why(store: Store, args: Namespace) -> None:
    if len(args.about) == 1:
        path = Path(args.about[0])
        origin = store.origin(hashlib.sha256(path.read_bytes()).hexdigest())
        record = store.lookup(origin[0]) if origin is not None else None
        if origin is None or record is None:
            raise CommandWrong(
                f"the store does not know {path}", "it was written elsewhere, changed since, or long ago"
            )
        name, latest = f"{path} is the output `{origin[1]}` of the run {origin[2]}", {}
    elif len(args.about) == 2:
        graph, node = args.about
        name, file = find_graph(graph)
        latest = store.latest(place_in_store(name, file.parent))
        if node not in latest:
            near = nearest(node, list(latest))
            help = f"did you mean `{near}`?" if near else "run it first"
            raise CommandWrong(f"the store knows no result of a node `{node}` of this graph", help)
        record = store.lookup(latest[node])
        if record is None:
            raise CommandWrong(f"the last result of `{node}` is no longer in the store", "run it again")
        name = node
    else:
        raise CommandWrong("`store why` is asked about a graph and a node, or about a file that was written")
    if args.json:
        print(json_line({"key": record.key, **_plain(record)}))
    else:
        print("\n".join([name, *_told(record, _makers(store, latest))]))


def _told(record: Record, makers: Mapping[str, str]) -> Iterator[str]:
    about = record.about
    yield f"  {_type(record)}, version {about.get('version')}, code {about.get('code')}"
    yield f"  made {_date(record.made)} in {duration(record.seconds)} by the run {record.run}"
    for part, values in (("inputs", about.get("inputs", {})), ("outputs", record.outputs)):
        rows = [
            (f"    {name}", _brief(value), _from(value, makers) if part == "inputs" else "")
            for name, value in values.items()
        ]
        if rows:
            yield f"  {part}:"
            yield from table(rows)
    for part in ("variables", "environment"):
        if about.get(part):
            yield f"  {part}: " + ", ".join(f"{name} {value}" for name, value in about[part].items())
    yield f"  key: {record.key}"


def _brief(value: Any) -> str:
    return str(value["long"])[:59] + "…" if isinstance(value, dict) and "long" in value else brief_input(value)


def _from(value: Any, makers: Mapping[str, str]) -> str:
    found = dict.fromkeys(makers[ref.digest] for ref in refs_in(value) if ref.digest in makers)
    return f"from {', '.join(found)}" if found else ""


def _makers(store: Store, latest: Mapping[str, str]) -> dict[str, str]:
    """By the digest of a value, the node of the graph that gave it."""
    records = ((address, store.lookup(key)) for address, key in latest.items())
    return {ref.digest: address for address, record in records if record is not None for ref in record.refs()}


def _plain(record: Record) -> dict[str, Any]:
    return {
        "about": _json(record.about), "outputs": _json(record.outputs), "made": record.made,
        "seconds": record.seconds, "run": record.run,
    }  # fmt: skip


def _json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _json(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [_json(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else [value.type, value.digest]


def _type(record: Record) -> str:
    return str(record.about.get("type", ""))


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")
