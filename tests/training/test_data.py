"""A batch is a function of seed and epoch alone; texts and targets follow the labels."""

import numpy as np
import pytest
import torch

from ecg_siglip.core.distributed import Distributed
from ecg_siglip.datasets.loading import load_training_data
from ecg_siglip.training.targets import parse_terms
from ecg_siglip.vocabulary import ptbxl


def test_an_epoch_has_every_training_record_once_in_steps_of_equal_size(make_data):
    data = make_data()
    batches = data.batches(3)
    assert sorted(np.concatenate(batches)) == sorted(data.train_rows)
    sizes = [len(batch) for batch in batches]
    assert max(sizes) <= 32
    assert max(sizes) - min(sizes) <= 1


def test_a_batch_size_that_leaves_a_step_of_one_record_is_refused(make_data):
    with pytest.raises(ValueError, match=r"optim\.batch_size=2: 123 training records leave a step"):
        make_data(**{"optim.batch_size": 2})


def test_the_order_depends_on_seed_and_epoch_alone(make_data):
    data = make_data()
    order = np.concatenate(data.batches(3)).tolist()
    assert np.concatenate(make_data().batches(3)).tolist() == order
    assert np.concatenate(data.batches(4)).tolist() != order
    assert np.concatenate(make_data(seed=1).batches(3)).tolist() != order


def test_only_training_folds_are_used(make_data):
    data = make_data(**{"data.train_folds": [2, 5]})
    rows = np.concatenate(data.batches(0))
    loaded = load_training_data(data.settings, progress=False)
    assert set(loaded.strat_fold[rows]) == {2, 5}


def test_the_bank_has_one_prompt_per_finding_and_the_labels_as_targets(make_data):
    data = make_data()
    rows = data.batches(0)[0]
    texts, owners, labels = data.texts("bank", rows, 0)
    assert texts == ptbxl().prompts(data.codes)
    matrix = data.targets(parse_terms("bank")[0], rows, owners, labels).matrix()
    assert torch.equal(matrix, data.labels[torch.from_numpy(rows)])


def test_a_sampled_finding_is_present_and_changes_with_the_epoch(make_data):
    data = make_data()
    rows = data.train_rows[:40]
    texts, owners, labels = data.texts("finding", rows, 0)
    assert labels.sum(1).tolist() == [1.0] * len(owners)
    assert (data.labels[torch.from_numpy(owners)] >= labels).all()
    prompts = ptbxl().prompts(data.codes)
    assert texts == [prompts[int(row.argmax())] for row in labels]
    assert data.texts("finding", rows, 0)[0] == texts
    assert data.texts("finding", rows, 1)[0] != texts


def test_the_text_of_a_record_names_all_its_findings(make_data):
    data = make_data()
    texts, owners, labels = data.texts("findings", data.train_rows[:20], 0)
    assert torch.equal(labels, data.labels[torch.from_numpy(owners)])
    prompts = ptbxl().prompts(data.codes)
    for text, row in zip(texts, labels, strict=True):
        assert sorted(text.split("; ")) == sorted(prompts[i] for i in row.nonzero()[:, 0])


def test_a_record_without_a_finding_of_the_task_has_no_text(make_data):
    data = make_data(**{"data.task": "form"})
    rows = data.train_rows
    without = rows[(data.labels[torch.from_numpy(rows)].sum(1) == 0).numpy()]
    assert len(without), "the simulation has records without a form statement"
    for kind in ("finding", "findings"):
        _, owners, _ = data.texts(kind, rows, 0)
        assert set(owners) == set(rows) - set(without)
    assert len(data.texts("report", rows, 0)[0]) == len(rows)
    data.reports[rows[0]] = ""
    texts, owners, labels = data.texts("report", rows, 0)
    assert owners.tolist() == rows[1:].tolist()
    assert len(texts) == len(labels) == len(owners)


def test_the_measured_rate_is_that_of_the_labels_for_the_bank(make_data):
    data = make_data(**{"optim.batch_size": 100000})
    rate = data.positive_rate(parse_terms("bank")[0])
    expected = data.labels[torch.from_numpy(data.train_rows)].mean().item()
    assert rate == pytest.approx(expected, rel=1e-5)
    n = len(data.train_rows)
    assert data.positive_rate(parse_terms("findings/diagonal")[0]) == pytest.approx(1 / n)


