"""The table is whole and agrees with the vocabulary; a question is asked only where it is fair."""

import csv

import numpy as np
import pytest

from ecg_siglip.datasets import ptbxl
from ecg_siglip.vocabulary import snomed
from ecg_siglip.vocabulary.findings import STATEMENTS

TABLE = snomed.table()
# What the challenges score as one: dx_mapping_scored.csv, column Notes.
MERGED = [
    ({733534002, 164909002}, "CLBBB"),
    ({713427006, 59118001}, "CRBBB"),
    ({284470004, 63593006}, "PAC"),
    ({427172004, 17338001}, "PVC"),
]


def asked(codes=tuple(STATEMENTS)):
    return {question.code: question for question in snomed.label_queries(codes)}


def said(code: str, *labels: set[int]) -> tuple[list[bool], list[bool]]:
    """What sets of codes say to one question: true, and unclear."""
    found = snomed.label_matrix([asked()[code]], labels)
    return found.y_true[:, 0].tolist(), found.unclear[:, 0].tolist()


def test_no_code_stands_twice_and_every_row_is_whole():
    path = snomed.Path(snomed.__file__).with_name("snomed.csv")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(TABLE) == 133  # 30 scored, 103 others
    assert all(None not in row and None not in row.values() for row in rows)
    assert len({code.abbreviation for code in TABLE.values()}) == len(TABLE)
    assert all(code.abbreviation and code.name for code in TABLE.values())


@pytest.mark.parametrize("code", TABLE.values(), ids=lambda code: code.abbreviation)
def test_every_target_is_in_the_vocabulary_in_its_order(code):
    assert code.relation in snomed.RELATIONS
    assert set(code.findings) | set(code.ptbxl_also) <= set(STATEMENTS)
    assert list(code.findings) == [c for c in STATEMENTS if c in code.findings]
    n = {"none": (0,), "exact": (1,), "narrower": (1,), "broader": range(1, 99)}[code.relation]
    assert len(code.findings) in n
    assert not set(code.findings) & set(code.ptbxl_also)


@pytest.mark.parametrize(("codes", "finding"), MERGED)
def test_what_the_challenges_merge_is_one_question(codes, finding):
    assert {TABLE[code].findings for code in codes} == {(finding,)}
    assert {TABLE[code].relation for code in codes} == {"exact"}
    assert len({TABLE[code].scored_as for code in codes}) == 1
    assert {TABLE[code].scored_as for code in codes} <= codes
    assert codes <= set(asked()[finding].asked_by)


def test_no_other_code_is_merged():
    merged = {code.snomed for code in TABLE.values() if code.scored_as}
    assert merged == set().union(*(codes for codes, _ in MERGED))


@pytest.mark.parametrize("entry", STATEMENTS.values(), ids=lambda entry: entry.code)
def test_the_table_agrees_with_what_became_of_the_statements_of_ptbxl(entry):
    for number in entry.snomed[:1]:
        assert entry.code in TABLE[number].findings + TABLE[number].ptbxl_also
    for number in entry.snomed[1:]:
        assert TABLE[number].findings == (entry.code,)


def test_the_codes_of_ptbxl_count_as_many_records_as_the_challenges_say(shared_metadata):
    # dx_mapping_*.csv count version 1.0.1 with 21,837 records; 1.0.3 has 38 fewer.
    expected = {
        "MI": (164865005, 5261), "TAb": (164934002, 2345), "NSR": (426783006, 18092),
        "LVH": (164873001, 2359), "VEB": (164884008, 1154), "CRBBB": (713427006, 542),
        "NSSTTA": (428750005, 381), "MIs": (164861001, 2175), "QAb": (164917005, 548),
    }  # fmt: skip
    table = ptbxl.read_metadata(shared_metadata)
    for number, n in expected.values():
        mine = {code for code, entry in STATEMENTS.items() if entry.snomed[:1] == (number,)}
        found = sum(bool(mine & set(codes)) for codes in table["scp_codes"])
        assert abs(found - n) <= 38, number


def test_questions_have_codes_of_their_own():
    codes = [question.code for question in snomed.label_queries(STATEMENTS)]
    assert len(codes) == len(set(codes))
    for question in asked().values():
        assert (len(question.findings) == 1) == (question.code in STATEMENTS)
    assert asked()["MI"].asked_by == (57054005, 164865005, 164867002)


