"""Concepts that findings have in common, such as kind, site and side, each with texts of its own.

An inferior infarction is an infarction, and it is inferior. A model that has learned both concepts
from other findings can predict their combination without having been trained on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ecg_siglip.vocabulary.findings import LANGUAGES, STATEMENTS


@dataclass(frozen=True)
class Concept:
    """A property that several findings share.

    Attributes
    ----------
    en, de, ja : str
        The concept in English, German, Japanese.
    members : tuple of str
        Codes of the statements that have it.
    """

    en: str
    de: str
    ja: str
    members: tuple[str, ...]


def _concept(en: str, de: str, ja: str, members: str) -> Concept:
    return Concept(en, de, ja, tuple(members.split()))


# fmt: off
CONCEPTS = (
    _concept("myocardial infarction", "Myokardinfarkt", "心筋梗塞",
             "AMI ASMI ALMI LMI IMI ILMI IPMI IPLMI PMI"),
    _concept("myocardial ischemia", "Myokardischämie", "心筋虚血",
             "ISC_ ISCAL ISCAN ISCAS ISCIL ISCIN ISCLA"),
    _concept("subendocardial injury", "subendokardiale Schädigung", "心内膜下傷害",
             "INJAL INJAS INJIL INJIN INJLA"),
    _concept("anterior wall, leads V1 to V4", "Vorderwand, V1 bis V4", "前壁、V1〜V4誘導",
             "AMI ASMI ALMI INJAL INJAS ISCAL ISCAN ISCAS"),
    _concept("septum, leads V1 to V3", "Septum, V1 bis V3", "中隔、V1〜V3誘導",
             "ASMI INJAS ISCAS"),
    _concept("lateral wall, leads I, aVL, V5 and V6", "Seitenwand, I, aVL, V5 und V6",
             "側壁、I・aVL・V5・V6誘導",
             "ALMI LMI ILMI IPLMI INJAL INJLA INJIL ISCAL ISCLA ISCIL"),
    _concept("inferior wall, leads II, III and aVF", "Hinterwand, II, III und aVF",
             "下壁、II・III・aVF誘導",
             "IMI ILMI IPMI IPLMI INJIN INJIL ISCIN ISCIL"),
    _concept("posterior wall, tall R in V1 and V2", "posterior, hohes R in V1 und V2",
             "後壁、V1・V2誘導の高いR波", "PMI IPMI IPLMI"),
    _concept("bundle branch block", "Schenkelblock", "脚ブロック", "CLBBB CRBBB ILBBB IRBBB"),
    _concept("left bundle branch", "linker Tawara-Schenkel", "左脚", "CLBBB ILBBB LAFB LPFB"),
    _concept("right bundle branch", "rechter Tawara-Schenkel", "右脚", "CRBBB IRBBB"),
    _concept("complete block, wide QRS", "kompletter Block, breites QRS",
             "完全ブロック、幅広いQRS", "CLBBB CRBBB IVCD"),
    _concept("incomplete block, QRS below 120 ms", "inkompletter Block, QRS unter 120 ms",
             "不完全ブロック、QRS幅120 ms未満", "ILBBB IRBBB"),
    _concept("fascicular block", "Hemiblock", "脚枝ブロック", "LAFB LPFB"),
    _concept("atrioventricular block", "AV-Block", "房室ブロック", "1AVB 2AVB 3AVB LPR"),
    _concept("ventricular hypertrophy", "ventrikuläre Hypertrophie", "心室肥大",
             "LVH RVH SEHYP VCLVH"),
    _concept("atrial enlargement", "Vorhofvergrößerung", "心房拡大", "LAO/LAE RAO/RAE"),
    _concept("left heart", "linkes Herz", "左心", "LVH VCLVH LAO/LAE"),
    _concept("right heart", "rechtes Herz", "右心", "RVH RAO/RAE"),
    _concept("ST segment changes", "ST-Strecken-Veränderungen", "ST変化",
             "NST_ STD_ STE_ DIG ANEUR INJAL INJAS INJIL INJIN INJLA"),
    _concept("T wave changes", "T-Wellen-Veränderungen", "T波変化",
             "NDT NT_ LOWT INVT TAB_ EL"),
    _concept("rhythm of the sinus node", "Rhythmus aus dem Sinusknoten", "洞結節のリズム",
             "SR STACH SBRAD SARRH"),
    _concept("arrhythmia from above the ventricles", "Rhythmusstörung oberhalb der Kammern",
             "心室より上で生じる不整脈",
             "AFIB AFLT SVTAC PSVT SVARR PAC"),
    _concept("irregular rhythm", "unregelmäßiger Rhythmus", "不規則なリズム",
             "AFIB SARRH SVARR PAC PVC PRC(S) BIGU TRIGU"),
    _concept("fast heart rate", "schnelle Herzfrequenz", "速い心拍数", "STACH SVTAC PSVT"),
    _concept("slow heart rate", "langsame Herzfrequenz", "遅い心拍数", "SBRAD 3AVB"),
    _concept("premature beats", "Extrasystolen", "期外収縮", "PAC PVC PRC(S) BIGU TRIGU"),
)
# fmt: on


def prompts(codes: Sequence[str], language: str = "en") -> tuple[list[str], np.ndarray]:
    """Return the concepts of a vocabulary, and which of its findings have each of them.

    Parameters
    ----------
    codes : sequence of str, length n_findings
        Statements; classes have no concepts.
    language : {"en", "de", "ja"}

    Returns
    -------
    list of str, length n_concepts
        Concepts that at least one of the codes has.
    ndarray of shape (n_concepts, n_findings), bool

    Raises
    ------
    ValueError
        If the language is unknown, or no code has a concept.
    """
    if language not in LANGUAGES:
        raise ValueError(f"language {language!r}: expected one of {', '.join(LANGUAGES)}")
    members = [[code in concept.members for code in codes] for concept in CONCEPTS]
    members_CF = np.array(members, dtype=bool).reshape(len(CONCEPTS), len(codes))
    is_used = np.array([any(row) for row in members])
    if not is_used.any():
        raise ValueError("concept: none of these findings has a kind, site or side")
    texts = [
        getattr(concept, language) for concept, used in zip(CONCEPTS, is_used, strict=True) if used
    ]
    return texts, members_CF[is_used]


def concepts_of(code: str, language: str = "en", known: Iterable[str] = STATEMENTS) -> list[str]:
    """Return the concepts that a finding shares with at least one other known finding.

    Only these concepts can be learned without the finding itself.

    Parameters
    ----------
    code : str
        The finding.
    language : {"en", "de", "ja"}
    known : iterable of str
        Codes of the known findings.

    Returns
    -------
    list of str

    Examples
    --------
    >>> concepts_of("CLBBB")
    ['bundle branch block', 'left bundle branch', 'complete block, wide QRS']
    >>> concepts_of("CLBBB", known=["IRBBB"])
    ['bundle branch block']
    """
    others = set(known) - {code}
    return [
        getattr(concept, language)
        for concept in CONCEPTS
        if code in concept.members and others & set(concept.members)
    ]
