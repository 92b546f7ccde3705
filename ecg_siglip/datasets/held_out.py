"""Findings that training never hears of, to see whether words alone can ask for them.

Shape letters: N records, T texts, D embedding, H findings held out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ecg_siglip.datasets.ptbxl import PtbXl

# What may tell of a finding in a report, German, Swedish or English, in lower case. Wider than
# need be: a misspelt word may still slip through. Other findings: all reports are left out.
_MENTIONS = {
    **dict.fromkeys(("IMI", "ILMI", "IPMI", "IPLMI", "ISCIN", "ISCIL", "INJIN", "INJIL"),
                    r"inferi|hinterwand|diaphragm|\biii\b|avf"),
    **dict.fromkeys(("AMI", "ASMI", "ALMI", "ISCAN", "ISCAS", "ISCAL", "INJAS", "INJAL", "ANEUR"),
                    r"anteri|antero|vorderwand|sept|v[1-6]|chest leads"),
    **dict.fromkeys(("LMI", "ISCLA", "INJLA"), r"later|seitenwand|avl|v[56]"),
    "PMI": r"posterio|hinterwand",
    "ISC_": r"isch|koronar|coronar",
    **dict.fromkeys(("CLBBB", "ILBBB"), r"left bundle|linksschenkel|vänster\w* skänkel|lsb|lbbb"),
    **dict.fromkeys(("CRBBB", "IRBBB"), r"right bundle|rechtsschenkel|höger\w* skänkel|rsb|rbbb"),
    **dict.fromkeys(("LAFB", "LPFB"), r"fascicul|hemibl|lahb|lphb|lafb|lpfb"),
    **dict.fromkeys(("AFIB", "AFLT"), r"fibrill|fl+im+er|flutter|flattern|fladder|absolute arr"),
    **dict.fromkeys(("STACH", "SVTAC", "PSVT"), r"ta[ck]h?[iy]|rapid"),
    "SBRAD": r"brad[iy]|slow",
    "SARRH": r"sinus ?arr|arr[h]?ythm",
    "PACE": r"pace|schrittmacher|stimul",
}  # fmt: skip


def drop_findings(data: PtbXl, held_out: Sequence[str]) -> PtbXl:
    """The data with the labels of the other findings alone.

    Raises
    ------
    ValueError
        If a finding is none of the data's, or none is left.
    """
    for code in held_out:
        if code not in data.codes:
            raise ValueError(f"data.held_out: {code} is no finding of this task")
    keep = [i for i, code in enumerate(data.codes) if code not in held_out]
    if not keep:
        raise ValueError("data.held_out: no finding is left to learn; expected some")
    return replace(
        data,
        codes=tuple(data.codes[i] for i in keep),
        y_true=data.y_true[:, keep],
        likelihood=data.likelihood[:, keep],
    )


def hide_findings(data: PtbXl, held_out: Sequence[str]) -> PtbXl:
    """The data as it is shown to a training that shall not know some findings.

    Parameters
    ----------
    data : PtbXl
    held_out : sequence of str

    Returns
    -------
    PtbXl
        Without these findings. Records that have one belong to fold 0, which nobody trains or
        tunes on; reports that may tell of one are empty.

    Raises
    ------
    ValueError
        As ``known``.
    """
    if not held_out:
        return data
    rest = drop_findings(data, held_out)
    has_one = data.y_true[:, [data.codes.index(code) for code in held_out]].any(axis=1)
    patterns = [_MENTIONS.get(code, "") for code in held_out]
    tells = re.compile("|".join(patterns) if all(patterns) else "")
    reports = ["" if tells.search(report.lower()) else report for report in data.reports]
    return replace(rest, reports=reports, strat_fold=np.where(has_one, 0, data.strat_fold))
