"""What is reported is consistent; what is possible besides is named, and short."""

from dataclasses import replace

import numpy as np
import pytest

from ecg_siglip.inference.decision import CRITICAL, NOT_EXCLUDED, make_decision
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.metrics.consistency import contradictory
from ecg_siglip.metrics.likelihood import likelihood_word

RULES = ("expected_f1", "fixed_0.5", "sensitivity_0.9", "precision_0.8")


@pytest.fixture(scope="module")
def predictor(trained):
    return Predictor.load(trained / "model", "cpu")


def drawn(predictor, n=40):
    """Return probabilities of which many reach their thresholds, (n, n_findings)."""
    rng = np.random.default_rng(0)
    return rng.random((n, len(predictor.artifact.codes))) ** 3


@pytest.mark.parametrize("rule", RULES)
def test_nothing_that_is_reported_contradicts_itself(predictor, rule):
    decision = predictor.decision(rule)
    y_prob = drawn(predictor)
    assert contradictory(decision.reached(y_prob), decision.exclusive).any()
    present = decision.present(y_prob)
    assert not contradictory(present, decision.exclusive).any()
    assert (present <= decision.reached(y_prob)).all()


@pytest.mark.parametrize("rule", RULES)
def test_records_together_have_the_findings_of_each_alone(predictor, rule):
    decision = predictor.decision(rule)
    y_prob = drawn(predictor)
    assert decision.findings_of(y_prob) == [decision.findings(row) for row in y_prob]
    present = decision.present(y_prob)
    given = decision.findings_of(y_prob, present)
    assert given == [decision.findings(*each) for each in zip(y_prob, present, strict=True)]
    assert given == decision.findings_of(y_prob)


@pytest.mark.parametrize("rule", RULES)
def test_what_is_not_reported_although_it_reaches_its_threshold_is_an_alternative(predictor, rule):
    decision = predictor.decision(rule)
    codes = predictor.artifact.codes
    for y_prob in drawn(predictor, 10):
        reached = decision.reached(y_prob[None])[0]
        findings = decision.findings(y_prob)
        present = {finding.code for finding in findings if finding.present}
        for i, finding in enumerate(findings):
            assert (finding.probability, finding.threshold) == (y_prob[i], decision.thresholds[i])
            is_excluded = reached[i] and not finding.present
            listed = y_prob[i] >= min(NOT_EXCLUDED, decision.listed_from[i])
            assert bool(finding.alternative_to) == (is_excluded and listed)
            if finding.alternative_to:
                winner = codes.index(finding.alternative_to)
                assert finding.alternative_to in present and decision.exclusive[i, winner]
            assert finding.present + bool(finding.alternative_to) + finding.not_excluded <= 1


def test_a_precision_reports_nothing_that_is_unlikely(predictor):
    low = np.full(len(predictor.artifact.codes), 0.02)
    artifact = replace(predictor.artifact, operating={"precision_0.8": low, "sensitivity_0.9": low})
    available = np.ones(12, bool)

    def present(rule, y_prob):
        decision = make_decision(artifact, artifact.tuning(), available, rule)
        return decision.present(y_prob)

    y_prob = drawn(predictor)
    assert present("precision_0.8", y_prob).any()
    assert y_prob[present("precision_0.8", y_prob)].min() >= 0.3
    assert y_prob[present("sensitivity_0.9", y_prob)].min() < 0.3


@pytest.mark.parametrize("rule", RULES)
def test_the_word_is_that_of_the_probability_at_every_operating_point(predictor, rule):
    (y_prob,) = drawn(predictor, 1)
    for finding, p in zip(predictor.decide(y_prob, rule), y_prob, strict=True):
        assert finding.likelihood == likelihood_word(p)


def test_not_excluded_is_what_is_not_very_unlikely_and_what_is_critical(predictor):
    codes, vocabulary = predictor.artifact.codes, predictor.artifact.vocabulary
    never = predictor.artifact.provenance.never_present
    for p in (CRITICAL - 1e-6, CRITICAL, NOT_EXCLUDED - 1e-6, NOT_EXCLUDED):
        findings = predictor.decide(np.full(len(codes), p), "fixed_0.5")
        listed = {finding.code for finding in findings if finding.not_excluded}
        critical = {code for code in codes if vocabulary.entry(code).critical}
        expected = {*codes} if p >= NOT_EXCLUDED else critical if p >= CRITICAL else set()
        assert listed == expected - {*never}
    assert "3AVB" in critical and "SR" not in critical


def test_the_full_list_is_longer_and_by_the_sensitivity(predictor):
    (y_prob,) = drawn(predictor, 1)
    low = predictor.artifact.operating["sensitivity_0.9"]
    never = np.isin(predictor.artifact.codes, predictor.artifact.provenance.never_present)
    short, full = (
        np.array([f.not_excluded for f in predictor.decide(y_prob, sensitivity=sensitivity)])
        for sensitivity in (None, 0.9)
    )
    findings = predictor.decide(y_prob)
    other = np.array([f.present or bool(f.alternative_to) for f in findings])
    assert (short <= full).all() and short.sum() < full.sum()
    assert (full == ((short | (y_prob >= low)) & ~other & ~never)).all()
    with pytest.raises(ValueError, match=r"sensitivity_0\.85: this model has thresholds for"):
        predictor.decide(y_prob, sensitivity=0.85)


def test_what_no_training_record_had_is_not_reported_by_a_sensitivity(predictor):
    never = predictor.artifact.provenance.never_present
    assert never
    findings = predictor.decide(np.full(len(predictor.artifact.codes), 0.4), "sensitivity_0.9")
    assert not any(f.present or f.not_excluded for f in findings if f.code in never)
