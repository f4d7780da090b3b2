"""Values as JSON and back: the same content always comes back, and a file that means harm makes nothing."""

import json
import math
import sys
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentgraph.engine.checked import Linked
from latentgraph.engine.codec import PLAIN, Gone
from latentgraph.engine.digest import digest
from latentgraph.engine.ports import File, Folder, PortType

Foreign = Linked
"""Found in this module, but at home in another package."""


@dataclass(frozen=True)
class Part:
    content: Any


@dataclass(frozen=True)
class Mixed(PortType):
    """A value that may hold anything."""

    content: Any
    made: Any = field(default=None, init=False)

    @cached_property
    def length(self) -> int:
        return len(repr(self.content))


@dataclass(frozen=True)
class Special(Mixed):
    more: Any = None


@dataclass
class Changeable:
    content: int = 0


class Choice(IntEnum):
    ONE = 1


class Pair(NamedTuple):
    first: int
    second: int


def there_and_back(value: Any) -> Any:
    return PLAIN.decode(type(value), PLAIN.encode(value))


def same(left: Any, right: Any) -> bool:
    """Whether values have equal content and equal types, down to the sign of a zero."""
    return type(left) is type(right) and repr(left) == repr(right)


texts = st.text(st.characters())  # surrogates too
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(texts, inner)
        | inner.map(Part)
        | inner.map(Mixed)
        | st.builds(File, texts, content=st.binary())
        | st.dictionaries(texts, st.binary()).map(Folder.of)
    ),
    max_leaves=20,
)


@given(plain)
def test_what_comes_back_is_what_was_kept(content: Any) -> None:
    value = Mixed(content)
    back = there_and_back(value)
    assert same(back, value)
    assert digest(back) == digest(value)


@pytest.mark.parametrize("number", [0.0, -0.0, math.inf, -math.inf, 5e-324, 1e308, 0.1, 1, -(2**70)])
def test_numbers_come_back_exactly(number: float) -> None:
    back = there_and_back(Mixed(number)).content
    assert type(back) is type(number)
    assert back == number
    assert math.copysign(1, back) == math.copysign(1, number)


@pytest.mark.parametrize("sign", [1, -1])
def test_whole_numbers_of_any_length_come_back(sign: int) -> None:
    assert there_and_back(Mixed(sign * 3**40_000)).content == sign * 3**40_000


@pytest.mark.parametrize("text", ["\ud83d", "\ud83d\ude00", "\U0001f600", "\0"])
def test_text_that_is_no_unicode_comes_back(text: str) -> None:
    assert there_and_back(Mixed({text: text})).content == {text: text}


def test_a_value_is_readable_json() -> None:
    assert PLAIN.suffix == ".json"
    assert json.loads(PLAIN.encode(Mixed((1, "a")))) == {
        "class": f"{__name__}:Mixed",
        "content": [1, "a"],
        "made": None,
    }


def test_port_types_that_name_no_codec_have_this_one() -> None:
    assert Mixed.codec is File.codec is PLAIN


def test_the_class_of_a_value_comes_back_even_where_another_is_declared() -> None:
    assert same(there_and_back(Special(Special(1), more=Part(2))), Special(Special(1), more=Part(2)))


def test_fields_that_the_class_sets_itself_come_back() -> None:
    value = Mixed(1)
    object.__setattr__(value, "made", (2, "b"))
    assert there_and_back(value).made == (2, "b")


