"""Work ends at its deadline or when it is stopped; without a limit it goes on."""

import math
import threading
import time

import pytest

from ecg_siglip.core.helper_process import HelperProcess
from ecg_siglip.core.work_limit import (
    WorkLimit,
    WorkStopped,
    check_stopped,
    limited_by,
    time_left_s,
)


def test_work_ends_at_its_deadline():
    check_stopped()
    assert time_left_s() == math.inf
    with limited_by(WorkLimit(0.05)):
        check_stopped()
        assert 0 < time_left_s() <= 0.05
        time.sleep(0.06)
        with pytest.raises(WorkStopped):
            check_stopped()
    check_stopped()


def test_another_thread_stops_the_work():
    limit, steps = WorkLimit(60), []

    def loop():
        while True:
            steps.append(1)
            check_stopped()
            time.sleep(0.001)

    def work():
        with limited_by(limit), pytest.raises(WorkStopped):
            loop()

    thread = threading.Thread(target=work)
    thread.start()
    limit.stop()
    thread.join(10)
    assert not thread.is_alive() and steps


def test_the_error_of_one_record_does_not_hide_it():
    assert not issubclass(WorkStopped, Exception)


def test_a_library_in_another_process_ends_with_the_work():
    helper = HelperProcess("this", 60)  # its module prints a poem and ends
    try:
        with limited_by(WorkLimit(0)), pytest.raises(WorkStopped):
            helper.request(b"")
        assert helper._process is None, "not even started"
    finally:
        helper.close()
