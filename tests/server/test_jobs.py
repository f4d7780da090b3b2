"""Jobs in the database: who comes first, what is kept once, what becomes of jobs whose worker has died."""

import json
import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentgraph.server.queue.database import SCHEMA
from latentgraph.server.queue.jobs import OVERTAKING, Claimed, Jobs, KeyReused, QueueFull, Submission

DONE = {"event": "run_finished", "status": "done", "computed": ["a"], "outputs": {"x": 1}}


class Queue:
    """A database in memory, and the changes that a server makes to it."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.row_factory = sqlite3.Row
        self.connection.executescript(SCHEMA)
        self.changed: set[tuple[str, str]] = set()
        self.jobs = Jobs(self.changed.add)

    def submit(self, owner: str = "ann", *, most: int = 10_000, models: tuple[str, ...] = (), **more: object) -> str:
        submission = Submission(owner, "graph", "text", "digest", {}, {}, "body", affinity=models)
        submission = Submission(**{**vars(submission), **more})  # type: ignore[arg-type]
        return self.jobs.submit(self.connection, submission, most)[0]

    def claim(self, *held: tuple[str, ...]) -> Claimed:
        found = self.jobs.claim(self.connection, held or ((),))
        assert found is not None
        return found[0]

    def claimed(self) -> list[str]:
        """The ids of all queued jobs, in the order in which one worker would take them."""
        found = []
        while (next_ := self.jobs.claim(self.connection, [()])) is not None:
            found.append(next_[0].id)
        return found

    def row(self, job: str) -> sqlite3.Row:
        return self.connection.execute("select * from jobs where id = ?", (job,)).fetchone()

    def events(self, job: str) -> list[tuple[int, str]]:
        rows = self.connection.execute("select seq, body from events where job = ? order by cursor", (job,))
        return [(row["seq"], json.loads(row["body"])["event"]) for row in rows]


@pytest.fixture
def queue() -> Iterator[Queue]:
    found = Queue()
    yield found
    found.connection.close()


def test_jobs_of_one_owner_are_taken_in_the_order_in_which_they_came(queue: Queue) -> None:
    jobs = [queue.submit() for _ in range(20)]
    assert queue.claimed() == jobs


def test_whoever_queues_a_thousand_jobs_keeps_nobody_waiting(queue: Queue) -> None:
    many = [queue.submit("ann") for _ in range(1000)]
    for job in many[:10]:
        assert queue.claim().id == job
    late = queue.submit("bob")
    order = queue.claimed()
    assert order.index(late) <= 1


@given(st.lists(st.sampled_from("abc"), max_size=60))
def test_owners_with_jobs_waiting_take_turns(owners: list[str]) -> None:
    queue = Queue()
    owner_of = {queue.submit(owner): owner for owner in owners}
    taken = [owner_of[job] for job in queue.claimed()]
    assert sorted(taken) == sorted(owners)
    left = {owner: owners.count(owner) for owner in "abc"}
    round_: list[str] = []
    for owner in taken:
        if owner in round_:
            # Somebody comes a second time only when everybody who still has jobs came once.
            assert all(left[other] == 0 for other in "abc" if other not in round_)
            round_ = []
        round_.append(owner)
        left[owner] -= 1
    queue.connection.close()


def test_higher_priority_comes_first_whoever_has_it(queue: Queue) -> None:
    low, usual, high = (queue.submit(priority=priority) for priority in (-1, 0, 3))
    assert queue.claimed() == [high, usual, low]


def test_a_job_goes_to_the_worker_that_holds_its_models(queue: Queue) -> None:
    queue.submit(models=("LoadModel(name=b)",))
    found = queue.jobs.claim(queue.connection, [("LoadModel(name=a)",), ("LoadModel(name=b)",)])
    assert found is not None
    assert found[1] == 1


def test_a_worker_prefers_what_it_holds_but_nobody_is_overtaken_for_long(queue: Queue) -> None:
    first = queue.submit(models=("a",))
    for _ in range(100):
        queue.submit(models=("b",))
    before = 0
    while queue.claim(("b",)).id != first:
        before += 1
    assert 0 < before <= OVERTAKING


def test_the_same_key_gives_the_same_job(queue: Queue) -> None:
    job = queue.submit(key="k")
    assert queue.submit(key="k") == job
    assert queue.submit("bob", key="k") != job
    assert len(queue.claimed()) == 2
    assert queue.submit(key="k") == job


def test_a_key_cannot_stand_for_two_submissions(queue: Queue) -> None:
    queue.submit(key="k")
    with pytest.raises(KeyReused):
        queue.submit(key="k", body="another")


def test_a_full_queue_is_full_for_its_owner_alone(queue: Queue) -> None:
    for _ in range(3):
        queue.submit(most=3)
    with pytest.raises(QueueFull):
        queue.submit(most=3)
    queue.submit("bob", most=3)
    queue.claim()
    queue.submit(most=3)


def test_a_job_ends_once(queue: Queue) -> None:
    job = queue.submit()
    queue.claim()
    assert queue.jobs.finish(queue.connection, job, DONE, [{"event": "output"}])
    assert not queue.jobs.finish(queue.connection, job, {**DONE, "status": "failed"})
    assert queue.jobs.cancel(queue.connection, job) == "done"
    queue.jobs.interrupted(queue.connection, job, "late", 3)
    assert queue.events(job) == [(1, "queued"), (2, "output"), (3, "run_finished")]
    assert queue.row(job)["state"] == "done"
    assert json.loads(queue.row(job)["outputs"]) == {"x": 1}


def test_a_queued_job_is_cancelled_at_once(queue: Queue) -> None:
    job = queue.submit()
    assert queue.jobs.cancel(queue.connection, job) == "cancelled"
    assert queue.jobs.cancel(queue.connection, job) == "cancelled"
    assert queue.claimed() == []
    assert queue.events(job) == [(1, "queued"), (2, "run_finished")]


def test_a_job_whose_worker_died_is_next_again(queue: Queue) -> None:
    job, _ = queue.submit(), queue.submit()
    assert queue.claim().attempt == 1
    assert queue.jobs.interrupted(queue.connection, job, "killed", 3)
    again = queue.claim()
    assert (again.id, again.attempt) == (job, 2)
    assert queue.events(job) == [(1, "queued"), (2, "interrupted")]


def test_a_job_that_kills_its_workers_has_failed_after_the_third(queue: Queue) -> None:
    job = queue.submit()
    for expected in (True, True, False):
        queue.claim()
        assert queue.jobs.interrupted(queue.connection, job, "killed", 3) is expected
    assert queue.row(job)["state"] == "failed"
    assert "ended 3 times" in queue.row(job)["error"]
    assert [name for _, name in queue.events(job)].count("run_finished") == 1


def test_a_server_that_ends_is_not_the_fault_of_its_jobs(queue: Queue) -> None:
    job = queue.submit()
    for _ in range(10):
        queue.claim()
        assert queue.jobs.interrupted(queue.connection, job, "the server ended", None)
    assert queue.row(job)["state"] == "queued"


def test_a_job_that_was_being_cancelled_when_its_worker_died_is_cancelled(queue: Queue) -> None:
    job = queue.submit()
    queue.claim()
    assert queue.jobs.cancel(queue.connection, job) == "cancelling"
    queue.jobs.interrupted(queue.connection, job, "the server ended", None)
    assert queue.row(job)["state"] == "cancelled"


def test_what_is_forgotten_leaves_nothing_but_how_far_it_went(queue: Queue) -> None:
    job, other = queue.submit(), queue.submit()
    queue.claim()
    queue.jobs.finish(
        queue.connection, job, DONE, files=[{"file": "a.png", "digest": "d", "media": "image/png", "size": 3}]
    )
    (cursor,) = queue.connection.execute("select max(cursor) from events where job = ?", (job,)).fetchone()
    queue.jobs.delete(queue.connection, [job])
    assert queue.row(job) is None
    assert queue.connection.execute("select count(*) from outputs").fetchone()[0] == 0
    (forgotten,) = queue.connection.execute("select value from meta where name = 'forgotten'").fetchone()
    assert int(forgotten) == cursor
    assert queue.events(other) == [(1, "queued")]


def test_ids_sort_in_the_order_in_which_they_were_given(queue: Queue) -> None:
    ids = [queue.jobs.new_id() for _ in range(1000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 1000
