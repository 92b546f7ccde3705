"""Codes of another data set as findings of a vocabulary."""

import numpy as np
import pytest

from ecg_siglip.vocabulary import ptbxl, snomed
from ecg_siglip.vocabulary.code_mapping import CodeMeaning, map_labels, read_mapping

CODES = ("AFIB", "IMI", "AMI", "2AVB")


def _labels(meanings, present, known=None):
    present = np.array(present, bool)
    known = np.ones_like(present) if known is None else np.array(known, bool)
    y_true, is_known = map_labels(meanings, present, known, CODES)
    return np.where(is_known, y_true.astype(int), -1).tolist()


def test_an_exact_code_is_the_finding():
    assert _labels([CodeMeaning("x", ("AFIB",))], [[1], [0]]) == [[1, -1, -1, -1], [0, -1, -1, -1]]


def test_the_absence_of_a_narrower_code_leaves_the_finding_unknown():
    meaning = CodeMeaning("Mobitz", ("2AVB",), "narrower")
    assert _labels([meaning], [[1], [0]]) == [[-1, -1, -1, 1], [-1, -1, -1, -1]]


def test_a_broader_code_leaves_open_which():
    infarction = CodeMeaning("MI", ("IMI", "AMI"), "broader")
    assert _labels([infarction], [[1], [0]]) == [[-1] * 4, [-1, 0, 0, -1]]
    both = [infarction, CodeMeaning("INF", ("IMI",))]
    assert _labels(both, [[1, 1], [1, 0]]) == [[-1, 1, -1, -1], [-1] * 4]


def test_an_unknown_code_leaves_the_finding_unknown():
    assert _labels([CodeMeaning("x", ("AFIB",))], [[0]], [[0]]) == [[-1] * 4]


def test_the_rule_is_that_of_the_label_queries():
    codes = ("AFIB", "AFLT", "2AVB", "CRBBB", "IRBBB")
    queries = [each for each in snomed.label_queries(codes, ptbxl()) if len(each.findings) == 1]
    meanings = snomed.meanings(ptbxl())
    rng = np.random.default_rng(0)
    numbers = [int(meaning.code) for meaning in meanings]
    present = rng.random((200, len(meanings))) < 0.05
    labels = [[n for n, p in zip(numbers, row, strict=True) if p] for row in present]
    expected = snomed.label_matrix(queries, labels, ptbxl())
    y_true, known = map_labels(meanings, present, np.ones_like(present), codes)
    for j, query in enumerate(queries):
        column = codes.index(query.code)
        assert np.array_equal(y_true[:, column], expected.y_true[:, j])
        assert np.array_equal(~known[:, column], expected.unclear[:, j])


def test_a_file(tmp_path):
    path = tmp_path / "codes.csv"
    path.write_text(
        "code,findings,relation\nVHF,AFIB,\nMI,IMI;AMI,\nEgal,,\nMobitz,2AVB,narrower\n"
    )
    meanings = {each.code: (each.findings, each.relation) for each in read_mapping(path, CODES)}
    assert meanings == {
        "VHF": (("AFIB",), "exact"),
        "MI": (("IMI", "AMI"), "broader"),
        "Egal": ((), "exact"),
        "Mobitz": (("2AVB",), "narrower"),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kode,findings\n", "expected the columns code, findings"),
        ("code,findings\nA,AFIB\nA,IMI\n", "row 3: code A again"),
        ("code,findings\n,AFIB\n", "row 2: no code"),
        ("code,findings\nA,AFIBB\n", "row 2: AFIBB is not in the vocabulary"),
        ("code,findings,relation\nA,AFIB,same\n", "row 2: expected a relation of exact"),
        ("code,findings,relation\nA,AFIB;IMI,exact\n", "row 2: A is exact for 2 findings"),
    ],
)
def test_a_wrong_file(tmp_path, text, message):
    path = tmp_path / "codes.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_mapping(path, CODES)
    with pytest.raises(ValueError, match="cannot be read"):
        read_mapping(tmp_path / "none.csv", CODES)
