"""Model card: use, training, scores with their bias, and metadata for the hub."""

import pytest
import yaml

from ecg_siglip.models.model_card import model_card
from ecg_siglip.models.provenance import Provenance

NAMES = {"AFIB": "Atrial fibrillation", "NORM": "Normal ECG"}
WAVEFORM = {"to_fs": 100, "duration_s": 10.0}
TUNE = {"n_records": 20, "macro_auroc_min5": 0.91, "ece": None}
TEST = {"n_records": 30, "macro_auroc_min5": 0.9, "macro_auroc_min5/low": 0.85}
TEST |= {"macro_auroc_min5/high": 0.95}


def card(folds=None, **fields):
    base = {"run": "small", "data": "150 records", "text": "small", "tune_fold": 9}
    return model_card(
        Provenance(**base | {"tune_scores": TUNE} | fields),
        NAMES,
        WAVEFORM,
        "ptbxl",
        "me/ecg",
        folds,
    )


def test_scores_are_a_table_with_intervals():
    lines = card({10: TEST}).splitlines()
    assert "| | fold 10 | tuning fold 9 |" in lines
    assert "| records | 30 | 20 |" in lines
    assert "| macro AUROC | 0.900 [0.850, 0.950] | 0.910 |" in lines
    assert "| calibration error | – | – |" in lines


def test_the_bias_of_the_tuning_fold_is_stated():
    assert "Scores of the tuning fold 9 are optimistically biased" in card()


def test_the_hub_gets_the_scores_of_test_folds_only():
    head = yaml.safe_load(card({10: TEST}).split("---\n")[1])
    (result,) = head["model-index"][0]["results"]
    assert result["dataset"]["name"].endswith("fold 10")
    assert result["metrics"] == [
        {"type": "macro_auroc_min5", "name": "macro AUROC", "value": 0.9},
    ]
    assert "model-index" not in yaml.safe_load(card().split("---\n")[1])


@pytest.mark.parametrize(
    ("text", "has_licence"), [("small", False), ("none", False), ("hf/name", True)]
)
def test_the_licence_of_a_pretrained_text_encoder_is_named(text, has_licence):
    assert ("initialized from `hf/name`, whose licence" in card(text=text)) == has_licence


def test_the_origin_of_the_ecg_encoder_is_named():
    assert "ECG encoder initialized at random" in card()
    start = Provenance("start", data="9 records")
    assert "initialized from that of start, trained on 9 records" in card(pretrained=start)


def test_data_sets_with_a_tuning_of_their_own_are_named():
    text = model_card(Provenance("r", tune_scores=TUNE), NAMES, WAVEFORM, sources=["a", "b"])
    assert "- `source=a`: calibration and thresholds of this data set alone\n- `source=b`" in text
    assert "`source=" not in card()


def test_the_layout_of_ptbxl_is_named_only_for_data_that_have_it():
    assert "- data: 150 records, in the layout of [PTB-XL]" in card()
    assert "- data: 5 records, records sha256 1\n" in card(data="5 records, records sha256 1")


def test_every_finding_is_listed():
    for code, name in NAMES.items():
        assert f"- `{code}`: {name}" in card()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"simulated": True}, "**Trained on simulated ECGs: not for real ones.**"),
        (
            {"n_train_records": 40, "n_simulated_records": 10},
            "10 of 40 training ECGs are simulated",
        ),
        ({"simulated": None}, "It is not noted whether"),
    ],
)
def test_simulated_training_ecgs_are_stated_before_anything_else(fields, expected):
    body = card(**fields).partition("# small: ")[2]
    assert body.index(expected) < body.index("For research")
    assert expected not in card()
