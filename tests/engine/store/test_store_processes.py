"""Several processes share a store, and any of them may be killed at any instant."""

import contextlib
import os
import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from jottings import LARGE, Child, Jotting, Opener, keep, key_of, ref_to

from latentgraph.engine.store import Store


def in_another(opener: Opener) -> Store:
    """The store as a forked process opens it for itself."""
    return Store(opener.folder, 0, 2**30, False, opener.said.append)


def for_ever(tell: Any) -> None:
    tell("ready")
    time.sleep(60)


def test_a_key_is_claimed_by_one_process_at_a_time(opener: Opener) -> None:
    store = opener()

    def other(tell: Any) -> None:
        claim = in_another(opener).claim(key_of("drawn"))
        assert claim is not None
        for_ever(tell)

    child = Child(other)
    assert child.line() == "ready"
    assert store.claim(key_of("drawn")) is None
    assert store.claim(key_of("another")) is not None
    child.kill()
    assert store.claim(key_of("drawn")) is not None, "it is taken over from a process that was killed"


def test_a_released_claim_is_free_for_other_processes(opener: Opener) -> None:
    store = opener()
    held, released = store.claim(key_of("held")), store.claim(key_of("released"))
    assert held is not None
    assert released is not None
    released.release()

    def other(tell: Any) -> None:
        assert in_another(opener).claim(key_of("held")) is None
        assert in_another(opener).claim(key_of("released")) is not None

    assert Child(other).succeeds()


def test_a_forked_process_has_none_of_its_parents_claims(opener: Opener) -> None:
    store = opener()
    claim = store.claim(key_of("drawn"))
    assert claim is not None

    def other(tell: Any) -> None:
        assert store.claim(key_of("drawn")) is None
        claim.release()
        assert store.claim(key_of("drawn")) is None
        assert store.claim(key_of("another")) is not None

    assert Child(other).succeeds()
    assert store.claim(key_of("another")) is not None
    assert Child(other).succeeds() is False, "the parent has both now"


def test_what_the_parent_releases_a_forked_process_can_claim(opener: Opener) -> None:
    store = opener()
    claim = store.claim(key_of("drawn"))
    assert claim is not None

    def other(tell: Any) -> None:
        deadline = time.monotonic() + 5
        while store.claim(key_of("drawn")) is None:
            assert time.monotonic() < deadline

    child = Child(other)
    claim.release()
    assert child.succeeds()


def test_a_forked_process_goes_on_with_the_store_of_its_parent(opener: Opener) -> None:
    store = opener(memory=0)
    kept = keep(store, "before", Jotting(LARGE))
    assert store._disk is not None
    index, connection = store._disk.index, store._disk.index._connection

    def other(tell: Any) -> None:
        assert store.lookup(kept.key) == kept
        assert index._connection is not connection, "whose locks are the parent's"
        for number in range(20):
            keep(store, ("child", number), Jotting(f"{LARGE}{number}"))
        store.close()

    children = [Child(other), Child(other)]
    for number in range(20):
        keep(store, ("parent", number), Jotting(f"{number}"))
    assert all(child.succeeds() for child in children)
    for name in [(who, number) for who in ("child", "parent") for number in range(20)]:
        assert store.lookup(key_of(name)) is not None
    assert store.verify() == []
    assert opener.said == []


def test_forking_while_threads_are_writing_does_not_hang(opener: Opener) -> None:
    store = opener()
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            keep(store, number, Jotting(f"{number}"))
            number += 1

    def other(tell: Any) -> None:
        record = keep(store, "in the child", Jotting(LARGE))
        assert store.lookup(record.key) == record

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        assert all(Child(other).succeeds() for _ in range(5))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert store.verify() == []


def test_four_processes_keep_at_the_same_time(opener: Opener) -> None:
    opener()

    def work(worker: int, tell: Any) -> None:
        store = in_another(opener)
        for number in range(30):
            keep(store, (worker, number), Jotting(f"{worker} {number}"))
            keep(store, ("same", number), Jotting(f"{LARGE}{number}"))
            store.remember_latest("graph.yaml", {f"{worker}/{number}": key_of(number)})
        assert opener.said == []

    children = [Child(lambda tell, worker=worker: work(worker, tell)) for worker in range(4)]  # type: ignore[misc]
    assert all(child.succeeds() for child in children)
    store = opener(memory=0)
    for number in range(30):
        for worker in range(4):
            assert store.lookup(key_of((worker, number))) is not None
            assert store.value(ref_to(Jotting(f"{worker} {number}"))) == Jotting(f"{worker} {number}")
        assert store.value(ref_to(Jotting(f"{LARGE}{number}"))) == Jotting(f"{LARGE}{number}")
    assert len(store.latest("graph.yaml")) == 120
    assert store.verify() == []
    assert store.prune().leftovers == 0


