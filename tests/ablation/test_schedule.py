"""Tasks and slots, without any process."""

import threading
import time

import pytest

from myna_rpe.ablation.schedule import run_in_slots


class Watched:
    """Work that says where it is; `stop` and `kill` let it end."""

    def __init__(self) -> None:
        self.guard = threading.Lock()
        self.started: list[int] = []
        self.slots: set[int] = set()
        self.most = 0
        self.clashes = 0
        self.released = threading.Event()
        self.asked: list[str] = []

    def work(self, task: int, slot: int, *, waits: bool = False) -> None:
        with self.guard:
            self.started.append(task)
            self.clashes += slot in self.slots
            self.slots.add(slot)
            self.most = max(self.most, len(self.slots))
        if waits:
            self.released.wait(30)
        time.sleep(0.01)
        with self.guard:
            self.slots.discard(slot)

    def run(self, tasks, work, *, slots=2, stopped=lambda: False) -> list[int]:
        ended = []

        def told(running, task) -> None:
            assert len(running) <= slots
            if task is not None:
                ended.append(task)

        def let_go(how: str) -> None:
            self.asked.append(how)
            self.released.set()

        run_in_slots(
            tasks,
            work,
            slots=slots,
            told=told,
            stopped=stopped,
            stop=lambda: let_go("stop"),
            kill=lambda: let_go("kill"),
        )
        return ended


def test_every_task_is_done_once_and_a_slot_does_one_at_a_time():
    watched = Watched()
    ended = watched.run(list(range(20)), watched.work, slots=3)
    assert sorted(ended) == sorted(watched.started) == list(range(20))
    assert watched.most == 3
    assert watched.clashes == 0
    assert watched.asked == []


def test_one_slot_keeps_the_order():
    watched = Watched()
    assert watched.run([3, 1, 2], watched.work, slots=1) == [3, 1, 2]


def test_without_tasks_nothing_happens():
    assert Watched().run([], pytest.fail) == []


def test_after_a_stop_no_task_is_started_and_the_running_ones_are_asked_to_end():
    watched = Watched()
    ended = watched.run(
        list(range(9)),
        lambda task, slot: watched.work(task, slot, waits=True),
        stopped=lambda: bool(watched.started),
    )
    assert sorted(ended) == [0, 1]
    assert watched.asked == ["stop"]


def test_an_error_ends_what_runs_beside_it():
    watched = Watched()

    def work(task: int, slot: int) -> None:
        if task == 0:
            raise OSError("disk full")
        watched.work(task, slot, waits=True)

    with pytest.raises(OSError, match="disk full"):
        watched.run([0, 1], work)
    assert watched.asked == ["kill"]
