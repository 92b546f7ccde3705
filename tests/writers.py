"""Write one ECG in every format, for the tests of the readers, and check what is read."""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.io
import wfdb

from ecg_siglip.readers import xml_formats
from ecg_siglip.readers.channels import LEAD_CODES
from ecg_siglip.readers.record import Record, read_record
from ecg_siglip.signals.leads import LEADS, LEADS_FROM_ELECTRODES
from ecg_siglip.signals.preprocessing import prepare_signal, to_int16

edfio = pytest.importorskip("edfio", reason="needs the extra [formats]")
pydicom = pytest.importorskip("pydicom", reason="needs the extra [formats]")
pytest.importorskip("defusedxml", reason="needs the extra [formats]")

FS = 500


def ecg(n: int = 10 * FS, fs: int = FS) -> np.ndarray:
    """Return twelve related leads in whole uV (12, n), even numbers for V1 to V6."""
    rng = np.random.default_rng(0)
    t = np.arange(n) / fs
    beat = np.exp(-(((t + 0.5) % 1 - 0.5) ** 2) / (2 * 0.02**2))
    electrodes = rng.uniform(-0.5, 0.5, (9, 1)) * beat + rng.normal(0, 0.01, (9, n))
    # Multiples of 6 at the electrodes, since leads are halves and thirds of their sums.
    leads = LEADS_FROM_ELECTRODES @ (6 * np.rint(electrodes * 1000 / 6))
    return np.rint(leads).astype(np.int16)


def edf(uv: np.ndarray, fs: int = FS, unit: str = "uV", **header: str) -> bytes:
    """Write an EDF file; all writers take 12 leads in uV and return the content of a file."""
    scale = {"uV": 1.0, "mV": 1e-3}[unit]
    full = (-32768 * scale, 32767 * scale)
    signals = [
        edfio.EdfSignal(
            row * scale, fs, label=f"ECG {lead}", physical_dimension=unit, physical_range=full
        )
        for row, lead in zip(uv, LEADS, strict=True)
    ]
    return edfio.Edf(signals, **header).to_bytes()


def dicom_group(
    uv: np.ndarray, fs: int, leads: tuple[str, ...] = LEADS, origin: str = "ORIGINAL"
) -> "pydicom.Dataset":
    """Return a multiplex group; lead I is stored with an offset, V1 in mV."""
    group = pydicom.Dataset()
    group.WaveformOriginality = origin
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = uv.shape
    group.SamplingFrequency = str(fs)
    codes = {lead: code for code, lead in LEAD_CODES.items()}
    channels, stored = [], []
    for row, lead in zip(uv, leads, strict=True):
        channel, source, unit = (pydicom.Dataset() for _ in range(3))
        source.CodeValue, source.CodingSchemeDesignator = f"2:{codes[lead]}", "MDC"
        source.CodeMeaning = f"Lead {lead}"
        unit.CodeValue, unit.CodingSchemeDesignator = "mV" if lead == "V1" else "uV", "UCUM"
        unit.CodeMeaning = "unit"
        channel.ChannelSourceSequence = [source]
        channel.ChannelSensitivityUnitsSequence = [unit]
        channel.ChannelSensitivity = "0.001" if lead == "V1" else "1"
        channel.ChannelSensitivityCorrectionFactor = "1"
        channel.ChannelBaseline = "100" if lead == "I" else "0"
        channel.WaveformBitsStored = 16
        channels.append(channel)
        stored.append(row - 100 if lead == "I" else row)
    group.ChannelDefinitionSequence = channels
    group.WaveformBitsAllocated, group.WaveformSampleInterpretation = 16, "SS"
    group.WaveformData = np.array(stored).T.astype("<i2").tobytes()
    return group


