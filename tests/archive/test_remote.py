"""Remote files: the same signals as from the disk, whole writes, errors that name the address."""

import re
import uuid

import numpy as np
import pytest
import writers

from ecg_siglip.archive import remote
from ecg_siglip.core.files import one_line
from ecg_siglip.readers.record import read_record

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def memory():
    """Return an empty folder in fsspec's memory."""
    folder = f"memory://{uuid.uuid4().hex}"
    yield folder
    system = fsspec.filesystem("memory")
    if system.exists(folder):
        system.rm(folder, recursive=True)


@pytest.fixture(scope="module")
def bucket():
    """Return a bucket of an S3 server on this machine."""
    pytest.importorskip("s3fs")
    server_module = pytest.importorskip("moto.server")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        fsspec.filesystem("s3").mkdir("ecgs")
        yield "s3://ecgs"
        fsspec.filesystem("s3").clear_instance_cache()
    server.stop()


@pytest.fixture(params=["memory", "bucket"])
def folder(request):
    """Return an empty remote folder."""
    return f"{request.getfixturevalue(request.param)}/{uuid.uuid4().hex}"


def put(url: str, content: bytes) -> None:
    system, path = fsspec.core.url_to_fs(url)
    system.pipe_file(path, content)


def open_copy(url: str) -> None:
    with remote.local_copy(url):
        pass


def put_all(url: str, folder) -> None:
    for path in folder.iterdir():
        put(f"{url}/{path.name}", path.read_bytes())


def test_a_record_is_read_as_from_the_disk(folder, tmp_path):
    uv = writers.ecg()
    writers.write_wfdb(tmp_path, uv)
    (tmp_path / "b.xml").write_bytes(writers.muse(uv))
    put_all(folder, tmp_path)
    headers = [path.stem for path in tmp_path.glob("*.hea")]
    for name in (headers[0], f"{headers[0]}.hea", f"{headers[0]}.dat", "b.xml"):
        expected = read_record(tmp_path / name)
        with remote.local_copy(f"{folder}/{name}") as copied:
            record = read_record(copied)
            assert record.name == expected.name
        assert np.array_equal(record.signal, expected.signal)
        assert not copied.exists() and not copied.parent.exists()


def test_a_wfdb_record_takes_four_requests(bucket, tmp_path, caplog):
    writers.write_wfdb(tmp_path, writers.ecg())
    folder = f"{bucket}/{uuid.uuid4().hex}"
    put_all(folder, tmp_path)
    caplog.set_level("INFO", "werkzeug")
    caplog.clear()
    open_copy(f"{folder}/rec.hea")
    requests = re.findall(r"(GET|HEAD) /ecgs/\S+ HTTP", " ".join(caplog.messages))
    assert sorted(requests) == ["GET", "GET", "HEAD", "HEAD"]


def test_segments_of_a_record_are_copied(memory, tmp_path):
    header = writers.write_wfdb_segments(tmp_path, writers.ecg())
    put_all(memory, tmp_path)
    with remote.local_copy(f"{memory}/{header.name}") as copied:
        signal = read_record(copied).signal
    assert np.array_equal(signal, read_record(header).signal)
    assert remote.find_records(memory).paths == [f"{memory}/{header.with_suffix('.hea').name}"]


def test_a_folder_and_a_pattern(folder, tmp_path):
    writers.write_wfdb(tmp_path, writers.ecg())
    (tmp_path / "readme.txt").write_text("all of them")
    put_all(f"{folder}/one", tmp_path)
    put(f"{folder}/two/b.xml", writers.muse(writers.ecg()))
    put(f"{folder}/two/notes.docx", b"PK")
    [stem] = [path.stem for path in tmp_path.glob("*.hea")]
    found = remote.find_records(folder)
    assert found.paths == [f"{folder}/one/{stem}.hea", f"{folder}/two/b.xml"]
    assert found.skipped.n(is_ecg=False) == 2 and "notes.docx" in found.skipped.in_words(False)
    assert remote.find_records(f"{folder}/*/*.xml").paths == [f"{folder}/two/b.xml"]
    with pytest.raises(ValueError, match="no file there"):
        remote.find_records(f"{folder}/three")


def test_a_missing_part_is_named(memory, tmp_path):
    writers.write_wfdb(tmp_path, writers.ecg())
    [header] = tmp_path.glob("*.hea")
    put(f"{memory}/{header.name}", header.read_bytes())
    missing = pytest.raises(FileNotFoundError, match=r"the header names \S+\.dat")
    with remote.local_copy(f"{memory}/{header.name}") as copied, missing:
        read_record(copied)
    with pytest.raises(FileNotFoundError, match=r"^memory://\S+/none.xml: no such file$"):
        open_copy(f"{memory}/none.xml")


def test_sizes_are_limited(memory, monkeypatch, tmp_path):
    put(f"{memory}/a.xml", bytes(2000))
    monkeypatch.setattr(remote, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match=r"a\.xml: 2,000 bytes, expected at most 1,000"):
        open_copy(f"{memory}/a.xml")
    writers.write_wfdb(tmp_path, writers.ecg())
    put_all(memory, tmp_path)
    monkeypatch.setattr(remote, "MAX_RECORD_BYTES", 1200)
    [header] = tmp_path.glob("*.hea")
    with pytest.raises(ValueError, match="bytes, expected at most"):
        open_copy(f"{memory}/{header.name}")


def test_a_header_that_names_files_elsewhere_is_refused(memory):
    put(f"{memory}/a.hea", b"a 1 500 5000\n../../secret.dat 16 200 16 0 0 0 0 I\n")
    with pytest.raises(ValueError, match="expected a file next to it"):
        open_copy(f"{memory}/a.hea")


def test_a_file_is_written_whole(folder, tmp_path):
    for url in (f"{folder}/out/part.csv", f"{tmp_path}/out/part.csv", f"file://{tmp_path}/o/p.csv"):
        remote.write_whole(url, b"a,b\n")
        remote.write_whole(url, b"c,d\n")
        name, where = url.rpartition("/")[2], url.rpartition("/")[0]
        assert remote.list_names(where) == [name]
    assert remote.read_bytes(f"{folder}/out/part.csv") == b"c,d\n"
    assert remote.list_names(f"{folder}/none") == [] == remote.list_names(f"{tmp_path}/none")


def test_where_a_file_is_not_replaced_at_once_it_is_renamed(memory, monkeypatch):
    monkeypatch.setattr(remote, "OBJECT_STORES", ("s3",))
    remote.write_whole(f"{memory}/part.csv", b"a\n")
    system = fsspec.filesystem("memory")
    monkeypatch.setattr(type(system), "mv", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(OSError, match="part.csv: division by zero"):
        remote.write_whole(f"{memory}/part.csv", b"b\n")
    assert remote.list_names(memory) == ["part.csv"]
    assert remote.read_bytes(f"{memory}/part.csv") == b"a\n"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("github://a:b@main/x.hea", "expected a path, or an address that begins with s3://"),
        ("s3://a::memory://b", "expected a path"),
        ("sftp://me:secret@127.0.0.1:1/x.hea", "me:\\*\\*\\*@"),
    ],
)
def test_an_error_is_one_line_without_a_password(url, message):
    with pytest.raises((ValueError, OSError), match=message) as caught:
        open_copy(url)
    assert "secret" not in one_line(caught.value) and "\n" not in str(caught.value)


def test_nothing_is_written_to_a_web_server():
    with pytest.raises(ValueError, match="cannot be written"):
        remote.write_whole("https://127.0.0.1/x.csv", b"")
