"""Questions about rate, intervals, axes and amplitudes: which one, and the limit if any.

Words and usual limits are in ``measurement_terms.yaml``, with their sources.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecg_siglip.signals.leads import LEADS
from ecg_siglip.signals.measurements import PER_LEAD, UNITS
from ecg_siglip.vocabulary.plain_text import JAPANESE, plain

# Operators by the words for them, which are before the number, in Japanese behind it.
BEFORE = {
    ">=": ">=|≥|=>|at least|no less than|mindestens|nicht unter",
    "<=": "<=|≤|=<|at most|no more than|up to|hochstens|nicht uber|maximal",
    ">": ">|above|over|more than|greater than|larger than|longer than|wider than|higher than|"
    "faster than|exceeds?|exceeding|uber|mehr als|grosser als|langer als|breiter als|hoher als|"
    "schneller als|oberhalb von|oberhalb",
    "<": "<|below|under|less than|smaller than|shorter than|narrower than|lower than|slower than|"
    "unter|weniger als|kleiner als|kurzer als|schmaler als|niedriger als|langsamer als|"
    "unterhalb von|unterhalb",
}
BEHIND = {
    ">=": "以上",
    "<=": "以下",
    "<": "未満|より(も)?(短い|短く|小さい|小さく|低い|低く|遅い|遅く|少ない|狭い)|を下回",
    ">": "より(も)?(長い|長く|大きい|大きく|高い|高く|速い|速く|多い|広い)|を超え|を上回|超",
}
UNIT = (
    r"(?P<unit>(?:ms(?:ec)?|s(?:ec)?|mv|mm|bpm|grad)(?![a-z])|milliseconds?|millisekunden|ミリ秒|"
    r"seconds?|sekunden?|秒|millivolt|ミリボルト|/ ?min\b|1/min\b|beats per minute|per minute|"
    r"pro minute|schlage|拍/分|回/分|拍|回|degrees?|°|度)?"
)
OPPOSITE = {">": "<", ">=": "<=", "<": ">", "<=": ">="}
NUMBER = r"(?P<number>[-−]?\d+(?:[.,]\d+)?) ?" + UNIT
BETWEEN = re.compile(
    r"(?:between|from|zwischen|von) ?(?P<low>[-−]?\d+(?:[.,]\d+)?) ?(?:and|to|und|bis|-) ?"
    + NUMBER
    + r"|(?P<low_ja>[-−]?\d+(?:[.,]\d+)?) ?(?:[~〜]|から) ?(?P<number_ja>[-−]?\d+(?:[.,]\d+)?) ?"
)
FACTORS = {  # to the unit of the measurements, by the first letters of the unit
    "ms": [("mil", 1.0), ("ms", 1.0), ("ミリ秒", 1.0), ("s", 1000.0), ("秒", 1000.0)],
    "mV": [("mv", 1.0), ("millivolt", 1.0), ("ミリボルト", 1.0), ("mm", 0.1)],
    "1/min": [(u, 1.0) for u in ("bpm", "/", "1/", "beats", "per", "pro", "schlage", "拍", "回")],
    "degrees": [(unit, 1.0) for unit in ("deg", "grad", "°", "度")],
}
SECONDS_BELOW = 3.0  # an interval without unit that is smaller is in s
MM_FROM = 0.5  # an amplitude without unit that is larger is in mm of paper, 0.1 mV each
# "How long" is no comparison.
HOW = re.compile(
    r"\b(how|wie) (long|wide|broad|fast|slow|high|low|tall|deep|large|lange?|breit|schnell|hoch|"
    r"gross|langsam|tief|niedrig)\b|ど(の|れ)(くらい|ぐらい|程度)の?(長い|速い|高い|広い|低い)?"
)
HOW_MUCH = re.compile(
    r"how (much|many|high|large|deep)|what|wie (viel|hoch|gross|tief)|welche|何|mv|mm"
)
LEAD = re.compile(r"(?<![a-z0-9])(avr|avl|avf|v[1-6]|iii|ii)(?![a-z0-9])")
LEAD_I = re.compile(r"(?:leads?|ableitung|in|第)[ -]?(i)(?![a-z0-9])|(?<![a-z0-9])(i)誘導")
LEAD_RANGE = re.compile(r"v([1-6]) ?(?:-|to|bis|through|[~〜]|から) ?v?([1-6])(?![0-9])")
AMPLITUDE_IN_LEAD = re.compile(r"(?<![a-z0-9])([rs]) ?(?:in|の)? ?(?=v[1-6]|av[lfr])")
AMPLITUDE_OF_LEAD = re.compile(r"(?:v[1-6]|av[lfr])の([rs])(?![a-z0-9])")


@dataclass(frozen=True)
class Limit:
    """A limit that a value is compared with.

    Attributes
    ----------
    operator : {">", ">=", "<", "<="}
    value : float
        In the unit of the measurement.
    who : {"", "men", "women"}
    source : str
        Of a usual limit; empty for one that the question states.
    """

    operator: str
    value: float
    who: str = ""
    source: str = ""

    def holds(self, value: float) -> bool:
        """Return whether a value is beyond the limit."""
        return {
            ">": value > self.value,
            ">=": value >= self.value,
            "<": value < self.value,
            "<=": value <= self.value,
        }[self.operator]


@dataclass(frozen=True)
class MeasurementQuery:
    """A measurement that a question is about.

    Attributes
    ----------
    names : tuple of str
        Fields of ``Measurements``: the corrected QT has two.
    compared : tuple of str
        Those of them that are compared.
    leads : tuple of str
        Of an amplitude; empty: all leads.
    limits : tuple of Limit
        Empty if the question is for the value.
    comparison : {"", "beyond", "within"}
        Whether the value is beyond each limit, or beyond none of them, as a normal one.
    findings : tuple of str
        Codes of findings about the same.
    """

    names: tuple[str, ...]
    compared: tuple[str, ...]
    leads: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()
    comparison: str = ""
    findings: tuple[str, ...] = ()


@functools.cache
def _terms() -> dict[str, Any]:
    """Return the content of ``measurement_terms.yaml``."""
    import yaml

    path = Path(__file__).with_name("measurement_terms.yaml")
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


@functools.cache
def measurement_words() -> frozenset[str]:
    """Return all words of the measurements and their directions, plain."""
    keys = ("words", "german", "not", "high", "low", "normal")
    texts = [
        str(text)
        for terms in (_terms(), *_terms()["measurements"].values())
        for key in keys
        if isinstance(terms.get(key), list)
        for text in terms[key]
    ]
    return frozenset(word for text in texts for word in _spaced(text).split())


def measurement_queries(question: str, language: str) -> tuple[MeasurementQuery, ...]:
    """Return the measurements that a question is about, in their order; empty if it is about none.

    Parameters
    ----------
    question : str
    language : str
        Of the question, see ``plain_text.question_language``.

    Examples
    --------
    >>> (query,) = measurement_queries("QRS > 0.12 s?", "en")
    >>> query.names, query.limits
    (('qrs',), (Limit(operator='>', value=120.0, who='', source=''),))
    """
    text = _spaced(question)
    spans = _measures(text, language)
    if not spans:
        return ()
    rest = _without(text, [span for _, span, _ in spans])
    stated = _stated_limits(text)
    leads = _leads(text)
    found: dict[str, MeasurementQuery] = {}
    for i, (measure, (start, _), word) in enumerate(spans):
        end = spans[i + 1][1][0] if i + 1 < len(spans) else len(text)
        own = [each for at, each in stated if start <= at < end] if len(stated) > 1 else []
        several = own or [each for _, each in stated]
        query = _query(measure, word, rest, text, leads, several[:1])
        if query is not None and measure not in found:
            found[measure] = query
    return tuple(found.values())


def _query(
    measure: str,
    word: str,
    rest: str,
    text: str,
    leads: tuple[str, ...],
    stated: list[tuple[tuple[str, float, str], ...]],
) -> MeasurementQuery | None:
    """Return the query about one measurement; null if its word alone means something else."""
    terms = _terms()["measurements"][measure]
    names = tuple(terms.get("values", (measure,)))
    limits = _in_unit(stated[0], names[0]) if stated else ()
    direction, comparison = "", ""
    if word in {*map(_spaced, terms.get("negative", ()))}:
        limits = tuple(Limit(OPPOSITE[x.operator], -abs(x.value)) for x in limits)
    if limits:
        comparison = "beyond" if len(limits) == 1 else "within"
    else:
        direction = _direction(terms, word, rest)
        limits, comparison = _usual_limits(terms, direction)
    if word in {*map(_spaced, terms.get("weak", ()))} and direction not in ("high", "low"):
        return None
    is_amplitude = measure in PER_LEAD
    if measure == "st" and not (leads or limits or HOW_MUCH.search(text)):
        return None
    compared = terms.get("compared")
    if compared and not stated and direction:
        limits, comparison = _usual_limits(_terms()["measurements"][compared], direction)
    kinds = {"high": ("high",), "low": ("low",)}.get(direction, ("high", "low"))
    if comparison == "beyond" and stated:
        kinds = ("high",) if limits[0].operator.startswith(">") else ("low",)
    codes = tuple(str(code) for kind in kinds for code in terms.get(f"{kind}_findings", ()))
    is_corrected = bool(compared) and not stated
    return MeasurementQuery(
        names,
        names[1:] if is_corrected else names[:1] if compared else names,
        leads if is_amplitude else (),
        limits,
        comparison,
        codes,
    )


def _usual_limits(terms: Mapping[str, Any], direction: str) -> tuple[tuple[Limit, ...], str]:
    """Return the usual limits in a direction, and the comparison with them."""
    kinds = {"high": ["high"], "low": ["low"], "": []}.get(direction, ["high", "low"])
    if direction == "normal" and terms.get("normal"):
        kinds = [terms["normal"]]
    sources = _terms()["sources"]
    limits = tuple(
        Limit(row["operator"], float(row["value"]), row.get("who", ""), sources[row["source"]])
        for kind in kinds
        for row in terms.get(f"{kind}_limits", ())
    )
    return limits, "" if not limits else "within" if direction == "normal" else "beyond"


def _direction(terms: Mapping[str, Any], word: str, rest: str) -> str:
    """Return ``high``, ``low`` or ``normal`` if a question has such a word; empty otherwise."""
    for kind in ("high", "low"):
        if word in {*map(_spaced, terms.get(f"{kind}_alone", ()))}:
            return kind
    rest = HOW.sub(" ", rest)
    for kind in ("high", "low", "normal"):
        words = [*terms.get(kind, ())] if kind != "normal" else []
        if any(_find(_spaced(each), rest) for each in words):
            return kind
    for kind in ("high", "low", "normal"):
        if any(_find(_spaced(each), rest) for each in _terms()[kind]):
            return kind
    return ""


def _measures(text: str, language: str) -> list[tuple[str, tuple[int, int], str]]:
    """Return the measurements in a text, with place and word; longer words come first."""
    candidates: list[tuple[int, int, str, str]] = []
    for measure, terms in _terms()["measurements"].items():
        words = {*terms["words"], *(terms.get("german", ()) if language == "de" else ())}
        for kind, several in ((measure, words), ("", terms.get("not", ()))):
            for word in map(_spaced, several):
                candidates += [(*span, kind, word) for span in _find(word, text)]
    for pattern in (AMPLITUDE_IN_LEAD, AMPLITUDE_OF_LEAD):
        candidates += [(*m.span(1), m[1], f"{m[1]} in") for m in pattern.finditer(text)]
    taken: list[tuple[int, int]] = []
    measures = []
    for start, end, kind, word in sorted(candidates, key=lambda c: (c[0] - c[1], c[2] == "")):
        if any(start < last and end > first for first, last in taken):
            continue
        taken.append((start, end))
        if kind:
            measures.append((kind, (start, end), word))
    return sorted(measures, key=lambda each: each[1])


def _stated_limits(text: str) -> list[tuple[int, tuple[tuple[str, float, str], ...]]]:
    """Return the limits that a text states, with their place: operator, number and unit."""
    found: list[tuple[int, tuple[tuple[str, float, str], ...]]] = []
    for match in BETWEEN.finditer(text):
        low, high = match["low"] or match["low_ja"], match["number"] or match["number_ja"]
        unit = match["unit"] or ""
        pair = ("<", _number(low), unit), (">", _number(high), unit)
        found.append((match.start(), pair))
    text = BETWEEN.sub(lambda m: " " * len(m[0]), text)
    for operator, words in BEFORE.items():
        pattern = rf"(?<![a-z])(?:{words})(?![a-z]) ?(?:the |the limit of |von )?{NUMBER}"
        found += _limits_of(re.finditer(pattern, text), operator)
    for operator, words in BEHIND.items():
        found += _limits_of(re.finditer(rf"(?<![a-z\d.]){NUMBER} ?(?:{words})", text), operator)
    first: dict[int, tuple[tuple[str, float, str], ...]] = {}
    for at, limits in sorted(found, key=lambda each: each[0]):
        first.setdefault(at, limits)
    return list(first.items())


def _limits_of(
    matches: Iterable[re.Match[str]], operator: str
) -> list[tuple[int, tuple[tuple[str, float, str], ...]]]:
    return [
        (match.start("number"), ((operator, _number(match["number"]), match["unit"] or ""),))
        for match in matches
    ]


def _number(text: str) -> float:
    return float(text.replace("−", "-").replace(",", "."))


def _in_unit(limits: tuple[tuple[str, float, str], ...], name: str) -> tuple[Limit, ...]:
    """Return limits in the unit of a measurement; none if a limit has another kind of unit."""
    unit = UNITS.get(name, "mV")
    converted = []
    for operator, number, stated in limits:
        if not stated:
            is_s = unit == "ms" and abs(number) < SECONDS_BELOW
            is_mm = unit == "mV" and abs(number) >= MM_FROM
            factor = 1000.0 if is_s else 0.1 if is_mm else 1.0
        else:
            factor = next((f for start, f in FACTORS[unit] if stated.startswith(start)), 0.0)
        if not factor:
            return ()
        converted.append(Limit(operator, round(number * factor, 6)))
    return tuple(converted)


def _leads(text: str) -> tuple[str, ...]:
    """Return the leads that a text names, in the order of ``LEADS``."""
    names = {match[1] for match in LEAD.finditer(text)}
    names |= {"i" for _ in LEAD_I.finditer(text)}
    for match in LEAD_RANGE.finditer(text):
        names |= {f"v{n}" for n in range(int(match[1]), int(match[2]) + 1)}
    return tuple(lead for lead in LEADS if lead.casefold() in names)


@functools.lru_cache(maxsize=4096)
def _spaced(text: str) -> str:
    """Return a plain text with spaces instead of hyphens and question marks."""
    text = re.sub(r"(?<=[a-z])[-‐–](?=\w)|(?<=\d)[-‐](?=[a-uw-z])", " ", plain(text))
    return " ".join(re.sub(r"[?!;:。？、]", " ", text).split())


def _find(word: str, text: str) -> list[tuple[int, int]]:
    """Return the places of a word: as a whole word, in Japanese anywhere."""
    if JAPANESE.search(word):
        return [match.span() for match in re.finditer(re.escape(word), text)]
    pattern = rf"(?<![a-z0-9]){re.escape(word)}(?![a-z0-9])"
    return [match.span() for match in re.finditer(pattern, text)]


def _without(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """Return a text with spaces in some places."""
    for start, end in spans:
        text = text[:start] + " " * (end - start) + text[end:]
    return text
