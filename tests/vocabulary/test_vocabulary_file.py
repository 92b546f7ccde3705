"""A vocabulary is read from YAML or CSV; a wrong one is refused with file and line."""

import contextlib
import json
import re
import time

import numpy as np
import pytest

from ecg_siglip.vocabulary import load_vocabulary, ptbxl
from ecg_siglip.vocabulary.vocabulary_file import snomed_code, vocabulary_from_json

OWN = """\
language: ja
findings:
  - code: "NO"
    name: 正常心電図
    groups: [normal]
    excludes: [梗塞, AF]
  - code: 1E3
    name: 心房細動を伴う頻拍
    groups: [rhythm]
    implies: [AF]
  - code: AF
    name: 心房細動
    groups: [rhythm]
    snomed: 164889003
    prompts:
      ja: [心房細動、f波, 細動波]
      en: atrial fibrillation
  - code: MI/inf
    name: 下壁梗塞
    leads: [II|iii|AVF]
    comment: as the device writes it
    count: 12
classes:
  - code: 梗塞
    name: 心筋梗塞
tasks:
  classes:
    梗塞: [MI/inf]
    AF: [AF]
"""
CSV = """\
code,name,prompt_ja,prompt_en,snomed,group,leads,excludes,implies,count
NO,正常心電図,,,,normal,,AF,,3
1E3,心房細動を伴う頻拍,,,,rhythm,,,AF,
AF,心房細動,心房細動、f波;細動波,atrial fibrillation,164889003,rhythm,,,,9
MI/inf,下壁梗塞,,,,,II|iii|AVF;V1,,,
"""


