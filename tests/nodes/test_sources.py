"""What the source of the nodes must not do, whatever it is that runs."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import latentgraph.nodes

ROOT = Path(str(latentgraph.nodes.__file__)).parent
SOURCES = {path.relative_to(ROOT).as_posix(): path for path in sorted(ROOT.rglob("*.py"))}

DRAWING = {
    "bernoulli", "bernoulli_", "cauchy_", "exponential_", "geometric_", "log_normal_", "multinomial", "normal",
    "normal_", "poisson", "rand", "rand_like", "randint", "randint_like", "randn", "randn_like", "random_", "randperm",
    "uniform_",
}  # fmt: skip
"""Functions and methods of torch that draw random numbers."""


def draws_globally(tree: ast.AST) -> Iterator[int]:
    """The lines that draw from, or seed, a generator which the whole process shares."""
    forked = {
        inner
        for block in ast.walk(tree)
        if isinstance(block, ast.With) and any("fork_rng" in ast.unparse(item) for item in block.items)
        for inner in ast.walk(block)
    }
    for call in ast.walk(tree):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
            continue
        name, owner = call.func.attr, ast.unparse(call.func.value)
        if name in DRAWING and owner not in ("random", "chance"):
            wrong = not any(keyword.arg == "generator" for keyword in call.keywords)
        elif name in ("manual_seed", "seed"):
            wrong = call not in forked and owner != "torch.Generator()"
        elif owner in ("random", "numpy.random", "np.random"):
            wrong = not (name in ("Random", "default_rng") and call.args)
        else:
            wrong = False
        if wrong:
            yield call.lineno


def forks(tree: ast.AST) -> Iterator[int]:
    """The lines that fork torch's global generator: where nothing else keeps other threads from it."""
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("fork_rng"):
            yield call.lineno


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "diffusion/numerics.py"])
def test_only_seeded_forks_the_global_generator(name: str) -> None:
    """`numerics.seeded` lets one thread at a time do so."""
    assert list(forks(ast.parse(SOURCES[name].read_text()))) == []


def test_forking_the_global_generator_is_noticed() -> None:
    assert list(forks(ast.parse("with torch.random.fork_rng(devices=[]):\n    torch.manual_seed(1)"))) == [1]


@pytest.mark.parametrize("name", SOURCES)
def test_nodes_draw_only_from_generators_that_a_seed_started(name: str) -> None:
    assert list(draws_globally(ast.parse(SOURCES[name].read_text()))) == []


@pytest.mark.parametrize(
    "line",
    [
        "torch.randn(3)",
        "x.uniform_()",
        "torch.randint(0, 3, (1,), device=device)",
        "torch.nn.init.normal_(x)",
        "torch.manual_seed(1)",
        "torch.random.seed()",
        "random.random()",
        "random.seed(1)",
        "random.Random()",
        "numpy.random.rand(3)",
        "numpy.random.default_rng()",
    ],
)
def test_drawing_from_a_global_generator_is_noticed(line: str) -> None:
    assert list(draws_globally(ast.parse(line))) == [1]


@pytest.mark.parametrize(
    "line",
    [
        "torch.randn(3, generator=g)",
        "torch.Generator().manual_seed(1)",
        "random.Random(1).random()",
        "numpy.random.default_rng(1)",
        "with torch.random.fork_rng(devices=[]):\n    torch.manual_seed(1)",
    ],
)
def test_drawing_from_a_generator_of_ones_own_is_allowed(line: str) -> None:
    assert list(draws_globally(ast.parse(line))) == []


def imports(path: Path, everywhere: bool = True) -> set[str]:
    """The modules that a file imports, those of the nodes by the path of their file; else only when it is imported."""
    tree = ast.parse(path.read_text())
    typing = {inner for block in tree.body if isinstance(block, ast.If) for inner in ast.walk(block)}
    found = set()
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import) and node not in typing:
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node not in typing:
            base = path.parents[node.level - 1] if node.level else Path()
            module = base.joinpath(*(node.module or "").split("."))
            found |= {str(module / alias.name) + ".py" for alias in node.names} if node.level else set()
            found.add(f"{module}.py" if node.level else node.module or "")
    return found


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "diffusion/numerics.py"])
def test_torch_is_set_up_before_anything_is_computed(name: str) -> None:
    def sets_up(path: Path, everywhere: bool = True) -> bool:
        found = imports(path, everywhere)
        numerics = str(ROOT / "diffusion" / "numerics.py")
        inside = [Path(other) for other in found if other.startswith(str(ROOT)) and Path(other).is_file()]
        return numerics in found or any(sets_up(other, everywhere=False) for other in inside)

    found = imports(SOURCES[name])
    if any(other.split(".")[0] == "torch" or other == "safetensors.torch" for other in found):
        assert sets_up(SOURCES[name]), f"{name} imports torch, but not diffusion.numerics"
