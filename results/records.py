"""Write the records of the study to a separate folder, from all of PTB-XL.

    python results/records.py data/ptbxl data/study

``results/ecg_id.csv`` lists them. The new folder has PTB-XL's tables cut down to these records and
links to the waveforms; use it as ``data.root``.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pandas as pd

from ecg_siglip.datasets import ptbxl

NUMBERS = Path(__file__).parent / "ecg_id.csv"


def cut(whole: Path, out: Path) -> int:
    """Write ``out``, completely or not at all; return the number of its records.

    Raises
    ------
    ValueError
        If ``out`` exists, or ``whole`` is not PTB-XL or lacks one of the records.
    """
    if out.exists():
        raise ValueError(f"{out} exists; expected a new folder")
    ecg_id = pd.read_csv(NUMBERS)["ecg_id"]
    n_missing = len(ecg_id) - ptbxl.read_metadata(whole).index.isin(ecg_id).sum()
    if n_missing > 0:
        raise ValueError(f"{whole}: lacks {n_missing} of the {len(ecg_id)} records")
    # As text, so that every cell stays as PTB-XL wrote it.
    table = pd.read_csv(whole / "ptbxl_database.csv", dtype=str, keep_default_na=False)
    study = table[table["ecg_id"].astype(float).isin(ecg_id)]
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as temporary:
        new = Path(temporary) / out.name
        new.mkdir()
        for folder in ("records100", "records500"):
            if (whole / folder).is_dir():
                (new / folder).symlink_to((whole / folder).resolve(), target_is_directory=True)
        shutil.copy(whole / "scp_statements.csv", new)
        study.to_csv(new / "ptbxl_database.csv", index=False)
        os.replace(new, out)
    return len(study)


def main() -> None:
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    try:
        n = cut(Path(sys.argv[1]), Path(sys.argv[2]))
    except (OSError, ValueError) as error:
        raise SystemExit(f"records: {error}") from None
    print(f"{sys.argv[2]}: {n:,} records")


if __name__ == "__main__":
    main()
