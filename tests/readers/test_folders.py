"""Folders: each record is found once; what is not read is counted, named, and stops nothing."""

import gzip
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from helpers import SHARED
from writers import FS, csv, ecg, edf, npy, npz, write_wfdb

from ecg_siglip.readers import folders
from ecg_siglip.readers.folders import Skipped, expand_paths, find_records, named_files
from ecg_siglip.readers.other_formats import KINDS
from ecg_siglip.readers.record import read_record


@pytest.fixture(scope="module")
def table() -> bytes:
    """Return a record of 2 s as CSV."""
    return csv(ecg(2 * FS))


def tally(folder: Path) -> dict[str, tuple[int, bool]]:
    """Return number and importance of each kind of file that is no record, by its name."""
    counts = expand_paths([str(folder)]).skipped.counts
    return {kind.name: (n, kind.is_ecg) for kind, n in counts.items()}


def names(folder: Path) -> list[str]:
    """Return the paths of the records within a folder."""
    return [os.path.relpath(path, folder) for path in find_records(folder)]


def test_files_are_counted_by_kind_and_the_important_ones_apart(tmp_path: Path, table: bytes):
    (tmp_path / "a.csv").write_bytes(table)
    for name, content in {
        "report.pdf": b"%PDF-1.7\n\xff",
        "scan.JPG": b"\xff\xd8\xff\xe0",
        "holter.gdf": b"GDF 2.20\0",
        "b.gdf": b"GDF 1.25\0",
        "data.edf": b"\0\1\2",
        "empty.csv": b"",
        "patients.csv": b"id,age\n1,56\n",
        "packed.zip": b"PK\x03\x04" + bytes(30),
        "old.csv.xz": b"\xfd7zXZ\0",
        "README.md": b"About\n",
        "RECORDS": b"rec\n",
        ".hidden": b"\0",
        "__init__.py": b"",
        "config.json": b'{"leads": 12, "ecg": {"width": 8}, "thresholds": ['
        + b"0.5, " * 99
        + b"]}",
        "kardia.json": b'{"ecg": [' + b"1.5, " * 99 + b"0]}",
        "page.xml": b"<page/>",
        "cart.xml": b'<?xml version="1.0"?><CardioXML/>',
        "numbers.txt": b"ch1 ch2\n" + b"1.5 -2e-3\n" * 500,
    }.items():
        (tmp_path / name).write_bytes(content)
    assert names(tmp_path) == ["a.csv"]
    assert tally(tmp_path) == {
        "a GDF recording": (2, True),
        "a file of unknown content": (1, True),
        "an empty file": (1, True),
        "an xz compressed file": (1, True),
        "an ECG of an unknown kind of JSON": (1, True),
        "an ECG of an unknown kind of XML": (1, True),
        "a table of numbers without names of leads": (1, True),
        "a PDF document": (1, False),
        "a JPEG picture": (1, False),
        "a ZIP archive": (1, False),
        "a table without names of leads": (1, False),
        "an other JSON file": (1, False),
        "an other XML file": (1, False),
        "an other file": (4, False),
    }
    skipped = expand_paths([str(tmp_path)]).skipped
    assert (skipped.n(is_ecg=True), skipped.n(is_ecg=False)) == (8, 10)
    words = skipped.in_words(is_ecg=True)
    assert words.startswith("2 GDF recordings (b.gdf, holter.gdf): export it as EDF or CSV; ")
    assert skipped.in_words(is_ecg=False).endswith("; 4 other files")


def test_numbers_without_names_are_records_only_if_their_leads_are_given(
    tmp_path: Path, table: bytes
):
    numbers = b"0.1,-2e-3\n" * 500
    for name, content in {
        "ecg.csv": table,
        "plain.csv": numbers,
        "bom.csv": b"\xef\xbb\xbf" + numbers.replace(b",", b";").replace(b".", b","),
        "blanks.txt.gz": gzip.compress(numbers.replace(b",", b" ")),
        "array.npy": npy(ecg(2 * FS)),
        "archive.npz": npz(ecg(2 * FS)),
    }.items():
        (tmp_path / name).write_bytes(content)
    given, others = (expand_paths([str(tmp_path)], leads_given) for leads_given in (True, False))
    assert names(tmp_path) == [Path(path).name for path in given.paths]
    assert len(given.paths) == 6 and not given.skipped.counts
    assert [Path(path).name for path in others.paths] == ["archive.npz", "ecg.csv"]
    counts = {kind.name: (n, kind.is_ecg) for kind, n in others.skipped.counts.items()}
    assert counts == {
        "a table of numbers without names of leads": (3, True),
        "an array without names of leads": (1, True),
    }
    named = [str(tmp_path / "plain.csv")]
    assert expand_paths(named, leads_given=False).paths == named


