"""Match a question in free words to the findings that it may refer to.

A text tower that was trained on the prompts of the findings knows no other words: the embedding of
"pizza" is close to that of some finding, too. Therefore a question is matched to findings by the
similarity of its words to their names, prompts and synonyms in each language of the vocabulary,
measured on runs of letters. ``inference.questions`` combines the matches with the text tower.
"""

from __future__ import annotations

import difflib
import functools
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ecg_siglip.core.translation import ENGLISH
from ecg_siglip.vocabulary.measurement_questions import (
    MeasurementQuery,
    measurement_queries,
    measurement_words,
)
from ecg_siglip.vocabulary.other_terms import (
    OtherTerm,
    all_terms,
    lacking_terms,
    words_from_terms,
)
from ecg_siglip.vocabulary.plain_text import JAPANESE, plain
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
OWN_FIRST = 0.95  # of the closeness of words from other_terms.yaml: the vocabulary's own come first

# Closeness of a term that the vocabulary lacks and that is a part of the question.
NAMED = 0.8
# From this closeness on, a question with "or" or a comma is the wording of one finding.
SAME_WORDS = 0.97
# Words of a question around its subject, in English and German.
FILLER_WORDS = """
is there a an any the it this that in on at do does did can you see show shows shown have has had
patient ecg ekg sign signs evidence of for to present please what about are be we with suspect
suspected probable possible diagnosis finding findings who which he she his her me or and any
ist es das der die den dem des ein eine einen einer eines gibt liegt hat haben zeigt zeigen man
sieht sich vor da hier im am bei patientin zeichen hinweis hinweise auf für von verdacht besteht
befund bitte und oder sind ekg zu mit er sie
"""
FILLER_JA = re.compile(
    r"(この)?(患者|心電図)(に|で|は|の)*|(の)?(所見|徴候|疑い|可能性)|"
    r"(は|が|を)?(ありますか|あります|ありません|あるか|ある|認めますか|認められますか|見られますか|みられますか)"
    r"|(でしょうか|ですか|です|ますか|か)$"
)
# Between two subjects of one question; a comma alone may be within one.
OR = re.compile(
    r"\b(?:or|and|with|oder|und|mit|vs)\b|または|あるいは|もしくは|および|及び|と(?=[^は])"
)
CONJUNCTION = re.compile(rf"\s*[,;、]?\s*(?:{OR.pattern})\s*|\s*[,;、]\s*")
LATIN_WORD = re.compile(r"[A-Za-zÀ-ÿ]+")
ABBREVIATION = re.compile(r"[A-Z]{2,6}s?")
GERMAN_TAIL = re.compile(r"(?<=\w{4})zeichen\b")  # Ischämiezeichen
MIN_CORRECTED, MIN_ALIKE = 5, 0.84  # letters of a word, and ratio of difflib
NEGATION = re.compile(
    r"\b(no|not|without|absence|absent|exclude|excluded|rule out|ruled out|kein|keine|keinen|"
    r"nicht|ohne|ausschluss|ausgeschlossen)\b(?!-)|ない|ません|なし|除外"
)


