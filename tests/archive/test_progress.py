"""Progress in a log: how many of how many, how fast, how long."""

from ecg_siglip.archive import progress
from ecg_siglip.archive.progress import Progress


def test_a_line_has_the_rate_of_this_session_and_the_time_left():
    with Progress(1000, 100) as shown:
        shown.n_done = 300
        assert shown.line(10.0) == "predict: 300 of 1,000 records (30%), 20 per second, 1 min left"


def test_lines_come_now_and_then_and_never_count_too_many(monkeypatch, capsys):
    monkeypatch.setattr(progress, "FIRST_S", 0.0)
    with Progress(10, 0, n_processes=3) as shown:
        for _ in range(4):
            shown.add(3)
        assert shown.n_done == 10
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("predict: 9 of 10 records")
    with Progress(10, shown=False) as hidden:
        hidden.add(10)
    assert capsys.readouterr().err == ""
