"""The digest of a node type's code: it changes with everything that the node can come to, and with nothing else."""

import importlib
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from latentgraph.engine import Node, code, distributions, ports
from latentgraph.engine.code import Code, code_of
from latentgraph.engine.registry import types_at
from latentgraph.engine.switch import Switch

PACKAGE = {
    "nodes.py": """
        from typing import TYPE_CHECKING, Annotated, NamedTuple

        from pydantic import AfterValidator, field_validator

        from latentgraph.engine import Context, Field, Node

        from . import tables
        from .base import Base, twice
        from .checks import positive

        if TYPE_CHECKING:
            from .typed import Anything

        LIMIT = 7
        SPARE = 8

        class Pair(NamedTuple):
            value: int
            other: int

        class Mine(Base, category="numbers"):
            '''What it is for.'''

            number: Annotated[int, AfterValidator(positive)] = Field(1, ge=0, description="any number")

            @twice
            def run(self, context: Context) -> Pair:
                '''What it does.'''
                from .far import far

                total = far(self.number)  # a comment
                spread = [total + more for more in range(LIMIT)]
                return self.packed(tables.TABLE["a"](sum(spread)))

            def packed(self, value: "Anything") -> Pair:
                return Pair(value, super().offset())

        class Other(Node):
            def run(self, context: Context) -> int:
                return SPARE
        """,
    "base.py": """
        import functools

        from latentgraph.engine import Node

        def twice(function):
            @functools.wraps(function)
            def wrapper(*arguments):
                function(*arguments)
                return function(*arguments)
            return wrapper

        class Base(Node):
            def offset(self):
                return 1
        """,
    "checks.py": """
        def positive(number):
            if number < 0:
                raise ValueError("negative")
            return number
        """,
    "far.py": """
        '''Far away.'''

        from .farther import helper

        def far(number):
            '''Explained.'''
            result = helper(number)
            return result

        def unrelated():
            return 1
        """,
    "farther.py": """
        from . import switches
        from .settings import FACTOR
        from .shapes import Square

        SCALE = 3
        UNUSED = 4

        def helper(number, by=SCALE):
            return number * by * FACTOR * Square(2).area()

        def unused():
            return UNUSED
        """,
    "shapes.py": """
        class Shape:
            sides = 0

            @property
            def factor(self):
                return 1

        class Square(Shape):
            def __init__(self, side):
                self.side = side

            def area(self):
                return self.side ** 2 * self.factor

        class Circle(Shape):
            pass
        """,
    "settings/__init__.py": """
        from .values import FACTOR, SECOND
        """,
    "settings/values.py": """
        FACTOR = 2
        SECOND = 3
        """,
    "switches.py": """
        import types

        state = types.SimpleNamespace()
        state.exact = True
        """,
    "tables.py": """
        def one(number):
            return number + 1

        def two(number):
            return number + 2

        TABLE = {"a": one}
        OTHER = {"a": two}
        """,
    "typed.py": """
        Anything = int
        """,
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is remembered in the user's folder, and port types of these tests do not stay registered."""
    monkeypatch.setenv("LATENTGRAPH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ports, "_registered", dict(ports.port_types()))


@dataclass
class Folders:
    """Writes packages with node types, each into a folder of its own."""

    place: Path
    count: int = 0

    def write(self, files: Mapping[str, str]) -> Path:
        self.count += 1
        folder = self.place / str(self.count) / "mine"
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(textwrap.dedent(text))
        return folder

    def type(self, files: Mapping[str, str], name: str = "Mine") -> type[Node]:
        return next(found for found in types_at(self.write(files)) if found.__name__ == name)

    def code(self, files: Mapping[str, str], name: str = "Mine") -> Code:
        return code_of(self.type(files, name))

    def digest(self, text: str, **others: str) -> str:
        """Of the node type `Mine` in a package whose module `nodes` has this text, after the usual imports."""
        usual = "from latentgraph.engine import Context, Field, Node, PortType\n"
        files = {f"{name}.py": other for name, other in others.items()}
        return self.code({"nodes.py": usual + textwrap.dedent(text), **files}).digest


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the node type `Mine` in PACKAGE."""
    place = tmp_path_factory.mktemp("unchanged")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("LATENTGRAPH_CACHE", str(place / "cache"))
        return Folders(place).code(PACKAGE).digest


def edited(file: str, old: str, new: str) -> dict[str, str]:
    assert old in PACKAGE[file], f"{file} has no {old!r}"
    return {**PACKAGE, file: PACKAGE[file].replace(old, new)}


def test_the_place_of_a_package_does_not_count(folders: Folders) -> None:
    first, second = folders.code(PACKAGE), folders.code(PACKAGE)
    assert first == second
    assert first.complete
    assert first.stale == ()


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        pytest.param("nodes.py", "far(self.number)  #", "far(self.number) + 1  #", id="run"),
        pytest.param("nodes.py", "super().offset()", "super().offset() + 1", id="a method that run calls"),
        pytest.param("nodes.py", "Field(1, ge=0", "Field(2, ge=0", id="a default"),
        pytest.param("nodes.py", "Field(1, ge=0", "Field(1, ge=1", id="a limit"),
        pytest.param("nodes.py", "LIMIT = 7", "LIMIT = 9", id="a constant of the module"),
        pytest.param("nodes.py", "value: int", "value: float", id="the type of an output"),
        pytest.param("nodes.py", "other: int", "other: int = 0", id="the NamedTuple of the outputs"),
        pytest.param("base.py", "return 1", "return 2", id="the base class"),
        pytest.param("base.py", "return function(*arguments)", "return 3", id="a decorator"),
        pytest.param("checks.py", "number < 0", "number <= 0", id="a validator in an annotation"),
        pytest.param("far.py", "result = helper(number)", "result = -helper(number)", id="what is imported late"),
        pytest.param("farther.py", "number * by", "number + by", id="a helper of a helper"),
        pytest.param("farther.py", "SCALE = 3", "SCALE = 5", id="a constant that is a default argument"),
        pytest.param("shapes.py", "self.side ** 2", "self.side * 4", id="a method of a class"),
        pytest.param("shapes.py", "return 1", "return 2", id="a property of a base class"),
        pytest.param("shapes.py", "sides = 0", "sides = 4", id="an attribute of a base class"),
        pytest.param("settings/values.py", "FACTOR = 2", "FACTOR = 4", id="a constant that a package passes on"),
        pytest.param("settings/__init__.py", "FACTOR, SECOND", "SECOND as FACTOR", id="which constant it passes on"),
        pytest.param("switches.py", "exact = True", "exact = False", id="what importing a module sets"),
        pytest.param("tables.py", "number + 1", "number + 3", id="a function in a table"),
        pytest.param("tables.py", '{"a": one}', '{"a": two}', id="which function is in a table"),
        pytest.param("far.py", "import helper", "import unused as helper", id="what a name stands for"),
    ],
)
def test_what_a_node_can_come_to_counts(file: str, old: str, new: str, folders: Folders, unchanged: str) -> None:
    assert folders.code(edited(file, old, new)).digest != unchanged


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        pytest.param("nodes.py", "  # a comment", "", id="comments"),
        pytest.param("nodes.py", "What it does.", "What else it does.", id="docstrings"),
        pytest.param("far.py", "'''Explained.'''", "", id="whether there is a docstring"),
        pytest.param("nodes.py", '"any number"', '"some number"', id="the description of an input"),
        pytest.param("nodes.py", "LIMIT = 7", "LIMIT   =   (7)\n\n\n", id="layout"),
        pytest.param("nodes.py", "total", "amount", id="names of local variables"),
        pytest.param("nodes.py", "more", "other", id="variables of comprehensions"),
        pytest.param("nodes.py", "SPARE = 8", "SPARE = 9", id="a constant of another node type"),
        pytest.param("nodes.py", "return SPARE", "return -SPARE", id="another node type"),
        pytest.param("far.py", "return 1", "return 2", id="an unrelated function"),
        pytest.param("farther.py", "UNUSED = 4", "UNUSED = 5", id="an unrelated constant"),
        pytest.param("shapes.py", "    pass", "    sides = 1", id="an unrelated class"),
        pytest.param("tables.py", "number + 2", "number + 4", id="an unrelated entry of a table"),
        pytest.param("settings/values.py", "SECOND = 3", "SECOND = 5", id="a constant that is passed on and not used"),
        pytest.param("typed.py", "int", "float", id="what is imported for type checkers"),
    ],
)
def test_what_a_node_cannot_come_to_does_not_count(
    file: str, old: str, new: str, folders: Folders, unchanged: str
) -> None:
    assert folders.code(edited(file, old, new)).digest == unchanged


def test_local_variables_are_told_apart_whatever_they_are_called(folders: Folders) -> None:
    text = """
        def helper():
            a, b = 1, 2
            return {result}
        class Mine(Node):
            def run(self, context: Context) -> int:
                return helper()
        """
    assert folders.digest(text.format(result="a")) != folders.digest(text.format(result="b"))


def test_a_renamed_import_inside_a_function_is_another_one(folders: Folders) -> None:
    text = """
        class Mine(Node):
            def run(self, context: Context) -> int:
                from math import {name} as function
                {name} = 2
                return function({name})
        """
    assert folders.digest(text.format(name="floor")) != folders.digest(text.format(name="ceil"))


def test_two_imported_names_that_change_places_are_told_apart(folders: Folders) -> None:
    text = """
        from math import floor as {one}, ceil as {other}
        class Mine(Node):
            def run(self, context: Context) -> int:
                return low(1.5) * 10 + high(1.5)
        """
    assert folders.digest(text.format(one="low", other="high")) != folders.digest(text.format(one="high", other="low"))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("from .helpers import *\ndef helper(): return first()", id="a star import"),
        pytest.param("from . import helpers\ndef helper(): return getattr(helpers, 'first')()", id="getattr"),
        pytest.param("from . import helpers\ndef helper(): return vars(helpers)['first']()", id="a module as a value"),
        pytest.param(
            "import importlib\ndef helper(): return importlib.import_module('.helpers', __package__).first()",
            id="import_module",
        ),
        pytest.param("from .more import first\ndef helper(): return first()", id="eval in a helper"),
    ],
)
def test_where_names_cannot_be_told_the_whole_module_counts(text: str, folders: Folders) -> None:
    text += "\nclass Mine(Node):\n    def run(self, context: Context) -> int:\n        return helper()\n"
    more = "from .helpers import second\ndef first(): return eval('second')()"
    helpers = "def first(): return 1\ndef second(): return {number}\n"
    digests = {folders.digest(text, helpers=helpers.format(number=number), more=more) for number in (2, 3)}
    assert len(digests) == 2


@pytest.mark.parametrize(
    "text",
    [
        "try:\n    from .fast import work\nexcept ImportError:\n    def work(): return {number}",
        "import sys\nif sys.version_info > (3,):\n    def work(): return {number}\nelse:\n    def work(): return 0",
        "def work(): return 1\ndef work(): return {number}",
        "TOTAL = 1\nTOTAL += {number}\ndef work(): return TOTAL",
        "TOTAL = None\ndef start():\n    global TOTAL\n    TOTAL = {number}\ndef work(): return TOTAL",
        "registry = {{}}\ndef register(function): registry[function.__name__] = function\n"
        "@register\ndef added(): return {number}\ndef work(): return registry['added']()",
        "class Kind:\n    kinds = []\n    def __init_subclass__(cls): Kind.kinds.append(cls)\n"
        "class Special(Kind):\n    number = {number}\ndef work(): return Kind.kinds[0].number",
        "class Style:\n    styles = []\n    def __init__(self, n): Style.styles.append(n)\n"
        "special = Style({number})\ndef work(): return Style.styles[0]",
        "from functools import singledispatch\n@singledispatch\ndef work(value=0): return 0\n"
        "@work.register\ndef _(value: int): return {number}",
        "import enum\nclass Level(enum.Enum):\n    LOW = {number}\ndef work(): return Level.LOW.value",
        "from . import cycle\nSTART = {number}\ndef work(): return cycle.step()",
        "def work():\n    inner = lambda: {number}\n    return inner()",
    ],
)
def test_names_that_are_bound_in_roundabout_ways_count(text: str, folders: Folders) -> None:
    node = "from .work import work\nclass Mine(Node):\n    def run(self, context: Context) -> int: return work()\n"
    cycle = "from . import work\ndef step(): return work.START\n"
    digests = {folders.digest(node, work=text.format(number=number), cycle=cycle) for number in (2, 3)}
    assert len(digests) == 2


RULES = """
    from dataclasses import dataclass
    from typing import TYPE_CHECKING
    if TYPE_CHECKING:
        from .inner import Inner
    class Files:
        suffix = ".{suffix}"
    @dataclass(frozen=True)
    class Rule(PortType, codec=Files()):
        inner: "Inner"
        def value(self): return {rule}
        def written(self): return {written}
    @dataclass(frozen=True)
    class Special(Rule):
        def value(self): return {special}
    class Mine(Node):
        rule: Rule
        def run(self, context: Context) -> int:
            return self.rule.value() + self.rule.inner.value()
    """
NUMBERS = {"rule": 1, "special": 1, "inner": 1, "written": 1, "suffix": 1}


def rule(folders: Folders, name: str, entry: list[str] | None = None, **changed: int) -> str:
    """The digest of a class in RULES."""
    ports._registered.clear()
    numbers = NUMBERS | changed
    usual = "from latentgraph.engine import Context, Node, PortType\n"
    inner = f"class Inner:\n    def value(self): return {numbers['inner']}\n"
    mine = folders.type({"nodes.py": usual + textwrap.dedent(RULES).format(**numbers), "inner.py": inner})
    return code_of(getattr(sys.modules[mine.__module__], name), entry).digest


@pytest.mark.parametrize("part", ["rule", "special", "inner"])
def test_methods_of_what_comes_over_links_count(part: str, folders: Folders) -> None:
    assert rule(folders, "Mine", **{part: 2}) != rule(folders, "Mine")


@pytest.mark.parametrize("part", ["written", "suffix"])
def test_how_values_are_written_counts_for_the_port_type_and_not_for_nodes(part: str, folders: Folders) -> None:
    assert rule(folders, "Mine", **{part: 2}) == rule(folders, "Mine")
    assert rule(folders, "Rule", **{part: 2}) != rule(folders, "Rule")
    assert rule(folders, "Special", **{part: 2}) != rule(folders, "Special")


def test_a_port_type_can_be_asked_for_one_of_its_writers(folders: Folders) -> None:
    assert rule(folders, "Rule", ["written"], written=2) != rule(folders, "Rule", ["written"])
    assert rule(folders, "Rule", ["written"], suffix=2) == rule(folders, "Rule", ["written"])


def test_a_node_that_calls_a_writer_depends_on_it(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "RULES", RULES.replace("self.rule.value()", "self.rule.written()"))
    assert rule(folders, "Mine", written=2) != rule(folders, "Mine")


# Libraries of others.


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages, in front of all others."""

    def forget() -> None:
        for known in (distributions._installed, distributions.distributions_of, distributions._places, code._is_own):
            known.cache_clear()  # type: ignore[attr-defined]

    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    forget()
    yield folder
    forget()


def installed(site: Path, name: str, version: str, text: str = "", editable: bool = False) -> None:
    for old in site.glob(f"{name}-*.dist-info/*"):
        old.unlink()
        old.parent.rmdir()
    (site / f"{name}.py").write_text(text)
    information = site / f"{name}-{version}.dist-info"
    information.mkdir()
    (information / "direct_url.json").write_text(f'{{"dir_info": {{"editable": {str(editable).lower()}}}}}')
    sys.modules.pop(name, None)
    for known in (distributions._installed, code._module, code._links):
        known.cache_clear()  # type: ignore[attr-defined]


ACME = """
    class Mine(Node):
        def run(self, context: Context) -> int:
            import acme
            return acme.number()
    """


def test_a_library_counts_by_its_version(folders: Folders, site: Path) -> None:
    usual = {"nodes.py": "from latentgraph.engine import Context, Node\n" + textwrap.dedent(ACME)}
    found = []
    for version, number in [("1.0", 1), ("1.0", 2), ("1.1", 2)]:
        installed(site, "acme", version, f"def number(): return {number}")
        found.append(folders.code(usual))
    assert [code.distributions["acme"] for code in found] == ["1.0", "1.0", "1.1"]
    assert len({code.digest for code in found}) == 1
    assert found[0].distributions["python"] == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert "latentgraph" in found[0].distributions


@pytest.mark.parametrize("editable", [True, None])
def test_code_that_no_version_stands_for_counts_itself(
    editable: bool | None, folders: Folders, tmp_path: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if editable is None:  # a module beside the script, in no distribution
        site = tmp_path / "beside"
        site.mkdir()
        monkeypatch.syspath_prepend(site)
    found = []
    for number in (1, 2):
        installed(site, "acme", "1.0", f"def number(): return {number}", editable=True)
        if editable is None:
            next(site.glob("*.dist-info/*")).unlink()
            next(site.glob("*.dist-info")).rmdir()
            distributions._installed.cache_clear()
        found.append(folders.digest(ACME))
    assert found[0] != found[1]


def test_distributions_are_found_by_what_is_imported() -> None:
    assert distributions.distributions_of("PIL") == ("pillow",)
    assert distributions.distributions_of("pydantic_core") == ("pydantic-core",)
    assert distributions.distributions_of("_pytest") == ("pytest",)
    assert distributions.distributions_of("json") == ()
    assert distributions.distributions_of("no_such_package") == ()
    assert distributions.version_of("pillow") == importlib.metadata.version("pillow")


# Source that cannot be had.


MADE = """
    from latentgraph.engine import Context, Node

    def in_a_function(number):
        class Local(Node):
            def run(self, context: Context) -> int:
                return number
        return Local

    def by_type(number):
        return type("Made", (Node,), {"__module__": __name__, "run": lambda self, context: number})

    def in_place_of_another(number):
        made = by_type(number)
        made.__qualname__ = "Named"
        return made

    def of_text(number):
        names = {"__name__": "made_up"}
        exec("from latentgraph.engine import *\\nclass Written(Node):\\n    def run(self, context) -> int: ...", names)
        return names["Written"]

    class Named(Node):
        def run(self, context: Context) -> int:
            return 1
    """


@pytest.mark.parametrize("how", ["in_a_function", "by_type", "in_place_of_another", "of_text"])
def test_classes_made_at_run_time_are_not_complete_and_never_the_same(how: str, folders: Folders) -> None:
    named = folders.type({"made.py": MADE}, "Named")
    make = getattr(sys.modules[named.__module__], how)
    first, second = make(1), make(2)
    assert code_of(named).complete
    assert not code_of(first).complete
    assert code_of(first).digest == code_of(first).digest
    assert code_of(first).digest != code_of(second).digest


def test_what_is_imported_by_a_computed_name_is_not_complete(folders: Folders) -> None:
    text = """
        import importlib
        from latentgraph.engine import Context, Node
        class Mine(Node):
            name: str
            def run(self, context: Context) -> int:
                return importlib.import_module(self.name).value
        """
    assert not folders.code({"nodes.py": text}).complete


def test_a_helper_module_without_source_is_not_complete(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    made = ModuleType("made_up_helper")
    made.number = lambda: 1  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "made_up_helper", made)
    text = """
        from latentgraph.engine import Context, Node
        from made_up_helper import number
        class Mine(Node):
            def run(self, context: Context) -> int:
                return number()
        """
    assert not folders.code({"nodes.py": text}).complete


# Files that are edited while the process runs.

COUNTING = """
    from latentgraph.engine import Context, Node
    from .first import START
    class Mine(Node):
        def run(self, context: Context) -> int:
            from .steps import step
            return step(START)
    """
COUNTING_HELPERS = {"first.py": "START = 1\nLOW, HIGH = 1, 2\n", "steps.py": "def step(number): return number + 1\n"}


def mine_in(folder: Path) -> type[Node]:
    return next(found for found in list(types_at(folder)) if found.__name__ == "Mine")


@pytest.mark.parametrize("file", ["nodes.py", "first.py", "steps.py"])
def test_a_file_edited_after_it_was_read_is_stale_until_restart(file: str, folders: Folders) -> None:
    folder = folders.write({"nodes.py": COUNTING, **COUNTING_HELPERS})
    before = code_of(mine_in(folder))
    assert before.stale == ()
    (folder / file).write_text((folder / file).read_text() + "\nMORE = 1\n")
    after = code_of(mine_in(folder))
    assert after.stale == (str(folder / file),)
    assert (after.digest, after.complete) == (before.digest, True)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [("first.py", "START = 1", "START = 2"), ("steps.py", "+ 1", "+ 2"), ("nodes.py", "step(", "-step(")],
)
def test_a_file_edited_between_its_import_and_the_first_look_is_stale(
    file: str, old: str, new: str, folders: Folders
) -> None:
    folder = folders.write({"nodes.py": COUNTING, **COUNTING_HELPERS})
    mine = mine_in(folder)
    (folder / file).write_text((folder / file).read_text().replace(old, new))
    assert code_of(mine).stale == (str(folder / file),)


def test_a_module_that_is_imported_only_after_an_edit_is_stale_although_the_edit_was_undone(folders: Folders) -> None:
    folder = folders.write({"nodes.py": COUNTING, **COUNTING_HELPERS})
    mine = mine_in(folder)
    steps = sys.modules.pop(mine.__module__.rpartition(".")[0] + ".steps")
    assert code_of(mine).stale == ()
    text = (folder / "steps.py").read_text()
    (folder / "steps.py").write_text(text.replace("+ 1", "+ 2"))
    importlib.invalidate_caches()
    importlib.import_module(steps.__name__)
    (folder / "steps.py").write_text(text)
    assert code_of(mine).stale == (str(folder / "steps.py"),)


def test_a_file_that_was_only_touched_is_not_stale(folders: Folders) -> None:
    folder = folders.write({"nodes.py": COUNTING, **COUNTING_HELPERS})
    code_of(mine_in(folder))
    os.utime(folder / "first.py", (1, 1))
    assert code_of(mine_in(folder)).stale == ()


def test_a_deleted_file_is_stale(folders: Folders) -> None:
    folder = folders.write({"nodes.py": COUNTING, **COUNTING_HELPERS})
    code_of(mine_in(folder))
    (folder / "steps.py").unlink()
    assert code_of(mine_in(folder)).stale == (str(folder / "steps.py"),)


def test_a_source_that_is_no_python_any_more_is_not_complete(folders: Folders) -> None:
    folder = folders.write({"nodes.py": COUNTING, **COUNTING_HELPERS})
    mine = mine_in(folder)
    (folder / "steps.py").write_text("def step(")
    assert not code_of(mine).complete


# The node types that come with latentgraph.

PROGRAM = """
import sys
from latentgraph.engine.code import code_of
from latentgraph.engine.ports import PortType, port_types
from latentgraph.nodes import node_types
for found in [*node_types(), *port_types().values()]:
    code = code_of(found)
    print(found.__name__, code.complete, code.stale == (), code.digest, *code.distributions)
print(*(name for name in ("torch", "numpy", "diffusers") if name in sys.modules))
"""


def test_the_code_of_all_built_in_types_is_known_in_full_without_importing_torch() -> None:
    def lines() -> list[list[str]]:
        done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
        return [line.split() for line in done.stdout.splitlines()]

    *types, heavy = lines()
    assert heavy == []
    assert len(types) > 20
    assert [found[:3] for found in types] == [[found[0], "True", "True"] for found in types]
    assert [*types, heavy] == lines()  # remembered
    libraries = {found[0]: set(found[4:]) for found in types}
    assert {"torch", "diffusers", "transformers", "latentgraph"} <= libraries["KSampler"]
    assert libraries["LoadModel"] == {"huggingface-hub", "latentgraph", "python"}


def test_node_types_and_port_types_of_the_engine_have_code_too() -> None:
    assert code_of(Switch).complete
    assert code_of(ports.File, ["written"]).complete
    assert code_of(ports.File).digest != code_of(ports.Folder).digest
