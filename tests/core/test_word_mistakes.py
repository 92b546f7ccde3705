"""Mistakes of typing: each is one line on stderr with the right hint, exit code 1, no traceback."""

import shlex
import sys

import pytest

from ecg_siglip import __main__ as entry_point
from ecg_siglip import config
from ecg_siglip.core.command_line import run_command

SCHEMAS = {
    "check": config.CheckConfig,
    "compare": config.CompareConfig,
    "evaluate": config.EvaluateConfig,
    "predict": config.PredictConfig,
    "simulate": config.SimulateConfig,
    "train": config.TrainConfig,
    "vocabulary": config.VocabularyConfig,
}
# What was typed, and what the line contains.
MISTAKES = [
    # names of settings
    ("train run.name=r batch_size=4", "did you mean optim.batch_size?"),
    ("train run.name=r n_epochs=2", "did you mean optim.n_epochs?"),
    ("train run.name=r epochs=2", "did you mean optim.n_epochs?"),
    ("train run.name=r num_epochs=2", "did you mean optim.n_epochs?"),
    ("train run.name=r batchSize=2", "did you mean optim.batch_size?"),
    ("train run.name=r lr=1e-3", "did you mean optim.lr?"),
    ("train run.name=r optimizer.lr=1e-3", "did you mean optim.lr?"),
    ("train run.name=r learning_rate=1e-3", "did you mean optim.lr, "),
    ("train run.name=r optim.leraning_rate=1", "such as optim.n_epochs=..., "),
    ("train run.name=r gpu=0", "did you mean precision or device?"),
    ("train run.name=r data_root=x", "did you mean data.root?"),
    ("train run.name=r data-root=x", "did you mean data.root?"),
    ("train run.name=r workers=4", "did you mean data.n_workers?"),
    ("train name=r", "did you mean run.name, "),
    ("train run.nam=r", "did you mean run.name?"),
    ("train run=r", "a group of settings; expected run.name=..., run.root=..."),
    ("train run.name=r +foo=1", "foo: expected a setting of train; see --help"),
    ("train run.name=r ~optim.lr", "a setting cannot be left out"),
    ("train run.name=r fold=10", "fold: a setting of compare and evaluate, not of train"),
    ("predict seed=1", "seed: a setting of adapt, simulate and train, not of predict"),
    ("predict ecg=resnet1d", "ecg: a setting of adapt and train, not of predict"),
    ("predict recrods=[a]", "did you mean records?"),
    ("predict n_reasons=3", "n_reasons: renamed to n_attributions"),
    ("train tune=ecg_only", "tune=ecg_only: renamed to freeze=text"),
    ("evaluate folds=10", "did you mean fold?"),
    # options of groups
    ("train run.name=r objective=siglipp", "expected one of bank, bank_concept, "),
    ("train run.name=r ecg=resnet", "did you mean resnet1d or xresnet1d101?"),
    ("train run.name=r text=bert", "did you mean clinical_bert?"),
    ("train run.name=r ecg=minilm", "did you mean text=minilm or experiment=minilm?"),
    ("train run.name=r experiment=bset", "expected one of 34 in --help; did you mean best?"),
    ("train run.name=r experiment=best.yaml", "did you mean experiment=best?"),
    ("train run.name=r experiment=path/to.yaml", "--config-dir FOLDER experiment=to"),
    ("train run.name=r data=/data/ptbxl", "did you mean data.root=/data/ptbxl?"),
    ("train run.name=r data=ecgs.csv", "did you mean data.table=ecgs.csv?"),
    ("train run.name=r ecg=", "ecg=: expected one of ecgfounder, hubert_ecg, resnet1d, "),
    ("train run.name=r ecg=resnet1d,transformer", "expected one option; several runs need -m"),
    ("train -m run.name=r ecg=resnet1d,transfomer", "did you mean transformer?"),
    ("train fast run.name=r", "did you mean experiment=fast?"),
    # values
    ("train run.name=r optim.n_epochs=two", "optim.n_epochs=two: expected a whole number"),
    ("train run.name=r optim.n_epochs=1.5", "expected a whole number"),
    ("train run.name=r optim.lr=1e-3x", "optim.lr=1e-3x: expected a number"),
    ("train run.name=r optim.lr=0,001", "a decimal needs a point: optim.lr=0.001"),
    ("train run.name=r optim.lr=1e-3,1e-4", "expected one value; several runs need -m"),
    ("train run.name=r optim.lr=", "optim.lr=: expected a value"),
    ("train run.name=", "run.name=: expected a value"),
    ("train run.name=a,b", "several runs need -m, a comma within a value needs quotes"),
    ("train run.name=r compile=ja", "compile=ja: expected true or false"),
    ("train run.name=r device=gpu", "expected one of auto, cpu, cuda, mps; did you mean cuda?"),
    ("train run.name=r device=cuda:9", "CUDA_VISIBLE_DEVICES=9 for this GPU?"),
    ("train run.name=r data.reports=validatd", "did you mean validated?"),
    ("train run.name=r data.root=None", "expected data.root=null for none"),
    ("train run.name=r data.root=[a,b]", "expected one value, without brackets"),
    ("train run.name=r data.train_folds=1-8", "expected a list of whole numbers: [1,2]"),
    ("train run.name=r optim.lr=5", "optim.lr=5.0: expected at most 1.0"),
    ("predict records=", "for none: 'records=[]'"),
    ("train", "run.name is missing; expected run.name=..."),
    # the shell and spaces
    ("train run.name = r", "expected no spaces around =: run.name=r"),
    ("train run.name =r", "expected no spaces around =: run.name=r"),
    ("train run.name= r", "expected no space after =: run.name=r"),
    ("train run.name r", "run.name: expected run.name=r"),
    ("train run.name=r n_epochs 5", "n_epochs: expected optim.n_epochs=5"),
    ("train run.name=r data.root=my data", "needs quotes for the shell: 'data.root=my data'"),
    ("train run.name=r data.train_folds=[1, 2]", "for the shell: 'data.train_folds=[1, 2]'"),
    ("predict records=[a b.hea,c.hea]", "for the shell: 'records=[a b.hea,c.hea]'"),
    ("predict questions=Is there AF?", "for the shell: 'questions=Is there AF?'"),
    ("predict report=Doe, John.pdf a.hea", "for the shell: 'report=Doe, John.pdf a.hea'"),
    ("predict run.name = demo a.hea", "expected no spaces around =: run.name=demo"),
    ("predict run.name= demo", "expected no space after =: run.name=demo"),
    ("predict batch_size 4", "batch_size: expected batch_size=4"),
    # flags
    ("train --run.name demo", "settings have no dashes; did you mean run.name=demo?"),
    ("train --batch-size 4 run.name=r", "did you mean optim.batch_size=4?"),
    ("train --device=cuda run.name=r", "did you mean device=cuda?"),
    ("train run.name=r --verbose", "--verbose: no flag of train"),
    ("train run.name=r -n 5", "-n: no flag of train"),
    ("train run.name=r --cfg foo", "--cfg foo: expected one of job, hydra, all"),
    ("train run.name=r --cfg", "--cfg: expected a value after it"),
    ("predict -x.csv", "files with a dash are named after --"),
    # repetition, files and runs
    ("predict questions=a questions=b", "questions=a questions=b; expected one list"),
    ("train run.name=r ecg=resnet1d ecg=transformer", "ecg is given several times"),
    ("predict records=a records=b", "expected one list: 'records=[a,b]'"),
    ("predict demo a.hea", "demo: no such file; did you mean run.name=demo?"),
    ("evaluate demo", "did you mean run.name=demo or data=demo?"),
    ("check a.csv b.csv", "a.csv, b.csv: expected one file (data.table)"),
    ("simulate somewhere", "somewhere: expected SETTING=VALUE; see --help"),
]


