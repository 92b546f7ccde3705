"""Settings of the data sets of a run: which are missing, and which contradict each other."""

from __future__ import annotations

import re

from ecg_siglip import config


def check_sources(data: config.DataConfig) -> None:
    """Check that every data set of a training is fully named.

    Raises
    ------
    ValueError
        If a name is missing, wrong or given twice, a data set has no folder or table or has
        settings of another kind, or the tuning fold has no data set.
    """
    for i, source in enumerate(data.sources or [data]):
        where = f"data.sources[{i}]" if data.sources else "data"
        if data.sources:
            _check_name(where, source.name)
        place = "table" if source.kind == "table" else "root"
        if not getattr(source, place):
            expected = f"the {place} of {source.name}" if data.sources else f"data.{place}=..."
            raise ValueError(f"{where}.{place} is missing; expected {expected}")
        if source.kind != "table" and source.table:
            raise ValueError(
                f"{where}.table={source.table} with kind={source.kind}: expected kind=table"
            )
    names = [source.name for source in data.sources]
    if doubled := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"data.sources: two have the name {doubled[0]}; expected different names")
    if data.sources and data.table:
        raise ValueError(
            f"data.table={data.table} with data.sources: expected the table as one of the sources"
        )
    if data.sources and not any(source.tune for source in data.sources):
        raise ValueError("data.sources: all have tune=false; expected one with tune=true")


def _check_name(where: str, name: str) -> None:
    """Check the name of a data set, which becomes part of file names."""
    if name == config.SourceConfig().name:
        raise ValueError(f"{where}.name is missing; expected the name of the data set")
    if not re.fullmatch(r"\w[\w .+-]*", name):
        raise ValueError(f"{where}.name={name}: expected letters, digits, . _ + and -")