def dicom(
    uv: np.ndarray, fs: int = FS, groups: list | None = None, sop_class: str = "9.1.1",
    syntax: str = "1.2.840.10008.1.2.1",
) -> bytes:  # fmt: skip
    """Write a DICOM file; by default it has a shorter derived group before the original one."""
    dataset = pydicom.Dataset()
    dataset.SOPClassUID = f"1.2.840.10008.5.1.4.1.1.{sop_class}"
    dataset.SOPInstanceUID = "1.2.3"
    dataset.Modality = "ECG"
    dataset.WaveformSequence = groups or [
        dicom_group(uv[:, : len(uv.T) // 2], fs, origin="DERIVED"), dicom_group(uv, fs)
    ]  # fmt: skip
    note = pydicom.Dataset()
    note.UnformattedTextValue = "Sinus rhythm"
    dataset.WaveformAnnotationSequence = [note]
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


def aecg(uv: np.ndarray, fs: int = FS, head: str = "", leads: tuple[str, ...] = LEADS) -> bytes:
    """Write an HL7 aECG, with an origin in lead I and a derived beat in addition to the rhythm."""

    def sequences(rows: np.ndarray) -> str:
        text = (
            '<component><sequence><code code="TIME_ABSOLUTE"/><value xsi:type="GLIST_TS">'
            f'<head value="20200101"/><increment value="{1 / fs:g}" unit="s"/></value></sequence>'
            "</component>"
        )
        for row, lead in zip(rows, leads, strict=True):
            origin = 100 if lead == "I" else 0
            digits = " ".join(map(str, (row.astype(int) - origin)))
            text += (
                f'<component><sequence><code code="MDC_ECG_LEAD_{lead.upper()}"/>'
                f'<value xsi:type="SLIST_PQ"><origin value="{origin}" unit="uV"/>'
                f'<scale value="1" unit="uV"/><digits>{digits}</digits></value></sequence>'
                "</component>"
            )
        return f"<component><sequenceSet>{text}</sequenceSet></component>"

    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{head}'
        '<AnnotatedECG xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f'<component><series><code code="RHYTHM"/>{sequences(uv)}<derivation><derivedSeries>'
        f'<code code="REPRESENTATIVE_BEAT"/>{sequences(uv[:, :10])}</derivedSeries></derivation>'
        "</series></component></AnnotatedECG>"
    ).encode()


def muse(uv: np.ndarray, fs: int = FS, kind: str = "Rhythm", step: float = 2.0) -> bytes:
    """Write a GE MUSE export with eight leads, from which readers compute the other four."""
    text = ""
    for row, lead in zip(uv, LEADS, strict=True):
        if lead in xml_formats.FROM_I_II:
            continue
        data = base64.encodebytes((row / step).astype("<i2").tobytes()).decode()
        text += (
            f"<LeadData><LeadID>{lead}</LeadID><LeadSampleSize>2</LeadSampleSize>"
            f"<LeadSampleCountTotal>{len(row)}</LeadSampleCountTotal>"
            f"<LeadAmplitudeUnitsPerBit>{step}</LeadAmplitudeUnitsPerBit>"
            f"<LeadAmplitudeUnits>MICROVOLTS</LeadAmplitudeUnits><WaveFormData>{data}"
            "</WaveFormData></LeadData>"
        )
    return (
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<!DOCTYPE RestingECG SYSTEM "restecg.dtd">\n'
        "<RestingECG><Diagnosis><DiagnosisStatement><StmtText>Sinus rhythm</StmtText>"
        "</DiagnosisStatement></Diagnosis><Waveform><WaveformType>Median</WaveformType></Waveform>"
        f"<Waveform><WaveformType>{kind}</WaveformType><SampleBase>{fs}</SampleBase>"
        f"<SampleExponent>0</SampleExponent>{text}</Waveform></RestingECG>"
    ).encode("latin-1")


def csv(uv: np.ndarray, fs: int = FS) -> bytes:
    """Write a CSV file in mV that states the sampling rate and the units in comments."""
    table = pd.DataFrame(uv.T / 1000, columns=list(LEADS))
    return f"# fs: {fs} Hz\n# units: mV\n".encode() + table.to_csv(index=False).encode()


def tsv(uv: np.ndarray, fs: int = FS) -> bytes:
    """Write a TSV file with the time in ms, units in names, decimal commas and CRLF line ends."""
    table = pd.DataFrame(uv.T / 1000, columns=[f"Lead {lead} (mV)" for lead in LEADS])
    table.insert(0, "time_ms", np.arange(len(table)) * 1000 / fs)
    return table.to_csv(sep="\t", decimal=",", lineterminator="\r\n").encode()


def parquet(uv: np.ndarray, fs: int = FS) -> bytes:
    """Write a Parquet file with the sampling rate in its metadata."""
    table = pa.table({f"{lead}_uV": row for lead, row in zip(LEADS, uv, strict=True)})
    file = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({"fs": str(fs)}), file)
    return file.getvalue()


def npz(uv: np.ndarray, fs: int = FS, **changed: object) -> bytes:
    """Write a NumPy archive, with other arrays where ``changed`` has them."""
    file = io.BytesIO()
    np.savez_compressed(file, **{"signal": uv.T, "fs": fs, "leads": LEADS, "units": "uV"} | changed)
    return file.getvalue()


def npy(uv: np.ndarray, fs: int = FS) -> bytes:
    """Write a NumPy array, which cannot state the sampling rate, the units or the leads."""
    file = io.BytesIO()
    np.save(file, uv)
    return file.getvalue()


def blanks(uv: np.ndarray, fs: int = FS) -> bytes:
    """Write a table with blanks between columns, times as min:s and units below the names."""
    names = f"{'Elapsed time':>16}" + "".join(f"{lead:>9}" for lead in LEADS)
    units = f"{'hh:mm:ss.mmm':>16}" + f"{'(uV)':>9}" * 12
    rows = [
        f"{i // (60 * fs)}:{i / fs % 60:06.3f}".rjust(16) + "".join(f"{value:9d}" for value in row)
        for i, row in enumerate(uv.T)
    ]
    return "\n".join([names, units, *rows, ""]).encode()


