"""Records to findings: a JSON line for each record on stdout, and a sheet of each if wanted."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tqdm import tqdm

from ecg_siglip import config
from ecg_siglip.core.command_line import run_command
from ecg_siglip.core.distributed import Distributed
from ecg_siglip.core.run_folder import find_model
from ecg_siglip.inference.pipeline import predict_records, threshold_rule
from ecg_siglip.inference.prediction import Prediction
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.readers.record import expand_paths
from ecg_siglip.reporting.record_report import make_record_report
from ecg_siglip.vocabulary.question_matching import check_question

MOST_SHEETS = 200  # of a report: a sheet is half a megabyte


def check_report(settings: config.PredictConfig, n_records: int) -> None:
    """Refuse a report before the work, not after it.

    Raises
    ------
    ValueError
        If it is neither HTML nor PDF, or of more records than one reads.
    """
    if settings.report is not None:
        from ecg_siglip.reporting.record_report import check_report_path

        check_report_path(settings.report)
        if n_records > MOST_SHEETS:
            raise ValueError(
                f"report={settings.report}: {n_records} records; expected {MOST_SHEETS} at most, a "
                "sheet each"
            )
    elif settings.n_attributions:
        raise ValueError(
            "n_attributions: attributions are drawn in a report; expected report=out.html"
        )


def predict(settings: config.PredictConfig) -> int:
    """Answer for every record with one JSON line on stdout; 1 if a record could not be read."""
    paths = expand_paths(settings.records)
    check_report(settings, len(paths))
    settings.questions = [check_question(question) for question in settings.questions]
    named = find_model(settings.run.root, settings.run.name, settings.model)
    ranks = Distributed.join(settings.device)
    if settings.report and ranks.n > 1:
        raise ValueError("report: written by one process; expected no torchrun")
    predictor = Predictor.load(named, settings.device, settings.language)
    if settings.n_similar and predictor.artifact.neighbors is None:
        raise ValueError(
            "n_similar: this model holds no training records (keep_embeddings=false, from the "
            "hub, or of an earlier version); expected n_similar=0"
        )
    model = predictor.artifact.provenance.title
    failed, drawn = False, []
    for start in range(0, len(paths), settings.batch_size * ranks.n):
        first = start + ranks.rank * settings.batch_size
        mine = list(map(Path, paths[first : first + settings.batch_size]))
        answers = predict_records(predictor, mine, settings)
        all_read = len(answers) == len(mine)
        lines = [answer.to_json(model) for answer in answers]
        for part in ranks.all_gather_bytes(json.dumps([lines, all_read]).encode()):
            lines, all_read = json.loads(part)
            failed |= not all_read
            if ranks.is_first and lines:
                print("\n".join(lines), flush=True)
        drawn += answers if settings.report else []
    if drawn:
        write_report(settings, predictor, drawn, model)
    ranks.close()
    return int(failed)


def write_report(
    settings: config.PredictConfig, predictor: Predictor, answers: list[Prediction], model: str
) -> None:
    """A sheet a record, with the reasons for its likeliest findings."""
    from ecg_siglip.reporting.record_report import write_record_reports

    assert settings.report is not None
    sheets = []
    for answer in tqdm(answers, "sheets", disable=None, leave=False):
        present = sorted((f for f in answer.findings if f.present), key=lambda f: -f.probability)
        sheets.append(
            make_record_report(
                predictor, answer, [f.code for f in present[: settings.n_attributions]]
            )
        )
    write_record_reports(settings.report, sheets, model, threshold_rule(settings))
    print(f"predict: wrote {settings.report}", file=sys.stderr)


def main() -> None:
    run_command("predict", config.PredictConfig, predict)


if __name__ == "__main__":
    main()
