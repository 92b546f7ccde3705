"""Free words about an ECG: which finding is meant, and what the model makes of the words.

A text tower that was trained on the prompts of the findings knows no other words: it gives "pizza"
and "left bundle branch block" embeddings that are near to something, neither to the right thing. So
a question is answered twice: by the finding that its letters come nearest to, in English, German or
Japanese, with that finding's calibrated probability; and by the text tower, which says what it took
the words for.
"""

from __future__ import annotations

import functools
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ecg_siglip.vocabulary import findings

N_SHOWN = 3
# Set on the questions of tests/test_ask.py: of those about a finding the right one comes first and
# above it; those about anything else stay below.
MIN_CLOSENESS = 0.6
# Of the best closeness: below it, another finding is no second reading of the same words.
SECOND_SHARE = 0.8
MAX_CHARACTERS = 300

# What is also said of a finding, beside its name and its prompts.
SYNONYMS = {
    "NORM": "normal ECG; nothing abnormal; healthy; Normalbefund; normales EKG; o.B.; 正常",
    "LNGQT": "long QT; prolonged QT; QTc prolongation; lange QT-Zeit; QT-Verlängerung; "
    "QT延長症候群",
    "DIG": "digoxin; digitalis; Digitalis-Wirkung",
    "EL": "hyperkalemia; hypokalemia; Hyperkaliämie; Hypokaliämie; 高カリウム血症; 低カリウム血症",
    "LVH": "LVH; left ventricular hypertrophy; Linksherzhypertrophie; 左室肥大",
    "RVH": "RVH; right ventricular hypertrophy; Rechtsherzhypertrophie; 右室肥大",
    "LAFB": "LAFB; LAHB; left anterior hemiblock; linksanteriorer Hemiblock; 左脚前枝ブロック",
    "LPFB": "LPFB; LPHB; left posterior hemiblock; linksposteriorer Hemiblock; 左脚後枝ブロック",
    "CLBBB": "LBBB; CLBBB; left bundle branch block; LSB; Linksschenkelblock; 左脚ブロック",
    "CRBBB": "RBBB; CRBBB; right bundle branch block; RSB; Rechtsschenkelblock; 右脚ブロック",
    "ILBBB": "iLBBB; incomplete LBBB; inkompletter LSB",
    "IRBBB": "iRBBB; incomplete RBBB; inkompletter RSB",
    "IVCD": "IVCD; wide QRS; broad QRS; breites QRS; 幅広いQRS",
    "1AVB": "first degree block; 1st degree AV block; AV block 1; AVB I; AV-Block I; "
    "AV-Block 1. Grades; I度房室ブロック; 1度房室ブロック",
    "2AVB": "second degree block; 2nd degree AV block; Mobitz; Wenckebach; 2:1 block; "
    "2:1 AV block; AV-Block II; 2:1-Block; AV-Block 2. Grades; II度房室ブロック; 2度房室ブロック",
    "3AVB": "complete heart block; 3rd degree AV block; total AV block; AV-Block III; "
    "AV-Block 3. Grades; totaler AV-Block; III度房室ブロック; 完全房室ブロック",
    "WPW": "WPW; preexcitation; delta wave; Präexzitation; Delta-Welle; 早期興奮; デルタ波",
    "IMI": "inferior infarct; inferior MI; inferior heart attack; Hinterwandinfarkt; 下壁梗塞",
    "AMI": "anterior infarct; anterior MI; anterior heart attack; Vorderwandinfarkt; 前壁梗塞",
    "ASMI": "anteroseptal infarct; anteroseptal MI; anteroseptaler Infarkt; 前壁中隔梗塞",
    "LMI": "lateral infarct; lateral MI; Seitenwandinfarkt; Lateralinfarkt; 側壁梗塞",
    "PMI": "posterior infarct; posterior MI; posteriorer Infarkt; 後壁梗塞",
    "LAO/LAE": "LAE; left atrial enlargement; P mitrale; 左房拡大; 左房負荷",
    "RAO/RAE": "RAE; right atrial enlargement; P pulmonale; 右房拡大; 右房負荷",
    "PVC": "PVC; PVCs; VPB; VPBs; VES; ventricular extrasystole; "
    "premature ventricular contraction; 心室性期外収縮",
    "PAC": "PAC; PACs; SVES; APB; APBs; atrial extrasystole; premature atrial contraction; "
    "上室期外収縮; supraventrikuläre Extrasystole; 心房性期外収縮",
    "PRC(S)": "extrasystoles; ectopic beats; Extrasystolen; 期外収縮",
    "ISC_": "ischemia; ischaemia; Ischämie; 虚血",
    "STD_": "ST depression; ST-Senkung; ST低下",
    "STE_": "ST elevation; STEMI; ST-Hebung; ST上昇",
    "INVT": "T wave inversion; negative T wave; T-Negativierung; 陰性T波",
    "LOWT": "flat T wave; flache T-Welle; 平低T波",
    "QWAVE": "pathological Q waves; Q-Zacken; 異常Q波",
    "LPR": "long PR; long PQ; PQ-Verlängerung; PQ延長",
    "LVOLT": "low voltage; Niedervoltage; 低電位",
    "HVOLT": "high voltage; Hochvoltage; 高電位",
    "SR": "sinus rhythm; SR; Sinusrhythmus; regelmäßiger Rhythmus; regular rhythm; 洞調律; "
    "洞リズム",
    "AFIB": "AF; afib; a-fib; atrial fib; VHF; Vorhofflimmern; absolute Arrhythmie; 心房細動",
    "AFLT": "flutter; atrial flutter; Vorhofflattern; 心房粗動",
    "STACH": "tachycardia; fast heart rate; heart too fast; Tachykardie; "
    "schneller Herzschlag; 頻脈",
    "SBRAD": "bradycardia; slow heart rate; heart too slow; Bradykardie; "
    "langsamer Herzschlag; 徐脈",
    "SVTAC": "SVT; supraventricular tachycardia; 上室性頻拍",
    "PSVT": "PSVT; AVNRT; paroxysmal tachycardia; 発作性上室性頻拍",
    "PACE": "pacemaker; paced rhythm; Schrittmacher; Schrittmacherrhythmus; ペースメーカー",
    "BIGU": "bigeminy; Bigeminus; 二段脈",
    "TRIGU": "trigeminy; Trigeminus; 三段脈",
    "MI": "heart attack; NSTEMI; myocardial infarction; infarct; Herzinfarkt; Infarkt; "
    "心筋梗塞; 心臓発作",
    "HYP": "hypertrophy; Hypertrophie; 肥大",
    "CD": "conduction disturbance; Leitungsstörung; 伝導障害",
}
# What is asked as well, is none of PTB-XL's findings, and has letters of one that it is not.
OTHER_SUBJECTS = """
ventricular tachycardia; VT; wide complex tachycardia; broad complex tachycardia; 心室性頻拍;
ventricular rhythm; idioventricular rhythm; Kammereigenrhythmus; 心室調律;
ventricular fibrillation; VF; ventricular flutter; torsade de pointes;
Kammertachykardie; ventrikuläre Tachykardie; Kammerflimmern; Kammerflattern; 心室頻拍; 心室細動;
junctional rhythm; escape rhythm; asystole; Knotenrhythmus; Ersatzrhythmus; Asystolie; 接合部調律;
補充調律; 心静止; sinus arrest; sick sinus syndrome; Sinusarrest; 洞不全症候群; 洞停止;
atrial tachycardia; atriale Tachykardie; 心房頻拍; Brugada syndrome; Brugada-Syndrom;
ブルガダ症候群; short QT; kurze QT-Zeit; QT短縮; early repolarization; frühe Repolarisation;
早期再分極; pericarditis; Perikarditis; 心膜炎; pulmonary embolism; Lungenembolie; 肺塞栓;
dextrocardia; Dextrokardie; 右胸心;
U wave; U-Welle; hypothermia; Osborn wave; left axis deviation; right axis deviation; Linkstyp;
Rechtstyp; 左軸偏位; 右軸偏位; heart failure; Herzinsuffizienz; 心不全; ejection fraction; valve;
stenosis
"""
# What a question has around its subject, in the three languages.
FILLER_WORDS = """
is there a an any the it this that in on at do does did can you see show shows shown have has had
patient ecg ekg sign signs evidence of for to present please what about are be we with suspect
suspected probable possible diagnosis finding findings who which
ist es das der die den dem des ein eine einen einer eines gibt liegt hat haben zeigt zeigen man
sieht sich vor da hier im am bei patientin zeichen hinweis hinweise auf für von verdacht besteht
befund bitte und oder sind
"""
FILLER_JA = re.compile(
    r"(この)?(患者|心電図)(に|で|は|の)*|(の)?(所見|徴候|疑い|可能性)|"
    r"(は|が|を)?(ありますか|あります|ありません|あるか|ある|認めますか|認められますか|見られますか|みられますか)"
    r"|(でしょうか|ですか|です|ますか|か)$"
)
NEGATION = re.compile(
    r"\b(no|not|without|absence|absent|exclude|excluded|rule out|ruled out|kein|keine|keinen|"
    r"nicht|ohne|ausschluss|ausgeschlossen)\b|ない|ません|なし|除外"
)


