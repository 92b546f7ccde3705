"""Copies of the small run that a test may change, and records of two hospitals."""

import shutil

import numpy as np
import pytest
from helpers import configured, write_challenge_record

from ecg_siglip.config import EvaluateConfig
from ecg_siglip.datasets import ptbxl
from ecg_siglip.readers.record import read_record
from ecg_siglip.vocabulary import ptbxl as ptbxl_vocabulary
from ecg_siglip.vocabulary import snomed

LEFT_AXIS, NOT_IN_THE_TABLE, SINUS_RHYTHM = 39732003, 999999, 426783006


@pytest.fixture(scope="session")
def snomed_codes() -> dict[str, int]:
    """The SNOMED CT code of each finding that has one of its own."""
    vocabulary = ptbxl_vocabulary()
    table = snomed.table(vocabulary)
    return {
        entry.code: entry.snomed[0]
        for entry in vocabulary.entries
        if entry.snomed and table[entry.snomed[0]].findings == (entry.code,)
    }


@pytest.fixture
def run_copy(trained, tmp_path):
    """The folder of a copy of the finished run."""
    return shutil.copytree(trained, tmp_path / trained.name)


@pytest.fixture
def fold_settings(run_copy):
    """Makes the settings to evaluate the copy on a fold, without intervals and report."""

    def make(**changes):
        base = {"run.name": run_copy.name, "run.root": str(run_copy.parent), "device": "cpu"}
        return configured(EvaluateConfig, base | {"n_bootstrap": 0, "report": False} | changes)

    return make


@pytest.fixture
def external_settings(run_copy):
    """Makes the settings to evaluate the copy on the sets in a folder."""

    def make(root, **changes):
        base = {"run.name": run_copy.name, "run.root": str(run_copy.parent), "device": "cpu"}
        base |= {"data.kind": "challenge", "data.root": str(root), "n_bootstrap": 20}
        return configured(EvaluateConfig, base | {"report": False} | changes)

    return make


@pytest.fixture(scope="session")
def hospitals(simulated, snomed_codes, tmp_path_factory):
    """Sixty simulated records in the form of the challenges, in two sets; two more are broken."""
    root = tmp_path_factory.mktemp("hospitals")
    data = ptbxl.load_ptbxl(simulated, signals=False)
    for i in range(60):
        record = read_record(data.paths[i])
        present = [code for j, code in enumerate(data.codes) if data.y_true[i, j]]
        dx = [snomed_codes[code] for code in present if code in snomed_codes] or [SINUS_RHYTHM]
        dx += [LEFT_AXIS] * (i % 5 == 0) + [NOT_IN_THE_TABLE] * (i % 7 == 0)
        comments = f"#Age: {20 + i}\n#Sex: Female\n#Dx: {','.join(map(str, dx))}\n"
        name, uv = f"E{data.ecg_id[i]:05}", np.rint(record.signal * 1000).astype("<i2")
        folder = root / ("north" if i < 50 else "south")
        write_challenge_record(folder, name, comments, fs=100, uv=uv)
    write_challenge_record(root / "south", "E90001", "#Dx: Unknown\n")
    write_challenge_record(root / "south", "E90002").with_suffix(".mat").unlink()
    return root
