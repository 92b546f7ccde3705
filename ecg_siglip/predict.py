"""Predict the findings of records: JSON lines, a table in parts, and a report on request."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence

from tqdm import tqdm

from ecg_siglip import config
from ecg_siglip.archive.engine import BlockPredictor, Engine
from ecg_siglip.archive.inputs import Inputs, find_inputs
from ecg_siglip.archive.job import cut_blocks, fingerprint, run_job
from ecg_siglip.archive.local_engine import LocalEngine, on_each_device
from ecg_siglip.archive.outputs import choose_form, open_output
from ecg_siglip.archive.reading import Reading
from ecg_siglip.archive.rows import PREDICTED, UNREADABLE, Row
from ecg_siglip.core.command_line import run_command
from ecg_siglip.core.distributed import Distributed
from ecg_siglip.core.run_folder import find_model
from ecg_siglip.core.translation import pick_language
from ecg_siglip.inference.pipeline import threshold_rule
from ecg_siglip.inference.prediction import Prediction, json_line
from ecg_siglip.inference.predictor import Predictor
from ecg_siglip.models.dual_encoder import find_model_folder
from ecg_siglip.readers.folders import OTHER
from ecg_siglip.vocabulary.question_matching import check_question

MAX_REPORTS = 200  # record reports in one file: each is a megabyte
SOME_UNREADABLE = 3  # exit code
MANY = 64  # records from which processes that read are worth their start


def check_settings_of_output(settings: config.PredictConfig) -> None:
    """Check the settings that only have a meaning with ``out``, or without it.

    Raises
    ------
    ValueError
        If there is no ``out`` for them, or both a report and ``out``.
    """
    if settings.out is not None:
        choose_form(settings.out, settings.format)
        if settings.report is not None:
            raise ValueError(
                "report: shows predictions that are printed; expected report or out, not both"
            )
        return
    for name, default in (("format", None), ("rows", "record"), ("overwrite", False)):
        if getattr(settings, name) != default:
            raise ValueError(f"{name}: is about files; expected out=FILE or out=FOLDER with it")


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
    """Predict the findings of records: JSON lines, a table in parts, and a report on request.

    Returns
    -------
    int
        Exit code: 0, or 3 if a record could not be read or used, or if a folder contains something
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

        predict: 993 predicted, 3 unreadable, 2 not read: 2 GDF recordings, 8 skipped: 1 PDF
        document, 7 other files
    """
    check_settings_of_output(settings)
    inputs = find_inputs(
        settings.records,
        settings.records_column,
        settings.records_query,
        bool(settings.read.leads),
        settings.out,
    )
    check_report(settings, len(inputs.paths))
    settings.questions = [check_question(question) for question in settings.questions]
    distributed = Distributed.join(settings.device)
    if settings.report and distributed.n > 1:
        raise ValueError("report: written by one process; expected no torchrun")
    predictor = load_predictor(settings)
    if distributed.is_first and (origin := predictor.artifact.provenance.origin):
        print(f"predict: {predictor.artifact.title}: {origin}", file=sys.stderr)
    if distributed.is_first and set(inputs.skipped.counts) - {OTHER}:
        print(inputs.in_words(), file=sys.stderr)
    if settings.out is None:
        counts = print_rows(settings, inputs.paths, predictor, distributed)
    else:
        counts = store_rows(settings, inputs, predictor, distributed)
    n_unread, n_skipped = (inputs.skipped.n(is_ecg) for is_ecg in (True, False))
    is_one = len(inputs.paths) == 1 and not (n_unread or n_skipped or settings.out)
    if distributed.is_first and not is_one:
        print(f"predict: {summary(counts, inputs)}", file=sys.stderr)
    distributed.close()
    return SOME_UNREADABLE if counts[UNREADABLE] + n_unread else 0


def print_rows(
    settings: config.PredictConfig,
    paths: Sequence[str],
    predictor: Predictor,
    distributed: Distributed,
) -> Counter[str]:
    """Predict records, print a line of JSON for each, and write the report if one is requested."""
    reported: list[Prediction] | None = [] if settings.report else None
    n_workers = settings.n_workers if len(paths) > MANY and reported is None else 0
    engine = choose_engine(settings, predictor, n_workers, reported)
    blocks = list(cut_blocks(paths, settings.batch_size, set()))
    own = engine.run(blocks[distributed.rank :: distributed.n])
    counts = Counter[str]()
    for _ in range(0, len(blocks), distributed.n):
        _, rows = next(own, (0, []))
        for part in distributed.all_gather_bytes(json.dumps(rows).encode()):
            gathered: list[Row] = json.loads(part)
            counts.update(row["status"] for row in gathered)
            if distributed.is_first:
                print_block(gathered)
    if reported:
        write_report(settings, predictor, reported, predictor.artifact.title)
    return counts


def store_rows(
    settings: config.PredictConfig, inputs: Inputs, predictor: Predictor, distributed: Distributed
) -> Counter[str]:
    """Predict records as a job that stores its rows in ``out``."""
    output = open_output(settings, predictor.artifact.codes)
    model = find_model(settings.run.root, settings.run.name, settings.model, "predict")
    now = fingerprint(settings, find_model_folder(model), inputs.paths)
    about = {
        "model": predictor.artifact.title,
        "codes": list(predictor.artifact.codes),
        "skipped": {kind.name: n for kind, n in inputs.skipped.counts.items()},
    }
    with output.hold(0.0):
        engine = choose_engine(settings, predictor, settings.n_workers)
        counts, was_complete = run_job(
            inputs.paths, now, about, settings.block_size, engine, output, distributed,
            settings.overwrite,
        )  # fmt: skip
    if distributed.is_first:
        done = "was complete already" if was_complete else "written"
        print(f"predict: {output.name}: {done}", file=sys.stderr)
    return counts


def choose_engine(
    settings: config.PredictConfig,
    predictor: Predictor,
    n_workers: int | None,
    reported: list[Prediction] | None = None,
) -> Engine:
    """Return the engine of the settings.

    Parameters
    ----------
    settings : PredictConfig
    predictor : Predictor
    n_workers : int, optional
        See ``LocalEngine``; None: one per core.
    reported : list of Prediction, optional
        Gets every prediction, for a report.
    """
    reading = Reading.of(predictor.preparation, settings)
    models = [BlockPredictor(each, settings, reported) for each in on_each_device(predictor)]
    return LocalEngine(reading, models, n_workers)


def summary(counts: Counter[str], inputs: Inputs) -> str:
    """Return how many records were predicted, unreadable, not read and skipped, on one line."""
    parts = [f"{counts[PREDICTED]:,} {PREDICTED}"]
    if counts[UNREADABLE]:
        parts.append(f"{counts[UNREADABLE]:,} {UNREADABLE}")
    for is_ecg, word in ((True, "not read"), (False, "skipped")):
        if n := inputs.skipped.n(is_ecg):
            parts.append(f"{n:,} {word}: {inputs.skipped.kinds(is_ecg)}")
    if inputs.n_repeated:
        parts.append(f"{inputs.n_repeated:,} named again")
    return ", ".join(parts)


def print_block(rows: Sequence[Row]) -> None:
    """Print the predictions to stdout and the errors to stderr."""
    for row in rows:
        if row["status"] == UNREADABLE:
            print(f"predict: {row['reason']}", file=sys.stderr)
    # Of a line on stdout it is clear what it is.
    hidden = ("schema_version", "status", "reason")
    lines = [
        json_line({key: value for key, value in row.items() if key not in hidden})
        for row in rows
        if row["status"] != UNREADABLE
    ]
    if lines:
        print_lines(lines)


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
