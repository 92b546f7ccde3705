"""Settings that exclude each other are refused before any data are read."""

import pytest

from ecg_siglip.training.checks import check_train_settings, with_language


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"objective.loss": "softmax", "objective.n_chunk": 8},
            r"objective\.n_chunk: .*expected null",
        ),
        (
            {"objective.loss": "softmax", "objective.across": "ring"},
            r"objective\.across=ring: .*expected gather",
        ),
        (
            {"text.name": "none", "objective.terms": "report/diagonal"},
            r"text=none with objective\.terms=report/diagonal.*expected objective=bank",
        ),
        (
            {"text.name": "none", "objective.terms": "bank+report/diagonal"},
            r"text=none with objective\.terms=bank\+report/diagonal",
        ),
        (
            {"objective.teachers": ["a"], "objective.terms": "findings/jaccard"},
            r"objective\.teachers with objective\.terms=findings/jaccard",
        ),
        ({"objective.terms": "bonk"}, r"objective\.terms='bonk'"),
        ({"ecg.locked": True}, r"ecg\.locked=true"),
        ({"data.train_folds": []}, r"data\.train_folds=\[\]: expected at least one fold"),
        ({"data.tune_fold": 8}, r"data\.tune_fold=8: expected a fold that is not trained on"),
    ],
)
def test_settings_that_exclude_each_other_are_refused(train_config, settings, message):
    with pytest.raises(ValueError, match=message):
        check_train_settings(train_config(**settings))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"objective.loss": "softmax", "objective.terms": "findings/diagonal"},
        {"objective.across": "ring", "objective.n_chunk": 8},
        {"text.name": "none", "ecg.locked": True},
        {"objective.teachers": ["a"], "objective.terms": "bank+finding/present:0.5"},
    ],
)
def test_settings_that_fit_are_accepted(train_config, settings):
    check_train_settings(train_config(**settings))


A, B = {"name": "a", "root": "x"}, {"name": "b", "kind": "table", "table": "t.csv"}


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ([{"root": "x"}], r"^data\.sources\[0\]\.name is missing; expected the name"),
        ([A, {"kind": "table"}], r"^data\.sources\[1\]\.name is missing"),
        ([A, A], r"^data\.sources: two have the name a; expected different names"),
        ([A, {"name": "b"}], r"^data\.sources\[1\]\.root is missing; expected the root of b"),
        ([A, {"name": "b", "kind": "table"}], r"^data\.sources\[1\]\.table is missing"),
        ([A, {"name": "b", "kind": "challenge"}], r"^data\.sources\[1\]\.root is missing"),
        ([A, B | {"kind": "ptbxl", "root": "y"}], r"\.table=t\.csv with kind=ptbxl: expected kind"),
        ([A | {"name": "a/b"}], r"\[0\]\.name=a/b: expected letters, digits"),
        ([A | {"name": ""}], r"\[0\]\.name=: expected letters, digits"),
        ([A | {"tune": False}, B | {"tune": False}], r"all have tune=false; expected one with"),
    ],
)
def test_a_source_that_is_not_fully_named_is_refused(train_config, sources, message):
    with pytest.raises(ValueError, match=message):
        check_train_settings(train_config(**{"data.sources": sources}))


def test_well_named_sources_and_single_data_sets_are_accepted(train_config):
    check_train_settings(train_config(**{"data.sources": [A, B | {"name": "病院 2.b-c+d"}]}))
    check_train_settings(train_config(**{"data.kind": "table", "data.table": "t.csv"}))
    with pytest.raises(
        ValueError, match=r"^data\.table=t\.csv with kind=ptbxl: expected kind=table"
    ):
        check_train_settings(train_config(**{"data.table": "t.csv"}))
    with pytest.raises(ValueError, match=r"^data\.root is missing; expected data\.root=\.\.\."):
        check_train_settings(train_config(**{"data.root": None}))


def test_the_language_is_that_of_the_vocabulary_unless_it_is_set(train_config, tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text("language: ja\nfindings: [{code: AF, name: 心房細動}]\n", "utf-8")
    assert with_language(train_config()).text.language == "en"
    assert with_language(train_config(vocabulary=str(file))).text.language == "ja"
    chosen = train_config(**{"text.language": "mixed", "vocabulary": str(file)})
    assert with_language(chosen).text.language == "mixed"
    check_train_settings(train_config(vocabulary=str(file)))


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("AF", "did you mean AFIB, "),
        ("afib", "did you mean AFIB?"),
        ("Vorhofflimmern", "did you mean AFIB?"),
        ("LBBB", "did you mean CLBBB, "),
        ("xyz", "expected some of NDT, "),
    ],
)
@pytest.mark.parametrize("setting", ["data.held_out", "objective.exclude"])
def test_an_unknown_code_is_named_with_what_it_may_mean(train_config, setting, code, hint):
    with pytest.raises(ValueError, match=f"{setting}: {code} is not a finding") as error:
        check_train_settings(train_config(**{setting: ["AFIB", code]}))
    assert hint in str(error.value)
