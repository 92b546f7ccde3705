"""Training records are found by the names that a model has of them."""

import numpy as np
import pytest

from ecg_siglip.datasets import ptbxl
from ecg_siglip.serving.similar_records import RecordFolder, read_beginning


def test_a_record_of_ptbxl_is_found_by_its_number(simulated):
    metadata, folder = ptbxl.read_metadata(simulated), RecordFolder(simulated)
    for number, name in list(metadata["filename_lr"].items())[:5]:
        path = folder.path(str(number))
        assert path.with_suffix("") == simulated / name
        assert folder.path(name) == folder.path(path.stem) == path
    assert folder.path("no such record") is None and folder.path("../etc/passwd") is None
    signal, fs = read_beginning(path)
    assert (signal.shape, fs) == ((12, 1000), 100.0) and np.isfinite(signal).all()


@pytest.mark.parametrize(("names", "found"), [(["a_lr", "a_hr"], "a_hr"), (["b/a", "c/a"], None)])
def test_of_several_files_the_one_at_500_hz_is_shown(tmp_path, simulated, names, found):
    record = simulated / ptbxl.read_metadata(simulated)["filename_lr"].iloc[0]
    renamed = [name.replace("a", "00007") for name in names]
    for name in renamed:
        header = tmp_path / f"{name}.hea"
        header.parent.mkdir(exist_ok=True)
        header.write_bytes(record.with_suffix(".hea").read_bytes())
        header.with_name(f"{record.name}.dat").write_bytes(record.with_suffix(".dat").read_bytes())
    path = RecordFolder(tmp_path).path("7" if found else "00007")
    assert (path and path.stem) == (found and found.replace("a", "00007"))
