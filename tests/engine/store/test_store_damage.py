"""Nothing damaged is ever served: it is said, and made again."""

import os
import random
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jottings import LARGE, Child, Jotting, Opener, keep, key_of, ref_to, result

from latentgraph.engine.store import Store, index


def files_of(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]


def change(folder: Path, query: str, *values: object) -> None:
    """Change the index behind the store's back, which is closed meanwhile."""
    connection = sqlite3.connect(folder / "index.sqlite")
    connection.execute(query, values)
    connection.commit()
    connection.close()


def flip(content: bytes, bit: int) -> bytes:
    flipped = bytearray(content)
    flipped[bit // 8] ^= 1 << bit % 8
    return bytes(flipped)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda file: os.truncate(file, 1000),
    "emptied": lambda file: os.truncate(file, 0),
    "bit flipped": lambda file: file.write_bytes(flip(file.read_bytes(), 12345)),
    "lengthened": lambda file: file.write_bytes(file.read_bytes() + b"x"),
    "deleted": lambda file: file.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_counts_as_missing_and_is_made_again(opener: Opener, damage: str) -> None:
    record = keep(opener(), "drawn", Jotting(LARGE))
    (file,) = files_of(opener.folder / "values")
    DAMAGES[damage](file)
    store = opener()
    (ref,) = record.refs()
    assert store.has(ref) == (damage == "bit flipped"), "which only reading finds out"
    assert store.value(ref) is None
    assert opener.said == [f"the stored Jotting {ref.digest[:12]} is damaged, it will be made again"]
    assert not store.has(ref)
    assert store.lookup(record.key) == record
    keep(store, "drawn", Jotting(LARGE))
    assert opener().value(ref) == Jotting(LARGE)


def test_a_damaged_file_is_replaced_by_keeping_the_value_again(opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    record = keep(opener(), "drawn", Jotting(LARGE))
    (file,) = files_of(opener.folder / "values")
    os.truncate(file, 1000)
    # Encoding a value a second time may give other bytes.
    monkeypatch.setattr(Jotting.codec, "encode", lambda value: f"\ufeff{value.text}".encode(), raising=False)
    monkeypatch.setattr(Jotting.codec, "decode", lambda kind, content: kind(content.decode().strip("\ufeff")))
    keep(opener(), "drawn", Jotting(LARGE))
    assert opener().value(next(record.refs())) == Jotting(LARGE)
    assert opener.said == []


@pytest.mark.parametrize(
    "query",
    [
        "UPDATE contents SET content = CAST('another text' AS BLOB)",
        "UPDATE contents SET content = NULL",
        "UPDATE contents SET content = 7",
        "UPDATE contents SET checksum = 'text'",
        "UPDATE contents SET seconds = 'text'",
        "UPDATE contents SET file = 'values/' || char(0)",
        "UPDATE contents SET file = 7",
        "UPDATE contents SET digest = (SELECT digest FROM contents WHERE digest <> contents.digest)",
    ],
)
def test_a_damaged_row_of_a_value_counts_as_missing(opener: Opener, query: str) -> None:
    record = keep(opener(), "drawn", Jotting("an apple"))
    opener.close()
    change(opener.folder, query)
    store = opener()
    assert store.value(next(record.refs())) is None
    assert not store.has(next(record.refs()))


def test_the_content_of_one_value_is_not_taken_for_another(opener: Opener) -> None:
    first = keep(opener(), "one", Jotting("an apple"))
    second = keep(opener(), "two", Jotting("a pear"))
    opener.close()
    rows = "SELECT content, checksum FROM contents WHERE digest = ?"
    digest = next(second.refs()).digest
    change(opener.folder, f"UPDATE contents SET (content, checksum) = ({rows}) WHERE digest <> ?", digest, digest)
    assert opener().value(next(first.refs())) is None


@pytest.mark.parametrize(
    "query",
    [
        "UPDATE results SET outputs = CAST(replace(CAST(outputs AS TEXT), '7', '8') AS BLOB)",
        "UPDATE results SET outputs = CAST(outputs AS TEXT)",
        "UPDATE results SET about = NULL",
        "UPDATE results SET seconds = 'text'",
        "UPDATE results SET made = 5.5",
        "UPDATE results SET checksum = NULL",
    ],
)
def test_a_damaged_row_of_a_result_counts_as_missing(opener: Opener, query: str) -> None:
    record = keep(opener(), "drawn")
    opener.close()
    change(opener.folder, query)
    store = opener()
    assert store.lookup(record.key) is None
    assert store.lookup(record.key) is None
    assert opener.said == [f"the stored result {record.key[:12]} is damaged, it will be made again"]
    store.keep(record, {})
    assert opener().lookup(record.key) == record


def test_the_result_of_one_key_is_not_taken_for_that_of_another(opener: Opener) -> None:
    record = keep(opener(), "drawn")
    opener.close()
    change(opener.folder, "UPDATE results SET key = ?", key_of("another"))
    assert opener().lookup(key_of("another")) is None
    assert opener().lookup(record.key) is None


def test_content_that_its_codec_does_not_take_counts_as_damaged(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = keep(opener(), "drawn", Jotting("an apple"))

    def refused(kind: object, content: bytes) -> None:
        raise ValueError("of another version")

    monkeypatch.setattr(Jotting.codec, "decode", refused, raising=False)
    store = opener()
    assert store.value(next(record.refs())) is None
    assert not store.has(next(record.refs()))
    assert len(opener.said) == 1


def test_a_damaged_state_counts_as_missing(opener: Opener) -> None:
    opener().save_state(key_of("training"), Jotting(LARGE))
    (file,) = files_of(opener.folder / "states")
    os.truncate(file, 1000)
    store = opener()
    assert store.state(key_of("training")) is None
    assert opener.said == [f"the stored Jotting {key_of('training')[:12]} is damaged, it will be made again"]
    store.save_state(key_of("training"), Jotting(LARGE))
    assert store.state(key_of("training")) == Jotting(LARGE)


INDEX_DAMAGES: dict[str, Callable[[Path], object]] = {
    "deleted": lambda file: file.unlink(),
    "emptied": lambda file: os.truncate(file, 0),
    "truncated": lambda file: os.truncate(file, 5000),
    "cut in its first page": lambda file: os.truncate(file, 50),
    "overwritten": lambda file: file.write_bytes(b"not an index at all " * 1000),
    "zeros": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "its header kept": lambda file: file.write_bytes(file.read_bytes()[:100] + b"x" * 20000),
}


@pytest.mark.parametrize("damage", INDEX_DAMAGES)
def test_a_damaged_index_is_begun_anew(opener: Opener, damage: str) -> None:
    store = opener()
    for number in range(20):
        keep(store, number, Jotting(f"{LARGE}{number}"))
    opener.close()
    INDEX_DAMAGES[damage](opener.folder / "index.sqlite")
    store = opener()
    assert [store.lookup(key_of(number)) for number in range(20)] == [None] * 20
    assert len(opener.said) == 1
    assert opener.said[0].startswith(f"the index of the store {opener.folder} is ")
    assert opener.said[0].endswith("what it had will be made again")
    record = keep(store, 5, Jotting(f"{LARGE}5"))
    store = opener()
    assert store.lookup(record.key) == record
    assert store.value(next(record.refs())) == Jotting(f"{LARGE}5")
    assert store.prune().leftovers == 19
    assert store.verify() == []
    assert len(opener.said) == 1


@pytest.mark.parametrize("damage", INDEX_DAMAGES)
def test_an_index_damaged_while_it_is_open_is_begun_anew(opener: Opener, damage: str) -> None:
    store = opener(memory=0)
    for number in range(20):
        keep(store, number)
    # By another process: closing the file in this one would give up the locks that SQLite has on it.
    assert Child(lambda tell: INDEX_DAMAGES[damage](opener.folder / "index.sqlite") and None).succeeds()
    for number in range(20, 40):
        keep(store, number)
    record = keep(store, "drawn", Jotting(LARGE))
    store = opener()
    assert store.lookup(record.key) == record
    assert store.value(next(record.refs())) == Jotting(LARGE)
    assert all(store.lookup(key_of(number)) in (None, result(number)) for number in range(40))
    assert store.verify() == []


def test_processes_begin_a_damaged_index_anew_once(opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(opener(), "drawn")
    opener.close()
    (opener.folder / "index.sqlite").write_bytes(b"not an index" * 1000)

    def slowly(file: Path, power: bool, opened: Any = index._opened) -> Any:
        try:
            return opened(file, power)
        except sqlite3.Error:
            time.sleep(0.05)
            raise

    monkeypatch.setattr(index, "_opened", slowly)

    def work(name: str) -> Callable[[Callable[[object], None]], None]:
        return lambda tell: keep(Store(opener.folder, 0, 2**30, False, tell), name) and None

    children = [Child(work(name)) for name in ("one", "two", "three")]
    said = [line for child in children for line in child.lines()]
    assert all(child.succeeds() for child in children)
    assert len(said) == 1
    store = opener()
    assert all(store.lookup(key_of(name)) is not None for name in ("one", "two", "three"))


def test_bits_flipped_anywhere_in_the_index_harm_nothing(opener: Opener) -> None:
    store = opener()
    records = {number: keep(store, number, Jotting(f"jotting {number}")) for number in range(30)}
    store.remember_latest("graph.yaml", {"a": "1"})
    store.add_variables("code", ["HOME"])
    store.save_state(key_of("training"), Jotting("step 1"))
    opener.close()
    file = opener.folder / "index.sqlite"
    whole = file.read_bytes()
    draw = random.Random(7)
    for _ in range(int(os.environ.get("LATENTGRAPH_TEST_FLIPS", "10"))):
        damaged = whole
        for _ in range(draw.choice([1, 1, 3, 30])):
            damaged = flip(damaged, draw.randrange(100 * 8, len(whole) * 8))
        file.write_bytes(damaged)
        store = opener(memory=0)
        for number, record in records.items():
            assert store.lookup(record.key) in (None, record)
            assert store.value(next(record.refs())) in (None, Jotting(f"jotting {number}"))
        assert store.state(key_of("training")) in (None, Jotting("step 1"))
        store.latest("graph.yaml")
        store.variables("code")
        store.seconds_of("Jot")
        store.info()
        list(store.records())
        keep(store, "new", Jotting("new"))
        store.touch([record.key for record in records.values()], [])
        store.prune(20_000)
        store.verify()
        assert store.lookup(keep(store, "newer").key) is not None
        opener.close()
        for suffix in ("-wal", "-shm"):
            Path(f"{file}{suffix}").unlink(missing_ok=True)


def test_verifying_names_what_is_damaged_and_removes_it(opener: Opener) -> None:
    store = opener()
    keep(store, "one", Jotting(LARGE))
    keep(store, "two", Jotting("an apple"))
    keep(store, "three", Jotting("a pear"))
    keep(store, "four")
    store.save_state(key_of("training"), Jotting("step 1"))
    assert store.verify() == []
    opener.close()
    (file,) = files_of(opener.folder / "values")
    os.truncate(file, 5)
    apple = ref_to(Jotting("an apple")).digest
    change(opener.folder, "UPDATE contents SET content = CAST('a plum' AS BLOB) WHERE digest = ?", apple)
    change(opener.folder, "UPDATE results SET outputs = CAST('{}' AS BLOB) WHERE key = ?", key_of("four"))
    store = opener()
    assert sorted(store.verify()) == sorted(
        [
            f"the stored result {key_of('four')[:12]} is damaged",
            f"the stored Jotting {ref_to(Jotting(LARGE)).digest[:12]} is damaged",
            f"the stored Jotting {apple[:12]} is damaged",
        ]
    )
    assert store.verify() == []
    assert store.info().values == 1
    assert store.has(ref_to(Jotting("a pear")))


def test_verifying_finds_a_value_that_is_another_one_than_its_digest_says(opener: Opener) -> None:
    store = opener()
    wrong = ref_to(Jotting("an apple"))
    store.keep(result("drawn", Jotting("an apple")), {wrong.digest: Jotting("a pear")})
    assert store.verify() == [f"the stored Jotting {wrong.digest[:12]} is another value than it is kept as"]
    assert store.verify() == []
