"""Disks that are full, cannot be written or belong to a newer release: a run goes on, and it is said once."""

import errno
import os
import resource
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jottings import LARGE, Child, Jotting, Opener, keep, key_of, ref_to, result

from latentgraph.engine.store import Store, StoreError, open_store
from latentgraph.engine.store.index import FORMAT


def contents(folder: Path) -> dict[str, bytes]:
    """All that is in a folder; read in another process, which leaves alone the locks that this one has on the files."""
    listed = subprocess.run(
        f"find {folder} -type f -exec sha256sum {{}} + | sort; find {folder} | sort", shell=True, capture_output=True
    )
    return {"listed": listed.stdout}


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A disk of 1 MB."""
    folder = Path(tempfile.mkdtemp())
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        folder.rmdir()
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr}; a limit on files is tested in its place")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)
    folder.rmdir()


def fill(folder: Path, tell: Any) -> None:
    """Keep more than there is room for; tells the keys of what is on disk, what was said, and `done`."""
    said: list[str] = []
    store = Store(folder, 2**28, 2**30, False, said.append)
    for number in range(60):
        record = keep(store, number, Jotting(f"{LARGE}{number}"))
        assert store.lookup(record.key) == record
        assert store.value(next(record.refs())) == Jotting(f"{LARGE}{number}")
        store.remember_latest("graph.yaml", {str(number): record.key})
        store.save_state(key_of("training"), Jotting(f"{number}{LARGE}"))
        assert store.state(key_of("training")) == Jotting(f"{number}{LARGE}")
        assert store.latest("graph.yaml")[str(number)] == record.key
    with store.in_use():
        store.prune()
    assert list((folder / "writing").iterdir()) == []
    tell(len(said))
    tell(said[0])


def test_a_run_completes_on_a_full_disk(small_disk: Path) -> None:
    child = Child(lambda tell: fill(small_disk / "store", tell))
    count, said = child.lines()
    assert child.succeeds()
    assert count == "1"
    assert said.startswith(f"the store {small_disk / 'store'} cannot be written (")
    assert said.endswith("): new results are kept in memory only")


def test_what_was_kept_before_the_disk_was_full_is_still_read(small_disk: Path, opener: Opener) -> None:
    opener.folder = small_disk / "store"
    record = keep(opener(), "drawn", Jotting(LARGE))
    opener.close()
    with pytest.raises(OSError, match="No space left"):
        (small_disk / "other").write_bytes(bytes(2**20))
    store = opener()
    keep(store, "more", Jotting(f"more{LARGE}"))
    assert store.lookup(record.key) == record
    assert store.value(next(record.refs())) == Jotting(LARGE)
    assert store.lookup(key_of("more")) is not None
    assert len(opener.said) == 1
    (small_disk / "other").unlink()
    record = keep(opener(), "more", Jotting(f"more{LARGE}"))
    assert opener().value(next(record.refs())) == Jotting(f"more{LARGE}")


def test_a_run_completes_where_files_cannot_grow(tmp_path: Path) -> None:
    def limited(tell: Any) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        fill(tmp_path / "store", tell)

    child = Child(limited)
    count, said = child.lines()
    assert child.succeeds()
    assert count == "1"
    assert "cannot be written (" in said


def test_nothing_is_left_of_a_value_that_could_not_be_written(opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, content: memoryview) -> int:
        if len(content) < 30_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, content[:10_000])

    store, write = opener(), os.write
    monkeypatch.setattr(os, "write", full)
    record = keep(store, "drawn", Jotting(LARGE))
    assert store.value(next(record.refs())) == Jotting(LARGE)
    assert len(opener.said) == 1
    assert "No space left on device" in opener.said[0]
    assert list((opener.folder / "writing").iterdir()) == []
    assert opener().lookup(record.key) is None


def test_a_state_that_was_saved_in_memory_does_not_outlive_a_later_one_on_disk(opener: Opener) -> None:
    store = opener()
    assert store._disk is not None
    store._disk.writable = False
    store.save_state(key_of("training"), Jotting("step 1"))
    assert store.state(key_of("training")) == Jotting("step 1")
    store._disk.writable = True
    store.save_state(key_of("training"), Jotting("step 2"))
    assert store.state(key_of("training")) == Jotting("step 2")


def test_an_index_that_cannot_grow_is_read_on(opener: Opener) -> None:
    store = opener(memory=0)
    record = keep(store, "drawn", Jotting("an apple"))
    assert store._disk is not None
    pages = store._disk.index.row("PRAGMA page_count")[0]
    store._disk.index.row(f"PRAGMA max_page_count={pages}")
    for number in range(100):
        keep(store, number, Jotting(f"{number}" * 1000))
    assert opener.said == [
        f"the store {opener.folder} cannot be written (database or disk is full): new results are kept in memory only"
    ]
    assert store.lookup(record.key) == record


def without_rights(do: Any) -> bool:
    """Whether something succeeds in a process that may not write where the folder's mode forbids it."""

    def unprivileged(tell: Any) -> None:
        if os.geteuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        do(tell)

    return Child(unprivileged).succeeds()


