"""A run learns only from the labels that are known."""

import json
import math

import numpy as np
import pytest
import torch
import torch.distributed as dist
from helpers import configured, with_unknown
from torch.nn import functional

from ecg_siglip.config import EvaluateConfig
from ecg_siglip.core.distributed import Distributed
from ecg_siglip.datasets import ptbxl
from ecg_siglip.datasets.held_out import hide_findings, leave_out_unknown
from ecg_siglip.datasets.loading import load_training_data
from ecg_siglip.evaluation.fold import evaluate_fold
from ecg_siglip.train import train
from ecg_siglip.training import distillation
from ecg_siglip.training.data import TrainingData
from ecg_siglip.training.initialization import new_model
from ecg_siglip.training.targets import parse_terms
from ecg_siglip.training.text_cache import TextCache
from ecg_siglip.training.trainer import Trainer, batch_loss

CPU = torch.device("cpu")
TERMS = "bank:1+findings/jaccard:0.5+report/present:0.5+report/idf_jaccard:0.5+concept/shared:0.5"


@pytest.fixture
def make_unknown(train_config):
    """Makes the TrainingData of a configuration, with a share of the labels unknown."""

    def make(share=0.3, distributed=None, **settings) -> TrainingData:
        chosen = train_config(**settings)
        loaded = with_unknown(load_training_data(chosen, progress=False), share)
        return TrainingData(loaded, chosen, CPU, distributed=distributed)

    return make


def plain_loss(model, data, batch):
    """The loss written out: every known pair of a record and a text is a cross-entropy."""
    ecg_BD, total = model.encode_ecg(batch.signals), torch.zeros(())
    for each in batch.text_terms:
        logits = model.logits(ecg_BD, model.encode_text(each.texts))
        matrix, known = each.targets.values_and_known()
        pairs = functional.binary_cross_entropy_with_logits(logits, matrix, reduction="none")
        total = total + each.term.weight * pairs[known].sum()
    return total / len(ecg_BD)


@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_the_loss_of_a_batch_is_that_of_its_known_pairs_per_ecg(make_unknown, mixup):
    settings = {"objective.terms": TERMS, "objective.n_chunk": 7, "augment.mixup": mixup}
    data = make_unknown(**settings, **{"ecg.dropout": 0.0})
    trainer = Trainer(data.settings, data)
    model = trainer.model.eval()
    batch = data.batch(data.train_rows[:16], 0)
    assert len(batch.text_terms) == 5
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    losses = batch_loss(model, trainer.texts, batch), plain_loss(model, data, batch)
    torch.testing.assert_close(*losses)
    gradients = [
        torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad])
        for loss in losses
    ]
    for name, ours, plain in zip(names, *gradients, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-3, atol=1e-5, msg=name)


def test_without_text_the_loss_is_the_cross_entropy_of_the_known_labels(make_unknown):
    data = make_unknown(**{"text.name": "none", "ecg.dropout": 0.0})
    trainer = Trainer(data.settings, data)
    model, rows = trainer.model.eval(), data.train_rows[:16]
    loss = batch_loss(model, trainer.texts, data.batch(rows, 0))
    logits = model.ecg(data.reader.signals(rows, 0)) @ model.text.weight.T + model.text.bias
    pairs = functional.binary_cross_entropy_with_logits(
        logits, data.labels[torch.from_numpy(rows)], reduction="none"
    )
    torch.testing.assert_close(loss, pairs[data.known[torch.from_numpy(rows)]].sum() / 16)
    # A finding starts at its prevalence among the records where it is known.
    train_rows = torch.from_numpy(data.train_rows)
    n_positive, n_known = data.labels[train_rows].sum(0), data.known[train_rows].sum(0)
    start = torch.sigmoid(model.text.bias)
    torch.testing.assert_close(start, (n_positive + 0.5) / (n_known + 1))


