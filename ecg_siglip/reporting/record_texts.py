"""Short texts of record reports and of the web page, in the language of the reader."""

from __future__ import annotations

from collections.abc import Mapping

from ecg_siglip.core.translation import ENGLISH, translator
from ecg_siglip.metrics.likelihood import percent
from ecg_siglip.readers.identity import Identity

PACKAGED = "default_model"  # run of the model of the package


def with_code(name: str, code: str) -> str:
    """Return the name of a finding with its code, in one pair of brackets.

    Examples
    --------
    >>> with_code("Atrial fibrillation", "AFIB"), with_code("Infarction (inferior)", "IMI")
    ('Atrial fibrillation (AFIB)', 'Infarction (inferior; IMI)')
    """
    return f"{name[:-1]}; {code}{name[-1]}" if name.endswith((")", "）")) else f"{name} ({code})"


def model_text(title: str, language: str = ENGLISH) -> str:
    """Return the name of a model for readers; that of the package has a name of no meaning.

    Examples
    --------
    >>> model_text("default_model (0.3.0)"), model_text("my_run (0.3.0)")
    ('Model of the package (0.3.0)', 'Model my_run (0.3.0)')
    """
    _ = translator(language)
    name, _space, rest = title.partition(" ")
    if name == PACKAGED:
        return f"{_('Model of the package')} {rest}".rstrip()
    return f"{_('Model')} {title}"


def as_recorded(identity: Identity, language: str = ENGLISH) -> str:
    """Return that a signal is drawn as recorded, with the filters that the device applied."""
    _ = translator(language)
    filters = {
        _("high-pass"): identity.high_pass,
        _("low-pass"): identity.low_pass,
        _("notch"): identity.notch,
    }
    stated = [f"{name} {value}" for name, value in filters.items() if value]
    of_device = [_("filtered by the device:") + " " + ", ".join(stated)] if stated else []
    return ", ".join([_("as recorded"), *of_device])


def operating_point(
    rule: str, language: str = ENGLISH, scores: Mapping[str, float | None] | None = None
) -> str:
    """Return what a threshold rule aims at, in words, or what it reached on the tuning fold.

    Parameters
    ----------
    rule : str
    language : str
    scores : mapping of str to float or None, optional
        Of the tuning fold, with ``<rule>/micro_sensitivity`` and ``<rule>/micro_precision``.

    Examples
    --------
    >>> operating_point("sensitivity_0.9")
    'Screening (aims to find 90 % of each finding)'
    """
    _ = translator(language)
    kind, _underscore, level = rule.rpartition("_")
    aims = {
        "sensitivity": (_("Screening"), _("aims to find %(target)s of each finding")),
        "precision": (_("Confirm"), _("aims to be right in %(target)s of the reported findings")),
    }
    balanced = (
        _("Balanced"),
        _("thresholds chosen per finding as a compromise between missed and false findings"),
    )
    point, aim = aims.get(kind, balanced)
    reached = [(scores or {}).get(f"{rule}/micro_{name}") for name in ("sensitivity", "precision")]
    if None not in reached:
        found, right = (percent(value) for value in reached if value is not None)
        text = _(
            "%(point)s (on the tuning fold, it finds %(found)s of the findings, and %(right)s of "
            "those reported are right)"
        )
        return text % {"point": point, "found": found, "right": right}
    return f"{point} ({aim % {'target': percent(float(level))} if kind in aims else aim})"
