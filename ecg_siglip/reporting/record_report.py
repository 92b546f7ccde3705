"""What the report of one record shows: the ECG, findings, measurements and attributions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from ecg_siglip.core.files import visible
from ecg_siglip.core.translation import ENGLISH, Translate, translations, translator
from ecg_siglip.inference.decision import CRITICAL, NOT_EXCLUDED
from ecg_siglip.inference.prediction import Finding, Prediction, alternatives
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.metrics.likelihood import percent, scale_in_words
from ecg_siglip.readers.identity import DEVICE_NAMES, DeviceResults, Identity
from ecg_siglip.reporting.ecg_plot import ecg_figure
from ecg_siglip.reporting.record_texts import as_recorded, with_code
from ecg_siglip.signals.measurements import (
    NAMES,
    PER_LEAD,
    UNITS,
    Measurement,
    Measurements,
    shown_spread,
)
from ecg_siglip.signals.preprocessing import from_int16

PRINTED = tuple(name for name in UNITS if name != "rr_sd")  # on one line
OF_DEVICE = {"qtc": "QTc, formula not stated"}
LEAD_ROWS = {name: "Q/S" if name == "s" else NAMES[name] for name in PER_LEAD}
UNIT_TEXT = {"degrees": "°", "1/min": "/min", "ms": " ms"}
N_SHOWN = 12  # findings with a bar, if fewer are reported or not excluded


@dataclass(frozen=True)
class RecordReport:
    """What the report of a record shows.

    Attributes
    ----------
    record : str
    signal : ndarray of shape (12, n_samples), mV
        As recorded, at its own sampling rate.
    fs : float, Hz
    findings : sequence of Finding
        All that can be assessed, with names in the language of the report.
    warnings : sequence of str
    marks : mapping of code to ndarray of shape (12, n_samples), 0 to 1
        Samples that support a finding, for the findings that are explained.
    note : str
        Which part of a longer record the signal is.
    duration_s : float, s
        Length of a longer record.
    spans : mapping of code to sequence of (from, to), s
        When a finding is present in a longer record.
    not_assessable : sequence of str
        Names of the findings whose criteria need leads that the record does not have.
    similar : sequence of str
        Training ECGs most like this one, one line each.
    measurements : Measurements, optional
    critical : collection of str
        Codes of the findings that can need treatment at once.
    identity : Identity
        As the file states it.
    device : DeviceResults
        What the device stated: it is shown separately, and never mixed with the findings.
    model_simulated : bool
        The model was trained on simulated ECGs only.
    tune_scores : mapping of str to float or None
        Sensitivity and precision of threshold rules, see ``operating_point``.
    content : str
        What the signal is, such as "as recorded".
    language : str
        See ``core.translation``.
    """

    record: str
    signal: np.ndarray
    fs: float
    findings: Sequence[Finding]
    warnings: Sequence[str] = ()
    marks: Mapping[str, np.ndarray] = field(default_factory=dict)
    note: str = ""
    duration_s: float = 0.0
    spans: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    not_assessable: Sequence[str] = ()
    similar: Sequence[str] = ()
    measurements: Measurements | None = None
    critical: Collection[str] = ()
    identity: Identity = Identity()
    device: DeviceResults = DeviceResults()
    model_simulated: bool = False
    tune_scores: Mapping[str, float | None] = field(default_factory=dict)
    content: str = ""
    language: str = ENGLISH

    @property
    def title(self) -> str:
        """Name of the record without its folders."""
        return Path(self.record).name or self.record

    def reported(self) -> list[Finding]:
        """Return the findings that are present, the likeliest first."""
        return _likeliest_first(finding for finding in self.findings if finding.present)

    def not_excluded(self) -> list[Finding]:
        """Return the findings that are not excluded, the likeliest first."""
        unlikely = self.unlikely_critical()
        return _likeliest_first(
            finding for finding in self.findings if finding.not_excluded and finding not in unlikely
        )

    def unlikely_critical(self) -> list[Finding]:
        """Return the critical findings that are not excluded only because they are critical."""
        return _likeliest_first(
            finding
            for finding in self.findings
            if finding.not_excluded
            and finding.code in self.critical
            and finding.probability < NOT_EXCLUDED
        )

    def unlikely_critical_text(self) -> str:
        """Return these findings on one line; empty if there is none."""
        _ = translator(self.language)
        listed = [
            f"{with_code(finding.name, finding.code)} {percent(finding.probability)}"
            for finding in self.unlikely_critical()
        ]
        heading = _("Time-critical and very unlikely, not excluded")
        return f"{heading}{_(': ')}{_(', ').join(listed)}" if listed else ""

    def alternatives(self, code: str) -> list[Finding]:
        """Return the findings that a finding is reported in place of, the likeliest first."""
        return alternatives(self.findings, code)

    def groups(self) -> list[tuple[str, list[Finding]]]:
        """Return all that is reported, all that is not excluded, and the likeliest others.

        Alternatives of a reported finding are shown with it. Groups without a finding are left out,
        except what is not excluded. What ``unlikely_critical`` returns is in none of them.
        """
        first = [*self.reported(), *self.not_excluded(), *self.unlikely_critical()]
        others = _likeliest_first(
            finding
            for finding in self.findings
            if finding not in first and not finding.alternative_to
        )
        _ = translator(self.language)
        groups = {
            _("Reported"): self.reported(),
            _("Not reported, but not excluded"): self.not_excluded(),
            _("Not reported"): others[: max(0, N_SHOWN - len(first))],
        }
        always = _("Not reported, but not excluded")
        return [(title, shown) for title, shown in groups.items() if shown or title == always]

    def measured(self) -> list[MeasuredRow]:
        """Return the measurements that have no lead, with those of the device."""
        _, sentence = translator(self.language), translations(self.language).sentence
        of_device = {
            each.name: f"{each.value:g}{_(UNIT_TEXT[each.unit])}"
            for each in self.device.measurements
        }
        rows: list[MeasuredRow] = []
        last_reason = ""
        for name in UNITS if self.measurements is not None else ():
            one: Measurement = getattr(self.measurements, name)
            repeats = bool(one.reason) and one.reason == last_reason
            reason, last_reason = _("as above") if repeats else sentence(one.reason), one.reason
            device = of_device.pop(name, "")
            rows.append(MeasuredRow(_(NAMES[name]), value_text(one, _), reason, device))
        return rows + [
            MeasuredRow(_(OF_DEVICE.get(name, DEVICE_NAMES[name])), "", "", value)
            for name, value in of_device.items()
        ]

    def device_heading(self) -> str:
        """Return whose statements those of the file are."""
        _ = translator(self.language)
        if self.device.confirmed:
            return _("Stated in the file, confirmed by a person; not by this model")
        return _("Stated in the file by the device; not by this model")

    def identity_texts(self) -> list[str]:
        """Return patient, time and device, as far as the file states them and they are shown."""
        _, sentence = translator(self.language), translations(self.language).sentence
        who = self.identity
        labelled = {
            _("Patient"): who.patient_id,
            _("Record"): who.record_id,
            _("Age"): sentence(who.age),
            _("Sex"): _(who.sex) if who.sex else "",
            _("Recorded"): who.recorded_at.replace("T", " "),
            _("Device"): " ".join(filter(None, (who.device(), who.software, who.serial_number))),
        }
        return [f"{label}{_(': ')}{value}" for label, value in labelled.items() if value]

    def measurement_texts(self) -> list[str]:
        """Return name and value of each measurement, as on the print of an electrocardiograph."""
        _ = translator(self.language)
        texts = []
        for name in PRINTED:
            one: Measurement = getattr(self.measurements, name)
            value = "–" if one.value is None else value_text(one, _, with_spread=False)
            texts.append(f"{_(NAMES[name])} {value}")
        if any(getattr(self.measurements, name).value is None for name in PRINTED):
            texts[-1] += f" (–: {_('not measurable')})"
        return texts

    def measurement_note(self) -> str:
        """Return how the measurements were made."""
        assert self.measurements is not None
        text = translator(self.language)(
            "Measured by a program, for research, on the median of %(n)d beats. ±: standard error; "
            "of the heart rate: interquartile range over the beats. Q/S: the deeper of Q and S. "
            "Dashed lines: onset of P, onset and end of QRS, end of T, where they are measurable."
        )
        return text % {"n": self.measurements.n_beats}

    def word_note(self) -> str:
        """Return what is reported, and what the words mean."""
        _ = translator(self.language)
        text = _(
            "Reported: the probability reaches the threshold of that finding, which is low for "
            "rare findings. Not excluded: from %(listed)d %%, time-critical findings from "
            "%(critical)d %%. The word depends on the probability alone: %(scale)s. Of all "
            "findings with 70 %%, seven in ten are present, in records like those of the training "
            "data. Percentages are rounded down. In brackets: the code of the finding."
        )
        levels = {"listed": round(100 * NOT_EXCLUDED), "critical": round(100 * CRITICAL)}
        return text % {"scale": scale_in_words(_), **levels}

    def attribution_note(self) -> str:
        """Return what marks mean."""
        return translator(self.language)(
            "Blue: samples that raised the model's probability (integrated gradients). They show "
            "what the model used, which need not be what a cardiologist would use. What is low or "
            "missing, such as a flat T wave, cannot be marked."
        )

    def measured_leads(self) -> list[tuple[str, list[str]]]:
        """Return the names of R, S and ST with their values in the leads of ``lead_names``, mV."""
        if self.measurements is None:
            return []
        _ = translator(self.language)
        named = {name: getattr(self.measurements, name).values() for name in PER_LEAD}
        return [
            (
                _(LEAD_ROWS[name]),
                ["–" if one.value is None else f"{one.value:z.2f}" for one in values],
            )
            for name, values in named.items()
        ]

    def lead_names(self) -> list[str]:
        """Return the leads that were measured."""
        return [] if self.measurements is None else list(self.measurements.r)

    def support_text(self, code: str) -> str:
        """Return what the marks of a finding are."""
        name = next(finding.name for finding in self.findings if finding.code == code)
        text = translator(self.language)("Samples that support %(finding)s")
        return text % {"finding": with_code(name, code)}

    def share(self, code: str) -> str:
        """Return the share of the record in which a finding is present."""
        return f"{sum(end - start for start, end in self.spans[code]) / self.duration_s:.0%}"


class MeasuredRow(NamedTuple):
    """A measurement: value with its spread, or why there is none, and the value of the device."""

    name: str
    value: str
    reason: str
    device: str


def _likeliest_first(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: -finding.probability)


def make_record_report(
    predictor: Predictor, prediction: Prediction, codes: Sequence[str], language: str = ENGLISH
) -> RecordReport:
    """Make the report of a prediction, with attributions of some findings.

    Parameters
    ----------
    predictor : Predictor
    prediction : Prediction
    codes : sequence of str
        Findings whose attributions are shown; errors as ``Predictor.attribute``.
    language : str
        See ``core.translation``.
    """
    vocabulary, _ = predictor.artifact.vocabulary, translator(language)
    sentence = translations(language).sentence
    spec = predictor.artifact.waveform
    attributions = predictor.attribute(prediction.signal, codes) if codes else np.empty(0)
    marks = {
        code: mark_strength(values, float(spec["to_fs"]))
        for code, values in zip(codes, attributions, strict=True)
    }
    signal, fs, content = from_int16(prediction.signal), float(spec["to_fs"]), ""
    if prediction.recorded is not None:
        signal, fs = prediction.recorded.signal, prediction.recorded.fs
        marks = {code: at_samples(each, spec["to_fs"], signal, fs) for code, each in marks.items()}
        content = as_recorded(prediction.identity, language)
    elif spec["low_hz"]:
        content = _("high-pass %(hz)g Hz") % {"hz": spec["low_hz"]}
    names = vocabulary.names([f.code for f in prediction.findings], language)
    named = [
        replace(finding, name=name)
        for finding, name in zip(prediction.findings, names, strict=True)
    ]
    assessable = [finding for finding in named if finding.assessable]
    report = RecordReport(
        visible(Path(prediction.record).as_posix()),
        signal,
        fs,
        assessable,
        [sentence(warning) for warning in prediction.warnings],
        marks,
        not_assessable=[f.name for f in named if not f.assessable],
        similar=[
            f"{each.record or each.ecg_id} ({_('cosine similarity')} {each.cosine:.2f}): "
            f"{', '.join(vocabulary.names(each.findings, language)) or _('no finding')}"
            for each in prediction.similar
        ],
        measurements=prediction.measurements,
        critical=[f.code for f in assessable if vocabulary.entry(f.code).critical],
        identity=prediction.identity,
        device=prediction.device,
        model_simulated=bool(prediction.model_simulated),
        tune_scores=_tune_scores(predictor, prediction),
        content=content,
        language=language,
    )
    if prediction.timeline:
        spans = {
            f.code: prediction.timeline.stretches(f.code) for f in prediction.findings if f.present
        }
        note, duration_s = prediction.timeline.note(_), prediction.timeline.windows.duration_s
        report = replace(report, note=note, duration_s=duration_s, spans=spans)
    return report


def _tune_scores(predictor: Predictor, prediction: Prediction) -> Mapping[str, float | None]:
    """Return the scores of the tuning fold, if they are those of the thresholds that were used."""
    is_complete = prediction.available is None or bool(prediction.available.all())
    is_used = is_complete and predictor.artifact.source is None
    return predictor.artifact.provenance.tune_scores if is_used else {}


def value_text(one: Measurement, _: Translate = str, with_spread: bool = True) -> str:
    """Return a measurement with its unit, or that it is not measurable."""
    if one.value is None:
        return _("not measurable")
    spread = ""
    if with_spread and one.spread is not None:
        spread = f" ± {shown_spread(one.spread, one.unit)}"
    return f"{one.value:z.0f}{spread}{_(UNIT_TEXT[one.unit])}"


def at_samples(marks: np.ndarray, marks_fs: float, signal: np.ndarray, fs: float) -> np.ndarray:
    """Return marks (12, n) at the samples of a signal that begins at the same time."""
    times_s = np.arange(signal.shape[1]) / fs
    known_s = np.arange(marks.shape[1]) / marks_fs
    return np.array([np.interp(times_s, known_s, row, right=0.0) for row in marks])


def mark_strength(attribution: np.ndarray, fs: float) -> np.ndarray:
    """Return positive attributions (12, n_samples) as marks from 0 to 1, smoothed over 0.1 s."""
    width = max(1, round(0.1 * fs))
    kernel = np.hanning(width + 2)[1:-1]
    positive = np.apply_along_axis(np.convolve, 1, attribution, kernel / kernel.sum(), "same")
    positive = positive.clip(min=0)
    top = np.percentile(positive[positive > 0], 98) if (positive > 0).any() else 0.0
    marks: np.ndarray = (positive / top).clip(0, 1) if top > 0 else np.zeros_like(positive)
    return np.where(marks > 0.15, 0.75 * marks, 0.0)


def report_figure(
    report: RecordReport, code: str | None = None, layout: str = "standard"
) -> Figure:
    """Draw the ECG of a report, with the samples marked that support a finding."""
    return ecg_figure(
        report.signal,
        report.fs,
        marked=None if code is None else report.marks[code],
        layout=layout,
        content=report.content,
        language=report.language,
    )
