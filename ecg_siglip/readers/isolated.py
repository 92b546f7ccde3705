"""Run readers whose libraries may take any memory or time, or crash, in a process of their own.

A Parquet or Feather file may state that a page of some bytes has gigabytes when unpacked, which
the library finds out while it unpacks it. Others hang or crash on damaged files.
"""

from __future__ import annotations

import io
import json

import numpy as np

from ecg_siglip.core.files import one_line
from ecg_siglip.core.helper_process import HelperProcess, serve
from ecg_siglip.readers import (
    device_formats,
    excel_format,
    hdf5_datasets,
    matlab_format,
    parquet_format,
)
from ecg_siglip.readers.channels import Channel, Stated

LIMIT_S = 15.0
READERS = {
    b"exam": hdf5_datasets.read_exam,
    b"exams": hdf5_datasets.list_exams,
    b"mat": matlab_format.read_mat,
    b"feather": parquet_format.read_feather,
    b"parquet": parquet_format.read_parquet,
    b"page": excel_format.find_page,
    b"xlsx": excel_format.read_xlsx,
    b"scp": device_formats.read_scp,
    b"mfer": device_formats.read_mfer,
    b"sierra": device_formats.read_sierra,
    b"mortara": device_formats.read_mortara,
}
HELPER = HelperProcess("ecg_siglip.readers.isolated", LIMIT_S)


def run_isolated(kind: bytes, content: bytes) -> Stated:
    """Return what one of ``READERS`` returns.

    Raises
    ------
    ValueError
        As the reader, or if the process ends without a response.
    """
    try:
        response = HELPER.request(kind + b"\0" + content)
    except ChildProcessError as error:
        raise ValueError(f"{error}: it is damaged or too large") from error
    with np.load(io.BytesIO(response), allow_pickle=False) as archive:
        rows = [archive[f"arr_{i}"] for i in range(len(archive.files) - 1)]
        message, channels, *others = json.loads(str(archive["stated"]))
    if message:
        raise ValueError(message)
    return Stated(
        [Channel(name, row, *stated) for row, (name, *stated) in zip(rows, channels, strict=True)],
        *others,
    )


def respond(request: bytes) -> bytes:
    """Return the response to a request: a NumPy archive of what a reader returns, or an error."""
    kind, _, content = request.partition(b"\0")
    stated, message = Stated([]), ""
    try:
        stated = READERS[kind](content)
    except ValueError as error:
        message = one_line(error) or "malformed"
    except MemoryError:
        message = "too large when unpacked"
    except Exception as error:  # whatever a library raises for a damaged file
        message = f"damaged ({type(error).__name__}: {one_line(error)[:200]})"
    channels, *others = stated
    fields = [[name, *rest] for name, _, *rest in channels]
    file = io.BytesIO()
    rows = [channel.samples for channel in channels]
    np.savez(file, *rows, stated=np.array(json.dumps([message, fields, *others])))
    return file.getvalue()


if __name__ == "__main__":
    serve(respond)
