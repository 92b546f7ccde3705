"""What the readers of all formats share: what a file states, and optional libraries."""

from __future__ import annotations

import importlib
import re
from typing import Any

import numpy as np

# Signal (n_leads, n_samples), fs in Hz, units, leads, comments; None or "" where not stated.
Stated = tuple[np.ndarray, float | None, list[str], list[str] | None, list[str]]
# The same of formats that always state the rate and the leads.
DeviceStated = tuple[np.ndarray, float, list[str], list[str], list[str]]
# DICOM and XML become objects in memory, many times their size.
MAX_PARSED_BYTES = 1 << 24
VOLTS = re.compile(r"([um\u00b5]?V)?", re.I)
LEAD_CODES = {
    "1": "I", "2": "II", "3": "V1", "4": "V2", "5": "V3", "6": "V4", "7": "V5", "8": "V6",
    "61": "III", "62": "aVR", "63": "aVL", "64": "aVF",
}  # fmt: skip
STRIPS_ERROR = "a print layout of short strips, expected every lead over the whole length"


def import_reader(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise ValueError(
            f"reading it needs the package {package}: pip install 'ecg_siglip[formats]'"
        ) from error


def stack_rows(rows: list[np.ndarray]) -> np.ndarray:
    lengths = sorted({len(row) for row in rows})
    if not lengths or lengths[0] == 0:
        raise ValueError("expected leads with samples, got none")
    if len(lengths) > 1:
        raise ValueError(f"leads of {lengths[0]} to {lengths[-1]} samples: {STRIPS_ERROR}")
    return np.stack(rows)


def longest_group(groups: list[DeviceStated]) -> DeviceStated:
    """The group with most samples, if the leads are not spread over several."""
    if not groups:
        raise ValueError("expected an original rhythm recording, got none")
    longest = max(groups, key=lambda group: group[0].shape[1])
    everywhere = {lead for group in groups for lead in group[3]}
    if len(longest[3]) < min(12, len(everywhere)):
        raise ValueError(
            f"the longest recording has {len(longest[3])} of {len(everywhere)} leads: {STRIPS_ERROR}"
        )
    return longest
