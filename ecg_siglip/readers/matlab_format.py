"""Read MATLAB files: a matrix such as ``val``, alone or in a structure, of versions 4 to 7.2.

MATLAB 7.3 writes HDF5 (``hdf5_format``). A ``.mat`` file with a WFDB header is WFDB.
"""

from __future__ import annotations

import io
import itertools
import math
import zlib

import numpy as np

from ecg_siglip.readers.arrays import MAX_NAMES, choose_arrays, is_named, read_arrays
from ecg_siglip.readers.channels import Stated
from ecg_siglip.readers.limits import MAX_BYTES

NUMBERS = {
    "double", "single", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
}  # fmt: skip
MAX_VARIABLES = 200
# Elements within the variables of a file with structures. More of them are no ECG; thousands of
# them within each other overflow the stack of scipy, which ends the process.
MAX_ELEMENTS = 500
COMPRESSED, MATRIX = 15, 14  # types of elements
HEADER_BYTES = 128


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
        If there is no such matrix, or more than 256 MiB when unpacked.
    """
    from scipy.io import loadmat, whosmat

    n_elements = _check_unpacked(content) if content.startswith(b"MATLAB 5") else []
    variables = whosmat(io.BytesIO(content))
    if len(variables) > MAX_VARIABLES:
        raise ValueError(f"expected at most {MAX_VARIABLES} variables, got {len(variables)}")
    kinds = {str(name): kind for name, _, kind in variables}
    sizes = {str(name): math.prod(shape) for name, shape, _ in variables}
    structures = [name for name, kind in kinds.items() if kind == "struct"]
    matrices = {name: sizes[name] for name, kind in kinds.items() if kind in NUMBERS}
    if structures and not any(is_named(each) or n > MAX_NAMES for each, n in matrices.items()):
        if sum(n_elements) > MAX_ELEMENTS or len(structures) > 1:
            raise ValueError("structures that are no ECG: save the samples as a matrix `val`")
        loaded = loadmat(io.BytesIO(content), variable_names=structures, simplify_cells=True)
        loaded = loaded[structures[0]]
        if not isinstance(loaded, dict):
            raise ValueError("expected one structure, got several")
    else:
        samples, _ = choose_arrays(matrices)
        wanted = [
            name
            for (name, kind), n_within in itertools.zip_longest(kinds.items(), n_elements)
            if sizes[name] <= MAX_NAMES
            and (kind in NUMBERS or kind == "char" or (kind == "cell" and n_within <= MAX_ELEMENTS))
        ]
        wanted += samples
        loaded = loadmat(io.BytesIO(content), variable_names=wanted, simplify_cells=True)
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


def _check_unpacked(content: bytes) -> list[int]:
    """Check the size of the unpacked variables of a file, and return how many matrices each has.

    Notes
    -----
    Format of MATLAB's level 5 MAT-files: after a header, elements of a type, a size and content,
    the numbers in the byte order of the mark at its end.
    """
    order = "<" if content[126:128] == b"IM" else ">"
    at, n_bytes = HEADER_BYTES, 0
    n_matrices: list[int] = []
    for _ in range(MAX_VARIABLES + 1):
        if at + 8 > len(content):
            return n_matrices
        kind, size = np.frombuffer(content, f"{order}u4", 2, at)
        element = content[at + 8 : at + 8 + int(size)]
        if kind == COMPRESSED:
            unpacked = zlib.decompressobj().decompress(element, MAX_BYTES - n_bytes + 1)
            n_bytes += len(unpacked)
            if n_bytes > MAX_BYTES:
                raise ValueError(f"more than {MAX_BYTES} bytes when unpacked")
            n_matrices.append(_count(unpacked, order))
        elif kind == MATRIX:
            n_matrices.append(1 + _count(element, order))
        at += 8 + int(size)
    raise ValueError(f"expected at most {MAX_VARIABLES} variables, got more")


def _count(content: bytes, order: str) -> int:
    """Return at most how many elements of an unpacked content are matrices."""
    words = np.frombuffer(content, f"{order}u4", len(content) // 4)
    return int(np.count_nonzero(words == MATRIX))
