"""A long record is answered window by window, with never more than a batch of them in memory."""

import json

import numpy as np
import pytest
from helpers import configured, rewritten
from scipy.special import expit, logit

from ecg_siglip.config import PredictConfig
from ecg_siglip.datasets import ptbxl
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.inference.sliding_window import (
    Timeline,
    Windows,
    predict_windows,
    representative_window,
    window_starts,
)
from ecg_siglip.predict import predict
from ecg_siglip.readers.record import Record, Source, open_record, read_record
from ecg_siglip.signals.leads import LEADS
from ecg_siglip.simulation import dataset


def seen(log_odds, starts_s=None, skipped=()):
    log_odds = np.array(log_odds, float)
    at = 10.0 * np.arange(len(log_odds)) if starts_s is None else np.array(starts_s, float)
    step_s = float(np.diff(at).min()) if len(at) > 1 else None
    return Windows(at, 10.0, expit(log_odds), skipped, step_s=step_s)


@pytest.mark.parametrize(("n", "step"), [(10, 10), (12, 10), (30, 10), (31, 10), (57, 3), (90, 40)])
def test_the_windows_begin_at_the_beginning_and_end_at_the_end(n, step):
    found = window_starts(n, 10, step)
    assert found[0] == 0 and found[-1] == n - 10
    assert (np.diff(found) <= step).all() and (np.diff(found) > 0).all()
    assert window_starts(n, 10, step, tolerance=step)[-1] <= n - 10


@pytest.mark.parametrize(("sustained_s", "n_run"), [(0, 1), (10, 1), (29, 2), (30, 3), (1000, 8)])
def test_the_whole_is_the_stretch_that_speaks_most_for_a_finding(sustained_s, n_run):
    log_odds = np.random.default_rng(0).normal(-1, 2, (8, 4))
    overall, best = seen(log_odds).overall(sustained_s)
    for f in range(4):
        runs = [log_odds[i : i + n_run, f].mean() for i in range(9 - n_run)]
        assert logit(overall[f]) == pytest.approx(max(runs))
        first = int(np.argmax(runs))
        assert best[f] == first + log_odds[first : first + n_run, f].argmax()


def test_a_finding_of_half_a_minute_is_found_and_one_of_a_moment_is_not():
    log_odds = np.full((60, 2), -3.0)
    log_odds[20:23, 0] = 3.0
    log_odds[40, 1] = 3.0
    overall, best = seen(log_odds).overall(30)
    assert overall[0] > 0.9 and best[0] in (20, 21, 22)
    assert overall[1] < 0.5 and best[1] == 40
    assert seen(log_odds).overall(10)[0].min() > 0.9


def test_windows_that_overlap_count_by_their_time():
    log_odds = np.random.default_rng(1).normal(0, 1, (11, 1))
    overall, _ = seen(log_odds, 5.0 * np.arange(11)).overall(30)  # five windows in 30 s
    assert logit(overall[0]) == pytest.approx(max(log_odds[i : i + 5].mean() for i in range(7)))


def test_the_window_shown_has_what_the_others_have_not():
    p = np.full((10, 3), 0.01)
    p[:, 0] = 0.95
    p[2, 0] = 0.99
    p[6:8, 1] = [0.8, 0.85]
    half = np.full(3, 0.5)
    assert representative_window(p, half, np.array([True, True, False])) == 7
    assert representative_window(p, half, np.array([True, False, False])) == 2
    p[4, 2] = 0.4
    assert representative_window(p[:, 1:], half[1:], np.zeros(2, bool)) == 7


def test_a_course_tells_from_when_to_when():
    found = seen(np.zeros((4, 2)), [0, 10, 30, 40], skipped=[(20.0, "flat lead V1")])
    present = np.array([[1, 0], [1, 0], [1, 1], [0, 0]], bool)
    course = Timeline(found, ("SR", "AFIB"), present, np.array([1, 2]), shown=2)
    assert course.stretches("SR") == [(0.0, 20.0), (30.0, 40.0)]
    assert course.stretches("AFIB") == [(30.0, 40.0)]
    assert course.at_s("AFIB") == 30.0
    assert "0:00:30 to 0:00:40, window 4 of 5" in course.note()
    assert [window["start_s"] for window in course.to_json()] == [0, 10, 20, 30, 40]
    assert course.to_json()[2] == {"start_s": 20.0, "end_s": 30.0, "skipped": "flat lead V1"}
    assert course.to_json()[3]["findings"] == {"SR": 0.5, "AFIB": 0.5}


