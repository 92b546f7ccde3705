"""Records of several requests go through the model together, with the results they have alone."""

import numpy as np
import pytest

from ecg_siglip import config
from ecg_siglip.datasets import ptbxl
from ecg_siglip.inference.pipeline import predict_prepared
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.serving.shared_batches import BATCH_SIZE, SharedBatches


@pytest.fixture(scope="module")
def predictor(trained):
    return Predictor.load(trained / "model", "cpu")


@pytest.fixture(scope="module")
def records(predictor, simulated):
    settings = config.PredictConfig()
    return [
        predictor.preparation.read(simulated / name, settings.waveform, settings.read)
        for name in ptbxl.read_metadata(simulated)["filename_lr"].iloc[: 2 * BATCH_SIZE + 1]
    ]


class CountingPredictor(Predictor):
    """A predictor that notes the sizes of its batches, and fails if ``fails`` is set."""

    sizes: list[int]
    fails = False

    def forward(self, signals, *arguments):
        if self.fails:
            raise MemoryError
        self.sizes.append(len(signals))
        return super().forward(signals, *arguments)


@pytest.fixture
def batches(predictor):
    counting = CountingPredictor(predictor.artifact)
    counting.sizes = []
    return SharedBatches(counting)


def test_a_result_does_not_depend_on_the_others_in_its_batch(batches, records):
    alone = []
    for record in records:
        alone.append(batches.predictor_for(batches.add([record.signal])).forward([record]))
    for order in (range(len(records)), [*range(len(records))][::-1], [3, 0, 7, 1, 2]):
        tickets = batches.add(records[i].signal for i in order)
        for i, ticket in zip(order, tickets, strict=True):
            raw, embedding_BD = batches.predictor_for([ticket]).forward([ticket])
            assert np.array_equal(embedding_BD, alone[i][1])
            # The function of float64 at the end may differ in its last bit.
            assert np.abs(raw - alone[i][0]).max() < 1e-15


def test_a_result_is_that_of_predict_for_the_record_alone(batches, predictor, records):
    settings = config.PredictConfig(not_excluded="full")
    tickets = batches.add(record.signal for record in records)
    shared = predict_prepared(batches.predictor_for(tickets), records, settings)
    for one, record in zip(shared, records, strict=True):
        (alone,) = predict_prepared(predictor, [record], settings)
        assert one.to_json("m") == alone.to_json("m")


def test_a_task_also_computes_the_records_of_others(batches, records):
    mine, theirs = batches.add([records[0].signal]), batches.add(r.signal for r in records[1:3])
    batches.predictor_for(mine)
    assert batches.predictor.sizes == [3] and batches.n_waiting == 0
    batches.predictor_for(theirs)
    assert batches.predictor.sizes == [3]
    batches.predictor_for(batches.add(record.signal for record in records[:8]))
    assert batches.predictor.sizes == [3, BATCH_SIZE, BATCH_SIZE]


def test_records_of_requests_that_have_ended_are_not_computed(batches, records):
    left = batches.add([records[0].signal])
    batches.discard(left)
    batches.predictor_for(batches.add([records[1].signal]))
    assert left[0].output is None and batches.n_waiting == 0


def test_after_an_error_the_others_are_computed(batches, records):
    tickets = batches.add(record.signal for record in records[:2])
    batches.predictor.fails = True
    with pytest.raises(MemoryError):
        batches.predictor_for(tickets[:1])
    batches.predictor.fails = False
    batches.predictor_for(tickets[1:])
    assert tickets[1].output is not None


def test_a_rule_without_thresholds_is_an_error(batches, records):
    predictor = batches.predictor_for(batches.add([records[0].signal]))
    with pytest.raises(ValueError, match=r"sensitivity_0\.123"):
        predictor.decision("sensitivity_0.123")
    assert predictor.decision() is predictor.decision()
