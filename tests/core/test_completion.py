"""Completion in shells: commands, settings, options, runs and files, without heavy libraries."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ecg_siglip import config
from ecg_siglip.__main__ import COMMANDS
from ecg_siglip.core.completion import SCRIPTS, candidates, complete_line, script, split_line

ROOT = Path(__file__).resolve().parents[2]
ENCODERS = ("ecgfounder", "hubert_ecg", "resnet1d", "transformer", "xresnet1d101")


def schema_of(name: str) -> type:
    return getattr(config, f"{name.capitalize()}Config")


def complete(line: str, shell: str = "zsh", breaks: str = "") -> list[str]:
    return complete_line(shell, line, breaks, COMMANDS, schema_of)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, with runs and files."""
    monkeypatch.chdir(tmp_path)
    for name in ("bank_s0", "bank_s1", "clip_s0"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "config.yaml").touch()
    (tmp_path / "runs" / "no_run").mkdir()
    (tmp_path / "ecgs").mkdir()
    for name in ("ecgs/a.hea", "ecgs/b c.hea", "ecgs.csv", ".hidden"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ecg-siglip ", list(COMMANDS)),
        ("ecg-siglip tr", ["train"]),
        ("ecg-siglip --ver", ["--version"]),
        ("ecg-siglip --completion z", ["zsh"]),
        ("ecg-siglip train optim.n", ["optim.n_epochs="]),
        ("ecg-siglip train optim.n_epochs=3 optim.n", []),
        ("ecg-siglip train lr", ["optim.lr="]),
        ("ecg-siglip train ecg=", [f"ecg={name}" for name in ENCODERS]),
        ("ecg-siglip train objective=si", ["objective=siglip"]),
        ("ecg-siglip train device=c", ["device=cpu", "device=cuda"]),
        ("ecg-siglip train compile=", ["compile=true", "compile=false"]),
        ("ecg-siglip train data.low", []),
        ("ecg-siglip train run.name=b", ["run.name=bank_s0", "run.name=bank_s1"]),
        ("ecg-siglip train init=d", ["init=default"]),
        ("ecg-siglip train run.root=elsewhere run.name=", []),
        ("ecg-siglip train data.root=ec", ["data.root=ecgs/", "data.root=ecgs.csv"]),
        ("ecg-siglip train --mu", ["--multirun"]),
        ("ecg-siglip train --cfg ", ["job", "hydra", "all"]),
        ("ecg-siglip train run.name=x --config-dir r", ["runs/"]),
        ("ecg-siglip predict ecgs/", ["ecgs/a.hea", "ecgs/b c.hea"]),
        ("ecg-siglip predict ecgs/b\\ c", ["ecgs/b c.hea"]),
        ("ecg-siglip predict 'ecgs/b c", ["ecgs/b c.hea"]),
        ("ecg-siglip predict records=[ecgs/a", ["records=[ecgs/a.hea"]),
        ("ecg-siglip compare b", ["baseline=", "bank_s0", "bank_s1"]),
        ("ecg-siglip compare 'runs=[bank_s0,c", ["runs=[bank_s0,clip_s0"]),
        ("python -m ecg_siglip.train ecg=t", ["ecg=transformer"]),
        ("python3 -u -m ecg_siglip.vocabulary tab", ["table="]),
        ("torchrun --nproc-per-node 2 -m ecg_siglip.train freeze=", None),
        ("python -m ecg_siglip ev", ["evaluate"]),
        ("python -m other.module tr", None),
        ("ecg-siglip trian x", []),
        ("ecg-siglip train 'unclosed \"", []),
    ],
)
def test_what_can_follow_a_line(folder, line, expected):
    found = complete(line)
    if expected is None:
        expected = [f"freeze={each}" for each in ("ecg", "none", "text")] if "freeze" in line else [
            "train"
        ]  # fmt: skip
    assert found == expected


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_completes_each_of_its_settings(command):
    from ecg_siglip.core.settings import setting_names

    found = candidates(["ecg-siglip", command], "", COMMANDS, schema_of)
    assert {f"{name}=" for name in setting_names(schema_of(command))} <= set(found)


def test_bash_gets_the_part_after_the_character_at_which_it_divides_words(folder):
    assert complete("ecg-siglip train ecg=tr", "bash", " =:") == ["transformer"]
    assert complete("ecg-siglip train ecg=tr", "bash", " ") == ["ecg=transformer"]
    assert complete("ecg-siglip predict ecgs/b", "bash", " =:") == ["ecgs/b\\ c.hea"]
    assert complete("ecg-siglip predict 'ecgs/b", "bash", " =:") == ["ecgs/b c.hea"]


def test_the_last_word_of_a_line_is_the_unfinished_one():
    assert split_line("a b") == (["a", "b"], False)
    assert split_line("a b ") == (["a", "b", ""], False)
    assert split_line("a b\\ ") == (["a", "b "], False)
    assert split_line("a 'b c") == (["a", "b c"], True)
    assert split_line("") == ([""], False)


def test_an_unknown_shell_is_an_error_that_names_the_known_ones():
    with pytest.raises(ValueError, match="expected one of bash, zsh, fish"):
        script("tcsh")


def in_bash(folder: Path, line: str, setup: str = "") -> list[str]:
    """Return what bash offers at the end of a line."""
    program = folder / "bin" / "ecg-siglip"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m ecg_siglip "$@"\n')
    program.chmod(0o755)
    python = folder / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    words = line.split(" ")
    code = f"""
        eval "$(ecg-siglip --completion bash)"
        {setup}
        COMP_LINE={shlex.quote(line)} COMP_POINT=${{#COMP_LINE}}
        COMP_WORDS=({" ".join(map(shlex.quote, words))}) COMP_CWORD={len(words) - 1}
        spec=$(complete -p {words[0]}); function=${{spec##*-F }}; "${{function%% *}}"
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    paths = os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])
    environment = {**os.environ, "PATH": paths, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-c", code],
        capture_output=True, text=True, cwd=folder, env=environment, check=True,
    )  # fmt: skip
    return done.stdout.splitlines()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_settings_options_runs_and_files(folder):
    assert in_bash(folder, "ecg-siglip tr") == ["train"]
    assert in_bash(folder, "ecg-siglip train optim.b") == ["optim.batch_size="]
    assert in_bash(folder, "ecg-siglip train ecg=tr") == ["transformer"]
    assert in_bash(folder, "ecg-siglip train run.name=b") == ["bank_s0", "bank_s1"]
    assert in_bash(folder, "ecg-siglip predict ecgs/b") == ["ecgs/b\\ c.hea"]
    python = "complete -o bashdefault -o default -F _ecg_siglip python"
    assert in_bash(folder, "python -m ecg_siglip.train freeze=n", python) == ["none"]
    assert in_bash(folder, "python other.py", python) == [""]


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_script_of_a_shell_is_printed_and_valid(shell):
    done = subprocess.run(
        [sys.executable, "-m", "ecg_siglip", "--completion", shell],
        capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    assert done.stdout == SCRIPTS[shell]
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=done.stdout, text=True, check=True)


def test_completion_imports_no_heavy_library():
    code = (
        "import sys, ecg_siglip.__main__ as entry_point;"
        "sys.argv = ['ecg-siglip', '--complete', 'bash', 'ecg-siglip train ecg=', '=:'];"
        "entry_point.main(); print({'torch', 'hydra', 'numpy', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.splitlines() == [*ENCODERS, "set()"]
