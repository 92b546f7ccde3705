"""Fuzz: for any content of a file, its record gets a prediction or is refused in one line.

Files of every format with simulated and, where available, real ECGs, and real files as they are,
are damaged at random. `make fuzz` tries a thousand damaged files per reader.
"""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import SHARED, configured
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from writers import (
    FS,
    GIVEN,
    WRITERS,
    ecg,
    without_checksums,
    write_wfdb,
    write_wfdb_frames,
    write_wfdb_segments,
)

from ecg_siglip.config import PredictConfig
from ecg_siglip.inference.pipeline import predict_records
from ecg_siglip.inference.prediction import Prediction
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.readers.record import read_record
from ecg_siglip.signals.leads import LEADS

SHORT_FS = 100
REAL = SHARED / "ptbxl" / "records500" / "00000"
CHALLENGE = SHARED / "challenge"
# Replacements for numbers and words in headers.
ODD = (
    b"", b"0", b"-1", b"1e309", b"-1e-309", b"nan", b"inf", b"9" * 20, b"2147483648", b"1e-7",
    b"1/0", b"1e5", b"\xff", b"\x00", b"../../etc/passwd", b"%s%n", b"[]", "µ".encode(),
    "１２".encode(), b"uV", b"V", b"I", b"aVR",
)  # fmt: skip


def flip(content: bytes, at: int, n: int, piece: bytes) -> bytes:
    return content[:at] + bytes(b ^ 0xFF for b in content[at : at + n]) + content[at + n :]


def cut_off(content: bytes, at: int, n: int, piece: bytes) -> bytes:
    return content[:at]


def cut_out(content: bytes, at: int, n: int, piece: bytes) -> bytes:
    return content[:at] + content[at + n :]


def put_in(content: bytes, at: int, n: int, piece: bytes) -> bytes:
    return content[:at] + piece + content[at:]


def put_over(content: bytes, at: int, n: int, piece: bytes) -> bytes:
    return content[:at] + piece + content[at + len(piece) :]


def repeat(content: bytes, at: int, n: int, piece: bytes) -> bytes:
    return content[: at + n] + content[at : at + n] * 3 + content[at + n :]


def move(content: bytes, at: int, n: int, piece: bytes) -> bytes:
    return (
        content[:at] + content[at + n : at + 2 * n] + content[at : at + n] + content[at + 2 * n :]
    )


def replace_word(content: bytes, at: int, n: int, piece: bytes) -> bytes:
    """Replace the next number or word by an odd one."""
    word = re.search(rb"-?\d+(\.\d+)?|[A-Za-z]+", content[at : at + 4096])
    if word is None:
        return content
    odd = ODD[n % len(ODD)]
    return content[: at + word.start()] + odd + content[at + word.end() :]


CHANGES: tuple[Callable[[bytes, int, int, bytes], bytes], ...] = (
    flip, cut_off, cut_out, put_in, put_over, repeat, move, replace_word, replace_word,
)  # fmt: skip


@st.composite
def damage(draw: st.DrawFn) -> list[tuple[int, float, bool, int, bytes]]:
    """Draw up to four changes: which, where (in the file or its beginning), how long, new bytes."""
    one = st.tuples(
        st.integers(0, len(CHANGES) - 1),
        st.floats(0, 1, exclude_max=True),
        st.booleans(),
        st.integers(1, 64),
        st.binary(max_size=24),
    )
    return draw(st.lists(one, min_size=1, max_size=4))


def damaged(content: bytes, changes: list[tuple[int, float, bool, int, bytes]]) -> bytes:
    """Apply changes to the content of a file."""
    for way, share, near_beginning, n, piece in changes:
        reach = min(len(content), 600) if near_beginning else len(content)
        content = CHANGES[way](content, int(share * reach), n, piece)
    return content


def real_uv() -> np.ndarray | None:
    """Return 2 s of the first real record in uV for the writers; None if there is none."""
    headers = sorted(REAL.glob("*.hea"))
    if not headers:
        return None
    record = read_record(headers[0])
    uv = np.rint(1000 * record.signal[:, : 2 * FS]).astype(np.int16)
    uv[6:] -= uv[6:] % 2  # the writer of MUSE files halves them
    uv[:6] -= uv[:6] % 2
    return uv


