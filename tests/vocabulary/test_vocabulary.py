"""PTB-XL's vocabulary has its statements, with distinct words, and what is known about them."""

import ast
import csv
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ecg_siglip.signals.leads import LEAD_SETS, available_leads
from ecg_siglip.vocabulary import ptbxl
from ecg_siglip.vocabulary.vocabulary import check_same_codes

PTBXL = ptbxl()
STATEMENTS = {entry.code: entry for entry in PTBXL.entries}
CLASSES = {entry.code: entry for entry in PTBXL.classes}
TASKS, LANGUAGES, to_task = tuple(PTBXL.tasks), PTBXL.languages, PTBXL.to_task

SIZES = {
    "all": 71,
    "diagnostic": 44,
    "subdiagnostic": 23,
    "superdiagnostic": 5,
    "form": 19,
    "rhythm": 12,
}
# Axis deviations, which the challenges took from PTB-XL's column heart_axis, not from a statement.
SNOMED_AXES = {
    39732003: {"LAD", "ALAD"},
    47665007: {"RAD", "ARAD"},
    251200008: {"AXL", "AXR", "SAG"},
}
# Column PTB_XL of dx_mapping_scored.csv and dx_mapping_unscored.csv
# (github.com/physionetchallenges/evaluation-2021): records of PTB-XL 1.0.1 that bear each code.
# fmt: off
SNOMED_COUNTS = {
    164889003: 1514, 164890007: 73, 713427006: 542, 270492004: 797, 713426002: 1118,
    39732003: 5146, 445118002: 1626, 164909002: 536, 251146004: 182, 698252002: 789,
    426783006: 18092, 284470004: 398, 10370003: 296, 164947007: 340, 111975006: 118,
    164917005: 548, 47665007: 343, 427393009: 772, 426177001: 637, 427084000: 826,
    63593006: 157, 164934002: 2345, 59931005: 294, 164951009: 3389, 426434006: 44,
    54329005: 354, 27885002: 16, 251200008: 156, 195042002: 14, 425419005: 219,
    251120003: 77, 67741000119109: 427, 425623009: 142, 445211001: 177, 164873001: 2359,
    164865005: 5261, 164861001: 2175, 428750005: 381, 67198005: 24, 446358003: 99,
    89792004: 126, 55930002: 770, 429622005: 1009, 164931005: 28, 426761007: 27,
    11157007: 82, 164884008: 1154, 266249003: 30, 251180001: 20, 74390002: 80,
}
# fmt: on


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def records(shared_metadata: Path) -> dict[int, dict[str, str]]:
    rows = read_csv(shared_metadata / "ptbxl_database.csv")
    return {int(row["ecg_id"]): row for row in rows}


def scp_codes(row: dict[str, str]) -> dict[str, float]:
    return ast.literal_eval(row["scp_codes"])


def snomed_codes(row: dict[str, str]) -> set[int]:
    """Return the codes that the challenges' header of a PTB-XL record should list."""
    axes = {code for code, axes in SNOMED_AXES.items() if row["heart_axis"] in axes}
    return axes | {STATEMENTS[code].snomed[0] for code in scp_codes(row)}


def test_statements_equal_scp_statements_csv(shared_metadata):
    rows = read_csv(shared_metadata / "scp_statements.csv")
    assert list(STATEMENTS) == [row[""] for row in rows]
    for row, statement in zip(rows, STATEMENTS.values(), strict=True):
        for kind in ("diagnostic", "form", "rhythm"):
            assert (kind in statement.groups) == (row[kind] == "1.0"), statement.code
        for task in ("superdiagnostic", "subdiagnostic"):
            column = "diagnostic_class" if task == "superdiagnostic" else "diagnostic_subclass"
            expected = row[column]
            assert [*to_task({statement.code: 1.0}, task)] == [expected] * bool(expected)


@pytest.mark.parametrize("task", TASKS)
def test_tasks_have_their_sizes_and_every_finding_has_words(task):
    codes = PTBXL.task_codes(task)
    assert len(codes) == len(set(codes)) == SIZES[task]
    assert len(PTBXL.prompts(codes)) == len(set(PTBXL.names(codes))) == SIZES[task]


