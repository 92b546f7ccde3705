"""Run readers whose libraries may take any memory or time, or crash, in a process of their own.

A Parquet or Feather file may state that a page of some bytes has gigabytes when unpacked, which
the library finds out while it unpacks it. Others hang or crash on damaged files.
"""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np

from ecg_siglip.core.files import one_line
from ecg_siglip.core.helper_process import HelperProcess, ends_after, is_helper, serve
from ecg_siglip.readers import (
    arrays,
    device_formats,
    dicom_format,
    excel_format,
    hdf5_datasets,
    json_formats,
    matlab_format,
    parquet_format,
    xml_document,
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
# Text of this size takes some 100 MiB and seconds at most, whatever it is.
MAX_TEXT_BYTES = 1 << 22


def run_isolated(kind: bytes, content: bytes) -> Stated:
    """Return what one of ``READERS`` returns.

    Raises
    ------
    ValueError
        As the reader, or if the process ends without a response.

    Notes
    -----
    A process that itself is a helper reads text of limited size without another one, which takes
    half as long.
    """
    if is_helper() and _is_bounded(kind, content):
        with ends_after(LIMIT_S):
            stated, message = _read(kind, content)
        if message:
            raise ValueError(message)
        return stated
    try:
        response = HELPER.request(kind + b"\0" + content)
    except ChildProcessError as error:
        raise ValueError(f"{error}: it is damaged or too large") from error
    message, channels, identity, device, *others = json.loads(response[response.rindex(b"\n") :])
    if message:
        raise ValueError(message)
    received, at = [], 0
    for name, dtype, n, *fields in channels:
        samples = np.frombuffer(response, dtype, n, at)
        received.append(Channel(name, samples, *fields))
        at += samples.nbytes
    rest = dict(zip(Stated._fields[1:], others, strict=False))
    rest |= {"identity": Identity(**identity), "device": DeviceResults.from_dict(device)}
    return Stated(received, **rest)


def _is_bounded(kind: bytes, content: bytes) -> bool:
    """Return whether the size of a content bounds the memory that reading it takes."""
    if len(content) > MAX_TEXT_BYTES or kind not in (b"xml", b"json"):
        return False
    return kind == b"json" or not xml_document.has_definitions(content)


def _read(kind: bytes, content: bytes) -> tuple[Stated, str]:
    """Return what a reader returns, or nothing and the message of its error."""
    try:
        stated = READERS[kind](content)
        if sum(channel.samples.nbytes for channel in stated.channels) > MAX_BYTES:
            raise MemoryError
        return stated, ""
    except ValueError as error:
        message = one_line(error) or "malformed"
    except MemoryError:
        message = TOO_LARGE
    except Exception as error:  # whatever a library raises for a damaged file
        message = f"{DAMAGED} ({type(error).__name__}: {one_line(error)[:200]})"
    return Stated([]), message


def respond(request: bytes) -> bytes:
    """Return the response to a request: samples, then a line of JSON with all else, or an error."""
    kind, _, content = request.partition(b"\0")
    (channels, *others, identity, device), message = _read(kind, content)
    fields = [[name, str(row.dtype), len(row), *rest] for name, row, *rest in channels]
    about = [asdict(identity), device.to_dict()]
    header = json.dumps([message, fields, *about, *others]).encode()
    rows = [np.ascontiguousarray(channel.samples).data for channel in channels]
    return b"".join([*rows, b"\n", header])


if __name__ == "__main__":
    serve(respond)
