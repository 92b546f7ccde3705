"""Hide findings from training, to test whether a text query alone can detect them."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ecg_siglip.core.suggestions import did_you_mean, nearest
from ecg_siglip.datasets.records import LabelledRecords, first_of
from ecg_siglip.vocabulary.vocabulary_file import PTBXL

# Patterns of words that may mention a finding in a German, Swedish or English report, in lower
# case. They match more than necessary, but a misspelt word may still be missed. For a finding
# without a pattern, and with another vocabulary, all reports are left out.
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


def drop_findings(data: LabelledRecords, held_out: Sequence[str]) -> LabelledRecords:
    """Return the data without the labels of some findings.

    Raises
    ------
    ValueError
        If the data has no such finding, or if no finding is left.
    """
    for code in held_out:
        if code not in data.codes:
            near = nearest(code, data.codes, 0.5)
            hint = did_you_mean(near, f"expected some of {first_of(data.codes, 12)}")
            raise ValueError(f"data.held_out: {code} is not a finding of this task; {hint}")
    keep = [code for code in data.codes if code not in held_out]
    if not keep:
        raise ValueError("data.held_out: no finding is left to learn; hold out fewer findings")
    return select_findings(data, keep)


def select_findings(data: LabelledRecords, codes: Sequence[str]) -> LabelledRecords:
    """Return the data with the labels of some findings only, in the order of the data."""
    keep = [i for i, code in enumerate(data.codes) if code in {*codes}]
    return replace(
        data,
        codes=tuple(data.codes[i] for i in keep),
        y_true=data.y_true[:, keep],
        likelihood=data.likelihood[:, keep],
        known=None if data.known is None else data.known[:, keep],
    )


def leave_out_unknown(
    data: LabelledRecords, train_folds: Sequence[int], progress: bool = False
) -> LabelledRecords:
    """Return the data without the findings of which no training record has a known label.

    A data set may not be able to state them, as the challenges most statements of PTB-XL.

    Parameters
    ----------
    data : LabelledRecords
    train_folds : sequence of int
    progress : bool
        List them on stderr, and those that are present wherever they are known.

    Returns
    -------
    LabelledRecords
        The same data if no label is known at all.
    """
    if data.known is None:
        return data
    rows = np.isin(data.strat_fold, list(train_folds))
    is_known = np.any(data.known[rows], axis=0)
    is_constant = is_known & ~np.any(data.known[rows] & ~data.y_true[rows], axis=0)
    if progress and is_constant.any():
        codes = [code for code, one in zip(data.codes, is_constant, strict=True) if one]
        print(
            f"{first_of(codes, 8)}: present in every training record with a known label; without "
            "records without it a finding cannot be learned (0 in the column of its code)",
            file=sys.stderr,
        )
    if is_known.all() or not is_known.any():
        return data
    left_out = [code for code, known in zip(data.codes, is_known, strict=True) if not known]
    if progress:
        print(
            f"{len(left_out)} of {len(data.codes)} findings have no known label in the training "
            f"records and are left out: {first_of(left_out, 8)}",
            file=sys.stderr,
        )
    return select_findings(data, [code for code in data.codes if code not in {*left_out}])


def hide_findings(data: LabelledRecords, held_out: Sequence[str]) -> LabelledRecords:
    """Return the data without all information on some findings, for training.

    Parameters
    ----------
    data : LabelledRecords
    held_out : sequence of str

    Returns
    -------
    LabelledRecords
        Without the labels of these findings. Records with one of them are moved to fold 0, which
        is used for neither training nor tuning; reports that may mention one are empty. Records
        for which it is unknown whether they have one are kept: their labels do not state it.

    Raises
    ------
    ValueError
        As ``drop_findings``.
    """
    if not held_out:
        return data
    remaining = drop_findings(data, held_out)
    has_one = data.y_true[:, [data.codes.index(code) for code in held_out]].any(axis=1)
    known = _MENTIONS if data.vocabulary.name == PTBXL else {}
    patterns = [known.get(code, "") for code in held_out]
    mention = re.compile("|".join(patterns) if all(patterns) else "")
    reports = ["" if mention.search(report.lower()) else report for report in data.reports]
    return replace(remaining, reports=reports, strat_fold=np.where(has_one, 0, data.strat_fold))
