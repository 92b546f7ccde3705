"""Reports have a wording of each finding, in German or English."""

import numpy as np
import pandas as pd

from ecg_siglip.simulation.report_wording import WORDS, report
from ecg_siglip.vocabulary import ptbxl


def test_every_finding_of_a_report_is_in_it_in_one_language():
    rng = np.random.default_rng(0)
    codes = ["AFIB", "IMI", "WPW"]
    texts = {report(codes, rng) for _ in range(60)}
    languages = [0 if WORDS["AFIB"].split("|")[0] in text else 1 for text in texts]
    assert set(languages) == {0, 1}
    for text, language in zip(texts, languages, strict=True):
        for code in codes:
            assert WORDS[code].split("|")[language] in text


def test_wordings_are_of_findings_in_two_languages():
    assert set(WORDS) <= set(ptbxl().codes)
    assert all(wording.count("|") == 1 for wording in WORDS.values())


def test_a_finding_without_a_wording_has_its_prompt():
    code = next(code for code in ptbxl().codes if code not in WORDS)
    prompts = [ptbxl().prompts([code], language)[0].lower() for language in ("de", "en")]
    text = report([code], np.random.default_rng(0))
    assert any(prompt in text for prompt in prompts)


def test_reports_are_in_german_and_english(simulated):
    reports = pd.read_csv(simulated / "ptbxl_database.csv")["report"]
    assert reports.str.contains("sinusrhythmus").any()
    assert reports.str.contains("sinus rhythm").any()
    assert reports.nunique() > 40