def test_excluding_an_unknown_finding_is_refused(make_data):
    with pytest.raises(ValueError, match=r"objective\.exclude: XYZ"):
        make_data(**{"objective.exclude": ["XYZ"]})


def test_a_smaller_share_is_part_of_a_larger_one_and_the_same_for_every_seed(make_data):
    whole = make_data().train_rows
    half, tenth = (make_data(**{"data.train_share": share}).train_rows for share in (0.5, 0.1))
    assert len(half) == round(len(whole) / 2)
    assert set(tenth) < set(half) < set(whole)
    assert make_data(seed=3, **{"data.train_share": 0.5}).train_rows.tolist() == half.tolist()


def test_the_diagonal_has_false_negatives_and_the_bank_has_none(make_data):
    data = make_data()
    (bank,) = parse_terms("bank")
    shares = data.pair_shares(bank)
    assert shares["false_negative"] == shares["records_with_false_negative"] == 0
    assert shares["positive"] == pytest.approx(data.positive_rate(bank))
    (diagonal,) = parse_terms("findings/diagonal")
    shares = data.pair_shares(diagonal)
    # The same counts, record by record.
    missed = with_one = n_true = n_rows = 0
    for rows in data.batches(0)[:16]:
        y_true = data.labels[torch.from_numpy(rows)].bool().numpy()
        for i in range(len(rows)):
            twins = [
                j
                for j in range(len(rows))
                if y_true[j].any() and not (y_true[j] & ~y_true[i]).any()
            ]
            others = [j for j in twins if j != i]
            n_true, missed = n_true + len(twins), missed + len(others)
            with_one, n_rows = with_one + bool(others), n_rows + 1
    assert shares["false_negative"] == pytest.approx(missed / n_true)
    assert shares["records_with_false_negative"] == pytest.approx(with_one / n_rows)
    assert missed > 0


def test_mixup_pairs_are_a_function_of_seed_epoch_and_batch(make_data):
    data = make_data(**{"augment.mixup": 0.4})
    rows = data.batches(0)[0]
    mixup, again = data.mixup_pairs(rows, 3), data.mixup_pairs(rows, 3)
    assert sorted(mixup.partners) == sorted(rows)
    assert (mixup.partners == again.partners).all() and (mixup.share_B == again.share_B).all()
    assert (data.mixup_pairs(rows, 4).share_B != mixup.share_B).any()
    assert ((mixup.share_B >= 0) & (mixup.share_B <= 1)).all()
    assert make_data().mixup_pairs(rows, 3) is None


def test_mixup_mixes_signals_and_targets_with_the_same_shares(make_data):
    data = make_data(**{"augment.mixup": 0.4, "augment.gain": 0.3})
    rows = data.batches(0)[0][:8]
    mixup = data.mixup_pairs(rows, 2)
    share = torch.from_numpy(mixup.share_B)
    signals, partners = data.reader.signals(rows, 2), data.reader.signals(mixup.partners, 2)
    expected = share[:, None, None] * signals + (1 - share[:, None, None]) * partners
    torch.testing.assert_close(data.reader.mixed_signals(rows, mixup, 2), expected)
    for name in ("bank", "findings/diagonal", "findings/shared", "findings/jaccard"):
        (term,) = parse_terms(name)
        _, owners, labels = data.texts(term.text, rows, 2)
        first = data.targets(term, rows, owners, labels).matrix()
        second = data.targets(term, mixup.partners, owners, labels).matrix()
        expected = share[:, None] * first + (1 - share[:, None]) * second
        targets = data.mixed_targets(term, rows, mixup, owners, labels)
        torch.testing.assert_close(targets.matrix(), expected)
        plain = data.mixed_targets(term, rows, None, owners, labels)
        assert torch.equal(plain.matrix(), first)


OBJECTIVE = "bank+finding/present:0.5+report/jaccard:0.1"