def test_many_files_of_a_kind_are_counted_and_three_named(tmp_path: Path):
    for i in range(5):
        (tmp_path / f"{i}.pdf").write_bytes(b"%PDF-1.4")
    skipped = expand_paths([str(tmp_path)]).skipped
    assert skipped.in_words(is_ecg=False) == "5 PDF documents (0.pdf, 1.pdf, 2.pdf, ...)"
    assert Skipped().in_words(is_ecg=True) == ""


def test_the_most_frequent_kinds_are_named():
    skipped = Skipped()
    kinds = {kind.name: kind for _, kind in KINDS if kind.is_ecg}
    for i, kind in enumerate(kinds.values()):
        for _ in range(i + 1):
            skipped.add(kind, "x" * 300)
    words = skipped.in_words(is_ecg=True)
    assert words.count(";") == 8
    assert words.endswith(f"of {len(kinds) - 8} further kinds")
    assert len(words) < 3000


def test_the_parts_of_wfdb_records_are_not_counted(tmp_path: Path):
    write_wfdb(tmp_path, ecg(2 * FS))
    text = (tmp_path / "rec.hea").read_text()
    (tmp_path / "other.hea").write_text(
        text.replace("rec.dat", "Signals.bin").replace("rec", "other")
    )
    shutil.copy(tmp_path / "rec.dat", tmp_path / "Signals.bin")
    (tmp_path / "REC2.HEA").write_text(text.replace("rec", "REC2"))
    shutil.copy(tmp_path / "rec.dat", tmp_path / "REC2.DAT")
    (tmp_path / "rec.atr").write_bytes(b"\x12\x70\0\0")
    (tmp_path / "rec.seizures").write_bytes(b"\0\1")
    (tmp_path / "lone.dat").write_bytes(b"\0\1")
    assert names(tmp_path) == ["REC2.HEA", "other.hea", "rec.hea"]
    assert tally(tmp_path) == {"an other file": (2, False), "a file of unknown content": (1, True)}


def test_segments_belong_to_their_record(tmp_path: Path):
    (tmp_path / "ms.hea").write_text("ms/3 1 100\nms_layout 0\nms_0001 100\n~ 5\nMS_0002 7\n")
    for name in ("ms_layout", "ms_0001", "ms_0002", "ms_0003"):
        (tmp_path / f"{name}.hea").write_text(f"{name} 1 100 100\n")
    assert names(tmp_path) == ["ms.hea", "ms_0003.hea"]
    assert tally(tmp_path) == {}
    assert named_files(tmp_path / "ms.hea")[1]
    # Headers that name each other do not hide each other.
    (tmp_path / "x_1.hea").write_text("x_1/1 1 100\nx_2 100\n")
    (tmp_path / "x_2.hea").write_text("x_2/1 1 100\nx_1 100\n")
    assert names(tmp_path)[2:] == ["x_1.hea", "x_2.hea"]


def test_a_compressed_header_is_named(tmp_path: Path):
    header = write_wfdb(tmp_path, ecg(2 * FS))
    packed = tmp_path / "rec.hea.gz"
    packed.write_bytes(gzip.compress(header.read_bytes()))
    with pytest.raises(ValueError, match="record rec: a compressed WFDB header: unpack it"):
        read_record(packed)
    header.unlink()
    with pytest.raises(FileNotFoundError, match=r"no header.*; rec\.hea\.gz has to be unpacked"):
        read_record(tmp_path / "rec")
    assert tally(tmp_path)["a compressed WFDB header"] == (1, True)


