"""Identity in the headers of EDF files."""

import pytest

from ecg_siglip.readers.edf_identity import read_identity
from ecg_siglip.readers.identity import Identity


def head(patient: str, recording: str, day: str = "31.01.20", time: str = "09.59.30") -> bytes:
    text = f"{'0':8}{patient:80}{recording:80}{day:8}{time:8}"
    return text.encode("latin-1").ljust(256)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            head("P_7 F 02-MAY-1951 Haagse_Harry", "Startdate 02-MAR-2002 PSG-1 NN Tele_3"),
            Identity("P 7", "PSG-1", "", "female", "2002-03-02T09:59:30", model="Tele 3"),
        ),
        # Withheld, by the conventions of EDF+.
        (head("X X X X", "Startdate X X X X", "01.01.85"), Identity()),
        # Plain EDF: the patient is free text, often a name.
        (head("Jane Doe, 02-MAY-1951", "ward 3"), Identity(recorded_at="2020-01-31T09:59:30")),
        (head("", "", "31.01.99", ""), Identity(recorded_at="1999-01-31")),
        (head("", "", "01.01.85"), Identity()),
        (head("", "", "31.02.20"), Identity()),
        (head("", "Startdate 31-FEB-2020"), Identity()),
        (head("Müller M X Müller", "Startdate 1-jan-2020", "yy"),
         Identity("Müller", sex="male", recorded_at="2020-01-01T09:59:30")),
    ],
)  # fmt: skip
def test_subfields(content: bytes, expected: Identity):
    assert read_identity(content, [], []) == expected


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["HP:0.1Hz LP:75Hz N:50Hz", "HP:0.1Hz LP:75Hz N:50Hz"], ("0.1 Hz", "75 Hz", "50 Hz")),
        (["HP:0.1Hz LP:75Hz", "HP:0.5Hz LP:75Hz"], ("", "75 Hz", "")),
        (["HP: DC; LP: 113 Hz"] * 2, ("", "113 Hz", "")),
        (["HP:50 mHz LP:1.2.3Hz"] * 2, ("0.05 Hz", "", "")),
    ],
)
def test_filters_that_all_leads_have(filters: list[str], expected: tuple[str, str, str]):
    labels, fields = [b"ECG I", b"II", b"Resp"], [*map(str.encode, filters), b"HP:9Hz"]
    identity = read_identity(bytes(256), labels, fields)
    assert (identity.high_pass, identity.low_pass, identity.notch) == expected