def test_a_model_is_asked_only_what_it_knows():
    assert set(asked(("AFIB", "1AVB"))) == {"AFIB", "1AVB"}
    assert set(asked(("AFIB", "AFLT"))) == {"AFIB", "AFLT", "AFAFL"}
    assert not asked(("MI", "STTC"))


def test_a_narrower_code_answers_yes_and_asks_nothing():
    assert said("2AVB", {54016002}, {270492004}) == ([True, False], [False, False])
    found = snomed.label_matrix([asked()["2AVB"]], [{54016002}])
    assert not found.asked.any()
    assert snomed.label_matrix([asked()["2AVB"]], [{195042002}]).asked.all()


def test_a_broader_code_leaves_its_findings_unclear_and_answers_for_all_of_them():
    assert said("CRBBB", {6374002}) == ([False], [True])
    assert said("CRBBB", {6374002, 59118001}) == ([True], [False])
    assert said("BBB", {6374002}, {59118001}, {713426002}) == ([True] * 3, [False] * 3)


def test_a_code_broader_than_the_one_finding_there_is_decides_nothing():
    assert said("SBRAD", {426627000}, {426177001}) == ([False, True], [True, False])
    assert 426627000 not in asked()["SBRAD"].asked_by


def test_an_unknown_code_says_nothing():
    assert said("AFIB", {1}, set()) == ([False, False], [False, False])


def test_any_of_several_findings():
    questions = [asked()["AFIB"], asked()["AFAFL"]]
    y_prob = np.array([[0.5, 0.5], [0.1, 0.0]])
    found = snomed.any_probability(questions, ["AFLT", "AFIB"], y_prob)
    assert np.allclose(found, [[0.5, 0.75], [0.0, 0.1]])
    called = snomed.any_present(questions, ["AFLT", "AFIB"], np.array([[True, False]]))
    assert called.tolist() == [[False, True]]


def reasons(labels: list[set[int]], n_least: int = 2) -> dict[str, str]:
    questions = snomed.label_queries(STATEMENTS)
    return snomed.undecided(questions, snomed.label_matrix(questions, labels), n_least)


def test_what_a_hospital_never_writes_is_not_counted_as_absent():
    fibrillation, sinus = {164889003}, {426783006}
    why = reasons([fibrillation] * 3 + [sinus] * 3)
    assert set(asked()) - set(why) == {"AFIB", "SR"}
    assert why["PACE"] == "the set has no code for just this"


def test_too_few_with_or_without_a_finding_decide_nothing():
    assert "1 positive, fewer than 2" in reasons([{164889003}] + [{426783006}] * 3)["AFIB"]
    assert "1 negative, fewer than 2" in reasons([{164889003}] * 3 + [{426783006}])["AFIB"]


def test_narrower_codes_alone_decide_nothing():
    mobitz, sinus = {54016002}, {426783006}
    assert reasons([mobitz] * 3 + [sinus] * 3)["2AVB"] == "the set has no code for just this"


def test_a_finding_that_mostly_has_a_broader_code_is_not_decided():
    depression, interval, sinus = {429622005}, {164930006}, {426783006}
    why = reasons([depression] * 2 + [interval] * 3 + [sinus] * 3)
    assert "3 records have a broader code only" in why["STD_"]
    assert "STC" not in why  # any change of ST: both say it
    assert "STD_" not in reasons([depression] * 3 + [interval] * 3 + [sinus] * 3)


def test_the_ptbxl_part_of_the_challenge_is_what_ptbxl_says(shared_metadata, shared_challenge):
    from ecg_siglip.datasets import challenge

    table = ptbxl.read_metadata(shared_metadata)
    headers = sorted((shared_challenge / "ptbxl").glob("*.hea"))
    for path, ecg_id in zip(headers, challenge.ecg_ids(headers), strict=True):
        row, labels = table.loc[ecg_id], challenge.read_labels(path)
        became = {STATEMENTS[code].snomed[0] for code in row["scp_codes"]}
        axis = {"LAD": 39732003, "RAD": 47665007, "SAG": 251200008}
        became |= {axis[row["heart_axis"]]} & labels.dx if row["heart_axis"] in axis else set()
        assert labels.dx == became, path.stem
        assert labels.age == row["age"] and labels.sex == ("female" if row["sex"] else "male")