def rows(uv: np.ndarray, fs: int = FS) -> bytes:
    """Write a table with one lead per row below lines that state rate and unit."""
    head = ["Patient;Test", f"Abtastrate;{fs} Hz", "Einheit;mV", ""]
    leads = [
        ";".join([lead, *(f"{value / 1000:.3f}".replace(".", ",") for value in row)])
        for lead, row in zip(LEADS, uv, strict=True)
    ]
    return "\n".join([*head, *leads]).encode("utf-16")


def xlsx(uv: np.ndarray, fs: int = FS) -> bytes:
    """Write an Excel workbook with an empty page first, and the time in ms."""
    openpyxl = pytest.importorskip("openpyxl", reason="needs the extra [formats]")
    book, file = openpyxl.Workbook(), io.BytesIO()
    page = book.create_sheet("ecg")
    page.append(["Patient", "Test"])
    page.append(["Time [ms]", *(f"{lead} [uV]" for lead in LEADS)])
    for i, row in enumerate(uv.T.tolist()):
        page.append([i * 1000 / fs, *row])
    book.save(file)
    return file.getvalue()


def hdf5(uv: np.ndarray, fs: int = FS, **changed: object) -> bytes:
    """Write an HDF5 file in the layout of CODE-15, with one exam and attributes."""
    h5py = pytest.importorskip("h5py", reason="needs the extra [formats]")
    file = io.BytesIO()
    with h5py.File(file, "w") as content:
        tracings = content.create_dataset(
            "tracings", data=uv.T[None] / 1000, compression="gzip", shuffle=True
        )
        for name, value in ({"fs": fs, "units": "mV", "leads": LEADS} | changed).items():
            tracings.attrs[name] = value
        content["exam_id"] = np.array([7])
    return file.getvalue()


def mat(uv: np.ndarray, fs: int = FS) -> bytes:
    """Write a MATLAB file with a matrix `val` of counts, which states nothing else."""
    file = io.BytesIO()
    scipy.io.savemat(file, {"val": uv})
    return file.getvalue()


def json_export(uv: np.ndarray, fs: int = FS) -> bytes:
    """Write a JSON export with a list for each lead."""
    leads = {lead: row.tolist() for lead, row in zip(LEADS, uv, strict=True)}
    return json.dumps(
        {"device": "x", "recording": {"fs": fs, "units": "uV", "leads": leads}}
    ).encode()


WRITERS: dict[str, Callable[[np.ndarray, int], bytes]] = {
    "edf": edf, "dcm": dicom, "aecg.xml": aecg, "muse.xml": muse, "csv": csv, "tsv": tsv,
    "parquet": parquet, "npz": npz, "npy": npy, "txt": blanks, "rows.csv": rows, "xlsx": xlsx,
    "hdf5": hdf5, "mat": mat, "json": json_export,
}  # fmt: skip
# What the caller has to state for a format.
GIVEN: dict[str, dict[str, object]] = {
    "npy": {"fs": FS, "units": "uV", "leads": LEADS},
    "mat": {"fs": FS, "gain": 1000.0, "leads": LEADS},
}


def write_wfdb(folder: Path, uv: np.ndarray, fs: int = FS, fmt: str = "16") -> Path:
    """Write a WFDB record ``rec`` to a folder and return the path of its header."""
    wfdb.wrsamp(
        "rec", fs=fs, units=["mV"] * 12, sig_name=list(LEADS), d_signal=uv.T.astype(np.int64),
        fmt=[fmt] * 12, adc_gain=[1000.0] * 12, baseline=[0] * 12, write_dir=str(folder),
    )  # fmt: skip
    return folder / "rec.hea"


def write(folder: Path, content: bytes, suffix: str = "bin") -> Path:
    """Write a file ``rec`` to a folder and return its path."""
    path = folder / f"rec.{suffix}"
    path.write_bytes(content)
    return path


def prepared_uv(record: Record) -> np.ndarray:
    """Return the 10 s of a record that a model would get, (12, n) int16 in uV."""
    signal = prepare_signal(record.signal, record.fs, record.leads, to_fs=FS, duration_s=10.0)
    return to_int16(signal)


def assert_refused(
    path: Path, *words: str, error: type[Exception] = ValueError, **stated: object
) -> None:
    """Check that a record is refused in one line that names it and contains the words."""
    with pytest.raises(error) as caught:
        read_record(path, **stated)
    message = str(caught.value)
    assert message.startswith("record rec")
    assert "\n" not in message
    for word in words:
        assert word in message, message
