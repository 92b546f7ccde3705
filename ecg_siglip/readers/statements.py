"""What the lines before the numbers of a table state: sampling rate, unit and lead.

Watches and phones translate the words of their exports. A statement is therefore recognized by
its value (``512 Hertz``, ``512 赫兹``, ``µV``, ``Ableitung I``); words for "unit" in common
languages only add to that. A frequency next to words in Latin letters is a sampling rate only if
one of them has to do with samples, because limits of filters are frequencies too.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ecg_siglip.readers.clock import TIME_S, time_scale
from ecg_siglip.readers.selection import COUNTS, FS_HZ, is_voltage, same_unit
from ecg_siglip.signals.leads import LEADS, lead_name

MAX_CELLS = 30  # of a line that are looked at
MAX_CELL = 200  # characters; a longer one states nothing that is looked for
# Keys without spaces, punctuation and letter case, in the languages of phones.
FS_WORDS = """
fs sf samplingrate samplingfrequency samplerate samplefrequency samplingfreq samplefreq sps
rateofsampling frequencyofsampling samplespersecond abtastrate abtastfrequenz messrate
fréquencedéchantillonnage tauxdéchantillonnage frecuenciademuestreo tasademuestreo
taxadeamostragem frequênciadeamostragem frequenzadicampionamento bemonsteringsfrequentie
samplefrequentie samplingsfrekvens частотадискретизации częstotliwośćpróbkowania
采样率 采样频率 取樣率 取樣頻率 サンプルレート サンプリングレート サンプリング周波数
샘플링속도 샘플링주파수 표본추출률
"""
INTERVAL_WORDS = """
interval samplinginterval sampleinterval samplingperiod sampleperiod abtastintervall dt timestep
"""
UNIT_WORDS = """
unit units amplitudeunit amplitudeunits voltageunit voltageunits signalunit signalunits
einheit einheiten unité unités unidad unidades unidade unità eenheid enhet enhed yksikkö
mértékegység jednostka jednotka birim единица единицы единицаизмерения 单位 單位 単位 단위
"""
LEAD_WORDS = """
lead leads channel ableitung dérivation derivación derivação derivazione afleiding avledning
kytkentä odprowadzenie elvezetés svod отведение 导联 導程 誘導 リード 유도 리드
"""
FS_KEYS = frozenset(FS_WORDS.split())
INTERVAL_KEYS = frozenset(INTERVAL_WORDS.split())
UNIT_KEYS = frozenset(UNIT_WORDS.split())
LEAD_KEYS = frozenset(LEAD_WORDS.split())
HERTZ = re.compile(
    r"(\d+(?:[.,]\d+)?)\s*(k?)(?:h(?:z\b|[eé]r[tc]\w*)|sps\b|samples?\s*/\s*s|samples? per sec|"
    r"гц|герц|赫兹|赫茲|赫|ヘルツ|헤르츠|هرتز|הרץ|हर्ट्ज|เฮิรตซ์|χερτζ)",
    re.I,
)
DECIMAL_COMMA = re.compile(rf"(?<!\S)(\d+)\n(?={HERTZ.pattern}|\d+\s*[num\u00b5\u03bc]?v\b)", re.I)
# Frequencies that are not the record's sampling rate: filters and mains, rates of the converter or
# before resampling.
OTHER_RATE = re.compile(
    r"filt|pass|notch|cut.?off|bandw|bandb|mains|line.?freq|muscle|baseline|artifact|drift|netz|"
    r"brumm|secteur|coupure|corte|rete|滤波|濾波|フィルタ|필터|фильтр|"
    r"orig|urspr[uü]ng|intern|hardware|before|\b(?:max|min)(?:imum|imal\w*)?\b|\badc\b|\ba/d\b|"
    r"\braw\b|rohdaten|nativ|device|gerät|source|\bfrom\b|\bvor\b|\bavant\b",
    re.I,
)
# Words of which one has to be next to a frequency, unless there are no Latin letters: limits of a
# filter are frequencies too (`HF: 250 Hz`, `Grenzfrequenz: 250 Hz`).
SAMPLING = re.compile(
    r"sampl|sampel|abtast|chantillon|muestr|mostr|campion|mess|monster|próbk|probk|vzork|näyt|"
    r"mintav|[sșş]antion|örnekl|uzork|mẫu|prøv|måle|mätfr|meetfr|mittaus|pomiar|ölçüm|"
    r"^(?:output )?(?:data\s?)?rate\b|stored|saved|\bfs\b|\bsps\b",
    re.I,
)
# Samples that were left out, by which the rate above them may have to be divided.
DECIMATION = re.compile(
    r"(?:decimat|dezim|décim|down.?sampl|sub.?sampl|under.?sampl|re.?sampl)[a-z]*"
    r"(?:[\W_]|factor|faktor|by|ratio|of)*x?(?!1(?:[.,]0*)?\b)\d+(?:[.,]\d+)?\b(?!\s*k?(?:h[ze]|sps))",
    re.I,
)
BRACKETS = re.compile(r"(?<=\d)(\D*?)\s*[(\[].*?[)\]]")
KEY_AND_VALUE = re.compile(r"[^:=：]*\w\s*[:=：]\s*\S")
LATIN = re.compile(r"[a-z\u00c0-\u024f\u1e00-\u1eff]", re.I)
RANGE = re.compile(
    rf"\d\s*(?:k?hz)?\s*(?:[-\u2010-\u2015\u2212~…]|\.\.+|to|bis)\s*{HERTZ.pattern}", re.I
)
# What a frequency without a known key has to exceed to be a sampling rate: filters end here.
UNKNOWN_KEY_HZ = 151.0
TIME_IN_KEY = re.compile(rf"[(\[,_\s]\s*({'|'.join(TIME_S)})[)\]]?\W*$", re.I)
PER_SAMPLE = re.compile(r"\s*(?:/|per|pro)\s*sample\w*", re.I)
PLAIN_NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:e[+-]?\d+)?", re.I)
LEAD_TOKEN = re.compile(r"(?<![A-Za-z0-9])(I{1,3}|[aA]V[RLFrlf]|V[1-6])(?![A-Za-z0-9])")


NUMBER = f"({PLAIN_NUMBER.pattern})"
VOLT = r"(?:[num\u03bck]?v|(?:nano|micro|milli)?volts?)"
COUNT = r"(?:lsb|adu|counts?|steps?|digits?|units?|codes?)"
ANY = rf"(?:{VOLT}|{COUNT}|bits?|adc)"
STEP = rf"(?<![a-z]){ANY}\s*(?:/|per|pro)\s*{ANY}(?![a-z])"
IS = r"\s*(?:=|of|is|equals?|corresponds to|entspricht)\s*"
# Sizes of a step of the samples, whatever is next to them.
STEP_SIZES = re.compile(
    rf"(?<![\w.,]){NUMBER}[\s=]*{STEP}"  # 2.5 uV/bit, 200 adu/mV
    rf"|{STEP}[\s=:)\]]*{NUMBER}"  # uV/bit: 2.5
    rf"|{NUMBER}?\s*(?<![a-z])(?:{COUNT}|bit){IS}{NUMBER}\s*{VOLT}(?![a-z])"  # 1 LSB = 2.5 uV
    rf"|{NUMBER}?\s*(?<![a-z]){VOLT}{IS}{NUMBER}\s*{COUNT}(?![a-z])",  # 1 mV = 2000 units
)
# Next to these keys, without accents, a number or a voltage is a size of a step or a gain; next to
# the others it is the number of zero.
SCALE_KEY = re.compile(
    r"gain|sensi[bt]i|empfindl|gevoelig|re?i?soluz?t?c?i|auflosung|lsb|conver|multipl|[ck]alib|s[ck]ala?|echelle|"
    r"avm|verstark|versterk|amplification|guadagno|gananc|adu\b|step size|schrittweite|"
    r"bit weight|quanti[sz]|"
    r"增益|分辨|灵敏|靈敏|感度|利得|усил|чувств|разреш|масштаб"
)
OFFSET_KEY = re.compile(r"(?:add|adc|dc)?\s?offset|baseline|adc\s?zero|zero level|nullpunkt")
# What is no size of a sample: dates, times, paper and screen, ranges.
OTHER_SCALE = re.compile(
    r"(?<!b)rate\b|date|datum|time|zeit|period|interv|freq|hz\b|serial|(?<!con)version|pulse|impuls|"
    r"range|full.?scale|display|screen|paper|print|plot|zoom|[cm]m/|\bdb\b"
)
SCALE = re.compile(
    rf"x?{NUMBER}\s*(?:[x\u00d7]|/\s*{NUMBER}|fold|-?fach|(?!.*[cm]m).*v(?:olts?)?\b.*)?"
)
IS_BITS = re.compile(r"(?=.*(?:resol|aufl)).*\b(?:adc|a/d|bits?)\b.*\b(?:8|1[02468]|2[04]|32)")


class Statements(NamedTuple):
    """What the lines before a table state; None and "" where they state nothing.

    Attributes
    ----------
    fs : float, Hz, or None
    unit : str
    lead : str
        Of a table with one column of numbers.
    scale : str
        As ``stated_scale``.
    """

    fs: float | None = None
    unit: str = ""
    lead: str = ""
    scale: str = ""


def read_statements(rows: Sequence[Sequence[str]]) -> Statements:
    """Return what the lines before a table state.

    Parameters
    ----------
    rows : sequence of sequence of str
        Cells of each line; of a line without cells, key and value. An empty line separates blocks.

    Returns
    -------
    Statements

    Raises
    ------
    ValueError
        If two lines state different sampling rates, units or leads, or the value of a sampling
        rate is no number.
    """
    pairs = [
        (unicodedata.normalize("NFKC", key), unicodedata.normalize("NFKC", value))
        for row in rows
        for key, value in _pairs(row)
        if _may_state(key) and _may_state(value)
    ]
    scale = stated_scale(pairs)
    return Statements(_stated_fs(pairs), _stated_unit(pairs), _stated_lead(rows, pairs), scale)


def stated_scale(pairs: Iterable[tuple[str, str]]) -> str:
    """Return the gain or offset that one of the pairs states, as ``a gain of 200``; "" if none."""
    for key, value in pairs:
        if states_scale(key, value):
            name = key.strip(" #:=").lower() or "scale"
            return f"a{'n' * (name[0] in 'aeio')} {name} of {value.strip()}"[:60]
    return ""


def states_scale(key: str, value: object) -> bool:
    """Return whether a key and its value state the size of a step of the samples, or their zero.

    Parameters
    ----------
    key : str
        As ``ADC gain``, ``uv_per_lsb`` or ``Empfindlichkeit``; "" where there is none.
    value : str or number
        A size of 1 and a zero of 0 mean nothing, nor do ``10 mm/mV`` of the paper and ``16 bit``.

    Returns
    -------
    bool
        True also where neither is known but together they are as ``2.5 uV/bit`` or ``1 mV = 200``
        counts.
    """
    text, key = _folded(str(value)[: MAX_CELL + 1]), _folded(key[: MAX_CELL + 1])
    if not (_may_state(text) and _may_state(key)):
        return False
    sizes = [size for match in STEP_SIZES.finditer(f"{key} = {text}") for size in match.groups()]
    if not key and (words := re.match(r"(\D+) ([\d.].*)", text)):
        key, text = words.groups()  # `gain 200`
    is_zero, match = _is_offset(key), SCALE.fullmatch(text)
    if is_scale_key(key) and match and not IS_BITS.fullmatch(f"{key} {text}"):
        sizes += match.groups()
    harmless = 0.0 if is_zero else 1.0
    return any(float(size.replace(",", ".")) != harmless for size in sizes if size)


def is_scale_key(key: str) -> bool:
    """Return whether a number next to a key is the size of a step of the samples, or their zero."""
    key = _folded(key[: MAX_CELL + 1])
    is_scale = _is_offset(key) or SCALE_KEY.search(key) is not None
    return is_scale and not OTHER_SCALE.search(key)


def _is_offset(key: str) -> bool:
    return OFFSET_KEY.fullmatch(re.split(r"\s*[(\[]", key)[0]) is not None


def _may_state(text: str) -> bool:
    """Return whether a text is short, as a key and a value are, without a number of many digits."""
    return len(text) <= MAX_CELL and not re.search(r"\d{25}", text)


def _folded(text: str) -> str:
    """Return a text in lower case, without accents, underscores and signs around it."""
    text = unicodedata.normalize("NFKD", text.casefold())
    return re.sub(r"[\u0300-\u036f]", "", text).replace("_", " ").strip(" #:=")


def parse_rate(text: str) -> float:
    """Return a sampling rate that is given as in ``500``, ``500 Hz`` or ``511,422 Hertz``.

    Raises
    ------
    ValueError
        If it is none.
    """
    match = re.fullmatch(r"\s*(\d+(?:[.,]\d+)?)\s*(k?)\D*", text, re.I)
    if not match:
        raise ValueError(f"expected a sampling rate in Hz, got {text[:40]!r}")
    return _number(match[1], match[2])


def normalized_key(key: str) -> str:
    """Return a key in lower case, without units in brackets, spaces and punctuation."""
    key = re.sub(r"[(\[].*?[)\]]", "", key.casefold())
    key = re.sub(r"[\W_]", "", key)
    return key.removesuffix("hz").removesuffix("hertz") or key


def _number(text: str, prefix: str = "") -> float:
    """Return a rate in Hz with a decimal point or comma; 1,000 is a thousand, 511,422 is not."""
    if prefix:
        return 1e3 * float(text.replace(",", "."))
    value = float(text.replace(",", "."))
    grouped = re.fullmatch(r"\d{1,2},\d{3}", text)
    return float(text.replace(",", "")) if grouped and value < FS_HZ[0] else value


def _pairs(row: Sequence[str]) -> list[tuple[str, str]]:
    """Return the keys and values of a line; if its first cell has both, those of each cell."""
    cells = [cell.strip() for cell in row[:MAX_CELLS] if cell.strip()]
    # Where cells are delimited by commas, `511,422 Hertz` is two of them.
    cells = DECIMAL_COMMA.sub(r"\1,", "\n".join(cells)).split("\n")
    if len(cells) > 1 and not KEY_AND_VALUE.match(cells[0]):
        return list(itertools.pairwise(cells))
    pairs = []
    for text in re.split(r"[;,]\s+", ", ".join(cells), maxsplit=MAX_CELLS):
        key, separator, value = re.split(r"\s*([:=：]|$)\s*", text, maxsplit=1)
        pairs.append((key, value) if separator else ("", key))
    return pairs


def _stated_fs(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Return the sampling rate that one of the pairs states; None if samples were left out."""
    by_key, by_value = [], []
    for key, value in pairs:
        if DECIMATION.search(f"{key} {value}"):
            return None
        value = BRACKETS.sub(r"\1", value)
        if OTHER_RATE.search(key):
            continue
        if normalized_key(key) in FS_KEYS:
            by_key.append(parse_rate(value))
        elif interval_s := _interval_s(key, value):
            by_key.append(1.0 / interval_s)
        elif _may_state_fs(key, value):
            by_value += [_number(match[1], match[2]) for match in HERTZ.finditer(value)]
    by_value = [rate for rate in by_value if UNKNOWN_KEY_HZ <= rate <= FS_HZ[1]]
    rates = by_key or by_value
    if not rates:
        return None
    if max(rates) - min(rates) > 1e-3 * max(rates):
        listed = " and ".join(f"{rate:g} Hz" for rate in dict.fromkeys(rates))
        raise ValueError(f"the lines before the numbers state {listed} as the sampling rate")
    return rates[0]


