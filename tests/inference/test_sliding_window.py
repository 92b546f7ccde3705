"""Long records are predicted window by window, with at most one batch of windows in memory."""

import json
from dataclasses import replace

import numpy as np
import pytest
from helpers import SHARED, configured, rewritten
from scipy.special import expit, logit

from ecg_siglip.config import PredictConfig
from ecg_siglip.datasets import ptbxl
from ecg_siglip.inference.pipeline import apply_decision_rule, predict_records
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.inference.sliding_window import (
    bridge_gaps,
    chosen_windows,
    predict_windows,
    window_starts,
)
from ecg_siglip.metrics.consistency import consistent, evidence
from ecg_siglip.predict import predict
from ecg_siglip.readers.record import Record, Source, open_record, read_record
from ecg_siglip.signals.gaps import fill_gaps
from ecg_siglip.signals.leads import LEADS
from ecg_siglip.vocabulary import Vocabulary


@pytest.mark.parametrize(("n", "step"), [(10, 10), (12, 10), (30, 10), (31, 10), (57, 3), (90, 40)])
def test_windows_cover_the_record_from_start_to_end(n, step):
    starts = window_starts(n, 10, step)
    assert starts[0] == 0 and starts[-1] == n - 10
    assert (np.diff(starts) <= step).all() and (np.diff(starts) > 0).all()
    assert window_starts(n, 10, step, tolerance=step)[-1] <= n - 10


def test_at_most_a_batch_is_in_memory_and_unusable_windows_are_skipped():
    requested, batches = [], []

    def piece(first, last):
        requested.append((first, last))
        if first == 2000:
            raise ValueError("record r: flat lead V1")
        return Record("r", np.full((12, last - first), first, np.float32), 100.0, LEADS, ())

    def probabilities(signals):
        batches.append(len(signals))
        return np.full((len(signals), 2), 0.5)

    def windows_of(n_samples, prepare=lambda record: record.signal):
        source = Source("r", 100.0, n_samples, piece)
        noisy = lambda record: ["noise in V1 (0.1 mV)"] if record.signal[0, 0] < 2000 else []  # noqa: E731
        return predict_windows(source, 10.0, 10.0, 4, prepare, probabilities, noisy)

    windows = windows_of(10_500)
    assert max(batches) == 4 and sum(batches) == 10
    assert {last - first for first, last in requested} == {1000}
    assert requested[-1] == (9500, 10_500)
    assert list(windows.skipped) == [(20.0, "flat lead V1")]
    assert windows.duration_s == 105.0
    assert windows.warnings[0].startswith(
        "1 of 11 windows were left out, the first at 0:00:20: flat"
    )
    assert windows.warnings[1] == "noise in V1 (in 2 of 11 windows)"

    def refuse(record):
        raise ValueError("record r: no ECG")

    with pytest.raises(ValueError, match="record r: none of its 3 windows can be used.*: no ECG"):
        windows_of(3000, refuse)


@pytest.fixture(scope="module")
def parts(simulated):
    """Paths of three records."""
    return [simulated / name for name in ptbxl.read_metadata(simulated)["filename_lr"].iloc[:3]]


@pytest.fixture
def joined(parts, tmp_path):
    """A record of 30 s that is made of the three."""
    signal = np.concatenate([read_record(path).signal for path in parts], axis=1)
    return rewritten(parts[0], tmp_path, "joined", p_signal=signal.T.astype(float))


@pytest.fixture
def run_predict(trained, capsys):
    """Run the command; returns exit code, the lines of JSON, and stderr."""

    def run(*paths, **settings_by_name):
        base = {"run.name": trained.name, "run.root": str(trained.parent), "device": "cpu"}
        settings = configured(
            PredictConfig, base | settings_by_name | {"records": [str(p) for p in paths]}
        )
        code = predict(settings)
        out, err = capsys.readouterr()
        return code, [json.loads(line) for line in out.splitlines()], err

    return run