def test_a_store_that_cannot_be_written_is_read() -> None:
    place = Path(tempfile.mkdtemp())  # not tmp_path, into which nobody else may look
    folder = place / "store"
    opener = Opener(folder)
    kept = keep(opener(), "drawn", Jotting("an apple"), Jotting(LARGE))
    opener.close()
    subprocess.run(["chmod", "-R", "a-w,a+rX", place], check=True)
    before = contents(folder)

    def use(tell: Any) -> None:
        store = opener(memory=0)
        assert store.lookup(kept.key) == kept
        assert [store.value(ref) for ref in kept.refs()] == [Jotting("an apple"), Jotting(LARGE)]
        assert opener.said == [
            f"the store {folder} cannot be written (it is write-protected): new results are kept in memory only"
        ]
        store = opener()
        more = keep(store, "more", Jotting("a pear"))
        assert store.lookup(more.key) == more
        claim = store.claim(key_of("another"))
        assert claim is not None
        claim.release()
        with store.in_use():
            store.touch([kept.key], kept.refs())
            store.remember_latest("graph.yaml", {"a": "1"})
            store.add_variables("code", ["HOME"])
            store.save_state(key_of("training"), Jotting("step 1"))
            store.note_output("content", "key", "image", "run")
        assert store.latest("graph.yaml") == {"a": "1"}
        assert store.variables("code") == ("HOME",)
        assert store.state(key_of("training")) == Jotting("step 1")
        assert store.origin("content") == ("key", "image", "run")
        assert store.verify() == []
        store.prune(0)
        store.clear()
        assert store.info().results == 1
        assert len(opener.said) == 2

    try:
        assert without_rights(use)
        assert contents(folder) == before
    finally:
        subprocess.run(["chmod", "-R", "u+w", place], check=True)
        shutil.rmtree(place)


def test_a_damaged_store_that_cannot_be_written_gives_nothing_damaged() -> None:
    place = Path(tempfile.mkdtemp())
    opener = Opener(place / "store")
    kept = keep(opener(), "drawn", Jotting(LARGE))
    opener.close()
    (file,) = [file for file in (opener.folder / "values").rglob("*") if file.is_file()]
    file.write_text("another text")
    subprocess.run(["chmod", "-R", "a-w,a+rX", place], check=True)

    def use(tell: Any) -> None:
        store = opener()
        assert store.value(next(kept.refs())) is None
        assert store.lookup(kept.key) == kept

    try:
        assert without_rights(use)
    finally:
        subprocess.run(["chmod", "-R", "u+w", place], check=True)
        shutil.rmtree(place)


@pytest.mark.parametrize("place", ["file", "file/store"])
def test_where_no_folder_can_be_made_results_are_kept_in_memory(tmp_path: Path, opener: Opener, place: str) -> None:
    (tmp_path / "file").write_text("in the way")
    opener.folder = tmp_path / place
    store = opener()
    record = keep(store, "drawn", Jotting("an apple"))
    assert store.lookup(record.key) == record
    assert store.has(ref_to(Jotting("an apple")))
    assert len(opener.said) == 1
    assert opener.said[0].endswith("results are kept in memory only")
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_folder_that_vanishes_under_a_run_is_no_reason_to_fail(opener: Opener) -> None:
    store = opener()
    record = keep(store, "drawn", Jotting(LARGE))
    shutil.rmtree(opener.folder)
    for number in range(3):
        keep(store, number, Jotting(f"{LARGE}{number}"))
        keep(store, f"small {number}", Jotting(f"{number}"))
    assert store.lookup(record.key) == record
    assert store.value(ref_to(Jotting(f"{LARGE}2"))) == Jotting(f"{LARGE}2")
    assert len(opener.said) == 1


def test_a_store_made_by_a_newer_release_is_refused_and_not_touched(tmp_path: Path) -> None:
    opener = Opener(tmp_path / "store")
    keep(opener(), "drawn", Jotting("an apple"), Jotting(LARGE))
    opener.close()
    connection = sqlite3.connect(opener.folder / "index.sqlite")
    connection.execute(f"PRAGMA user_version={FORMAT + 1}")
    connection.close()
    before = contents(opener.folder)
    with pytest.raises(StoreError) as refused:
        open_store(opener.folder)
    assert str(refused.value) == (
        f"the store {opener.folder} was made by a newer release of latentgraph (format {FORMAT + 1}, this one knows"
        f" {FORMAT}); update latentgraph, or name another folder with --store"
    )
    assert contents(opener.folder) == before


def test_a_store_that_a_newer_release_takes_over_is_left_to_it(opener: Opener) -> None:
    store = opener(memory=0)
    keep(store, "drawn")
    assert store._disk is not None
    store.close()
    connection = sqlite3.connect(opener.folder / "index.sqlite")
    connection.execute(f"PRAGMA user_version={FORMAT + 1}")
    connection.close()
    before = contents(opener.folder)
    record = result("another")
    store.keep(record, {})
    assert store.lookup(key_of("drawn")) is None
    assert contents(opener.folder) == before
    assert "newer release" in opener.said[0]
