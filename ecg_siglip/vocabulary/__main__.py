"""Write a starter vocabulary from the codes of a table, for a person to edit."""

from __future__ import annotations

from pathlib import Path

from ecg_siglip import config
from ecg_siglip.core.command_line import run_command
from ecg_siglip.core.files import write_file
from ecg_siglip.datasets.code_counts import read_codes
from ecg_siglip.vocabulary.nodes import LANGUAGE, parse_yaml
from ecg_siglip.vocabulary.starter import mapping_csv, starter_yaml
from ecg_siglip.vocabulary.vocabulary_file import Reader


def write_vocabulary(settings: config.VocabularyConfig) -> None:
    """Write a starter vocabulary (out=...) or a mapping to PTB-XL (mapping=...) from a table."""
    out, mapping = (Path(p) if p else None for p in (settings.out, settings.mapping))
    if out is None and mapping is None:
        raise ValueError("nothing to write: expected out=findings.yaml or mapping=codes.csv")
    if not LANGUAGE.fullmatch(settings.language):
        raise ValueError(f"language={settings.language}: expected one such as en, de or ja")
    for name, path, suffixes in (("out", out, (".yaml", ".yml")), ("mapping", mapping, (".csv",))):
        if path is not None and path.suffix.lower() not in suffixes:
            raise ValueError(f"{name}={path}: expected a file that ends in {suffixes[0]}")
        if path is not None and path.exists():
            raise ValueError(f"{name}={path} exists; expected a new file, nothing was written")
        if path is not None and not path.parent.is_dir():
            raise ValueError(f"{name}={path}: there is no folder {path.parent}")
    codes, table = read_codes(settings.table, settings.query, settings.columns, settings.names)
    n_stated = sum(each.n_present > 0 for each in codes)
    n_named = sum(each.name != each.code for each in codes)
    if out is not None:
        text = starter_yaml(codes, len(table), table.name, settings.language)
        Reader(str(out)).vocabulary(parse_yaml(text, str(out)), out.name)  # raises if it is wrong
        write_file(out, text)
        print(
            f"wrote {out}: {len(codes)} findings, {n_named} with a name, {n_stated} present in at "
            "least one ECG; edit it, then train with vocabulary=" + str(out)
        )
    if mapping is not None:
        write_file(mapping, mapping_csv(codes))
        print(
            f"wrote {mapping}: PTB-XL's findings for {len(codes)} codes; check every line, then "
            f"use it with data.codes={mapping}"
        )


def main() -> None:
    """Run the command."""
    run_command("vocabulary", config.VocabularyConfig, write_vocabulary)


if __name__ == "__main__":
    main()
