"""Both tiers stay within their bounds, and let go of what is worth least."""

import time
from pathlib import Path

import pytest
from jottings import LARGE, Child, Jotting, Opener, keep, key_of, ref_to

from latentgraph.engine.store.tend import DAY
from latentgraph.engine.store.worth import worth


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def test_worth_grows_with_the_time_to_make_again_and_falls_with_size_and_age() -> None:
    assert worth(10.0, 1000, 60.0) > worth(5.0, 1000, 60.0)
    assert worth(10.0, 1000, 60.0) > worth(10.0, 2000, 60.0)
    assert worth(10.0, 1000, 60.0) > worth(10.0, 1000, 120.0)
    assert worth(10.0, 1000, -5.0) == worth(10.0, 1000, 0.0), "a clock that was set back"
    assert worth(0.0, 1000, 60.0) > worth(0.0, 1000, 3600.0), "also where it takes no time"


def left(opener: Opener, names: dict[str, Jotting]) -> set[str]:
    store = opener(memory=0)
    return {name for name, value in names.items() if store.has(ref_to(value))}


def test_values_that_are_quick_to_make_for_their_size_go_first(opener: Opener) -> None:
    store = opener()
    values = {name: Jotting(f"{name} {LARGE}") for name in ("quick", "slow", "slower")}
    for name, seconds in {"slow": 10.0, "quick": 0.1, "slower": 100.0}.items():
        keep(store, name, values[name], seconds=seconds)
    assert store.prune(2 * len(LARGE) + 5000).values == 1
    assert left(opener, values) == {"slow", "slower"}
    assert opener().prune(len(LARGE) + 5000).values == 1
    assert left(opener, values) == {"slower"}


def test_large_values_go_before_small_ones_that_take_as_long(opener: Opener) -> None:
    store = opener()
    values = {"small": Jotting("small"), "large": Jotting(LARGE)}
    for name, value in values.items():
        keep(store, name, value)
    store.prune(len(LARGE))
    assert left(opener, values) == {"small"}


