"""Predict the findings of records: one line of JSON per record, and a report on request."""

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
from ecg_siglip.reporting.record_report import (
    check_report_path,
    make_record_report,
    write_record_reports,
)
from ecg_siglip.vocabulary.question_matching import check_question

MAX_REPORTS = 200  # record reports in one file: each is half a megabyte


def check_report(settings: config.PredictConfig, n_records: int) -> None:
    """Check the settings of the report before the work starts.

    Raises
    ------
    ValueError
        If the file is neither HTML nor PDF, there are too many records, or attributions are
        requested without a report.
    """
    if settings.report is not None:
        check_report_path(settings.report)
        if n_records > MAX_REPORTS:
            raise ValueError(
                f"report={settings.report}: {n_records} records; expected {MAX_REPORTS} at most, "
                "each with its own page"
            )
    elif settings.n_attributions:
        raise ValueError(
            "n_attributions: attributions are drawn in a report; expected report=out.html"
        )


def load_predictor(settings: config.PredictConfig) -> Predictor:
    """Load the model of the command.

    Raises
    ------
    ValueError
        If there is no such model, or it cannot name similar ECGs and ``n_similar`` is not 0.
    """
    model = find_model(settings.run.root, settings.run.name, settings.model)
    predictor = Predictor.load(model, settings.device, settings.language)
    if settings.n_similar and predictor.artifact.neighbors is None:
        raise ValueError(
            "n_similar: this model holds no training records (keep_embeddings=false, from the "
            "hub, or of an earlier version); expected n_similar=0"
        )
    return predictor


def predict(settings: config.PredictConfig) -> int:
    """Predict the findings of records: one line of JSON per record, and a report on request.

    Returns
    -------
    int
        Exit code: 0, or 1 if a record could not be read.
    """
    paths = expand_paths(settings.records)
    check_report(settings, len(paths))
    settings.questions = [check_question(question) for question in settings.questions]
    distributed = Distributed.join(settings.device)
    if settings.report and distributed.n > 1:
        raise ValueError("report: written by one process; expected no torchrun")
    predictor = load_predictor(settings)
    title = predictor.artifact.provenance.title
    has_failed = False
    reported: list[Prediction] = []
    for start in range(0, len(paths), settings.batch_size * distributed.n):
        first = start + distributed.rank * settings.batch_size
        own_paths = list(map(Path, paths[first : first + settings.batch_size]))
        predictions = predict_records(predictor, own_paths, settings)
        all_read = len(predictions) == len(own_paths)
        lines = [prediction.to_json(title) for prediction in predictions]
        for part in distributed.all_gather_bytes(json.dumps([lines, all_read]).encode()):
            lines, all_read = json.loads(part)
            has_failed |= not all_read
            if distributed.is_first and lines:
                print("\n".join(lines), flush=True)
        reported += predictions if settings.report else []
    if reported:
        write_report(settings, predictor, reported, title)
    distributed.close()
    return int(has_failed)


def write_report(
    settings: config.PredictConfig, predictor: Predictor, predictions: list[Prediction], title: str
) -> None:
    """Write a record report of each prediction, with attributions of its likeliest findings."""
    assert settings.report is not None
    reports = []
    for prediction in tqdm(predictions, "reports", disable=None, leave=False):
        present = sorted(
            (f for f in prediction.findings if f.present), key=lambda f: -f.probability
        )
        codes = [finding.code for finding in present[: settings.n_attributions]]
        reports.append(make_record_report(predictor, prediction, codes))
    write_record_reports(settings.report, reports, title, threshold_rule(settings))
    print(f"predict: wrote {settings.report}", file=sys.stderr)


def main() -> None:
    run_command("predict", config.PredictConfig, predict)


if __name__ == "__main__":
    main()
