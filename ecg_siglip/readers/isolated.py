"""Run readers whose libraries may take any memory or time, or crash, in a process of their own.

A Parquet or Feather file may state that a page of some bytes has gigabytes when unpacked, which
the library finds out while it unpacks it. Others hang or crash on damaged files.
"""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np

from ecg_siglip.core.files import one_line
from ecg_siglip.core.helper_process import HelperProcess, serve
from ecg_siglip.readers import (
    arrays,
    device_formats,
    dicom_format,
    excel_format,
    hdf5_datasets,
    json_formats,
    matlab_format,
    parquet_format,
    xml_formats,
)
from ecg_siglip.readers.channels import Channel, Stated
from ecg_siglip.readers.identity import DeviceResults, Identity
from ecg_siglip.readers.limits import MAX_BYTES

LIMIT_S = 15.0
DAMAGED, TOO_LARGE = "damaged", "too large when unpacked"
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
    b"dicom": dicom_format.read_dicom,
    b"xml": xml_formats.read_xml,
    b"json": json_formats.read_json,
    b"npz": arrays.read_npz,
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
    message, channels, identity, device, *others = json.loads(response[response.rindex(b"\n") :])
    if message:
        raise ValueError(message)
    stated, at = [], 0
    for name, dtype, n, *fields in channels:
        samples = np.frombuffer(response, dtype, n, at)
        stated.append(Channel(name, samples, *fields))
        at += samples.nbytes
    rest = dict(zip(Stated._fields[1:], others, strict=False))
    rest |= {"identity": Identity(**identity), "device": DeviceResults.from_dict(device)}
    return Stated(stated, **rest)


def respond(request: bytes) -> bytes:
    """Return the response to a request: samples, then a line of JSON with all else, or an error."""
    kind, _, content = request.partition(b"\0")
    stated, message = Stated([]), ""
    try:
        stated = READERS[kind](content)
        n_bytes = sum(channel.samples.nbytes for channel in stated.channels)
        if n_bytes > MAX_BYTES:
            raise MemoryError
    except ValueError as error:
        message = one_line(error) or "malformed"
    except MemoryError:
        message = TOO_LARGE
    except Exception as error:  # whatever a library raises for a damaged file
        message = f"{DAMAGED} ({type(error).__name__}: {one_line(error)[:200]})"
    channels, *others, identity, device = Stated([]) if message else stated
    fields = [[name, str(row.dtype), len(row), *rest] for name, row, *rest in channels]
    about = [asdict(identity), device.to_dict()]
    header = json.dumps([message, fields, *about, *others]).encode()
    rows = [np.ascontiguousarray(channel.samples).data for channel in channels]
    return b"".join([*rows, b"\n", header])


if __name__ == "__main__":
    serve(respond)