@pytest.fixture
def read(tmp_path):
    """Reads a vocabulary from the content of a file."""

    def make(content: str | bytes, name: str = "own.yaml"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return load_vocabulary(path)

    return make


def test_a_yaml_file_has_all_that_is_known_about_its_findings(read):
    own = read(OWN)
    assert own.codes == ("NO", "1E3", "AF", "MI/inf")
    assert own.languages == ("ja", "en")
    assert own.name == "own.yaml"
    assert own.prompts(["NO", "AF"]) == ["正常心電図", "心房細動、f波"]
    assert own.prompts(["NO", "AF"], "en") == ["正常心電図", "atrial fibrillation"]
    assert own.wordings(["NO", "AF"]) == [["正常心電図", "心房細動、f波"], ["正常心電図", "細動波"]]
    assert own.from_snomed(164889003) == ("AF",)
    assert list(own.tasks) == ["all", "normal", "rhythm", "classes"]
    assert own.task_codes("rhythm") == ("1E3", "AF")
    assert own.task_codes("classes") == ("梗塞", "AF")
    assert own.entry("MI/inf").leads == (("II", "III", "aVF"),)
    assert not own.not_assessable(own.codes, [True] * 12).any()
    chest_only = own.not_assessable(own.codes, np.arange(12) >= 6)
    assert chest_only.tolist() == [False, False, False, True]


def test_a_record_has_what_its_findings_imply(read):
    own = read(OWN)
    assert own.implied("1E3") == {"1E3", "AF"}
    assert own.to_task({"1E3": 80.0}, "all") == {"1E3": 80.0, "AF": 80.0}
    assert own.to_task({"1E3": 80.0, "MI/inf": 100.0}, "classes") == {"梗塞": 100.0, "AF": 80.0}


def test_what_a_finding_excludes_holds_for_classes_and_for_what_implies_it(read):
    own = read(OWN)
    pairs = own.exclusive_pairs(own.codes)
    assert (pairs == pairs.T).all()
    assert pairs[0].tolist() == [False, True, True, True]
    assert not pairs[1:, 1:].any()
    assert own.exclusive_pairs(["NO", "梗塞"])[0, 1]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_has_one_row_per_finding(read, delimiter):
    content = CSV
    if delimiter == ";":
        rows = [line.split(",") for line in CSV.splitlines()]
        content = "\r\n".join(";".join(f'"{cell}"' for cell in row) for row in rows)
    elif delimiter == "\t":
        content = CSV.replace(",", "\t")
    own = read("\ufeff" + content, "own.tsv" if delimiter == "\t" else "own.CSV")
    assert own.codes == ("NO", "1E3", "AF", "MI/inf")
    assert own.entry("AF").prompts == {
        "en": ("atrial fibrillation",),
        "ja": ("心房細動、f波", "細動波"),
    }
    assert own.task_codes("rhythm") == ("1E3", "AF")
    assert own.entry("MI/inf").leads == (("II", "III", "aVF"), ("V1",))
    assert own.exclusive_pairs(["NO", "1E3"])[0, 1]


def test_names_alone_are_enough(read):
    own = read("code,name\nA,Erster Befund\nB,Zweiter Befund\n", "own.csv")
    assert own.prompts(["B"]) == ["Zweiter Befund"]
    assert own.languages == ("en",)
    assert not own.exclusive_pairs(own.codes).any()
    assert not own.states_leads
    only_japanese = read("code,name,prompt_ja\nA,a,あ\nB,b,い\n", "own.csv")
    assert only_japanese.languages == ("ja",)


@pytest.mark.parametrize("vocabulary", [ptbxl, None])
def test_a_vocabulary_is_the_same_after_json(read, vocabulary):
    given = vocabulary() if vocabulary else read(OWN)
    again = vocabulary_from_json(json.loads(json.dumps(given.to_json())), "model m")
    assert again == given
    assert again.to_json() == given.to_json()


def test_ptbxl_by_its_file_is_the_packaged_one(tmp_path):
    from ecg_siglip.vocabulary import vocabulary_file

    content = vocabulary_file.Path(vocabulary_file.__file__).with_name("ptbxl.yaml").read_text()
    (tmp_path / "copy.yaml").write_text(content)
    copied, packaged = load_vocabulary(tmp_path / "copy.yaml"), load_vocabulary("ptbxl")
    assert packaged is ptbxl()
    assert copied.to_json() | {"name": "ptbxl"} == packaged.to_json()


@pytest.mark.parametrize("number", [164889003, 67741000119109, 426783006, 59118001])
def test_a_snomed_code_has_a_check_digit(number):
    assert snomed_code(str(number)) == number
    with pytest.raises(ValueError, match="check digit"):
        snomed_code(str(number + 1))


def entry(**changes: str) -> str:
    lines = {"code": "B", "name": "second"} | changes
    body = "\n".join(f"    {key}: {value}" for key, value in lines.items())
    return f"findings:\n  - code: A\n    name: first\n  -\n{body}\n"


# Content, the line that is named, and a part of the message.
WRONG_YAML = {
    "empty": ("", 1, "no findings"),
    "no findings": ("language: en\n", 1, "no findings"),
    "list": ("- code: A\n", 1, "expected keys with values"),
    "not yaml": ("findings: [\n", 2, "not valid YAML"),
    "tab": ("findings:\n\t- code: A\n", 2, "not valid YAML"),
    "control character": ("findings:\n  - code: A\n    name: a\x07b\n", 3, "not valid YAML"),
    "two documents": ("findings: a\n---\nfindings: b\n", 2, "not valid YAML"),
    "deep": ("findings: " + "[" * 5000 + "]" * 5000, 1, "lists within lists"),
    "alias": ("findings: &a\n  - code: A\n    name: a\nclasses: *a\n", 1, "anchors and aliases"),
    "key twice": ("language: en\nlanguage: de\n", 2, "language occurs twice"),
    "unknown top key": ("finding:\n  - code: A\n", 2, "'finding'; did you mean findings?"),
    "text as findings": ("findings: A\n", 1, "an entry: expected keys with values"),
    "unknown key": (entry(snowmed="1"), 7, "'snowmed'; did you mean snomed"),
    "no code": ("findings:\n  - name: a\n", 2, "an entry without code"),
    "no name": ("findings:\n  - code: A\n", 2, "an entry without name"),
    "empty code": (entry(code="''"), 5, "code: is empty"),
    "empty name": (entry(name=""), 6, "name of B: is empty"),
    "long name": (entry(name="x" * 301), 6, "301 characters, 300 at most"),
    "long code": (entry(code="x" * 65), 5, "65 characters, 64 at most"),
    "semicolon": (entry(code="B;C"), 5, "expected a code without ';'"),
    "bracket": (entry(code="'B[1]'"), 5, "expected a code without '['"),
    "doubled code": (entry(code="A"), 5, "code A occurs twice, first in line 2"),
    "doubled name": (entry(name="First"), 5, "B has the name of A"),
    "doubled prompt": (entry(prompts="First"), 5, "B has the prompt in en of A"),
    "empty prompts": (entry(prompts=""), 7, "prompts of B: the list is empty"),
    "empty prompt": (entry(prompts="{de: ''}"), 7, "prompts of B: de is empty"),
    "empty wording": (entry(prompts="[a, '']"), 7, "prompts of B: is empty"),
    "wording twice": (entry(prompts="[a, a]"), 7, "a occurs twice"),
    "no language": (entry(prompts="{english: b}"), 7, "expected a language such as en"),
    "vocabulary language": ("language: Deutsch\n" + entry(), 1, "language: expected one such as"),
    "nested list": (entry(groups="[[a]]"), 7, "groups of B: expected a text"),
    "table for a list": (entry(groups="{a: b}"), 7, "groups of B: expected a list"),
    "group all": (entry(groups="all"), 7, "one word other than all"),
    "group of two words": (entry(groups="a b"), 7, "groups of B: expected one word"),
    "unknown lead": (entry(leads="[V1|V9]"), 7, "leads of B: unknown lead 'V9'"),
    "snomed text": (entry(snomed="AFIB"), 7, "expected a SNOMED CT code"),
    "snomed rounded": (entry(snomed="6.77E+13"), 7, "expected a SNOMED CT code"),
    "snomed check digit": (entry(snomed="164889004"), 7, "its check digit is wrong"),
    "unknown excludes": (entry(excludes="[a]"), 5, "excludes of B: unknown code 'a'; did you mean"),
    "unknown implies": (entry(implies="[X1]"), 5, "implies of B: unknown code 'X1'; it is no"),
    "implies itself": (entry(implies="[B]"), 5, "implies of B: names the finding itself"),
    "excludes and implies": (entry(implies="[A]", excludes="[A]"), 5, "implies A and excludes it"),
    "cycle": (
        entry(implies="[A]").replace("first\n", "first\n    implies: B\n"), 2,
        "A implies B, which implies A: a cycle",
    ),
    "implies two exclusive": (
        entry(implies="[A, C]") + "  - code: C\n    name: c\nexclusive:\n  - [A, C]\n", 5,
        "B implies A and C, which exclude each other",
    ),
    "unknown exclusive": (entry() + "exclusive:\n  - [A, X]\n", 8, "exclusive: unknown code 'X'"),
    "exclusive of one": (entry() + "exclusive:\n  - [A]\n", 8, "lists of two or more"),
    "unknown class": (entry() + "tasks:\n  t:\n    X: [A]\n", 9, "task t: unknown class X"),
    "unknown member": (entry() + "tasks:\n  t:\n    A: [C]\n", 9, "of task t: unknown code 'C'"),
    "no members": (entry() + "tasks:\n  t:\n    A: []\n", 9, "class A of task t: has no findings"),
    "class without task": (entry() + "classes:\n  - code: C\n    name: c\n", 8, "is in no task"),
    "group and task": (
        entry(groups="t") + "tasks:\n  t:\n    A: [A]\n", 5, "has the name of a task with classes",
    ),
    "concept without members": (
        entry() + "concepts:\n  - prompts: a\n", 8, "concept a: has no members",
    ),
    "concept in another language": (
        entry() + "concepts:\n  - prompts: {de: a}\n    members: [A]\n", 8, "a prompt in en",
    ),
}  # fmt: skip
WRONG_CSV = {
    "empty": ("", 1, "expected a column named code"),
    "no rows": ("code,name\n", 1, "no findings"),
    "unknown column": ("code,name,colour\nA,a,b\n", 1, "column 3, 'colour': expected code, name"),
    "column twice": ("code,name,name\nA,a,b\n", 1, "column name occurs twice"),
    "cells": ("code,name\nA,a\n\nB\n", 4, "1 cells, expected 2"),
    "quote": ('code,name\nA,"a\n', 2, "not a valid table"),
    "long cell": ("code,name\nA," + "a" * 140000 + "\n", 2, "not a valid table: field larger"),
    "after a cell of two lines": ('code,name\nA,"a\nb"\nA,c\n', 4, "code A occurs twice"),
    "empty code": ("code,name\n ,a\n", 2, "code: is empty"),
    "language twice": ("code,name,prompt,prompt_en\nA,a,b,c\n", 2, "prompts of A: in en twice"),
    "unknown lead": ("code,name,leads\nA,a,V1|X\n", 2, "leads of A: unknown lead 'X'"),
}


@pytest.mark.parametrize("case", WRONG_YAML)
def test_a_wrong_yaml_file_is_refused_with_its_line(read, case):
    content, line, message = WRONG_YAML[case]
    assert_refused(read, content, "own.yaml", line, message)


@pytest.mark.parametrize("case", WRONG_CSV)
def test_a_wrong_table_is_refused_with_its_line(read, case):
    content, line, message = WRONG_CSV[case]
    assert_refused(read, content, "own.csv", line, message)


def assert_refused(read, content, name, line, message):
    with pytest.raises(ValueError, match=f"{name}, line {line}: .*{re.escape(message)}") as caught:
        read(content, name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("own.txt", "code,name", "expected ptbxl, or a file that ends in .yaml"),
        ("own.csv", "code,name\nA,左脚".encode("cp932"), "own.csv, line 2: not UTF-8"),
        ("own.yaml", b"#" * (2 << 20) + b"#", "larger than 2 MB"),
        ("own.csv", "code,name\n" + "".join(f"A{i},n{i}\n" for i in range(2001)), "2000 at most"),
    ],
)
def test_a_file_of_another_kind_is_refused(read, name, content, message):
    with pytest.raises(ValueError, match=message):
        read(content, name)


