"""A starter vocabulary loads as it is, keeps every name, and suggests what the words mean."""

import re

import pytest

from ecg_siglip.simulation.hospital_labels import OWN_CODES, hospital_vocabulary
from ecg_siglip.vocabulary import load_vocabulary, ptbxl
from ecg_siglip.vocabulary.code_mapping import read_mapping
from ecg_siglip.vocabulary.starter import (
    StarterCode,
    mapping_csv,
    quoted,
    starter_yaml,
    suggest,
)

ODD = [
    *("心房細動", "AV block: 2:1", "# comment", "- item", "null", "~", "yes", "NO", "1E3", "01"),
    *('"quoted"', "it's", "a & b", "*star", "{x}", "[x]", "100 %", "Ärzte; Öl", "٣", "😀 beat"),
    *("trailing:", "x #y", "= 3", "? q", "! tag", "| pipe", "> fold", "@at", "`b`", "a\\b"),
]


def loaded(tmp_path, codes, language="ja", n_records=10):
    path = tmp_path / "own.yaml"
    path.write_text(starter_yaml(codes, n_records, "ecgs.csv", language), encoding="utf-8")
    return load_vocabulary(path)


def test_every_name_survives(tmp_path):
    codes = [StarterCode(f"c{i}", name) for i, name in enumerate(ODD)]
    words = loaded(tmp_path, codes, "en")
    assert words.names(words.codes) == ODD
    assert words.language == "en"


def test_codes_survive_that_yaml_reads_as_something_else(tmp_path):
    codes = ["NO", "1E3", "0x1F", "null", "~", "2:1", "AV-Block II°", "所見 1", "#1", "-", "<5"]
    words = loaded(tmp_path, [StarterCode(code, code) for code in codes])
    assert [*words.codes] == codes


def test_the_same_name_for_two_codes_is_made_different(tmp_path):
    codes = [StarterCode(c, "Vorhofflimmern") for c in ("A", "B", "C")]
    words = loaded(tmp_path, [*codes, StarterCode("D", "vorhofflimmern (b)")], "de")
    names = words.names("ABCD")
    assert names[:3] == ["Vorhofflimmern", "Vorhofflimmern (B)", "Vorhofflimmern (C)"]
    assert "A has the same name" in (tmp_path / "own.yaml").read_text("utf-8")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("atrial fibrillation", "AFIB"),
        ("Linksschenkelblock", "CLBBB"),
        ("Kompletter Rechtsschenkelblock", "CRBBB"),
        ("完全右脚ブロック", "CRBBB"),
        ("左室肥大（ストレイン型）", "LVH"),
        ("AFIB", "AFIB"),
        ("Hinterwandinfarkt", "IMI"),
    ],
)
def test_a_name_suggests_its_counterpart_in_three_languages(name, code):
    assert suggest(name).ptbxl[0].code == code


@pytest.mark.parametrize("name", ["基線動揺", "pizza", "X17", "", "--"])
def test_a_name_that_ptbxl_does_not_have_suggests_nothing(name):
    assert suggest(name).ptbxl == ()
    assert suggest(name).snomed is None


def test_a_code_of_snomed_ct_that_is_closer_is_suggested():
    assert suggest("ventricular tachycardia").snomed.code == "164895002"
    assert suggest("atrial fibrillation").snomed is None


def test_most_suggestions_for_the_hospital_are_right():
    words = hospital_vocabulary()
    right = [
        known in [match.code for match in suggest(words.entry(own).name).ptbxl]
        for known, own in OWN_CODES.items()
    ]
    assert sum(right) >= 62  # of 71


def test_accepted_suggestions_load(tmp_path):
    """A person who removes the # of every offered line has a vocabulary that loads."""
    words = hospital_vocabulary()
    codes = [StarterCode(entry.code, entry.name, 3) for entry in words.entries]
    text = starter_yaml(codes, 10, "ecgs.csv", "ja")
    accepted = re.sub(r"^    # ((?:snomed|leads|prompts|  \w\w):)", r"    \1", text, flags=re.M)
    path = tmp_path / "accepted.yaml"
    path.write_text(accepted, encoding="utf-8")
    vocabulary = load_vocabulary(path)
    assert set(vocabulary.languages) == {"ja", "en", "de"}
    atrial = vocabulary.entry(OWN_CODES["AFIB"])
    assert atrial.name == "心房細動"
    assert atrial.snomed == ptbxl().entry("AFIB").snomed
    assert vocabulary.prompts([atrial.code], "de") == ptbxl().prompts(["AFIB"], "de")
    assert vocabulary.entry(OWN_CODES["IMI"]).leads == (("II", "III", "aVF"),)


def test_counts_are_comments(tmp_path):
    text = starter_yaml([StarterCode("A", "心房細動", 72, 2)], 1000, "h/ecgs.csv", "ja")
    assert "    # present in 72 of 1000 ECGs, not assessed in 2\n" in text
    assert "h/ecgs.csv, 1000 ECGs" in text
    assert "PTB-XL: AFIB Atrial fibrillation (1.00)" in text


def test_a_line_end_in_a_name_of_a_table_cannot_leave_its_comment(tmp_path):
    text = starter_yaml([StarterCode("A", "x")], 1, "a\nfindings: []\n.csv", "en")
    assert text.count("\nfindings:") == 1


def test_the_mapping_is_one_for_data_codes(tmp_path):
    words = hospital_vocabulary()
    codes = [StarterCode(entry.code, entry.name, 3) for entry in words.entries]
    path = tmp_path / "codes.csv"
    path.write_text(mapping_csv(codes), encoding="utf-8")
    meanings = {each.code: each for each in read_mapping(path, ptbxl().codes)}
    assert [*meanings] == [*words.codes]
    assert (meanings["R06"].findings, meanings["R06"].relation) == (("AFIB",), "exact")
    assert (meanings["R20"].findings, meanings["R20"].relation) == (("AFIB",), "narrower")
    assert meanings["N01"].findings == ()
    exact = [m.findings[0] for m in meanings.values() if m.relation == "exact" and m.findings]
    assert len(exact) == len({*exact})


def test_a_class_is_mapped_to_its_findings(tmp_path):
    path = tmp_path / "codes.csv"
    path.write_text(mapping_csv([StarterCode("I21", "myocardial infarction")]), encoding="utf-8")
    (meaning,) = read_mapping(path, ptbxl().codes)
    assert meaning.relation == "broader"
    assert "IMI" in meaning.findings


@pytest.mark.parametrize("text", ODD)
def test_quotes_are_where_yaml_needs_them(text):
    import yaml

    assert yaml.load(f"a: {quoted(text)}", yaml.BaseLoader) == {"a": text}
