"""Texts of reports name findings, models and operating points as a reader knows them."""

from ecg_siglip.reporting.record_texts import PACKAGED, model_text, with_code


def test_a_finding_has_one_pair_of_brackets():
    assert with_code("Myokardinfarkt (Hinterwand)", "IMI") == "Myokardinfarkt (Hinterwand; IMI)"
    assert with_code("心筋梗塞（下壁）", "IMI") == "心筋梗塞（下壁; IMI）"


def test_the_model_of_the_package_is_named_as_such():
    assert model_text(f"{PACKAGED} (0.3.0)", "de") == "Modell des Pakets (0.3.0)"
    assert model_text("my_run (0.3.0)") == "Model my_run (0.3.0)"
