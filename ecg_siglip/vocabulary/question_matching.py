"""Match a question in free words to the findings that it may refer to.

A text tower that was trained on the prompts of the findings knows no other words: the embedding of
"pizza" is close to that of some finding, too. Therefore a question is matched to findings by the
similarity of its words to their names, prompts and synonyms in English, German and Japanese,
measured on runs of letters. ``inference.questions`` combines the matches with the text tower.
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
# Set on the questions of tests/vocabulary/test_question_matching.py: for a question about a finding
# that finding comes first and above it; questions about other subjects are below it.
MIN_CLOSENESS = 0.6
# Relative to the best closeness: less close findings are not matches of the same words.
SECOND_SHARE = 0.8
MAX_CHARACTERS = 300

# Other wordings of a finding, in addition to its name and its prompts.
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
# Subjects of other questions that are none of PTB-XL's findings but share letters with one.
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
# Words of a question around its subject, in English and German.
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
    """A finding that a question may refer to.

    Attributes
    ----------
    code, name : str
    closeness : float in [0, 1]
        1 if the words are the same as those of the vocabulary.
    """

    code: str
    name: str
    closeness: float


def nearest_findings(question: str, codes: Sequence[str]) -> list[Match]:
    """Sort findings by how close their wordings are to a question, the closest first.

    Parameters
    ----------
    question : str
        In English, German or Japanese; also an abbreviation or a code.
    codes : sequence of str
        The findings to choose from.

    Returns
    -------
    list of Match
        One per code; the closeness is that of the best of the finding's code, name, prompts and
        synonyms.

    Examples
    --------
    >>> nearest_findings("Gibt es ein Vorhofflimmern?", ["AFIB", "AFLT"])[0].name
    'Atrial fibrillation'
    """
    ngrams, weights = _ngrams(question), _weights()
    matches = []
    for code, name in zip(codes, findings.names(codes), strict=True):
        closeness = max(_cosine(ngrams, phrase, weights) for phrase in _phrases(code))
        matches.append(Match(code, name, closeness))
    return sorted(matches, key=lambda match: -match.closeness)


def match_question(question: str, codes: Sequence[str]) -> tuple[Match, ...]:
    """Return the findings that a question refers to; empty if it refers to none of them.

    Parameters
    ----------
    question : str
    codes : sequence of str
        The findings to choose from.

    Returns
    -------
    tuple of Match
        At most ``N_SHOWN``, or all findings of a class (a heart attack is an infarction of any
        wall).

    Examples
    --------
    >>> match_question("ventricular tachycardia?", ["SVTAC", "STACH"])
    ()
    """
    return _match_question(question, tuple(codes))


@functools.lru_cache(maxsize=256)  # the same question is used for many records
def _match_question(question: str, codes: tuple[str, ...]) -> tuple[Match, ...]:
    classes = [code for code in findings.CLASSES if code not in codes and _members(code, codes)]
    ranked = nearest_findings(question, [*classes, *codes])
    best, ngrams, weights = ranked[0], _ngrams(question), _weights()
    other_subject = max(_cosine(ngrams, phrase, weights) for phrase in _other_subjects())
    threshold = max(MIN_CLOSENESS, other_subject, SECOND_SHARE * best.closeness)
    if best.code in classes and best.closeness >= threshold:
        members = _members(best.code, codes)
        names = findings.names(members)
        return tuple(
            Match(code, name, best.closeness) for code, name in zip(members, names, strict=True)
        )
    matches = [m for m in ranked if m.code not in classes and m.closeness >= threshold]
    return tuple(matches[:N_SHOWN])


def _members(code: str, codes: Sequence[str]) -> list[str]:
    """Return the findings that belong to a class."""
    known = [findings.STATEMENTS[c] for c in codes if c in findings.STATEMENTS]
    return [entry.code for entry in known if code in (entry.superclass, entry.subclass)]


def check_question(question: str) -> str:
    """Return a question without superfluous whitespace.

    Raises
    ------
    ValueError
        If it is empty or longer than ``MAX_CHARACTERS``.
    """
    question = " ".join(question.split())
    if not question:
        raise ValueError("the question is empty; expected words, as in: left bundle branch block?")
    if len(question) > MAX_CHARACTERS:
        raise ValueError(
            f"the question has {len(question)} characters; expected {MAX_CHARACTERS} at most"
        )
    return question


def _plain(text: str) -> str:
    """Return a text in lower case, with half-width forms and without accents and umlauts."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    letters = "".join(letter for letter in letters if not "\u0300" <= letter <= "\u036f")
    return unicodedata.normalize("NFC", letters)


def _ngrams(text: str) -> Counter[str]:
    """Count the runs of two to four letters in a text without its filler words."""
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
    """Return the n-grams of each wording of a finding.

    Wordings: code, name, synonyms, and the prompts, whole and up to the first comma.
    """
    (name,) = findings.names([code])
    wordings = [code, name, *SYNONYMS.get(code, "").split(";")]
    for language in findings.LANGUAGES:
        (prompt,) = findings.prompts([code], language)
        wordings += [prompt, re.split("[,、(]", prompt)[0]]
    return [grams for grams in map(_ngrams, wordings) if grams]


@functools.cache
def _other_subjects() -> list[Counter[str]]:
    return [_ngrams(phrase) for phrase in OTHER_SUBJECTS.split(";")]


@functools.cache
def _weights() -> dict[str, float]:
    """Return the weight of each n-gram: low if many findings have it (inverse frequency)."""
    known = [*findings.STATEMENTS, *findings.CLASSES]
    n_findings: Counter[str] = Counter()
    for code in known:
        n_findings.update(set().union(*_phrases(code)))
    return {gram: math.log(1 + len(known) / n) for gram, n in n_findings.items()}


def _cosine(one: Counter[str], other: Counter[str], weights: dict[str, float]) -> float:
    """Return the cosine of two texts; n-grams that no finding has get the largest weight."""
    largest = math.log(1 + len(findings.STATEMENTS) + len(findings.CLASSES))

    def weighted(grams: Counter[str]) -> dict[str, float]:
        return {gram: n * weights.get(gram, largest) for gram, n in grams.items()}

    a, b = weighted(one), weighted(other)
    norm = math.sqrt(sum(x * x for x in a.values()) * sum(x * x for x in b.values()))
    return sum(x * b.get(gram, 0.0) for gram, x in a.items()) / norm if norm else 0.0
