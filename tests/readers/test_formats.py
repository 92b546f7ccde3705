"""Formats: the same ECG is the same signal whatever file it comes in, and no file does harm."""

import gzip
import io
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import configured
from writers import (
    FS,
    GIVEN,
    WRITERS,
    aecg,
    csv,
    dicom,
    dicom_group,
    ecg,
    edf,
    edfio,
    muse,
    npy,
    npz,
    parquet,
    tsv,
    write,
    write_wfdb,
)  # fmt: skip

from ecg_siglip.config import PredictConfig
from ecg_siglip.predict import predict
from ecg_siglip.readers import record as record_module
from ecg_siglip.readers import tabular_formats, wfdb_format, xml_formats
from ecg_siglip.readers.record import MAX_BYTES, Record, find_records, read_record
from ecg_siglip.readers.stated import MAX_PARSED_BYTES
from ecg_siglip.signals.leads import LEADS, lead_name
from ecg_siglip.signals.preprocessing import prepare_signal, to_int16


def prepared(record: Record) -> np.ndarray:
    return to_int16(
        prepare_signal(record.signal, record.fs, record.leads, to_fs=FS, duration_s=10.0)
    )


def refused(path: Path, *words: str, error: type[Exception] = ValueError, **given: object) -> None:
    with pytest.raises(error) as caught:
        read_record(path, **given)
    message = str(caught.value)
    assert message.startswith("record rec")
    assert "\n" not in message
    for word in words:
        assert word in message, message


# ---- the same ECG in every format ---------------------------------------------------------------


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("kind", WRITERS)
def test_the_same_ecg_in_every_format(tmp_path: Path, kind: str, zipped: bool):
    """By its content: the suffix says nothing. MUSE's derived leads are exact here, too."""
    uv = ecg()
    content = WRITERS[kind](uv, FS)
    path = write(tmp_path, gzip.compress(content, 1) if zipped else content)
    record = read_record(path, **GIVEN.get(kind, {}))
    assert (record.name, record.fs, record.signal.dtype) == ("rec", FS, np.float32)
    np.testing.assert_array_equal(prepared(record), uv)
    by_wfdb = read_record(write_wfdb(tmp_path, uv))
    np.testing.assert_array_equal(prepared(by_wfdb), uv)


def test_one_command_answers_alike_for_every_format(tmp_path: Path, trained: Path, capsys):
    uv = ecg()
    paths = [write_wfdb(tmp_path, uv)]
    for kind, writer in WRITERS.items():
        if kind not in GIVEN:
            paths.append(tmp_path / f"{kind}.bin")
            paths[-1].write_bytes(writer(uv, FS))
    base = {"run.name": trained.name, "run.root": str(trained.parent), "device": "cpu"}
    assert len(paths) > 8
    assert predict(configured(PredictConfig, base | {"records": [str(p) for p in paths]})) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["record"] for answer in answers] == [str(path) for path in paths]
    for answer in answers:
        assert answer["probabilities"] == answers[0]["probabilities"], answer["record"]


def test_the_stored_leads_of_muse_and_the_rest_follow(tmp_path: Path):
    record = read_record(write(tmp_path, muse(ecg()), "xml"))
    assert record.leads == ("I", "II", *LEADS[6:], "III", "aVR", "aVL", "aVF")
    assert record.comments == ("Sinus rhythm",)


def test_dicom_takes_the_longest_original_group_and_its_words(tmp_path: Path):
    record = read_record(write(tmp_path, dicom(ecg()), "dcm"))
    assert record.leads == LEADS
    assert record.comments == ("Sinus rhythm",)