def test_resource_files_of_macos_are_no_records(tmp_path: Path, table: bytes):
    for name in ("rec.hea", "rec.csv", "rec.edf"):
        (tmp_path / f"._{name}").write_bytes(b"\0\5\x16\7\0\2\0\0" + bytes(100))
    assert names(tmp_path) == []
    assert tally(tmp_path) == {"an other file": (3, False)}


def test_links_are_followed_and_no_folder_is_searched_twice(tmp_path: Path, table: bytes):
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder in (root / "z", outside / "deeper"):
        folder.mkdir(parents=True)
        (folder / "a.csv").write_bytes(table)
    (root / "a_link").symlink_to(root / "z")
    (root / "b_link").symlink_to(outside)
    (root / "z" / "loop").symlink_to(root)
    (outside / "back").symlink_to(root)
    (outside / "deeper" / "loop").symlink_to(".")
    (root / "file.csv").symlink_to(outside / "deeper" / "a.csv")
    (root / "broken.csv").symlink_to("nowhere")
    (root / "self").symlink_to("self")
    assert names(root) == ["file.csv", "z/a.csv", "b_link/deeper/a.csv"]
    assert tally(root) == {
        "a broken link": (2, True),
        "a link to a folder that is searched already or contains this one": (4, False),
    }
    (root / "up").symlink_to("..")
    (root / "top").symlink_to("/")
    assert names(root) == ["file.csv", "z/a.csv", "b_link/deeper/a.csv"]


def test_special_files_are_never_opened(tmp_path: Path, table: bytes):
    (tmp_path / "a.csv").write_bytes(table)
    os.mkfifo(tmp_path / "pipe.csv")
    os.mkfifo(tmp_path / "pipe.hea")
    (tmp_path / "null.edf").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as server:
        home = os.getcwd()
        os.chdir(tmp_path)  # the name of a socket has at most a hundred bytes
        try:
            server.bind("socket.edf")
        finally:
            os.chdir(home)
        assert names(tmp_path) == ["a.csv"]
        assert tally(tmp_path) == {"a special file": (4, False)}
        for name, what in (("pipe.csv", "a pipe"), ("pipe.hea", "a pipe"), ("null.edf", "a device"),
                           ("socket.edf", "a socket")):  # fmt: skip
            with pytest.raises(ValueError, match=f"{name}: {what}, expected a file"):
                read_record(tmp_path / name)
    (tmp_path / "rec.dat").symlink_to("/dev/zero")
    write_wfdb(tmp_path / "..", ecg(2 * FS))
    shutil.copy(tmp_path / ".." / "rec.hea", tmp_path / "rec.hea")
    with pytest.raises(
        ValueError, match=r"record rec: .*rec\.dat, which is no file but a folder or device"
    ):
        read_record(tmp_path / "rec")