def test_texts_name_known_findings_and_a_report_knows_what_its_record_knows(make_unknown):
    data = make_unknown(**{"objective.terms": TERMS})
    rows = data.train_rows[:24]
    _, owners, labels = data.texts("findings", rows, 0)
    assert data.known[torch.from_numpy(owners)][labels > 0].all()
    for term in parse_terms(TERMS):
        _, owners, labels = data.texts(term.text, rows, 0)
        targets = data.targets(term, rows, owners, labels)
        assert torch.equal(targets.ecg_known, data.known[torch.from_numpy(rows)])
        if term.text == "report":
            assert torch.equal(targets.text_known, data.known[torch.from_numpy(owners)])
        else:
            assert targets.text_known is None


def test_the_positive_rate_is_that_of_the_known_pairs(make_unknown):
    data = make_unknown()
    (term,) = parse_terms("bank")
    rows = torch.from_numpy(np.concatenate(data.batches(0)[:16]))
    expected = data.labels[rows].sum() / data.known[rows].sum()
    assert data.positive_rate(term) == pytest.approx(expected.item())
    # Fewer false negatives than with unknown labels taken as absent: there are none.
    assert data.pair_shares(term)["false_negative"] == 0
    shares = data.pair_shares(parse_terms("report/diagonal")[0])
    assert 0 < shares["false_negative"] < 1


def test_a_finding_that_is_known_in_no_training_record_is_an_error(train_config, capsys):
    settings = train_config()
    loaded = with_unknown(load_training_data(settings, progress=False), 0.0)
    loaded.known[loaded.strat_fold < 9, :2] = False
    loaded.y_true &= loaded.known
    first, second = loaded.codes[:2]
    with pytest.raises(ValueError, match=rf"known label of {first}, {second}; .*data\.held_out=\["):
        TrainingData(loaded, settings, CPU)
    without = hide_findings(loaded, [first, second])
    assert len(TrainingData(without, settings, CPU).codes) == 69
    loaded.known[:, 2] = loaded.y_true[:, 2] = np.arange(len(loaded)) % 9 == 0
    left = leave_out_unknown(loaded, settings.data.train_folds, progress=True)
    assert f"{loaded.codes[2]}: present in every training record" in capsys.readouterr().err
    assert left.codes == without.codes and TrainingData(left, settings, CPU).codes == left.codes
    settings.objective.terms = "report/diagonal"  # needs no label
    assert TrainingData(loaded, settings, CPU).positive_rate(parse_terms("report/diagonal")[0]) > 0


def test_without_any_known_pair_the_objective_is_refused(train_config):
    settings = train_config()
    loaded = with_unknown(load_training_data(settings, progress=False), 1.0)
    with pytest.raises(ValueError, match="no training record has a known label; .*report_diagonal"):
        TrainingData(loaded, settings, CPU)
    settings.objective.terms = "report/diagonal"
    data = TrainingData(loaded, settings, CPU)
    with pytest.raises(ValueError, match="no record of the training folds has a text with a known"):
        data.positive_rate(parse_terms("bank")[0])


def test_data_without_any_known_label_train_on_their_reports(train_config, tmp_path, monkeypatch):
    load = ptbxl.load_ptbxl
    monkeypatch.setattr(ptbxl, "load_ptbxl", lambda *a, **k: with_unknown(load(*a, **k), 1.0))
    train(train_config(**{"objective.terms": "report/diagonal", "optim.n_epochs": 1}))
    run = {"run.name": "r", "run.root": str(tmp_path / "runs"), "n_bootstrap": 5}
    evaluate_fold(configured(EvaluateConfig, run))
    folder = tmp_path / "runs" / "r" / "evaluate" / "fold10"
    assert json.loads((folder / "metrics.json").read_text())["macro_auroc"] is None
    assert (folder / "report.html").is_file()


def test_a_teacher_of_records_that_have_other_folds_is_refused(train_config, monkeypatch):
    settings = train_config(**{"objective.teachers": ["t"], "objective.teacher_share": 0.5})
    data = load_training_data(settings, progress=False)

    class Teacher:
        class artifact:
            class neighbors:
                holds = staticmethod(lambda ecg_id, sketches: ecg_id == ecg_id[0])

            class provenance:
                has_seen = staticmethod(lambda fold: False)

    monkeypatch.setattr(distillation, "find_runs", lambda *_: ["t"])
    monkeypatch.setattr(distillation, "_load_teacher", lambda *_: Teacher)
    with pytest.raises(ValueError, match=r"t: was trained on records that have other folds"):
        distillation.soft_labels(data, settings)