def test_values_that_were_used_long_ago_go_first(opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    store, now = opener(), time.time()
    values = {name: Jotting(f"{name} {LARGE}") for name in ("a", "b", "c")}
    records = {}
    for number, (name, value) in enumerate(values.items()):
        monkeypatch.setattr(time, "time", lambda number=number: now + 100 * number)
        records[name] = keep(store, name, value)
    monkeypatch.setattr(time, "time", lambda: now + 1000)
    opener().touch([records["a"].key], records["a"].refs())
    opener().prune(2 * len(LARGE) + 5000)
    assert left(opener, values) == {"a", "c"}


def test_a_result_outlives_its_value(opener: Opener) -> None:
    record = keep(opener(), "drawn", Jotting(LARGE))
    store = opener(memory=0)
    store.prune(5000)
    assert not store.has(next(record.refs()))
    assert store.value(next(record.refs())) is None
    assert store.lookup(record.key) == record
    assert opener.said == []


def test_a_store_that_is_written_to_stays_within_its_bound(opener: Opener) -> None:
    bound = 1_000_000
    store = opener(disk=bound, memory=0)
    for number in range(100):
        keep(store, number, Jotting(f"{number} {LARGE}"), Jotting(f"{number}" * 1000))
        assert store.info().disk_bytes <= bound * 1.05
    assert store.info().disk_bytes > bound * 0.8
    assert store.lookup(key_of(0)) is not None
    assert not store.has(ref_to(Jotting(f"0 {LARGE}")))
    assert store.has(ref_to(Jotting(f"99 {LARGE}")))
    opener.close()
    assert size_of(opener.folder) < bound * 1.15
    assert opener.said == []


def test_what_is_counted_is_about_what_the_disk_has(opener: Opener) -> None:
    store = opener()
    for number in range(500):
        keep(store, number, Jotting(f"{number}" * 50))
    counted = store.info().disk_bytes
    opener.close()
    assert 0.8 < size_of(opener.folder) / counted < 1.25


def test_small_results_without_values_stay_within_the_bound_too(opener: Opener) -> None:
    store = opener(disk=100_000, memory=0)
    for number in range(400):
        keep(store, number)
    assert 100 < store.info().results < 250
    assert store.info().disk_bytes <= 105_000
    assert store.lookup(key_of(399)) is not None


def test_values_make_room_before_results_that_took_as_long(opener: Opener) -> None:
    store = opener(disk=300_000, memory=0)
    for number in range(200):
        keep(store, number, Jotting(f"{number}" * 1000))
    info = store.info()
    assert info.results > 1.5 * info.values
    assert store.info().disk_bytes <= 315_000


def test_processes_that_write_share_one_bound(opener: Opener) -> None:
    bound = 1_000_000

    def work(name: int) -> None:
        store = Opener(opener.folder)(disk=bound)
        for number in range(20):
            keep(store, (name, number), Jotting(f"{name} {number} {LARGE}"))

    children = [Child(lambda tell, name=name: work(name)) for name in range(3)]  # type: ignore[misc]
    assert all(child.succeeds() for child in children)
    assert opener(disk=bound).info().disk_bytes <= bound * 1.05
    opener.close()
    assert size_of(opener.folder) < bound * 1.25


def test_a_run_that_needs_more_than_the_bound_gets_it_and_gives_it_back(opener: Opener) -> None:
    store = opener(disk=200_000, memory=0)
    with store.in_use():
        for number in range(20):
            keep(store, number, Jotting(f"{number} {LARGE}"))
        assert all(store.has(ref_to(Jotting(f"{number} {LARGE}"))) for number in range(20))
    assert store.info().disk_bytes <= 200_000


def test_states_that_nobody_went_on_from_are_removed(opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    store, now = opener(), time.time()
    store.save_state(key_of("old"), Jotting(f"old {LARGE}"))
    monkeypatch.setattr(time, "time", lambda: now + 10 * DAY)
    store.save_state(key_of("new"), Jotting(f"new {LARGE}"))
    assert store.prune().states == 0
    monkeypatch.setattr(time, "time", lambda: now + 20 * DAY)
    assert store.prune().states == 1
    assert store.state(key_of("old")) is None
    assert store.state(key_of("new")) == Jotting(f"new {LARGE}")


def test_states_count_and_can_be_evicted(opener: Opener) -> None:
    store = opener()
    store.save_state(key_of("training"), Jotting(LARGE))
    assert store.info().disk_bytes > len(LARGE)
    assert store.prune(0).states == 1
    assert store.info().disk_bytes == 0
    assert store.state(key_of("training")) is None


def test_pruning_gives_the_room_back_to_the_disk(opener: Opener) -> None:
    store = opener()
    for number in range(200):
        keep(store, number, Jotting(f"{number}" * 1000), Jotting(f"{number} {LARGE}"))
    pruned = store.prune(50_000)
    assert pruned.bytes > 200 * len(LARGE)
    opener.close()
    assert size_of(opener.folder) < 150_000


def test_pruning_removes_files_that_belong_to_nothing(opener: Opener) -> None:
    store = opener()
    keep(store, "drawn", Jotting(LARGE))
    orphan = opener.folder / "values" / "00" / "orphan.txt"
    orphan.parent.mkdir()
    orphan.write_text("left over")
    pruned = store.prune()
    assert (pruned.leftovers, pruned.bytes) == (1, 9)
    assert not orphan.exists()
    assert opener(memory=0).value(ref_to(Jotting(LARGE))) == Jotting(LARGE)


def test_clearing_leaves_no_files(opener: Opener) -> None:
    store = opener()
    for number in range(50):
        keep(store, number, Jotting(f"{number} {LARGE}"))
    store.clear()
    assert store.info().disk_bytes == 0
    opener.close()
    assert size_of(opener.folder) < 100_000
    assert [file for file in (opener.folder / "values").rglob("*") if file.is_file()] == []
