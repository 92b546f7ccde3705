"""EDF and EDF+ files."""

from __future__ import annotations

import math
import re

import numpy as np

from ecg_siglip.readers.stated import (
    VOLTS,
    DeviceStated,
    import_reader,
)


def read_edf(content: bytes) -> DeviceStated:
    """An EDF or continuous EDF+ file: its signals in volts.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    signal : ndarray of shape (n_leads, n_samples), float64
    fs : float, Hz
    units : list of str, length n_leads
    leads : list of str, length n_leads
    comments : list of str
        Empty.

    Raises
    ------
    ValueError
        If the recording is discontinuous (EDF+D) or not as long as its header says, has no signal
        in uV, mV, V or an unstated unit, several sampling rates among those, or an empty range.

    Notes
    -----
    Kemp et al. 1992, doi:10.1016/0013-4694(92)90009-7; Kemp and Olivan 2003,
    doi:10.1016/S1388-2457(03)00123-8. Signals in other units (respiration, SpO2) are left out.
    """
    edfio = import_reader("edfio")
    if content[192:197] == b"EDF+D":
        raise ValueError("a discontinuous recording (EDF+D), expected one without gaps")
    n_signals, n_records = _whole(content[252:256]), _whole(content[236:244])
    counts = content[256 + 216 * n_signals : 256 + 224 * n_signals]
    per_record = [_whole(counts[i : i + 8]) for i in range(0, len(counts), 8)]
    if _whole(content[184:192]) != 256 * (n_signals + 1):
        raise ValueError(f"malformed EDF header, expected {256 * (n_signals + 1)} bytes of it")
    n_bytes = 256 * (n_signals + 1) + 2 * n_records * sum(per_record)
    if n_bytes != len(content):
        raise ValueError(f"expected {n_bytes} bytes as the header says, got {len(content)}")
    edf = edfio.read_edf(content, header_encoding="latin-1")
    chosen = [s for s in edf.signals if re.fullmatch(VOLTS, s.physical_dimension.strip())]
    rates = sorted({float(signal.sampling_frequency) for signal in chosen})
    if len(rates) != 1:
        got = ", ".join(f"{rate:g} Hz" for rate in rates) or "no signal in uV, mV or V"
        raise ValueError(f"expected leads of one sampling rate, got {got}")
    rows = []
    for signal in chosen:
        low, high = signal.digital_range
        physical_low, physical_high = signal.physical_range
        gain = (physical_high - physical_low) / (high - low) if high > low else 0.0
        if not math.isfinite(gain) or gain == 0:
            raise ValueError(f"lead {signal.label} has no gain: its range is empty")
        rows.append((signal.digital.astype(np.float64) - low) * gain + physical_low)
    units = [signal.physical_dimension for signal in chosen]
    return np.stack(rows), rates[0], units, [signal.label for signal in chosen], []


def _whole(field: bytes) -> int:
    """A field of an EDF header that counts something."""
    number = field.strip()
    if not number.isdigit() or int(number) == 0:
        raise ValueError(f"malformed EDF header, expected a whole number above 0, got {number!r}")
    return int(number)