@pytest.mark.parametrize(("typed", "hint"), MISTAKES, ids=[typed for typed, _ in MISTAKES])
def test_a_mistake_is_one_line_with_the_right_hint(typed, hint, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "demo" / "model").mkdir(parents=True)
    (tmp_path / "my data").mkdir()
    command, *words = shlex.split(typed)
    monkeypatch.setattr(sys, "argv", [command, *words])
    with pytest.raises(SystemExit) as stop:
        run_command(command, SCHEMAS[command], pytest.fail)
    captured = capsys.readouterr()
    assert stop.value.code == 1
    assert captured.out == ""
    assert captured.err.startswith(f"{command}: ")
    assert captured.err.count("\n") == 1 and captured.err.endswith("\n")
    assert hint in captured.err
    assert len(captured.err) < 250


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("trian", "did you mean train?"),
        ("Predict", "did you mean predict?"),
        ("serve", "did you mean app?"),
        ("download", "did you mean ptbxl?"),
        ("finetune", "see ecg-siglip --help"),
        ("run.name=r", "see ecg-siglip --help"),
        ("--train", "did you mean train?"),
        ("pyproject.toml", "did you mean predict pyproject.toml?"),
    ],
)
def test_an_unknown_command_is_one_line(word, hint, monkeypatch, capsys):
    monkeypatch.chdir(entry_point.Path(__file__).parents[2])
    monkeypatch.setattr(sys, "argv", ["ecg-siglip", word])
    assert entry_point.main() == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert captured.err.endswith(f"{hint}\n")


def test_forty_mistakes():
    assert len(MISTAKES) >= 40


def test_a_missing_file_is_named_with_similar_ones(monkeypatch, capsys, tmp_path):
    (tmp_path / "ecgs.csv").touch()

    def read(_):
        (tmp_path / "ecg.csv").read_text()

    monkeypatch.setattr(sys, "argv", ["check", "ecg.csv"])
    with pytest.raises(SystemExit):
        run_command("check", config.CheckConfig, read)
    error = capsys.readouterr().err
    assert error.endswith(f"did you mean {tmp_path / 'ecgs.csv'}?\n") and error.count("\n") == 1
