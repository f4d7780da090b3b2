"""The disk tier, where nothing goes wrong."""

import math
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from jottings import LARGE, Jotting, Opener, keep, key_of, ref_to, result

from latentgraph.engine.problems import UserError
from latentgraph.engine.records import Record
from latentgraph.engine.store import StoreError, bytes_meant, default_folder, open_store
from latentgraph.engine.store.index import _Job

SMALL = "a small text"


@pytest.mark.parametrize("power", [False, True])
@pytest.mark.parametrize("text", [SMALL, LARGE, ""])
def test_what_was_kept_is_found_by_the_next_process(opener: Opener, text: str, power: bool) -> None:
    record = keep(opener(power=power), "drawn", Jotting(text), sources={"model": "0" * 64}, made=1.25, run="r1")
    store = opener()
    assert store.lookup(record.key) == record
    assert store.value(ref_to(Jotting(text))) == Jotting(text)
    assert opener.said == []


def test_every_plain_output_comes_back_as_it_was(opener: Opener) -> None:
    outputs = {"a": (1, 2.0, (True, None)), "b": "\ud800 é \0", "c": -0.0, "d": float("inf"), "e": 10**30, "f": ()}
    record = Record(key_of("plain"), outputs, about={"type": "T", "inputs": {"x": ("y", ref_to(Jotting("z")))}})
    opener().keep(record, {})
    found = opener().lookup(record.key)
    assert found == record
    assert found is not None
    assert math.copysign(1, found.outputs["c"]) == -1
    assert type(found.outputs["a"][1]) is float


def test_small_values_stand_in_the_index_and_large_ones_in_files_named_by_digest(opener: Opener) -> None:
    store = opener()
    keep(store, "drawn", Jotting(SMALL), Jotting(LARGE))
    digest = ref_to(Jotting(LARGE)).digest
    (file,) = [file for file in (opener.folder / "values").rglob("*") if file.is_file()]
    assert file == opener.folder / "values" / digest[:2] / f"{digest}.Jotting.txt"
    assert file.read_text() == LARGE
    assert list((opener.folder / "writing").iterdir()) == []


def test_a_value_is_written_once(opener: Opener) -> None:
    store = opener()
    first = keep(store, "one", Jotting(LARGE))
    assert store.keep(replace(first, key=key_of("two")), {ref_to(Jotting(LARGE)).digest: Jotting(LARGE)}) < len(LARGE)
    assert store.keep(first, {ref_to(Jotting(LARGE)).digest: Jotting(LARGE)}) == 0


def test_keeping_tells_the_bytes_written(opener: Opener) -> None:
    record = result("drawn", Jotting(LARGE))
    written = opener().keep(record, {ref_to(Jotting(LARGE)).digest: Jotting(LARGE)})
    assert len(LARGE) < written < len(LARGE) + 2000


def test_the_result_of_a_value_that_cannot_be_kept_on_disk_is_kept_without_it(opener: Opener) -> None:
    record = keep(opener(), "drawn", Jotting("secret"), Jotting(SMALL))
    assert opener.said == ["a Jotting cannot be kept on disk: it is secret"]
    store = opener()
    assert store.lookup(record.key) == record
    assert not store.has(ref_to(Jotting("secret")))
    assert store.has(ref_to(Jotting(SMALL)))


def test_a_result_that_json_cannot_hold_is_kept_in_memory(opener: Opener) -> None:
    store = opener()
    record = Record(key_of("odd"), {"value": object()}, about={"type": "Odd"})
    store.keep(record, {})
    assert store.lookup(record.key) is record
    assert opener.said == ["results of Odd cannot be kept on disk: a object is no plain value"]
    assert opener().lookup(record.key) is None


def test_what_is_remembered_is_found_by_the_next_process(opener: Opener) -> None:
    store = opener()
    keep(store, "drawn", seconds=3.0)
    store.remember_latest("graph.yaml", {"a": "1"})
    store.add_variables("code", ["HOME"])
    store.save_state(key_of("small"), Jotting(SMALL))
    store.save_state(key_of("large"), Jotting(LARGE))
    store.note_output("content", "key", "image", "run")
    store = opener()
    assert store.known_partial("Jot")
    assert store.seconds_of("Jot") == 3.0
    assert store.latest("graph.yaml") == {"a": "1"}
    assert store.variables("code") == ("HOME",)
    assert store.state(key_of("small")) == Jotting(SMALL)
    assert store.state(key_of("large")) == Jotting(LARGE)
    assert store.origin("content") == ("key", "image", "run")


def test_a_replaced_state_leaves_no_file(opener: Opener) -> None:
    store = opener()
    for step in range(3):
        store.save_state(key_of("training"), Jotting(f"{LARGE}{step}"))
    assert store.state(key_of("training")) == Jotting(f"{LARGE}2")
    assert len([file for file in (opener.folder / "states").rglob("*") if file.is_file()]) == 1
    store.drop_state(key_of("training"))
    assert not [file for file in (opener.folder / "states").rglob("*") if file.is_file()]


