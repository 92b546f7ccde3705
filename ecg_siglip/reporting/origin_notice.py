"""The red notice on printed pages of models that were trained on simulated ECGs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecg_siglip.core.translation import ENGLISH, translator
from ecg_siglip.models.provenance import SIMULATED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RED = "#b3261e"  # white letters on it have a contrast of 6.5 to 1


def add_origin_notice(figure: Figure, language: str = ENGLISH) -> Figure:
    """Write the notice in the upper right corner of a page; return the page."""
    box = {"facecolor": RED, "edgecolor": "none", "boxstyle": "square,pad=0.5"}
    text = translator(language)(SIMULATED)
    corner = (0.985, 0.985)
    figure.text(*corner, text, ha="right", va="top", color="white", weight="bold", bbox=box)
    return figure
