"""The console script: it lists the commands, runs the requested one and imports no other."""

import os
import signal
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from ecg_siglip import __main__ as entry_point
from ecg_siglip import __version__
from ecg_siglip.core.command_line import CONF_DIR

ROOT = Path(__file__).resolve().parents[2]


def run_main(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["ecg-siglip", *arguments])
    return entry_point.main()


def run_process(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=cwd)


def test_every_command_is_listed():
    assert set(entry_point.COMMANDS) == {path.stem for path in CONF_DIR.glob("*.yaml")}


@pytest.mark.parametrize("command", entry_point.COMMANDS)
def test_the_summary_is_the_first_line_of_the_docstring(command):
    module = import_module(entry_point.module_name(command))
    assert entry_point.command_summary(command) == module.__doc__.partition("\n")[0]
    assert entry_point.command_summary(command).endswith(".")
    assert callable(module.main)


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
def test_help_lists_each_command_with_its_summary(arguments, monkeypatch, capsys):
    assert run_main(monkeypatch, *arguments) == 0
    page = capsys.readouterr().out
    for command in entry_point.COMMANDS:
        assert f"  {command:10} {entry_point.command_summary(command)}\n" in page
    assert max(map(len, page.splitlines())) <= 110


def test_version(monkeypatch, capsys):
    assert run_main(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"ecg_siglip {__version__}\n"


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("trian", "did you mean train?"),
        ("evaluation", "did you mean evaluate?"),
        ("run.name=r1", "see ecg-siglip --help"),
    ],
)
def test_an_unknown_command_is_an_error_that_names_the_nearest(word, hint, monkeypatch, capsys):
    assert run_main(monkeypatch, word) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert repr(word) in line
    assert line.endswith(hint)


def test_help_imports_no_command_and_no_heavy_library():
    code = (
        "import sys, ecg_siglip.__main__ as entry_point; sys.argv = ['ecg-siglip'];"
        "entry_point.main();"
        "print(sorted({'torch', 'hydra', 'numpy', 'pandas'} & set(sys.modules)));"
        "print([n for n in entry_point.COMMANDS if entry_point.module_name(n) in sys.modules])"
    )
    done = run_process("-c", code, cwd=ROOT)
    assert done.stdout.splitlines()[-2:] == ["[]", "[]"]


def test_a_command_gets_its_settings_and_returns_its_exit_code(tmp_path):
    good = run_process("-m", "ecg_siglip", "simulate", "data.root=d", "n_records=12", cwd=tmp_path)
    assert good.returncode == 0, good.stderr
    assert (tmp_path / "d" / "ptbxl_database.csv").is_file()
    bad = run_process("-m", "ecg_siglip", "simulate", "data.root=d", "n_records=-1", cwd=tmp_path)
    assert bad.returncode == 1
    assert "n_records" in bad.stderr


def test_help_of_a_command_is_that_of_its_module(tmp_path):
    through_script = run_process("-m", "ecg_siglip", "compare", "--help", cwd=tmp_path)
    as_module = run_process("-m", "ecg_siglip.compare", "--help", cwd=tmp_path)
    assert through_script.stdout == as_module.stdout
    assert "python -m ecg_siglip.compare" in as_module.stdout


def test_pyproject_names_the_entry_point():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, function = project["scripts"]["ecg-siglip"].split(":")
    assert getattr(import_module(module), function) is entry_point.main


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--completion", "bash"],
        ["app", "--help"],
        ["train", "run.name=r", "--cfg", "job"],
        ["predict", "examples/simulated_ecg.csv"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_closed_pipe_ends_a_command_without_a_message(arguments):
    read_end, write_end = os.pipe()
    os.close(read_end)
    command = [sys.executable, "-m", "ecg_siglip", *arguments]
    done = subprocess.run(command, stdout=write_end, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    os.close(write_end)
    assert done.returncode == 141
    assert not [line for line in done.stderr.splitlines() if "the default one" not in line]


@pytest.mark.parametrize("module", ["ecg_siglip", "ecg_siglip.train"])
def test_an_interrupt_while_libraries_are_imported_is_one_line(module, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Interrupt:\n"
        "    def find_spec(name, *_):\n"
        "        if name == 'torch':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupt)\n"
    )
    words = ["train"] if module == "ecg_siglip" else []
    done = subprocess.run(
        [sys.executable, "-m", module, *words, "run.name=r"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
    )
    assert done.stderr == "train: interrupted\n"
    assert done.returncode in (130, -signal.SIGINT)


def test_help_of_a_command_may_be_requested_by_a_word(monkeypatch, capsys):
    assert run_main(monkeypatch, "help") == 0
    assert "Commands:" in capsys.readouterr().out
    run_main(monkeypatch, "help", "compare")
    assert "ecg_siglip.compare [RUN ...]" in capsys.readouterr().out