def test_what_was_only_worked_out_from_the_fields_is_not_kept() -> None:
    value = Mixed("abc")
    assert value.length == 5
    assert b"length" not in PLAIN.encode(value)
    assert there_and_back(value) == value


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (object(), "Mixed.content is a object, which cannot be kept"),
        ((1, {2}), r"Mixed.content.1 is a set"),
        ({"a": Part(math.nan)}, "Mixed.content.a.content is not a number"),
        ({1: 2}, "Mixed.content is a dict"),
        (OrderedDict(a=1), "is a OrderedDict"),
        (Changeable(), "is a Changeable"),
        (Choice.ONE, "is a Choice"),
        (Pair(1, 2), "is a Pair"),
        (Path("a"), "Mixed.content is a PosixPath"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_its_field(content: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        PLAIN.encode(Mixed(content))


def test_a_class_that_nobody_can_find_again_is_refused() -> None:
    @dataclass(frozen=True)
    class Hidden:
        content: int

    with pytest.raises(TypeError, match="is a Hidden"):
        PLAIN.encode(Mixed(Hidden(1)))


# files


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LATENTGRAPH_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "weights" / "a.bin"
    path.parent.mkdir()
    path.write_bytes(b"some content")
    return path


def test_a_file_on_disk_is_kept_by_its_place(path: Path) -> None:
    encoded = PLAIN.encode(Mixed(File("other name", path=path)))
    assert b"some content" not in encoded
    back = PLAIN.decode(Mixed, encoded)
    assert isinstance(back, Mixed)
    assert (back.content.name, back.content.path) == ("other name", path)
    assert there_and_back(File.at(path)) == File.at(path)


def test_a_folder_on_disk_is_kept_by_its_place(path: Path) -> None:
    folder = Folder.at(path.parent)
    back = there_and_back(folder)
    assert back == folder
    assert back.path == folder.path
    assert [file.path for file in back.files] == [path]


def test_a_relative_place_is_found_from_everywhere(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    encoded = PLAIN.encode(File.at(Path(path.name)))
    monkeypatch.chdir("/")
    assert PLAIN.decode(File, encoded) == File.at(path)


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: path.write_bytes(b"same length!")])
@pytest.mark.parametrize("value", [File.at, lambda path: Folder.at(path.parent)])
def test_a_file_that_is_gone_or_changed_is_not_taken(
    path: Path, value: Callable[[Path], PortType], spoil: Callable[[Path], object]
) -> None:
    made = value(path)
    encoded = PLAIN.encode(made)
    spoil(path)
    with pytest.raises(Gone, match=r"a\.bin"):
        PLAIN.decode(type(made), encoded)


# what means harm


def encoded(content: Any, kind: type = Mixed) -> bytes:
    return json.dumps({"class": f"{__name__}:{kind.__name__}", "content": content, "made": None}).encode()


@pytest.mark.parametrize(
    "content",
    [
        {"class": "pathlib:Path"},
        {"class": "subprocess:Popen", "args": "true"},
        {"class": "latentgraph.engine.checked:Linked", "node": "a", "output": "b", "index": []},
        {"class": f"{__name__}:Foreign", "node": "a", "output": "b", "index": []},
        {"class": f"{__name__}:Changeable", "content": 1},
        {"class": f"{__name__}:Part", "content": 1, "more": 2},
        {"class": f"{__name__}:Part"},
        {"class": f"{__name__}:Part.__init__"},
        {"class": f"{__name__}:there_and_back"},
        {"class": f"{__name__}:dataclass"},
        {"class": __name__},
        {"class": 1},
        {"pickle": "gASVAAAA"},
        {"file": {}},
        {"bytes": "*"},
        {"map": [[{"list": []}, 1]]},
        {"float": "1", "list": []},
        {},
    ],
)
def test_what_no_value_is_kept_as_is_refused(content: Any) -> None:
    with pytest.raises(ValueError, match="this is no Mixed that can be read"):
        PLAIN.decode(Mixed, encoded(content))


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"{", b"NaN", b"[" * 100_000, b'{"class": 1}' * 2, encoded(1)[:-1], b"\0" * 100]
)
def test_damaged_content_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="this is no Mixed that can be read"):
        PLAIN.decode(Mixed, content)


def test_a_value_of_another_type_is_refused() -> None:
    with pytest.raises(ValueError, match="this is a Special, but should be a Mixed"):
        PLAIN.decode(Mixed, PLAIN.encode(Special(1)))
    with pytest.raises(ValueError, match="this is a tuple"):
        PLAIN.decode(Mixed, b"[1]")


def test_nothing_is_imported_that_a_file_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "harmful.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("harmful:X", f"{__name__}.harmful:X", "harmful", f"{__name__}./harmful:X"):
        with pytest.raises(ValueError, match="this is no Mixed"):
            PLAIN.decode(Mixed, encoded({"class": name, "content": 1}))
    assert "harmful" not in sys.modules


def test_a_module_of_the_same_package_is_imported_where_it_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "codec_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text("raise SystemExit('run')")
    (package / "parts.py").write_text(
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Inner:\n    content: int\n"
    )
    (package / "ports.py").write_text(
        "from dataclasses import dataclass\nfrom latentgraph.engine.ports import PortType\n"
        "@dataclass(frozen=True)\nclass Outer(PortType):\n    inner: object\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    from codec_package.ports import Outer  # type: ignore[import-not-found]

    def outer(inner: str) -> bytes:
        return f'{{"class": "codec_package.ports:Outer", "inner": {{"class": "{inner}", "content": 1}}}}'.encode()

    assert "codec_package.parts" not in sys.modules
    assert PLAIN.decode(Outer, outer("codec_package.parts:Inner")).inner.content == 1  # type: ignore[attr-defined]
    for other in (f"{__name__}:Part", "codec_package.__main__:Inner"):
        with pytest.raises(ValueError, match="there is no class"):
            PLAIN.decode(Outer, outer(other))
    # Another package's port types are values that nodes may pass on, with what belongs to them.
    assert same(there_and_back(Outer(Mixed(Part(1)))), Outer(Mixed(Part(1))))
