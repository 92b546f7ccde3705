"""Several processes train like one; steps, saved states and scores do what they should."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from helpers import without_float64

from ecg_siglip import config
from ecg_siglip.core.distributed import Distributed
from ecg_siglip.datasets.loading import load_training_data
from ecg_siglip.metrics.summary import epoch_scores
from ecg_siglip.models.ecg_encoders import BatchNorm
from ecg_siglip.training import losses, signals
from ecg_siglip.training.data import TrainingData
from ecg_siglip.training.initialization import new_model
from ecg_siglip.training.state import clone_tensors, load_state, weights, weights_of
from ecg_siglip.training.targets import bias_from_rate
from ecg_siglip.training.text_cache import TextCache
from ecg_siglip.training.trainer import Trainer, batch_loss, learning_rate

CPU = torch.device("cpu")
TERMS = (
    "bank",
    "finding/present",
    "findings/diagonal",
    "findings/shared",
    "report/idf_jaccard",
    "bank:1+report/jaccard:0.5",
)
LOADED: dict[str, object] = {}  # data by task, loaded once per process


def in_double_precision(data):
    """Make the data return tensors in double precision."""
    data.labels, data.weights = data.labels.double(), data.weights.double()
    signals, texts = data.reader.signals, data.texts
    data.reader.signals = lambda rows, epoch: signals(rows, epoch).double()
    data.texts = lambda *args: (*texts(*args)[:2], texts(*args)[2].double())


def loss_and_gradients(settings, terms, loss, task, mixup, across, distributed):
    """Return loss, gradients and statistics of one batch, summed over the processes."""
    settings.data.task = task
    settings.objective.terms, settings.objective.loss = terms, loss
    settings.augment.mixup, settings.objective.across = mixup, across
    torch.manual_seed(0)
    if task not in LOADED:
        LOADED[task] = load_training_data(settings, progress=False)
    data = TrainingData(LOADED[task], settings, CPU, distributed=distributed)
    model = new_model(settings, data, data.terms).double().train()
    in_double_precision(data)
    # Records with many findings come first: the second process may have no text at all.
    rows = data.batches(0)[0]
    rows = rows[np.argsort(-data.labels[torch.from_numpy(rows)].sum(1).numpy(), kind="stable")]
    value = batch_loss(model, TextCache(model), data.batch(rows, 0))
    value.backward()
    total = distributed.all_reduce_gradients(model, value.detach())
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    statistics = {n: b.clone() for n, b in model.named_buffers() if b.is_floating_point()}
    return total, gradients, statistics


def cases(n_processes=3):
    """All cases for 3 processes; those that gather for 2, those in a ring for 4."""
    every = [(terms, "sigmoid", "all", 0.0) for terms in TERMS]
    every += [("findings/jaccard", "sigmoid", "all", 0.4), ("bank", "sigmoid", "all", 0.4)]
    every += [("finding/present", "sigmoid", "form", 0.0)]
    softmax = [("findings/diagonal", "softmax", "all", mixup) for mixup in (0.0, 0.4)]
    ways = [(case, across) for case in every for across in ("gather", "ring")]
    ways += [(case, "gather") for case in softmax]
    chosen = {2: slice(0, None, 2), 3: slice(None), 4: slice(1, None, 2)}[n_processes]
    return [(*case, across) for case, across in ways][chosen]


def one_of_several(rank, folder, settings):
    """Run as one of 2, then of 3, then of 4 processes."""
    torch.set_num_threads(1)  # more would compete for the cores with the other processes
    for n in (2, 3, 4):
        if rank < n:
            meet = f"file://{folder}/meet{n}"
            dist.init_process_group("gloo", init_method=meet, rank=rank, world_size=n)
            results = [
                loss_and_gradients(settings, *case, Distributed(rank, n)) for case in cases(n)
            ]
            torch.save(results, f"{folder}/{n}_{rank}.pt")
            dist.barrier()
            dist.destroy_process_group()


@pytest.mark.slow
def test_several_processes_have_the_loss_and_gradients_of_one(train_config, tmp_path):
    # 31 records cannot be split evenly into 2, 3 or 4. No dropout: it differs between processes.
    settings = train_config(**{"optim.batch_size": 31, "ecg.dropout": 0.0, "augment.gain": 0.2})
    torch.multiprocessing.spawn(one_of_several, args=(tmp_path, settings), nprocs=4)
    alone = {case: loss_and_gradients(settings, *case, Distributed()) for case in cases()}
    for n, rank in [(2, 0), (2, 1), (3, 0), (3, 1), (3, 2), (4, 0), (4, 1), (4, 2), (4, 3)]:
        results = torch.load(tmp_path / f"{n}_{rank}.pt", weights_only=True)
        for case, (total, *by_name) in zip(cases(n), results, strict=True):
            expected_total, *expected_by_name = alone[case]
            torch.testing.assert_close(total, expected_total, rtol=1e-6, atol=0, msg=str(case))
            for tensors, expected in zip(by_name, expected_by_name, strict=True):
                for name, tensor in tensors.items():
                    # A parameter that the loss does not use has no gradient in one process, and
                    # a sum of zeros over several.
                    one = expected.get(name, torch.zeros_like(tensor))
                    torch.testing.assert_close(tensor, one, rtol=1e-6, atol=1e-9)


def weights_after_an_epoch(settings, distributed):
    """Return all parameters, concatenated, after an epoch of training in double precision."""
    loaded = load_training_data(settings, progress=False)
    data = TrainingData(loaded, settings, CPU, distributed=distributed)
    trainer = Trainer(settings, data)
    trainer.model.double()
    trainer.current = weights(trainer.model)
    trainer.averaged = clone_tensors(trainer.current)
    in_double_precision(data)
    batches = data.batches(0)
    for rows in batches:
        trainer.run_step(rows, len(batches))
    return torch.cat([p.detach().ravel() for p in trainer.model.parameters()])


def one_of_two(rank, folder, settings):
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.save(weights_after_an_epoch(settings, Distributed(rank, 2)), f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.slow
def test_an_epoch_of_two_processes_ends_with_the_weights_of_one(train_config, tmp_path):
    # In float32, AdamW would magnify the rounding of gradients near zero.
    settings = train_config(
        **{"objective.terms": "bank:1+report/jaccard:0.5", "ecg.dropout": 0.0},
        **{"optim.batch_size": 31, "objective.across": "ring"},
    )
    torch.multiprocessing.spawn(one_of_two, args=(tmp_path, settings), nprocs=2)
    alone = weights_after_an_epoch(settings, Distributed())
    for rank in range(2):
        together = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(together, alone, rtol=1e-7, atol=1e-9)


def test_the_loss_of_a_batch_is_the_weighted_sum_of_its_terms(make_trainer):
    terms = "bank:0.5+findings/jaccard:2+report/diagonal:0.25"
    trainer = make_trainer(**{"objective.terms": terms, "ecg.dropout": 0.0})
    model, data = trainer.model.eval(), trainer.data
    batch = data.batch(data.train_rows[:16], 0)
    ecg_BD, expected = model.encode_ecg(batch.signals), torch.zeros(())
    for each in batch.text_terms:
        logits = model.logits(ecg_BD, model.encode_text(each.texts))
        pairs = torch.nn.functional.binary_cross_entropy_with_logits(
            logits, each.targets.matrix(), reduction="sum"
        )
        expected = expected + each.term.weight * pairs / 16
    torch.testing.assert_close(batch_loss(model, trainer.texts, batch), expected)


def test_without_text_the_loss_is_the_cross_entropy_of_a_linear_head(make_trainer):
    trainer = make_trainer(**{"text.name": "none", "ecg.dropout": 0.0})
    model, data = trainer.model.eval(), trainer.data
    rows = data.train_rows[:16]
    loss = batch_loss(model, trainer.texts, data.batch(rows, 0))
    features, head = model.ecg(data.reader.signals(rows, 0)), model.text
    logits = features @ head.weight.T + head.bias
    labels = data.labels[torch.from_numpy(rows)]
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="sum")
    torch.testing.assert_close(loss, expected / len(rows))
    # A finding starts at its prevalence, also one without positives in the training folds.
    n_train = len(data.train_rows)
    n_positive = data.labels[torch.from_numpy(data.train_rows)].sum(0)
    torch.testing.assert_close(torch.sigmoid(head.bias), (n_positive + 0.5) / (n_train + 1))
    assert not model.log_scale.requires_grad
    assert not model.logit_bias.requires_grad


def test_a_non_finite_loss_stops_the_run_with_step_and_records(make_trainer):
    trainer = make_trainer()
    data, batches = trainer.data, trainer.data.batches(0)
    trainer.run_step(batches[0], len(batches))
    trainer.check_losses(batches)
    with torch.no_grad():
        trainer.model.project_ecg.bias.fill_(float("nan"))
    trainer.run_step(batches[1], len(batches))
    first = data.ecg_id[batches[1]][0]
    with pytest.raises(ValueError, match=rf"nan at epoch 1, step 2; ecg_id .*: {first},"):
        trainer.check_losses(batches)


def test_the_bias_starts_at_the_measured_rate(make_trainer):
    trainer = make_trainer()
    rate = trainer.data.positive_rate(trainer.terms[0])
    assert trainer.model.logit_bias.item() == pytest.approx(bias_from_rate(rate))


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


def test_the_logit_scale_is_bounded(make_trainer):
    trainer = make_trainer()
    with torch.no_grad():
        trainer.model.log_scale.fill_(10.0)
    trainer.run_step(trainer.data.train_rows[:16], 10)
    assert trainer.model.log_scale.exp().item() == pytest.approx(100.0)


def test_averaged_weights_move_by_a_part_of_each_step(make_trainer):
    trainer = make_trainer(**{"optim.ema": 0.999})
    before = clone_tensors(trainer.averaged)
    trainer.run_step(trainer.data.train_rows[:16], 10)
    for name, current in weights(trainer.model).items():
        # The decay grows with the number of steps: 1 / 10 after the first.
        expected = torch.lerp(before[name], current, 1 - 0.1)
        torch.testing.assert_close(trainer.averaged[name], expected)


def test_the_first_process_scores_the_averaged_weights_on_the_tuning_fold(make_trainer):
    trainer = make_trainer()
    data = trainer.data
    trainer.run_step(data.train_rows[:32], 1)
    with weights_of(trainer.model, trainer.averaged):
        y_prob = trainer.tune_probabilities(data.reader.mapped[data.tune_rows])
    expected = epoch_scores(data.y_true[data.tune_rows], y_prob)
    loss = trainer.losses[0].item()
    line = trainer.end_epoch()
    assert {name: line[name] for name in expected} == pytest.approx(expected, nan_ok=True)
    assert (line["epoch"], line["loss"]) == (1, pytest.approx(loss))
    assert (trainer.epoch, trainer.step, trainer.losses) == (1, 0, [])
    assert trainer.best["epoch"] == 1
    assert all(torch.equal(w, trainer.best["weights"][k]) for k, w in trainer.averaged.items())
    assert trainer.model.training


def test_the_best_epoch_is_replaced_by_one_that_is_as_good_and_not_by_a_worse_one(make_trainer):
    trainer = make_trainer()
    scores = trainer.tune_scores()
    trainer.epoch = 1
    trainer.tune_scores()
    assert trainer.best["epoch"] == 2
    trainer.epoch, trainer.best["macro_auprc"] = 2, scores["macro_auprc"] + 0.1
    trainer.tune_scores()
    assert trainer.best["epoch"] == 2


def test_fit_writes_state_and_log_of_every_epoch(make_trainer, tmp_path):
    trainer = make_trainer(**{"save_every_s": 1e6})
    trainer.fit(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    state = load_state(tmp_path / "state.pt")
    assert (state["epoch"], state["step"]) == (2, 0)
    assert state["log_bytes"] == (tmp_path / "log.jsonl").stat().st_size
    assert state["seconds"] == trainer.seconds == lines[-1]["seconds"] > lines[0]["seconds"] > 0


def test_the_state_is_saved_within_an_epoch(make_trainer, tmp_path, monkeypatch):
    trainer = make_trainer(**{"save_every_s": 0.0})
    steps = []
    save = Trainer.save

    def record(self, run: Path):
        steps.append((self.epoch, self.step))
        save(self, run)

    monkeypatch.setattr(Trainer, "save", record)
    trainer.fit(tmp_path)
    n_steps = len(trainer.data.batches(0))
    within = [(0, step) for step in range(1, n_steps)]
    assert steps == [*within, (1, 0), *((1, step) for _, step in within), (2, 0)]


def test_another_process_writes_nothing(make_data, tmp_path, monkeypatch):
    data = make_data(Distributed(1, 2))
    trainer = Trainer(data.settings, data)
    monkeypatch.setattr(Trainer, "run_step", lambda self, rows, n_steps: skip_step(self))
    trainer.fit(tmp_path)
    assert trainer.epoch == 2
    assert list(tmp_path.iterdir()) == []


def skip_step(trainer):
    trainer.step += 1
    trainer.losses.append(torch.zeros(()))


def test_a_state_of_other_findings_is_refused(trained, make_trainer):
    trainer = make_trainer(**{"data.task": "superdiagnostic"})
    state = load_state(trained / "state.pt")
    with pytest.raises(ValueError, match=r"state\.pt: another vocabulary: 71 findings"):
        trainer.resume(state, trained / "state.pt")


def test_a_state_of_other_data_or_of_another_model_is_refused(trained, make_trainer):
    path = trained / "state.pt"
    state = load_state(path)
    with pytest.raises(ValueError, match=r"state\.pt: begun on other data \(other\)"):
        make_trainer().resume(state | {"data": "other"}, path)
    with pytest.raises(ValueError, match=r"state\.pt: does not fit the model"):
        make_trainer(**{"ecg.width": 16}).resume(state, path)


def test_a_locked_ecg_encoder_keeps_its_weights(make_trainer):
    trainer = make_trainer(**{"ecg.locked": True, "text.name": "none"})
    before = clone_tensors(dict(trainer.model.named_parameters()))
    trainer.run_step(trainer.data.train_rows[:32], 10)
    after = dict(trainer.model.named_parameters())
    changed = {name for name, weight in after.items() if not torch.equal(weight, before[name])}
    assert changed == {"text.weight", "text.bias"}
    # No block of the frozen encoder is switched off by a norm that multiplies by 0.
    norms = [m.weight for m in trainer.model.ecg.modules() if isinstance(m, BatchNorm)]
    assert all((weight == 1).all() for weight in norms)


@pytest.mark.parametrize(
    "settings",
    [
        {"augment.mixup": 0.5},
        {"objective.terms": "bank:1+report/jaccard:0.5"},
        {"text.name": "none"},
        {"ecg.name": "transformer"},
    ],
    ids=str,
)
def test_a_gpu_without_float64_trains_and_predicts(make_trainer, monkeypatch, settings):
    for module in (losses, signals):
        monkeypatch.setattr(module, "widest_float", lambda device: torch.float32)
    trainer = make_trainer(**settings)
    rows = trainer.data.batches(0)
    with without_float64(monkeypatch):
        trainer.training_mode()
        trainer.run_step(rows[0], len(rows))
        assert torch.isfinite(trainer.losses[-1])
        probabilities, _ = trainer.forward(np.array(trainer.data.reader.mapped[:4]))
    assert np.isfinite(probabilities).all()
    with pytest.raises(TypeError, match="float64 on a device"), without_float64(monkeypatch):
        torch.zeros(2).double()