def test_each_window_is_predicted_as_a_record_of_its_own(run_predict, parts, joined):
    code, predictions, _ = run_predict(*parts, joined, threshold_rule="f1")
    assert code == 0
    *alone, whole = predictions
    times = [(w["start_s"], w["end_s"]) for w in whole["windows"]]
    assert times == [(0, 10), (10, 20), (20, 30)]
    for window, prediction in zip(whole["windows"], alone, strict=True):
        expected = {f["code"]: f["probability"] for f in prediction["findings"]}
        assert window["findings"] == pytest.approx(expected, abs=1e-3)
    p = np.array([list(prediction["probabilities"].values()) for prediction in alone])
    mean = expit(logit(p.clip(1e-6, 1 - 1e-6)).mean(axis=0))
    assert list(whole["probabilities"].values()) == pytest.approx(mean.tolist(), abs=1e-3)
    for finding in whole["findings"]:
        column = list(whole["probabilities"]).index(finding["code"])
        assert finding["at_s"] == 10.0 * p[:, column].argmax()
    assert "windows" not in alone[0]


def test_a_single_window_is_enough_if_nothing_has_to_be_sustained(run_predict, parts, joined):
    _, (*alone, whole), _ = run_predict(*parts, joined, **{"windows.sustained_s": 0.0})
    most = np.max([list(prediction["probabilities"].values()) for prediction in alone], axis=0)
    assert list(whole["probabilities"].values()) == pytest.approx(most.tolist(), abs=1e-3)


def test_windows_may_overlap_and_the_batch_size_does_not_matter(run_predict, joined):
    _, (a,), _ = run_predict(joined, **{"windows.step_s": 2.5})
    _, (b,), _ = run_predict(joined, **{"windows.step_s": 2.5, "batch_size": 2})
    assert [w["start_s"] for w in a["windows"]] == [2.5 * i for i in range(9)]
    assert a["probabilities"] == pytest.approx(b["probabilities"], abs=1e-5)


def test_a_bad_stretch_is_skipped_and_a_bad_record_is_an_error(run_predict, joined, tmp_path):
    signal = read_record(joined).signal.T.astype(float)
    signal[1200:1300, 7] = np.nan
    bad = rewritten(joined, tmp_path, "part", p_signal=signal)
    code, (prediction,), _ = run_predict(bad)
    assert code == 0
    assert "NaN or infinity in lead" in prediction["windows"][1]["skipped"]
    assert prediction["warnings"][0].startswith(
        "1 of 3 windows were left out, the first at 0:00:10"
    )
    signal[:, 7] = 0.1
    code, predictions, err = run_predict(
        rewritten(joined, tmp_path, "whole", p_signal=signal), joined
    )
    assert (code, len(predictions)) == (3, 1)
    assert "predict: record whole: none of its 3 windows can be used; the first: flat" in err


def test_a_gap_across_two_windows_is_judged_as_a_whole(run_predict, joined, tmp_path):
    signal = read_record(joined).signal.T.astype(float)
    signal[994:1006, 7] = np.nan  # 0.12 s: either half alone is short enough
    signal[1996:2005, 2] = np.nan
    bad = rewritten(joined, tmp_path, "across", p_signal=signal)
    (first, second, third), prediction = _windows(run_predict, bad)
    for window in (first, second):
        assert window["skipped"].startswith(
            "expected finite samples, got NaN or infinity in lead V2 for more than 0.1 s across an "
            "end of the window, expected gaps of at most 0.1 s"
        )
    assert "findings" in third
    assert prediction["warnings"][1] == "gaps in III interpolated (in 1 of 3 windows)"