def test_teachers_fill_in_no_unknown_label(train_config, monkeypatch):
    settings = train_config(**{"objective.teachers": ["t"], "objective.teacher_share": 0.5})
    data = with_unknown(load_training_data(settings, progress=False))

    class Teacher:
        class artifact:
            neighbors = None

            class provenance:
                has_seen = staticmethod(lambda fold: False)
                summary = staticmethod(dict)

        probabilities = staticmethod(lambda signals, progress: np.full((len(signals), 71), 0.4))

    monkeypatch.setattr(distillation, "find_runs", lambda *_: ["t"])
    monkeypatch.setattr(distillation, "_load_teacher", lambda *_: Teacher)
    labels, _ = distillation.soft_labels(data, settings)
    rows = data.fold(*settings.data.train_folds)
    assert (labels[~data.known] == 0).all()
    expected = 0.5 * data.y_true[rows] + 0.2
    known = data.known[rows]
    np.testing.assert_allclose(labels[rows][known], expected[known], rtol=1e-6)


def weights_of_run(train_config, tmp_path, name):
    train(train_config(**{"run.name": name, "objective.terms": "bank:1+report/jaccard:0.2"}))
    model = tmp_path / "runs" / name / "model"
    return {file.name: file.read_bytes() for file in sorted(model.glob("*.safetensors"))}


@pytest.mark.slow
def test_known_labels_alone_give_the_weights_of_a_run_without_mask(
    train_config, tmp_path, monkeypatch
):
    load = ptbxl.load_ptbxl
    plain = weights_of_run(train_config, tmp_path, "plain")
    monkeypatch.setattr(ptbxl, "load_ptbxl", lambda *a, **k: with_unknown(load(*a, **k), 0.0))
    assert weights_of_run(train_config, tmp_path, "known") == plain


def loss_and_gradients(settings, distributed):
    """Return loss and gradients of one batch in double precision, summed over the processes."""
    loaded = with_unknown(load_training_data(settings, progress=False))
    data = TrainingData(loaded, settings, CPU, distributed=distributed)
    model = new_model(settings, data, data.terms).double().train()
    data.labels, data.weights = data.labels.double(), data.weights.double()
    signals, texts = data.reader.signals, data.texts
    data.reader.signals = lambda rows, epoch: signals(rows, epoch).double()
    data.texts = lambda *args: (*texts(*args)[:2], texts(*args)[2].double())
    value = batch_loss(model, TextCache(model), data.batch(data.batches(0)[0], 0))
    value.backward()
    total = distributed.all_reduce_gradients(model, value.detach())
    return total, {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


WAYS = [
    ("gather", "sigmoid", TERMS, 0.0),
    ("ring", "sigmoid", TERMS, 0.4),
    ("gather", "softmax", "findings/shared", 0.0),
]


def chosen(settings, across, loss, terms, mixup):
    settings.objective.across, settings.objective.loss = across, loss
    settings.objective.terms, settings.augment.mixup = terms, mixup
    return settings


def one_of_two(rank, folder, settings):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    results = [loss_and_gradients(chosen(settings, *way), Distributed(rank, 2)) for way in WAYS]
    torch.save(results, f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_have_the_loss_and_gradients_of_one(train_config, tmp_path):
    settings = train_config(**{"optim.batch_size": 31, "ecg.dropout": 0.0, "objective.n_chunk": 5})
    torch.multiprocessing.spawn(one_of_two, args=(tmp_path, settings), nprocs=2)
    for i, way in enumerate(WAYS):
        total, gradients = loss_and_gradients(chosen(settings, *way), Distributed())
        assert math.isfinite(total)
        for rank in range(2):
            result, by_name = torch.load(tmp_path / f"{rank}.pt", weights_only=True)[i]
            torch.testing.assert_close(result, total, rtol=1e-6, atol=0, msg=str(way))
            for name, gradient in by_name.items():
                one = gradients.get(name, torch.zeros_like(gradient))
                torch.testing.assert_close(gradient, one, rtol=1e-6, atol=1e-9, msg=f"{way} {name}")
