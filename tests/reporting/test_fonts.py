"""Figures show names in Japanese where a font for them is installed."""

import warnings

import pytest
from matplotlib import rcParams
from matplotlib.figure import Figure

from ecg_siglip.reporting.fonts import font_family, with_all_letters


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_japanese_letters_are_drawn(tmp_path, suffix):
    if len(font_family()) < 2:
        pytest.skip("needs a font with Japanese letters that Matplotlib knows")
    with with_all_letters():
        figure = Figure()
        figure.text(0.1, 0.5, "0.52  心房細動 (所見01), left bundle branch block")
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a letter without a font is a warning
            figure.savefig(tmp_path / f"out.{suffix}")
    assert (tmp_path / f"out.{suffix}").stat().st_size < 2_000_000


def test_the_fonts_of_other_figures_stay():
    before = list(rcParams["font.family"])
    with with_all_letters():
        assert rcParams["font.family"][0] == "DejaVu Sans"
    assert rcParams["font.family"] == before
