"""Rows in a SQL database: whole blocks, never twice, and no password in a message."""

import os
import pwd
import shutil
import socket
import subprocess
from collections import Counter

import pytest

from ecg_siglip.archive.rows import Column, table_columns
from ecg_siglip.archive.sql_output import SqlOutput, column_names, is_database
from ecg_siglip.core.files import one_line

sqlalchemy = pytest.importorskip("sqlalchemy")
CODES = ("AFIB", "LAO/LAE")
COLUMNS = table_columns(CODES)
JOB = {"fingerprint": {"model": "m"}, "complete": False, "n_blocks": 2}


def row(name: str, probability: float = 0.5) -> dict:
    return {
        "schema_version": 1,
        "record": name,
        "status": "predicted",
        "reason": None,
        "model": "r1",
        "model_simulated": True,
        "findings": [{"code": "AFIB"}, {"code": "LAO/LAE"}],
        "probabilities": {"AFIB": probability, "LAO/LAE": None},
        "not_excluded": [],
        "not_assessable": ["LAO/LAE"],
        "warnings": ["a", "b"],
        "novelty": 0.25,
    }


def error(name: str) -> dict:
    return {"schema_version": 1, "record": name, "status": "unreadable", "reason": "no ECG"}


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    """Return the address of a PostgreSQL server on this machine."""
    pytest.importorskip("psycopg")
    if not (shutil.which("initdb") and shutil.which("postgres")):
        pytest.skip("no PostgreSQL server")
    folder = tmp_path_factory.mktemp("postgres")
    user = {}
    if os.geteuid() == 0:  # the server refuses to run as root
        nobody = pwd.getpwnam("nobody")
        user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        for parent in folder.parents[: len(folder.parents) - 2]:
            parent.chmod(parent.stat().st_mode | 0o011)
    (folder / "password").write_text("geheim")
    os.chmod(folder / "password", 0o644)
    data = folder / "data"
    initdb = ["initdb", "-D", data, "-U", "ecg", "-A", "scram-sha-256"]
    initdb += [f"--pwfile={folder / 'password'}", "--no-sync"]
    subprocess.run(initdb, check=True, capture_output=True, cwd="/", **user)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = ["postgres", "-D", data, "-p", str(port), "-c", "unix_socket_directories="]
    server += ["-c", "fsync=off"]
    process = subprocess.Popen(server, stderr=subprocess.PIPE, text=True, cwd="/", **user)
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if "ready to accept connections" in line:
                break
        yield f"postgresql+psycopg://ecg:geheim@127.0.0.1:{port}/postgres"
    finally:
        process.terminate()
        process.communicate()


@pytest.fixture(params=["sqlite", "postgres"])
def address(request, tmp_path):
    """Return the address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/sub/rows.db"
    address = request.getfixturevalue("postgres")
    output = SqlOutput(address, COLUMNS)
    output.clear()
    return address


def stored(address: str) -> list[tuple]:
    query = (
        "SELECT block, number, record, probability_afib, findings FROM predictions ORDER BY 1, 2"
    )
    with sqlalchemy.create_engine(address).connect() as connection:
        return [tuple(each) for each in connection.execute(sqlalchemy.text(query))]


def test_a_job_is_stored_block_by_block(address):
    output = SqlOutput(address, COLUMNS)
    with output.hold(0.0):
        assert output.read_job() is None
        output.write_job(JOB)
        assert output.read_job() == JOB and output.finished() == set()
        output.write(1, [row("c"), error("d\udcff\0")])
        output.write(0, [row("a", 0.25), row("b")])
        assert output.finished() == {0, 1}
        assert output.counts() == Counter(predicted=3, unreadable=1)
        output.finish(2)
        output.write_job(JOB | {"complete": True})
    assert SqlOutput(address, COLUMNS).read_job() == JOB | {"complete": True}
    assert stored(address) == [
        (0, 0, "a", 0.25, "AFIB; LAO/LAE"),
        (0, 1, "b", 0.5, "AFIB; LAO/LAE"),
        (1, 0, "c", 0.5, "AFIB; LAO/LAE"),
        (1, 1, "d\\udcff\\x00", None, ""),
    ]


def test_a_block_that_is_written_again_replaces_itself(address):
    output = SqlOutput(address, COLUMNS)
    output.write_job(JOB)
    output.write(0, [row("a"), row("b")])
    output.write(0, [row("a")])
    assert [each[2] for each in stored(address)] == ["a"]
    assert output.counts() == Counter(predicted=1)
    with pytest.raises(ValueError, match="block 1 was removed"):
        output.finish(2)


def test_an_interrupted_block_is_not_stored(address, monkeypatch):
    output = SqlOutput(address, COLUMNS)
    output.write_job(JOB)
    with monkeypatch.context() as patch:
        patch.setattr(SqlOutput, "_replace", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            output.write(0, [row("a")])
    assert stored(address) == [] and output.finished() == set()


def test_another_process_is_refused(address):
    first, second = SqlOutput(address, COLUMNS), SqlOutput(address, COLUMNS)
    refused = pytest.raises(ValueError, match="in use by .*process")
    if first.file is None:
        with first.hold(0.0), refused, second.hold(0.0):
            pass
    with second.hold(0.0):
        pass


def test_a_table_of_someone_else_is_not_touched(address):
    output = SqlOutput(address, COLUMNS)
    if output.file:
        output.file.parent.mkdir()
    with sqlalchemy.create_engine(address).begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE predictions (x int)"))
    with pytest.raises(ValueError, match="has a table predictions that predict did not make"):
        output.read_job()


def test_clear_begins_again(address):
    output = SqlOutput(address, COLUMNS)
    output.write_job(JOB)
    output.write(0, [row("a")])
    output.clear()
    assert output.read_job() is None


def test_a_password_is_not_printed(postgres, monkeypatch):
    monkeypatch.setenv("ECG_OUT", postgres.replace("geheim", "falsch"))
    output = SqlOutput("env:ECG_OUT", COLUMNS)
    with pytest.raises(OSError, match="password authentication failed") as caught:
        output.read_job()
    assert "falsch" not in f"{caught.value}{output.name}" and "\n" not in one_line(caught.value)
    monkeypatch.delenv("ECG_OUT")
    with pytest.raises(ValueError, match="no variable ECG_OUT"):
        SqlOutput("env:ECG_OUT", COLUMNS)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("sqlite://", "in memory is lost"),
        ("mysql+nodriver://u:secret@h/d", "nodriver"),
        ("sqlite:/a://", "expected the address of a database"),
    ],
)
def test_a_wrong_address_is_one_line(address, message):
    with pytest.raises(ValueError, match=message) as caught:
        SqlOutput(address, COLUMNS)
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)


def test_names_of_columns_need_no_quotes_and_are_different():
    names = column_names(
        [Column(name, "float", "") for name in ("a/b", "a b", "block", "é", "x" * 99)]
    )
    assert names == ["a_b", "a_b_2", "block_2", "column", "x" * 60]
    assert column_names(COLUMNS).count("probability_lao_lae") == 1


def test_what_is_a_database():
    assert is_database("postgresql+psycopg://u@h/d") and is_database("env:NAME")
    assert not any(map(is_database, ("s3://b/out", "file:///out", "out.parquet", "C:\\out")))