def test_never_more_than_a_batch_is_held_and_what_is_bad_is_left_out():
    asked, held = [], []

    def piece(first, last):
        asked.append((first, last))
        if first == 2000:
            raise ValueError("record r: flat lead V1")
        return Record("r", np.full((12, last - first), first, np.float32), 100.0, LEADS, ())

    def probabilities(signals):
        held.append(len(signals))
        return np.full((len(signals), 2), 0.5)

    def look_at(n_samples, prepare=lambda record: record.signal):
        source = Source("r", 100.0, n_samples, piece)
        noisy = lambda record: ["noise in V1 (0.1 mV)"] if record.signal[0, 0] < 2000 else []  # noqa: E731
        return predict_windows(source, 10.0, 10.0, 4, prepare, probabilities, noisy)

    found = look_at(10_500)
    assert max(held) == 4 and sum(held) == 10
    assert {last - first for first, last in asked} == {1000}
    assert asked[-1] == (9500, 10_500)
    assert list(found.skipped) == [(20.0, "flat lead V1")]
    assert found.duration_s == 105.0
    assert found.warnings[0].startswith("1 of 11 windows were left out, the first at 0:00:20: flat")
    assert found.warnings[1] == "noise in V1 (in 2 of 11 windows)"

    def refuse(record):
        raise ValueError("record r: no ECG")

    with pytest.raises(ValueError, match="record r: none of its 3 windows can be used.*: no ECG"):
        look_at(3000, refuse)


# ------------------------------------------------------------------------------ with a model


@pytest.fixture(scope="module")
def parts(simulated):
    """Paths of three records, and one of 30 s that is made of them."""
    return [simulated / name for name in ptbxl.read_metadata(simulated)["filename_lr"].iloc[:3]]


@pytest.fixture
def joined(parts, tmp_path):
    signal = np.concatenate([read_record(path).signal for path in parts], axis=1)
    return rewritten(parts[0], tmp_path, "joined", p_signal=signal.T.astype(float))


@pytest.fixture
def ask(trained, capsys):
    def run(*paths, **knobs):
        base = {"run.name": trained.name, "run.root": str(trained.parent), "device": "cpu"}
        settings = configured(PredictConfig, base | knobs | {"records": [str(p) for p in paths]})
        code = predict(settings)
        out, err = capsys.readouterr()
        return code, [json.loads(line) for line in out.splitlines()], err

    return run


def test_each_window_gets_the_answer_of_a_record_of_its_own(ask, parts, joined):
    code, answers, _ = ask(*parts, joined, threshold_rule="f1")
    assert code == 0
    *alone, whole = answers
    times = [(w["start_s"], w["end_s"]) for w in whole["windows"]]
    assert times == [(0, 10), (10, 20), (20, 30)]
    for window, answer in zip(whole["windows"], alone, strict=True):
        expected = {f["code"]: f["probability"] for f in answer["findings"]}
        assert window["findings"] == pytest.approx(expected, abs=1e-3)
    p = np.array([list(answer["probabilities"].values()) for answer in alone])
    mean = expit(logit(p.clip(1e-6, 1 - 1e-6)).mean(axis=0))
    assert list(whole["probabilities"].values()) == pytest.approx(mean.tolist(), abs=1e-3)
    for finding in whole["findings"]:
        column = list(whole["probabilities"]).index(finding["code"])
        assert finding["at_s"] == 10.0 * p[:, column].argmax()
    assert "windows" not in alone[0]


def test_any_window_is_enough_if_nothing_has_to_last(ask, parts, joined):
    _, (*alone, whole), _ = ask(*parts, joined, **{"windows.sustained_s": 0.0})
    most = np.max([list(answer["probabilities"].values()) for answer in alone], axis=0)
    assert list(whole["probabilities"].values()) == pytest.approx(most.tolist(), abs=1e-3)


def test_windows_may_overlap_and_the_batch_size_changes_nothing(ask, joined):
    _, (a,), _ = ask(joined, **{"windows.step_s": 2.5})
    _, (b,), _ = ask(joined, **{"windows.step_s": 2.5, "batch_size": 2})
    assert [w["start_s"] for w in a["windows"]] == [2.5 * i for i in range(9)]
    assert a["probabilities"] == pytest.approx(b["probabilities"], abs=1e-5)


def test_a_bad_stretch_is_left_out_and_a_bad_record_refused(ask, joined, tmp_path):
    signal = read_record(joined).signal.T.astype(float)
    signal[1200:1300, 7] = np.nan
    bad = rewritten(joined, tmp_path, "part", p_signal=signal)
    code, (answer,), _ = ask(bad)
    assert code == 0
    assert "NaN or infinity in lead" in answer["windows"][1]["skipped"]
    assert answer["warnings"][0].startswith("1 of 3 windows were left out, the first at 0:00:10")
    signal[:, 7] = 0.1
    code, answers, err = ask(rewritten(joined, tmp_path, "whole", p_signal=signal), joined)
    assert (code, len(answers)) == (1, 1)
    assert "predict: record whole: none of its 3 windows can be used; the first: flat" in err