def test_a_gap_that_is_read_in_pieces_is_filled_as_in_the_whole(trained, joined, tmp_path):
    signal = read_record(joined).signal.T.astype(float)
    signal[995:1004, 7] = np.nan
    source = open_record(rewritten(joined, tmp_path, "short", p_signal=signal))
    requested: list[tuple[int, int]] = []

    def piece(first, last):
        requested.append((first, last))
        return source.piece(first, last)

    bridged = [
        bridge_gaps(replace(source, piece=piece), source.piece(first, first + 1000), first)
        for first in (0, 1000, 2000)
    ]
    assert requested == [(1000, 1010), (990, 1000), (2000, 2010)]
    whole = np.concatenate([record.signal for record in bridged], axis=1)
    expected = fill_gaps(read_record(tmp_path / "short").signal, 100.0)
    np.testing.assert_allclose(whole, expected, atol=1e-6)


def test_channels_that_are_no_leads_may_have_gaps(joined):
    leads = (*LEADS[:11], "Pleth")
    signal = np.zeros((12, 3000), np.float32)
    signal[11, 900:1100] = np.nan
    piece = lambda first, last: Record("r", signal[:, first:last], 100.0, leads, ())  # noqa: E731
    window = piece(0, 1000)
    assert bridge_gaps(Source("r", 100.0, 3000, piece), window, 0) is window


def _windows(run_predict, path):
    """Return the windows and the prediction of a record with gaps."""
    _, (prediction,), _ = run_predict(path, **{"waveform.allow_gaps": True})
    return prediction["windows"], prediction


def test_the_report_shows_one_window_and_names_it(run_predict, joined, tmp_path):
    for name in ("out.html", "out.pdf"):
        run_predict(joined, report=str(tmp_path / name), operating_point="screening")
    page = (tmp_path / "out.html").read_text("utf-8")
    assert page.count("<h1>") == 1
    assert "of 3, the one that supports the findings of the whole record most." in page
    assert 'class="span"' in page


def test_windows_can_be_predicted_from_python(trained, joined):
    predictor = Predictor.load(trained / "model", "cpu")
    windows = predict_windows(
        open_record(joined), 10.0, 5.0, 8, predictor.prepare, predictor.probabilities,
        lambda record: [],
    )  # fmt: skip
    overall, _ = windows.overall()
    assert windows.probabilities.shape == (5, len(predictor.artifact.codes))
    assert overall.shape == (len(predictor.artifact.codes),)