def test_the_typical_time_of_a_node_type_follows_what_its_nodes_take(opener: Opener) -> None:
    store = opener()
    for number, seconds in enumerate([1.0, 1.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0]):
        keep(store, number, seconds=seconds)
    typical = store.seconds_of("Jot")
    assert typical is not None
    assert 7.0 < typical < 9.0


def test_what_is_known_already_is_not_written_again(opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opener()
    record = keep(store, "drawn", Jotting(SMALL))
    store.remember_latest("graph.yaml", {"a": "1", "b": "2"})
    store.add_variables("code", ["HOME"])
    store.note_output("content", "key", "image", "run")
    assert store._disk is not None
    monkeypatch.setattr(store._disk.index, "write", lambda job: pytest.fail("it was written"))
    store.remember_latest("graph.yaml", {"b": "2"})
    store.add_variables("code", ["HOME"])
    store.note_output("content", "key", "image", "run")
    store.touch([record.key], record.refs())
    store.drop_state(key_of("never saved"))


def test_using_something_is_noted(opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    record = keep(opener(), "drawn", Jotting(SMALL))
    later = time.time() + 1000
    monkeypatch.setattr(time, "time", lambda: later)
    store = opener()
    store.touch([record.key], record.refs())
    assert store._disk is not None
    assert store._disk.index.rows("SELECT used FROM results UNION SELECT used FROM contents") == [(later,)]


def test_threads_that_keep_at_the_same_time_share_a_commit(opener: Opener) -> None:
    store = opener(power=True)
    assert store._disk is not None
    index = store._disk.index
    commits: list[str] = []
    assert index._connection is not None
    index._connection.set_trace_callback(lambda query: commits.append(query) if query == "COMMIT" else None)
    threads = [threading.Thread(target=keep, args=(store, number)) for number in range(5)]
    with index._lock:
        for thread in threads:
            thread.start()
        while len(index._waiting) < len(threads):
            time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert len(commits) == 1
    assert store.info().results == 5


def test_an_interrupted_commit_does_not_lose_the_results_of_other_threads(opener: Opener) -> None:
    store = opener()
    assert store._disk is not None
    index = store._disk.index

    def interrupted(connection: object) -> None:
        raise KeyboardInterrupt

    other = _Job(lambda connection: "written")
    index._waiting.append(other)  # as another thread does before it waits
    with pytest.raises(KeyboardInterrupt):
        index.write(interrupted)
    assert not other.done
    keep(store, "drawn")
    assert (other.done, other.given) == (True, "written")
    assert opener().lookup(key_of("drawn")) is not None


def test_many_threads_keep_and_look_up(opener: Opener) -> None:
    store = opener(memory=0)
    failures: list[object] = []

    def work(worker: int) -> None:
        for number in range(30):
            value = Jotting(f"{LARGE if number % 10 == 0 else SMALL} {number}")
            record = keep(store, (worker, number), value)
            if store.lookup(record.key) != record or store.value(ref_to(value)) != value:
                failures.append((worker, number))

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert (store.info().results, store.info().values, opener.said) == (180, 30, [])
    assert store.verify() == []


def test_a_process_has_one_store_for_a_folder(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    assert open_store(tmp_path / "elsewhere" / ".." / "store") is store
    assert open_store(tmp_path / "other") is not store
    store.close()


def test_a_closed_store_opens_again_when_it_is_asked(opener: Opener) -> None:
    store = opener(memory=0)
    record = keep(store, "drawn")
    store.close()
    assert store.lookup(record.key) == record


def test_opening_a_store_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from latentgraph.engine.store import open_store\n"
        f"open_store(Path({str(tmp_path / 'store')!r})).lookup('0' * 64)\n"
        "print(*{'numpy', 'torch', 'pydantic', 'yaml'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_folder_and_its_bound_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTGRAPH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LATENTGRAPH_STORE", raising=False)
    assert default_folder() == tmp_path / "cache" / "store"
    monkeypatch.setenv("LATENTGRAPH_STORE", str(tmp_path / "named"))
    monkeypatch.setenv("LATENTGRAPH_STORE_BYTES", "2GB")
    assert default_folder() == tmp_path / "named"
    store = open_store(default_folder())
    assert store.info().disk_bound == 2_000_000_000
    store.close()
    monkeypatch.setenv("LATENTGRAPH_STORE_BYTES", "much")
    with pytest.raises(UserError, match="`much` is no size"):
        open_store(tmp_path / "other")


@pytest.mark.parametrize(
    ("text", "bytes"), [("1000", 1000), ("2GB", 2 * 10**9), ("1.5 KiB", 1536), ("3 m", 3_000_000), ("7B", 7)]
)
def test_sizes_are_read(text: str, bytes: int) -> None:
    assert bytes_meant(text) == bytes


@pytest.mark.parametrize("text", ["", "GB", "-1", "1e9", "5 apples"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        bytes_meant(text)


def test_trouble_with_a_newer_store_is_something_that_a_person_can_put_right() -> None:
    assert issubclass(StoreError, UserError)
