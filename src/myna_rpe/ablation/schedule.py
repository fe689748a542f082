"""Many tasks in a few slots, each slot doing one at a time."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

Task = TypeVar("Task")

# How often somebody is told, and asked whether to stop.
_SECONDS = 0.25


def run_in_slots(
    tasks: Sequence[Task],
    work: Callable[[Task, int], None],
    *,
    slots: int,
    told: Callable[[Sequence[Task], Task | None], None],
    stopped: Callable[[], bool],
    stop: Callable[[], None],
    kill: Callable[[], None],
) -> None:
    """Do all tasks, in their order, each in a thread and in whichever slot is free.

    Args:
        tasks: what is to be done.
        work: does one, in the slot of that number, from 0.
        slots: tasks at a time; >= 1.
        told: in this thread, which tasks are running, and which one has just ended: whenever that
            changes, and a few times a second.
        stopped: asked a few times a second; once it is true no task is started.
        stop: called once then; the running tasks are to end soon.
        kill: called where this is left by an error, or by Ctrl-C a second time.
    """
    waiting, free = deque(tasks), deque(range(slots))
    running: dict[Future[None], tuple[Task, int]] = {}
    stopping = False
    with ThreadPoolExecutor(slots) as pool:
        try:
            while running or (waiting and not stopping):
                if not stopping and stopped():
                    stopping = True
                    stop()
                while waiting and free and not stopping:
                    task, slot = waiting.popleft(), free.popleft()
                    running[pool.submit(work, task, slot)] = (task, slot)
                told([task for task, _ in running.values()], None)
                ended, _ = wait(running, timeout=_SECONDS, return_when=FIRST_COMPLETED)
                for future in ended:
                    task, slot = running.pop(future)
                    free.appendleft(slot)
                    future.result()
                    told([task for task, _ in running.values()], task)
        except BaseException:
            kill()
            raise
