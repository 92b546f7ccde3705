"""A batch is a pure function of (seed, epoch); texts and targets say what the records say."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ecg_siglip.datasets.loading import load_training_data
from ecg_siglip.training.data import TrainingData
from ecg_siglip.training.targets import parse_terms
from ecg_siglip.vocabulary import findings

CPU = torch.device("cpu")


@pytest.fixture
def make(train_config):
    def build(**knobs):
        settings = train_config(**knobs)
        return TrainingData(load_training_data(settings, progress=False), settings, CPU)

    return build


def test_an_epoch_sees_every_training_record_once_in_steps_of_equal_size(make):
    data = make()
    batches = data.batches(3)
    assert sorted(np.concatenate(batches)) == sorted(data.train_rows)
    sizes = [len(batch) for batch in batches]
    assert max(sizes) <= 32
    assert max(sizes) - min(sizes) <= 1


def test_a_step_of_one_record_is_refused_before_it_comes(make):
    with pytest.raises(ValueError, match=r"optim\.batch_size=2: 123 training records leave a step"):
        make(**{"optim.batch_size": 2})


def test_the_order_depends_on_seed_and_epoch_alone(make):
    data = make()
    order = np.concatenate(data.batches(3)).tolist()
    assert np.concatenate(make().batches(3)).tolist() == order
    assert np.concatenate(data.batches(4)).tolist() != order
    assert np.concatenate(make(seed=1).batches(3)).tolist() != order


def test_only_training_folds_are_seen(make):
    data = make(**{"data.train_folds": [2, 5]})
    rows = np.concatenate(data.batches(0))
    loaded = load_training_data(data.settings, progress=False)
    assert set(loaded.strat_fold[rows]) == {2, 5}


def test_signals_are_millivolts_and_augmented_per_record_not_per_batch(make):
    data = make(**{"augment.gain": 0.3, "augment.shift_s": 1.0, "augment.lead_mask": 0.2})
    rows = data.train_rows[:4]
    plain = data.signals(rows, None)
    assert plain.numpy() == pytest.approx(data.mapped[rows] / 1000, abs=1e-6)
    together = data.signals(rows, 7)
    assert not torch.equal(together, plain)
    assert torch.equal(data.signals(rows[2:3], 7), together[2:3])
    assert not torch.equal(data.signals(rows, 8), together)


def test_the_bank_is_one_prompt_a_finding_and_its_targets_the_labels(make):
    data = make()
    rows = data.batches(0)[0]
    texts, own, named = data.texts("bank", rows, 0)
    assert texts == findings.prompts(data.codes)
    matrix = data.targets(parse_terms("bank")[0], rows, own, named).matrix()
    assert torch.equal(matrix, data.labels[torch.from_numpy(rows)])


def test_a_sampled_finding_is_present_and_changes_with_the_epoch(make):
    data = make()
    rows = data.train_rows[:40]
    texts, own, named = data.texts("finding", rows, 0)
    assert named.sum(1).tolist() == [1.0] * len(own)
    assert (data.labels[torch.from_numpy(own)] >= named).all()
    prompts = findings.prompts(data.codes)
    assert texts == [prompts[int(row.argmax())] for row in named]
    assert data.texts("finding", rows, 0)[0] == texts
    assert data.texts("finding", rows, 1)[0] != texts


def test_all_findings_of_a_record_stand_in_its_sentence(make):
    data = make()
    texts, own, named = data.texts("findings", data.train_rows[:20], 0)
    assert torch.equal(named, data.labels[torch.from_numpy(own)])
    prompts = findings.prompts(data.codes)
    for text, row in zip(texts, named, strict=True):
        assert sorted(text.split("; ")) == sorted(prompts[i] for i in row.nonzero()[:, 0])


def test_a_record_without_a_finding_of_the_task_stays_as_an_ecg_and_brings_no_text(make):
    data = make(**{"data.task": "form"})
    rows = data.train_rows
    silent = rows[(data.labels[torch.from_numpy(rows)].sum(1) == 0).numpy()]
    assert len(silent), "the simulation has records without a form statement"
    for kind in ("finding", "findings"):
        _, own, _ = data.texts(kind, rows, 0)
        assert set(own) == set(rows) - set(silent)
    assert len(data.texts("report", rows, 0)[0]) == len(rows)
    data.reports[rows[0]] = ""
    texts, own, named = data.texts("report", rows, 0)
    assert own.tolist() == rows[1:].tolist()
    assert len(texts) == len(named) == len(own)


def test_the_measured_rate_is_that_of_the_labels_for_the_bank(make):
    data = make(**{"optim.batch_size": 100000})
    rate = data.positive_rate(parse_terms("bank")[0])
    expected = data.labels[torch.from_numpy(data.train_rows)].mean().item()
    assert rate == pytest.approx(expected, rel=1e-5)
    n = len(data.train_rows)
    assert data.positive_rate(parse_terms("findings/diagonal")[0]) == pytest.approx(1 / n)


def test_excluding_an_unknown_finding_is_refused(make):
    with pytest.raises(ValueError, match=r"objective\.exclude: XYZ"):
        make(**{"objective.exclude": ["XYZ"]})


def test_a_smaller_share_is_part_of_a_larger_and_the_same_for_every_seed(make):
    whole = make().train_rows
    half, tenth = (make(**{"data.train_share": share}).train_rows for share in (0.5, 0.1))
    assert len(half) == round(len(whole) / 2)
    assert set(tenth) < set(half) < set(whole)
    assert make(seed=3, **{"data.train_share": 0.5}).train_rows.tolist() == half.tolist()


def test_the_diagonal_calls_true_pairs_negative_and_the_bank_none(make):
    data = make()
    (bank,) = parse_terms("bank")
    shares = data.pair_shares(bank)
    assert shares["false_negative"] == shares["records_with_false_negative"] == 0
    assert shares["positive"] == pytest.approx(data.positive_rate(bank))
    (diagonal,) = parse_terms("findings/diagonal")
    shares = data.pair_shares(diagonal)
    # By hand, over the same batches.
    missed = with_one = n_true = n_rows = 0
    for rows in data.batches(0)[:16]:
        truth = data.labels[torch.from_numpy(rows)].bool().numpy()
        for i in range(len(rows)):
            twins = [
                j for j in range(len(rows)) if truth[j].any() and not (truth[j] & ~truth[i]).any()
            ]
            others = [j for j in twins if j != i]
            n_true, missed = n_true + len(twins), missed + len(others)
            with_one, n_rows = with_one + bool(others), n_rows + 1
    assert shares["false_negative"] == pytest.approx(missed / n_true)
    assert shares["records_with_false_negative"] == pytest.approx(with_one / n_rows)
    assert missed > 0


def test_a_blend_is_a_pure_function_of_seed_epoch_and_batch(make):
    data = make(**{"augment.mixup": 0.4})
    batch = data.batches(0)[0]
    blend, again = data.blend(batch, 3), data.blend(batch, 3)
    assert sorted(blend.partners) == sorted(batch)
    assert (blend.partners == again.partners).all() and (blend.share_B == again.share_B).all()
    assert (data.blend(batch, 4).share_B != blend.share_B).any()
    assert ((blend.share_B >= 0) & (blend.share_B <= 1)).all()
    assert make().blend(batch, 3) is None


def test_blended_signals_and_targets_are_the_blend_of_both(make):
    data = make(**{"augment.mixup": 0.4, "augment.gain": 0.3})
    batch = data.batches(0)[0][:8]
    blend = data.blend(batch, 2)
    share = torch.from_numpy(blend.share_B)
    own, other = data.signals(batch, 2), data.signals(blend.partners, 2)
    wanted = share[:, None, None] * own + (1 - share[:, None, None]) * other
    torch.testing.assert_close(data.blended_signals(batch, blend, 2), wanted)
    for name in ("bank", "findings/diagonal", "findings/shared", "findings/jaccard"):
        (term,) = parse_terms(name)
        _, index, named = data.texts(term.text, batch, 2)
        first = data.targets(term, batch, index, named).matrix()
        second = data.targets(term, blend.partners, index, named).matrix()
        targets = data.blended_targets(term, batch, blend, index, named)
        wanted = share[:, None] * first + (1 - share[:, None]) * second
        torch.testing.assert_close(targets.matrix(), wanted)
        torch.testing.assert_close(targets.chunk(2, 5).matrix(), wanted[:, 2:5])
        # Without a blend they are the targets themselves.
        plain = data.blended_targets(term, batch, None, index, named)
        assert torch.equal(plain.matrix(), first)


def test_what_is_read_ahead_is_what_would_be_read_now(make):
    data = make(**{"augment.gain": 0.3, "augment.shift_s": 1.0})
    first, second = data.batches(0)[:2]
    wanted = [data.signals(first, 0), data.signals(second, 0)]
    data.read_ahead(first, 0)
    data.read_ahead(second, 0)
    assert torch.equal(data.signals(second, 0), wanted[1])
    assert torch.equal(data.signals(first, 0), wanted[0])
    # Taken is taken, and another epoch is another batch.
    assert data.ahead == {}
    data.read_ahead(first, 1)
    assert torch.equal(data.signals(first, 0), wanted[0])


def test_a_batch_that_cannot_be_read_ahead_fails_where_it_is_needed(make):
    data = make()
    rows = np.array([10**9])
    data.read_ahead(rows, 0)
    with pytest.raises(IndexError):
        data.signals(rows, 0)


LARGE = """
import resource, sys
import numpy as np, torch
from ecg_siglip import config
from ecg_siglip.datasets import ptbxl
from ecg_siglip.training.data import TrainingData
from ecg_siglip.vocabulary import findings