def test_an_absent_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no such file"):
        load_vocabulary(tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    "content",
    [
        "findings: " + "[" * 200_000,
        "findings: " + "{a: " * 100_000,
        "exclusive: [" + "[A, B], " * 150_000 + "]\nfindings: [{code: A, name: a}]\n",
        "findings: [{code: A, name: a, groups: ["
        + ", ".join(f"g{i}" for i in range(150_000))
        + "]}]",
        "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(f"b{i}: [*a,*a]\n" for i in range(9)),
    ],
    ids=["lists", "tables", "exclusive", "groups", "aliases"],
)
def test_no_file_takes_long(read, content):
    begin = time.process_time()
    with contextlib.suppress(ValueError):
        read(content)
    assert time.process_time() - begin < 20


@pytest.mark.parametrize("values", [None, [], {}, {"name": 3}, {"name": "x", "findings": [1]}])
def test_a_damaged_vocabulary_of_a_model_is_refused(values):
    with pytest.raises(ValueError, match="^model m: "):
        vocabulary_from_json(values, "model m")


def test_a_table_as_a_spreadsheet_exports_it(tmp_path):
    text = "sep=;\r\nCode;Name;;\r\nAF;atrial fibrillation;;\r\n;;;\r\nSR;sinus rhythm;;\r\n"
    (tmp_path / "v.csv").write_bytes(text.encode("utf-8-sig"))
    assert load_vocabulary(tmp_path / "v.csv").codes == ("AF", "SR")
    (tmp_path / "v.csv").write_bytes((text + "AF;again;;\r\n").encode())
    with pytest.raises(ValueError, match="line 6: code AF occurs twice, first in line 3"):
        load_vocabulary(tmp_path / "v.csv")