@dataclass(frozen=True)
class Subjects:
    """What a question refers to; all empty if it refers to nothing known.

    Attributes
    ----------
    findings : tuple of Match
    lacking : tuple of OtherTerm
        Terms that the vocabulary has no finding for.
    measurements : tuple of MeasurementQuery
    """

    findings: tuple[Match, ...] = ()
    lacking: tuple[OtherTerm, ...] = ()
    measurements: tuple[MeasurementQuery, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.findings or self.lacking or self.measurements)


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
    subject = plain(without_frame(question)) if JAPANESE.search(question) else ""
    subject = subject if len(subject) >= MIN_CONTAINED else ""
    matches = []
    for code, name in zip(codes, vocabulary.names(codes), strict=True):
        phrases = _phrases(code, vocabulary)
        closeness = max((_cosine(ngrams, phrase, weights) for phrase in phrases), default=0.0)
        others = _phrases_of_term(code, vocabulary)
        known = max((_cosine(ngrams, phrase, weights) for phrase in others), default=0.0)
        closeness = max(closeness, OWN_FIRST * known)
        if closeness < NAMED and _has_abbreviation(question, vocabulary.entry(code).synonyms):
            closeness = NAMED
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
        At most ``N_SHOWN`` per subject, or all findings of a class (a heart attack is an infarction
        of any wall).

    Examples
    --------
    >>> from ecg_siglip.vocabulary import ptbxl
    >>> match_question("ventricular tachycardia?", ["SVTAC", "STACH"], ptbxl())
    ()
    """
    return question_subjects(question, codes, vocabulary).findings


def question_subjects(
    question: str, codes: Sequence[str], vocabulary: Vocabulary, language: str = ENGLISH
) -> Subjects:
    """Return the findings and measurements of a question, and the terms that the vocabulary lacks.

    Parameters
    ----------
    question, codes, vocabulary
        See ``match_question``.
    language : str
        Of the question, see ``plain_text.question_language``.

    Examples
    --------
    >>> from ecg_siglip.vocabulary import ptbxl
    >>> found = question_subjects("AF, or VT?", ["AFIB", "SR"], ptbxl())
    >>> found.findings[0].code, found.lacking[0].names["en"]
    ('AFIB', 'ventricular tachycardia (VT)')
    """
    return _question_subjects(question, tuple(codes), vocabulary, language)


@functools.lru_cache(maxsize=256)  # the same question is used for many records
def _question_subjects(
    question: str, codes: tuple[str, ...], vocabulary: Vocabulary, language: str
) -> Subjects:
    question = _without_typos(question, vocabulary)
    queries = measurement_queries(question, language)
    whole = _subjects_of(question, codes, vocabulary, bool(queries))
    phrases = [part for part in CONJUNCTION.split(question) if _ngrams(part)]
    is_one = whole.findings and whole.findings[0].closeness >= SAME_WORDS
    if len(phrases) < 2 or is_one or not (OR.search(question) or not whole):
        return replace(whole, measurements=queries)
    parts = [
        _subjects_of(phrase, codes, vocabulary, bool(measurement_queries(phrase, language)))
        for phrase in phrases
    ]
    if not all(parts) and whole:
        return replace(whole, measurements=queries)
    findings = {match.code: match for part in parts for match in part.findings}
    lacking = dict.fromkeys(term for part in parts for term in part.lacking)
    return Subjects(tuple(findings.values()), tuple(lacking), queries)


@functools.lru_cache(maxsize=16)
def _known_words(vocabulary: Vocabulary) -> tuple[set[str], list[str]]:
    """Return the words of findings, terms and measurements: all, and those to correct to."""
    texts = [words for code in vocabulary.by_code for words in _wordings(code, vocabulary)]
    texts += [words for term in all_terms() for words in term.wordings]
    known = {word for text in texts for word in LATIN_WORD.findall(text)}
    known |= measurement_words()
    return known | _filler_words(), sorted(word for word in known if len(word) >= MIN_CORRECTED)


def _without_typos(question: str, vocabulary: Vocabulary) -> str:
    """Return a question with long words that are nearly a known word replaced by it."""
    known, targets = _known_words(vocabulary)

    def corrected(match: re.Match[str]) -> str:
        word = plain(match[0])
        if len(word) < MIN_CORRECTED or word in known:
            return match[0]
        nearest = difflib.get_close_matches(word, targets, n=1, cutoff=MIN_ALIKE)
        return nearest[0] if nearest else match[0]

    return LATIN_WORD.sub(corrected, question)


def _subjects_of(
    phrase: str, codes: tuple[str, ...], vocabulary: Vocabulary, is_measurement: bool
) -> Subjects:
    """Return the subjects of a phrase without conjunctions.

    If the phrase is about a measurement, a term is lacking only if the phrase names it in full:
    "axis" alone does not mean axis deviation.
    """
    members = {
        each.code: [code for code in codes if code in vocabulary.members(each.code)]
        for each in vocabulary.classes
    }
    classes = [code for code in members if code not in codes and members[code]]
    ranked = nearest_findings(phrase, [*classes, *codes], vocabulary)
    best = ranked[0]
    closeness, term = _nearest_lacking(phrase, vocabulary, is_measurement)
    if term is not None and closeness >= max(MIN_CLOSENESS, best.closeness):
        return Subjects(lacking=(term,))
    threshold = max(MIN_CLOSENESS, closeness, SECOND_SHARE * best.closeness)
    if best.code in classes and best.closeness >= threshold:
        return Subjects(
            tuple(
                Match(code, vocabulary.entry(code).name, best.closeness)
                for code in members[best.code]
            )
        )
    matches = [m for m in ranked if m.code not in classes and m.closeness >= threshold]
    return Subjects(tuple(matches[:N_SHOWN]))


def _nearest_lacking(
    phrase: str, vocabulary: Vocabulary, has_to_be_named: bool
) -> tuple[float, OtherTerm | None]:
    """Return the term that the vocabulary lacks and that is closest to a phrase."""
    ngrams, weights = _ngrams(phrase), _weights(vocabulary)
    text = plain(phrase)
    best: tuple[float, OtherTerm | None] = (0.0, None)
    for term in lacking_terms(vocabulary):
        closeness = max(_cosine(ngrams, _ngrams(words), weights) for words in term.wordings)
        is_named = any(_is_part(words, text) for words in term.wordings)
        if has_to_be_named and not is_named:
            continue
        closeness = max(closeness, NAMED) if is_named else closeness
        if closeness > best[0]:
            best = closeness, term
    return best


def _has_abbreviation(question: str, synonyms: Sequence[str]) -> bool:
    """Return whether a question has an abbreviation, as LBBB, among its words."""
    text = plain(question)
    return any(ABBREVIATION.fullmatch(s) and _is_part(plain(s), text) for s in synonyms)


def _is_part(words: str, text: str) -> bool:
    """Return whether a plain text contains words, in Japanese of three letters or more."""
    if JAPANESE.search(words):
        return len(words) > 2 and words in text
    return bool(re.search(rf"(?<![a-z0-9]){re.escape(words)}(?![a-z0-9])", text))


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


@functools.lru_cache(maxsize=8192)
def _ngrams(text: str) -> Counter[str]:
    """Count the runs of two to four letters in a text without its filler words."""
    text = re.sub(r"[^\w\s]|_", " ", NEGATION.sub(" ", plain(text)))
    text = GERMAN_TAIL.sub("", text.replace("aemi", "emi"))
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
    return {plain(word) for word in FILLER_WORDS.split()}


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
    return [plain(wording) for wording in wordings]


@functools.lru_cache(maxsize=4096)
def _phrases_of_term(code: str, vocabulary: Vocabulary) -> list[Counter[str]]:
    """Return the n-grams of the words for a finding in ``other_terms.yaml``, if it is there."""
    return [_ngrams(words) for words in words_from_terms(vocabulary).get(code, ())]


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
