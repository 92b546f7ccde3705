"""Download PTB-XL, check its files and build the waveform cache."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from ecg_siglip import config
from ecg_siglip.core.command_line import run_command
from ecg_siglip.datasets import ptbxl
from ecg_siglip.datasets.download import download, verify_files


def prepare_ptbxl(settings: config.PtbxlConfig) -> None:
    """Download PTB-XL, check its files and build the waveform cache."""
    start_s = time.monotonic()
    data = settings.data
    if settings.download:
        n_fetched = download(
            data.root,
            url=settings.url,
            fs=data.fs,
            n_downloads=settings.n_downloads,
            timeout_s=settings.timeout_s,
            n_retries=settings.n_retries,
            verify=settings.verify,
            wait_s=settings.wait_s,
        )
        print(f"downloaded {n_fetched} files to {data.root}, all files match SHA256SUMS.txt")
    elif settings.verify:
        print(f"{verify_files(data.root, data.fs)} files in {data.root} match SHA256SUMS.txt")
    loaded = ptbxl.load_ptbxl(
        data.root,
        fs=data.fs,
        allow_missing=data.allow_missing,
        cache_dir=data.cache_dir,
        n_workers=data.n_workers,
        waveform=ptbxl.waveform_spec(settings.waveform),
    )
    assert loaded.signals is not None
    folds, counts = np.unique(loaded.strat_fold, return_counts=True)
    print(f"{data.root}: {loaded.version}, {loaded.n_missing} listed but missing")
    print("records per fold: " + "  ".join(f"{f}: {n}" for f, n in zip(folds, counts, strict=True)))
    print(f"{int(loaded.y_true.any(0).sum())} of {len(loaded.codes)} findings occur")
    print(
        f"cache {Path(loaded.signals.filename).parent}: {loaded.signals.shape} int16, "  # type: ignore[union-attr]
        f"{loaded.signals.nbytes / 1e6:.0f} MB, {time.monotonic() - start_s:.1f} s"
    )


def main() -> None:
    run_command("ptbxl", config.PtbxlConfig, prepare_ptbxl)


if __name__ == "__main__":
    main()
