"""Records to findings: a JSON line for each record on stdout, and a sheet of each if wanted."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tqdm import tqdm

from ecg_siglip import ask, config, records
from ecg_siglip.answers import Answer, answered, rule_of, sheet_of
from ecg_siglip.predictor import Predictor
from ecg_siglip.ranks import Ranks

MOST_SHEETS = 200  # of a report: a sheet is half a megabyte


def expand(paths: list[str]) -> list[str]:
    """The records meant: a folder stands for every record below it (``records.find``).

    Raises
    ------
    ValueError
        If nothing is named.
    """
    if not paths:
        raise ValueError("no record named: expected records=[path/to/record, ...]")
    expanded: list[str] = []
    for path in map(Path, paths):
        # A folder without a record stays as it is named, to be refused like any bad record.
        expanded += (records.find(path) if path.is_dir() else []) or [str(path)]
    return expanded


def check_report(settings: config.PredictConfig, n_records: int) -> None:
    """Refuse a report before the work, not after it.

    Raises
    ------
    ValueError
        If it is neither HTML nor PDF, or of more records than one reads.
    """
    if settings.report is not None:
        from ecg_siglip import sheet

        sheet.check_path(settings.report)
        if n_records > MOST_SHEETS:
            raise ValueError(
                f"report={settings.report}: {n_records} records; expected {MOST_SHEETS} at most, a "
                "sheet each"
            )
    elif settings.n_reasons:
        raise ValueError("n_reasons: reasons are drawn in a report; expected report=out.html")


def predict(settings: config.PredictConfig) -> int:
    """Answer for every record with one JSON line on stdout; 1 if a record could not be read."""
    paths = expand(settings.records)
    check_report(settings, len(paths))
    settings.ask = [ask.checked(question) for question in settings.ask]
    named = config.model_of(settings.run, settings.model)
    ranks = Ranks.join(settings.device)
    if settings.report and ranks.n > 1:
        raise ValueError("report: written by one process; expected no torchrun")
    predictor = Predictor.load(named, settings.device, settings.language)
    if settings.n_similar and predictor.artifact.neighbours is None:
        raise ValueError(
            "n_similar: this model holds no training records (keep_embeddings=false, from the "
            "hub, or of an earlier version); expected n_similar=0"
        )
    about = predictor.artifact.about
    model = f"{about['run']} ({about['version']})"
    failed, drawn = False, []
    for start in range(0, len(paths), settings.batch_size * ranks.n):
        first = start + ranks.rank * settings.batch_size
        mine = list(map(Path, paths[first : first + settings.batch_size]))
        answers = answered(predictor, mine, settings)
        all_read = len(answers) == len(mine)
        lines = [answer.to_json(model) for answer in answers]
        for part in ranks.gathered(json.dumps([lines, all_read]).encode()):
            lines, all_read = json.loads(part)
            failed |= not all_read
            if ranks.is_first and lines:
                print("\n".join(lines), flush=True)
        drawn += answers if settings.report else []
    if drawn:
        write_report(settings, predictor, drawn, model)
    ranks.leave()
    return int(failed)


def write_report(
    settings: config.PredictConfig, predictor: Predictor, answers: list[Answer], model: str
) -> None:
    """A sheet a record, with the reasons for its likeliest findings."""
    from ecg_siglip import sheet

    assert settings.report is not None
    sheets = []
    for answer in tqdm(answers, "sheets", disable=None, leave=False):
        present = sorted((f for f in answer.findings if f.present), key=lambda f: -f.probability)
        sheets.append(sheet_of(predictor, answer, [f.code for f in present[: settings.n_reasons]]))
    sheet.write(settings.report, sheets, model, rule_of(settings))
    print(f"predict: wrote {settings.report}", file=sys.stderr)


def main() -> None:
    config.run("predict", config.PredictConfig, predict)


if __name__ == "__main__":
    main()
