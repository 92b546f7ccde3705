"""Limits on what is read, and what is never opened: shared by the readers."""

from __future__ import annotations

import os
import stat

from ecg_siglip.core.files import shown

# Size of a file, packed and unpacked.
MAX_BYTES = 1 << 28
# Length of a record unless the caller allows more: a Holter recording of a day with some spare.
MAX_HOURS = 26.0
# Beginning of a file by which its format is detected.
HEAD_BYTES = 4096
SPECIAL = (
    (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)  # fmt: skip


def check_regular(path: str | os.PathLike[str]) -> os.stat_result:
    """Check that a path can be opened: reading a pipe may take forever, a device may react to it.

    Parameters
    ----------
    path : str or path
        Links are followed.

    Returns
    -------
    os.stat_result

    Raises
    ------
    OSError
        If there is nothing, or it cannot be reached.
    ValueError
        If it is a pipe, a socket or a device.
    """
    status = os.stat(path)
    for is_kind, name in SPECIAL:
        if is_kind(status.st_mode):
            raise ValueError(f"{shown(path)}: {name}, expected a file")
    return status


def check_duration(n_samples: int, fs: float, max_hours: float) -> None:
    """Check that a record is not longer than allowed.

    Parameters
    ----------
    n_samples : int
        Of each lead.
    fs : float, Hz
    max_hours : float, h

    Raises
    ------
    ValueError
        If it is longer.
    """
    hours = n_samples / fs / 3600
    if hours > max_hours:
        raise ValueError(
            f"{hours:.6g} h of signal, expected at most {max_hours:g} h; windows.max_hours of "
            "predict allows more"
        )
