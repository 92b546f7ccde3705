"""Read EDF and EDF+ files."""

from __future__ import annotations

import math

import numpy as np

from ecg_siglip.readers.channels import Channel, Stated, import_reader


def read_edf(content: bytes) -> Stated:
    """Read an EDF or continuous EDF+ file: its signals in uV, mV or V.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    Stated
        Without comments.

    Raises
    ------
    ValueError
        If the recording is discontinuous (EDF+D) or not as long as its header states, or if the
        signals in uV, mV, V or an unstated unit are none, differ in sampling rate or have an empty
        range.

    Notes
    -----
    Kemp et al. 1992, doi:10.1016/0013-4694(92)90009-7; Kemp and Olivan 2003,
    doi:10.1016/S1388-2457(03)00123-8. Signals in other units (respiration, SpO2) are left out.
    """
    edfio = import_reader("edfio")
    if content[192:197] == b"EDF+D":
        raise ValueError("a discontinuous recording (EDF+D), expected one without gaps")
    n_signals, n_records = _positive_integer(content[252:256]), _positive_integer(content[236:244])
    counts = content[256 + 216 * n_signals : 256 + 224 * n_signals]
    per_record = [_positive_integer(counts[i : i + 8]) for i in range(0, len(counts), 8)]
    if _positive_integer(content[184:192]) != 256 * (n_signals + 1):
        raise ValueError(f"malformed EDF header, expected {256 * (n_signals + 1)} bytes of it")
    n_bytes = 256 * (n_signals + 1) + 2 * n_records * sum(per_record)
    if n_bytes != len(content):
        raise ValueError(f"the header states {n_bytes} bytes, the file has {len(content)}")
    edf = edfio.read_edf(content, header_encoding="latin-1")
    channels = []
    for signal in edf.signals:
        low, high = signal.digital_range
        physical_low, physical_high = signal.physical_range
        gain = (physical_high - physical_low) / (high - low) if high > low else 0.0
        if not math.isfinite(gain) or gain == 0:
            raise ValueError(f"lead {signal.label} has no gain: its range is empty")
        samples = (signal.digital.astype(np.float64) - low) * gain + physical_low
        fs = float(signal.sampling_frequency)
        channels.append(Channel(signal.label, samples, signal.physical_dimension.strip(), fs))
    return Stated(channels)


def _positive_integer(field: bytes) -> int:
    """Return the number in a field of an EDF header."""
    number = field.strip()
    if not number.isdigit() or int(number) == 0:
        raise ValueError(f"malformed EDF header, expected a whole number above 0, got {number!r}")
    return int(number)