def test_task_order_is_that_of_the_columns():
    assert PTBXL.task_codes("all") == tuple(STATEMENTS)
    assert PTBXL.task_codes("superdiagnostic") == ("NORM", "MI", "STTC", "CD", "HYP")
    assert PTBXL.task_codes("form")[:3] == ("NDT", "NST_", "DIG")


def test_classes_are_those_without_the_code_of_a_statement():
    classes = {*PTBXL.task_codes("superdiagnostic"), *PTBXL.task_codes("subdiagnostic")}
    assert set(CLASSES) == classes - set(STATEMENTS)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_two_findings_have_the_same_prompt(language):
    codes = [*STATEMENTS, *CLASSES]
    prompts = PTBXL.prompts(codes, language)
    assert len({prompt.casefold() for prompt in prompts}) == len(codes)
    assert all(prompt == prompt.strip() and 0 < len(prompt) <= 120 for prompt in prompts)


def test_prompts_are_in_their_language():
    for entry in [*STATEMENTS.values(), *CLASSES.values()]:
        en, de, ja = (entry.prompts[language][0] for language in LANGUAGES)
        assert re.search(r"[\u3040-\u30ff\u4e00-\u9fff]", ja), entry.code
        assert not re.search(r"[\u3040-\u30ff\u4e00-\u9fff]", en + de), entry.code
        assert en.isascii(), entry.code
        assert len({en, de, ja}) == 3, entry.code


def test_names_are_short_and_distinct():
    names = PTBXL.names([*STATEMENTS, *CLASSES])
    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= 45


def test_likelihood_zero_is_present():
    codes = {"SR": 0.0, "NDT": 0.0, "IMI": 15.0}
    assert to_task(codes, "all") == codes
    assert to_task(codes, "rhythm") == {"SR": 0.0}
    assert to_task(codes, "form") == {"NDT": 0.0}
    assert to_task(codes, "superdiagnostic") == {"STTC": 0.0, "MI": 15.0}
    assert to_task({"SR": 0.0}, "diagnostic") == {}


def test_findings_of_a_record_are_in_task_order():
    assert list(to_task({"SR": 0.0, "ASMI": 1.0, "NDT": 2.0}, "all")) == ["NDT", "ASMI", "SR"]


@pytest.mark.parametrize("codes", [{"IMI": 80.0, "ASMI": 15.0}, {"ASMI": 15.0, "IMI": 80.0}])
def test_class_takes_the_largest_likelihood(codes):
    assert to_task(codes, "superdiagnostic") == {"MI": 80.0}
    assert to_task(codes, "subdiagnostic") == {"IMI": 80.0, "AMI": 15.0}


def test_sttc_as_subclass_is_narrower_than_as_superclass():
    assert to_task({"ISCAL": 50.0}, "subdiagnostic") == {"ISCA": 50.0}
    assert to_task({"ISCAL": 50.0}, "superdiagnostic") == {"STTC": 50.0}
    assert to_task({"DIG": 50.0}, "subdiagnostic") == {"STTC": 50.0}


def test_error_of_an_unknown_code_names_record_code_and_similar_codes():
    with pytest.raises(ValueError, match=r"record 00042: .*'AFBI'.*AFIB") as error:
        to_task({"SR": 0.0, "AFBI": 100.0}, "rhythm", record="00042")
    assert "\n" not in str(error.value)
    # A class is not a statement: a record cannot have it.
    with pytest.raises(ValueError, match="STTC"):
        to_task({"STTC": 100.0}, "superdiagnostic")


@pytest.mark.parametrize("look_up", [PTBXL.names, PTBXL.prompts])
def test_unknown_finding_is_refused(look_up):
    with pytest.raises(ValueError, match=r"'clbb'.*CLBBB"):
        look_up(["clbb"])
    with pytest.raises(ValueError, match="no known code"):
        look_up(["????"])


def test_unknown_task_and_language_are_refused():
    with pytest.raises(ValueError, match="data.task=superclass: .*superdiagnostic"):
        PTBXL.task_codes("superclass")
    with pytest.raises(ValueError, match="en, de, ja"):
        PTBXL.prompts(["SR"], "fr")


