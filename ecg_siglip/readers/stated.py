"""Helpers that the readers of all formats share: what a file states, and optional libraries."""

from __future__ import annotations

import importlib
import re
from typing import Any, NamedTuple

import numpy as np

# DICOM and XML become objects in memory, many times their size.
MAX_PARSED_BYTES = 1 << 24
VOLTS = re.compile(r"([um\u00b5]?V)?", re.I)
# Leads of DICOM's context group 3001 by the last part of their code, the same in the schemes MDC
# (2:1) and SCPECG (5.6.3-9-1).
LEAD_CODES = {
    "1": "I", "2": "II", "3": "V1", "4": "V2", "5": "V3", "6": "V4", "7": "V5", "8": "V6",
    "61": "III", "62": "aVR", "63": "aVL", "64": "aVF",
}  # fmt: skip
STRIPS_ERROR = "a print layout of short strips, expected every lead over the whole length"


class Stated(NamedTuple):
    """What a file states about its signal; the caller supplies what it does not state.

    Attributes
    ----------
    signal : ndarray of shape (n_leads, n_samples), float64
        In the units of the file. Without ``leads`` it may also be (n_samples, n_leads).
    fs : float, Hz, or None
        None where the file states no sampling rate.
    units : list of str
        One for each lead, or one for all; "" where the file states none.
    leads : list of str, or None
        None where the file does not name its leads.
    comments : list of str
    """

    signal: np.ndarray
    fs: float | None
    units: list[str]
    leads: list[str] | None
    comments: list[str]


class DeviceStated(NamedTuple):
    """What a file states in a format that always has the sampling rate and the leads.

    Attributes
    ----------
    signal : ndarray of shape (n_leads, n_samples), float64
        In the units of the file.
    fs : float, Hz
    units, leads : list of str, length n_leads
    comments : list of str
    """

    signal: np.ndarray
    fs: float
    units: list[str]
    leads: list[str]
    comments: list[str]


def import_reader(name: str) -> Any:
    """Import the optional library that reads a format.

    Raises
    ------
    ValueError
        If it is not installed; the message names the package.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise ValueError(
            f"reading it needs the package {package}: pip install 'ecg_siglip[formats]'"
        ) from error


def stack_rows(rows: list[np.ndarray]) -> np.ndarray:
    """Stack the samples of leads to a signal (n_leads, n_samples).

    Raises
    ------
    ValueError
        If there are no leads or no samples, or the leads differ in length.
    """
    lengths = sorted({len(row) for row in rows})
    if not lengths or lengths[0] == 0:
        raise ValueError("expected leads with samples, got none")
    if len(lengths) > 1:
        raise ValueError(f"leads of {lengths[0]} to {lengths[-1]} samples: {STRIPS_ERROR}")
    return np.stack(rows)


def longest_group(groups: list[DeviceStated]) -> DeviceStated:
    """Return the group of leads with most samples.

    Raises
    ------
    ValueError
        If there is no group, or the leads are spread over several groups.
    """
    if not groups:
        raise ValueError("expected an original rhythm recording, got none")
    longest = max(groups, key=lambda group: group.signal.shape[1])
    all_leads = {lead for group in groups for lead in group.leads}
    if len(longest.leads) < min(12, len(all_leads)):
        raise ValueError(
            f"the longest recording has {len(longest.leads)} of {len(all_leads)} leads: "
            f"{STRIPS_ERROR}"
        )
    return longest