def test_a_batch_has_signals_texts_and_targets_of_every_term(make_data):
    data = make_data(**{"objective.terms": OBJECTIVE, "augment.gain": 0.3})
    rows = data.batches(1)[0]
    batch = data.batch(rows, 1)
    assert torch.equal(batch.signals, data.reader.signals(rows, 1))
    assert batch.features is None
    assert batch.sizes == [len(rows)]
    assert [each.term for each in batch.text_terms] == parse_terms(OBJECTIVE)
    for each in batch.text_terms:
        texts, owners, labels = data.texts(each.term.text, rows, 1)
        assert each.texts == texts
        assert each.sizes == [len(texts)]
        expected = data.targets(each.term, rows, owners, labels)
        assert torch.equal(each.targets.matrix(), expected.matrix())


def test_a_batch_leaves_out_a_term_without_texts(make_data):
    data = make_data(**{"objective.terms": OBJECTIVE})
    data.reports = [""] * len(data.reports)
    batch = data.batch(data.train_rows[:8], 0)
    assert [each.term.text for each in batch.text_terms] == ["bank", "finding"]


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_the_batches_of_several_processes_are_the_parts_of_one(make_data, n, mixup):
    settings = {"objective.terms": OBJECTIVE, "augment.gain": 0.2, "augment.mixup": mixup}
    alone = make_data(**settings)
    rows = alone.batches(0)[0]
    whole = alone.batch(rows, 0)
    parts = [make_data(Distributed(rank, n), **settings).batch(rows, 0) for rank in range(n)]
    torch.testing.assert_close(torch.cat([part.signals for part in parts]), whole.signals)
    for part, signals in zip(parts, np.array_split(whole.signals, n), strict=True):
        assert part.sizes == [len(p) for p in np.array_split(rows, n)]
        assert len(part.signals) == len(signals)
    for i, term in enumerate(whole.text_terms):
        own = [part.text_terms[i] for part in parts]
        if term.term.text == "bank":
            # Every process encodes the whole bank.
            assert all(each.texts == term.texts and each.sizes == term.sizes for each in own)
        else:
            assert [text for each in own for text in each.texts] == term.texts
            assert all(each.sizes == [len(e.texts) for e in own] for each in own)
        matrix = torch.cat([each.targets.matrix() for each in own])
        torch.testing.assert_close(matrix, term.targets.matrix())


def test_with_the_softmax_loss_every_process_has_the_targets_of_all_ecgs(make_data):
    settings = {"objective.terms": "findings/diagonal", "objective.loss": "softmax"}
    settings |= {"augment.mixup": 0.4}
    alone = make_data(**settings)
    rows = alone.batches(0)[0]
    expected = alone.batch(rows, 0).text_terms[0].targets.matrix()
    for rank in range(3):
        batch = make_data(Distributed(rank, 3), **settings).batch(rows, 0)
        assert torch.equal(batch.text_terms[0].targets.matrix(), expected)
        assert len(batch.signals) == batch.sizes[rank] < len(rows)


def test_a_batch_of_cached_features_has_no_signals(make_data):
    data = make_data()
    data.features = torch.arange(len(data.ecg_id) * 2.0).reshape(-1, 2)
    rows = data.train_rows[:8]
    batch = data.batch(rows, 0)
    assert batch.signals is None
    assert torch.equal(batch.features, data.features[torch.from_numpy(rows)])
    data.read_ahead(rows, 0)
    assert data.reader.ahead == {}


@pytest.mark.parametrize("which", ["all", "validated", "written"])
def test_only_selected_reports_are_used(make_data, which):
    data = make_data(**{"data.reports": which})
    loaded = load_training_data(data.settings, progress=False)
    expected = {
        "all": np.ones(len(loaded), bool),
        "validated": loaded.validated,
        "written": ~loaded.autogenerated,
    }[which]
    assert expected.any()
    assert [bool(text) for text in data.reports] == expected.tolist()
    _, owners, _ = data.texts("report", data.train_rows, 0)
    assert set(owners) <= set(np.flatnonzero(expected))


def test_a_process_reads_its_own_part_ahead(make_data):
    data = make_data(Distributed(1, 3), **{"augment.gain": 0.3})
    rows = data.batches(0)[0]
    own_rows = np.array_split(rows, 3)[1]
    expected = data.reader.signals(own_rows, 0)
    data.read_ahead(rows, 0)
    assert list(data.reader.ahead) == [(0, own_rows.tobytes())]
    assert torch.equal(data.batch(rows, 0).signals, expected)
    assert data.reader.ahead == {}