n, path = 200_000, sys.argv[1]
with open(path, "wb") as file:
    file.truncate(n * 12 * 1000 * 2)  # a file of holes: 4.8 GB that take no room on disk
signals = np.memmap(path, np.int16, "r", shape=(n, 12, 1000))
codes = findings.task_codes("all")
y_true = np.zeros((n, len(codes)), bool)
y_true[:, 0] = True
nothing = np.zeros(0)
data = ptbxl.PtbXl(
    np.arange(n), np.arange(n), np.repeat(np.arange(1, 11), n // 10), codes, y_true, nothing,
    [""] * n, [], signals, 100.0, "large", 0, y_true[:, 0], y_true[:, 0],
)
settings = config.TrainConfig()
settings.optim.batch_size = 512
training = TrainingData(data, settings, torch.device("cpu"))
batches = training.batches(0)
training.signals(batches[0], 0)
status = open("/proc/self/status").read()
used = 1024 * int(status.split("VmData:")[1].split()[0])
resource.setrlimit(resource.RLIMIT_DATA, (used + (768 << 20),) * 2)
for batch, coming in zip(batches[1:9], batches[2:10]):
    training.read_ahead(coming, 0)
    assert training.signals(batch, 0).shape == (len(batch), 12, 1000)
try:
    np.array(signals)
except MemoryError:
    print("the whole set would not have fitted")
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_batches_of_a_set_larger_than_memory_are_read_from_disk(tmp_path):
    words = [sys.executable, "-c", LARGE, str(tmp_path / "signals.npy")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "the whole set would not have fitted\n"
