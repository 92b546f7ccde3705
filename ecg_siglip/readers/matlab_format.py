"""Read MATLAB files of versions 4 to 7.2, for a process of its own (``isolated``).

They have a matrix such as ``val``, alone or in a structure. MATLAB 7.3 writes HDF5
(``hdf5_format``). A ``.mat`` file with a WFDB header is WFDB.
"""

from __future__ import annotations

import io

import numpy as np

from ecg_siglip.readers.arrays import MAX_NAMES, is_named, read_arrays
from ecg_siglip.readers.channels import Stated

NUMBERS = {
    "double", "single", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
}  # fmt: skip
MAX_VARIABLES = 200


def read_mat(content: bytes) -> Stated:
    """Read a MATLAB file.

    Parameters
    ----------
    content : bytes
        With a matrix of a usual name (``val``, ``data``, ``ECG``), or only one matrix; or a
        structure with such a matrix.

    Returns
    -------
    Stated
        A matrix ``val`` alone states neither sampling rate nor unit nor leads.

    Raises
    ------
    ValueError
        If there is no such matrix.
    """
    from scipy.io import loadmat

    loaded = loadmat(io.BytesIO(content), simplify_cells=True)
    matrices = {name: each for name, each in loaded.items() if isinstance(each, np.ndarray)}
    structures = [each for each in loaded.values() if isinstance(each, dict)]
    if not any(is_named(name) or each.size > MAX_NAMES for name, each in matrices.items()):
        if len(structures) > 1:
            raise ValueError("expected one structure, got several")
        loaded = structures[0] if structures else loaded
    arrays = [(name, np.asarray(value)) for name, value in loaded.items() if name[:2] != "__"]
    texts = [(name, array.astype(str) if _is_text(array) else array) for name, array in arrays]
    return read_arrays([(name, array) for name, array in texts if array.dtype.kind in "iufcU"])


def is_ecg_mat(content: bytes) -> bool:
    """Return whether a MATLAB file without a header has a matrix of a usual name."""
    from scipy.io import whosmat

    try:
        variables = whosmat(io.BytesIO(content))
    except Exception:
        return False
    return any(
        is_named(str(name)) and (kind == "struct" or (kind in NUMBERS and max(shape) > 100))
        for name, shape, kind in variables[:MAX_VARIABLES]
    )


def _is_text(array: np.ndarray) -> bool:
    """Return whether an array has cells of text."""
    return array.size <= MAX_NAMES and all(isinstance(cell, str) for cell in array.flat)