def test_vocabularies_that_differ_are_refused_with_the_difference():
    check_same_codes(["SR", "AFIB"], ("SR", "AFIB"), where="run a")
    with pytest.raises(ValueError, match=r"^run a: .*1 findings without AFIB; expected 2$"):
        check_same_codes(["SR", "AFIB"], ["SR"], where="run a")
    with pytest.raises(ValueError, match="3 findings with PVC; expected 2"):
        check_same_codes(["SR", "AFIB"], ["SR", "AFIB", "PVC"], where="run a")
    with pytest.raises(ValueError, match="2 findings in another order"):
        check_same_codes(["SR", "AFIB"], ["AFIB", "SR"], where="run a")


def test_from_snomed():
    assert PTBXL.from_snomed(164889003) == ("AFIB",)
    assert PTBXL.from_snomed(733534002) == PTBXL.from_snomed(164909002) == ("CLBBB",)
    assert PTBXL.from_snomed(426783006) == ("NORM", "SR")
    assert PTBXL.from_snomed(39732003) == ()


def test_every_fold_10_task_count(records):
    test_fold = [scp_codes(row) for row in records.values() if row["strat_fold"] == "10"]
    for task, expected in {"all": 2198, "diagnostic": 2158, "form": 880, "rhythm": 2098}.items():
        assert sum(bool(to_task(codes, task)) for codes in test_fold) == expected, task


def test_snomed_counts_of_the_challenges_are_reproduced(records):
    mapped = {entry.snomed[0] for entry in STATEMENTS.values()}
    assert mapped | set(SNOMED_AXES) == set(SNOMED_COUNTS)
    counts = dict.fromkeys(SNOMED_COUNTS, 0)
    for row in records.values():
        for code in snomed_codes(row):
            counts[code] += 1
    # PTB-XL 1.0.3 is 1.0.1 without 38 records: each count falls by a few or not at all.
    for code, published in SNOMED_COUNTS.items():
        assert 0 <= published - counts[code] <= 2 + published / 200, (code, counts[code])


def test_snomed_codes_of_challenge_records_are_explained(records, shared_challenge):
    headers = sorted((shared_challenge / "ptbxl").glob("HR*.hea"))
    assert headers
    for header in headers:
        dx = re.search(r"^#\s*Dx:\s*([\d,]+)", header.read_text(), re.MULTILINE)
        assert dx, header.stem
        expected = {int(code) for code in dx[1].split(",")}
        assert snomed_codes(records[int(header.stem[2:])]) == expected, header.stem


@pytest.mark.parametrize("concept", PTBXL.concepts, ids=lambda concept: concept.members[0])
def test_every_concept_has_several_known_findings(concept):
    assert len(concept.members) == len(set(concept.members)) >= 2
    assert set(concept.members) <= set(STATEMENTS)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_two_concepts_have_the_same_text(language):
    texts, members_CF = PTBXL.concept_prompts(list(STATEMENTS), language)
    assert len(texts) == len(set(texts)) == len(PTBXL.concepts)
    assert members_CF.shape == (len(texts), len(STATEMENTS))


def test_prompts_are_those_of_concepts_that_the_vocabulary_has():
    texts, members_CF = PTBXL.concept_prompts(["CLBBB", "IMI", "NORM"])
    assert "bundle branch block" in texts
    assert "fascicular block" not in texts
    assert members_CF[texts.index("bundle branch block")].tolist() == [True, False, False]
    assert members_CF.any(axis=1).all()
    assert not members_CF[:, 2].any()


def test_a_concept_is_only_known_from_another_finding():
    assert "septum, leads V1 to V3" in PTBXL.concepts_of("ASMI")
    assert PTBXL.concepts_of("ASMI", known=["ASMI", "IMI"]) == ["myocardial infarction"]
    assert PTBXL.concepts_of("ASMI", "de", ["IMI"]) == ["Myokardinfarkt"]
    assert PTBXL.concepts_of("NORM") == []


def test_unknown_language_and_vocabulary_without_concepts_are_refused():
    with pytest.raises(ValueError, match="en, de, ja"):
        PTBXL.concept_prompts(["IMI"], "fr")
    with pytest.raises(ValueError, match="no concept of these findings"):
        PTBXL.concept_prompts(["NORM"])