@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_cannot_be_reached_is_named_and_stops_nothing(
    tmp_path: Path, table: bytes, monkeypatch: pytest.MonkeyPatch, what: str
):
    """Root may read everything, so that the refusal of the system is imitated."""
    for name in ("a", "closed", "z"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.csv").write_bytes(table)

    def denied(function):
        def call(path, *args):
            if "closed" in os.fspath(path):
                raise PermissionError(13, "Permission denied", path)
            return function(path, *args)

        return call

    if what == "folder":
        monkeypatch.setattr(folders.os, "scandir", denied(os.scandir))
    else:
        monkeypatch.setattr(folders, "read_head", denied(folders.read_head))
    assert names(tmp_path) == ["a/x.csv", "z/x.csv"]
    assert tally(tmp_path) == {f"an unreadable {what}": (1, True)}
    if what == "folder":
        words = expand_paths([str(tmp_path)]).skipped.in_words(is_ecg=True)
        assert words == "1 unreadable folder (closed: Permission denied)"
        with pytest.raises(OSError, match="record closed: .*Permission denied"):
            read_record(tmp_path / "closed")


def test_a_truncated_workbook_or_archive_is_a_damaged_record(tmp_path: Path):
    (tmp_path / "a.npz").write_bytes(npz(ecg(2 * FS))[:500])
    (tmp_path / "b.xlsx").write_bytes(b"PK\x03\x04" + bytes(200))
    assert tally(tmp_path) == {"a damaged file": (1, True)}
    assert names(tmp_path) == ["a.npz"]  # reading it is an error


def test_a_very_deep_tree(tmp_path: Path, table: bytes):
    """Deeper than Python's stack by default, and than the longest path that the system opens."""
    (tmp_path / "z.csv").write_bytes(table)
    folder = os.open(tmp_path, os.O_RDONLY)
    n_deep = 1050
    for depth in range(n_deep + 12):
        name = "d" if depth < n_deep else "d" * 200
        os.mkdir(name, dir_fd=folder)
        deeper = os.open(name, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = deeper
        if depth == n_deep:
            with open(os.open("x.csv", os.O_CREAT | os.O_WRONLY, dir_fd=folder), "wb") as file:
                file.write(table)
    os.close(folder)
    try:
        found = expand_paths([str(tmp_path)])
        assert [Path(path).name for path in found.paths] == ["x.csv", "z.csv"]
        ((kind, n),) = found.skipped.counts.items()
        assert (kind.name, n) == ("an unreadable folder", 1)
        assert "File name too long" in found.skipped.in_words(is_ecg=True)
        assert len(found.skipped.in_words(is_ecg=True)) < 200
    finally:
        # Not with shutil, which recurses.
        subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)


ODD_NAMES = [
    b"a,b.csv", b"it's \"quoted\".csv", b"[1]{2}.csv", b"k=v.csv", b"${oc.env:HOME}.csv",
    "Müller 心電図 🫀.csv".encode(), b"two\nlines.csv", b"-x.csv", b"--help.csv", b" .csv",
    b"\x1b[31mred.csv", "gnp.\u202eexe.csv".encode(), b"\xff\xfe latin \xe4.csv", b"%s%n.csv",
    b"a::b.csv", b"*.csv", b"x.csv ", b"'.csv", b"\\.csv", b"~.csv", b"#.csv", b"con.csv",
]  # fmt: skip


def test_names_of_any_kind(tmp_path: Path, table: bytes):
    for i, name in enumerate(ODD_NAMES):
        with open(os.fsencode(tmp_path) + b"/" + name, "wb") as file:
            file.write(edf(ecg(2 * FS)) if i % 2 else table)
    paths = find_records(tmp_path)
    assert {os.path.basename(os.fsencode(path)) for path in paths} == set(ODD_NAMES)
    for path in paths:
        assert read_record(path).fs == FS
        with pytest.raises(ValueError, match="^record ") as error:
            read_record(path, fs=250)
        str(error.value).encode("utf-8")
        assert str(error.value).isprintable()


def test_wfdb_records_with_names_that_are_not_utf8(tmp_path: Path):
    header = write_wfdb(tmp_path, ecg(2 * FS))
    expected = read_record(header).signal
    for stem in (b"\xe4\xff", b"a,b [1]", "心電図".encode(), b"x::y"):
        folder = os.fsencode(tmp_path) + b"/" + stem + b"_folder"
        os.mkdir(folder)
        for suffix in (b".hea", b".dat"):
            shutil.copy(tmp_path / f"rec{suffix.decode()}", folder + b"/rec" + suffix)
        os.rename(folder + b"/rec.hea", folder + b"/" + stem + b".hea")
        (path,) = find_records(os.fsdecode(folder))
        assert (read_record(path).signal == expected).all(), stem


def test_folders_are_searched_fast_and_without_reading_headers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for i in range(300):
        (tmp_path / f"{i:05d}_lr.hea").touch()
        (tmp_path / f"{i:05d}_lr.dat").touch()
    monkeypatch.setattr(folders, "read_head", pytest.fail)
    monkeypatch.setattr(folders, "named_files", pytest.fail)
    assert len(find_records(tmp_path)) == 300


def test_the_cases_are_records_or_named():
    cases = SHARED / "cases"
    if not cases.is_dir():
        pytest.skip(f"needs {cases}")
    found = expand_paths([str(cases)])
    assert len(found.paths) > 25
    documents = {kind.name for kind in found.skipped.counts if not kind.is_ecg}
    assert {"a PDF document", "a PNG picture"} <= documents