def bases(kind: str) -> list[bytes]:
    """Return undamaged files of a format: of a simulated ECG and of a real one."""
    real = real_uv()
    signals = [(ecg(2 * SHORT_FS, SHORT_FS), SHORT_FS)] + ([] if real is None else [(real, FS)])
    return [WRITERS[kind](uv, fs) for uv, fs in signals]


@pytest.fixture(scope="module")
def predict_file(trained: Path, tmp_path_factory) -> Callable[..., list[Prediction]]:
    """Predict a record as `predict` does, with strict and lenient settings; check the output."""
    predictor = Predictor.load(trained / "model", "cpu")
    lenient = {"waveform.allow_short": True, "waveform.allow_flat": True}

    def run(path: Path, **stated: object) -> list[Prediction]:
        read = {f"read.{k}": list(v) if k == "leads" else v for k, v in stated.items()}
        predictions: list[Prediction] = []
        for waveform in ({}, lenient):
            errors: list[str] = []
            base = {"run.name": "small", "records": [str(path)], **read, **waveform}
            new = predict_records(
                predictor,
                [path],
                configured(PredictConfig, base),
                lambda path, error, errors=errors: errors.append(str(error)),
            )
            assert len(new) + len(errors) == 1
            for error in errors:
                assert error.startswith(f"record {path.stem.partition('.')[0]}"), error
                assert "\n" not in error
                assert "Traceback" not in error
            for prediction in new:
                output = json.loads(prediction.to_json("m"), parse_constant=pytest.fail)
                # None: the finding cannot be assessed from the leads that are left.
                probabilities = output["probabilities"].values()
                assert all(p is None or 0 <= p <= 1 for p in probabilities)
            predictions += new
        return predictions

    return run


def fuzz(function: Callable) -> Callable:
    """Run a test with damage drawn by hypothesis, the same in every run."""
    return settings(
        max_examples=int(os.environ.get("FUZZ", "40")),
        suppress_health_check=list(HealthCheck),
        deadline=None,
        derandomize=True,
    )(function)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_damaged_file_is_predicted_or_refused(tmp_path: Path, predict_file: Callable, kind: str):
    whole = bases(kind)
    path, stated, n = tmp_path / f"rec.{kind}", GIVEN.get(kind, {}), {"files": 0, "predicted": 0}
    for content in whole[1:]:
        path.write_bytes(content)
        assert predict_file(path, **stated), "the undamaged real ECG must be predicted"

    @fuzz
    @given(which=st.integers(0, len(whole) - 1), changes=damage())
    def run_one(which: int, changes: list) -> None:
        path.write_bytes(damaged(whole[which], changes))
        n["files"] += 1
        n["predicted"] += bool(predict_file(path, **stated))

    run_one()
    assert 0 < n["predicted"] < n["files"], n


WFDB: dict[str, Callable[[Path], Path]] = {
    "16": lambda folder: write_wfdb(folder, ecg(2 * SHORT_FS, SHORT_FS), SHORT_FS),
    "212": lambda folder: write_wfdb(folder, ecg(2 * SHORT_FS, SHORT_FS), SHORT_FS, "212"),
    "frames": lambda folder: write_wfdb_frames(folder, ecg(2 * SHORT_FS, SHORT_FS), SHORT_FS, 2),
    "segments": lambda folder: write_wfdb_segments(folder, ecg(2 * SHORT_FS, SHORT_FS), SHORT_FS),
}


@pytest.mark.parametrize(
    ("kind", "damaged_file"),
    [("16", "rec.hea"), ("16", "rec.dat"), ("212", "rec.hea"), ("212", "rec.dat"),
     ("frames", "rec.hea"), ("segments", "rec.hea"), ("segments", "rec_2.hea")],
)  # fmt: skip
def test_damaged_wfdb_is_predicted_or_refused(
    tmp_path: Path, predict_file: Callable, kind: str, damaged_file: str
):
    header = WFDB[kind](tmp_path)
    for each in tmp_path.glob("*.hea"):
        # With its checksum, hardly any damage of the samples would reach the model.
        each.write_bytes(without_checksums(each.read_bytes()))
    path = tmp_path / damaged_file
    whole, n = path.read_bytes(), {"files": 0, "predicted": 0}

    @fuzz
    @given(changes=damage())
    def run_one(changes: list) -> None:
        path.write_bytes(damaged(whole, changes))
        n["files"] += 1
        n["predicted"] += bool(predict_file(header))

    run_one()
    assert 0 < n["predicted"] < n["files"], n