def test_nothing_that_was_kept_is_lost_when_a_process_is_killed(opener: Opener) -> None:
    draw = random.Random(11)

    def work(start: int, tell: Any) -> None:
        store = in_another(opener)
        number = start
        while True:
            large = number % 3 == 0
            keep(store, number, Jotting(f"{LARGE if large else ''}{number}"))
            tell(number)
            if number % 5 == 0:
                store.save_state(key_of("training"), Jotting(f"{number}{LARGE}"))
                tell(f"state {number}")
            number += 1

    kept: list[int] = []
    states: list[int] = []
    rounds = int(os.environ.get("LATENTGRAPH_TEST_KILLS", "6"))
    for round in range(rounds):
        child = Child(lambda tell, round=round: work(round * 100_000, tell))  # type: ignore[misc]
        first = child.line()
        time.sleep(draw.uniform(0, 0.08))
        child.kill()
        told = [first, *child.lines()]
        kept += [int(line) for line in told if line.isdecimal()]
        states += [int(line.split()[1]) for line in told if line.startswith("state")]
        store = opener(memory=0)
        state = store.state(key_of("training"))
        assert isinstance(state, Jotting)
        assert int(state.text.removesuffix(LARGE)) >= states[-1]
    for number in kept:
        record = store.lookup(key_of(number))
        assert record is not None
        (ref,) = record.refs()
        assert store.value(ref) == Jotting(f"{LARGE if number % 3 == 0 else ''}{number}")
    assert store.verify() == []
    store.prune()
    assert list((opener.folder / "writing").iterdir()) == []
    assert store.verify() == []
    assert opener.said == []
    assert len(kept) > rounds


def test_pruning_removes_the_unfinished_files_of_dead_processes_only(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def halfway(tell: Any) -> None:
        def stop(aside: Path, file: Path, *, power: bool) -> None:
            for_ever(tell)

        monkeypatch.setattr("latentgraph.engine.store.files.place", stop)
        keep(in_another(opener), "drawn", Jotting(LARGE))

    def writing() -> int:
        return len(list((opener.folder / "writing").iterdir()))

    store = opener()
    child = Child(lambda tell: in_another(opener).save_state(key_of("x"), Jotting("y")))
    assert child.succeeds()
    child = Child(halfway)
    assert child.line() == "ready"
    assert writing() == 1
    child.kill()  # it is inside a transaction, in which nobody else can be
    assert store.prune().leftovers == 1
    assert writing() == 0

    def aside(tell: Any) -> None:
        other = in_another(opener)
        assert other._disk is not None
        assert other._disk.contents.prepared(ref_to(Jotting(LARGE)), Jotting(LARGE)) is not None
        for_ever(tell)

    child = Child(aside)
    assert child.line() == "ready"
    assert store.prune().leftovers == 0
    assert writing() == 1
    child.kill()
    assert store.prune().leftovers == 1


def test_what_a_run_uses_is_spared_by_other_processes_until_it_ends(opener: Opener) -> None:
    record = keep(opener(), "drawn", Jotting(LARGE))

    def run(tell: Any) -> None:
        with in_another(opener).in_use():
            for_ever(tell)

    store = opener(memory=0)
    child = Child(run)
    assert child.line() == "ready"
    assert store.prune(0).values == 0
    assert store.has(next(record.refs()))
    assert store.lookup(record.key) == record
    child.kill()
    pruned = store.prune(0)
    assert (pruned.results, pruned.values) == (1, 1)
    assert not store.has(next(record.refs()))


def test_what_was_last_used_before_the_oldest_run_began_is_not_spared(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opener(memory=0)
    old, used = keep(store, "old", Jotting("an apple")), keep(store, "used", Jotting("a pear"))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1000)
    with store.in_use():
        monkeypatch.setattr(time, "time", lambda: now + 2000)
        with store.in_use():
            store.touch([used.key], used.refs())
        monkeypatch.setattr(time, "time", lambda: now + 3000)
        store.prune(0)
        assert store.lookup(old.key) is None
        assert not store.has(next(old.refs()))
        assert store.lookup(used.key) == used
        assert store.has(next(used.refs()))
    store.prune(0)
    assert store.lookup(used.key) is None


def test_a_run_that_fails_ends_its_use(opener: Opener) -> None:
    store = opener(memory=0)
    record = keep(store, "drawn", Jotting("an apple"))
    with contextlib.suppress(ValueError), store.in_use():
        raise ValueError
    store.prune(0)
    assert store.lookup(record.key) is None


def test_an_evicted_value_is_missing_for_other_processes_and_not_damaged(opener: Opener) -> None:
    record = keep(opener(), "drawn", Jotting(LARGE))
    store = opener(memory=0)
    assert Child(lambda tell: in_another(opener).prune(0) and None).succeeds()
    assert store.value(next(record.refs())) is None
    assert opener.said == []


def test_an_index_deleted_by_another_process_is_noticed_and_what_is_kept_then_is_found(opener: Opener) -> None:
    store = opener(memory=0)
    keep(store, "before", Jotting(LARGE))
    (opener.folder / "index.sqlite").unlink()
    record = keep(store, "after", Jotting(LARGE))
    assert opener.said == [f"the index of the store {opener.folder} is gone, what it had will be made again"]

    def other(tell: Any) -> None:
        assert in_another(opener).lookup(record.key) == record

    assert Child(other).succeeds()


def test_a_value_that_two_processes_write_at_the_same_time_is_whole(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = keep(opener(), "drawn", Jotting(LARGE))
    store = opener(memory=0)
    assert store._disk is not None
    monkeypatch.setattr(store._disk.contents, "has", lambda ref: False)  # as it was when this process looked
    monkeypatch.setattr(Jotting.codec, "encode", lambda value: f"\ufeff{value.text}".encode(), raising=False)
    monkeypatch.setattr(Jotting.codec, "decode", lambda kind, content: kind(content.decode().strip("\ufeff")))
    keep(store, "drawn too", Jotting(LARGE))
    assert opener(memory=0).value(next(record.refs())) == Jotting(LARGE)
    assert opener.said == []
    (file,) = [file for file in (opener.folder / "values").rglob("*") if file.is_file()]
    assert file.read_text() == LARGE, "the first one counts, whom others may be reading"
