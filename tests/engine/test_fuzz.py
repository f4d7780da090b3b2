"""Whatever bytes come in as a graph, as params or as a picture, only diagnostics come out; what is right can be planned.

Each test takes a moment; with LATENTGRAPH_FUZZ=600 in the environment, each goes on for 600 seconds.
"""

# ruff: noqa: E501 (graphs that fit on a line are on one)

import json
import os
import resource
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
from fuzz_loader import Hang, examine, known_types, limits
from hostile import FILES, KEYS, ONE, SCALARS, Author
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latentgraph.engine.cli.again import confirm
from latentgraph.engine.library import shipped_graphs
from latentgraph.engine.picture import SIGNATURE, NoMaking, read_making
from latentgraph.engine.reading import Given
from latentgraph.engine.registry import Registry

SECONDS = float(os.environ.get("LATENTGRAPH_FUZZ", "0"))
MEMORY = 500 * 1024 * 1024

SEEDS = st.integers(0, 2**64)
"""A number stands for an input: to draw each of its letters would be ten times slower, and nothing would be shorter."""

fuzz = settings(
    max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck), report_multiple_bugs=False
)


@pytest.fixture(scope="module")
def registry() -> Registry:
    return known_types()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "folder.yaml").mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(autouse=True)
def little_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fails a test in which the process grows by more than MEMORY."""
    monkeypatch.chdir(folder)
    before = peak()
    yield
    assert peak() - before < MEMORY


def peak() -> int:
    """The most memory that the process ever had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def repeated(examples: Callable[[], None]) -> None:
    """Once, and then until SECONDS are over."""
    until = time.monotonic() + SECONDS
    rounds = 1
    examples()
    while time.monotonic() < until:
        examples()
        rounds += 1
    if SECONDS:
        print(f"{rounds * fuzz.max_examples:,} inputs, at most {peak() / 2**20:.0f} MiB", file=sys.stderr)