def test_the_sheet_shows_one_window_and_says_which(ask, joined, tmp_path):
    for name in ("out.html", "out.pdf"):
        ask(joined, report=str(tmp_path / name), operating_point="screening")
    page = (tmp_path / "out.html").read_text("utf-8")
    assert page.count("<h1>") == 1
    assert "of 3, the one that speaks most for the findings of the whole record." in page
    assert 'class="span"' in page


# ------------------------------------------------------------------------- pieces of a record


@pytest.mark.parametrize("fmt", ["16", "212", "32"])
def test_a_piece_is_what_the_whole_has_there(parts, tmp_path, fmt):
    signal = np.tile(read_record(parts[0]).signal, 7).T.astype(float)
    long = rewritten(parts[0], tmp_path, "long", p_signal=signal, fmt=[fmt] * 12)
    whole, source = read_record(long), open_record(long)
    assert (source.name, source.fs, source.n_samples) == ("long", 100.0, 7000)
    for first, last in ((0, 1000), (1234, 2345), (6000, 7000)):
        piece = source.piece(first, last)
        assert (piece.name, piece.fs, piece.leads) == (whole.name, whole.fs, whole.leads)
        assert np.array_equal(piece.signal, whole.signal[:, first:last])


def test_any_other_record_gives_its_pieces_too(parts, tmp_path):
    record = read_record(parts[0])
    path = tmp_path / "a.npz"
    np.savez(path, signal=record.signal, fs=record.fs, leads=record.leads, units="mV")
    for source in (open_record(parts[0]), open_record(path)):
        assert source.duration_s == 10.0
        assert np.array_equal(source.piece(100, 300).signal, record.signal[:, 100:300])


def test_a_record_too_large_to_be_read_whole_is_read_in_pieces(tmp_path):
    """A day of 500 Hz: 1 GB, which as a file of zeros takes no place on the disk."""
    signal = np.arange(12_000).reshape(12, 1000).astype(np.int16)
    dataset.write_wfdb(tmp_path / "day", signal, 500)
    n_samples, first = 24 * 3600 * 500, 20_000_000
    header, data = tmp_path / "day.hea", tmp_path / "day.dat"
    header.write_text(header.read_text().replace("12 500 1000", f"12 500 {n_samples}"))
    samples = data.read_bytes()
    with data.open("wb") as file:
        file.truncate(24 * n_samples)
        file.seek(24 * first)
        file.write(samples)
    with pytest.raises(ValueError, match="record day: the header promises"):
        read_record(tmp_path / "day")
    source = open_record(tmp_path / "day")
    assert source.duration_s == 24 * 3600
    piece = source.piece(first, first + 1000)
    assert np.array_equal(np.rint(1000 * piece.signal), signal)
    data.write_bytes(samples)
    with pytest.raises(ValueError, match=r"record day: day\.dat is truncated"):
        open_record(tmp_path / "day")


def test_what_contradicts_the_file_is_refused_in_pieces_too(parts, tmp_path):
    signal = np.tile(read_record(parts[0]).signal, 7).T.astype(float)
    long = rewritten(parts[0], tmp_path, "long", p_signal=signal)
    with pytest.raises(ValueError, match=r"record long: .*contradicts read\.fs=500"):
        open_record(long, fs=500)
    with pytest.raises(ValueError, match=r"record long: .*contradicts read\.units=V"):
        open_record(long, units="V").piece(0, 1000)


def test_the_parts_can_be_used_from_python(trained, joined):
    predictor = Predictor.load(trained / "model", "cpu")
    found = predict_windows(
        open_record(joined), 10.0, 5.0, 8, predictor.prepare, predictor.probabilities,
        lambda record: [],
    )  # fmt: skip
    overall, _ = found.overall()
    assert found.probabilities.shape == (5, len(predictor.artifact.codes))
    assert overall.shape == (len(predictor.artifact.codes),)


def test_what_lies_beyond_a_gap_is_no_part_of_a_stretch():
    p = np.array([0.05, 0.05, 0.99, 0.99, 0.99, 0.05])[:, None]
    gapped = Windows(np.array([0.0, 10, 20, 5000, 5010, 5020]), 10.0, p)
    whole = Windows(np.arange(6) * 10.0, 10.0, p)
    assert whole.overall(30.0)[0] == pytest.approx(0.99)
    assert gapped.overall(30.0)[0] < 0.9  # the best 30 s on end: two with, one without
    assert gapped.overall(20.0)[0] == pytest.approx(0.99)
    alone = Windows(np.array([0.0, 100.0, 200.0]), 10.0, p[:3])
    probability, best = alone.overall(30.0)
    assert (probability[0], best[0]) == (pytest.approx(0.99), 2)
