"""Write an ECG as a device exports it: GE MUSE XML, DICOM, CSV."""

from __future__ import annotations

import base64
import importlib.util
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ecg_siglip.signals.leads import LEAD_CODES, LEADS
from ecg_siglip.signals.resampling import resample
from ecg_siglip.simulation.electrode_noise import FS

MUSE_LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")  # the other four follow from I and II
MUSE_STEP_UV = 4.88  # of MUSE files, per count
CSV_FS = 250
DICOM_ROOT = "1.2.826.0.1.3680043.10.511"  # prefix of UIDs that are not registered


def muse_xml(signal: np.ndarray, number: int, patient: str, age: float, is_woman: bool) -> bytes:
    """Write a GE MUSE export with eight leads at 500 Hz.

    Parameters
    ----------
    signal : ndarray of shape (12, n_samples), mV, 500 Hz
    number : int
        Of the record.
    patient : str
    age : float, years
    is_woman : bool
    """
    leads = []
    for lead in MUSE_LEADS:
        counts = np.rint(signal[LEADS.index(lead)] * 1000 / MUSE_STEP_UV)
        data = np.clip(counts, -32768, 32767).astype("<i2").tobytes()
        leads.append(
            f"<LeadData><LeadByteCountTotal>{len(data)}</LeadByteCountTotal>"
            f"<LeadSampleCountTotal>{len(counts)}</LeadSampleCountTotal>"
            f"<LeadAmplitudeUnitsPerBit>{MUSE_STEP_UV}</LeadAmplitudeUnitsPerBit>"
            "<LeadAmplitudeUnits>MICROVOLTS</LeadAmplitudeUnits><LeadSampleSize>2</LeadSampleSize>"
            f"<LeadID>{lead}</LeadID>\n<WaveFormData>{base64.encodebytes(data).decode()}"
            "</WaveFormData></LeadData>\n"
        )
    text = (
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<RestingECG>\n'
        f"<PatientDemographics><PatientID>{patient}</PatientID><PatientAge>{age:.0f}</PatientAge>"
        f"<AgeUnits>YEARS</AgeUnits><Gender>{'FEMALE' if is_woman else 'MALE'}</Gender>"
        f"</PatientDemographics>\n<Order><OrderNumber>{number}</OrderNumber></Order>\n"
        f"<Waveform><WaveformType>Rhythm</WaveformType><SampleBase>{FS}</SampleBase>"
        f"<SampleExponent>0</SampleExponent>\n{''.join(leads)}</Waveform>\n</RestingECG>\n"
    )
    return text.encode("latin-1")


def dicom(signal: np.ndarray, number: int, patient: str, age: float, is_woman: bool) -> bytes:
    """Write a DICOM 12-lead ECG at 500 Hz, 1 uV per unit; parameters as of ``muse_xml``."""
    import pydicom

    dataset = pydicom.Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.9.1.1"  # 12-lead ECG Waveform Storage
    dataset.SOPInstanceUID = f"{DICOM_ROOT}.{number}"
    dataset.Modality, dataset.PatientID = "ECG", patient
    dataset.PatientAge, dataset.PatientSex = f"{age:03.0f}Y", "F" if is_woman else "M"
    group = pydicom.Dataset()
    group.WaveformOriginality = "ORIGINAL"
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = signal.shape
    group.SamplingFrequency = str(FS)
    code_of = {lead: code for code, lead in LEAD_CODES.items()}
    group.ChannelDefinitionSequence = [_channel(pydicom, lead, code_of[lead]) for lead in LEADS]
    group.WaveformBitsAllocated, group.WaveformSampleInterpretation = 16, "SS"
    microvolts = np.clip(np.rint(signal * 1000), -32768, 32767)
    group.WaveformData = microvolts.T.astype("<i2").tobytes()
    dataset.WaveformSequence = [group]
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


def _channel(pydicom: Any, lead: str, code: str) -> Any:
    """Return the definition of a channel: its lead, and 1 uV per unit."""
    channel, source, unit = (pydicom.Dataset() for _ in range(3))
    source.CodeValue, source.CodingSchemeDesignator = f"2:{code}", "MDC"
    source.CodeMeaning = f"Lead {lead}"
    unit.CodeValue, unit.CodingSchemeDesignator, unit.CodeMeaning = "uV", "UCUM", "microvolt"
    channel.ChannelSourceSequence, channel.ChannelSensitivityUnitsSequence = [source], [unit]
    channel.ChannelSensitivity, channel.ChannelSensitivityCorrectionFactor = "1", "1"
    channel.ChannelBaseline, channel.WaveformBitsStored = "0", 16
    return channel


def csv(signal: np.ndarray, number: int, patient: str, age: float, is_woman: bool) -> bytes:
    """Write a CSV table at 250 Hz in mV; parameters as of ``muse_xml``."""
    rows = resample(signal.astype(np.float32), FS, CSV_FS).T
    text = io.StringIO()
    text.write(f"# fs: {CSV_FS} Hz\n# units: mV\n{','.join(LEADS)}\n")
    np.savetxt(text, rows, fmt="%.3f", delimiter=",")
    return text.getvalue().encode()


# By format: the suffix of its files, and its writer.
WRITERS: dict[str, tuple[str, Callable[[np.ndarray, int, str, float, bool], bytes]]] = {
    "muse": (".xml", muse_xml),
    "dicom": (".dcm", dicom),
    "csv": (".csv", csv),
}


def write_device_file(
    folder: Path,
    kind: str,
    signal: np.ndarray,
    number: int,
    patient: str,
    age: float,
    is_woman: bool,
) -> str:
    """Write a file of a format below a folder; return its path within the folder.

    Parameters
    ----------
    folder : Path
        With a folder named after the format.
    kind : {"muse", "dicom", "csv"}
    signal, number, patient, age, is_woman
        See ``muse_xml``.
    """
    suffix, write = WRITERS[kind]
    name = f"{kind}/{number:06d}{suffix}"
    (folder / name).write_bytes(write(signal, number, patient, age, is_woman))
    return name


def check_writers() -> None:
    """Check that the library that writes DICOM files is installed.

    Raises
    ------
    ValueError
        If it is not.
    """
    if importlib.util.find_spec("pydicom") is None:
        raise ValueError(
            "layout=table writes DICOM files, too, which needs the package pydicom: pip install "
            "'ecg_siglip[formats]'"
        )
