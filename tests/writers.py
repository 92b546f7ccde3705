"""Write one ECG in every format, for the tests of the readers, and check what is read."""

import base64
import binascii
import io
import json
import re
import struct
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.io
import wfdb

from ecg_siglip.readers import muse_format
from ecg_siglip.readers.record import Record, read_record
from ecg_siglip.signals.leads import LEAD_CODES, LEADS, LEADS_FROM_ELECTRODES
from ecg_siglip.signals.preprocessing import prepare_signal, to_int16

edfio = pytest.importorskip("edfio", reason="needs the extra [formats]")
pydicom = pytest.importorskip("pydicom", reason="needs the extra [formats]")
pytest.importorskip("defusedxml", reason="needs the extra [formats]")
pytest.importorskip("ecgdatakit", reason="needs the extra [formats]")

FS = 500
# Whose the written recordings are: no real person.
NAME, PATIENT, EXAM = "Mustermann", "P-4711", "E-0815"
EDF_PATIENT = edfio.Patient(code=PATIENT, sex="F", birthdate=date(1950, 5, 6), name=NAME)
EDF_RECORDING = edfio.Recording(
    startdate=date(2020, 1, 31), hospital_administration_code=EXAM, equipment_code="ECG-1"
)


def ecg(n: int = 10 * FS, fs: int = FS) -> np.ndarray:
    """Return twelve related leads in whole uV (12, n), even numbers for V1 to V6."""
    rng = np.random.default_rng(0)
    t = np.arange(n) / fs
    beat = np.exp(-(((t + 0.5) % 1 - 0.5) ** 2) / (2 * 0.02**2))
    electrodes = rng.uniform(-0.5, 0.5, (9, 1)) * beat + rng.normal(0, 0.01, (9, n))
    # Multiples of 6 at the electrodes, since leads are halves and thirds of their sums.
    leads = LEADS_FROM_ELECTRODES @ (6 * np.rint(electrodes * 1000 / 6))
    return np.rint(leads).astype(np.int16)


def edf(uv: np.ndarray, fs: int = FS, unit: str = "uV", **header: Any) -> bytes:
    """Write an EDF file; all writers take 12 leads in uV and return the content of a file."""
    scale = {"uV": 1.0, "mV": 1e-3}[unit]
    full = (-32768 * scale, 32767 * scale)
    signals = [
        edfio.EdfSignal(
            row * scale,
            fs,
            label=f"ECG {lead}",
            physical_dimension=unit,
            physical_range=full,
            prefiltering="HP:0.05Hz LP:150Hz N:50Hz",
        )
        for row, lead in zip(uv, LEADS, strict=True)
    ]
    return edfio.Edf(
        signals, **({"patient": EDF_PATIENT, "recording": EDF_RECORDING} | header)
    ).to_bytes()


def bdf(uv: np.ndarray, fs: int = FS) -> bytes:
    """Write a BDF file, whose samples have 24 bits; each is 1/4 uV."""
    signals = [
        edfio.BdfSignal(
            row.astype(float), fs, label=lead, physical_dimension="uV",
            physical_range=(-2097150, 2097150), digital_range=(-8388600, 8388600),
        )
        for row, lead in zip(uv, LEADS, strict=True)
    ]  # fmt: skip
    return edfio.Bdf(signals).to_bytes()


def dicom_group(
    uv: np.ndarray, fs: int, leads: tuple[str, ...] = LEADS, origin: str = "ORIGINAL",
    byte_order: str = "<", start_ms: int | None = None,
) -> "pydicom.Dataset":  # fmt: skip
    """Return a multiplex group; lead I is stored with an offset, V1 in mV."""
    group = pydicom.Dataset()
    group.WaveformOriginality = origin
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = uv.shape
    group.SamplingFrequency = str(fs)
    if start_ms is not None:
        group.MultiplexGroupTimeOffset = str(start_ms)
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
        channel.FilterLowFrequency, channel.FilterHighFrequency = "0.05", "150"
        channel.NotchFilterFrequency = "50"
        channels.append(channel)
        stored.append(row - 100 if lead == "I" else row)
    group.ChannelDefinitionSequence = channels
    group.WaveformBitsAllocated, group.WaveformSampleInterpretation = 16, "SS"
    group.WaveformData = np.array(stored).T.astype(f"{byte_order}i2").tobytes()
    return group