def test_dicom_applies_correction_and_padding(tmp_path: Path):
    uv = ecg()
    group = dicom_group(uv, FS)
    group.WaveformPaddingValue = np.int16(uv[5, 7]).tobytes()
    group.ChannelDefinitionSequence[5].ChannelSensitivity = "4"
    group.ChannelDefinitionSequence[5].ChannelSensitivityCorrectionFactor = "0.5"
    group.ChannelDefinitionSequence[5].ChannelBaseline = "-30"
    signal = read_record(write(tmp_path, dicom(uv, groups=[group]))).signal
    expected = np.where(uv[5] == uv[5, 7], np.nan, 2 * uv[5] - 30) / 1000
    np.testing.assert_allclose(signal[5], expected, atol=1e-6)
    assert np.isnan(signal[5, 7])


@pytest.mark.parametrize("kind", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"])
def test_dicom_with_and_without_value_representations(tmp_path: Path, kind: str):
    path = write(tmp_path, dicom(ecg(), syntax=kind))
    np.testing.assert_array_equal(prepared(read_record(path)), ecg())


def test_edf_in_millivolts_and_with_other_signals(tmp_path: Path):
    recording = edfio.read_edf(edf(ecg(), unit="mV"))
    breath = edfio.EdfSignal(np.sin(np.arange(100.0)), 10, label="Resp", physical_dimension="L/min")
    recording.append_signals(breath)
    recording.set_annotations([edfio.EdfAnnotation(1.0, None, "a beat")])
    record = read_record(write(tmp_path, recording.to_bytes(), "edf"))
    assert record.leads == tuple(f"ECG {lead}" for lead in LEADS)
    np.testing.assert_array_equal(prepared(record), ecg())


@pytest.mark.parametrize("fs", [100, 250, 1000])
def test_time_columns_tell_the_rate(tmp_path: Path, fs: int):
    uv = ecg(3 * fs, fs)
    table = pd.DataFrame(uv.T, columns=[f"{lead} [uV]" for lead in LEADS])
    table.insert(0, "Time (s)", np.round(np.arange(3 * fs) / fs, 3))
    record = read_record(write(tmp_path, table.to_csv(index=False, sep=";").encode(), "csv"))
    assert record.fs == fs
    np.testing.assert_array_equal(record.signal, (uv / 1000).astype(np.float32))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<i2", ">i4", "<f4", "<f8"])
def test_numpy_arrays_of_any_layout(tmp_path: Path, order: str, dtype: str):
    for turned in (ecg(), ecg().T):
        file = io.BytesIO()
        np.save(file, np.array(turned, dtype, order=order))
        record = read_record(write(tmp_path, file.getvalue()), fs=FS, units="uV", leads=LEADS)
        np.testing.assert_array_equal(prepared(record), ecg())


@pytest.mark.parametrize(
    ("spell", "lead"),
    [
        *[(word, "II") for word in ("ii", "MLII", "Lead II", "ECG II", "EKG II", "ECG_II", "DII")],
        *[(word, "aVR") for word in ("AVR", "avr", "MDC_ECG_LEAD_AVR", "lead aVR", " aVR ")],
        *[(word, "V1") for word in ("v1", "ECG V1", "EKG-V1", "ECG Lead V1", "MDC_ECG_LEAD_V1")],
        *[(word, word) for word in ("X", "V7", "-aVR", "MDC_ECG_LEAD_X", "EEG C3", "D", "")],
    ],
)
def test_spellings_of_leads(spell: str, lead: str):
    assert lead_name(spell) == lead


# ---- what the file does not state ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["II (mV)", "MLII_mV"])
@pytest.mark.parametrize("decimal", [".", ","])
def test_a_table_of_a_single_lead(tmp_path: Path, name: str, decimal: str):
    table = pd.DataFrame({name: ecg()[1] / 1000})
    content = b"# fs: 500\n" + table.to_csv(index=False, sep=";", decimal=decimal).encode()
    record = read_record(write(tmp_path, content, "csv"))
    assert find_records(tmp_path) == [str(tmp_path / "rec.csv")]
    assert lead_name(record.leads[0]) == "II"
    np.testing.assert_allclose(record.signal[0], ecg()[1] / 1000, atol=1e-6)


def test_what_is_not_stated_has_to_be_given(tmp_path: Path):
    path = write(tmp_path, npy(ecg()), "npy")
    given = dict(GIVEN["npy"])
    for key, word in (("fs", "read.fs"), ("units", "read.units"), ("leads", "read.leads")):
        refused(path, word, **{name: value for name, value in given.items() if name != key})
    bare = pd.DataFrame(ecg().T).to_csv(index=False, header=False).encode()
    record = read_record(write(tmp_path, bare), **given)
    np.testing.assert_array_equal(prepared(record), ecg())
    unnamed_time = pd.DataFrame(ecg().T, columns=list(LEADS))
    unnamed_time.insert(0, "time", np.arange(len(unnamed_time)))
    path = write(tmp_path, unnamed_time.to_csv(index=False).encode())
    refused(path, "read.fs", units="uV")
    np.testing.assert_array_equal(prepared(read_record(path, fs=FS, units="uV")), ecg())


@pytest.mark.parametrize("kind", [kind for kind in WRITERS if kind != "npy"])
def test_what_is_stated_is_not_overruled(tmp_path: Path, kind: str):
    path = write(tmp_path, WRITERS[kind](ecg(), FS))
    stated = read_record(path)
    agreeing = read_record(path, fs=FS, leads=[lead.upper() for lead in stated.leads])
    np.testing.assert_array_equal(agreeing.signal, stated.signal)
    refused(path, "contradicts read.fs=250", fs=250)
    refused(path, "contradicts read.units=V", units="V")
    refused(path, "contradicts read.leads=[II,", leads=["II", "I", *stated.leads[2:]])


def test_wfdb_is_not_overruled_either(tmp_path: Path):
    path = write_wfdb(tmp_path, ecg())
    assert read_record(path, fs=FS, units="mV", leads=LEADS).fs == FS
    refused(path, "contradicts read.fs=100", fs=100)


# ---- print layouts ------------------------------------------------------------------------------


def strips(uv: np.ndarray, fill: float, with_rhythm: bool) -> np.ndarray:
    """Four columns of three leads, 2.5 s each, in 10 s; lead II over the whole length or not."""
    cut, quarter = np.full(uv.shape, fill, np.float64), uv.shape[1] // 4
    for i in range(12):
        part = slice(i // 3 * quarter, (i // 3 + 1) * quarter)
        cut[i, part] = uv[i, part]
    if with_rhythm:
        cut[1] = uv[1]
    return cut


@pytest.mark.parametrize("with_rhythm", [False, True])
@pytest.mark.parametrize("fill", [0.0, np.nan, -250.0])
def test_strips_of_a_print_are_refused(tmp_path: Path, fill: float, with_rhythm: bool):
    content = npz(ecg(), signal=strips(ecg(), fill, with_rhythm))
    refused(write(tmp_path, content), f"{12 - with_rhythm} of 12 leads", "print layout")


def test_strips_beside_a_rhythm_strip_are_refused(tmp_path: Path):
    uv = ecg()
    starts = uv.astype(float)
    starts[np.arange(12) != 1, len(uv.T) // 4 :] = 0
    refused(write(tmp_path, npz(uv, signal=starts)), "11 of 12 leads", "print layout")
    short = [dicom_group(uv[i : i + 3, :1250], FS, LEADS[i : i + 3]) for i in range(0, 12, 3)]
    rhythm = dicom_group(uv[1:2], FS, LEADS[1:2])
    refused(write(tmp_path, dicom(uv, groups=[*short, rhythm])), "1 of 12 leads", "print layout")
    digits = " ".join(map(str, uv[5]))
    ragged = replaced(aecg(uv), digits, " ".join(map(str, uv[5, :1250])))
    refused(write(tmp_path, ragged), "print layout")


def test_infinite_samples_are_left_to_the_check(tmp_path: Path):
    signal = ecg().astype(float)
    signal[:, 100:200] = np.inf
    assert np.isinf(read_record(write(tmp_path, npz(ecg(), signal=signal))).signal).any()


def test_a_short_record_padded_with_zeros_is_no_layout(tmp_path: Path):
    uv = ecg()
    uv[:, 1000:] = 0
    assert read_record(write(tmp_path, npz(uv))).signal.shape == uv.shape


def test_no_real_ecg_is_a_layout(shared_ptbxl: Path, shared_challenge: Path):
    for header in [*sorted(shared_ptbxl.glob("records100/*/*.hea"))[::20],
                   *shared_challenge.glob("*/*.hea")]:  # fmt: skip
        read_record(header)


# ---- what a folder holds ------------------------------------------------------------------------


def test_a_folder_holds_each_record_once(tmp_path: Path):
    deeper = tmp_path / "deeper"
    deeper.mkdir()
    write_wfdb(deeper, ecg())
    expected = {"rec.hea"}
    for kind in WRITERS:
        (deeper / f"a.{kind}").write_bytes(WRITERS[kind](ecg(), FS))
        expected.add(f"a.{kind}")
    (deeper / "1.2.840.7").write_bytes(dicom(ecg()))
    (deeper / "z.csv.gz").write_bytes(gzip.compress(csv(ecg())))
    for name, text in {
        "README.md": "All, about it\n", "RECORDS": "rec\n", "patients.csv": "id,age\n1,56\n",
        "page.xml": "<html/>", "empty": "", "broken.gz": "\x1f",
    }.items():  # fmt: skip
        (tmp_path / name).write_text(text)
    (tmp_path / "notes.pdf").write_bytes(b"%PDF\0")
    found = find_records(tmp_path)
    assert {Path(path).name for path in found} == expected | {"1.2.840.7", "z.csv.gz"}
    assert found == sorted(found)
    assert find_records(tmp_path / "none") == []


# ---- what is no ECG, or damaged -----------------------------------------------------------------


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_truncated_files(tmp_path: Path, kind: str, share: float):
    content = WRITERS[kind](ecg(), FS)
    path = write(tmp_path, content[: int(share * len(content))])
    if kind in ("csv", "tsv"):  # a table has no length to hold it to: it is shorter, no more
        assert read_record(path).signal.shape[1] < ecg().shape[1]
    else:
        refused(path, **GIVEN.get(kind, {}))
    refused(write(tmp_path, gzip.compress(content)[:-100]), **GIVEN.get(kind, {}))
    refused(write(tmp_path, b""), "empty")


@pytest.mark.parametrize("kind", ["edf", "npy"])
def test_oversized_files(tmp_path: Path, kind: str):
    path = write(tmp_path, WRITERS[kind](ecg(), FS) + b"\0" * 24)
    refused(path, "bytes", **GIVEN.get(kind, {}))


def test_a_file_above_the_limit_is_not_read(tmp_path: Path):
    with (tmp_path / "rec.npy").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    refused(tmp_path / "rec.npy", "larger than 256 MiB")
    header = write_wfdb(tmp_path, ecg())
    with header.with_suffix(".dat").open("r+b") as file:
        file.truncate(wfdb_format.MAX_BYTES + 2)
    refused(header, "expected at most 268435456 bytes")
    header.write_text("# \n" * 400_000)
    refused(header, "expected a header of at most")


def test_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What promises much is refused by its promise, or where the limit is reached."""
    monkeypatch.setattr(record_module, "MAX_BYTES", 1 << 20)
    refused(write(tmp_path, gzip.compress(bytes(1 << 21))), "larger than 1 MiB")
    monkeypatch.undo()
    header = npy(ecg())[:128].replace(b"(12, 5000)", b"(1200000000, 5000)".ljust(10))
    refused(write(tmp_path, header), "promises 12000000000000 bytes", **GIVEN["npy"])
    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("signal.npy", "w", force_zip64=True) as member,
    ):
        for _ in range(257):
            member.write(bytes(1 << 20))
    refused(write(tmp_path, file.getvalue()), "when unpacked, expected at most")
    monkeypatch.setattr(tabular_formats, "MAX_BYTES", 1 << 18)
    refused(write(tmp_path, csv(ecg())), "more than 32768 cells")
    refused(write(tmp_path, parquet(ecg())), "expected at most 262144")
    deflated = dicom(ecg(), syntax="1.2.840.10008.1.2.1.99")
    refused(write(tmp_path, deflated), "uncompressed transfer syntax")


def test_parquet_of_a_constant_is_small_on_disk_only(tmp_path: Path):
    file, column = io.BytesIO(), pa.array(np.zeros(1 << 20))
    with pq.ParquetWriter(file, pa.schema([("I", pa.float64())]), compression="zstd") as writer:
        for _ in range(33):
            writer.write_table(pa.table({"I": column}))
    assert len(file.getvalue()) < 1 << 18
    refused(write(tmp_path, file.getvalue()), "promises", fs=FS, units="mV")


def test_xml_bombs(tmp_path: Path):
    laughs = "".join(f'<!ENTITY l{i + 1} "{f"&l{i};" * 10}">' for i in range(9))
    head = f'<!DOCTYPE AnnotatedECG [<!ENTITY l0 "lol">{laughs}]>'
    refused(write(tmp_path, aecg(ecg(), head=head)), "EntitiesForbidden")
    head = '<!DOCTYPE AnnotatedECG [<!ENTITY secret SYSTEM "file:///etc/hostname">]>'
    refused(write(tmp_path, aecg(ecg(), head=head)), "EntitiesForbidden")
    refused(write(tmp_path, b"<a>" * (xml_formats.MAX_XML_TAGS + 1)), "tags of XML")
    refused(write(tmp_path, b"<a>" + bytes(MAX_PARSED_BYTES)), "MiB")
    head = f'<!DOCTYPE AnnotatedECG [<!ATTLIST component x CDATA "{"lol" * 1000}">]>'
    refused(write(tmp_path, aecg(ecg(), head=head)), "defines attributes of <component>")
    for head in ('<!DOCTYPE AnnotatedECG SYSTEM "other.dtd">', "<!-- a <comment> -->"):
        assert read_record(write(tmp_path, aecg(ecg(), head=head))).leads[0].endswith("LEAD_I")
    refused(write(tmp_path, b"<a>" * 100_000), "malformed XML")


def test_pickled_arrays_are_not_opened(tmp_path: Path):
    class Trap:
        def __reduce__(self):
            return (sys.exit, (7,))

    trap = np.array([[Trap()]], dtype=object)
    file = io.BytesIO()
    np.save(file, trap, allow_pickle=True)
    refused(write(tmp_path, file.getvalue()), "array of numbers", **GIVEN["npy"])
    refused(write(tmp_path, npz(ecg(), signal=trap)), "array of numbers")
    refused(write(tmp_path, npz(ecg(), leads=trap)), "array of numbers")


def replaced(content: bytes, old: str, new: str) -> bytes:
    assert old.encode() in content
    return content.replace(old.encode(), new.encode(), 1)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: edf(ecg())[:192] + b"EDF+D" + edf(ecg())[197:], "discontinuous"),
        (lambda: edf(ecg())[:236] + b"-1      " + edf(ecg())[244:], "a whole number above 0"),
        (lambda: edf(ecg())[:236] + b"99999999" + edf(ecg())[244:], "bytes as the header says"),
        (lambda: edf(ecg()).replace(b"uV", b"kg"), "no signal in uV, mV or V"),
        (lambda: edf(ecg()).replace(b"-32768  ", b"32767   ", 1), "range is empty"),
        (lambda: dicom(ecg(), sop_class="7"), "expected an ECG waveform, got the SOP class Secon"),
        (lambda: dicom(ecg(), groups=[dicom_group(ecg(), FS, origin="DERIVED")]), "original"),
        (lambda: muse(ecg(), kind="Median"), "type Rhythm"),
        (lambda: replaced(muse(ecg()), ">5000<", ">4999<"), "expected 4999 samples"),
        (lambda: replaced(muse(ecg()), "<SampleBase>500", "<SampleBase>x"), "could not convert"),
        (lambda: muse(ecg()).replace(b"MICROVOLTS", b"BANANAS"), "uV, mV or V, got BANANAS"),
        (lambda: replaced(muse(ecg()), "MICROVOLTS", "MILLIVOLTS"), "in one unit, got two"),
        (lambda: replaced(aecg(ecg()), 'value="0.002"', 'value="0"'), "increment"),
        (lambda: replaced(aecg(ecg()), '"100" unit="uV"', '"1" unit="mV"'), "one unit, got two"),
        (lambda: b"<html><body/></html>", "expected AnnotatedECG or RestingECG, got <html>"),
        (lambda: npz(ecg(), fs=[1, 2]), "expected one number as fs"),
        (lambda: npz(ecg(), fs=1e12), "expected a sampling rate of 50 to 20000 Hz"),
        (lambda: npz(ecg(), fs=np.nan), "expected a sampling rate"),
        (lambda: npz(ecg(), leads=LEADS[:5]), "expected 5 leads as named, got shape (5000, 12)"),
        (lambda: npz(ecg()[:, :12]), "shape (12, 12) does not tell leads from samples"),
        (lambda: npz(ecg(), signal=ecg().astype(complex)), "array of numbers"),
        (lambda: npz(ecg(), units=["mV"] * 3), "expected a unit for each of 12 leads, got 3"),
        (lambda: npz(ecg()[:, :0]), "0 s of signal"),
        (lambda: csv(ecg()).replace(b"fs: 500 Hz", b"fs: fast"), "expected a sampling rate in Hz"),
        (lambda: csv(ecg()).replace(b"V6", b"V6 (uV)"), "contradicts the file's unit mV"),
        (lambda: b"# fs: 250\n" + tsv(ecg()), "goes at 500 Hz, but the file states 250"),
        (lambda: csv(ecg()) + b"a,b,c\n", "could not convert"),
        (lambda: tsv(ecg()).replace(b"9998,0", b"99980,0"), "even steps"),
        (lambda: b"I,II\nx,y\n", "could not convert"),
        (lambda: pd.DataFrame(ecg().T).to_csv(index=False).encode(), "numbers the columns"),
        (lambda: b"hello world", "expected a table of up to 1000 columns"),
        (lambda: b"," * 5000 + b"\n1,2\n", "expected a table of up to 1000 columns"),
        (lambda: b"I,a" + b" " * 100_000 + b"b\n1,2\n", "expected a table of up to 1000 columns"),
        (lambda: csv(ecg()) + b"1" + b",1" * 12 + b"\n", "expected 12 columns"),
        (lambda: csv(ecg()).replace(b"V6\n", b"V6,\n").replace(b"\n0", b"\n0,0"), "no name"),
        (lambda: npz(ecg(), leads=np.array(["I"] * 2000)), "expected at most 1000 words"),
    ],
)  # fmt: skip
def test_what_is_malformed_is_said_in_a_line(tmp_path: Path, make: Callable, word: str):
    refused(write(tmp_path, make()), word)


@pytest.mark.parametrize(
    ("kind", "package"),
    [("edf", "edfio"), ("dcm", "pydicom"), ("aecg.xml", "defusedxml"), ("muse.xml", "defusedxml")],
)
def test_a_missing_library_is_named(tmp_path, monkeypatch, kind: str, package: str):
    for name in (package, f"{package}.ElementTree"):
        monkeypatch.setitem(sys.modules, name, None)
    path = write(tmp_path, WRITERS[kind](ecg(), FS))
    refused(path, f"needs the package {package}: pip install 'ecg_siglip[formats]'")
