"""HTML pages: templates, numbers and inline figures."""

from __future__ import annotations

import base64
import io
import math
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from matplotlib import rc_context
from matplotlib.figure import Figure

from ecg_siglip.core.translation import ENGLISH, translations
from ecg_siglip.metrics.likelihood import percent, scale_in_words


def inline_figure(figure: Figure, kind: str, alt: str) -> dict[str, str]:
    """Return a figure as an inline image: svg keeps its size in mm, png is small for charts.

    The same figure gives the same bytes.
    """
    buffer = io.BytesIO()
    if kind == "svg":
        with rc_context({"svg.hashsalt": alt}):
            figure.savefig(buffer, format="svg", metadata={"Date": None})
    else:
        figure.savefig(buffer, format="png", dpi=150, transparent=True)
    mime = {"svg": "image/svg+xml", "png": "image/png"}[kind]
    return {
        "source": f"data:{mime};base64,{base64.b64encode(buffer.getvalue()).decode()}",
        "alt": alt,
        "width": f"{figure.get_figwidth():.3f}in",
    }


def format_number(value: float | None, digits: int = 3) -> str:
    """Format a number for a reader; a dash where there is none."""
    if value is None or math.isnan(value):
        return "–"
    if isinstance(value, (int, np.integer)):
        return f"{value:,}"
    if value and abs(value) < 10**-digits:
        return f"{value:.1g}"
    return f"{value:.{digits}f}"


def load_template(name: str, *folders: Path, language: str = ENGLISH) -> Template:
    """Load a template; what is inserted into it is text, never markup.

    Texts within ``_("...")`` and ``{% trans %}`` are translated.

    Parameters
    ----------
    name : str
        File in ``reporting/templates/`` or in one of ``folders``.
    folders : Path
        Further folders, searched before that one.
    language : str
        Key of ``LANGUAGE_NAMES``.
    """
    environment = Environment(
        loader=FileSystemLoader([*folders, Path(__file__).with_name("templates")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    texts = translations(language)
    environment.install_gettext_callables(texts.gettext, texts.ngettext, newstyle=True)  # type: ignore[attr-defined]
    environment.globals["language"] = language
    environment.filters["number"] = format_number
    environment.filters["percent"] = percent
    environment.globals["likelihoods"] = scale_in_words(texts.gettext)
    return environment.get_template(name)
