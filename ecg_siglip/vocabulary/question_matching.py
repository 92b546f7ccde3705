"""Match a question in free words to the findings that it may refer to.

A text tower that was trained on the prompts of the findings knows no other words: the embedding of
"pizza" is close to that of some finding, too. Therefore a question is matched to findings by the
similarity of its words to their names, prompts and synonyms in each language of the vocabulary,
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

from ecg_siglip.vocabulary.vocabulary import Vocabulary

N_SHOWN = 3
# Set on the questions of tests/vocabulary/test_question_matching.py: for a question about a finding
# that finding comes first and above it; questions about other subjects are below it.
MIN_CLOSENESS = 0.6
# Relative to the best closeness: less close findings are not matches of the same words.
SECOND_SHARE = 0.8
# Closeness of a finding that has a Japanese subject of at least so many letters in its wording.
CONTAINED, MIN_CONTAINED = 0.62, 5
MAX_CHARACTERS = 300

# Subjects of other questions, which share letters with findings; left out for a vocabulary that has
# them among its findings.
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
JAPANESE = re.compile(r"[\u3041-\u30ff\u4e00-\u9fff]")
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


def nearest_findings(question: str, codes: Sequence[str], vocabulary: Vocabulary) -> list[Match]:
    """Sort findings by how close their wordings are to a question, the closest first.

    Parameters
    ----------
    question : str
        In a language of the vocabulary; also an abbreviation or a code.
    codes : sequence of str
        The findings to choose from.
    vocabulary : Vocabulary

    Returns
    -------
    list of Match
        One per code; the closeness is that of the best of the finding's code, name, prompts and
        synonyms.

    Examples
    --------
    >>> from ecg_siglip.vocabulary import ptbxl
    >>> nearest_findings("Gibt es ein Vorhofflimmern?", ["AFIB", "AFLT"], ptbxl())[0].name
    'Atrial fibrillation'
    """
    ngrams, weights = _ngrams(question), _weights(vocabulary)
    subject = _plain(without_frame(question)) if JAPANESE.search(question) else ""
    subject = subject if len(subject) >= MIN_CONTAINED else ""
    matches = []
    for code, name in zip(codes, vocabulary.names(codes), strict=True):
        phrases = _phrases(code, vocabulary)
        closeness = max((_cosine(ngrams, phrase, weights) for phrase in phrases), default=0.0)
        # There are no spaces between words: 左脚ブロック is a part of 完全左脚ブロック.
        if subject and any(subject in wording for wording in _wordings(code, vocabulary)):
            closeness = max(closeness, CONTAINED)
        matches.append(Match(code, name, closeness))
    return sorted(matches, key=lambda match: -match.closeness)


def match_question(
    question: str, codes: Sequence[str], vocabulary: Vocabulary
) -> tuple[Match, ...]:
    """Return the findings that a question refers to; empty if it refers to none of them.

    Parameters
    ----------
    question : str
    codes : sequence of str
        The findings to choose from.
    vocabulary : Vocabulary

    Returns
    -------
    tuple of Match
        At most ``N_SHOWN``, or all findings of a class (a heart attack is an infarction of any
        wall).

    Examples
    --------
    >>> from ecg_siglip.vocabulary import ptbxl
    >>> match_question("ventricular tachycardia?", ["SVTAC", "STACH"], ptbxl())
    ()
    """
    return _match_question(question, tuple(codes), vocabulary)


@functools.lru_cache(maxsize=256)  # the same question is used for many records
def _match_question(
    question: str, codes: tuple[str, ...], vocabulary: Vocabulary
) -> tuple[Match, ...]:
    members = {
        each.code: [code for code in codes if code in vocabulary.members(each.code)]
        for each in vocabulary.classes
    }
    classes = [code for code in members if code not in codes and members[code]]
    ranked = nearest_findings(question, [*classes, *codes], vocabulary)
    best, ngrams, weights = ranked[0], _ngrams(question), _weights(vocabulary)
    other_subject = max(_cosine(ngrams, phrase, weights) for phrase in _other_subjects(vocabulary))
    threshold = max(MIN_CLOSENESS, other_subject, SECOND_SHARE * best.closeness)
    if best.code in classes and best.closeness >= threshold:
        return tuple(
            Match(code, vocabulary.entry(code).name, best.closeness) for code in members[best.code]
        )
    matches = [m for m in ranked if m.code not in classes and m.closeness >= threshold]
    return tuple(matches[:N_SHOWN])


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


def without_frame(question: str) -> str:
    """Return a Japanese question without the words around its subject; others as they are.

    In Japanese these are written without spaces, so that a text encoder that was trained on names
    reads them as a part of the finding.

    Examples
    --------
    >>> without_frame("心房細動はありますか?"), without_frame("Is there fibrillation?")
    ('心房細動', 'Is there fibrillation?')
    """
    if not JAPANESE.search(question):
        return question
    return FILLER_JA.sub("", question.rstrip("?？。 ")).strip() or question


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


@functools.lru_cache(maxsize=4096)
def _phrases(code: str, vocabulary: Vocabulary) -> list[Counter[str]]:
    """Return the n-grams of each wording of a finding."""
    return [grams for grams in map(_ngrams, _wordings(code, vocabulary)) if grams]


@functools.lru_cache(maxsize=4096)
def _wordings(code: str, vocabulary: Vocabulary) -> list[str]:
    """Return code, name, synonyms, and the prompts, whole and up to the first comma."""
    entry = vocabulary.entry(code)
    wordings = [code, entry.name, *entry.synonyms]
    for prompt in (text for texts in entry.prompts.values() for text in texts):
        wordings += [prompt, re.split("[,、(]", prompt)[0]]
    return [_plain(wording) for wording in wordings]


@functools.lru_cache(maxsize=16)
def _other_subjects(vocabulary: Vocabulary) -> list[Counter[str]]:
    """Return the n-grams of the other subjects that no finding is named after."""
    names = "\n".join(_plain(entry.name) for entry in vocabulary.by_code.values())
    subjects = [" ".join(phrase.split()) for phrase in OTHER_SUBJECTS.split(";")]
    return [
        _ngrams(subject)
        for subject in subjects
        if not re.search(rf"(?<![a-z]){re.escape(_plain(subject))}(?![a-z])", names)
    ]


@functools.lru_cache(maxsize=16)
def _weights(vocabulary: Vocabulary) -> dict[str, float]:
    """Return the weight of each n-gram: low if many findings have it (inverse frequency).

    The largest, of an n-gram that no finding has, is that of "".
    """
    n_known = len(vocabulary.by_code)
    n_findings: Counter[str] = Counter()
    for code in vocabulary.by_code:
        n_findings.update(set().union(*_phrases(code, vocabulary)))
    n_findings[""] = 1
    return {gram: math.log(1 + n_known / n) for gram, n in n_findings.items()}


def _cosine(one: Counter[str], other: Counter[str], weights: dict[str, float]) -> float:
    """Return the cosine of two texts."""

    def weighted(grams: Counter[str]) -> dict[str, float]:
        return {gram: n * weights.get(gram, weights[""]) for gram, n in grams.items()}

    a, b = weighted(one), weighted(other)
    norm = math.sqrt(sum(x * x for x in a.values()) * sum(x * x for x in b.values()))
    return sum(x * b.get(gram, 0.0) for gram, x in a.items()) / norm if norm else 0.0
