"""Choose the output of a job by the setting ``out``: files, a database or a remote folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from ecg_siglip import config
from ecg_siglip.archive.fhir import FhirLines, ModelIdentity
from ecg_siglip.archive.outputs import FileOutput, FolderOutput, Output
from ecg_siglip.archive.part_formats import Csv, JsonLines, Parquet, PartFormat
from ecg_siglip.archive.remote import READ_ONLY, check_password, is_remote, local_path
from ecg_siglip.archive.remote_output import RemoteOutput
from ecg_siglip.archive.rows import Column, table_columns
from ecg_siglip.archive.sql_output import SqlOutput, is_database
from ecg_siglip.core.files import shown

FORMATS: dict[str, Callable[[Sequence[Column], ModelIdentity], PartFormat]] = {
    "parquet": lambda columns, _: Parquet(columns),
    "csv": lambda columns, _: Csv(columns),
    "jsonl": lambda _columns, _model: JsonLines(),
    "fhir": lambda _, model: FhirLines(model),
}
SUFFIXES = {".parquet": "parquet", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "fhir"}


def choose_form(out: str, form: str | None) -> str:
    """Return the format of the files of ``out``.

    Raises
    ------
    ValueError
        If its suffix is that of no format or of another one than ``format`` states.
    """
    if is_database(out):
        if form is not None:
            raise ValueError(f"format={form}: is about files; expected no format for a database")
        return ""
    suffix = Path(out).suffix.lower()
    if is_remote(out) and not out.lower().startswith(READ_ONLY):
        check_password(out)
        if suffix in SUFFIXES and not out.endswith("/"):
            raise ValueError(
                f"out={shown(out)}: expected a remote folder of parts, with / at its end; its "
                f"files are written with format={SUFFIXES[suffix]}"
            )
        return form or "parquet"
    if "://" in out and not out.lower().startswith("file://"):
        raise ValueError(
            f"out={shown(out)}: expected a file, a folder, a database or an address such as s3://"
        )
    if _is_folder(out):
        return form or "parquet"
    if suffix not in SUFFIXES:
        raise ValueError(
            f"out={shown(out)}: expected a name that ends with {', '.join(SUFFIXES)}, or with / "
            "for a folder of parts"
        )
    if suffix == ".ndjson" and form is None:
        raise ValueError(
            f"out={shown(out)}: expected format=fhir with it, or .jsonl for the JSON of predict"
        )
    if form not in (None, SUFFIXES[suffix]):
        raise ValueError(f"format={form}: out={shown(out)} ends with {suffix}; expected the same")
    return SUFFIXES[suffix]


def open_output(settings: config.PredictConfig, model: ModelIdentity) -> Output:
    """Return where a job of ``predict`` stores its rows.

    Parameters
    ----------
    settings : PredictConfig
        With ``out``.
    model : ModelIdentity

    Raises
    ------
    ValueError
        As ``choose_form``; or FHIR resources of windows are requested.
    """
    assert settings.out is not None
    columns = table_columns(model.codes, settings.rows, settings.measurements, settings.show_ids)
    name = choose_form(settings.out, settings.format)
    if not name:
        return SqlOutput(settings.out, columns, settings.out_table)
    if name == "fhir" and settings.rows != "record":
        raise ValueError("format=fhir: one report per record; expected rows=record")
    form = FORMATS[name](columns, model)
    if is_remote(settings.out):
        return RemoteOutput(settings.out, form)
    path = Path(local_path(settings.out))
    return FolderOutput(path, form) if _is_folder(settings.out) else FileOutput(path, form)


def _is_folder(out: str) -> bool:
    """Return whether ``out`` names a folder of parts."""
    return out.endswith(("/", os.sep)) or not Path(out).suffix or Path(out).is_dir()
