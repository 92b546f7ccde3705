"""`vocabulary` writes a starter that loads at once, and overwrites nothing."""

import subprocess
import sys

import pytest

from ecg_siglip.vocabulary import __main__ as command
from ecg_siglip.vocabulary import load_vocabulary, ptbxl
from ecg_siglip.vocabulary.code_mapping import read_mapping


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["vocabulary", *map(str, arguments)])
    command.main()


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ecgs.csv").write_text("path,findings\na,心房細動;X1\nb,X1\n", encoding="utf-8")
    (tmp_path / "codes.csv").write_text("code,name\nX1,左脚ブロック: 完全\n", encoding="utf-8")
    return "table=ecgs.csv"


def test_it_writes_what_loads(table, tmp_path, monkeypatch, capsys):
    run(monkeypatch, table, "names=codes.csv", "language=ja", "mapping=map.csv")
    words = load_vocabulary(tmp_path / "findings.yaml")
    assert words.names(words.codes) == ["左脚ブロック: 完全", "心房細動"]
    assert words.language == "ja"
    assert [m.code for m in read_mapping(tmp_path / "map.csv", ptbxl().codes)] == [*words.codes]
    output = capsys.readouterr().out
    assert "wrote findings.yaml: 2 findings, 1 with a name, 2 present in at least one ECG" in output
    assert "data.codes=map.csv" in output


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["out=null"], "nothing to write: expected out=findings.yaml or mapping=codes.csv"),
        (["out=there.yaml"], "out=there.yaml exists; expected a new file, nothing was written"),
        (["mapping=codes.csv"], "mapping=codes.csv exists"),
        (["out=findings.csv"], "out=findings.csv: expected a file that ends in .yaml"),
        (["mapping=map.txt"], "mapping=map.txt: expected a file that ends in .csv"),
        (["out=no/such/f.yaml"], "out=no/such/f.yaml: there is no folder no/such"),
        (["language=Japanese"], "language=Japanese: expected one such as en, de or ja"),
        (["names=absent.csv"], "names=absent.csv: there is no such file"),
        (["table=absent.csv"], "absent.csv does not exist"),
    ],
)
def test_an_error_is_one_line_and_nothing_is_written(
    table, settings, message, tmp_path, monkeypatch, capsys
):
    (tmp_path / "there.yaml").write_text("mine")
    before = sorted(tmp_path.iterdir())
    given = [table] if not settings[0].startswith("table") else []
    with pytest.raises(SystemExit):
        run(monkeypatch, *given, *settings)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("vocabulary: ")
    assert message in line
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "there.yaml").read_text() == "mine"


STARTS = [["-m", "ecg_siglip.vocabulary"], ["-m", "ecg_siglip", "vocabulary"]]


@pytest.mark.parametrize("start", STARTS)
def test_it_runs_as_a_module_and_through_the_entry_point(start, table, tmp_path):
    done = subprocess.run(
        [sys.executable, *start, table], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "findings.yaml").is_file()
