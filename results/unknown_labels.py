"""Write PTB-XL as tables in which labels are unknown, for the study of masks.

    python results/unknown_labels.py data/study data/unknown

writes ``full.csv`` (all labels), ``masked.csv`` (30 % of the labels of half of the records of folds
1 to 8 are unknown) and ``negatives.csv`` (the same labels are absent instead), each for
``data=table data.table=... data.root=data/study``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from ecg_siglip.datasets import ptbxl
from ecg_siglip.vocabulary import ptbxl as ptbxl_vocabulary

SHARE_OF_RECORDS, SHARE_OF_LABELS = 0.5, 0.3
LAST_FOLD = 8  # the fold that is reported on keeps all labels


def write_tables(root: Path, out: Path) -> None:
    """Write the three tables."""
    metadata = ptbxl.read_metadata(root)
    codes = np.array(ptbxl_vocabulary().codes)
    stated = np.array([[code in each for code in codes] for each in metadata["scp_codes"]])
    rng = np.random.default_rng(0)
    is_unknown = rng.random(stated.shape) < SHARE_OF_LABELS
    is_unknown &= (rng.random(len(metadata)) < SHARE_OF_RECORDS)[:, None]
    is_unknown &= (metadata["strat_fold"].to_numpy() <= LAST_FOLD)[:, None]
    table = pd.DataFrame(
        {
            "record": metadata.index,
            "path": metadata["filename_lr"].to_numpy(),
            "patient_id": metadata["patient_id"].to_numpy(),
            "fold": metadata["strat_fold"].to_numpy(),
            "report": metadata["report"].to_numpy(),
        }
    )

    def listed(labels: np.ndarray) -> list[str]:
        return [";".join(codes[row]) for row in labels]

    out.mkdir(parents=True, exist_ok=True)
    table.assign(findings=listed(stated)).to_csv(out / "full.csv", index=False)
    left = table.assign(findings=listed(stated & ~is_unknown))
    left.to_csv(out / "negatives.csv", index=False)
    left.assign(unknown=listed(is_unknown)).to_csv(out / "masked.csv", index=False)
    lost = int((stated & is_unknown).sum())
    print(f"{is_unknown.mean():.1%} of the labels are unknown, {lost} positive ones among them")


if __name__ == "__main__":
    write_tables(Path(sys.argv[1]), Path(sys.argv[2]))