@pytest.mark.parametrize("code", ["path", "fold", "*", "unknown"])
def test_a_code_with_another_meaning_in_tables_is_refused(tmp_path, code):
    (tmp_path / "v.csv").write_text(f"code,name\nAF,x\n{code},y\n")
    with pytest.raises(ValueError, match="line 3: code .* has another meaning in a table"):
        load_vocabulary(tmp_path / "v.csv")


def test_names_in_other_languages_from_yaml_csv_and_prompts(tmp_path):
    (tmp_path / "own.yaml").write_text(
        "language: en\n"
        "findings:\n"
        "  - {code: AF, name: atrial fibrillation, names: {de: Vorhofflimmern, ja: 心房細動}}\n"
        "  - {code: SR, name: sinus rhythm, prompts: {de: 'sinusrhythmus (SR, neu), P vor QRS'}}\n",
        encoding="utf-8",
    )
    vocabulary = load_vocabulary(tmp_path / "own.yaml")
    assert vocabulary.names(["AF", "SR"], "de") == ["Vorhofflimmern", "Sinusrhythmus (SR, neu)"]
    assert vocabulary.names(["AF", "SR"], "ja") == ["心房細動", "sinus rhythm"]
    assert vocabulary.names(["AF", "SR"]) == ["atrial fibrillation", "sinus rhythm"]
    again = vocabulary_from_json(vocabulary.to_json(), "vocabulary.json")
    assert again.names(["AF"], "ja") == ["心房細動"]
    (tmp_path / "own.csv").write_text(
        "code,name,name_de\nAF,atrial fibrillation,Vorhofflimmern\nSR,sinus rhythm,\n",
        encoding="utf-8",
    )
    table = load_vocabulary(tmp_path / "own.csv")
    assert table.names(["AF", "SR"], "de") == ["Vorhofflimmern", "sinus rhythm"]


def test_names_of_no_language_are_refused(tmp_path):
    (tmp_path / "own.yaml").write_text("findings:\n  - {code: A, name: a, names: {German: b}}\n")
    with pytest.raises(ValueError, match="line 2: names of A: expected a language"):
        load_vocabulary(tmp_path / "own.yaml")
