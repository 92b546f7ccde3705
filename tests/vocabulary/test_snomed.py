"""The table of SNOMED CT codes is complete and consistent; queries are scored only where fair."""

import csv

import numpy as np
import pytest

from ecg_siglip.datasets import ptbxl
from ecg_siglip.vocabulary import load_vocabulary, snomed
from ecg_siglip.vocabulary import ptbxl as ptbxl_vocabulary

PTBXL = ptbxl_vocabulary()
STATEMENTS = {entry.code: entry for entry in PTBXL.entries}
TABLE = snomed.table(PTBXL)
# What the challenges score as one: dx_mapping_scored.csv, column Notes.
MERGED = [
    ({733534002, 164909002}, "CLBBB"),
    ({713427006, 59118001}, "CRBBB"),
    ({284470004, 63593006}, "PAC"),
    ({427172004, 17338001}, "PVC"),
]


def queries_by_code(codes=tuple(STATEMENTS)) -> dict[str, snomed.LabelQuery]:
    return {query.code: query for query in snomed.label_queries(codes, PTBXL)}


def labels_of(code: str, *records: set[int]) -> tuple[list[bool], list[bool]]:
    """Return the labels of records for one query: positive, and unclear."""
    matrix = snomed.label_matrix([queries_by_code()[code]], records, PTBXL)
    return matrix.y_true[:, 0].tolist(), matrix.unclear[:, 0].tolist()


def test_no_code_occurs_twice_and_every_row_is_complete():
    path = snomed.Path(snomed.__file__).with_name("snomed.csv")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(TABLE) == 133  # 30 scored, 103 others
    assert all(None not in row and None not in row.values() for row in rows)
    assert len({code.abbreviation for code in TABLE.values()}) == len(TABLE)
    assert all(code.abbreviation and code.name for code in TABLE.values())


@pytest.mark.parametrize("code", TABLE.values(), ids=lambda code: code.abbreviation)
def test_every_finding_is_in_the_vocabulary_and_in_its_order(code):
    assert code.relation in snomed.RELATIONS
    assert set(code.findings) | set(code.ptbxl_also) <= set(STATEMENTS)
    assert list(code.findings) == [c for c in STATEMENTS if c in code.findings]
    n = {"none": (0,), "exact": (1,), "narrower": (1,), "broader": range(1, 99)}[code.relation]
    assert len(code.findings) in n
    assert not set(code.findings) & set(code.ptbxl_also)


@pytest.mark.parametrize(("codes", "finding"), MERGED)
def test_codes_that_the_challenges_merge_define_one_query(codes, finding):
    assert {TABLE[code].findings for code in codes} == {(finding,)}
    assert {TABLE[code].relation for code in codes} == {"exact"}
    assert len({TABLE[code].scored_as for code in codes}) == 1
    assert {TABLE[code].scored_as for code in codes} <= codes
    assert codes <= set(queries_by_code()[finding].defined_by)


def test_no_other_code_is_merged():
    merged = {code.snomed for code in TABLE.values() if code.scored_as}
    assert merged == set().union(*(codes for codes, _ in MERGED))


@pytest.mark.parametrize("entry", STATEMENTS.values(), ids=lambda entry: entry.code)
def test_the_table_agrees_with_the_codes_that_ptbxl_statements_became(entry):
    for number in entry.snomed[:1]:
        assert entry.code in TABLE[number].findings + TABLE[number].ptbxl_also
    for number in entry.snomed[1:]:
        assert TABLE[number].findings == (entry.code,)


def test_ptbxl_has_as_many_records_per_code_as_the_challenges_report(shared_metadata):
    # dx_mapping_*.csv count version 1.0.1 with 21,837 records; 1.0.3 has 38 fewer.
    expected = {
        "MI": (164865005, 5261), "TAb": (164934002, 2345), "NSR": (426783006, 18092),
        "LVH": (164873001, 2359), "VEB": (164884008, 1154), "CRBBB": (713427006, 542),
        "NSSTTA": (428750005, 381), "MIs": (164861001, 2175), "QAb": (164917005, 548),
    }  # fmt: skip
    table = ptbxl.read_metadata(shared_metadata)
    for number, n in expected.values():
        ours = {code for code, entry in STATEMENTS.items() if entry.snomed[:1] == (number,)}
        n_ours = sum(bool(ours & set(codes)) for codes in table["scp_codes"])
        assert abs(n_ours - n) <= 38, number


def test_query_codes_are_distinct():
    codes = [query.code for query in snomed.label_queries(STATEMENTS, PTBXL)]
    assert len(codes) == len(set(codes))
    for query in queries_by_code().values():
        assert (len(query.findings) == 1) == (query.code in STATEMENTS)
    assert queries_by_code()["MI"].defined_by == (57054005, 164865005, 164867002)


def test_queries_need_only_the_findings_of_the_model():
    assert set(queries_by_code(("AFIB", "1AVB"))) == {"AFIB", "1AVB"}
    assert set(queries_by_code(("AFIB", "AFLT"))) == {"AFIB", "AFLT", "AFAFL"}
    assert not queries_by_code(("MI", "STTC"))