@dataclass(frozen=True)
class Match:
    """A finding that words may mean.

    Attributes
    ----------
    code, name : str
    closeness : float in [0, 1]
        1 where the words are those of the vocabulary.
    """

    code: str
    name: str
    closeness: float


def nearest_findings(question: str, codes: Sequence[str]) -> list[Match]:
    """The findings whose words are nearest to those of a question, the nearest first.

    Parameters
    ----------
    question : str
        In English, German or Japanese, also an abbreviation or a code.
    codes : sequence of str
        The findings that may be meant.

    Returns
    -------
    list of Near
        All of them, by the best of each finding's name, prompts and other wordings.

    Examples
    --------
    >>> nearest_findings("Gibt es ein Vorhofflimmern?", ["AFIB", "AFLT"])[0].name
    'Atrial fibrillation'
    """
    asked, weights = _ngrams(question), _weights()
    found = []
    for code, name in zip(codes, findings.names(codes), strict=True):
        closeness = max(_cosine(asked, phrase, weights) for phrase in _phrases(code))
        found.append(Match(code, name, closeness))
    return sorted(found, key=lambda near: -near.closeness)


def match_question(question: str, codes: Sequence[str]) -> tuple[Match, ...]:
    """The findings that a question means; empty if it means none of them.

    Parameters
    ----------
    question : str
    codes : sequence of str
        The findings that may be meant.

    Returns
    -------
    tuple of Near
        Three at most, or all findings of a class (a heart attack is an infarction of any wall).

    Examples
    --------
    >>> match_question("ventricular tachycardia?", ["SVTAC", "STACH"])
    ()
    """
    return _match_question(question, tuple(codes))


