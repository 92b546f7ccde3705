"""What the web page's events call."""

from __future__ import annotations

import base64
import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ecg_siglip.serving.json_api import split_leads
from ecg_siglip.serving.prediction_service import PredictionService, QueueFull
from ecg_siglip.serving.uploads import PREFIX, UploadResult, save_uploads

# What every ECG has or has not; nobody asks first why it is there.
NO_REASON_FIRST = ("NORM", "SR")


def run_in_turn(desk: PredictionService, work: Callable[[], Any]) -> Any:
    """The result of a piece of work when its turn has come.

    Raises
    ------
    QueueFull
        If too many wait, or it was not there in time.
    """
    future = desk.submit(work)
    try:
        return future.result(desk.settings.timeout_s)
    except TimeoutError as error:
        future.cancel()
        raise QueueFull(
            f"no answer within {desk.settings.timeout_s:g} s; please ask again"
        ) from error


def read_upload(
    desk: PredictionService,
    paths: Sequence[str],
    point: str,
    fs: str,
    units: str,
    leads: str,
    short: bool,
    flat: bool,
    missing: bool,
    sustained: str,
) -> UploadResult:
    """What becomes of files that Gradio has stored: read from a folder of their own, then gone."""
    if len(paths) > desk.settings.max_files:
        raise ValueError(f"{len(paths)} files; expected {desk.settings.max_files} at most")
    asked = desk.knobs(
        {
            "operating_point": point,
            "read.fs": parse_number("read.fs", fs),
            "read.units": units,
            "read.leads": split_leads(leads),
            "waveform.allow_short": short,
            "waveform.allow_flat": flat,
            "waveform.allow_missing_leads": missing,
            "windows.sustained_s": parse_number("windows.sustained_s", sustained),
        }
    )
    gone = [path for path in paths if not Path(path).is_file()]
    if gone:
        raise ValueError("the files have been deleted meanwhile; please drop them again")
    with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
        for path in paths:
            with open(path, "rb") as file:
                save_uploads([(Path(path).name, file)], Path(folder))
        return run_in_turn(desk, lambda: desk.read(Path(folder), asked))


def parse_number(knob: str, words: str) -> float | None:
    """A number as somebody typed it, None for nothing."""
    try:
        return float(words) if words.strip() else None
    except ValueError as error:
        raise ValueError(f"{knob}={words[:20]}: expected a number") from error


def remove_uploads(paths: Sequence[str]) -> None:
    """Delete what Gradio has stored of an upload: each file lies in a folder of its own."""
    for path in paths:
        shutil.rmtree(Path(path).parent, ignore_errors=True)


def sweep(uploads: Path, age_s: float) -> None:
    """Delete what has lain in the folder of uploads for longer, broken-off uploads included."""
    for path in uploads.iterdir():
        with contextlib.suppress(OSError):  # gone meanwhile
            if time.time() - path.stat().st_mtime > age_s:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def download_source(name: str, kind: str, content: bytes) -> str:
    return f"{name}|data:{kind};base64,{base64.b64encode(content).decode()}"
