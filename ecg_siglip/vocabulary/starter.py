"""A starter vocabulary for the codes of a hospital: names, counts, and suggestions as comments.

Suggestions come from the words of a name alone, as matches of a question do. They are comments of
the file, for a person to check: what a code means is known to the hospital, not to this program.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ecg_siglip.vocabulary.entry import Entry
from ecg_siglip.vocabulary.question_matching import Match, nearest_findings
from ecg_siglip.vocabulary.snomed import table
from ecg_siglip.vocabulary.vocabulary import Vocabulary
from ecg_siglip.vocabulary.vocabulary_file import ptbxl

# Set on the names of simulation/hospital.yaml: most right counterparts are above it, and names of
# findings that PTB-XL does not have are below it.
MIN_CLOSENESS = 0.45
SECOND_SHARE = 0.65  # a second suggestion is at least this close, relative to the first one
OFFERED = 0.6  # the lines of a counterpart are offered from this closeness on
PLAIN = re.compile(r"\w(?:[\w /().,%<>=+・、〜（）-]*[\w).%）])?")  # YAML texts that need no quotes


@dataclass(frozen=True)
class StarterCode:
    """A code of a hospital.

    Attributes
    ----------
    code : str
    name : str
        The code itself where the hospital has no name for it.
    n_present, n_unknown : int
        Records in which it is present, and in which it was not assessed.
    """

    code: str
    name: str
    n_present: int = 0
    n_unknown: int = 0


@dataclass(frozen=True)
class Suggestion:
    """What a name may mean.

    Attributes
    ----------
    ptbxl : tuple of Match
        Findings or classes of PTB-XL, the closest first; empty if none is close.
    snomed : Match or None
        A SNOMED CT code whose own name is closer than any finding.
    """

    ptbxl: tuple[Match, ...]
    snomed: Match | None


def suggest(name: str) -> Suggestion:
    """Suggest what a name means, by its words in English, German or Japanese.

    Examples
    --------
    >>> [match.code for match in suggest("Vorhofflimmern").ptbxl]
    ['AFIB']
    >>> suggest("ventricular tachycardia").snomed.code
    '164895002'
    """
    words = ptbxl()
    ranked = nearest_findings(name, [*words.by_code], words)
    least = max(MIN_CLOSENESS, SECOND_SHARE * ranked[0].closeness)
    matches = tuple(match for match in ranked[:2] if match.closeness >= least)
    known = _snomed_names()
    number = nearest_findings(name, known.codes, known)[0]
    is_closer = number.closeness > max(ranked[0].closeness, OFFERED)
    return Suggestion(matches, number if is_closer else None)


@functools.cache
def _snomed_names() -> Vocabulary:
    """Return the codes of ``snomed.table`` by their English names."""
    codes = table(ptbxl()).values()
    entries = (Entry(str(code.snomed), code.name, {"en": (code.name,)}) for code in codes)
    return Vocabulary("snomed", "en", tuple(entries))


def starter_yaml(codes: Sequence[StarterCode], n_records: int, source: str, language: str) -> str:
    """Return a vocabulary file of the codes, with counts and suggestions as comments.

    Parameters
    ----------
    codes : sequence of StarterCode
        Codes and names that a vocabulary can have, no two codes alike.
    n_records : int
    source : str
        Name of the table.
    language : str
        Of the names.
    """
    suggestions = [suggest(each.name) for each in codes]
    owners = _owners(codes, suggestions)
    lines = [
        f"# Written from the codes of {_comment(source)}, {n_records} ECGs. Please edit: a name is "
        "the text that a model",
        "# learns for a finding. Lines with # are suggestions by the words of the name; the number",
        "# behind them is 1 for equal words. To accept snomed, leads or prompts, remove the # of",
        "# the lines. All that a finding can have: docs/how-to/own-vocabulary.md",
        f"language: {language}",
        "findings:",
    ]
    taken: dict[str, str] = {}
    for each, suggestion in zip(codes, suggestions, strict=True):
        name, note = each.name, ""
        if name.casefold() in taken:
            note = f"    # {taken[name.casefold()]} has the same name: if both mean one finding, "
            note += "keep one code here and map the other"
            while name.casefold() in taken:
                name = f"{name} ({each.code})"
        taken.setdefault(name.casefold(), each.code)
        lines += [f"  - code: {quoted(each.code)}", f"    name: {quoted(name)}"]
        lines += [note] if note else []
        lines += _comments(each, suggestion, owners, n_records)
    return "\n".join(lines) + "\n"


def _owners(codes: Sequence[StarterCode], suggestions: Sequence[Suggestion]) -> dict[str, str]:
    """Return the code that is closest to each counterpart."""
    closest: dict[str, tuple[float, str]] = {}
    for each, suggestion in zip(codes, suggestions, strict=True):
        for match in suggestion.ptbxl[:1]:
            if match.closeness > closest.get(match.code, (0.0, ""))[0]:
                closest[match.code] = (match.closeness, each.code)
    return {code: owner for code, (_, owner) in closest.items()}


def _comments(
    each: StarterCode, suggestion: Suggestion, owners: dict[str, str], n_records: int
) -> list[str]:
    """Return the comments of a finding: how often it is present, and what it may be."""
    count = f"present in {each.n_present} of {n_records} ECGs"
    count += f", not assessed in {each.n_unknown}" if each.n_unknown else ""
    lines = [f"    # {count}"]
    if number := suggestion.snomed:
        lines.append(f"    # SNOMED CT: {number.name} ({number.closeness:.2f})")
        lines.append(f"    # snomed: [{number.code}]")
    elif suggestion.ptbxl:
        first = suggestion.ptbxl[0]
        shown = " or ".join(f"{m.code} {m.name} ({m.closeness:.2f})" for m in suggestion.ptbxl)
        owner = owners[first.code]
        closer = f"; {_comment(owner)} is closer to {first.code}" if owner != each.code else ""
        lines.append(f"    # PTB-XL: {shown}{closer}")
        if owner == each.code and first.closeness >= OFFERED:
            lines += _offered(ptbxl().entry(first.code))
    else:
        lines.append("    # no counterpart has a similar name")
    return lines


def _offered(entry: Entry) -> list[str]:
    """Return the lines of a counterpart that a person can accept, as comments."""
    lines = []
    if entry.snomed:
        lines.append(f"    # snomed: [{', '.join(map(str, entry.snomed))}]")
    if entry.leads:
        lines.append(f"    # leads: [{', '.join('|'.join(group) for group in entry.leads)}]")
    lines.append("    # prompts:")
    for language, texts in entry.prompts.items():
        text = quoted(texts[0]) if len(texts) == 1 else f"[{', '.join(map(json_text, texts))}]"
        lines.append(f"    #   {language}: {text}")
    return lines


def mapping_csv(codes: Sequence[StarterCode]) -> str:
    """Return a file for ``data.codes`` that maps codes to PTB-XL's findings by their names.

    Parameters
    ----------
    codes : sequence of StarterCode

    Notes
    -----
    The closest code of a finding is taken as ``exact``, others as ``narrower``; the column
    `comment` has what a person needs to check it.
    """
    words = ptbxl()
    suggestions = [suggest(each.name) for each in codes]
    owners = _owners(codes, suggestions)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("code", "findings", "relation", "comment"))
    for each, suggestion in zip(codes, suggestions, strict=True):
        comment = f"{each.name}, {each.n_present} ECGs"
        if not suggestion.ptbxl:
            writer.writerow((each.code, "", "", f"{comment}: no finding has a similar name"))
            continue
        first = suggestion.ptbxl[0]
        findings = words.members(first.code) or (first.code,)
        relation = "exact" if owners[first.code] == each.code else "narrower"
        relation = "broader" if len(findings) > 1 else relation
        comment = f"{comment}: {first.name} ({first.closeness:.2f})"
        writer.writerow((each.code, ";".join(findings), relation, comment))
    return text.getvalue()


def quoted(text: str) -> str:
    """Return a text as YAML, in quotes where it needs them.

    Examples
    --------
    >>> print(quoted("心房細動"), quoted("AV block: 2:1"), quoted("null"))
    心房細動 "AV block: 2:1" "null"
    """
    is_plain = PLAIN.fullmatch(text) and text.lower() not in ("null", "~")
    return text if is_plain else json_text(text)


def json_text(text: str) -> str:
    """Return a text in double quotes, with escapes that YAML has, too."""
    return json.dumps(text, ensure_ascii=False)


def _comment(text: str) -> str:
    """Return a text without line ends, for a comment."""
    return " ".join(text.split())