@functools.lru_cache(maxsize=256)  # the same question is asked of many records
def _match_question(question: str, codes: tuple[str, ...]) -> tuple[Match, ...]:
    classes = [code for code in findings.CLASSES if code not in codes and _members(code, codes)]
    ranked = nearest_findings(question, [*classes, *codes])
    asked, weights = _ngrams(question), _weights()
    elsewhere = max(_cosine(asked, phrase, weights) for phrase in _other_subjects())
    least = max(MIN_CLOSENESS, elsewhere, SECOND_SHARE * ranked[0].closeness)
    if ranked[0].code in classes and ranked[0].closeness >= least:
        members = _members(ranked[0].code, codes)
        names = findings.names(members)
        return tuple(Match(*of, ranked[0].closeness) for of in zip(members, names, strict=True))
    ranked = [near for near in ranked if near.code not in classes and near.closeness >= least]
    return tuple(ranked[:N_SHOWN])


def _members(code: str, codes: Sequence[str]) -> list[str]:
    """Those findings that are of a class."""
    known = [findings.STATEMENTS[c] for c in codes if c in findings.STATEMENTS]
    return [entry.code for entry in known if code in (entry.superclass, entry.subclass)]


def check_question(question: str) -> str:
    """The question without needless blanks.

    Raises
    ------
    ValueError
        If it is empty or too long.
    """
    question = " ".join(question.split())
    if not question:
        raise ValueError("the question is empty; expected words, as in: left bundle branch block?")
    if len(question) > MAX_CHARACTERS:
        raise ValueError(
            f"the question has {len(question)} characters; expected {MAX_CHARACTERS} at most"
        )
    return question


# -------------------------------------------------------------------------- words by their letters


def _plain(text: str) -> str:
    """Lower case, full-width forms as half-width, umlauts without dots."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    parts = "".join(letter for letter in parts if not "\u0300" <= letter <= "\u036f")
    return unicodedata.normalize("NFC", parts)


def _ngrams(text: str) -> Counter[str]:
    """Runs of two to four letters of the words that matter, and how often each is there."""
    text = NEGATION.sub(" ", re.sub(r"[^\w\s]|_", " ", _plain(text)))
    text = FILLER_JA.sub("", text.strip())
    words = [word for word in text.split() if word not in _filler_words()]
    grams: Counter[str] = Counter()
    for word in words:
        padded = f" {word} "
        for n in (2, 3, 4):
            grams.update(padded[i : i + n] for i in range(len(padded) - n + 1))
    return grams


@functools.cache
def _filler_words() -> set[str]:
    return {_plain(word) for word in FILLER_WORDS.split()}


@functools.cache
def _phrases(code: str) -> list[Counter[str]]:
    """Every wording of a finding: code, name, prompts whole and up to the first comma, others."""
    (name,) = findings.names([code])
    said = [code, name, *SYNONYMS.get(code, "").split(";")]
    for language in findings.LANGUAGES:
        (prompt,) = findings.prompts([code], language)
        said += [prompt, re.split("[,、(]", prompt)[0]]
    return [grams for grams in map(_ngrams, said) if grams]


@functools.cache
def _other_subjects() -> list[Counter[str]]:
    return [_ngrams(phrase) for phrase in OTHER_SUBJECTS.split(";")]


@functools.cache
def _weights() -> dict[str, float]:
    """How much a run of letters tells: little if many findings have it."""
    known = [*findings.STATEMENTS, *findings.CLASSES]
    n_with: Counter[str] = Counter()
    for code in known:
        n_with.update(set().union(*_phrases(code)))
    return {gram: math.log(1 + len(known) / n) for gram, n in n_with.items()}


def _cosine(one: Counter[str], other: Counter[str], weights: dict[str, float]) -> float:
    """Cosine of two texts; letters that no finding has speak against each of them."""
    strange = math.log(1 + len(findings.STATEMENTS) + len(findings.CLASSES))

    def weighed(grams: Counter[str]) -> dict[str, float]:
        return {gram: n * weights.get(gram, strange) for gram, n in grams.items()}

    a, b = weighed(one), weighed(other)
    norm = math.sqrt(sum(x * x for x in a.values()) * sum(x * x for x in b.values()))
    return sum(x * b.get(gram, 0.0) for gram, x in a.items()) / norm if norm else 0.0
