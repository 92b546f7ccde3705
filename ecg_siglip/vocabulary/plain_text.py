"""Texts without what does not change their meaning, and the language that a question is in."""

from __future__ import annotations

import re
import unicodedata

JAPANESE = re.compile(r"[\u3041-\u30ff\u4e00-\u9fff]")
UMLAUT = re.compile(r"[äöüß]")
# Words that only one of the two languages has.
GERMAN_WORDS = """
ist es das der die den dem ein eine einen einer eines gibt liegt hat haben zeigt zeigen man sieht
sich vor da hier im am bei beim und oder nicht kein keine keinen keiner ohne wie viel viele hoch
lang lange breit schnell welche welcher welches patientin zeichen hinweis hinweise auf für von
verdacht besteht befund bitte sind über unter mehr als zwischen herzfrequenz frequenz puls achse
herzachse lagetyp verlängert verkürzt verbreitert erhöht ausschluss ausgeschlossen mindestens
höchstens kann wurde wird auch noch ekg zu größer kleiner akuter akute abstand intervall
"""
ENGLISH_WORDS = """
is are there the it this that does do did can you see what which how any no not without of and or
to with for has have had show shows shown sign signs evidence ecg rate heart axis interval
duration wide long short prolonged above below over under more less than between fast slow please
out left right first second third degree old acute wave waves ventricular atrial rhythm beats
elevation depression deviation
"""
# Endings of German words.
GERMAN_ENDING = re.compile(
    r"(flimmern|flattern|schlag|schläge|infarkt|hypertrophie|schenkelblock|hemiblock|rhythmus|"
    r"systolen|systolie|kardie|schrittmacher|\w{3}ung|zeit|dauer|breite|welle|wellen|zacke|zacken|"
    r"ämie|syndrom|karditis|embolie|typ|voltage|grades|infarkte?)$"
)


def plain(text: str) -> str:
    """Return a text in lower case, with half-width forms and without accents and umlauts.

    Examples
    --------
    >>> plain("ＱＴ-Verlängerung")
    'qt-verlangerung'
    """
    letters = unicodedata.normalize("NFKD", text.casefold())
    letters = "".join(letter for letter in letters if not "\u0300" <= letter <= "\u036f")
    return unicodedata.normalize("NFC", letters)


def question_language(question: str, otherwise: str) -> str:
    """Return the language of a question: Japanese by its script, German or English by its words.

    Parameters
    ----------
    question : str
    otherwise : str
        Language if neither has more words in the question, as for an abbreviation.

    Examples
    --------
    >>> [question_language(words, "en") for words in ("QTc verlängert?", "心房細動?", "AF?")]
    ['de', 'ja', 'en']
    """
    if JAPANESE.search(question):
        return "ja"
    words = re.findall(r"[^\W\d_]+", question.casefold())
    german_words, english_words = set(GERMAN_WORDS.split()), set(ENGLISH_WORDS.split())
    german = sum(word in german_words or bool(GERMAN_ENDING.search(word)) for word in words)
    german += bool(UMLAUT.search(question.casefold()))
    english = sum(word in english_words for word in words)
    if german == english:
        return otherwise
    return "de" if german > english else "en"
