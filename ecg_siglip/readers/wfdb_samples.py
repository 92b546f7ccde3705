"""Read the samples of a file of a WFDB record, in any of the formats of ``signal(5)``.

NumPy reads those of whole 16 bits, the package wfdb all others: from a header of its own, that
states only where the samples are.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ecg_siglip.readers.wfdb_header import BITS, Signal

# Largest piece of a record that is read at once: 256 MiB of samples as float64.
MAX_BYTES = 1 << 28
# Bytes of a sample where they differ from the resolution.
BYTES_PER_SAMPLE = {"8": 1.0, "212": 1.5, "310": 4 / 3, "311": 4 / 3}
# Formats that NumPy reads; wfdb fails with the samples of 61 as whole numbers.
DTYPES = {"16": "<i2", "61": ">i2"}
FLAC = ("508", "516", "524")
Rows = list[np.ndarray] | np.ndarray


class SignalFile(NamedTuple):
    """A file with samples, which are stored frame by frame.

    Attributes
    ----------
    path : Path
    signals : list of Signal
        In the order of the samples in a frame.
    first : int
        Index of its first signal among those of the header.
    """

    path: Path
    signals: list[Signal]
    first: int

    @property
    def frame(self) -> int:
        """Number of samples in a frame."""
        return sum(signal.per_frame for signal in self.signals)


def count_frames(file: SignalFile, stated: int | None) -> int:
    """Return the number of frames of a file.

    Parameters
    ----------
    file : SignalFile
    stated : int or None
        Number of frames in the header.

    Raises
    ------
    ValueError
        If it is shorter or longer than the header states, or is no FLAC file where it should be.
    """
    fmt, offset = file.signals[0].fmt, file.signals[0].offset
    name = file.path.name
    if fmt in FLAC:
        n_frames = (_count_flac(file.path) - offset) // file.signals[0].per_frame
    else:
        if file.path.suffix.lower() == ".mat" and offset < 20:
            raise ValueError(
                f"{name} begins with a header of MATLAB: expected a format as in 16+24"
            )
        sample = BYTES_PER_SAMPLE.get(fmt, BITS[fmt] / 8)
        n_bytes = max(0, file.path.stat().st_size - offset)
        n_frames = int(n_bytes / (sample * file.frame) + 1e-6)
    if stated is None:
        return n_frames
    got = f"expected {stated} samples for {len(file.signals)} lead(s), got {n_frames}"
    if n_frames < stated:
        raise ValueError(f"{name} is truncated, {got}")
    # The formats with packed samples are padded to a whole number of bytes.
    if n_frames > stated + 1:
        raise ValueError(f"{name} is longer than its header states, {got}")
    return n_frames


def _count_flac(path: Path) -> int:
    """Return the number of samples of each channel of a FLAC file."""
    with path.open("rb") as file:
        if file.read(4) != b"fLaC":
            raise ValueError(f"{path.name} is no FLAC file, which its format needs")
    try:
        import soundfile
    except (ImportError, OSError) as error:  # or its library libsndfile
        raise ValueError(
            "reading FLAC needs the package soundfile: pip install soundfile"
        ) from error
    try:
        return int(soundfile.info(str(path)).frames)
    except RuntimeError as error:
        raise ValueError(f"{path.name} is malformed FLAC") from error


def read_samples(file: SignalFile, first: int, stop: int) -> Rows:
    """Read the samples of a file between two frames.

    Parameters
    ----------
    file : SignalFile
        With at least ``stop`` frames (``count_frames``).
    first, stop : int
        Frames; ``stop`` is not read.

    Returns
    -------
    list of ndarray of shape ((stop - first) * per_frame,), whole numbers
        Of each signal, in counts of the converter, also where a sample is invalid. One array of
        shape (n_signals, stop - first) if all have one sample per frame.

    Raises
    ------
    ValueError
        If wfdb cannot read the file.
    """
    fmt, frame = file.signals[0].fmt, file.frame
    if fmt == "8":  # the differences have to be summed from the beginning
        if 8 * stop * frame > MAX_BYTES:
            raise ValueError(f"{file.path.name} in format 8 is too long, store it in format 16")
        rows = _read_by_wfdb(file, 0, stop)
        return [row[first * s.per_frame :] for s, row in zip(file.signals, rows, strict=True)]
    if fmt in FLAC:
        return _read_by_wfdb(file, first, stop)
    if fmt in DTYPES:
        begin = file.signals[0].offset + 2 * first * frame
        values = np.fromfile(file.path, DTYPES[fmt], (stop - first) * frame, offset=begin)
    else:  # as one signal: wfdb takes longer for each line of a header than for the samples
        one = file.signals[0]._replace(per_frame=frame)
        values = _read_by_wfdb(file._replace(signals=[one]), first, stop)[0]
    frames, rows, at = values.reshape(stop - first, frame), [], 0
    if frame == len(file.signals):
        return frames.T
    for signal in file.signals:
        rows.append(frames[:, at : at + signal.per_frame].reshape(-1))
        at += signal.per_frame
    return rows


def _read_by_wfdb(file: SignalFile, first: int, stop: int) -> list[np.ndarray]:
    """Return the samples of each signal of a file between two frames, read by wfdb.

    wfdb gets a header of its own, since it refuses many headers that are harmless, and reads some
    others wrongly: it skips what is not ASCII, and fails where leads are skewed differently.
    """
    # wfdb imports pandas: half a second that importing this module should not take.
    import wfdb

    fmt, offset = file.signals[0].fmt, file.signals[0].offset
    lines = [f"rec {len(file.signals)} 1 {stop}"]
    for signal in file.signals:
        lines.append(f"rec.dat {fmt}x{signal.per_frame}+{offset} 1 0 0 {signal.first} 0 0")
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder, "rec")
        base.with_suffix(".hea").write_text("\n".join(lines) + "\n")
        try:
            base.with_suffix(".dat").symlink_to(file.path.absolute())
        except OSError:  # Windows allows links only to some users
            shutil.copyfile(file.path, base.with_suffix(".dat"))
        try:
            record = wfdb.rdrecord(
                str(base), sampfrom=first, sampto=stop, physical=False, smooth_frames=False
            )
        except Exception as error:
            cause = " ".join(f"{type(error).__name__}: {error}".split())
            cause = cause.replace(f"{base}.dat", "it")
            raise ValueError(f"wfdb cannot read {file.path.name} ({cause[:200]})") from error
    rows: list[np.ndarray] = record.e_d_signal
    return rows