def dicom(
    uv: np.ndarray, fs: int = FS, groups: list | None = None, sop_class: str = "9.1.1",
    syntax: str = "1.2.840.10008.1.2.1", charset: str = "ISO_IR 6",
) -> bytes:  # fmt: skip
    """Write a DICOM file; by default it has a shorter derived group before the original one."""
    dataset = pydicom.Dataset()
    dataset.SpecificCharacterSet = charset
    dataset.SOPClassUID = f"1.2.840.10008.5.1.4.1.1.{sop_class}"
    dataset.SOPInstanceUID = "1.2.3"
    dataset.Modality = "ECG"
    dataset.WaveformSequence = groups or [
        dicom_group(uv[:, : len(uv.T) // 2], fs, origin="DERIVED"), dicom_group(uv, fs)
    ]  # fmt: skip
    dataset.PatientName, dataset.PatientID = f"{NAME}^Erika", PATIENT
    dataset.PatientAge, dataset.PatientSex, dataset.PatientBirthDate = "069Y", "F", "19500506"
    dataset.AccessionNumber, dataset.AcquisitionDateTime = EXAM, "20200131095930.5+0100"
    dataset.Manufacturer, dataset.ManufacturerModelName = "ACME", "ECG-1"
    dataset.DeviceSerialNumber, dataset.SoftwareVersions = "S1", "1.2"
    note, interval, concept = (pydicom.Dataset() for _ in range(3))
    note.UnformattedTextValue = "Sinus rhythm"
    concept.CodeValue, concept.CodingSchemeDesignator = "2:15872", "MDC"
    concept.CodeMeaning = "PR Interval"
    interval.ConceptNameCodeSequence, interval.NumericValue = [concept], "161"
    dataset.WaveformAnnotationSequence = [note, interval]
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


def dicom_groups(uv: np.ndarray, fs: int = FS) -> bytes:
    """Write a DICOM file with three leads per group, big-endian, with padding at the end."""
    padding = np.zeros((3, fs // 2), np.int16)
    groups = []
    for i in range(0, 12, 3):
        leads = LEADS[i : i + 3]
        # Lead I is stored with an offset; its padding is that of the others as stored.
        offset = np.array([[100 if lead == "I" else 0] for lead in leads])
        rows = np.hstack([uv[i : i + 3], padding + offset])
        groups.append(dicom_group(rows, fs, leads, byte_order=">", start_ms=0))
        groups[-1].WaveformPaddingValue = bytes(2)
    return dicom(uv, fs, groups, "9.1.2", "1.2.840.10008.1.2.2")


AECG_HEAD = (
    f'<id root="1.2.3" extension="{EXAM}"/>'
    '<effectiveTime><low value="20200131095930.500+0100"/></effectiveTime>'
    "<componentOf><timepointEvent><componentOf><subjectAssignment><subject><trialSubject>"
    f'<id extension="{PATIENT}"/><subjectDemographicPerson><name>{NAME}</name>'
    '<administrativeGenderCode code="F"/></subjectDemographicPerson></trialSubject></subject>'
    "</subjectAssignment></componentOf></timepointEvent></componentOf>"
    '<controlVariable><relatedObservation><code code="21612-7"/><value value="69" unit="a"/>'
    "</relatedObservation></controlVariable>"
)
AECG_SERIES = (
    "<author><seriesAuthor><manufacturedSeriesDevice><id extension='S1'/>"
    "<manufacturerModelName>ECG-1</manufacturerModelName><softwareName>1.2</softwareName>"
    "</manufacturedSeriesDevice><manufacturerOrganization><name>ACME</name>"
    "</manufacturerOrganization></seriesAuthor></author>"
    + "".join(
        f'<controlVariable><controlVariable><code code="MDC_ECG_CTL_VBL_ATTR_FILTER_{kind}"/>'
        f'<component><controlVariable><code code="MDC_ECG_CTL_VBL_ATTR_FILTER_{freq}_FREQ"/>'
        f'<value value="{hz}" unit="Hz"/></controlVariable></component></controlVariable>'
        "</controlVariable>"
        for kind, freq, hz in (
            ("HIGH_PASS", "CUTOFF", "0.05"), ("LOW_PASS", "CUTOFF", "150"), ("NOTCH", "NOTCH", "50")
        )
    )
    + "<subjectOf><annotationSet>"
    '<component><annotation><code code="MDC_ECG_TIME_PD_PR"/><value value="0.161" unit="s"/>'
    '</annotation></component><component><annotation><code code="MDC_ECG_INTERPRETATION"/>'
    '<component><annotation><code code="MDC_ECG_INTERPRETATION_STATEMENT"/>'
    "<value>Sinus rhythm</value></annotation></component></annotation></component>"
    '<component><annotation><code code="MDC_ECG_BEAT"/><component><annotation>'
    '<code code="MDC_ECG_TIME_PD_QRS"/><value value="90" unit="ms"/></annotation></component>'
    "</annotation></component></annotationSet></subjectOf>"
)  # fmt: skip


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
        f"{AECG_HEAD}<component><series>{AECG_SERIES}"
        f'<code code="RHYTHM"/>{sequences(uv)}<derivation><derivedSeries>'
        f'<code code="REPRESENTATIVE_BEAT"/>{sequences(uv[:, :10])}</derivedSeries></derivation>'
        "</series></component></AnnotatedECG>"
    ).encode()


MUSE_HEAD = (
    f"<PatientDemographics><PatientID>{PATIENT}</PatientID><PatientAge>69</PatientAge><AgeUnits>"
    f"YEARS</AgeUnits><Gender>FEMALE</Gender><PatientLastName>{NAME}</PatientLastName>"
    "</PatientDemographics><TestDemographics><AcquisitionDevice>ECG-1</AcquisitionDevice>"
    "<AcquisitionTime>09:59:30</AcquisitionTime><AcquisitionDate>01-31-2020</AcquisitionDate>"
    "<CartNumber>S1</CartNumber><AcquisitionSoftwareVersion>1.2</AcquisitionSoftwareVersion>"
    f"</TestDemographics><Order><RequisitionNumber>{EXAM}</RequisitionNumber></Order>"
    "<RestingECGMeasurements><PRInterval>161</PRInterval><TAxis>999</TAxis>"
    "</RestingECGMeasurements>"
)


def muse(uv: np.ndarray, fs: int = FS, kind: str = "Rhythm", step: float = 2.0) -> bytes:
    """Write a GE MUSE export with eight leads, from which readers compute the other four."""
    text = ""
    for row, lead in zip(uv, LEADS, strict=True):
        if lead in muse_format.FROM_I_II:
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
        f"<RestingECG>{MUSE_HEAD}<Diagnosis><DiagnosisStatement><StmtText>Sinus rhythm</StmtText>"
        "</DiagnosisStatement></Diagnosis><Waveform><WaveformType>Median</WaveformType></Waveform>"
        f"<Waveform><WaveformType>{kind}</WaveformType><HighPassFilter>5</HighPassFilter>"
        f"<LowPassFilter>150</LowPassFilter><ACFilter>50</ACFilter><SampleBase>{fs}</SampleBase>"
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


def acqknowledge(
    uv: np.ndarray, fs: int = FS, delimiter: str = "\t", end: str = "", has_time: bool = True
) -> bytes:
    """Return a text as AcqKnowledge exports it, in mV, with the time in minutes."""
    time, counts = (["min"], [""]) if has_time else ([], [])
    head = ["ecg.acq", f"{1000 / fs:g} msec/sample", f"{len(uv)} channels"]
    head += [line for lead in LEADS[: len(uv)] for line in (lead, "mV")]
    rows = [
        [*time, *(f"CH{i + 1}" for i in range(len(uv)))],
        [*counts, *[str(uv.shape[1])] * len(uv)],
    ]
    for i, row in enumerate(uv.T):
        rows.append(
            [*([f"{i / fs / 60:.9g}"] if has_time else []), *(f"{v / 1e3:.5f}" for v in row)]
        )
    return "\n".join([*head, *(delimiter.join(row) + end for row in rows), ""]).encode()


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


def long(uv: np.ndarray, fs: int = FS) -> bytes:
    """Write a table with one row per sample and lead, in the order of time."""
    table = pd.DataFrame(uv.T, columns=list(LEADS))
    table.insert(0, "time_s", np.arange(len(table)) / fs)
    table = table.melt("time_s", var_name="lead", value_name="uV")
    return table.sort_values("time_s", kind="stable").to_csv(index=False).encode()


def numbered_rows(uv: np.ndarray, fs: int = FS) -> bytes:
    """Write a table with one lead per row, whose rate and unit are in columns of their own."""
    table = pd.DataFrame(uv).add_prefix("s")
    table.insert(0, "units", "uV")
    table.insert(0, "fs", fs)
    table.insert(0, "lead", LEADS)
    return table.to_csv().encode()


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


CARDIOSOFT_HEAD = (
    "<ObservationDateTime><Hour>9</Hour><Minute>59</Minute><Second>30</Second><Day>31</Day>"
    "<Month>1</Month><Year>2020</Year></ObservationDateTime><ClinicalInfo><DeviceInfo><Desc>ECG-1"
    "</Desc><SoftwareVer>1.2</SoftwareVer></DeviceInfo></ClinicalInfo><PatientVisit><OrderNumber>"
    f"{EXAM}</OrderNumber></PatientVisit><PatientInfo><PID>{PATIENT}</PID><Name><FamilyName>{NAME}"
    '</FamilyName></Name><Age units="Years">69</Age><Gender>FEMALE</Gender></PatientInfo>'
    '<FilterSetting><Filter50Hz>yes</Filter50Hz><LowPass units="Hz">150</LowPass></FilterSetting>'
    "<Interpretation><Diagnosis><DiagnosisText>Sinus rhythm</DiagnosisText></Diagnosis>"
    '</Interpretation><RestingECGMeasurements><PQInterval units="ms">161</PQInterval>'
    "</RestingECGMeasurements>"
)


def cardiosoft(uv: np.ndarray, fs: int = FS) -> bytes:
    """Write a GE CardioSoft export with counts of 0.5 uV as text."""
    leads = "".join(
        f'<WaveformData lead="{lead}">{",".join(map(str, 2 * row.astype(int)))}</WaveformData>'
        for row, lead in zip(uv, LEADS, strict=True)
    )
    return (
        f'<?xml version="1.0" encoding="ISO-8859-1"?><CardiologyXML>{CARDIOSOFT_HEAD}<StripData>'
        f'<NumberOfLeads>12</NumberOfLeads><SampleRate units="Hz">{fs}</SampleRate>'
        f"<ChannelSampleCountTotal>{uv.shape[1]}</ChannelSampleCountTotal>"
        f'<Resolution units="uVperLsb">0.5</Resolution>{leads}</StripData></CardiologyXML>'
    ).encode("latin-1")


def xli(row: np.ndarray) -> bytes:
    """Compress a lead as Philips does: second differences, high bytes first, codes of 10 bits."""
    z = row.astype(np.int64)
    stored = np.full(len(z), 64)
    stored[:2] = z[:2]
    stored[2:-1] += 2 * z[2:-1] - z[1:-2] - z[3:]
    words = (stored & 0xFFFF).astype(">u2").tobytes()
    bits = "".join(f"{byte:010b}" for byte in words[::2] + words[1::2])
    bits += "0" * (-len(bits) % 8)
    chunk = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return struct.pack("<ihh", len(chunk), 0, 2 * z[1] - z[0] - z[2]) + chunk


def sierra(uv: np.ndarray, fs: int = FS, compressed: bool = True, resolution: str = "0.5") -> bytes:
    """Write a Philips Sierra export of version 1.04 in UTF-16, by default compressed (XLI)."""
    one, two, three, *_ = rows = 2 * uv.astype(int)
    stored = rows.copy()
    if compressed:  # leads that follow from others are stored as differences from them
        stored[2] = two - one - three
        stored[3] = -rows[3] - (one + two) // 2
        stored[4] = (one - three) // 2 - rows[4]
        stored[5] = (two + three) // 2 - rows[5]
    data = b"".join(map(xli, stored)) if compressed else stored.astype("<i2").tobytes()
    return (
        '<?xml version="1.0" encoding="utf-16"?><restingecgdata xmlns="http://www3.medical.philips.'
        'com"><documentinfo><documenttype>PhilipsECG</documenttype><documentversion>1.04'
        '</documentversion></documentinfo><dataacquisition date="2020-01-31" time="09:59:30">'
        '<machine machineid="S1" detaildescription="ACME:M1:1.2">ECG-1</machine>'
        f"<signalcharacteristics><samplingrate>{fs}</samplingrate><hipass>0.05</hipass>"
        "<lowpass>150</lowpass></signalcharacteristics></dataacquisition>"
        f"<patient><generalpatientdata><patientid>{PATIENT}</patientid><name><lastname>{NAME}"
        "</lastname></name><age><years>69</years></age><sex>Female</sex></generalpatientdata>"
        "</patient><internalmeasurements><globalmeasurements><meanprint>161</meanprint>"
        "</globalmeasurements></internalmeasurements><interpretations><interpretation><statement>"
        "<leftstatement>Sinus rhythm</leftstatement></statement></interpretation>"
        "</interpretations><waveforms>"
        f'<parsedwaveforms dataencoding="Base64" {"compression=" if compressed else "x="}"XLI" '
        f'numberofleads="12" leadlabels="{" ".join(LEADS)}" samplespersecond="{fs}" '
        f'durationperchannel="{1000 * uv.shape[1] // fs}" resolution="{resolution}">'
        f"{base64.b64encode(data).decode()}</parsedwaveforms></waveforms></restingecgdata>"
    ).encode("utf-16")


def mortara(uv: np.ndarray, fs: int = FS) -> bytes:
    """Write a Mortara ELI export with 2000 counts per mV."""
    channels = "".join(
        f'<CHANNEL OFFSET="0" BITS="16" FORMAT="SIGNED" UNITS_PER_MV="2000" DURATION="{len(row)}" '
        f'SAMPLE_FREQ="{fs}" NAME="{lead.upper()}" ENCODING="BASE64" '
        f'DATA="{base64.b64encode((2 * row).astype("<i2").tobytes()).decode()}"/>'
        for row, lead in zip(uv, LEADS, strict=True)
    )
    return (
        '<ECG ACQUISITION_TIME="20200131095930" AGE="69" AGE_UNITS="YEARS">'
        f'<SUBJECT ID="{PATIENT}" LAST_NAME="{NAME}" GENDER="FEMALE"/>'
        '<SOURCE TYPE="ELI" MODEL="ECG-1" LOW_PASS_FILTER="150"/><AUTOMATIC_INTERPRETATION>'
        '<STATEMENT TEXT="Sinus rhythm"/>'
        f"</AUTOMATIC_INTERPRETATION>{channels}</ECG>"
    ).encode()


def huffman(row: np.ndarray) -> bytes:
    """Compress the second differences of a lead with the default table of SCP-ECG."""
    differences = np.concatenate([row[:2].astype(int), np.diff(row.astype(int), 2)])
    bits = ""
    for value in differences.tolist():
        size = abs(value)
        if size <= 8:
            bits += "1" * size + ("0" if size == 0 else f"0{int(value < 0)}")
        else:
            bits += (
                f"1111111110{value & 255:08b}" if size < 128 else f"{1023:b}{value & 65535:016b}"
            )
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def scp(uv: np.ndarray, fs: int = FS, compressed: bool = True) -> bytes:
    """Write an SCP-ECG record with steps of 500 nV, by default compressed."""
    codes = {lead: int(code) for code, lead in LEAD_CODES.items()}
    leads = b"".join(struct.pack("<IIB", 1, uv.shape[1], codes[lead]) for lead in LEADS)
    rows = [(2 * row).astype("<i2") for row in uv]
    data = [huffman(row) if compressed else row.tobytes() for row in rows]
    head = struct.pack("<HHBB", 500, round(1e6 / fs), 2 * compressed, 0)
    sizes = struct.pack("<12H", *map(len, data))
    tags = [
        (0, NAME.encode() + b"\0"), (2, PATIENT.encode() + b"\0"), (4, b"\x45\0\x01"), (8, b"\x02"),
        (25, struct.pack("<HBB", 2020, 1, 31)), (26, b"\x09\x3b\x1e"), (27, b"\x05\0"),
        (28, b"\x96\0"),
    ]  # fmt: skip
    patient = b"".join(struct.pack("<BH", tag, len(value)) + value for tag, value in tags)
    bodies = {1: patient + b"\xff\0\0", 3: b"\x0c\x84" + leads, 6: head + sizes + b"".join(data)}
    if compressed:
        bodies = {1: bodies[1], 2: struct.pack("<H", 19999), 3: bodies[3], 6: bodies[6]}

    def section(number: int, body: bytes) -> bytes:
        text = struct.pack("<HIBB6x", number, 16 + len(body), 20, 20) + body
        return struct.pack("<H", binascii.crc_hqx(text, 0xFFFF)) + text

    parts = {number: section(number, body) for number, body in bodies.items()}
    at, pointers = 7 + 16 + 10 * (len(parts) + 1), b""
    for number, part in parts.items():
        pointers += struct.pack("<HII", number, len(part), at)
        at += len(part)
    first = struct.pack("<HII", 0, 16 + 10 + len(pointers), 7) + pointers
    text = section(0, first) + b"".join(parts.values())
    text = struct.pack("<I", len(text) + 6) + text
    return struct.pack("<H", binascii.crc_hqx(text, 0xFFFF)) + text


def mfer(uv: np.ndarray, fs: int = FS) -> bytes:
    """Write an MFER file with steps of 500 nV, least significant bytes first."""
    codes = {lead: int(code) for code, lead in LEAD_CODES.items()}
    data = (2 * uv).astype("<i2").tobytes()
    interval = struct.pack("<Bbi", 1, -6, round(1e6 / fs))
    definitions = [
        (b"\x40", b"MFR Standard 12 leads ECG"), (b"\x01", b"\x01"), (b"\x02", b"\x01\x02\x03"),
        (b"\x08", b"\x01\0"), (b"\x0b", interval), (b"\x0c", struct.pack("<Bbh", 0, -9, 500)),
        (b"\x05", b"\x0c"), (b"\x04", struct.pack("<I", uv.shape[1])), (b"\x06", b"\x01"),
        (b"\x82", PATIENT.encode()), (b"\x81", NAME.encode()), (b"\x84", b"\x02"),
        (b"\x85", struct.pack("<HBBBBBHH", 2020, 1, 31, 9, 59, 30, 0, 0)),
        *((b"\x3f" + bytes([i]), b"\x09\x02" + struct.pack("<H", codes[lead]))
          for i, lead in enumerate(LEADS)),
    ]  # fmt: skip
    text = b"".join(tag + bytes([len(value)]) + value for tag, value in definitions)
    return text + b"\x1e\x84" + struct.pack(">I", len(data)) + data + b"\x80\0"


def ishne(uv: np.ndarray, fs: int = FS, codes: tuple[int, ...] = tuple(range(5, 17))) -> bytes:
    """Write an ISHNE Holter recording with steps of 500 nV."""
    n, n_samples = len(codes), uv.shape[1]
    text = bytearray(522)
    struct.pack_into("<4i", text, 10, 0, n_samples, 522, 522)
    struct.pack_into("<40s20shhhhh", text, 68, NAME.encode(), PATIENT.encode(), 2, 0, 6, 5, 1950)
    struct.pack_into("<9h", text, 138, 31, 1, 2020, 31, 1, 2020, 9, 59, 30)
    struct.pack_into("<h", text, 156, n)
    struct.pack_into(f"<{n}h", text, 158, *codes)
    struct.pack_into(f"<{n}h", text, 206, *[500] * n)
    struct.pack_into("<h", text, 272, fs)
    text[:8], text[8:10] = b"ISHNE1.0", struct.pack("<H", binascii.crc_hqx(text[10:], 0xFFFF))
    return bytes(text) + (2 * uv[:n]).T.astype("<i2").tobytes()


def kardia(uv: np.ndarray, fs: int = FS) -> bytes:
    """Write a recording of AliveCor Kardia with steps of 500 nV."""
    samples = {
        f"lead{lead}" if lead in LEADS[:3] else lead.upper(): (2 * row.astype(int)).tolist()
        for row, lead in zip(uv, LEADS, strict=True)
    }
    block = {"samples": samples, "frequency": fs, "amplitudeResolution": 500}
    return json.dumps({"recordedAt": "2020-01-01T12:00:00Z", "data": {"raw": block}}).encode()


WRITERS: dict[str, Callable[[np.ndarray, int], bytes]] = {
    "edf": edf, "bdf": bdf, "dcm": dicom, "groups.dcm": dicom_groups, "aecg.xml": aecg,
    "muse.xml": muse, "csv": csv, "tsv": tsv, "parquet": parquet, "npz": npz, "npy": npy,
    "cardiosoft.xml": cardiosoft, "sierra.xml": sierra, "mortara.xml": mortara, "scp": scp,
    "mwf": mfer, "ecg": ishne, "json": kardia,
    "txt": blanks, "acq.txt": acqknowledge, "rows.csv": rows, "long.csv": long,
    "numbered.csv": numbered_rows, "xlsx": xlsx, "hdf5": hdf5, "mat": mat,
    "export.json": json_export,
}  # fmt: skip
# What the caller has to state for a format.
GIVEN: dict[str, dict[str, object]] = {
    "npy": {"fs": FS, "units": "uV", "leads": LEADS},
    "mat": {"fs": FS, "gain": 1000.0, "leads": LEADS},
}


def write_wfdb(
    folder: Path, uv: np.ndarray, fs: int = FS, fmt: str = "16", name: str = "rec"
) -> Path:
    """Write a WFDB record to a folder and return the path of its header."""
    wfdb.wrsamp(
        name, fs=fs, units=["mV"] * 12, sig_name=list(LEADS), d_signal=uv.T.astype(np.int64),
        fmt=[fmt] * 12, adc_gain=[1000.0] * 12, baseline=[0] * 12, write_dir=str(folder),
    )  # fmt: skip
    return folder / f"{name}.hea"


def write_wfdb_segments(folder: Path, uv: np.ndarray, fs: int = FS) -> Path:
    """Write a WFDB record ``rec`` of two segments and return the path of its header."""
    half = uv.shape[1] // 2
    for name, part in (("rec_1", uv[:, :half]), ("rec_2", uv[:, half:])):
        write_wfdb(folder, part, fs, name=name)
    lines = [f"rec/2 12 {fs} {uv.shape[1]}", f"rec_1 {half}", f"rec_2 {uv.shape[1] - half}"]
    header = folder / "rec.hea"
    header.write_text("\n".join(lines) + "\n")
    return header


def write_wfdb_frames(folder: Path, uv: np.ndarray, fs: int = FS, per_frame: int = 4) -> Path:
    """Write a WFDB record ``rec`` with several samples of a lead, and one of Resp, in a frame."""
    n_frames = uv.shape[1] // per_frame
    frames = uv[:, : n_frames * per_frame].reshape(12, n_frames, per_frame).transpose(1, 0, 2)
    frames = np.hstack([frames.reshape(n_frames, -1), np.full((n_frames, 1), 7)])
    (folder / "rec.dat").write_bytes(frames.astype("<i2").tobytes())
    lines = [f"rec 13 {fs / per_frame:g} {n_frames}"]
    lines += [f"rec.dat 16x{per_frame} 1000/mV 16 0 0 0 0 {lead}" for lead in LEADS]
    header = folder / "rec.hea"
    header.write_text("\n".join([*lines, "rec.dat 16 10/pm 16 0 0 0 0 Resp"]) + "\n")
    return header


def without_checksums(header: bytes) -> bytes:
    """Return a WFDB header whose checksums are 0: not stated, so that no damage contradicts it."""
    return re.sub(rb"(?m)(-?\d+ )-?\d+( 0 [A-Za-z]\w*)$", rb"\g<1>0\2", header)


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
