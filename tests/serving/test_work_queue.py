"""Clients get their turn one after the other; long tasks give theirs to the others."""

import threading
import time

import pytest

from ecg_siglip.core.work_limit import WorkLimit, checkpoint
from ecg_siglip.serving import work_queue
from ecg_siglip.serving.work_queue import WorkQueue

N_IN_PROGRESS, N_OF_CLIENT = 4, 2


class TooLateError(Exception):
    """What a task raises whose time is over."""


@pytest.fixture
def queue():
    queue = WorkQueue(TooLateError, N_IN_PROGRESS, N_OF_CLIENT)
    yield queue
    queue.close()


def submit(queue, task, client="a", limit_s=30.0):
    return queue.submit(task, WorkLimit(limit_s), client)


def long_task():
    while True:
        checkpoint()
        time.sleep(0.005)


def test_results_and_errors_arrive(queue):
    assert submit(queue, lambda: 7).result(10) == 7
    with pytest.raises(ZeroDivisionError):
        submit(queue, lambda: 1 // 0).result(10)
    with pytest.raises(TooLateError):
        submit(queue, long_task, limit_s=0.1).result(10)


def test_clients_get_their_turn_one_after_the_other(queue):
    gate, order = threading.Event(), []
    blocked = [submit(queue, lambda: gate.wait(20), client=f"x{i}") for i in range(N_IN_PROGRESS)]
    tasks = [submit(queue, lambda i=i: order.append(f"a{i}")) for i in range(5)]
    tasks += [submit(queue, lambda i=i: order.append(f"b{i}"), client="b") for i in range(2)]
    gate.set()
    for task in [*blocked, *tasks]:
        task.result(20)
    assert order.index("b0") < order.index("a2") and order.index("b1") < order.index("a4")
    assert [each for each in order if each[0] == "a"] == [f"a{i}" for i in range(5)]


def test_long_tasks_of_one_client_delay_the_others_by_a_moment(queue, monkeypatch):
    monkeypatch.setattr(work_queue, "TURN_S", 0.02)
    long = [submit(queue, long_task, limit_s=20) for _ in range(3 * N_OF_CLIENT)]
    start = time.monotonic()
    assert [submit(queue, lambda i=i: i, client="b").result(10) for i in range(5)] == [*range(5)]
    assert time.monotonic() - start < 5
    assert not any(each.done() for each in long)


def test_one_task_runs_at_a_time(queue, monkeypatch):
    monkeypatch.setattr(work_queue, "TURN_S", 0.0)
    running, together = [], []

    def task():
        for _ in range(20):
            checkpoint()
            running.append(1)
            together.append(len(running))
            time.sleep(0.001)
            running.pop()

    for each in [submit(queue, task, client=f"{i}") for i in range(8)]:
        each.result(20)
    assert set(together) == {1}


def test_cancelled_tasks_leave_the_queue_at_once(queue):
    gate = threading.Event()
    blocked = [submit(queue, lambda: gate.wait(20)) for _ in range(N_OF_CLIENT)]
    for _ in range(100):
        assert submit(queue, lambda: 1).cancel()
    assert not queue._waiting
    gate.set()
    assert all(each.result(20) for each in blocked)


def test_closing_stops_what_runs_and_cancels_what_waits(queue):
    running = submit(queue, long_task)
    waiting = [submit(queue, long_task) for _ in range(5)]
    time.sleep(0.05)
    queue.close()
    with pytest.raises(TooLateError):
        running.result(10)
    assert all(each.cancelled() or each.exception() for each in waiting)


def test_a_client_alone_has_all_places_and_one_less_among_others(monkeypatch):
    monkeypatch.setattr(work_queue, "RECENT_S", 60.0)
    queue = WorkQueue(TooLateError, 3, 2, in_turns=False)
    gate, running = threading.Event(), []

    def task(client):
        running.append(client)
        gate.wait(20)
        running.remove(client)

    def started(n):
        end = time.monotonic() + 10
        while len(running) < n and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.1)
        return sorted(running)

    alone = [submit(queue, lambda: task("a")) for _ in range(4)]
    assert started(2) == ["a", "a"]
    gate.set()
    for each in alone:
        each.result(10)
    gate.clear()
    others = [submit(queue, lambda: task("b"), client="b") for _ in range(3)]
    others += [submit(queue, lambda: task("a")) for _ in range(3)]
    assert started(2) == ["a", "b"]
    gate.set()
    for each in others:
        each.result(10)
    queue.close()
