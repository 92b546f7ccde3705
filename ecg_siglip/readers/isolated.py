"""Run readers whose libraries may take any memory or crash in a process of their own.

A Parquet or Feather file may state that a page of some bytes has gigabytes when unpacked, which
the library finds out while it unpacks it.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from ecg_siglip.core.files import one_line
from ecg_siglip.core.helper_process import HelperProcess, serve
from ecg_siglip.readers.channels import Channel, Stated
from ecg_siglip.readers.hdf5_datasets import list_exams, read_exam
from ecg_siglip.readers.matlab_format import read_mat
from ecg_siglip.readers.parquet_format import read_feather, read_parquet

LIMIT_S = 15.0
READERS = {
    b"exam": read_exam,
    b"exams": list_exams,
    b"mat": read_mat,
    b"feather": read_feather,
    b"parquet": read_parquet,
}
HELPER = HelperProcess("ecg_siglip.readers.isolated", LIMIT_S)


def isolated_mat(content: bytes) -> Stated:
    """Read a MATLAB file (``matlab_format.read_mat``) in a process of its own."""
    return run_isolated(b"mat", content)


def isolated_parquet(content: bytes) -> Stated:
    """Read a Parquet file (``parquet_format.read_parquet``) in a process of its own."""
    return run_isolated(b"parquet", content)


def isolated_feather(content: bytes) -> Stated:
    """Read a Feather file (``parquet_format.read_feather``) in a process of its own."""
    return run_isolated(b"feather", content)


def run_isolated(kind: bytes, content: bytes, helper: HelperProcess = HELPER) -> Stated:
    """Return what a reader returns.

    Raises
    ------
    ValueError
        As the reader, or if the process ends without a response.
    """
    try:
        response = helper.request(kind + b"\0" + content)
    except ChildProcessError as error:
        raise ValueError(f"{error}: it is damaged or too large") from error
    with np.load(io.BytesIO(response), allow_pickle=False) as archive:
        arrays = dict(archive)
    if "error" in arrays:
        raise ValueError(str(arrays["error"]))
    channels = [
        Channel(str(name), arrays[f"samples{i}"], str(unit), None if np.isnan(fs) else float(fs))
        for i, (name, unit, fs) in enumerate(
            zip(arrays["names"], arrays["units"], arrays["fs"], strict=True)
        )
    ]
    comments = list(map(str, arrays["comments"]))
    return Stated(channels, comments, list(map(str, arrays["warnings"])), str(arrays["scale"]))


def respond(request: bytes) -> bytes:
    """Return the response to a request: a NumPy archive of what a reader returns, or an error."""
    kind, _, content = request.partition(b"\0")
    response: dict[str, Any]
    try:
        stated = READERS[kind](content)
        channels = stated.channels
        response = {f"samples{i}": each.samples for i, each in enumerate(channels)}
        response["names"] = np.array([each.name for each in channels], dtype=str)
        response["units"] = np.array([each.unit for each in channels], dtype=str)
        response["fs"] = np.array([np.nan if each.fs is None else each.fs for each in channels])
        response["scale"] = np.array(stated.scale)
        response["comments"] = np.array(stated.comments, dtype=str)
        response["warnings"] = np.array(stated.warnings, dtype=str)
    except ValueError as error:
        response = {"error": np.array(one_line(error))}
    except MemoryError:
        response = {"error": np.array("too large when unpacked")}
    except Exception as error:  # whatever a library raises for a damaged file
        message = f"damaged ({type(error).__name__}: {one_line(error)[:200]})"
        response = {"error": np.array(message)}
    file = io.BytesIO()
    np.savez(file, **response)
    return file.getvalue()


if __name__ == "__main__":
    serve(respond)
