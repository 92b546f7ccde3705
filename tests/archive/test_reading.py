"""Between the process that reads and the one that predicts, nothing is lost."""

import dataclasses

import numpy as np
import pytest

from ecg_siglip import config
from ecg_siglip.archive.reading import LongPath, Reading, Unreadable, decode
from ecg_siglip.datasets import ptbxl
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.readers.preparation import PreparedRecord


@pytest.fixture(scope="module")
def reading(trained):
    predictor = Predictor.load(trained / "model", "cpu")
    settings = config.PredictConfig()
    settings.read.leads = ["I", "II"]
    return Reading.of(predictor.preparation, settings)


def test_how_records_are_read_survives_json(reading):
    assert Reading.from_json(reading.to_json()) == reading


def test_prepared_records_survive_as_bytes_but_for_what_is_drawn(reading, simulated):
    reading = dataclasses.replace(reading, read=config.ReadConfig())
    name = ptbxl.read_metadata(simulated)["filename_lr"].iloc[0]
    path = str(simulated / name)
    sent = reading.item(path)
    received, missing = decode(reading.items([path, "nowhere"]))
    assert missing == Unreadable("nowhere", "record nowhere: no header, looked for nowhere.hea")
    for field in dataclasses.fields(PreparedRecord):
        before, after = getattr(sent, field.name), getattr(received, field.name)
        if field.name in ("signal", "available"):
            assert np.array_equal(before, after) and before.dtype == after.dtype
        elif field.name == "measurements":
            assert before.to_dict() == after.to_dict() and before == after
        elif field.name == "recorded":
            assert before is None and after is None  # a job draws nothing
        else:
            assert before == after


def test_long_records_are_left_to_the_process_with_the_model(reading, simulated, tmp_path):
    from helpers import rewritten

    from ecg_siglip.readers.record import read_record

    reading = dataclasses.replace(reading, read=config.ReadConfig())
    path = simulated / ptbxl.read_metadata(simulated)["filename_lr"].iloc[0]
    signal = np.tile(read_record(path).signal, 3).T.astype(float)
    long = str(rewritten(path, tmp_path, "long", p_signal=signal))
    assert decode(reading.items([long])) == [LongPath(long)]