def look(log_odds, step_s, sustained_s=30.0, unusable=()):
    """Predict windows of 10 s with known log-odds (W, F), some of which cannot be used."""

    def piece(first, last):
        if first // 1000 in unusable:
            raise ValueError("record r: flat lead V1")
        return Record("r", np.full((12, 1000), first, np.float32), 100.0, LEADS, ())

    def probabilities(signals):
        return expit(log_odds[signals[:, 0, 0].astype(int) // 1000])

    source = Source("r", 100.0, 1000 * len(log_odds), piece)
    return predict_windows(
        source, 10.0, step_s, 16, lambda record: record.signal, probabilities, lambda record: [],
        sustained_s,
    )  # fmt: skip


@pytest.mark.parametrize("n_windows", [2, 3, 7, 60, 61])
@pytest.mark.parametrize(("n_run", "n_step"), [(1, 6), (3, 2), (3, 6), (6, 6), (30, 6), (3, 600)])
def test_stretches_of_a_long_step_are_whole_and_reach_both_ends(n_windows, n_run, n_step):
    chosen = chosen_windows(n_windows, n_run, n_step)
    assert chosen[0] == 0 and chosen[-1] == n_windows - 1
    assert (np.diff(chosen) > 0).all()
    runs = np.split(chosen, np.flatnonzero(np.diff(chosen) > 1) + 1)
    assert min(map(len, runs)) >= min(n_run, n_windows)


@pytest.mark.parametrize("seed", range(40))
def test_a_longer_step_reports_nothing_that_the_default_does_not(seed):
    """Neither more findings nor a larger probability, also with gaps and findings that exclude."""
    rng = np.random.default_rng(seed)
    n_windows, n_findings = int(rng.integers(2, 90)), 5
    log_odds = rng.normal(-1, 2, (n_windows, n_findings)).round(1)
    sustained_s = float(rng.choice([0, 10, 20, 30, 60, 300]))
    unusable = set(np.flatnonzero(rng.random(n_windows) < rng.choice([0, 0.1, 0.5])).tolist())
    unusable.discard(int(rng.integers(n_windows)))
    exclusive = np.triu(rng.random((n_findings, n_findings)) < 0.4, 1)
    exclusive |= exclusive.T
    thresholds = rng.uniform(0.1, 0.9, n_findings)
    default = look(log_odds, 10.0, sustained_s, unusable)

    def present(p):
        none = np.zeros_like(exclusive)
        return consistent(p >= thresholds, evidence(p, thresholds), exclusive, none)

    everywhere, _ = default.sustained(present, sustained_s)
    for step_s in (10.0, 15.0, 20.0, 45.0, 60.0, 600.0, 86400.0):
        windows = look(log_odds, step_s, sustained_s, unusable)
        p = windows.overall(sustained_s)[0]
        assert (p <= default.overall(sustained_s)[0] + 1e-12).all()
        sustained, _ = windows.sustained(present, sustained_s)
        assert (sustained <= everywhere).all()
        assert (windows.n_used <= default.n_used) and windows.duration_s == default.duration_s


def test_a_moment_between_two_steps_is_no_finding_and_half_a_minute_at_a_step_is():
    log_odds = np.full((60, 2), -3.0)
    log_odds[12, 0] = 5.0
    log_odds[12:15, 1] = 3.0
    overall, best = look(log_odds, 60.0).overall()
    assert overall[0] < 0.5 and overall[1] > 0.9 and best[1] in (6, 7, 8)
    assert look(log_odds, 60.0).n_used == 33


def test_all_windows_are_predicted_if_no_stretch_is_whole():
    log_odds = np.full((60, 1), 2.0)
    unusable = set(range(0, 60, 6)) | {57, 58, 59}
    windows = look(log_odds, 60.0, 30.0, unusable)
    assert windows.n == 60
    with pytest.raises(ValueError, match="none of its 60 windows can be used"):
        look(log_odds, 60.0, 30.0, set(range(60)))


def test_excluded_findings_keep_their_probability_and_are_alternatives(
    trained, joined, monkeypatch
):
    """Also if the decision is made again at another operating point."""
    predictor = Predictor.load(trained / "model", "cpu")
    settings = configured(PredictConfig, {"run.name": "r", "operating_point": "screening"})
    n = len(predictor.artifact.codes)
    none, all_pairs = np.zeros((n, n), bool), ~np.eye(n, dtype=bool)
    monkeypatch.setattr(Vocabulary, "exclusive_pairs", lambda *_: none)
    (free,) = predict_records(predictor, [joined], settings)
    monkeypatch.setattr(Vocabulary, "exclusive_pairs", lambda *_: all_pairs)
    (prediction,) = predict_records(predictor, [joined], settings)
    (reported,) = [f for f in prediction.findings if f.present]
    assert reported.code in [f.code for f in free.findings if f.present]
    for ours, theirs in zip(prediction.findings, free.findings, strict=True):
        assert ours.probability == theirs.probability
        if theirs.present and not ours.present:
            least = 0.01 if predictor.artifact.vocabulary.entry(ours.code).critical else 0.05
            assert ours.alternative_to == (reported.code if ours.probability >= least else "")
            assert not ours.not_excluded
    again = apply_decision_rule(predictor, free, settings)
    assert [f.present for f in again.findings] == [f.present for f in prediction.findings]


def test_the_shared_ten_minutes_have_no_finding_more_with_a_longer_step(run_predict):
    path = SHARED / "cases" / "windows" / "tenmin"
    if not path.with_suffix(".hea").is_file():
        pytest.skip("needs cases/ in a folder `shared` next to the checkout")
    found = []
    for step_s in (None, 60.0):
        _, (prediction,), _ = run_predict(
            path, **{"windows.step_s": step_s, "operating_point": "screening"}
        )
        found.append({finding["code"] for finding in prediction["findings"]})
    assert found[1] <= found[0]