def test_graphs_with_mistakes_give_diagnostics_and_others_can_be_planned(registry: Registry, folder: Path) -> None:
    @fuzz
    @given(SEEDS, st.sampled_from([0, 1, 1, 2, 3, 6]))
    def examples(seed: int, mistakes: int) -> None:
        author = Author(Random(seed))
        (folder / "other.yaml").write_bytes(author.graph(mistakes // 2))
        examine(author.graph(mistakes), folder, registry, given_at_random(author.random, folder))

    repeated(examples)


def given_at_random(random: Random, folder: Path) -> Given | None:
    """Values for params, mostly none."""
    if random.random() < 0.5:
        return random.choice([None, Given()])
    names = ["i", "f", "s", "b", "l", "ll", "file", "nobody", "", "i.0"]
    assigned = {
        random.choice(names): random.choice([*SCALARS, "a b", "\udcff", "3,4", "[1, 2", "a.txt"])
        for _ in range(random.randrange(3))
    }
    if random.random() < 0.5:
        return Given(assigned)
    file = folder / random.choice(["params.yaml", "params.json"])
    author = Author(random)
    values = {
        random.choice(names): random.choice(
            [1, -3, 1e300, None, "random", [1], [[2.5]], {}, {"a": 1}, "\ud800", 10**400, "a.txt"]
        )
        for _ in range(3)
    }
    text = (
        json.dumps(values)
        if random.random() < 0.5
        else "\n".join(f"{name}: {random.choice(SCALARS)}" for name in values)
    )
    content = text.encode("utf-8", "surrogatepass")
    file.write_bytes(author.damaged(content) if random.random() < 0.3 else content)
    recorded = json.loads(json.dumps(values)) if random.random() < 0.3 else {}
    return Given(assigned, file, recorded)


def test_graphs_that_ship_with_damaged_bytes_give_diagnostics(registry: Registry, folder: Path) -> None:
    shipped = [path.read_bytes() for _, path in shipped_graphs()]

    @fuzz
    @given(SEEDS)
    def examples(seed: int) -> None:
        random = Random(seed)
        author = Author(random)
        content = random.choice(shipped)
        if random.random() < 0.5:
            content = author.misspelt(content.decode()).encode("utf-8", "surrogatepass")
        else:
            content = author.damaged(content)
        examine(content, folder, registry, random.choice([None, Given()]))

    repeated(examples)


def test_bytes_of_any_kind_give_diagnostics(registry: Registry, folder: Path) -> None:
    pieces = [*SCALARS, *KEYS, "latentgraph: 1\n", "nodes:\n", "  n0: {type: Number}\n", "\n", "\n  ", " ", ": ", ", "]

    @fuzz
    @given(SEEDS)
    def examples(seed: int) -> None:
        random = Random(seed)
        text = "".join(random.choice(pieces) for _ in range(random.randrange(30)))
        content = text.encode("utf-8", "surrogatepass")
        examine(content if random.random() < 0.5 else random.randbytes(random.randrange(100)), folder, registry)

    repeated(examples)


def test_pictures_that_claim_anything_are_made_again_or_refused(registry: Registry, folder: Path) -> None:
    picture = folder / "picture.png"

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)

    def text(random: Random, name: str, content: bytes) -> bytes:
        key, packed = b"latentgraph." + name.encode() + b"\0", zlib.compress(content)
        match random.randrange(4):
            case 0:
                return chunk(b"tEXt", key + content)
            case 1:
                return chunk(b"zTXt", key + b"\0" + packed)
            case 2:
                return chunk(b"iTXt", key + b"\1\0\0\0" + packed)
            case _:
                return chunk(b"iTXt", key + b"\0\0\0\0" + content)

    @fuzz
    @given(SEEDS)
    def examples(seed: int) -> None:
        random = Random(seed)
        author = Author(random)
        params = {
            random.choice(["i", "s", "l", "file", "x"]): random.choice(
                [1, None, "a", [1], {}, {"name": 3, "sha256": 4}, [{"name": "x"}, 2], {"sha256": "aa"}, 1e400]
            )
            for _ in range(3)
        }
        chunks = [
            chunk(b"IHDR", bytes(13)),
            text(random, "graph", author.graph(random.randrange(3))),
            text(
                random,
                "params",
                random.choice(
                    [json.dumps(params).encode(), b"[" * 100_000, b"[]", b"1" * 5000, b'{"i": ' + b"1" * 5000 + b"}"]
                ),
            ),
            text(
                random,
                random.choice(["name", "models"]),
                random.choice([b"x", b"../x", b"{}", b'{"a": 1}', b"\xff", b""]),
            ),
            chunk(b"IEND", b""),
        ]
        content = SIGNATURE + b"".join(chunks)
        picture.write_bytes(author.damaged(content) if random.random() < 0.4 else content)
        try:
            with limits():
                making = read_making(picture)
        except NoMaking:
            return
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            confirm(picture, making, True, output=nowhere)
        examine(making.graph.encode(), folder, registry, Given(recorded=making.params))

    repeated(examples)


LARGE = 1 if SECONDS else 10
"""What is large is ten times smaller in the quick profile, in which what takes too long hardly shows."""

LAUGHS = "latentgraph: 1\nx-a: &a0 [ha, ha]\n" + "".join(
    f"x-{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
MERGES = "latentgraph: 1\nx-a: &a0 {k: 1}\n" + "".join(
    f"x-{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}], k{n}: 1}}\n" for n in range(1, 12)
)
HEAD = (
    "latentgraph: 1\nparams: {i: {type: int, default: 2}, l: {type: [int], default: ["
    + ", ".join(["1"] * (1000 // LARGE))
    + "]}}\nnodes:\n"
)
END = "outputs: {a: $n0}\n"


def many_nodes(line: str, count: int, last: str = "1", output: str = "") -> str:
    """So many nodes, each written like `line`; `{next}` is a link to the one after it, and `last` at the end."""
    count //= LARGE
    links = [*(f"$n{n}{output}" for n in range(1, count)), last]
    lines = [f"  n{n}: {line.format(n=n, before=f'$n{max(n - 1, 0)}', next=link)}\n" for n, link in enumerate(links)]
    return HEAD + "".join(lines) + END.replace("$n0", f"$n0{output}")


MONSTERS: dict[str, Callable[[], str]] = {
    "aliases of aliases": lambda: LAUGHS,
    "merges of merges": lambda: MERGES,
    "brackets": lambda: "[" * 1_000_000,
    "braces": lambda: "{a: " * 100_000,
    "lines that go in": lambda: "".join(" " * n + "a:\n" for n in range(1000)),
    "questions": lambda: "? " * 50_000,
    "a long line": lambda: HEAD + "  n0: {type: Number, inputs: {value: " + "x" * 3_000_000 + "}}\n" + END,
    "a long key": lambda: HEAD + "  " + "x" * 1000 + ": {type: Number}\n" + END,
    "a long quote": lambda: HEAD + '  n0: {type: Number, inputs: {value: "' + "\\x41" * 500_000 + '\n',
    "a long comment": lambda: HEAD + "  n0: {type: Paint, inputs: {text: a " + "#1 " * 500_000 + "}}\n" + END,
    "dollars": lambda: HEAD + '  n0: {type: Paint, inputs: {text: "' + "$" * 500_000 + '("}}\n' + END,
    "expressions": lambda: HEAD + '  n0: {type: Paint, inputs: {text: "' + "$(params.i * 3) " * (50_000 // LARGE) + '"}}\n' + END,
    "spaces in an expression": lambda: HEAD + '  n0: {type: Paint, inputs: {text: "$(' + " " * 1_000_000 + '"}}\n' + END,
    "quotes in an expression": lambda: HEAD + '  n0: {type: Paint, inputs: {text: "$(' + "''" * 1_000_000 + '"}}\n' + END,
    "digits in an expression": lambda: HEAD + "  n0: {type: Number, inputs: {value: $(" + "9" * 1_000_000 + ")}}\n" + END,
    "a deep path": lambda: HEAD + "  n0: {type: Number, inputs: {value: $params.l" + ".0" * 500_000 + "}}\n" + END,
    "a chain": lambda: many_nodes("{{type: Add, inputs: {{a: {next}}}}}", 3_000),
    "nodes that nobody needs": lambda: many_nodes("{{type: Number, inputs: {{value: {n}}}}}", 10_000),
    "nodes with wrong links": lambda: many_nodes("{{type: Add, inputs: {{a: $m{n}}}}}", 3_000),
    "nodes of unknown types": lambda: many_nodes("{{type: Nmber{n}}}", 3_000),
    "nodes with unknown inputs": lambda: many_nodes("{{type: Number, inputs: {{valeu: 1}}}}", 3_000),
    "names that are none": lambda: many_nodes("{{type: Number}}", 3_000).replace("  n", "  -n"),
    "a circle of nodes": lambda: many_nodes("{{type: Add, inputs: {{a: {next}}}}}", 3_000, "$n0"),
    "circles of two": lambda: many_nodes("{{type: Add, inputs: {{a: {before}, b: {next}}}}}", 2_000),
    "a product": lambda: HEAD + "  n0: {type: Add, foreach: {a: $params.l, b: $params.l}}\n" + END,
    "a product of ten elements each": lambda: many_nodes("{{type: Add, foreach: {{a: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], b: [1, 2, 3, 4, 5]}}}}", 300),
    "a foreach over a foreach": lambda: many_nodes("{{type: Number, foreach: {{value: {next}}}}}", 30, "$params.l"),
    "a switch over a switch": lambda: many_nodes("{{type: Switch, inputs: {{condition: true, then: {next}, otherwise: 1}}}}", 2_000),
    "conditions of conditions": lambda: many_nodes("{{type: Number, when: {next}}}", 2_000),
    "a graph file a thousand times": lambda: many_nodes("{{type: ./one.yaml, inputs: {{i: {n}}}}}", 300, output=".number"),
    "elements of a graph file": lambda: HEAD + "  n0: {type: ./one.yaml, foreach: {i: $params.l}}\n" + END.replace("$n0", "$n0.number"),
    "files of files": lambda: HEAD + "".join(f"  n{n}: {{type: ./absent-{n}.yaml}}\n" for n in range(2_000 // LARGE)) + END,
    "itself": lambda: HEAD + "  n0: {type: ./graph.yaml}\n" + END,
    "params without end": lambda: "latentgraph: 1\nparams:\n" + "".join(f"  p{n}: {{type: int, default: x}}\n" for n in range(3_000 // LARGE)) + "nodes: {n0: {type: Number}}\n" + END,
    "choices without end": lambda: "latentgraph: 1\nparams: {s: {type: str, default: z, choices: [" + ", ".join(f"c{n}" for n in range(20_000 // LARGE)) + "]}}\nnodes: {n0: {type: Number}}\n" + END,
    "a type of types": lambda: "latentgraph: 1\nparams: {s: {type: " + "[" * 60 + "int" + "]" * 60 + "}}\nnodes: {n0: {type: Number}}\n" + END,
    "a list of lists": lambda: HEAD + "  n0: {type: Switch, inputs: {condition: true, then: " + "[" * 55 + "1" + "]" * 55 + "}}\n" + END,
    "wrong links in one list": lambda: HEAD + "  n0: {type: Total, inputs: {numbers: [" + "$m, " * (50_000 // LARGE) + "1]}}\n" + END,
    "wrong elements of one list": lambda: HEAD + "  n0: {type: Paint, inputs: {text: a}, foreach: {size: [" + ", ".join(str(n) for n in range(9, 50_000 // LARGE)) + "]}}\n" + END,
    "inputs that are none in one node": lambda: HEAD + "  n0: {type: Number, inputs: {" + ", ".join(f"v{n}: 1" for n in range(30_000 // LARGE)) + "}}\n" + END,
    "commas in a text": lambda: HEAD + "  n0: {type: Number, inputs: {value: a" + "".join(f", v{n}" for n in range(30_000 // LARGE)) + "}}\n" + END,
    "keys that are none": lambda: HEAD + "  n0: {type: Number, " + ", ".join(f"v{n}: 1" for n in range(30_000 // LARGE)) + "}\n" + END,
    "choices for many elements": lambda: "latentgraph: 1\nparams: {s: {type: [int], choices: [" + ", ".join(map(str, range(30_000 // LARGE))) + "], default: [" + "2999, " * (30_000 // LARGE) + "]}}\nnodes: {n0: {type: Number}}\n" + END,
    "what cannot work": lambda: HEAD + "  model: {type: LoadModel, inputs: {name: builtin}}\n" + "".join(f"  n{n}: {{type: EmptyLatent, inputs: {{model: $model.model, width: 100}}}}\n" for n in range(3_000 // LARGE)) + END,
    "params that are used inside": lambda: many_nodes("{{type: ./one.yaml, inputs: {{i: {next}}}}}", 300, output=".number"),
    "a list of which only a run can tell all": lambda: HEAD + "  n0: {type: ./two.yaml, inputs: {list: [$n1, 1]}}\n  n1: {type: Number}\n" + END.replace("$n0", "$n0.total"),
    "half of a code point": lambda: ONE + 'x-a: "\\ud800"\n',
}  # fmt: skip


@pytest.mark.parametrize("monster", MONSTERS)
def test_monsters_are_refused_or_planned_quickly(monster: str, registry: Registry, folder: Path) -> None:
    examine(MONSTERS[monster]().encode("utf-8", "surrogatepass"), folder, registry, Given())


def test_what_takes_too_long_or_goes_too_deep_is_noticed() -> None:
    def deep(left: int) -> int:
        return deep(left - 1) + 1 if left else 0

    def endless() -> None:
        while True:
            pass

    with pytest.raises(RecursionError), limits():
        deep(900)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("fuzz_loader.SECONDS", 0.05)
        with pytest.raises(Hang), limits():
            endless()
