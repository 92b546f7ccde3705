"""Measure the building of the waveform cache against a loop of ``wfdb.rdrecord``.

python benchmarks/data.py DATA_ROOT
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time

import measure
import wfdb

from ecg_siglip import config
from ecg_siglip.datasets import ptbxl

N_LOOP = 500  # records that the loop reads; its time is proportional to their number


def main() -> None:
    root = sys.argv[1]
    paths = ptbxl.load_ptbxl(root, signals=False).paths
    start = time.perf_counter()
    for path in paths[:N_LOOP]:
        wfdb.rdrecord(str(path))
    loop_s = (time.perf_counter() - start) / len(paths[:N_LOOP])
    rows = []
    for n_workers in sorted({1, os.cpu_count() or 1}):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            ptbxl.load_ptbxl(
                root,
                cache_dir=folder,
                n_workers=n_workers,
                waveform=ptbxl.waveform_spec(config.WaveformConfig()),
                progress=False,
            )
            cache_s = (time.perf_counter() - start) / len(paths)
        rows.append(
            {
                "n_workers": n_workers,
                "n_records": len(paths),
                "cache_ms_per_record": 1000 * cache_s,
                "wfdb_loop_ms_per_record": 1000 * loop_s,
                "ratio": loop_s / cache_s,
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    measure.save("data", rows)


if __name__ == "__main__":
    main()