def excludes(a: str, b: str) -> bool:
    return bool(PTBXL.exclusive_pairs([a, b])[0, 1])


@pytest.mark.parametrize("task", TASKS)
def test_pairs_are_symmetric_and_no_finding_excludes_itself(task: str):
    pairs = PTBXL.exclusive_pairs(PTBXL.task_codes(task))
    assert (pairs == pairs.T).all()
    assert not pairs.diagonal().any()


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("SR", "AFIB"), ("STACH", "SBRAD"), ("AFIB", "1AVB"), ("AFIB", "PSVT"), ("SARRH", "AFIB"),
        ("AFLT", "LPR"),
        ("CLBBB", "ILBBB"), ("CRBBB", "IRBBB"), ("CLBBB", "CRBBB"), ("LAFB", "LPFB"),
        ("NORM", "IMI"), ("NORM", "MI"), ("NORM", "AFIB"), ("LVOLT", "HVOLT"), ("1AVB", "3AVB"),
        ("CLBBB", "LAFB"), ("WPW", "1AVB"), ("IMI", "ILMI"), ("ISC_", "ISCIL"), ("NDT", "ISCAL"),
        ("NORM", "LAFB"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_exclusive(a: str, b: str):
    assert excludes(a, b) and excludes(b, a)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("SR", "PVC"), ("SR", "BIGU"), ("AFIB", "PVC"), ("AFIB", "PACE"), ("PSVT", "SVTAC"),
        ("AFIB", "AFLT"), ("SR", "PSVT"), ("AFLT", "SVTAC"), ("AFLT", "2AVB"), ("NORM", "1AVB"),
        ("ASMI", "ALMI"), ("ISCAS", "ISCAL"),
        ("SBRAD", "SARRH"), ("SR", "SARRH"), ("CRBBB", "LAFB"), ("AFIB", "3AVB"), ("NORM", "SR"),
        ("NORM", "SBRAD"), ("NORM", "IRBBB"), ("LVH", "VCLVH"), ("SR", "LVH"), ("IMI", "ASMI"),
    ],
)  # fmt: skip
def test_what_occurs_together_is_not_exclusive(a: str, b: str):
    assert not excludes(a, b)


def test_ptbxl_states_both_of_a_pair_in_few_records(shared_metadata: Path):
    table = pd.read_csv(shared_metadata / "ptbxl_database.csv")
    stated = [ast.literal_eval(codes) for codes in table["scp_codes"]]
    y_true = np.array([[code in record for code in PTBXL.codes] for record in stated])
    pairs = PTBXL.exclusive_pairs(PTBXL.codes)
    assert np.triu(pairs).sum() == 116
    assert ((y_true @ pairs) & y_true).any(axis=1).mean() < 0.007


def test_no_pair_is_stated_together_in_more_than_a_negligible_share(shared_metadata: Path):
    """Folds 1 to 7; STACH and AFLT are stated by two readers, see docs/explanation/certainty.md."""
    table = pd.read_csv(shared_metadata / "ptbxl_database.csv")
    table = table[table["strat_fold"] <= 7]
    stated = [ast.literal_eval(codes) for codes in table["scp_codes"]]
    y_true = np.array([[code in record for code in PTBXL.codes] for record in stated])
    counts = y_true.sum(axis=0)
    both = y_true.T.astype(int) @ y_true
    common = {}
    for a, b in zip(*np.triu(PTBXL.exclusive_pairs(PTBXL.codes)).nonzero(), strict=True):
        if both[a, b] > max(1, 0.05 * min(counts[a], counts[b])):
            common[PTBXL.codes[a], PTBXL.codes[b]] = int(both[a, b])
    assert common == {("STACH", "AFLT"): 5}


def test_findings_need_leads_that_show_them():
    codes = [*STATEMENTS, *CLASSES]
    n_unseen = [
        int(PTBXL.not_assessable(codes, available_leads(leads)).sum())
        for leads in LEAD_SETS.values()
    ]
    assert n_unseen[:3] == sorted(n_unseen[:3]) and n_unseen[0] == 0 < min(n_unseen[2:])
    limb = PTBXL.not_assessable(["IMI", "ASMI", "ILMI", "NORM"], available_leads(["I", "II"]))
    assert limb.tolist() == [False, True, False, True]
