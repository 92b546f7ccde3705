"""The notice of models of simulated ECGs is on printed pages, in each language."""

from __future__ import annotations

import numpy as np
import pytest

from ecg_siglip.core.translation import LANGUAGE_NAMES
from ecg_siglip.models.provenance import SIMULATED
from ecg_siglip.reporting.ecg_plot import ecg_figure
from ecg_siglip.reporting.origin_notice import RED, add_origin_notice


@pytest.mark.parametrize("language", LANGUAGE_NAMES)
def test_the_notice_is_red_and_translated(language):
    figure = add_origin_notice(ecg_figure(np.zeros((12, 1000)), 100.0), language)
    (text,) = figure.texts
    assert (text.get_text() == SIMULATED) == (language == "en")
    assert text.get_bbox_patch().get_facecolor()[:3] == pytest.approx(
        [int(RED[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    )
