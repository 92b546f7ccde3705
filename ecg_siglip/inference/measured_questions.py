"""What the measurements of a record are for a question: values, and the comparison with a limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ecg_siglip.core.translation import Translate, translator
from ecg_siglip.signals.measurements import (
    NAMES,
    PER_LEAD,
    UNITS,
    Measurements,
    shown_spread,
)
from ecg_siglip.vocabulary.measurement_questions import Limit, MeasurementQuery

NO_LEAD = "the lead is missing"


@dataclass(frozen=True)
class MeasuredValue:
    """A measurement that a question is about.

    Attributes
    ----------
    name : str
        Field of ``Measurements``.
    lead : str
        Of an amplitude; empty otherwise.
    content : mapping
        As in ``Measurements.to_dict``: value, unit, and spread or reason.
    is_compared : bool
        Whether it counts in the comparison with the limits.
    """

    name: str
    lead: str
    content: Mapping[str, Any]
    is_compared: bool


@dataclass(frozen=True)
class MeasuredQuestion:
    """The measurements that a question is about.

    Attributes
    ----------
    values : tuple of MeasuredValue
    limits : tuple of Limit
        Empty if the question is for the values.
    comparison : {"", "beyond", "within"}
        See ``MeasurementQuery``.
    result : {"yes", "no", "unclear"} or None
        None without limits or if nothing could be measured; unclear if it depends on the formula
        or on whom the limit is for.
    is_close : bool
        A limit is within the spread of a value.
    findings : tuple of str
        Codes of findings about the same.
    """

    values: tuple[MeasuredValue, ...]
    limits: tuple[Limit, ...]
    comparison: str
    result: str | None
    is_close: bool
    findings: tuple[str, ...]

    def text(self, language: str) -> str:
        """Return values and comparison as a sentence or two in a language."""
        _ = translator(language)
        values = "; ".join(_value_text(value, _) for value in self.values)
        if self.result is None:
            return f"{values}."
        limits = ", ".join(_limit_text(limit, self.unit, _) for limit in self.limits)
        if source := next((limit.source for limit in self.limits if limit.source), ""):
            limits += f" ({_('usual limit in adults')}, {source})"
        if self.comparison == "within":
            limits = _("not beyond these limits: %(limits)s") % {"limits": limits}
        words = {"yes": _("yes"), "no": _("no"), "unclear": _("unclear")}
        sentence = f"{values}. {limits[:1].upper()}{limits[1:]}: {words[self.result]}."
        if self.result == "unclear":
            sentence += " " + _("It depends on the formula or on whom the limit is for.")
        if self.is_close:
            sentence += " " + _("The limit is within the spread of the measurement.")
        return sentence

    @property
    def unit(self) -> str:
        """Unit of the limits."""
        compared = next(value for value in self.values if value.is_compared)
        return str(compared.content["unit"])

    def to_dict(self, language: str) -> dict[str, Any]:
        """Return the values and the comparison as a JSON object."""
        _ = translator(language)
        values = []
        for value in self.values:
            row: dict[str, Any] = {"measurement": value.name, "name": _(NAMES[value.name])}
            row |= {"lead": value.lead} if value.lead else {}
            values.append(row | dict(value.content))
        content: dict[str, Any] = {"text": self.text(language), "values": values}
        if self.limits:
            limits = [
                {
                    "operator": limit.operator,
                    "value": limit.value,
                    "unit": self.unit,
                    **({"who": limit.who} if limit.who else {}),
                    **({"source": limit.source} if limit.source else {}),
                }
                for limit in self.limits
            ]
            content |= {"limits": limits, "comparison": self.comparison, "result": self.result}
        return content


def measured_question(query: MeasurementQuery, measured: Measurements) -> MeasuredQuestion:
    """Return what the measurements of a record are for a query.

    Parameters
    ----------
    query : MeasurementQuery
    measured : Measurements
    """
    content, values = measured.to_dict(), []
    for name in query.names:
        is_compared = name in query.compared
        if name not in PER_LEAD:
            values.append(MeasuredValue(name, "", content[name], is_compared))
            continue
        missing = {"value": None, "unit": "mV", "reason": measured.rate.reason or NO_LEAD}
        leads = query.leads or tuple(content[name]) or ("",)
        values += [
            MeasuredValue(name, lead, content[name].get(lead, missing), is_compared)
            for lead in leads
        ]
    compared = [value for value in values if value.is_compared]
    result = _compare(compared, query) if query.limits else None
    return MeasuredQuestion(
        tuple(values),
        query.limits,
        query.comparison,
        result,
        result is not None and _is_close(compared, query.limits),
        query.findings,
    )


def _compare(values: Sequence[MeasuredValue], query: MeasurementQuery) -> str | None:
    """Return whether values are beyond limits, or within: yes, no, unclear; None: not measured."""
    numbers = [v.content["value"] for v in values if v.content["value"] is not None]
    if not numbers:
        return None
    beyond = [limit.holds(number) for number in numbers for limit in query.limits]
    if query.comparison == "within":
        # One of two formulas, or the limit of one of two sexes, may be exceeded alone.
        sides = {limit.operator[0] for limit in query.limits}
        of_side = [
            [limit.holds(n) for n in numbers for limit in query.limits if limit.operator[0] == side]
            for side in sides
        ]
        if any(all(side) for side in of_side):
            return "no"
        return "unclear" if any(beyond) else "yes"
    if values[0].lead:  # in any of the leads
        return "yes" if any(beyond) else "no"
    return "yes" if all(beyond) else "unclear" if any(beyond) else "no"


def _is_close(values: Sequence[MeasuredValue], limits: Sequence[Limit]) -> bool:
    """Return whether a limit is within the spread of a value; that of the rate is no error."""
    return any(
        abs(one["value"] - limit.value) <= one["spread"]
        for one in (value.content for value in values if value.name != "rate")
        if "spread" in one
        for limit in limits
    )


def _value_text(value: MeasuredValue, _: Translate) -> str:
    """Return a value with its unit and spread, or why it is not measurable."""
    one = value.content
    name = " ".join(part for part in (_(NAMES[value.name]), value.lead) if part)
    if one["value"] is None:
        return f"{name}: {_('not measurable')} ({_(one['reason'])})"
    spread = f" (± {shown_spread(one['spread'], one['unit'])})" if "spread" in one else ""
    return f"{name} {one['value']:g} {_shown_unit(one['unit'])}{spread}"


def _limit_text(limit: Limit, unit: str, _: Translate) -> str:
    """Return a limit in words."""
    text = {
        ">": _("above %(limit)s"),
        ">=": _("at least %(limit)s"),
        "<": _("below %(limit)s"),
        "<=": _("at most %(limit)s"),
    }[limit.operator] % {"limit": f"{limit.value:g} {_shown_unit(unit)}"}
    who = {"men": _("men"), "women": _("women")}.get(limit.who)
    return f"{text} ({who})" if who else text


def _shown_unit(unit: str) -> str:
    return "°" if unit == UNITS["qrs_axis"] else unit
