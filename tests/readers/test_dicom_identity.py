"""Identity and results in DICOM, where writers differ."""

import pytest
from writers import pydicom

from ecg_siglip.readers.dicom_identity import read_identity, read_results
from ecg_siglip.readers.identity import DeviceResults, Identity


def dataset(**values: object) -> "pydicom.Dataset":
    found = pydicom.Dataset()
    found.WaveformSequence = []
    for name, value in values.items():
        setattr(found, name, value)
    return found


def note(value: str, code: str = "", meaning: str = "", unit: str = "ms") -> "pydicom.Dataset":
    found, concept, of_unit = (pydicom.Dataset() for _ in range(3))
    concept.CodeValue, concept.CodeMeaning, of_unit.CodeValue = code, meaning, unit
    found.NumericValue = value
    found.ConceptNameCodeSequence, found.MeasurementUnitsCodeSequence = [concept], [of_unit]
    return found


@pytest.mark.parametrize(
    ("values", "recorded_at"),
    [
        ({"AcquisitionDateTime": "20200131095930", "StudyDate": "20190101"}, "2020-01-31T09:59:30"),
        ({"AcquisitionDateTime": "2020", "StudyDate": "20190101"}, "2019-01-01"),
        ({"AcquisitionDateTime": "20200131095930", "TimezoneOffsetFromUTC": "-0500"},
         "2020-01-31T09:59:30-05:00"),
        ({"AcquisitionDate": "20200131", "AcquisitionTime": "095930.25"}, "2020-01-31T09:59:30.25"),
        ({"ContentDate": "20200131"}, "2020-01-31"),
        ({"StudyDate": "19000101"}, ""),
    ],
)  # fmt: skip
def test_the_time_is_the_most_exact_statement(values: dict, recorded_at: str):
    assert read_identity(dataset(**values)).recorded_at == recorded_at


def test_placeholders_and_several_values():
    found = dataset(PatientID="00000000", PatientSex="", PatientAge="", SoftwareVersions=["a", "b"])
    assert read_identity(found) == Identity(software="a, b")


def test_measurements_by_code_or_meaning_in_any_unit_of_time():
    notes = [
        note("0.161", "2:15872", unit="s"),
        note("90", "5.13.5-9"),
        note("60", "", "Ventricular Rate", "bpm"),
        note("5", "", "P Onset"),
        note("-61", "5.10.3-13"),
    ]
    results = read_results(dataset(WaveformAnnotationSequence=notes))
    found = {each.name: each.value for each in results.measurements}
    assert found == {"rate": 60.0, "pr": 161.0, "qrs": 90.0, "qrs_axis": -61.0}
    assert read_results(dataset()) == DeviceResults()