def real_pairs() -> list[tuple[Path, Path]]:
    """Return header and samples of a real record of each collection."""
    folders = [REAL, *sorted(p for p in CHALLENGE.glob("*") if p.is_dir())]
    firsts = [next(iter(sorted(folder.glob("*.hea"))), None) for folder in folders]
    pairs = []
    for header in filter(None, firsts):
        samples = [header.with_suffix(suffix) for suffix in (".dat", ".mat")]
        pairs += [(header, each) for each in samples if each.is_file()]
    return pairs


@pytest.mark.parametrize("part", ["header", "samples"])
def test_damaged_real_files_are_predicted_or_refused(
    tmp_path: Path, predict_file: Callable, shared_ptbxl: Path, shared_challenge: Path, part: str
):
    pairs, n = real_pairs(), {"files": 0, "predicted": 0}
    assert len(pairs) > 4
    whole = [
        (without_checksums(header.read_bytes()), samples.read_bytes()) for header, samples in pairs
    ]

    @fuzz
    @given(which=st.integers(0, len(pairs) - 1), changes=damage())
    def run_one(which: int, changes: list) -> None:
        (header, samples), contents = pairs[which], list(whole[which])
        i = ("header", "samples").index(part)
        contents[i] = damaged(contents[i], changes)
        copies = [tmp_path / header.name, tmp_path / samples.name]
        for copy, content in zip(copies, contents, strict=True):
            copy.write_bytes(content)
        n["files"] += 1
        n["predicted"] += bool(predict_file(copies[0]))

    run_one()
    assert 0 < n["predicted"] < n["files"], n


BEGINNINGS = (
    b"0       ", bytes(128) + b"DICM", b"\x93NUMPY\x01\x00", b"PK\x03\x04", b"PAR1",
    b"<AnnotatedECG", b"<RestingECG", b"I,II,V1\n", b"# fs: 500\n", b"\x1f\x8b\x08", b"",
    b"<restingecgdata", b"<ECG", b"<CardiologyXML", b"ISHNE1.0", b"@\x04MFR ", b'{"data":',
    b"ANN  1.0", bytes(10) + b"$" + bytes(17) + b"\x07\0\0\0",
)  # fmt: skip


@fuzz
@given(start=st.sampled_from(BEGINNINGS), rest=st.binary(max_size=400))
def test_bytes_that_only_begin_like_a_record(
    tmp_path_factory, predict_file: Callable, start: bytes, rest: bytes
):
    path = tmp_path_factory.getbasetemp() / "rec.bin"
    path.write_bytes(start + rest)
    predict_file(path)


NUMBERS = st.one_of(
    st.floats(-5, 5, width=32), st.floats(width=32), st.just(np.float32(0)), st.just(np.float32(1))
)


@fuzz
@given(
    values=st.lists(NUMBERS, min_size=2, max_size=40),
    fs=st.one_of(st.sampled_from([50.0, 100.0, 250.0, 500.0, 997.0, 1000.0]), st.floats()),
    leads=st.lists(st.sampled_from([*LEADS, "MLII", "x"]), min_size=1, max_size=13),
    units=st.sampled_from(["uV", "mV", "V", "", "kg"]),
    transposed=st.booleans(),
)
def test_any_array_is_predicted_or_refused(
    tmp_path_factory, predict_file: Callable, values, fs, leads, units, transposed: bool
):
    """Valid files with odd content: no rate, no units, doubled leads, infinite samples."""
    assume(len(values) != len(leads))
    signal = np.tile(np.array(values, np.float32), (len(leads), 30))
    path = tmp_path_factory.getbasetemp() / "rec.npz"
    np.savez(path, signal=signal.T if transposed else signal, fs=fs, leads=leads, units=units)
    predict_file(path)
