"""The memory tier, and what a store without a folder does."""

import threading
from dataclasses import dataclass
from typing import Any

import pytest
from jottings import Jotting, Opener, keep, key_of, ref_to, result

from latentgraph.engine.ports import PortType
from latentgraph.engine.records import Ref
from latentgraph.engine.store import Store, open_store
from latentgraph.engine.store.memory import RECORD_BYTES, bytes_of


@pytest.fixture(params=["memory", "disk"])
def store(request: pytest.FixtureRequest, opener: Opener) -> Store:
    """What holds for both tiers is tested with both."""
    return open_store(None) if request.param == "memory" else opener()


def test_a_result_and_its_values_are_found_again(store: Store) -> None:
    apple = Jotting("an apple")
    record = keep(store, "drawn", apple, sources={"model": "0" * 64}, made=2.5, run="r1")
    assert store.lookup(record.key) == record
    assert store.has(ref_to(apple))
    assert store.value(ref_to(apple)) == apple


def test_what_was_never_kept_is_not_there(store: Store) -> None:
    assert store.lookup(key_of("drawn")) is None
    assert not store.has(Ref("Jotting", "0" * 64))
    assert store.value(Ref("Jotting", "0" * 64)) is None
    assert store.latest("graph.yaml") == {}
    assert store.variables("code") == ()
    assert store.state("key") is None
    assert store.origin("content") is None
    assert store.seconds_of("Jot") is None
    assert not store.known_partial("Jot")


def test_a_value_is_found_by_its_type_and_digest_together(store: Store) -> None:
    keep(store, "drawn", Jotting("an apple"))
    assert not store.has(Ref("Picture", ref_to(Jotting("an apple")).digest))


def test_the_newest_result_of_a_key_counts(store: Store) -> None:
    keep(store, "drawn", Jotting("an apple"))
    record = keep(store, "drawn", Jotting("a pear"))
    assert store.lookup(record.key) == record


def test_a_removed_result_is_forgotten_and_its_values_stay(store: Store) -> None:
    record = keep(store, "drawn", Jotting("an apple"))
    store.remove(record.key)
    assert store.lookup(record.key) is None
    assert store.has(ref_to(Jotting("an apple")))


def test_small_things_are_remembered(store: Store) -> None:
    keep(store, "drawn", seconds=3.0)
    store.remember_latest("graph.yaml", {"a": "1", "b": "2"})
    store.remember_latest("graph.yaml", {"b": "3"})
    store.add_variables("code", ["HOME", "LANG"])
    store.add_variables("code", ["LANG", "EDITOR"])
    store.note_output("content", "key", "image", "run")
    assert store.known_partial("Jot")
    assert store.seconds_of("Jot") == 3.0
    assert store.latest("graph.yaml") == {"a": "1", "b": "3"}
    assert store.variables("code") == ("EDITOR", "HOME", "LANG")
    assert store.origin("content") == ("key", "image", "run")


def test_the_last_saved_state_is_found_until_it_is_dropped(store: Store) -> None:
    store.save_state(key_of("training"), Jotting("step 1"))
    store.save_state(key_of("training"), Jotting("step 2"))
    assert store.state(key_of("training")) == Jotting("step 2")
    store.drop_state(key_of("training"))
    assert store.state(key_of("training")) is None


def test_clearing_forgets_everything(store: Store) -> None:
    record = keep(store, "drawn", Jotting("an apple"))
    store.remember_latest("graph.yaml", {"a": "1"})
    store.add_variables("code", ["HOME"])
    store.save_state(key_of("training"), Jotting("step 1"))
    store.note_output("content", "key", "image", "run")
    store.clear()
    assert store.lookup(record.key) is None
    assert not store.has(ref_to(Jotting("an apple")))
    assert not store.known_partial("Jot")
    assert store.seconds_of("Jot") is None
    test_what_was_never_kept_is_not_there(store)


def test_a_store_counts_what_it_has(store: Store) -> None:
    keep(store, "one", Jotting("an apple"), Jotting("a pear"), node_type="Paint")
    keep(store, "two", Jotting("an apple"), node_type="Copy")
    store.save_state(key_of("training"), Jotting("step 1"))
    info = store.info()
    assert (info.results, info.values, info.states) == (2, 2, 1)
    assert info.by_type == {"Paint": 1, "Copy": 1}
    assert [listed.record.about["type"] for listed in store.records()] == ["Copy", "Paint"]


def test_one_thread_claims_a_key_at_a_time(store: Store) -> None:
    claims: list[Any] = []
    threads = [threading.Thread(target=lambda: claims.append(store.claim(key_of("drawn")))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (claim,) = [claim for claim in claims if claim is not None]
    assert store.claim(key_of("another")) is not None
    claim.release()
    again = store.claim(key_of("drawn"))
    assert again is not None
    claim.release()  # once more, which is nobody's claim any more
    assert store.claim(key_of("drawn")) is None


def test_memory_stays_within_its_bound() -> None:
    store = open_store(None, memory_bytes=20 * RECORD_BYTES)
    for number in range(100):
        keep(store, number, Jotting(f"{number}" * 1000))
        assert store.info().memory_bytes <= 20 * RECORD_BYTES
    assert store.info().results > 5


def test_what_took_long_for_its_size_stays_in_memory_longer() -> None:
    store = open_store(None, memory_bytes=10 * RECORD_BYTES)
    slow = keep(store, "slow", seconds=100.0)
    quick = keep(store, "quick", seconds=0.0)
    for number in range(10):
        keep(store, number, seconds=1.0)
    assert store.lookup(quick.key) is None
    assert store.lookup(slow.key) is not None


def test_a_value_larger_than_the_bound_pushes_nothing_out() -> None:
    store = open_store(None, memory_bytes=2 * RECORD_BYTES)
    record = keep(store, "small")
    store.keep(result("large", Jotting("x" * 9000)), {ref_to(Jotting("x" * 9000)).digest: Jotting("x" * 9000)})
    assert store.lookup(record.key) is not None
    assert not store.has(ref_to(Jotting("x" * 9000)))


def test_the_bytes_of_a_value_are_those_of_its_arrays_and_texts() -> None:
    class Array:
        nbytes = 4_000_000

    @dataclass(frozen=True)
    class Pictures(PortType):
        pixels: Any
        captions: tuple[str, ...]

    pixels = Array()
    once = bytes_of(Pictures(pixels, ("a" * 1_000_000,)))
    assert 5_000_000 < once < 5_002_000
    assert bytes_of((Pictures(pixels, ()), Pictures(pixels, ()))) < 4_002_000, "the same array counts once"


def test_a_store_without_a_folder_is_a_new_one_each_time() -> None:
    record = keep(open_store(None), "drawn")
    assert open_store(None).lookup(record.key) is None