def _interval_s(key: str, value: str) -> float:
    """Return the time between samples that a pair states, in s; 0 if it states none."""
    value, n_per_sample = PER_SAMPLE.subn("", value)
    if not re.match(r"[\d.,]", value):
        return 0.0
    of_key = TIME_IN_KEY.search(key)
    name = normalized_key(TIME_IN_KEY.sub("", key))
    with_unit = time_scale(value) or time_scale(f"{value} {of_key[1] if of_key else ''}")
    interval_s = with_unit or time_scale(f"{value} s") or 0.0
    if n_per_sample and with_unit:
        return interval_s
    if name not in INTERVAL_KEYS or not interval_s:
        return 0.0
    # Without a unit, or the word for samples, it may be another time.
    is_rate = FS_HZ[0] * interval_s <= 1.0 <= FS_HZ[1] * interval_s
    return interval_s if is_rate or (with_unit and name != "interval") else 0.0


def _may_state_fs(key: str, value: str) -> bool:
    """Return whether a frequency may be a sampling rate by the words next to it."""
    text = f"{key} {value}"
    if OTHER_RATE.search(text) or RANGE.search(value) or PLAIN_NUMBER.fullmatch(key):
        return False
    return bool(SAMPLING.search(text)) or not LATIN.search(HERTZ.sub("", text))