def test_a_narrower_code_is_a_positive_label_and_defines_no_query():
    assert labels_of("2AVB", {54016002}, {270492004}) == ([True, False], [False, False])
    query = queries_by_code()["2AVB"]
    assert not snomed.label_matrix([query], [{54016002}], PTBXL).exact.any()
    assert snomed.label_matrix([query], [{195042002}], PTBXL).exact.all()


def test_a_broader_code_is_unclear_for_single_findings_and_positive_for_all_together():
    assert labels_of("CRBBB", {6374002}) == ([False], [True])
    assert labels_of("CRBBB", {6374002, 59118001}) == ([True], [False])
    assert labels_of("BBB", {6374002}, {59118001}, {713426002}) == ([True] * 3, [False] * 3)


def test_a_code_broader_than_its_only_finding_is_unclear():
    assert labels_of("SBRAD", {426627000}, {426177001}) == ([False, True], [True, False])
    assert 426627000 not in queries_by_code()["SBRAD"].defined_by


def test_unknown_codes_are_ignored():
    assert labels_of("AFIB", {1}, set()) == ([False, False], [False, False])


def test_any_of_several_findings():
    queries = [queries_by_code()["AFIB"], queries_by_code()["AFAFL"]]
    y_prob = np.array([[0.5, 0.5], [0.1, 0.0]])
    probability = snomed.any_probability(queries, ["AFLT", "AFIB"], y_prob)
    assert np.allclose(probability, [[0.5, 0.75], [0.0, 0.1]])
    present = snomed.any_present(queries, ["AFLT", "AFIB"], np.array([[True, False]]))
    assert present.tolist() == [[False, True]]


def reasons(labels: list[set[int]], n_least: int = 2) -> dict[str, str]:
    queries = snomed.label_queries(STATEMENTS, PTBXL)
    return snomed.undecided(queries, snomed.label_matrix(queries, labels, PTBXL), n_least)


def test_a_finding_whose_code_a_hospital_never_uses_is_undecided():
    fibrillation, sinus = {164889003}, {426783006}
    undecided = reasons([fibrillation] * 3 + [sinus] * 3)
    assert set(queries_by_code()) - set(undecided) == {"AFIB", "SR"}
    assert undecided["PACE"] == "the set has no code for just this"


def test_a_query_with_too_few_positives_or_negatives_is_undecided():
    assert "1 positive, fewer than 2" in reasons([{164889003}] + [{426783006}] * 3)["AFIB"]
    assert "1 negative, fewer than 2" in reasons([{164889003}] * 3 + [{426783006}])["AFIB"]


def test_a_query_with_narrower_codes_only_is_undecided():
    mobitz, sinus = {54016002}, {426783006}
    assert reasons([mobitz] * 3 + [sinus] * 3)["2AVB"] == "the set has no code for just this"


def test_a_query_with_mostly_broader_codes_is_undecided():
    depression, interval, sinus = {429622005}, {164930006}, {426783006}
    undecided = reasons([depression] * 2 + [interval] * 3 + [sinus] * 3)
    assert "3 records have a broader code only" in undecided["STD_"]
    assert "STC" not in undecided  # any change of ST: both codes mean it
    assert "STD_" not in reasons([depression] * 3 + [interval] * 3 + [sinus] * 3)


def test_the_ptbxl_records_of_the_challenge_have_the_labels_of_ptbxl(
    shared_metadata, shared_challenge
):
    from ecg_siglip.datasets import challenge

    table = ptbxl.read_metadata(shared_metadata)
    headers = sorted((shared_challenge / "ptbxl").glob("*.hea"))
    for path, ecg_id in zip(headers, challenge.ecg_ids(headers), strict=True):
        row, labels = table.loc[ecg_id], challenge.read_labels(path)
        expected = {STATEMENTS[code].snomed[0] for code in row["scp_codes"]}
        axis = {"LAD": 39732003, "RAD": 47665007, "SAG": 251200008}
        expected |= {axis[row["heart_axis"]]} & labels.dx if row["heart_axis"] in axis else set()
        assert labels.dx == expected, path.stem
        assert labels.age == row["age"] and labels.sex == ("female" if row["sex"] else "male")


def test_the_findings_of_another_vocabulary_state_their_own_codes(tmp_path):
    (tmp_path / "own.csv").write_text(
        "code,name,snomed\nX1,Flimmern,164889003\nX2,Infarkt A,164865005\n"
        "X3,Infarkt B,164865005;57054005\nX4,ohne Code,\nX5,neu,195042002;733534002\n"
    )
    own = load_vocabulary(tmp_path / "own.csv")
    table = snomed.table(own)
    assert (table[164889003].relation, table[164889003].findings) == ("exact", ("X1",))
    assert (table[164865005].relation, table[164865005].findings) == ("broader", ("X2", "X3"))
    assert table[164890007].relation == "none"
    assert table[164890007].name == "atrial flutter"
    queries = {query.code: query for query in snomed.label_queries(own.codes, own)}
    assert set(queries) == {"X1", "X3", "X5", "MI"}
    assert set(queries["X5"].defined_by) == {195042002, 733534002}
    matrix = snomed.label_matrix([queries["X1"], queries["X3"]], [{164889003}, {164865005}], own)
    assert matrix.y_true.tolist() == [[True, False], [False, False]]
    assert matrix.unclear.tolist() == [[False, False], [False, True]]
