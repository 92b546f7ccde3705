"""Compare what questions are matched to with what they are about.

    python benchmarks/questions.py [tune|report]

Reads ``questions.txt`` next to it and prints, for each kind of question and language, how many are
matched rightly: all findings, lacking terms and measurements that are expected, and no others
first. The wrong ones are listed for the tuning half only.
"""

from __future__ import annotations

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from ecg_siglip.vocabulary import ptbxl
from ecg_siglip.vocabulary.measurement_questions import MeasurementQuery
from ecg_siglip.vocabulary.plain_text import JAPANESE, question_language
from ecg_siglip.vocabulary.question_matching import question_subjects

QUESTIONS = Path(__file__).with_suffix(".txt")
HALVES = ("tune", "report")
# Without any word but a name or an abbreviation the language is not known.
SHORT = 2


def read_questions(half: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield kind, language, question and expected result of one half of the questions."""
    kind, number = "", 0
    for line in QUESTIONS.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            kind = kind if "|" in line or ":" in line else line.removeprefix("# ")
            number = 0
        elif line.strip():
            language, question, expected = (part.strip() for part in line.split("|"))
            if HALVES[number % 2] == half:
                yield kind, language, question, expected
            number += 1


def is_right(question: str, language: str, expected: str) -> bool:
    """Return whether a question is matched to what it is about."""
    vocabulary = ptbxl()
    found = question_subjects(question, vocabulary.codes, vocabulary, language)
    findings = [match.code for match in found.findings]
    lacking = [term.names["en"] for term in found.lacking]
    queries = found.measurements
    parts = dict.fromkeys("FLM", "")
    for kind, text in re.findall(r"([FLM0]) ?(.*?)(?= [LM] |$)", expected):
        parts[kind] = f"{parts.get(kind, '')};{text}".strip(";")
    groups = _groups(parts["F"])
    if groups and not any(findings[:1] == [code] for group in groups for code in group):
        return False
    if not all(set(group) & set(findings) for group in groups):
        return False
    names = parts["L"].split("/") if parts["L"] else []
    if names and not any(name in term for name in names for term in lacking):
        return False
    wanted = [text for text in parts["M"].split(";") if text]
    if len(wanted) > len(queries):
        return False
    if not all(_is_query(text, query) for text, query in zip(wanted, queries, strict=False)):
        return False
    if not groups and (names or expected == "0") and findings:
        return False
    if not names and lacking:
        return False
    return expected != "0" or not queries


def _groups(text: str) -> list[list[str]]:
    """Return the groups of codes of which one each is expected: two codes have a slash."""
    hidden = text.replace("O/", "O|")
    groups = [group.split("/") for group in hidden.split("+") if group]
    return [[code.replace("|", "/") for code in group] for group in groups]


def _is_query(text: str, query: MeasurementQuery) -> bool:
    """Return whether a query is the expected one, as ``qrs >= 120`` or ``st V2``."""
    name, *rest = text.split()
    if query.names[0] != name:
        return False
    leads = tuple(word for word in rest if re.fullmatch(r"V\d|I+|aV[LFR]", word))
    if leads != query.leads:
        return False
    limit = [word for word in rest if word not in leads]
    if limit == ["normal"]:
        return query.comparison == "within"
    if not limit:
        return not query.limits
    first = query.limits[0] if query.limits else None
    return first is not None and [first.operator, f"{first.value:g}"] == limit


def main(half: str) -> None:
    """Print the table of a half."""
    right: dict[str, Counter[str]] = defaultdict(Counter)
    total: dict[str, Counter[str]] = defaultdict(Counter)
    n_languages = [0, 0]
    for kind, language, question, expected in read_questions(half):
        is_known = len(question.split()) > SHORT or bool(JAPANESE.search(question))
        got = question_language(question, "en")
        n_languages[0] += is_known and got == language
        n_languages[1] += is_known
        passed = is_right(question, got, expected)
        for key in (language, "all"):
            total[kind][key] += 1
            right[kind][key] += passed
        if half == "tune" and (not passed or (is_known and got != language)):
            found = question_subjects(question, ptbxl().codes, ptbxl(), got)
            print(
                f"{question} | {expected} | {got}: {[m.code for m in found.findings]} "
                f"{[t.names['en'] for t in found.lacking]} {found.measurements}"
            )
    languages = ("en", "de", "ja", "all")
    print(f"| {half} | {' | '.join(languages)} |\n|---|{'---|' * len(languages)}")
    rows = [*total, "all kinds"]
    for table in (total, right):
        table["all kinds"] = sum((Counter(table[kind]) for kind in rows[:-1]), Counter())
    for kind in rows:
        cells = [f"{right[kind][key]} of {total[kind][key]}" for key in languages]
        print(f"| {kind} | {' | '.join(cells)} |")
    print(
        f"language of questions of {SHORT + 1} words or more: {n_languages[0]} of {n_languages[1]}"
    )


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "tune")
