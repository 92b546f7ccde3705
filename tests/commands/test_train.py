"""Killed and resumed equals uninterrupted; two processes equal one; mistakes are named."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from helpers import TINY
from safetensors.torch import load_file

from ecg_siglip import config
from ecg_siglip.core.distributed import Distributed
from ecg_siglip.core.run_folder import from_yaml
from ecg_siglip.datasets.loading import load_training_data
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.models.ecg_encoders import BatchNorm
from ecg_siglip.train import train
from ecg_siglip.training.data import TrainingData
from ecg_siglip.training.initialization import new_model
from ecg_siglip.training.state import clone_tensors
from ecg_siglip.training.targets import bias_from_rate, parse_terms
from ecg_siglip.training.trainer import (
    Trainer,
    batch_loss,
    learning_rate,
    weights,
    weights_of,
)

CPU = torch.device("cpu")
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def command(settings, **more):
    knobs = TINY | {"run.root": settings.run.root, "data.root": settings.data.root} | more
    words = [f"{k}={str(v).replace(' ', '')}" for k, v in knobs.items()]
    return [sys.executable, "-m", "ecg_siglip.train", *words, "data.n_workers=1"]


@pytest.mark.slow
def test_killed_in_mid_epoch_and_said_again_ends_with_bitwise_the_same_weights(train_config):
    settings = train_config()
    knobs = {
        "optim.batch_size": 8,
        "optim.n_epochs": 3,
        "save_every_s": 0,
        "augment.gain": 0.2,
        "augment.shift_s": 0.5,
        "augment.mixup": 0.4,
        "ecg.dropout": 0.3,
        "ecg.drop_path": 0.2,
    }
    runs = {}
    for name in ("whole", "killed"):
        again = command(settings, **knobs, **{"run.name": name})
        run = Path(settings.run.root) / name
        if name == "killed":
            process = subprocess.Popen(again, env=ONE_THREAD, stdout=subprocess.DEVNULL)
            while not (run / "log.jsonl").exists() or not (run / "log.jsonl").read_text():
                assert process.poll() is None
                time.sleep(0.005)
            # The first epoch is done; let the second begin, and stop it where it is.
            first = (run / "state.pt").stat().st_mtime_ns
            while (run / "state.pt").stat().st_mtime_ns == first:
                assert process.poll() is None
                time.sleep(0.001)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            assert not (run / "model").exists()
        subprocess.run(again, env=ONE_THREAD, check=True, stdout=subprocess.DEVNULL)
        runs[name] = load_file(run / "model" / "model.safetensors")
        lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        assert [line["epoch"] for line in lines] == [1, 2, 3]
        runs[f"{name}/loss"] = {"loss": torch.tensor([line["loss"] for line in lines])}
    for kind in ("", "/loss"):
        whole, killed = runs[f"whole{kind}"], runs[f"killed{kind}"]
        assert [k for k in whole if not torch.equal(whole[k], killed[k])] == []


TERMS = (
    "bank",
    "finding/present",
    "findings/diagonal",
    "findings/shared",
    "report/idf_jaccard",
    "bank:1+report/jaccard:0.5",
)


LOADED: dict[str, object] = {}  # by task, once a process


def in_double(data):
    """Let the data come in double precision."""
    data.labels, data.weights = data.labels.double(), data.weights.double()
    signals, texts = data.signals, data.texts
    data.signals = lambda rows, epoch: signals(rows, epoch).double()
    data.texts = lambda *words: (*texts(*words)[:2], texts(*words)[2].double())


def loss_and_gradients(settings, terms, loss, task, mixup, across, ranks):
    """One batch through a fresh model in double precision; gradients summed over the ranks."""
    settings.data.task = task
    settings.objective.terms, settings.objective.loss = terms, loss
    settings.augment.mixup, settings.objective.across = mixup, across
    torch.manual_seed(0)
    if task not in LOADED:
        LOADED[task] = load_training_data(settings, progress=False)
    data = TrainingData(LOADED[task], settings, CPU)
    model = new_model(settings, data, parse_terms(terms)).double().train()
    in_double(data)
    # Records with findings come first: with few of them the second process has no text at all.
    batch = data.batches(0)[0]
    batch = batch[np.argsort(-data.labels[torch.from_numpy(batch)].sum(1).numpy(), kind="stable")]
    value = batch_loss(model, data, parse_terms(terms), batch, 0, ranks)
    value.backward()
    total = ranks.add_up(model, value.detach())
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    statistics = {n: b.clone() for n, b in model.named_buffers() if b.is_floating_point()}
    return total, gradients, statistics


def cases(n_ranks=3):
    """With 3 processes every case; with 2 those that gather, with 4 those that go in a ring."""
    every = [(terms, "sigmoid", "all", 0.0) for terms in TERMS]
    every += [("findings/jaccard", "sigmoid", "all", 0.4), ("bank", "sigmoid", "all", 0.4)]
    every += [("finding/present", "sigmoid", "form", 0.0)]
    softmax = [("findings/diagonal", "softmax", "all", mixup) for mixup in (0.0, 0.4)]
    ways = [(case, across) for case in every for across in ("gather", "ring")]
    ways += [(case, "gather") for case in softmax]
    chosen = {2: slice(0, None, 2), 3: slice(None), 4: slice(1, None, 2)}[n_ranks]
    return [(*case, across) for case, across in ways][chosen]


def one_of_several(rank, folder, settings):
    """As one of 2, then of 3, then of 4 processes."""
    for n_ranks in (2, 3, 4):
        if rank < n_ranks:
            meet = f"file://{folder}/meet{n_ranks}"
            dist.init_process_group("gloo", init_method=meet, rank=rank, world_size=n_ranks)
            results = [
                loss_and_gradients(settings, *case, Distributed(rank, n_ranks))
                for case in cases(n_ranks)
            ]
            torch.save(results, f"{folder}/{n_ranks}_{rank}.pt")
            dist.barrier()
            dist.destroy_process_group()


@pytest.mark.slow
def test_several_processes_give_the_loss_and_gradients_of_one(train_config, tmp_path):
    # 31 records divide by none of 2, 3, 4. No dropout: its draws differ by rank.
    settings = train_config(**{"optim.batch_size": 31, "ecg.dropout": 0.0, "augment.gain": 0.2})
    torch.multiprocessing.spawn(one_of_several, args=(tmp_path, settings), nprocs=4)
    alone = {case: loss_and_gradients(settings, *case, Distributed()) for case in cases()}
    for n_ranks, rank in ((n, rank) for n in (2, 3, 4) for rank in range(n)):
        shares = torch.load(tmp_path / f"{n_ranks}_{rank}.pt", weights_only=True)
        for case, (total, *by_name) in zip(cases(n_ranks), shares, strict=True):
            wanted, *wanted_by_name = alone[case]
            torch.testing.assert_close(total, wanted, rtol=1e-6, atol=0, msg=str(case))
            for found, expected in zip(by_name, wanted_by_name, strict=True):
                for name, mine in found.items():
                    # What a loss does not touch has no gradient alone, and a sum of zeros together.
                    one = expected.get(name, torch.zeros_like(mine))
                    torch.testing.assert_close(mine, one, rtol=1e-6, atol=1e-9)


def weights_after_an_epoch(settings, ranks):
    """All parameters, one after the other, after an epoch of training in double precision."""
    data = TrainingData(load_training_data(settings, progress=False), settings, CPU)
    training = Trainer(settings, data, ranks)
    training.model.double()
    training.current = weights(training.model)
    training.averaged = clone_tensors(training.current)
    in_double(data)
    batches = data.batches(0)
    for batch in batches:
        training.run_step(batch, len(batches))
    return torch.cat([p.detach().ravel() for p in training.model.parameters()])


def one_of_two(rank, folder, settings):
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.save(weights_after_an_epoch(settings, Distributed(rank, 2)), f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.slow
def test_an_epoch_of_two_processes_ends_where_one_of_one_does(train_config, tmp_path):
    # In float32 a step of AdamW magnifies the rounding of gradients near zero; here is none.
    settings = train_config(
        **{"objective.terms": "bank:1+report/jaccard:0.5", "ecg.dropout": 0.0},
        **{"optim.batch_size": 31, "objective.across": "ring"},
    )
    torch.multiprocessing.spawn(one_of_two, args=(tmp_path, settings), nprocs=2)
    alone = weights_after_an_epoch(settings, Distributed())
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(found, alone, rtol=1e-7, atol=1e-9)


def test_a_second_word_trains_like_the_first_and_leaves_what_the_design_names(trained):
    names = {path.name for path in trained.iterdir()}
    assert names == {"config.yaml", "log.jsonl", "state.pt", "model", "tensorboard"}
    model = {path.name for path in (trained / "model").iterdir()}
    files = {"model.safetensors", "neighbours.safetensors", "config.json", "README.md", "text"}
    assert model == files
    about = json.loads((trained / "model" / "config.json").read_text())["about"]
    assert about["train_folds"] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert about["tune_fold"] == 9
    assert "not for diagnosis" in (trained / "model" / "README.md").read_text()


def test_training_lowers_the_loss(trained):
    lines = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert all(np.isfinite(line["loss"]) for line in lines)


def test_a_run_said_again_with_another_knob_is_refused_naming_it(trained, capsys):
    settings = from_yaml(config.TrainConfig, trained / "config.yaml")
    settings.optim.lr, settings.n_threads = 0.5, 1
    with pytest.raises(ValueError, match=r"optim\.lr \(was 0\.002, now 0\.5\); take another"):
        train(settings)
    settings.optim.lr = 0.002
    train(settings)
    assert "is complete" in capsys.readouterr().out


def test_a_state_of_another_vocabulary_is_refused(trained, train_config):
    settings = train_config(**{"data.task": "superdiagnostic"})
    data = TrainingData(load_training_data(settings, progress=False), settings, CPU)
    training = Trainer(settings, data, Distributed())
    state = torch.load(trained / "state.pt", weights_only=True)
    with pytest.raises(ValueError, match=r"state\.pt: another vocabulary: 71 findings"):
        training.resume(state, trained / "state.pt")


def test_a_loss_that_is_no_number_stops_naming_step_and_records(train_config):
    settings = train_config()
    data = TrainingData(load_training_data(settings, progress=False), settings, CPU)
    training = Trainer(settings, data, Distributed())
    batches = data.batches(0)
    training.run_step(batches[0], len(batches))
    with torch.no_grad():
        training.model.project_ecg.bias.fill_(float("nan"))
    training.run_step(batches[1], len(batches))
    first = data.ecg_id[batches[1]][0]
    with pytest.raises(ValueError, match=rf"nan at epoch 1, step 2; ecg_id .*: {first},"):
        training.check_losses(batches)


def test_the_bias_starts_at_the_measured_rate(train_config):
    settings = train_config()
    data = TrainingData(load_training_data(settings, progress=False), settings, CPU)
    terms = parse_terms("bank")
    model = new_model(settings, data, terms)
    assert model.logit_bias.item() == pytest.approx(bias_from_rate(data.positive_rate(terms[0])))


def test_the_rate_warms_up_and_ends_at_zero():
    settings = config.OptimConfig(lr=1.0, warmup=0.1, final_lr=0.0)
    rates = [learning_rate(settings, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == 1.0
    assert rates[-1] < 1e-3
    assert all(a >= b for a, b in itertools.pairwise(rates[9:]))


def test_the_rate_can_end_above_zero():
    settings = config.OptimConfig(lr=2.0, warmup=0.1, final_lr=0.5)
    rates = [learning_rate(settings, step, 1000) for step in range(1000)]
    assert max(rates) == 2.0
    assert rates[-1] == pytest.approx(1.0, abs=1e-3)


def test_borrowed_weights_are_given_back(train_config):
    settings = train_config()
    data = TrainingData(load_training_data(settings, progress=False), settings, CPU)
    training = Trainer(settings, data, Distributed())
    before = training.model.logit_bias.item()
    other = {k: torch.full_like(w, 0.25) for k, w in training.averaged.items()}
    with weights_of(training.model, other):
        assert training.model.logit_bias.item() == 0.25
    assert training.model.logit_bias.item() == before


def test_tuning_on_a_training_fold_is_refused(train_config):
    with pytest.raises(ValueError, match=r"tune_fold=8: expected a fold that is not trained on"):
        train(train_config(**{"data.tune_fold": 8}))


def test_a_run_folder_that_cannot_be_made_is_one_line(train_config, tmp_path):
    (tmp_path / "file").write_text("in the way")
    result = subprocess.run(
        command(train_config(), **{"run.name": "r", "run.root": tmp_path / "file"}),
        env=ONE_THREAD,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("train: ")
    assert str(tmp_path / "file") in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("locked", [False, True])
def test_a_hugging_face_text_encoder_is_tuned_or_left_as_it_was(train_config, tiny_bert, locked):
    from transformers import AutoModel

    knobs = {"text.name": str(tiny_bert), "text.locked": locked, "optim.n_epochs": 1}
    settings = train_config(**knobs)
    train(settings)
    before = AutoModel.from_pretrained(tiny_bert, add_pooling_layer=False).state_dict()
    folder = Path(settings.run.root) / "r" / "model"
    predictor = Predictor.load(folder, "cpu")
    after = predictor.artifact.model.text.model.state_dict()
    same = [torch.equal(after[name], weight) for name, weight in before.items()]
    assert all(same) if locked else not all(same)
    assert predictor.text_FD.shape == (71, 16)


def test_a_locked_text_encoder_has_no_dropout_in_training(train_config, tiny_bert):
    settings = train_config(**{"text.name": str(tiny_bert), "text.locked": True})
    data = TrainingData(load_training_data(settings, progress=False), settings, CPU)
    model = new_model(settings, data, parse_terms("bank")).train()
    assert model.ecg.training
    assert not model.text.training
    # And a tuned one has it from the first step on.
    settings.text.locked = False
    assert Trainer(settings, data, Distributed()).model.text.model.training


def test_without_text_the_loss_is_the_cross_entropy_of_a_linear_head(train_config):
    settings = train_config(**{"text.name": "none", "ecg.dropout": 0.0})
    data = TrainingData(load_training_data(settings, progress=False), settings, CPU)
    model = new_model(settings, data, parse_terms("bank")).eval()
    batch = data.train_rows[:16]
    got = batch_loss(model, data, parse_terms("bank"), batch, 0, Distributed())
    features, head = model.ecg(data.signals(batch, 0)), model.text
    logits = features @ head.weight.T + head.bias
    truth = data.labels[torch.from_numpy(batch)]
    wanted = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth, reduction="sum")
    torch.testing.assert_close(got, wanted / len(batch))
    # A finding starts at its prevalence, and one that training never sees has one, too.
    n_train = len(data.train_rows)
    n_positive = data.labels[torch.from_numpy(data.train_rows)].sum(0)
    torch.testing.assert_close(torch.sigmoid(head.bias), (n_positive + 0.5) / (n_train + 1))
    # Neither scale nor bias of the pairs learns.
    assert not model.log_scale.requires_grad
    assert not model.logit_bias.requires_grad


def test_without_text_only_the_findings_can_be_asked(train_config):
    with pytest.raises(ValueError, match=r"text=none with objective.terms=report/diagonal"):
        train(train_config(**{"text.name": "none", "objective.terms": "report/diagonal"}))


def test_a_locked_ecg_encoder_keeps_its_weights(train_config):
    settings = train_config(**{"ecg.locked": True, "text.name": "none"})
    data = TrainingData(load_training_data(settings, progress=False), settings, CPU)
    training = Trainer(settings, data, Distributed())
    before = clone_tensors(dict(training.model.named_parameters()))
    training.run_step(data.train_rows[:32], 10)
    moved = {k for k, w in training.model.named_parameters() if not torch.equal(w, before[k])}
    assert moved == {"text.weight", "text.bias"}
    # The blocks of a frozen encoder take part: none of their norms multiplies by 0.
    norms = [m.weight for m in training.model.ecg.modules() if isinstance(m, BatchNorm)]
    assert all((weight == 1).all() for weight in norms)


@pytest.mark.parametrize(
    "knobs",
    [
        {"ecg.name": "transformer", "ecg.width": 16, "ecg.n_heads": 2, "ecg.stem_stride": 20},
        {"objective.terms": "report/idf_jaccard", "objective.n_chunk": 5},
        {"objective.terms": "findings/diagonal", "objective.loss": "softmax"},
        {"data.task": "superdiagnostic", "text.language": "ja"},
        {"ecg.name": "xresnet1d", "text.name": "none"},
    ],
    ids=["transformer", "reports in chunks", "CLIP", "five classes in Japanese", "no text"],
)
def test_every_kind_of_run_ends_with_a_model_that_answers(train_config, knobs):
    settings = train_config(**knobs, **{"optim.n_epochs": 1})
    train(settings)
    predictor = Predictor.load(Path(settings.run.root) / "r" / "model", "cpu")
    y_prob = predictor.probabilities(np.zeros((2, 12, 1000), np.int16))
    assert y_prob.shape == (2, len(predictor.artifact.codes))
    assert np.isfinite(y_prob).all()