def _stated_unit(pairs: Sequence[tuple[str, str]]) -> str:
    """Return the unit that one of the pairs states."""
    units = []
    for key, value in pairs:
        is_key = normalized_key(key) in UNIT_KEYS
        # A voltage next to a number is the unit of that number, as in `Range,5,mV`.
        is_unit = is_voltage(value) and value != "V" and not PLAIN_NUMBER.fullmatch(key)
        if (is_key or is_unit) and value:
            units.append(value)
    voltages = [unit for unit in units if is_voltage(unit)]
    if any(not same_unit(unit, voltages[0]) for unit in voltages):
        listed = " and ".join(dict.fromkeys(voltages))
        raise ValueError(f"the lines before the numbers state the units {listed}")
    return (voltages or units or [""])[0]


def _stated_lead(rows: Sequence[Sequence[str]], pairs: Sequence[tuple[str, str]]) -> str:
    """Return the lead that one of the pairs states; "" if none.

    It is next to a word for "lead", repeats its key (``Ableitung,Ableitung I``), or is in the
    block of lines that has the unit, as watches write it.
    """
    found = []
    for key, value in pairs:
        tokens = LEAD_TOKEN.findall(value)
        rest = normalized_key(LEAD_TOKEN.sub("", value))
        name = normalized_key(key)
        if len(tokens) == 1 and (name in LEAD_KEYS or (rest and rest == name)):
            found.append(tokens[0])
        elif name in LEAD_KEYS and lead_name(value) in LEADS:
            found.append(lead_name(value))
    if not found:
        found = [token for block in _blocks(rows) for token in _lead_next_to_unit(block)]
    leads = list(dict.fromkeys(map(lead_name, found)))
    return leads[0] if len(leads) == 1 else ""


def _blocks(rows: Sequence[Sequence[str]]) -> list[list[Sequence[str]]]:
    """Split lines at empty ones."""
    blocks: list[list[Sequence[str]]] = [[]]
    for row in rows:
        if any(cell.strip() for cell in row):
            blocks[-1].append(row)
        elif blocks[-1]:
            blocks.append([])
    return blocks


def _lead_next_to_unit(block: Sequence[Sequence[str]]) -> list[str]:
    """Return the leads in a short block of lines of which one states the unit."""
    values = [
        unicodedata.normalize("NFKC", value) for row in block for _, value in _pairs(row) if value
    ]
    if len(block) > 4 or not any(is_voltage(value) for value in values):
        return []
    tokens = [LEAD_TOKEN.findall(value) for value in values if len(value) <= MAX_CELL]
    return [found[0] for found in tokens if len(found) == 1]


def is_unit(cell: str) -> bool:
    """Return whether a cell is a unit of a voltage or a count of the converter."""
    text = cell.strip().strip("()[]'\"").strip()
    return is_voltage(text) or (bool(text) and text.casefold() in COUNTS)
