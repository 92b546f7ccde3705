"""Predict the findings of records: one line of JSON per record, and a report on request."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from ecg_siglip import config
from ecg_siglip.core.command_line import run_command
from ecg_siglip.core.distributed import Distributed
from ecg_siglip.core.run_folder import find_model
from ecg_siglip.core.translation import pick_language
from ecg_siglip.inference.pipeline import predict_records, threshold_rule
from ecg_siglip.inference.prediction import Prediction
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.readers.folders import OTHER, Found, expand_paths
from ecg_siglip.vocabulary.question_matching import check_question

MAX_REPORTS = 200  # record reports in one file: each is a megabyte


def check_report(settings: config.PredictConfig, n_records: int) -> None:
    """Check the settings of the report before the work starts.

    Raises
    ------
    ValueError
        If the file is neither HTML, PDF nor PNG, there are too many records, or attributions are
        requested without a report.
    """
    if settings.report is not None:
        from ecg_siglip.reporting.report_files import check_report_path

        n_pages = n_records * (1 + settings.n_attributions)
        check_report_path(settings.report, n_pages, report_language(settings))
        if n_records > MAX_REPORTS:
            raise ValueError(
                f"report={settings.report}: {n_records} records; expected {MAX_REPORTS} at most, "
                "each with its own page"
            )
    elif settings.n_attributions:
        raise ValueError(
            "n_attributions: attributions are drawn in a report; expected report=out.html"
        )


def report_language(settings: config.PredictConfig) -> str:
    """Return the language of the record report."""
    return pick_language(settings.report_language, settings.language)


def load_predictor(settings: config.PredictConfig) -> Predictor:
    """Load the model of the command.

    Raises
    ------
    ValueError
        If there is no such model, or it cannot name similar ECGs and ``n_similar`` is not 0.
    """
    model = find_model(settings.run.root, settings.run.name, settings.model, "predict")
    predictor = Predictor.load(model, settings.device, settings.language, settings.source)
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
        Exit code: 0, or 1 if a record could not be read or used, or if a folder contains something
        that may be an ECG and is not read: a recording in another format, a damaged or compressed
        file, or a file or folder that cannot be reached. Documents, pictures, tables without leads
        and the like do not count.

    Notes
    -----
    Of several records or a folder, stderr gets two lines. Before the work: what was found next to
    the records, by kind with some names, first what may be an ECG, then what was skipped::

        predict: 996 records found; not read: 2 GDF recordings (a.gdf, b.gdf): export it as EDF or
        CSV; skipped: 1 PDF document (report.pdf), 7 other files

    At the end::

        predict: 993 predicted, 3 unreadable, 2 not read, 8 skipped
    """
    found = expand_paths(settings.records, leads_given=bool(settings.read.leads))
    paths, skipped = found.paths, found.skipped
    check_report(settings, len(paths))
    settings.questions = [check_question(question) for question in settings.questions]
    distributed = Distributed.join(settings.device)
    if settings.report and distributed.n > 1:
        raise ValueError("report: written by one process; expected no torchrun")
    predictor = load_predictor(settings)
    title = predictor.artifact.title
    if distributed.is_first and (origin := predictor.artifact.provenance.origin):
        print(f"predict: {title}: {origin}", file=sys.stderr)
    n_predicted = n_failed = 0
    if distributed.is_first and set(skipped.counts) - {OTHER}:
        print(describe_search(found), file=sys.stderr)
    reported: list[Prediction] = []
    for start in range(0, len(paths), settings.batch_size * distributed.n):
        first = start + distributed.rank * settings.batch_size
        own_paths = list(map(Path, paths[first : first + settings.batch_size]))
        predictions = predict_records(predictor, own_paths, settings)
        n_bad = len(own_paths) - len(predictions)
        lines = [prediction.to_json(title) for prediction in predictions]
        for part in distributed.all_gather_bytes(json.dumps([lines, n_bad]).encode()):
            lines, n_bad = json.loads(part)
            n_predicted, n_failed = n_predicted + len(lines), n_failed + n_bad
            if distributed.is_first and lines:
                print_lines(lines)
        reported += predictions if settings.report else []
    if reported:
        write_report(settings, predictor, reported, title)
    n_unread, n_skipped = skipped.n(is_ecg=True), skipped.n(is_ecg=False)
    if distributed.is_first and (len(paths) > 1 or n_unread or n_skipped):
        counts = {"predicted": n_predicted, "unreadable": n_failed, "not read": n_unread}
        counts["skipped"] = n_skipped
        listed = [f"{n:,} {word}" for word, n in counts.items() if n or word == "predicted"]
        print(f"predict: {', '.join(listed)}", file=sys.stderr)
    distributed.close()
    return int(n_failed + n_unread > 0)


def describe_search(found: Found) -> str:
    """Return what was found in folders next to records, on one line."""
    parts = [f"predict: {len(found.paths):,} record{'s' * (len(found.paths) != 1)} found"]
    for is_ecg, word in ((True, "not read"), (False, "skipped")):
        if text := found.skipped.in_words(is_ecg):
            parts.append(f"{word}: {text}")
    return "; ".join(parts)


def print_lines(lines: Sequence[str]) -> None:
    """Print lines of JSON, in ASCII if stdout has no other characters."""
    try:
        print("\n".join(lines), flush=True)
    except UnicodeEncodeError:
        print("\n".join(json.dumps(json.loads(line)) for line in lines), flush=True)


def write_report(
    settings: config.PredictConfig, predictor: Predictor, predictions: list[Prediction], title: str
) -> None:
    """Write a record report of each prediction, with attributions of its likeliest findings."""
    # Imported only here: matplotlib takes half a second, which a prediction in JSON need not wait.
    from ecg_siglip.reporting.record_report import make_record_report
    from ecg_siglip.reporting.report_files import write_record_reports

    assert settings.report is not None
    reports = []
    for prediction in tqdm(predictions, "reports", disable=None, leave=False):
        present = sorted(
            (f for f in prediction.findings if f.present), key=lambda f: -f.probability
        )
        codes = [finding.code for finding in present[: settings.n_attributions]]
        language = report_language(settings)
        reports.append(make_record_report(predictor, prediction, codes, language))
    write_record_reports(settings.report, reports, title, threshold_rule(settings))
    print(f"predict: wrote {settings.report}", file=sys.stderr)


def main() -> None:
    run_command("predict", config.PredictConfig, predict)


if __name__ == "__main__":
    main()
