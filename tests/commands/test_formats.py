"""`predict` gives the same prediction for the same ECG in every format."""

import json
from pathlib import Path

from helpers import configured
from writers import FS, GIVEN, WRITERS, ecg, write_wfdb

from ecg_siglip.config import PredictConfig
from ecg_siglip.predict import predict


def test_predictions_are_the_same_for_every_format(tmp_path: Path, trained: Path, capsys):
    uv = ecg()
    paths = [write_wfdb(tmp_path, uv)]
    for kind, writer in WRITERS.items():
        if kind not in GIVEN:
            paths.append(tmp_path / f"{kind}.bin")
            paths[-1].write_bytes(writer(uv, FS))
    base = {"run.name": trained.name, "run.root": str(trained.parent), "device": "cpu"}
    assert len(paths) > 8
    assert predict(configured(PredictConfig, base | {"records": [str(p) for p in paths]})) == 0
    predictions = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["record"] for each in predictions] == [str(path) for path in paths]
    for each in predictions:
        assert each["probabilities"] == predictions[0]["probabilities"], each["record"]
